//! SUBSCRIBE and what follows it. MOQT-14 §9.7 to §9.11.

use super::params::MessageParams;
use super::request::RequestId;
use crate::moqt::location::{GroupId, Location};
use crate::moqt::name::FullTrackName;
use crate::moqt::object::TrackAlias;

/// Order of groups that a subscriber asks for. MOQT-14 §9.7 [D14-VAL-1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupOrderRequest {
    /// As the publisher prefers.
    #[default]
    Publisher,
    /// This order.
    Fixed(GroupOrder),
}

/// Order in which groups are sent. MOQT-14 §7.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupOrder {
    /// Old groups first.
    #[default]
    Ascending,
    /// New groups first.
    Descending,
}

/// Filter types without their arguments, for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterType {
    /// From the next group on.
    NextGroupStart,
    /// From the next object on.
    LargestObject,
    /// From a given place on.
    AbsoluteStart,
    /// From a given place to the end of a given group.
    AbsoluteRange,
}

/// Which objects a subscriber wants. MOQT-14 §9.7 [D14-SUB-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFilter {
    /// From the start of the group after the largest known one.
    NextGroupStart,
    /// From the object after the largest known one.
    LargestObject,
    /// From this place on; never from a cache.
    AbsoluteStart(Location),
    /// From this place to the end of this group, which is included.
    AbsoluteRange {
        /// First place.
        start: Location,
        /// Last group, included.
        end_group: GroupId,
    },
}

impl SubscribeFilter {
    /// The type without its arguments.
    #[must_use]
    pub const fn kind(&self) -> FilterType {
        match self {
            Self::NextGroupStart => FilterType::NextGroupStart,
            Self::LargestObject => FilterType::LargestObject,
            Self::AbsoluteStart(_) => FilterType::AbsoluteStart,
            Self::AbsoluteRange { .. } => FilterType::AbsoluteRange,
        }
    }
}

/// SUBSCRIBE, and TRACK_STATUS, which has the same fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The track.
    pub track: FullTrackName,
    /// Subscriber priority, 0 the most urgent, 128 where nothing was said.
    pub priority: u8,
    /// Order of groups.
    pub group_order: GroupOrderRequest,
    /// False: no objects until an update says otherwise.
    pub forward: bool,
    /// Which objects.
    pub filter: SubscribeFilter,
    /// Parameters.
    pub params: MessageParams,
}

/// SUBSCRIBE_OK, and TRACK_STATUS_OK, which has the same fields (with alias 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeOk {
    /// The number that stands for the track on data streams.
    pub alias: TrackAlias,
    /// Milliseconds until the subscription ends; 0 when it does not.
    pub expires_ms: u64,
    /// Order that will be used.
    pub group_order: GroupOrder,
    /// Largest place published so far, if there is any.
    pub largest: Option<Location>,
    /// Parameters.
    pub params: MessageParams,
}

/// SUBSCRIBE_UPDATE. MOQT-14 §9.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeUpdate {
    /// The request that made the subscription.
    pub subscription: RequestId,
    /// New first place; may not lie before the old one.
    pub start: Location,
    /// Last group, included; none means open-ended. (On draft-14's wire: plus one, 0 for none.)
    pub end_group: Option<GroupId>,
    /// Subscriber priority.
    pub priority: u8,
    /// Whether objects are sent.
    pub forward: bool,
    /// Parameters; an absent one keeps its value.
    pub params: MessageParams,
}
