//! What readers of a track ask of it, and what they hear.

use super::{ReaderId, TrackMeta};
use crate::supervise::mailbox::Wake;
use crate::track::Upstream;
use crate::track::handle::LogId;
use crate::track::wants::Wants;
use actix::{Message, Recipient};
use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::relay::track_log::LiveEdge;

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
    /// What the reader wants now.
    pub wants: Wants,
    /// It belongs to this relay: a session, or a stub behind it, which the mesh does not know. A link to another relay does
    /// not: for it nobody in the mesh is asked, since it asks them itself (decision 0029).
    pub own: bool,
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

impl Attached {
    /// What the publisher says of the track.
    #[must_use]
    pub fn description(&self) -> Description {
        Description {
            largest: self.largest,
            meta: self.meta.clone(),
        }
    }
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

/// Who can say how the track stands, without a subscription of this relay to other nodes?
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Knows")]
pub struct WhoKnows {
    /// The asker belongs to this relay; see [`Attach::own`].
    pub own: bool,
}

/// Who can.
#[derive(Clone, Debug)]
pub enum Knows {
    /// The home, to which the asker attaches for a moment: it has what publishers say, or subscribes to those of this relay.
    Home,
    /// These nodes publish the track. The asker does not attach, or for publishers of this relay alone, and says [`Gathered`]
    /// when it is done.
    Nodes {
        /// They, the oldest publisher first.
        nodes: Vec<Upstream>,
        /// Clients of this relay do as well.
        here: bool,
    },
}

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
