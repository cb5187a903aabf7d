//! What track and replica actors accept.

mod past;
mod publishers;
mod readers;
mod replicas;

pub use past::{ClosePast, OpenPast, PastOpened, ReadPast};
pub use publishers::{
    AddSource, Ingest, Joined, ReadsItself, ShardFailed, SourceCut, SourceGone, Superseded, UpstreamAgain,
    UpstreamDone, UpstreamOk, UpstreamRejected, UpstreamRequest, WithdrawAnnouncer,
};
pub use readers::{
    Attach, Attached, Describe, Description, Detach, Gather, Gathered, Knows, TrackAdvanced, TrackGone,
    Unavailable, WhoKnows,
};
pub use replicas::{AttachReplica, JoinLink, ReplicaAttached, ReplicaState, Replicate, Word};

use super::Upstream;
use actix::Addr;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, RequestId, SubscribeOk};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::fetch::ReaderKey;
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
    /// What SUBSCRIBE_OK says.
    #[must_use]
    pub fn of(ok: &SubscribeOk) -> Self {
        Self {
            group_order: ok.group_order,
            delivery_timeout_ms: ok.params.delivery_timeout_ms.filter(|ms| *ms > 0),
            max_cache_duration_ms: ok.params.max_cache_duration_ms,
            expires_ms: ok.expires_ms,
        }
    }

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
    /// One that announced the namespace: it is asked by SUBSCRIBE.
    Announced {
        /// The publisher.
        upstream: Upstream,
    },
    /// One that sent PUBLISH for the track.
    Published {
        /// The publisher.
        upstream: Upstream,
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
