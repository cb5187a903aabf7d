//! Request ids and the answers that every request shares.

use bytes::Bytes;
use std::fmt;

/// Number of a request in its session: even from the client, odd from the server. MOQT-14 §9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The kinds of requests that are answered with OK or ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// SUBSCRIBE.
    Subscribe,
    /// PUBLISH.
    Publish,
    /// FETCH.
    Fetch,
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace,
}

/// Why a request was refused; the codec of each draft maps it to a code of the answering message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestErrorReason {
    /// Something failed on the answering side.
    InternalError,
    /// The peer may not do this.
    Unauthorized,
    /// No answer could be given in time.
    Timeout,
    /// The endpoint does not serve this kind of request.
    NotSupported,
    /// No such track (SUBSCRIBE, FETCH, TRACK_STATUS).
    TrackDoesNotExist,
    /// The range asked for cannot be served (SUBSCRIBE, FETCH, TRACK_STATUS).
    InvalidRange,
    /// The range holds no objects (FETCH, draft 14).
    NoObjects,
    /// The request named by a joining FETCH does not exist (FETCH).
    InvalidJoiningRequestId,
    /// The range holds objects of unknown status (FETCH).
    UnknownStatusInRange,
    /// The track breaks the rules for tracks (FETCH).
    MalformedTrack,
    /// Nobody here wants this (PUBLISH, PUBLISH_NAMESPACE).
    Uninterested,
    /// No such prefix (SUBSCRIBE_NAMESPACE).
    NamespacePrefixUnknown,
    /// The prefix overlaps an active one (SUBSCRIBE_NAMESPACE).
    NamespacePrefixOverlap,
    /// The token could not be used.
    MalformedAuthToken,
    /// The token is no longer valid.
    ExpiredAuthToken,
    /// A code that the draft does not define for this message; treated as an internal error.
    Unknown(u64),
}

/// The error answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// Why.
    pub reason: RequestErrorReason,
    /// Words for a person, at most 1024 bytes; UTF-8 by the draft, not relied on.
    pub phrase: Bytes,
}

impl RequestError {
    /// The error `reason` with words for a person.
    #[must_use]
    pub fn new(reason: RequestErrorReason, phrase: &'static str) -> Self {
        Self {
            reason,
            phrase: Bytes::from_static(phrase.as_bytes()),
        }
    }
}
