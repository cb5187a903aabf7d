//! Messages about namespaces. MOQT-14 §9.23 to §9.31.

use super::super::params::{self, Allowed};
use super::super::reasons;
use super::{FieldReader, FieldWriter};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::message::{
    ControlMessage, Namespace, NamespaceCancel, NamespaceRequest, RequestId, RequestKind,
};
use bytes::Bytes;

pub(super) fn read_request(r: &mut FieldReader<'_>) -> Result<NamespaceRequest, DecodeError> {
    Ok(NamespaceRequest {
        namespace: r.namespace()?,
        params: params::read(r, Allowed::TOKENS)?,
    })
}

pub(super) fn write_request(
    id: RequestId,
    body: &NamespaceRequest,
    w: &mut FieldWriter<'_>,
) -> Result<(), EncodeError> {
    w.request_id(id)?;
    w.namespace(&body.namespace)?;
    params::write(&body.params, Allowed::TOKENS, w)
}

pub(super) fn read_namespace(r: &mut FieldReader<'_>) -> Result<Namespace, DecodeError> {
    r.namespace().map(|namespace| Namespace { namespace })
}

/// UNSUBSCRIBE_NAMESPACE in the draft's form, or with a request id.
///
/// MOQT-14 §9.31 DEVIATION [D14-MSG-30]: some peers send the id of the request. The two cannot be confused: a prefix
/// has at least one field, so its count is never the only thing in the message.
pub(super) fn read_unsubscribe(
    r: &mut FieldReader<'_>,
    payload: &Bytes,
) -> Result<ControlMessage, DecodeError> {
    let mut whole = FieldReader::new(payload, r.section());
    whole.varint()?;
    if whole.is_at_end() {
        return r.request_id().map(ControlMessage::UnsubscribeNamespaceById);
    }
    read_namespace(r).map(ControlMessage::UnsubscribeNamespace)
}

pub(super) fn read_cancel(r: &mut FieldReader<'_>) -> Result<NamespaceCancel, DecodeError> {
    Ok(NamespaceCancel {
        namespace: r.namespace()?,
        reason: reasons::request_reason(RequestKind::PublishNamespace, r.varint()?),
        phrase: r.phrase()?,
    })
}

pub(super) fn write_cancel(body: &NamespaceCancel, w: &mut FieldWriter<'_>) -> Result<(), EncodeError> {
    w.namespace(&body.namespace)?;
    w.varint(reasons::request_code(RequestKind::PublishNamespace, body.reason))?;
    w.phrase(&body.phrase)
}
