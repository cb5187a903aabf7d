//! Namespaces: announced by publishers, watched by subscribers. MOQT-14 §9.23 to §9.31.

use super::params::MessageParams;
use super::request::RequestErrorReason;
use crate::moqt::name::TrackNamespace;
use bytes::Bytes;

/// PUBLISH_NAMESPACE (a namespace) and SUBSCRIBE_NAMESPACE (a prefix). MOQT-14 §9.23, §9.28.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// The namespace or prefix.
    pub namespace: TrackNamespace,
    /// Parameters.
    pub params: MessageParams,
}

/// PUBLISH_NAMESPACE_DONE and UNSUBSCRIBE_NAMESPACE. MOQT-14 §9.26, §9.31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// The namespace or prefix that was named in the request.
    pub namespace: TrackNamespace,
}

/// PUBLISH_NAMESPACE_CANCEL. MOQT-14 §9.27.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceCancel {
    /// The namespace that was announced.
    pub namespace: TrackNamespace,
    /// Why.
    pub reason: RequestErrorReason,
    /// Words for a person, at most 1024 bytes.
    pub phrase: Bytes,
}
