//! What the registry accepts.

use super::roll::RollCall;
use crate::namespace::NamespacesChanged;
use crate::supervise::mailbox::Wake;
use crate::track::{ReaderId, Source, SourceId, TrackActor, TrackRef, Unavailable, Upstream};
use actix::{Addr, Message, Recipient};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use std::sync::atomic::{AtomicU64, Ordering};

/// One announcement of one publisher, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnounceId(pub u64);

impl AnnounceId {
    /// A number that no other announcement has.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which track is this, and where does it live? The answer comes when the track has a publisher; whoever stops
/// waiting drops the question.
#[derive(Clone, Debug, Message)]
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
    /// The asker, when it is not to be given what it alone publishes (`relay.allow_self = false`).
    pub except: Option<Upstream>,
    /// A client of this relay asks, so that publishers anywhere in the mesh count: a stub asks its edge for them. What the
    /// mesh itself asks for is published here or not at all.
    pub seek: bool,
}

/// A namespace was announced.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RegisterNamespace {
    /// The announcement.
    pub id: AnnounceId,
    /// The namespace.
    pub namespace: TrackNamespace,
    /// The publisher.
    pub upstream: Upstream,
    /// Makes tracks on the publisher's shard.
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

/// A track was published. Answered with the track that its objects go to.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<TrackRef, Unavailable>")]
pub struct RegisterPublisher {
    /// The track.
    pub name: FullTrackName,
    /// The publisher's number.
    pub id: SourceId,
    /// Who.
    pub source: Source,
    /// Makes tracks on the publisher's shard.
    pub shard: ShardRef,
}

/// Who sent PUBLISH is gone, or has taken the PUBLISH back, before it heard which track it is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WithdrawPublisher {
    /// The track.
    pub name: FullTrackName,
    /// The publisher's number.
    pub id: SourceId,
}

/// A track goes on without one of those who published it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PublisherLost {
    /// The track.
    pub name: FullTrackName,
    /// Which life.
    pub epoch: u64,
    /// The publisher's number.
    pub id: SourceId,
}

/// A track of this process, made by a client of ours.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RegisterTrack(pub TrackRef);

/// To shards, and through them to everything on them: the registry is a new one that knows nothing. Whoever owns
/// something that it should know tells it again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Reregister {
    /// Which life of the registry asks.
    pub epoch: u32,
    /// Number of the shard that is asked.
    pub shard: usize,
    /// Let go of when everything was told.
    pub roll: RollCall,
}

/// Everybody who was asked to tell a new registry what is theirs has told, or is gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct AllTold {
    /// Which life of the registry was told.
    pub(super) epoch: u32,
}

/// The home of a track, which an earlier life of the registry had made.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ReregisterTrack {
    /// The track, in the life that it has.
    pub track: TrackRef,
    /// Those that sent PUBLISH for it.
    pub published: Vec<(SourceId, Upstream)>,
    /// Those that it knows to announce its namespace.
    pub announcers: Vec<Upstream>,
}

/// A shard failed, and with it everything that lived on it. Sent before a new one takes its number.
///
/// What its actors withdraw themselves while they are dropped is withdrawn already or will be, harmlessly.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ShardLost {
    /// Its number.
    pub index: usize,
}

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

/// One watched prefix of one watcher, unique in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub u64);

impl WatchId {
    /// One that nobody has.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whose publications a watcher hears of.
#[derive(Clone, Debug)]
pub enum Whose {
    /// Everybody's.
    Everybody,
    /// Not of what this one alone publishes, which is the watcher (`relay.allow_self = false`).
    Others(Upstream),
    /// Those of this relay's own sessions: what came over the mesh is not published into it again. (decision 0029)
    Ours,
}

impl Whose {
    /// The watcher is a session's; the mesh watches its own relay's sessions.
    pub(super) const fn is_of_a_client(&self) -> bool {
        match self {
            Self::Everybody | Self::Others(_) => true,
            Self::Ours => false,
        }
    }

    pub(super) fn counts(&self, upstream: &Upstream) -> bool {
        match self {
            Self::Everybody => true,
            Self::Others(watcher) => upstream != watcher,
            Self::Ours => upstream.is_local(),
        }
    }
}

impl From<Option<Upstream>> for Whose {
    fn from(except: Option<Upstream>) -> Self {
        except.map_or(Self::Everybody, Self::Others)
    }
}

/// A session or the mesh watches a prefix. Everything below it counts as changed, and the answer is the first part of that.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Changes")]
pub struct WatchNamespace {
    /// The watch.
    pub id: WatchId,
    /// The prefix; none for everything that there is.
    pub prefix: Option<TrackNamespace>,
    /// Whose publications it hears of.
    pub whose: Whose,
    /// Woken when something changed below the prefix.
    pub wake: Wake<NamespacesChanged>,
}

/// What has changed since the last time? Also the leave to be woken again. None from a registry that does not know the
/// watch, as one that began since.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Changes>")]
pub struct TakeChanges(pub WatchId);

/// Nobody watches any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct UnwatchNamespace(pub WatchId);

/// How things are below a watched prefix, as far as they changed.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Namespaces, and whether anybody announces them.
    pub namespaces: Vec<(TrackNamespace, bool)>,
    /// Tracks, and where each lives that somebody publishes by PUBLISH.
    pub tracks: Vec<(FullTrackName, Option<TrackRef>)>,
    /// There is more to take.
    pub more: bool,
}
