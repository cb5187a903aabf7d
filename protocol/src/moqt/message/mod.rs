//! What control messages mean, without the bytes of any draft. One file per family.

pub mod announce;
pub mod fetch;
pub mod params;
pub mod publish;
pub mod request;
pub mod setup;
pub mod subscribe;
pub mod token;

pub use announce::{Namespace, NamespaceCancel, NamespaceRequest};
pub use fetch::{Fetch, FetchOk, FetchRange};
pub use params::{KeyValue, MessageParams, Value};
pub use publish::{Publish, PublishDone, PublishDoneStatus, PublishOk};
pub use request::{RequestError, RequestErrorReason, RequestId, RequestKind};
pub use setup::{ClientSetup, ServerSetup, SetupParams};
pub use subscribe::{
    FilterType, GroupOrder, GroupOrderRequest, Subscribe, SubscribeFilter, SubscribeOk, SubscribeUpdate,
};
pub use token::AuthToken;

use bytes::Bytes;

/// One control message. The names are the newest draft's where it has the message; MOQT-14 names differ as noted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlMessage {
    /// First message of a client. MOQT-14 §9.3.
    ClientSetup(ClientSetup),
    /// First message of a server. MOQT-14 §9.3.
    ServerSetup(ServerSetup),
    /// The sender wants the session to move, to the URI if it is not empty. MOQT-14 §9.4.
    Goaway(Bytes),
    /// Request ids below this value may be used. MOQT-14 §9.5.
    MaxRequestId(u64),
    /// The sender has a request to make and may not, at this maximum. MOQT-14 §9.6.
    RequestsBlocked(u64),
    /// MOQT-14 §9.7.
    Subscribe(RequestId, Subscribe),
    /// MOQT-14 §9.8.
    SubscribeOk(RequestId, SubscribeOk),
    /// Called REQUEST_UPDATE from draft 16 on. MOQT-14 §9.10.
    SubscribeUpdate(RequestId, SubscribeUpdate),
    /// MOQT-14 §9.11.
    Unsubscribe(RequestId),
    /// MOQT-14 §9.12.
    PublishDone(RequestId, PublishDone),
    /// MOQT-14 §9.13.
    Publish(RequestId, Publish),
    /// MOQT-14 §9.14.
    PublishOk(RequestId, PublishOk),
    /// MOQT-14 §9.16.
    Fetch(RequestId, Fetch),
    /// MOQT-14 §9.17.
    FetchOk(RequestId, FetchOk),
    /// MOQT-14 §9.19.
    FetchCancel(RequestId),
    /// Same fields as SUBSCRIBE. MOQT-14 §9.20.
    TrackStatus(RequestId, Subscribe),
    /// Same fields as SUBSCRIBE_OK. MOQT-14 §9.21.
    TrackStatusOk(RequestId, SubscribeOk),
    /// Called ANNOUNCE before draft 14. MOQT-14 §9.23.
    PublishNamespace(RequestId, NamespaceRequest),
    /// MOQT-14 §9.24.
    PublishNamespaceOk(RequestId),
    /// Names the namespace, not the request, in draft 14. MOQT-14 §9.26.
    PublishNamespaceDone(Namespace),
    /// Names the namespace, not the request, in draft 14. MOQT-14 §9.27.
    PublishNamespaceCancel(NamespaceCancel),
    /// MOQT-14 §9.28.
    SubscribeNamespace(RequestId, NamespaceRequest),
    /// MOQT-14 §9.29.
    SubscribeNamespaceOk(RequestId),
    /// Names the prefix, not the request, in draft 14. MOQT-14 §9.31.
    UnsubscribeNamespace(Namespace),
    /// UNSUBSCRIBE_NAMESPACE with the id of the request instead of the prefix, as some draft-14 peers send it.
    /// Received only: draft 14 has no such form. MOQT-14 §9.31 [D14-MSG-30].
    UnsubscribeNamespaceById(RequestId),
    /// The error answer to a request of the named kind: SUBSCRIBE_ERROR, PUBLISH_ERROR, FETCH_ERROR,
    /// TRACK_STATUS_ERROR, PUBLISH_NAMESPACE_ERROR or SUBSCRIBE_NAMESPACE_ERROR in draft 14 (§9.9, §9.15, §9.18,
    /// §9.22, §9.25, §9.30), one REQUEST_ERROR from draft 15 on.
    RequestError(RequestId, RequestKind, RequestError),
}
