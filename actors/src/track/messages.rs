//! What track and replica actors accept.

use super::handle::LogId;
use super::wish::Wish;
use crate::session::SessionActor;
use crate::supervise::mailbox::Wake;
use actix::{Addr, Message, Recipient};
use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrder, GroupOrderRequest, PublishDone, PublishDoneStatus, RequestError, RequestErrorReason,
    RequestId,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::fetch::{Batch, ReaderKey};
use laps_protocol::relay::track_log::{Append, LiveEdge, PastRange};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A reader of a track: one subscription, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReaderId(u64);

/// One publisher of one track, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

impl ReaderId {
    /// A number that no other reader has.
    #[must_use]
    pub fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// As a fetch's number at a track's desk.
    pub(super) const fn key(self) -> ReaderKey {
        ReaderKey(self.0)
    }
}

impl SourceId {
    /// A number that no other source has.
    #[must_use]
    pub fn next() -> Self {
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

/// What the publisher said of a track when it was subscribed, beside the largest place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackMeta {
    /// The publisher's order of groups.
    pub group_order: GroupOrder,
    /// The publisher's DELIVERY_TIMEOUT in milliseconds. MOQT-14 §9.2.1.2 [D14-SUB-14]: passed on, and
    /// applied with the subscriber's. Never 0.
    pub delivery_timeout_ms: Option<u64>,
    /// The publisher's MAX_CACHE_DURATION in milliseconds. MOQT-14 §9.2.1.3.
    pub max_cache_duration_ms: Option<u64>,
    /// Milliseconds until the upstream subscription ends, 0 when it does not. MOQT-14 §9.8 [D14-SUB-16].
    pub expires_ms: u64,
}

impl TrackMeta {
    /// The same, so much later. MOQT-14 §9.8 [D14-SUB-16]: what is left of Expires, and never the 0 that means for ever.
    #[must_use]
    pub fn after(&self, passed: Duration) -> Self {
        let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let expires_ms = match self.expires_ms {
            0 => 0,
            left => left.saturating_sub(passed).max(1),
        };
        Self {
            expires_ms,
            ..self.clone()
        }
    }

    /// What this publisher and another one say together (decision 0015).
    ///
    /// The order of groups is this one's. Objects are kept and delivered no longer than the stricter one allows. The
    /// track lasts for as long as one of them lasts, and 0 is for ever.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let strict = |mine: Option<u64>, others: Option<u64>| mine.into_iter().chain(others).min();
        let for_ever = self.expires_ms == 0 || other.expires_ms == 0;
        Self {
            group_order: self.group_order,
            delivery_timeout_ms: strict(self.delivery_timeout_ms, other.delivery_timeout_ms),
            max_cache_duration_ms: strict(self.max_cache_duration_ms, other.max_cache_duration_ms),
            expires_ms: if for_ever {
                0
            } else {
                self.expires_ms.max(other.expires_ms)
            },
        }
    }
}

/// Where the objects of a track come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A session that announced the namespace: it is asked by SUBSCRIBE.
    Announced {
        /// The publisher's session.
        session: Addr<SessionActor>,
    },
    /// A session that sent PUBLISH for the track.
    Published {
        /// The publisher's session.
        session: Addr<SessionActor>,
        /// The PUBLISH.
        request: RequestId,
        /// Largest place at that time.
        largest: Option<Location>,
        /// What it said of the track.
        meta: TrackMeta,
    },
    /// This process makes the objects (`laps pub`).
    Local {
        /// Told whether a reader wants objects.
        wanted: watch::Sender<bool>,
        /// Counts the new groups that readers asked for.
        new_group: watch::Sender<u64>,
    },
}

/// A reader wants the track from now on. Answered when the track is live.
#[derive(Debug, Message)]
#[rtype(result = "Result<Attached, Unavailable>")]
pub struct Attach {
    /// Who.
    pub reader: ReaderId,
    /// Told of news, one message at a time.
    pub wake: Wake<TrackAdvanced>,
    /// Told once when the track ends.
    pub gone: Recipient<TrackGone>,
    /// The reader wants objects now.
    pub forward: bool,
}

/// The track is live and the reader's place in it is fixed.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The log of this arbiter.
    pub log: LogId,
    /// The reader's place: everything appended after it asked.
    pub edge: LiveEdge,
    /// Largest place before that.
    pub largest: Option<Location>,
    /// What the publisher said.
    pub meta: TrackMeta,
}

/// Why a track cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason:?}: {}", crate::words::shown(phrase))]
pub struct Unavailable {
    /// The answer for the subscriber.
    pub reason: RequestErrorReason,
    /// Words for a person.
    pub phrase: Bytes,
    /// It may be had all the same: this copy of the track is over, or nobody publishes the track yet.
    pub for_now: bool,
}

impl Unavailable {
    /// `reason` with words for a person.
    #[must_use]
    pub const fn new(reason: RequestErrorReason, phrase: &'static str) -> Self {
        Self {
            reason,
            phrase: Bytes::from_static(phrase.as_bytes()),
            for_now: false,
        }
    }

    /// The track does not exist, but whoever may wait asks again.
    #[must_use]
    pub const fn for_now(phrase: &'static str) -> Self {
        Self {
            reason: RequestErrorReason::TrackDoesNotExist,
            phrase: Bytes::from_static(phrase.as_bytes()),
            for_now: true,
        }
    }
}

/// What is this track? Answered when it is live; none when it has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Description>")]
pub struct Describe;

/// What a publisher of a track says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Largest place.
    pub largest: Option<Location>,
    /// What its publisher said.
    pub meta: TrackMeta,
}

/// A reader leaves.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Detach {
    /// Who.
    pub reader: ReaderId,
}

/// There may be something new to read.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct TrackAdvanced;

/// The track has ended; what is in the log can still be read until the reader detaches.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct TrackGone {
    /// Why.
    pub status: PublishDoneStatus,
    /// Words for a person.
    pub phrase: Bytes,
}

impl TrackGone {
    /// `status` with words for a person.
    #[must_use]
    pub const fn new(status: PublishDoneStatus, phrase: &'static str) -> Self {
        Self {
            status,
            phrase: Bytes::from_static(phrase.as_bytes()),
        }
    }
}

/// Chunks from one source. The answer is the sender's leave to send more: back-pressure.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ingest {
    /// Who sends.
    pub source: SourceId,
    /// What, in order.
    pub batch: Vec<Append>,
}

/// These readers were waiting for the track before it had a publisher: nothing is forwarded until all of them are
/// attached or gone, or a bound is up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Gather {
    /// Who.
    pub readers: Vec<ReaderId>,
}

/// A waiting reader attached on another shard, or will not come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Gathered {
    /// Who.
    pub reader: ReaderId,
}

/// Whether a track takes a further publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It does.
    Taken,
    /// This life of the track is ending and takes nobody; the next one may.
    Ended,
    /// It does not, and this is why, in words for a person.
    Refused(&'static str),
}

/// A further publisher of the track.
#[derive(Debug, Message)]
#[rtype(result = "Joined")]
pub struct AddSource {
    /// Its number.
    pub id: SourceId,
    /// Who.
    pub source: Source,
}

/// A session withdrew its announcement of the track's namespace; unless it feeds the track, it is forgotten.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WithdrawAnnouncer {
    /// Whose announcement.
    pub session: Addr<SessionActor>,
}

/// The track has another home, with the readers that come from now on. This one ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Superseded;

/// The session of a publisher that is subscribed to reads the track itself from now on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ReadsItself {
    /// Which publisher.
    pub source: SourceId,
}

/// The upstream accepted our SUBSCRIBE.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UpstreamOk {
    /// Which.
    pub source: SourceId,
    /// Largest place it knows.
    pub largest: Option<Location>,
    /// What it said of the track.
    pub meta: TrackMeta,
}

/// The upstream refused our SUBSCRIBE.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UpstreamRejected {
    /// Which.
    pub source: SourceId,
    /// Why.
    pub error: RequestError,
}

/// The upstream ends the subscription. MOQT-14 §9.12.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UpstreamDone {
    /// Which.
    pub source: SourceId,
    /// What it said.
    pub done: PublishDone,
}

/// The upstream's session is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SourceGone {
    /// Which.
    pub source: SourceId,
}

/// A shard wants a copy of the track. Answered when the track is live.
#[derive(Debug, Message)]
#[rtype(result = "Result<ReplicaAttached, Unavailable>")]
pub struct AttachReplica {
    /// The replica, which counts as one reader.
    pub id: ReaderId,
    /// Where the chunks go.
    pub replica: Recipient<Replicate>,
}

/// Everything a fresh replica needs to continue from exactly here.
#[derive(Clone, Debug)]
pub struct ReplicaAttached {
    /// Chunks that rebuild the open subgroups.
    pub snapshot: Vec<Append>,
    /// Largest place.
    pub largest: Option<Location>,
    /// What the publisher said.
    pub meta: TrackMeta,
}

/// The readers of a shard changed their wish for objects, or left altogether.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReplicaState {
    /// The replica.
    pub id: ReaderId,
    /// Whether at least one reader wants objects when this is read.
    pub wish: Arc<Wish>,
    /// The replica is being closed.
    pub closed: bool,
}

/// Chunks for a replica, in order. The answer is the leave to send more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Replicate {
    /// What.
    pub batch: Vec<Append>,
    /// The track ended after these.
    pub gone: Option<TrackGone>,
}

/// A track and where it lives. Cheap to clone, may be stale: its epoch tells lives apart.
#[derive(Clone, Debug)]
pub struct TrackRef {
    /// The track.
    pub name: FullTrackName,
    /// Number of the shard that its objects arrive on.
    pub shard: usize,
    /// Its actor there.
    pub home: Addr<super::TrackActor>,
    /// Which life of the track this is.
    pub epoch: u64,
}

/// A FETCH wants a part of the track's past. Answered when the track knows whether it is subscribed.
#[derive(Debug, Message)]
#[rtype(result = "Result<PastOpened, Unavailable>")]
pub struct OpenPast {
    /// Who.
    pub reader: ReaderId,
    /// What, as it stands in the FETCH.
    pub range: PastRange,
    /// In which order.
    pub order: GroupOrderRequest,
}

/// A FETCH has its place at the track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastOpened {
    /// The order in which groups will come.
    pub group_order: GroupOrder,
    /// The publisher's MAX_CACHE_DURATION in milliseconds. MOQT-14 §9.2.1.3 [D14-PARAM-5]
    pub max_cache_duration_ms: Option<u64>,
}

/// A FETCH wants its next objects. Answered when there are some, or none can come.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Batch")]
pub struct ReadPast {
    /// Who.
    pub reader: ReaderId,
}

/// A FETCH is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ClosePast {
    /// Who.
    pub reader: ReaderId,
}

/// Which request of ours, or PUBLISH of the peer, brings the objects now, the oldest if there are several; none when
/// nothing does.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<RequestId>")]
pub struct UpstreamRequest;

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-PUB-3: several publishers of a track say one thing together.
    #[test]
    fn publishers_speak_together() {
        let meta = |group_order, timeout, cache, expires_ms| TrackMeta {
            group_order,
            delivery_timeout_ms: timeout,
            max_cache_duration_ms: cache,
            expires_ms,
        };
        let first = meta(GroupOrder::Descending, Some(300), None, 1000);
        let second = meta(GroupOrder::Ascending, Some(200), Some(50), 4000);
        let both = meta(GroupOrder::Descending, Some(200), Some(50), 4000);
        assert_eq!(first.with(&second), both);
        let for_ever = meta(GroupOrder::Ascending, None, Some(70), 0);
        let all = meta(GroupOrder::Descending, Some(200), Some(50), 0);
        assert_eq!(both.with(&for_ever), all);
    }

    /// D14-SUB-16: what is left of Expires is passed on; 0 is for ever, so it is never what is left.
    #[test]
    fn expires_runs_down_and_for_ever_stays() {
        let meta = |expires_ms| TrackMeta {
            expires_ms,
            ..TrackMeta::default()
        };
        let after = |expires_ms, ms| meta(expires_ms).after(Duration::from_millis(ms)).expires_ms;
        assert_eq!(
            [
                after(0, 50),
                after(100, 0),
                after(100, 30),
                after(100, 100),
                after(100, 9999)
            ],
            [0, 100, 70, 1, 1]
        );
    }
}
