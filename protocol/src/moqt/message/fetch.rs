//! FETCH and its answer. MOQT-14 §9.16 to §9.19.

use super::params::MessageParams;
use super::request::RequestId;
use super::subscribe::{GroupOrder, GroupOrderRequest};
use crate::moqt::location::{GroupId, Location};
use crate::moqt::name::FullTrackName;

/// What a FETCH asks for. MOQT-14 §9.16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchRange {
    /// A range of a track named here. `end` with object 0 means the whole group, else the object before it is the
    /// last. MOQT-14 §9.16.1 [D14-FETCH-3].
    Standalone {
        /// The track.
        track: FullTrackName,
        /// First place.
        start: Location,
        /// End, as on the wire.
        end: Location,
    },
    /// From so many groups before the largest place of a subscription. MOQT-14 §9.16.2.
    RelativeJoining {
        /// The subscription.
        subscription: RequestId,
        /// Groups back.
        groups: u64,
    },
    /// From this group to the largest place of a subscription. MOQT-14 §9.16.2.
    AbsoluteJoining {
        /// The subscription.
        subscription: RequestId,
        /// First group.
        group: GroupId,
    },
}

/// FETCH. MOQT-14 §9.16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Order of groups.
    pub group_order: GroupOrderRequest,
    /// What.
    pub range: FetchRange,
    /// Parameters.
    pub params: MessageParams,
}

/// FETCH_OK. MOQT-14 §9.17.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOk {
    /// Order that will be used.
    pub group_order: GroupOrder,
    /// The end is the final object of the track.
    pub end_of_track: bool,
    /// End, as on the wire: object 0 for a whole group, else last object plus one.
    pub end: Location,
    /// Parameters.
    pub params: MessageParams,
}
