//! The SUBSCRIBE that a subscribe info carries. laps peering, "Subscribe Information".

use super::Dialect;
use crate::moqt::codec::Codec;
use crate::moqt::message::{
    GroupOrder, GroupOrderRequest, MessageParams, RequestId, Subscribe, SubscribeFilter,
};
use crate::moqt::name::FullTrackName;
use crate::peering::error::SubscribeDataError;
use bytes::{Bytes, BytesMut};

/// Whose SUBSCRIBE relays of this dialect put there.
const fn codec(dialect: Dialect) -> Result<Codec, SubscribeDataError> {
    match dialect {
        Dialect::Laps14 | Dialect::Own => Ok(Codec::Draft14),
        Dialect::Laps16 => Err(SubscribeDataError::NotSpoken(dialect)),
    }
}

/// The data of a subscribe info: `subscribe` without type and length.
///
/// # Errors
/// When it cannot be written, or the dialect's draft is not spoken.
pub fn encode_subscribe_data(
    dialect: Dialect,
    id: RequestId,
    subscribe: &Subscribe,
) -> Result<Bytes, SubscribeDataError> {
    let mut out = BytesMut::new();
    codec(dialect)?.encode_subscribe_body(id, subscribe, &mut out)?;
    Ok(out.freeze())
}

/// Reads the data of a subscribe info.
///
/// # Errors
/// When it is no SUBSCRIBE, or the dialect's draft is not spoken. No fault of the link: the info is handed on all the
/// same, as laps does.
pub fn parse_subscribe_data(
    dialect: Dialect,
    data: &Bytes,
) -> Result<(RequestId, Subscribe), SubscribeDataError> {
    Ok(codec(dialect)?.decode_subscribe_body(data)?)
}

/// The SUBSCRIBE that a laps relay makes for its peers: of what its subscriber said only the priority and the wish for a
/// new group are in it.
#[must_use]
pub fn laps_subscribe(track: FullTrackName, priority: u8, new_group_request: Option<u64>) -> Subscribe {
    Subscribe {
        track,
        priority,
        group_order: GroupOrderRequest::Fixed(GroupOrder::Ascending),
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params: MessageParams {
            new_group_request,
            ..MessageParams::default()
        },
    }
}
