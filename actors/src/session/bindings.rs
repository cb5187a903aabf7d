//! Which track the objects of an alias go to, and who waits to know.

use super::ingress;
use super::messages::Binding;
use crate::reply::ReplyTo;
use crate::supervise::mailbox;
use crate::track::{SourceGone, SourceId};
use laps_protocol::moqt::message::{PublishDone, RequestId};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{DatagramObject, TrackAlias};
use laps_protocol::relay::track_log::Append;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// An object whose alias is not known yet.
#[derive(Debug)]
struct Early {
    at: Instant,
    object: DatagramObject,
}

/// A PUBLISH of the peer that the registry has not placed yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: FullTrackName,
    pub(super) source: SourceId,
    /// Its PUBLISH_DONE, when that came already.
    pub(super) done: Option<PublishDone>,
}

/// The tracks that this session's peer publishes, by the request that carries them.
#[derive(Debug)]
pub(super) struct Bindings {
    by_request: HashMap<RequestId, Binding>,
    pending: HashMap<RequestId, Pending>,
    /// Requests that were let go of, the oldest first. Their aliases stay known, so that what comes late is not taken
    /// for something that comes early.
    ended: VecDeque<RequestId>,
    max_ended: usize,
    waiters: Vec<(TrackAlias, ReplyTo<Option<Binding>>)>,
    max_waiters: usize,
    early: Vec<Early>,
    early_bytes: usize,
    max_early_bytes: usize,
    /// Streams and datagrams given up because too many waited.
    pub(super) refused: u64,
}

impl Bindings {
    pub(super) fn new(max_waiters: usize, max_early_bytes: usize, max_ended: usize) -> Self {
        Self {
            by_request: HashMap::new(),
            pending: HashMap::new(),
            ended: VecDeque::new(),
            max_ended,
            waiters: Vec::new(),
            max_waiters,
            early: Vec::new(),
            early_bytes: 0,
            max_early_bytes,
            refused: 0,
        }
    }

    pub(super) fn bind(&mut self, request: RequestId, binding: Binding) {
        self.by_request.insert(request, binding);
    }

    pub(super) fn get(&self, request: RequestId) -> Option<&Binding> {
        self.by_request.get(&request)
    }

    /// Remembers a PUBLISH that the registry is asked to place.
    pub(super) fn begin(&mut self, request: RequestId, name: FullTrackName, source: SourceId) {
        let done = None;
        self.pending.insert(request, Pending { name, source, done });
    }

    /// The registry has answered; none when the PUBLISH was given up in the meantime.
    pub(super) fn placed(&mut self, request: RequestId) -> Option<Pending> {
        self.pending.remove(&request)
    }

    /// The peer ends a PUBLISH that is not placed yet.
    pub(super) fn done_early(&mut self, request: RequestId, done: PublishDone) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.done = Some(done);
        }
    }

    /// Every PUBLISH that is not placed yet.
    pub(super) fn take_pending(&mut self) -> impl Iterator<Item = Pending> {
        self.pending.drain().map(|(_, pending)| pending)
    }

    /// The request of a known alias was let go of, so nothing that comes for it is of use.
    pub(super) fn is_over(&self, request: RequestId) -> bool {
        !self.by_request.contains_key(&request) && !self.pending.contains_key(&request)
    }

    /// Keeps the alias of a request that was let go of; gives back one that need not be known any longer.
    ///
    /// MOQT-14 §10.1 [D14-DATA-20]: late streams and datagrams of an ended subscription are told from those of a new
    /// one as long as the alias is known.
    pub(super) fn end(&mut self, request: RequestId) -> Option<RequestId> {
        if !self.ended.contains(&request) {
            self.ended.push_back(request);
        }
        if self.ended.len() > self.max_ended {
            self.ended.pop_front()
        } else {
            None
        }
    }

    /// Gives one datagram's object to its track. A track that is busy, like one that has ended, loses it, and that is
    /// counted.
    ///
    /// The offer goes through the address that is kept here: the bound of a mailbox holds per address. [D14-LIM-4]
    pub(super) fn offer(&mut self, request: RequestId, object: Append) {
        let taken = self
            .by_request
            .get(&request)
            .is_some_and(|binding| ingress::datagram(&binding.track, binding.source, object));
        if !taken {
            self.refused += 1;
        }
    }

    pub(super) fn release(&mut self, request: RequestId) -> Option<Binding> {
        self.pending.remove(&request);
        let binding = self.by_request.remove(&request)?;
        // Streams that were given this binding already are stopped too.
        binding.released.send_replace(true);
        Some(binding)
    }

    /// A stream waits for its alias; false when too many do.
    pub(super) fn wait(&mut self, alias: TrackAlias, reply: ReplyTo<Option<Binding>>) {
        self.waiters.retain(|(_, waiter)| !waiter.is_abandoned());
        if self.waiters.len() >= self.max_waiters {
            self.refused += 1;
            reply.send(None);
        } else {
            self.waiters.push((alias, reply));
        }
    }

    /// A datagram waits for its alias, within the bound of bytes.
    pub(super) fn keep(&mut self, now: Instant, wait: Duration, object: DatagramObject) {
        let mut freed = 0;
        self.early.retain(|early| {
            let young = now.saturating_duration_since(early.at) <= wait;
            if !young {
                freed += cost(&early.object);
            }
            young
        });
        self.early_bytes -= freed;
        let bytes = cost(&object);
        if self.early_bytes + bytes > self.max_early_bytes {
            self.refused += 1;
            return;
        }
        self.early_bytes += bytes;
        self.early.push(Early { at: now, object });
    }

    /// An alias became known: streams go on, datagrams are handed back.
    pub(super) fn known(&mut self, alias: TrackAlias, binding: &Binding) -> Vec<DatagramObject> {
        for (_, reply) in self.waiters.extract_if(.., |(waiting, _)| *waiting == alias) {
            reply.send(Some(binding.clone()));
        }
        let taken: Vec<_> = self
            .early
            .extract_if(.., |early| early.object.alias == alias)
            .map(|early| early.object)
            .collect();
        self.early_bytes -= taken.iter().map(cost).sum::<usize>();
        taken
    }

    /// The session is over: every track loses this publisher.
    pub(super) fn abandon(&mut self) {
        for binding in self.by_request.drain().map(|(_, binding)| binding) {
            mailbox::signal(
                &binding.track,
                SourceGone {
                    source: binding.source,
                },
            );
        }
    }
}

fn cost(object: &DatagramObject) -> usize {
    size_of::<Early>() + object.payload.len() + object.extensions.len()
}
