//! Control messages: framing and the table from types to messages. MOQT-14 §9. One file per family below.

mod fetch;
mod namespace;
mod publish;
mod session;
mod subscribe;

use super::codepoints::control as kind;
use super::fields::{FieldReader, FieldWriter};
use super::reasons;
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{ControlMessage, RequestError, RequestId, RequestKind, Subscribe};
use crate::wire::varint;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of the Length field. MOQT-14 §9 [D14-ENC-13]: 16 bits in every message, whatever §9.13 to §9.15 print.
const LENGTH_BYTES: usize = 2;

/// Takes the first message off `buffer`, if it is there whole.
///
/// # Errors
/// As soon as the type is known to be none, without waiting for its payload, or when the payload is wrong.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<ControlMessage>, DecodeError> {
    let Some((message_type, type_len)) = varint::read(buffer) else {
        return Ok(None);
    };
    let Some(section) = section_of(message_type) else {
        // MOQT-14 §9 [D14-ENC-12] [D14-MSG-31]
        return Err(DecodeError::violation(
            format!("control message type {message_type:#x} is not defined"),
            "MOQT-14 §9",
        ));
    };
    let header_len = type_len + LENGTH_BYTES;
    let Some(&[high, low]) = buffer.get(type_len..header_len) else {
        return Ok(None);
    };
    let payload_len = usize::from(u16::from_be_bytes([high, low]));
    if buffer.len() < header_len + payload_len {
        return Ok(None);
    }
    buffer.advance(header_len);
    let payload = buffer.split_to(payload_len).freeze();
    decode(message_type, &payload, section).map(Some)
}

/// Appends `message` with its type and length; on an error a part of it.
pub(crate) fn put(message: &ControlMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::write(type_of(message)?, out)?;
    let length_at = out.len();
    out.put_bytes(0, LENGTH_BYTES);
    let payload_at = out.len();
    encode(message, &mut FieldWriter { out })?;
    let payload_len = out.len() - payload_at;
    // MOQT-14 §9.2 [D14-ENC-14]
    let length = u16::try_from(payload_len).map_err(|_| EncodeError::MessageTooLong(payload_len))?;
    if let Some(field) = out.get_mut(length_at..payload_at) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends the body of a SUBSCRIBE; on an error a part of it. MOQT-14 §9.7 [D14-MSG-6].
pub(crate) fn put_subscribe_body(
    id: RequestId,
    body: &Subscribe,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    subscribe::write_subscribe(id, body, &mut FieldWriter { out })
}

/// Reads the body of a SUBSCRIBE, all of it. MOQT-14 §9.7 [D14-MSG-6].
pub(crate) fn read_subscribe_body(body: &Bytes) -> Result<(RequestId, Subscribe), DecodeError> {
    let r = &mut FieldReader::new(body, "MOQT-14 §9.7");
    let read = (r.request_id()?, subscribe::read_subscribe(r)?);
    r.finish()?;
    Ok(read)
}

/// The section that defines a control message type; none for a type that is not defined.
const fn section_of(message_type: u64) -> Option<&'static str> {
    Some(match message_type {
        kind::CLIENT_SETUP | kind::SERVER_SETUP => "MOQT-14 §9.3",
        kind::GOAWAY => "MOQT-14 §9.4",
        kind::MAX_REQUEST_ID => "MOQT-14 §9.5",
        kind::REQUESTS_BLOCKED => "MOQT-14 §9.6",
        kind::SUBSCRIBE => "MOQT-14 §9.7",
        kind::SUBSCRIBE_OK => "MOQT-14 §9.8",
        kind::SUBSCRIBE_ERROR => "MOQT-14 §9.9",
        kind::SUBSCRIBE_UPDATE => "MOQT-14 §9.10",
        kind::UNSUBSCRIBE => "MOQT-14 §9.11",
        kind::PUBLISH_DONE => "MOQT-14 §9.12",
        kind::PUBLISH => "MOQT-14 §9.13",
        kind::PUBLISH_OK => "MOQT-14 §9.14",
        kind::PUBLISH_ERROR => "MOQT-14 §9.15",
        kind::FETCH => "MOQT-14 §9.16",
        kind::FETCH_OK => "MOQT-14 §9.17",
        kind::FETCH_ERROR => "MOQT-14 §9.18",
        kind::FETCH_CANCEL => "MOQT-14 §9.19",
        kind::TRACK_STATUS => "MOQT-14 §9.20",
        kind::TRACK_STATUS_OK => "MOQT-14 §9.21",
        kind::TRACK_STATUS_ERROR => "MOQT-14 §9.22",
        kind::PUBLISH_NAMESPACE => "MOQT-14 §9.23",
        kind::PUBLISH_NAMESPACE_OK => "MOQT-14 §9.24",
        kind::PUBLISH_NAMESPACE_ERROR => "MOQT-14 §9.25",
        kind::PUBLISH_NAMESPACE_DONE => "MOQT-14 §9.26",
        kind::PUBLISH_NAMESPACE_CANCEL => "MOQT-14 §9.27",
        kind::SUBSCRIBE_NAMESPACE => "MOQT-14 §9.28",
        kind::SUBSCRIBE_NAMESPACE_OK => "MOQT-14 §9.29",
        kind::SUBSCRIBE_NAMESPACE_ERROR => "MOQT-14 §9.30",
        kind::UNSUBSCRIBE_NAMESPACE => "MOQT-14 §9.31",
        _ => return None,
    })
}

fn type_of(message: &ControlMessage) -> Result<u64, EncodeError> {
    Ok(match message {
        ControlMessage::ClientSetup(_) => kind::CLIENT_SETUP,
        ControlMessage::ServerSetup(_) => kind::SERVER_SETUP,
        ControlMessage::Goaway(_) => kind::GOAWAY,
        ControlMessage::MaxRequestId(_) => kind::MAX_REQUEST_ID,
        ControlMessage::RequestsBlocked(_) => kind::REQUESTS_BLOCKED,
        ControlMessage::Subscribe(..) => kind::SUBSCRIBE,
        ControlMessage::SubscribeOk(..) => kind::SUBSCRIBE_OK,
        ControlMessage::SubscribeUpdate(..) => kind::SUBSCRIBE_UPDATE,
        ControlMessage::Unsubscribe(_) => kind::UNSUBSCRIBE,
        ControlMessage::PublishDone(..) => kind::PUBLISH_DONE,
        ControlMessage::Publish(..) => kind::PUBLISH,
        ControlMessage::PublishOk(..) => kind::PUBLISH_OK,
        ControlMessage::Fetch(..) => kind::FETCH,
        ControlMessage::FetchOk(..) => kind::FETCH_OK,
        ControlMessage::FetchCancel(_) => kind::FETCH_CANCEL,
        ControlMessage::TrackStatus(..) => kind::TRACK_STATUS,
        ControlMessage::TrackStatusOk(..) => kind::TRACK_STATUS_OK,
        ControlMessage::PublishNamespace(..) => kind::PUBLISH_NAMESPACE,
        ControlMessage::PublishNamespaceOk(_) => kind::PUBLISH_NAMESPACE_OK,
        ControlMessage::PublishNamespaceDone(_) => kind::PUBLISH_NAMESPACE_DONE,
        ControlMessage::PublishNamespaceCancel(_) => kind::PUBLISH_NAMESPACE_CANCEL,
        ControlMessage::SubscribeNamespace(..) => kind::SUBSCRIBE_NAMESPACE,
        ControlMessage::SubscribeNamespaceOk(_) => kind::SUBSCRIBE_NAMESPACE_OK,
        ControlMessage::UnsubscribeNamespace(_) => kind::UNSUBSCRIBE_NAMESPACE,
        ControlMessage::UnsubscribeNamespaceById(_) => {
            // MOQT-14 §9.31 [D14-MSG-30]: understood, never sent.
            return Err(EncodeError::NoCodepoint("UNSUBSCRIBE_NAMESPACE by request id"));
        }
        ControlMessage::RequestError(_, request, _) => match request {
            RequestKind::Subscribe => kind::SUBSCRIBE_ERROR,
            RequestKind::Publish => kind::PUBLISH_ERROR,
            RequestKind::Fetch => kind::FETCH_ERROR,
            RequestKind::TrackStatus => kind::TRACK_STATUS_ERROR,
            RequestKind::PublishNamespace => kind::PUBLISH_NAMESPACE_ERROR,
            RequestKind::SubscribeNamespace => kind::SUBSCRIBE_NAMESPACE_ERROR,
        },
    })
}

fn decode(message_type: u64, payload: &Bytes, section: &'static str) -> Result<ControlMessage, DecodeError> {
    let r = &mut FieldReader::new(payload, section);
    let message = match message_type {
        kind::CLIENT_SETUP => ControlMessage::ClientSetup(session::read_client_setup(r)?),
        kind::SERVER_SETUP => ControlMessage::ServerSetup(session::read_server_setup(r)?),
        kind::GOAWAY => ControlMessage::Goaway(session::read_goaway(r)?),
        kind::MAX_REQUEST_ID => ControlMessage::MaxRequestId(r.varint()?),
        kind::REQUESTS_BLOCKED => ControlMessage::RequestsBlocked(r.varint()?),
        kind::SUBSCRIBE => ControlMessage::Subscribe(r.request_id()?, subscribe::read_subscribe(r)?),
        kind::SUBSCRIBE_OK => ControlMessage::SubscribeOk(r.request_id()?, subscribe::read_ok(r)?),
        kind::SUBSCRIBE_ERROR => read_error(r, RequestKind::Subscribe)?,
        kind::SUBSCRIBE_UPDATE => {
            ControlMessage::SubscribeUpdate(r.request_id()?, subscribe::read_update(r)?)
        }
        kind::UNSUBSCRIBE => ControlMessage::Unsubscribe(r.request_id()?),
        kind::PUBLISH_DONE => ControlMessage::PublishDone(r.request_id()?, publish::read_done(r)?),
        kind::PUBLISH => ControlMessage::Publish(r.request_id()?, publish::read_publish(r)?),
        kind::PUBLISH_OK => ControlMessage::PublishOk(r.request_id()?, publish::read_ok(r)?),
        kind::PUBLISH_ERROR => read_error(r, RequestKind::Publish)?,
        kind::FETCH => ControlMessage::Fetch(r.request_id()?, fetch::read_fetch(r)?),
        kind::FETCH_OK => ControlMessage::FetchOk(r.request_id()?, fetch::read_ok(r)?),
        kind::FETCH_ERROR => read_error(r, RequestKind::Fetch)?,
        kind::FETCH_CANCEL => ControlMessage::FetchCancel(r.request_id()?),
        kind::TRACK_STATUS => ControlMessage::TrackStatus(r.request_id()?, subscribe::read_track_status(r)?),
        kind::TRACK_STATUS_OK => ControlMessage::TrackStatusOk(r.request_id()?, subscribe::read_ok(r)?),
        kind::TRACK_STATUS_ERROR => read_error(r, RequestKind::TrackStatus)?,
        kind::PUBLISH_NAMESPACE => {
            ControlMessage::PublishNamespace(r.request_id()?, namespace::read_request(r)?)
        }
        kind::PUBLISH_NAMESPACE_OK => ControlMessage::PublishNamespaceOk(r.request_id()?),
        kind::PUBLISH_NAMESPACE_ERROR => read_error(r, RequestKind::PublishNamespace)?,
        kind::PUBLISH_NAMESPACE_DONE => ControlMessage::PublishNamespaceDone(namespace::read_namespace(r)?),
        kind::PUBLISH_NAMESPACE_CANCEL => ControlMessage::PublishNamespaceCancel(namespace::read_cancel(r)?),
        kind::SUBSCRIBE_NAMESPACE => {
            ControlMessage::SubscribeNamespace(r.request_id()?, namespace::read_request(r)?)
        }
        kind::SUBSCRIBE_NAMESPACE_OK => ControlMessage::SubscribeNamespaceOk(r.request_id()?),
        kind::SUBSCRIBE_NAMESPACE_ERROR => read_error(r, RequestKind::SubscribeNamespace)?,
        kind::UNSUBSCRIBE_NAMESPACE => namespace::read_unsubscribe(r, payload)?,
        other => return Err(r.violation(format!("control message type {other:#x} is not defined"))),
    };
    r.finish()?;
    Ok(message)
}

fn encode(message: &ControlMessage, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    match message {
        ControlMessage::ClientSetup(setup) => session::write_client_setup(setup, w),
        ControlMessage::ServerSetup(setup) => session::write_server_setup(setup, w),
        ControlMessage::Goaway(uri) => session::write_goaway(uri, w),
        ControlMessage::MaxRequestId(maximum) | ControlMessage::RequestsBlocked(maximum) => {
            w.varint(*maximum)
        }
        ControlMessage::Subscribe(id, body) => subscribe::write_subscribe(*id, body, w),
        ControlMessage::TrackStatus(id, body) => subscribe::write_track_status(*id, body, w),
        ControlMessage::SubscribeOk(id, body) | ControlMessage::TrackStatusOk(id, body) => {
            subscribe::write_ok(*id, body, w)
        }
        ControlMessage::SubscribeUpdate(id, body) => subscribe::write_update(*id, body, w),
        ControlMessage::PublishDone(id, body) => publish::write_done(*id, body, w),
        ControlMessage::Publish(id, body) => publish::write_publish(*id, body, w),
        ControlMessage::PublishOk(id, body) => publish::write_ok(*id, body, w),
        ControlMessage::Fetch(id, body) => fetch::write_fetch(*id, body, w),
        ControlMessage::FetchOk(id, body) => fetch::write_ok(*id, body, w),
        ControlMessage::PublishNamespace(id, body) | ControlMessage::SubscribeNamespace(id, body) => {
            namespace::write_request(*id, body, w)
        }
        ControlMessage::PublishNamespaceDone(body) | ControlMessage::UnsubscribeNamespace(body) => {
            w.namespace(&body.namespace)
        }
        ControlMessage::PublishNamespaceCancel(body) => namespace::write_cancel(body, w),
        ControlMessage::Unsubscribe(id)
        | ControlMessage::FetchCancel(id)
        | ControlMessage::PublishNamespaceOk(id)
        | ControlMessage::SubscribeNamespaceOk(id)
        | ControlMessage::UnsubscribeNamespaceById(id) => w.request_id(*id),
        ControlMessage::RequestError(id, kind, error) => {
            w.request_id(*id)?;
            w.varint(reasons::request_code(*kind, error.reason))?;
            w.phrase(&error.phrase)
        }
    }
}

/// The fields that all error answers share. MOQT-14 §9.9.
fn read_error(r: &mut FieldReader<'_>, kind: RequestKind) -> Result<ControlMessage, DecodeError> {
    let id = r.request_id()?;
    let reason = reasons::request_reason(kind, r.varint()?);
    let phrase = r.phrase()?;
    Ok(ControlMessage::RequestError(
        id,
        kind,
        RequestError { reason, phrase },
    ))
}
