//! Tracks: the home copy where objects arrive, replicas on other shards, and the logs both keep.
//!
//! ```text
//! [Pub] ingress task ⇢⇢▶ TrackActor.Ingest(batch).await      one batch in flight per stream
//! [Pub] TrackActor ──▶ TrackLog.append                       same thread, plain calls
//! [Pub] TrackActor ⇢⇢▶ SubscriptionActor.TrackAdvanced       only if the last one was consumed
//! [Pub] TrackActor ⇢⇢▶ [Sub] ReplicaActor.Replicate(batch)   one batch in flight per shard
//! ```

mod audience;
pub mod budget;
mod fanout;
pub mod handle;
mod home;
pub mod messages;
mod pace;
mod replica;
mod replication;
mod upstream;
mod wants;
mod wish;

pub use audience::{Audience, AudienceNow};
pub use budget::Budget;
pub use home::{Birth, TrackActor};
pub use messages::{
    AddSource, Attach, AttachReplica, Attached, ClosePast, Describe, Description, Detach, Gather, Gathered,
    Ingest, JoinLink, Joined, Knows, OpenPast, PastOpened, ReadPast, ReaderId, ReadsItself, ReplicaAttached,
    ReplicaState, Replicate, ShardFailed, Source, SourceCut, SourceGone, SourceId, Superseded, TrackAdvanced,
    TrackGone, TrackMeta, TrackRef, Unavailable, UpstreamAgain, UpstreamDone, UpstreamOk, UpstreamRejected,
    UpstreamRequest, WhoKnows, WithdrawAnnouncer, Word,
};
pub use pace::{Behind, Taker};
pub use replica::ReplicaActor;
pub use upstream::Upstream;
pub use wants::{Urgency, Wants};
pub use wish::{SetWants, WantNewGroup, Wish};

use laps_protocol::moqt::message::{GroupOrderRequest, SubscribeFilter};
use laps_protocol::relay::fetch::FetchLimits;
use laps_protocol::relay::merge::MergeLimits;
use laps_protocol::relay::silence::SILENT_AFTER;
use laps_protocol::relay::track_log::Limits;
use std::sync::Arc;
use std::time::Duration;

/// On what terms a track subscribes upstream.
///
/// A relay's own are the same for every track, so that one upstream subscription serves all its subscribers: MOQT-14
/// §8.3 [D14-SUB-15], §7.3 [D14-SUB-13]. A client's are what its user asked for.
#[derive(Clone, Debug)]
pub struct UpstreamTerms {
    /// Which objects.
    pub filter: SubscribeFilter,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Order of groups.
    pub group_order: GroupOrderRequest,
}

impl Default for UpstreamTerms {
    fn default() -> Self {
        Self {
            filter: SubscribeFilter::LargestObject,
            priority: 128,
            group_order: GroupOrderRequest::Publisher,
        }
    }
}

/// How tracks behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a log keeps.
    pub limits: Limits,
    /// What all logs of the process keep together.
    pub budget: Arc<Budget>,
    /// How a track answers FETCH.
    pub fetch: FetchLimits,
    /// How long a track without readers keeps its upstream subscription, for the next reader.
    pub linger: Duration,
    /// How long readers that waited for a publisher may take to attach before the first object is forwarded.
    pub gather: Duration,
    /// How long a publisher may take to answer SUBSCRIBE.
    pub upstream_timeout: Duration,
    /// How much longer than it usually does a publisher may say nothing until another one is preferred to it.
    pub silent_after: Duration,
    /// How long the streams that PUBLISH_DONE announced are awaited.
    pub done_wait: Duration,
    /// The least time between two messages that tell a publisher whether objects are wanted, and how urgently, and for how
    /// long nobody has wanted any, or none so urgently, when it is told so.
    pub dampen: Duration,
    /// Publishers that may feed one track at once. [D14-PUB-2]
    pub max_publishers: usize,
    /// How what several publishers send becomes one log.
    pub merge: MergeLimits,
}

impl Config {
    /// How long a track may take to go live: its readers gather, then its publishers are asked together; those beyond the
    /// bound come after two rounds of them at most.
    #[must_use]
    pub fn answer_deadline(&self) -> Duration {
        self.gather + self.upstream_timeout.saturating_mul(3) + Duration::from_secs(1)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            budget: Arc::default(),
            fetch: FetchLimits::default(),
            linger: Duration::from_secs(2),
            gather: Duration::from_millis(500),
            upstream_timeout: Duration::from_secs(3),
            silent_after: SILENT_AFTER,
            done_wait: Duration::from_secs(2),
            dampen: Duration::from_millis(500),
            max_publishers: 8,
            merge: MergeLimits::default(),
        }
    }
}
