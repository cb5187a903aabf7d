//! What a track and its replicas on other shards say to each other.

use super::{ReaderId, TrackGone, TrackMeta, Unavailable};
use crate::track::audience::AudienceNow;
use crate::track::wants::Wants;
use actix::{Message, Recipient};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::track_log::Append;
use std::sync::Arc;

/// A shard wants a copy of the track. Answered when the track is live.
#[derive(Debug, Message)]
#[rtype(result = "Result<ReplicaAttached, Unavailable>")]
pub struct AttachReplica {
    /// The replica, which counts as one reader.
    pub id: ReaderId,
    /// Where the chunks go.
    pub replica: Recipient<Replicate>,
    /// The reader for whom it is made belongs to this relay; see [`super::Attach::own`].
    pub own: bool,
    /// What that reader wants.
    pub wants: Wants,
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
    /// Readers who want objects have to wait for [`Word::Given`].
    pub awaited: bool,
}

/// Whether a publisher has said that what is wanted comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Readers who want objects have to wait for it from now on.
    Awaited,
    /// They have not, and the track has come to this place.
    Given(Option<Location>),
}

/// The readers of a shard are others, or changed what they want, or left altogether.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReplicaState {
    /// The replica.
    pub id: ReaderId,
    /// Who they are when this is read.
    pub readers: Arc<AudienceNow>,
    /// The replica is being closed.
    pub closed: bool,
}

/// Chunks for a replica, in order. The answer is the leave to send more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Replicate {
    /// What.
    pub batch: Vec<Append>,
    /// Something that has changed before these.
    pub word: Option<Word>,
    /// No publisher of this relay feeds the track any more, after these: for links it has ended.
    pub links_gone: Option<TrackGone>,
    /// The track ended after these.
    pub gone: Option<TrackGone>,
}

/// A link to another relay is to read the track by a replica. Answered when a publisher of this relay feeds it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), Unavailable>")]
pub struct JoinLink {
    /// Who.
    pub reader: ReaderId,
    /// What the link wants.
    pub wants: Wants,
}
