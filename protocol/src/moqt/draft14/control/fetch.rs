//! FETCH, FETCH_OK. MOQT-14 §9.16, §9.17.

use super::super::codepoints::fetch;
use super::super::params::{self, Allowed};
use super::{FieldReader, FieldWriter};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{Fetch, FetchOk, FetchRange, RequestId};

pub(super) fn read_fetch(r: &mut FieldReader<'_>) -> Result<Fetch, DecodeError> {
    Ok(Fetch {
        priority: r.u8()?,
        group_order: r.group_order_request()?,
        range: read_range(r)?,
        params: params::read(r, Allowed::TOKENS)?,
    })
}

fn read_range(r: &mut FieldReader<'_>) -> Result<FetchRange, DecodeError> {
    match r.varint()? {
        fetch::STANDALONE => Ok(FetchRange::Standalone {
            track: r.track()?,
            start: r.location()?,
            end: r.location()?,
        }),
        fetch::RELATIVE_JOINING => Ok(FetchRange::RelativeJoining {
            subscription: r.request_id()?,
            groups: r.varint()?,
        }),
        fetch::ABSOLUTE_JOINING => Ok(FetchRange::AbsoluteJoining {
            subscription: r.request_id()?,
            group: r.varint()?,
        }),
        // MOQT-14 §9.16 [D14-VAL-7]
        other => Err(r.violation(format!("fetch type {other:#x} is not defined"))),
    }
}

pub(super) fn write_fetch(id: RequestId, body: &Fetch, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.u8(body.priority);
    w.group_order_request(body.group_order);
    match &body.range {
        FetchRange::Standalone { track, start, end } => {
            w.varint(fetch::STANDALONE)?;
            w.track(track)?;
            w.location(*start)?;
            w.location(*end)?;
        }
        FetchRange::RelativeJoining { subscription, groups } => {
            w.varint(fetch::RELATIVE_JOINING)?;
            w.request_id(*subscription)?;
            w.varint(*groups)?;
        }
        FetchRange::AbsoluteJoining { subscription, group } => {
            w.varint(fetch::ABSOLUTE_JOINING)?;
            w.request_id(*subscription)?;
            w.varint(*group)?;
        }
    }
    params::write(&body.params, Allowed::TOKENS, w)
}

pub(super) fn read_ok(r: &mut FieldReader<'_>) -> Result<FetchOk, DecodeError> {
    Ok(FetchOk {
        group_order: r.group_order()?,
        end_of_track: r.flag("End Of Track")?,
        end: r.location()?,
        params: params::read(r, Allowed::FETCH_OK)?,
    })
}

pub(super) fn write_ok(id: RequestId, body: &FetchOk, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.group_order(body.group_order);
    w.flag(body.end_of_track);
    w.location(body.end)?;
    params::write(&body.params, Allowed::FETCH_OK, w)
}
