//! SUBSCRIBE, SUBSCRIBE_OK, SUBSCRIBE_UPDATE, and TRACK_STATUS with its OK. MOQT-14 §9.7 to §9.10, §9.20, §9.21.

use super::super::params::{self, Allowed};
use super::{FieldReader, FieldWriter};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{RequestId, Subscribe, SubscribeOk, SubscribeUpdate};

pub(super) fn read_subscribe(r: &mut FieldReader<'_>) -> Result<Subscribe, DecodeError> {
    read_with(r, Allowed::SUBSCRIBE)
}

pub(super) fn read_track_status(r: &mut FieldReader<'_>) -> Result<Subscribe, DecodeError> {
    read_with(r, Allowed::TRACK_STATUS)
}

fn read_with(r: &mut FieldReader<'_>, allowed: Allowed) -> Result<Subscribe, DecodeError> {
    Ok(Subscribe {
        track: r.track()?,
        priority: r.u8()?,
        group_order: r.group_order_request()?,
        forward: r.flag("Forward")?,
        filter: r.filter()?,
        params: params::read(r, allowed)?,
    })
}

pub(super) fn write_subscribe(
    id: RequestId,
    body: &Subscribe,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    write_with(id, body, Allowed::SUBSCRIBE, w)
}

pub(super) fn write_track_status(
    id: RequestId,
    body: &Subscribe,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    write_with(id, body, Allowed::TRACK_STATUS, w)
}

fn write_with(
    id: RequestId,
    body: &Subscribe,
    allowed: Allowed,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.track(&body.track)?;
    w.u8(body.priority);
    w.group_order_request(body.group_order);
    w.flag(body.forward);
    w.filter(&body.filter)?;
    params::write(&body.params, allowed, w)
}

pub(super) fn read_ok(r: &mut FieldReader<'_>) -> Result<SubscribeOk, DecodeError> {
    Ok(SubscribeOk {
        alias: r.varint()?,
        expires_ms: r.varint()?,
        group_order: r.group_order()?,
        largest: r.largest()?,
        params: params::read(r, Allowed::SUBSCRIBE_OK)?,
    })
}

pub(super) fn write_ok(
    id: RequestId,
    body: &SubscribeOk,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.varint(body.alias)?;
    w.varint(body.expires_ms)?;
    w.group_order(body.group_order);
    w.largest(body.largest)?;
    params::write(&body.params, Allowed::SUBSCRIBE_OK, w)
}

pub(super) fn read_update(r: &mut FieldReader<'_>) -> Result<SubscribeUpdate, DecodeError> {
    Ok(SubscribeUpdate {
        subscription: r.request_id()?,
        start: r.location()?,
        // MOQT-14 §9.10 [D14-VAL-10]: the last group plus one, 0 for an open end.
        end_group: r.varint()?.checked_sub(1),
        priority: r.u8()?,
        forward: r.flag("Forward")?,
        params: params::read(r, Allowed::SUBSCRIBE)?,
    })
}

pub(super) fn write_update(
    id: RequestId,
    body: &SubscribeUpdate,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.request_id(body.subscription)?;
    w.location(body.start)?;
    // MOQT-14 §9.10 [D14-VAL-10]; a sum above the range of varints is refused when it is written.
    w.varint(body.end_group.map_or(0, |group| group.saturating_add(1)))?;
    w.u8(body.priority);
    w.flag(body.forward);
    params::write(&body.params, Allowed::SUBSCRIBE, w)
}
