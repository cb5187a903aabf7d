//! The few names that all clients share, so that publishers and subscribers meet.

use crate::Failure;
use crate::rng::Rng;
use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrder, GroupOrderRequest, MessageParams, NamespaceRequest, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

/// Namespaces that are published in.
const NAMESPACES: u64 = 8;
/// Tracks of each; the last one is of datagrams.
const TRACKS: u64 = 4;

/// The namespace of these fields.
pub(crate) fn namespace(fields: &[&str]) -> Result<TrackNamespace, Failure> {
    let fields = fields.iter().map(|field| Bytes::from((*field).to_owned()));
    Ok(TrackNamespace::new(fields)?)
}

/// One of those that are published in.
pub(crate) fn any_namespace(rng: &mut Rng) -> Result<TrackNamespace, Failure> {
    namespace(&["soak", &rng.below(NAMESPACES).to_string()])
}

/// One of the tracks, or now and then one that nobody publishes.
pub(crate) fn any_track(rng: &mut Rng) -> Result<FullTrackName, Failure> {
    let track = if rng.one_in(10) {
        format!("nobody's {}", rng.below(1000))
    } else {
        rng.below(TRACKS).to_string()
    };
    Ok(FullTrackName::new(any_namespace(rng)?, Bytes::from(track))?)
}

/// Whether the objects of this track are datagrams: a track has one way.
pub(crate) fn is_of_datagrams(track: &FullTrackName) -> bool {
    track.name().as_ref() == (TRACKS - 1).to_string().as_bytes()
}

/// A request about a namespace with nothing special about it.
pub(crate) fn request(namespace: TrackNamespace) -> NamespaceRequest {
    NamespaceRequest {
        namespace,
        params: MessageParams::default(),
    }
}

/// A subscription as somebody would want one.
pub(crate) fn any_subscription(rng: &mut Rng) -> Result<Subscribe, Failure> {
    let start = Location::new(super::feed::group_now() + rng.below(4), 0);
    let filter = match rng.below(5) {
        0 => SubscribeFilter::NextGroupStart,
        1 => SubscribeFilter::AbsoluteStart(start),
        2 => SubscribeFilter::AbsoluteRange {
            start,
            end_group: start.group + rng.below(10),
        },
        _ => SubscribeFilter::LargestObject,
    };
    let group_order = match rng.below(3) {
        0 => GroupOrderRequest::Fixed(GroupOrder::Descending),
        1 => GroupOrderRequest::Fixed(GroupOrder::Ascending),
        _ => GroupOrderRequest::Publisher,
    };
    Ok(Subscribe {
        track: any_track(rng)?,
        priority: u8::try_from(rng.below(256)).unwrap_or(u8::MAX),
        group_order,
        forward: !rng.one_in(8),
        filter,
        params: MessageParams::default(),
    })
}
