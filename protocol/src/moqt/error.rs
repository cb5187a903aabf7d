//! Errors by fault: the bytes, the peer, nobody (no overlap), or us.

use crate::wire::kvp::WriteError;
use crate::wire::varint::TooLarge;
use std::borrow::Cow;

/// The bytes cannot be what they claim to be; the peer that sent them is at fault.
///
/// "Not enough bytes yet" is never one of these: see [`crate::wire::cursor`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} [{section}]")]
pub struct DecodeError {
    /// How the session ends.
    pub code: CloseCode,
    /// What was wrong, for a person.
    pub what: Cow<'static, str>,
    /// The rule that was broken, such as "MOQT-14 §9.7".
    pub section: &'static str,
}

impl DecodeError {
    /// A breach that ends the session with PROTOCOL_VIOLATION.
    #[must_use]
    pub fn violation(what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self {
            code: CloseCode::ProtocolViolation,
            what: what.into(),
            section,
        }
    }

    /// A breach that ends the session with `code`.
    #[must_use]
    pub fn with_code(code: CloseCode, what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self {
            code,
            what: what.into(),
            section,
        }
    }
}

/// A message of ours that cannot be written; the caller is at fault and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A number above 2^62-1.
    #[error("{0} does not fit a QUIC varint")]
    NumberTooLarge(u64),
    /// The payload of a control message has at most 65535 bytes. MOQT-14 §9 [D14-ENC-14].
    #[error("a control message has at most 65535 bytes of payload, this one has {0}")]
    MessageTooLong(usize),
    /// A reason phrase has at most 1024 bytes. MOQT-14 §1.4.3.
    #[error("a reason phrase has at most 1024 bytes, this one has {0}")]
    PhraseTooLong(usize),
    /// The URI of a GOAWAY has at most 8192 bytes. MOQT-14 §9.4 [D14-VAL-11].
    #[error("a GOAWAY URI has at most 8192 bytes, this one has {0}")]
    UriTooLong(usize),
    /// The ids of objects on one stream only rise. MOQT-14 §10.4.2 [D14-DATA-3].
    #[error("object {next} cannot follow object {previous} on one stream")]
    ObjectIdNotRising {
        /// The object before.
        previous: u64,
        /// The object that was to follow.
        next: u64,
    },
    /// A key-value pair whose value does not fit the parity of its type. MOQT-14 §1.4.2.
    #[error("parameter type {0:#x} does not go with this kind of value")]
    KeyValueMismatch(u64),
    /// A value, or a mix of values, that the draft has no code for.
    #[error("{0} cannot be said in this draft")]
    NoCodepoint(&'static str),
}

impl From<TooLarge> for EncodeError {
    fn from(error: TooLarge) -> Self {
        Self::NumberTooLarge(error.0)
    }
}

impl From<WriteError> for EncodeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::TooLarge(number) => Self::NumberTooLarge(number),
            WriteError::Mismatch(key) => Self::KeyValueMismatch(key),
        }
    }
}

/// Why a session is closed; each draft maps it to a code. MOQT-14 §3.4 [D14-TERM-1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// Nothing went wrong.
    NoError,
    /// Something failed on our side.
    InternalError,
    /// The peer may not have this session.
    Unauthorized,
    /// The peer broke a rule that has no code of its own.
    ProtocolViolation,
    /// A request id with wrong parity, out of sequence, or used twice.
    InvalidRequestId,
    /// One alias for two tracks.
    DuplicateTrackAlias,
    /// A known parameter whose value does not match its definition.
    KeyValueFormatting,
    /// A request id at or above the maximum.
    TooManyRequests,
    /// A path that is not served, or sent where none may be.
    InvalidPath,
    /// A path that is none.
    MalformedPath,
    /// The peer did not leave in time after GOAWAY.
    GoawayTimeout,
    /// The peer left a control message unanswered or unfinished.
    ControlMessageTimeout,
    /// The peer left the header of a data stream unfinished.
    DataStreamTimeout,
    /// More tokens registered than the cache holds.
    AuthTokenCacheOverflow,
    /// A token alias registered twice.
    DuplicateAuthTokenAlias,
    /// No version in common.
    VersionNegotiationFailed,
    /// A token that cannot be read.
    MalformedAuthToken,
    /// A token alias that was never registered.
    UnknownAuthTokenAlias,
    /// A token that is no longer valid.
    ExpiredAuthToken,
    /// An authority that is not ours, or sent where none may be.
    InvalidAuthority,
    /// An authority that is none.
    MalformedAuthority,
}

/// Why a data stream is reset or refused; each draft maps it to a code. MOQT-14 §10.4.3 [D14-CLOSE-8].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetCode {
    /// Something failed on the sender's side.
    InternalError,
    /// The subscription or fetch was cancelled, or no longer wants these objects.
    Cancelled,
    /// The objects are too old to be of use.
    DeliveryTimeout,
    /// The session is ending.
    SessionClosed,
    /// A code that the draft does not define.
    Unknown(u64),
}
