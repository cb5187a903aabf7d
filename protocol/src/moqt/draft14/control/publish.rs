//! PUBLISH, PUBLISH_OK, PUBLISH_DONE. MOQT-14 §9.12 to §9.14.

use super::super::codepoints::UNKNOWN_STREAM_COUNT;
use super::super::params::{self, Allowed};
use super::super::reasons;
use super::{FieldReader, FieldWriter};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{Publish, PublishDone, PublishOk, RequestId};

pub(super) fn read_publish(r: &mut FieldReader<'_>) -> Result<Publish, DecodeError> {
    Ok(Publish {
        track: r.track()?,
        alias: r.varint()?,
        group_order: r.group_order()?,
        // MOQT-14 §9.13 [D14-MSG-12]: the largest place stands before Forward.
        largest: r.largest()?,
        forward: r.flag("Forward")?,
        params: params::read(r, Allowed::PUBLISH)?,
    })
}

pub(super) fn write_publish(
    id: RequestId,
    body: &Publish,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.track(&body.track)?;
    w.varint(body.alias)?;
    w.group_order(body.group_order);
    w.largest(body.largest)?;
    w.flag(body.forward);
    params::write(&body.params, Allowed::PUBLISH, w)
}

pub(super) fn read_ok(r: &mut FieldReader<'_>) -> Result<PublishOk, DecodeError> {
    Ok(PublishOk {
        forward: r.flag("Forward")?,
        priority: r.u8()?,
        group_order: r.group_order_or_zero()?,
        filter: r.filter()?,
        params: params::read(r, Allowed::PUBLISH_OK)?,
    })
}

pub(super) fn write_ok(id: RequestId, body: &PublishOk, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.flag(body.forward);
    w.u8(body.priority);
    // MOQT-14 §9.14 [D14-VAL-2]: 0 is understood, never sent.
    w.group_order(
        body.group_order
            .ok_or(EncodeError::NoCodepoint("PUBLISH_OK without a group order"))?,
    );
    w.filter(&body.filter)?;
    params::write(&body.params, Allowed::PUBLISH_OK, w)
}

pub(super) fn read_done(r: &mut FieldReader<'_>) -> Result<PublishDone, DecodeError> {
    Ok(PublishDone {
        status: reasons::publish_done_status(r.varint()?),
        stream_count: Some(r.varint()?).filter(|&count| count != UNKNOWN_STREAM_COUNT),
        phrase: r.phrase()?,
    })
}

pub(super) fn write_done(
    id: RequestId,
    body: &PublishDone,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.varint(reasons::publish_done_code(body.status))?;
    // MOQT-14 §9.12 [D14-SUB-20]
    w.varint(body.stream_count.unwrap_or(UNKNOWN_STREAM_COUNT))?;
    w.phrase(&body.phrase)
}
