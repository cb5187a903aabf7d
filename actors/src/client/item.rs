//! What a subscriber asks for and what it is given.

use crate::track::TrackGone;
use bytes::Bytes;
use laps_protocol::moqt::location::{GroupId, Location, SubgroupId};
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::relay::track_log::StreamEnd;
use std::time::Instant;

/// What is wanted of a track.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The track.
    pub track: FullTrackName,
    /// Which objects.
    pub filter: SubscribeFilter,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Ask the publisher to begin a new group soon.
    pub new_group: bool,
}

/// One whole object.
#[derive(Clone, Debug)]
pub struct ReceivedObject {
    /// Its place.
    pub location: Location,
    /// Its subgroup; none for a datagram.
    pub subgroup: Option<SubgroupId>,
    /// Publisher priority.
    pub priority: u8,
    /// Its status.
    pub status: ObjectStatus,
    /// The extension block as received.
    pub extensions: Bytes,
    /// The payload in the pieces in which it came.
    pub payload: Vec<Bytes>,
    /// When its last byte was read.
    pub at: Instant,
}

impl ReceivedObject {
    /// Bytes of payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.iter().map(Bytes::len).sum()
    }

    /// No payload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.iter().all(Bytes::is_empty)
    }
}

/// What a subscriber reads next.
#[derive(Clone, Debug)]
pub enum Item {
    /// A subgroup's stream began.
    Opened {
        /// Its group.
        group: GroupId,
        /// Its number.
        subgroup: SubgroupId,
    },
    /// An object.
    Object(ReceivedObject),
    /// A subgroup's stream ended.
    Closed {
        /// Its group.
        group: GroupId,
        /// Its number.
        subgroup: SubgroupId,
        /// How it ended; an object that was not whole is lost.
        end: StreamEnd,
    },
    /// Objects that were not read in time.
    Lost,
    /// The track is over.
    Done(TrackGone),
}
