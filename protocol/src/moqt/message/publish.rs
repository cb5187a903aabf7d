//! PUBLISH, its answer, and the end of a subscription. MOQT-14 §9.12 to §9.15.

use super::params::MessageParams;
use super::subscribe::{GroupOrder, SubscribeFilter};
use crate::moqt::location::Location;
use crate::moqt::name::FullTrackName;
use crate::moqt::object::TrackAlias;
use bytes::Bytes;

/// PUBLISH: the publisher opens a subscription of the peer by itself. MOQT-14 §9.13.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The track.
    pub track: FullTrackName,
    /// The number that stands for the track on data streams.
    pub alias: TrackAlias,
    /// Order of groups.
    pub group_order: GroupOrder,
    /// Largest place published so far, if there is any.
    pub largest: Option<Location>,
    /// Whether objects are sent before PUBLISH_OK says otherwise.
    pub forward: bool,
    /// Parameters.
    pub params: MessageParams,
}

/// PUBLISH_OK. MOQT-14 §9.14.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishOk {
    /// Whether objects are to be sent.
    pub forward: bool,
    /// Subscriber priority, 0 the most urgent.
    pub priority: u8,
    /// Order of groups; overrides the publisher's. None stands for the value 0, which the draft forbids and some
    /// peers send: keep the publisher's order.
    pub group_order: Option<GroupOrder>,
    /// Which objects.
    pub filter: SubscribeFilter,
    /// Parameters.
    pub params: MessageParams,
}

/// Why a subscription ended. MOQT-14 §9.12 [D14-TERM-8].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublishDoneStatus {
    /// Something failed on the publisher's side.
    InternalError,
    /// The subscriber may no longer have the track.
    Unauthorized,
    /// The track is over.
    TrackEnded,
    /// The subscription reached its end.
    SubscriptionEnded,
    /// The publisher moves.
    GoingAway,
    /// The subscription's time is up.
    Expired,
    /// The subscriber was too slow.
    TooFarBehind,
    /// The track breaks the rules for tracks.
    MalformedTrack,
    /// A code that the draft does not define; treated as an internal error.
    Unknown(u64),
}

/// PUBLISH_DONE. MOQT-14 §9.12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishDone {
    /// Why.
    pub status: PublishDoneStatus,
    /// Streams that were opened for the subscription; none when the sender does not know (2^62-1 on the wire).
    pub stream_count: Option<u64>,
    /// Words for a person, at most 1024 bytes.
    pub phrase: Bytes,
}
