//! What a SUBSCRIBE is answered with, and a TRACK_STATUS, which asks what that would be.

use super::spec::order;
use crate::track::Description;
use laps_protocol::moqt::message::{GroupOrder, MessageParams, Subscribe, SubscribeOk};
use laps_protocol::moqt::object::TrackAlias;

/// The acceptance of a track that is live. MOQT-14 §9.8 [D14-SUB-8]
pub(crate) fn accept_message(subscribe: &Subscribe, alias: TrackAlias, track: &Description) -> SubscribeOk {
    let Description { largest, meta } = track;
    SubscribeOk {
        alias,
        // MOQT-14 §9.8 [D14-SUB-16]: the upstream's; the relay has no bound of its own that could be less.
        expires_ms: meta.expires_ms,
        group_order: order(subscribe, meta.group_order),
        largest: *largest,
        // MOQT-14 §9.2.1.2 [D14-SUB-14]: what the publisher said, and nothing otherwise.
        params: MessageParams {
            delivery_timeout_ms: meta.delivery_timeout_ms,
            max_cache_duration_ms: meta.max_cache_duration_ms,
            ..MessageParams::default()
        },
    }
}

/// The acceptance of a track that nobody publishes, for a subscriber that waits without a publisher (decision 0012).
pub(crate) fn accept_without_content(subscribe: &Subscribe, alias: TrackAlias) -> SubscribeOk {
    SubscribeOk {
        alias,
        expires_ms: 0,
        group_order: order(subscribe, GroupOrder::default()),
        largest: None,
        params: MessageParams::default(),
    }
}
