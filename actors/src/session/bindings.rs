//! Which track the objects of an alias go to, and who waits to know.

use super::ingress;
use super::messages::Binding;
use crate::limits::{Account, Full, Kind, Lease, Place};
use crate::reply::ReplyTo;
use crate::supervise::mailbox;
use crate::track::{SourceGone, SourceId};
use laps_protocol::moqt::message::{PublishDone, RequestId};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::{DatagramObject, TrackAlias};
use slog::Logger;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// An object whose alias is not known yet.
#[derive(Debug)]
struct Early {
    at: Instant,
    object: DatagramObject,
    _room: Lease,
}

/// A stream whose alias is not known yet.
#[derive(Debug)]
struct Stream {
    alias: TrackAlias,
    reply: ReplyTo<Option<Binding>>,
    _room: (Lease, Lease),
}

/// What a track of the peer takes of its limits for as long as its alias is remembered.
#[derive(Debug)]
pub(super) enum Held {
    /// By a PUBLISH of the peer.
    Theirs(#[expect(dead_code, reason = "counts as long as it lives")] Place),
    /// By a SUBSCRIBE of ours.
    Ours(#[expect(dead_code, reason = "counts as long as it lives")] Lease),
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
    /// The aliases that are known or remembered.
    held: HashMap<RequestId, Held>,
    waiters: Vec<Stream>,
    /// In the order in which they came.
    early: VecDeque<Early>,
    account: Account,
    log: Logger,
    /// Streams and datagrams given up because too many waited.
    pub(super) refused: u64,
}

impl Bindings {
    pub(super) fn new(account: Account, log: Logger, max_ended: usize) -> Self {
        Self {
            by_request: HashMap::new(),
            pending: HashMap::new(),
            ended: VecDeque::new(),
            max_ended,
            held: HashMap::new(),
            waiters: Vec::new(),
            early: VecDeque::new(),
            account,
            log,
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
    pub(super) fn begin(&mut self, request: RequestId, name: FullTrackName, source: SourceId, place: Place) {
        let done = None;
        self.hold(request, Held::Theirs(place));
        self.pending.insert(request, Pending { name, source, done });
    }

    /// Counts the alias of a request until it is forgotten.
    pub(super) fn hold(&mut self, request: RequestId, held: Held) {
        self.held.insert(request, held);
    }

    /// The alias of a request means nothing any more.
    pub(super) fn forget(&mut self, request: RequestId) {
        self.held.remove(&request);
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

    /// Lets go of the alias that was remembered longest, and says whose it was.
    pub(super) fn forget_oldest(&mut self) -> Option<RequestId> {
        let oldest = self.ended.pop_front()?;
        self.forget(oldest);
        Some(oldest)
    }

    /// Gives one datagram's object to its track. A track that is busy, like one that has ended, loses it, and that is
    /// counted.
    ///
    /// The offer goes through the address that is kept here: the bound of a mailbox holds per address. [D14-LIM-4]
    pub(super) fn offer(&mut self, request: RequestId, object: DatagramObject) {
        let taken = self
            .by_request
            .get(&request)
            .is_some_and(|binding| ingress::datagram(binding, object));
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

    /// A stream that holds so many bytes waits for its alias, or is told that too much waits already.
    ///
    /// [D14-LIM-4]: what it holds unread is bounded by the connection's flow control window, which reading would open.
    pub(super) fn wait(&mut self, alias: TrackAlias, held: u64, reply: ReplyTo<Option<Binding>>) {
        self.waiters.retain(|waiter| !waiter.reply.is_abandoned());
        let room = self.account.take(Kind::EarlyStreams, 1);
        match room.and_then(|stream| Ok((stream, self.account.take(Kind::EarlyBytes, held)?))) {
            Ok(room) => self.waiters.push(Stream {
                alias,
                reply,
                _room: room,
            }),
            Err(full) => {
                self.refuse(full);
                reply.send(None);
            }
        }
    }

    /// A datagram waits for its alias, within the bound of bytes.
    pub(super) fn keep(&mut self, now: Instant, wait: Duration, object: DatagramObject) {
        self.drop_late(now, wait);
        match self.account.take(Kind::EarlyBytes, cost(&object)) {
            Ok(room) => self.early.push_back(Early {
                at: now,
                object,
                _room: room,
            }),
            Err(full) => self.refuse(full),
        }
    }

    /// Something waits for its alias.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiters.is_empty() || !self.early.is_empty()
    }

    /// Lets go of what has waited too long.
    pub(super) fn sweep(&mut self, now: Instant, wait: Duration) {
        self.waiters.retain(|waiter| !waiter.reply.is_abandoned());
        self.drop_late(now, wait);
    }

    fn drop_late(&mut self, now: Instant, wait: Duration) {
        // Only the oldest are looked at: thousands may wait, and each one that comes asks.
        let old = |early: &Early| now.saturating_duration_since(early.at) > wait;
        while self.early.front().is_some_and(old) {
            self.early.pop_front();
        }
    }

    fn refuse(&mut self, full: Full) {
        self.refused += 1;
        self.account.note(&self.log, full);
    }

    /// An alias became known: streams go on, datagrams are handed back.
    pub(super) fn known(&mut self, alias: TrackAlias, binding: &Binding) -> Vec<DatagramObject> {
        for stream in self.waiters.extract_if(.., |stream| stream.alias == alias) {
            stream.reply.send(Some(binding.clone()));
        }
        let early = std::mem::take(&mut self.early).into_iter();
        let (known, unknown) = early.partition::<VecDeque<_>, _>(|early| early.object.alias == alias);
        self.early = unknown;
        known.into_iter().map(|early| early.object).collect()
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

fn cost(object: &DatagramObject) -> u64 {
    let bytes = size_of::<Early>() + object.payload.len() + object.extensions.len();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PerKind, Share, UNLIMITED};
    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::TryRecvError;

    fn bindings() -> (Bindings, Account) {
        let max = PerKind {
            early_streams: 3,
            early_bytes: 1000,
            ..PerKind::all(UNLIMITED)
        };
        let account = Account::new(max, Share::unbounded());
        let log = Logger::root(slog::Discard, slog::o!());
        (Bindings::new(account.clone(), log, 4), account)
    }

    fn wait(bindings: &mut Bindings, held: u64) -> oneshot::Receiver<Option<Binding>> {
        let (to, answer) = ReplyTo::asked();
        bindings.wait(7, held, to);
        answer
    }

    /// D14-LIM-4 D14-DATA-16: streams count for the bytes that were read of them, and give them back when they have
    /// waited in vain, though nothing else happens.
    #[test]
    fn streams_that_wait_count_for_what_they_hold() {
        let (mut bindings, account) = bindings();
        let first = wait(&mut bindings, 600);
        assert!(
            matches!(wait(&mut bindings, 401).try_recv(), Ok(None)),
            "too many bytes"
        );
        let mut second = wait(&mut bindings, 400);
        assert!(matches!(second.try_recv(), Err(TryRecvError::Empty)));
        let third = wait(&mut bindings, 0);
        assert!(
            matches!(wait(&mut bindings, 0).try_recv(), Ok(None)),
            "too many streams"
        );
        assert_eq!((bindings.refused, account.used(Kind::EarlyBytes)), (2, 1000));
        drop(first);
        let (now, patience) = (Instant::now(), Duration::from_secs(1));
        bindings.sweep(now, patience);
        assert_eq!(
            (account.used(Kind::EarlyStreams), account.used(Kind::EarlyBytes)),
            (2, 400)
        );
        assert!(bindings.is_waited_for());
        drop((second, third));
        bindings.sweep(now, patience);
        assert!(!bindings.is_waited_for());
        assert_eq!(account.used(Kind::EarlyStreams), 0);
    }

    /// D14-LIM-4: datagrams share that bound, and are old after a while though no other comes.
    #[test]
    fn datagrams_that_wait_are_given_up_by_age() {
        let (mut bindings, account) = bindings();
        let (now, patience) = (Instant::now(), Duration::from_secs(1));
        let object = DatagramObject {
            alias: 7,
            location: laps_protocol::moqt::location::Location::ZERO,
            priority: 0,
            extensions: bytes::Bytes::new(),
            end_of_group: false,
            status: laps_protocol::moqt::object::ObjectStatus::Normal,
            payload: bytes::Bytes::from_static(&[0; 500]),
        };
        bindings.keep(now, patience, object.clone());
        bindings.keep(now, patience, object);
        assert_eq!((bindings.early.len(), bindings.refused), (1, 1));
        bindings.sweep(now + patience * 2, patience);
        assert_eq!(account.used(Kind::EarlyBytes), 0);
        assert!(!bindings.is_waited_for());
    }
}
