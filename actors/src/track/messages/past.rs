//! What FETCH asks of a track.

use super::{ReaderId, Unavailable};
use actix::Message;
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest};
use laps_protocol::relay::fetch::Batch;
use laps_protocol::relay::track_log::PastRange;

/// A FETCH wants a part of the track's past. Answered when the track knows whether it is subscribed.
#[derive(Debug, Message)]
#[rtype(result = "Result<PastOpened, Unavailable>")]
pub struct OpenPast {
    /// Who.
    pub reader: ReaderId,
    /// What, as it stands in the FETCH.
    pub range: PastRange,
    /// In which order.
    pub order: GroupOrderRequest,
    /// How urgent it is to who fetches: the subscriber priority of the FETCH, 0 the most urgent. MOQT-14 §7.1 [D14-PRIO-4]
    pub priority: u8,
    /// Who fetches belongs to this relay, so that other nodes may be asked; see [`super::Attach::own`].
    pub own: bool,
}

/// A FETCH has its place at the track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastOpened {
    /// The order in which groups will come.
    pub group_order: GroupOrder,
    /// The publisher's MAX_CACHE_DURATION in milliseconds. MOQT-14 §9.2.1.3 [D14-PARAM-5]
    pub max_cache_duration_ms: Option<u64>,
}

/// A FETCH wants its next objects. Answered when there are some, or none can come.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Batch")]
pub struct ReadPast {
    /// Who.
    pub reader: ReaderId,
}

/// A FETCH is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ClosePast {
    /// Who.
    pub reader: ReaderId,
}
