//! What the publishers of a track bring, and how they come and go.

use super::{Source, SourceId, TrackMeta};
use crate::track::Upstream;
use actix::Message;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDone, RequestError, RequestId};
use laps_protocol::relay::track_log::Append;

/// Chunks from one source. The answer is the sender's leave to send more: back-pressure.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ingest {
    /// Who sends.
    pub source: SourceId,
    /// What, in order.
    pub batch: Vec<Append>,
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

/// A publisher withdrew its announcement of the track's namespace; unless it feeds the track, it is forgotten.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WithdrawAnnouncer {
    /// Whose announcement.
    pub upstream: Upstream,
}

/// The track has another home, with the readers that come from now on. This one ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Superseded;

/// The shard of this track's home has failed: the track ends while there is a moment left to say so.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ShardFailed;

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

/// The upstream, which has accepted before and was out of reach since, has accepted again: what it sends from now on
/// begins behind `largest`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UpstreamAgain {
    /// Which.
    pub source: SourceId,
    /// Largest place it knows.
    pub largest: Option<Location>,
    /// It may be in another life, which sends nothing of the groups before that one. Else it goes on with what is open.
    pub anew: bool,
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

/// The way from the upstream was cut, whether a stream was open or not: what it sends next is not what follows.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SourceCut {
    /// Which.
    pub source: SourceId,
}

/// The upstream's session is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SourceGone {
    /// Which.
    pub source: SourceId,
}

/// Which request of ours, or PUBLISH of the peer, brings the objects now, the oldest if there are several; none when
/// nothing does.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<RequestId>")]
pub struct UpstreamRequest;
