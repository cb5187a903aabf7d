//! Which track the objects of an alias go to, and who waits to know.

use super::messages::Binding;
use crate::reply::ReplyTo;
use crate::supervise::mailbox;
use crate::track::SourceGone;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::object::{DatagramObject, TrackAlias};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An object whose alias is not known yet.
#[derive(Debug)]
struct Early {
    at: Instant,
    object: DatagramObject,
}

/// The tracks that this session's peer publishes, by the request that carries them.
#[derive(Debug)]
pub(super) struct Bindings {
    by_request: HashMap<RequestId, Binding>,
    /// Where the peer's PUBLISHes began for us.
    starts: HashMap<RequestId, Location>,
    waiters: Vec<(TrackAlias, ReplyTo<Option<Binding>>)>,
    max_waiters: usize,
    early: Vec<Early>,
    early_bytes: usize,
    max_early_bytes: usize,
    /// Streams and datagrams given up because too many waited.
    pub(super) refused: u64,
}

impl Bindings {
    pub(super) fn new(max_waiters: usize, max_early_bytes: usize) -> Self {
        Self {
            by_request: HashMap::new(),
            starts: HashMap::new(),
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

    /// Remembers where a PUBLISH begins: behind the largest place it named. MOQT-14 §9.7 [D14-SUB-3]
    pub(super) fn begin(&mut self, request: RequestId, largest: Option<Location>) {
        let start = largest.map_or(Location::ZERO, |largest| {
            Location::new(largest.group, largest.object + 1)
        });
        self.starts.insert(request, start);
    }

    pub(super) fn start(&self, request: RequestId) -> Location {
        self.starts.get(&request).copied().unwrap_or(Location::ZERO)
    }

    pub(super) fn release(&mut self, request: RequestId) -> Option<Binding> {
        self.starts.remove(&request);
        self.by_request.remove(&request)
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
