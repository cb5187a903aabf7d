//! What the registry accepts.

use crate::session::SessionActor;
use crate::track::{ReaderId, Source, SourceId, TrackActor, TrackRef, Unavailable};
use actix::{Addr, Message, Recipient};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

/// One announcement of one session, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnounceId(pub u64);

/// Which track is this, and where does it live? The answer comes when the track has a publisher; whoever stops
/// waiting drops the question.
#[derive(Debug, Message)]
#[rtype(result = "Result<TrackRef, Unavailable>")]
pub struct ResolveTrack {
    /// The track.
    pub name: FullTrackName,
    /// Who will attach.
    pub reader: ReaderId,
    /// A life of the track that the asker found dead.
    pub stale: Option<u64>,
    /// The answer may wait for a publisher; without, a track that nobody publishes is told at once.
    pub wait: bool,
}

/// A session announced a namespace.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegisterNamespace {
    /// The announcement.
    pub id: AnnounceId,
    /// The namespace.
    pub namespace: TrackNamespace,
    /// The publisher's session.
    pub session: Addr<SessionActor>,
    /// Makes tracks on that session's shard.
    pub shard: ShardRef,
}

/// The announcement is over, however it ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UnregisterNamespace {
    /// The announcement.
    pub id: AnnounceId,
    /// The namespace.
    pub namespace: TrackNamespace,
}

/// A session published a track. Answered with the track that its objects go to.
#[derive(Debug, Message)]
#[rtype(result = "Result<TrackRef, Unavailable>")]
pub struct RegisterPublisher {
    /// The track.
    pub name: FullTrackName,
    /// The publisher's number.
    pub id: SourceId,
    /// Who.
    pub source: Source,
    /// Makes tracks on that session's shard.
    pub shard: ShardRef,
}

/// A session that sent PUBLISH is gone, or has taken the PUBLISH back, before it heard which track it is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WithdrawPublisher {
    /// The track.
    pub name: FullTrackName,
    /// The publisher's number.
    pub id: SourceId,
}

/// A track of this process, made by a client of ours.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegisterTrack(pub TrackRef);

/// A life of a track is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TrackEnded {
    /// The track.
    pub name: FullTrackName,
    /// Which life.
    pub epoch: u64,
}

/// Make a track on this shard.
#[derive(Debug, Message)]
#[rtype(result = "Addr<TrackActor>")]
pub struct CreateTrack {
    /// The track.
    pub name: FullTrackName,
    /// Which life.
    pub epoch: u64,
    /// Its first publisher's number.
    pub id: SourceId,
    /// Its first publisher.
    pub source: Source,
}

/// A shard, as far as the registry needs it.
#[derive(Clone, Debug)]
pub struct ShardRef {
    /// Its number.
    pub index: usize,
    /// Where tracks are made.
    pub tracks: Recipient<CreateTrack>,
}
