//! Errors by fault: the bytes of a peer, or a message of ours; and the codes that end links and streams.

use super::message::{Dialect, codepoints};
use crate::wire::varint::TooLarge;
use std::borrow::Cow;

/// Why a link is closed or a stream is reset: an application error code of QUIC. laps peering, "QUIC APP Error Codes".
///
/// Real laps relays end streams with code 0 and connections with 0 or 100; no rule depends on what they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// CLOSE: nothing went wrong.
    Close,
    /// REDIRECT: the peer is to use another relay.
    Redirect,
    /// NOT_AUTHORIZED: the peer may not have this link.
    NotAuthorized,
    /// CONNECT_MISSING: something else came where CONNECT had to, or nothing did.
    ConnectMissing,
    /// CONNECT_RESP_MISSING: something else came where the answer to CONNECT had to, or nothing did.
    ConnectResponseMissing,
    /// INVALID_CTRL_MSG_TYPE: a control message that may not be sent, at all or in this peering mode.
    InvalidMessageType,
    /// INVALID_ENCODING: bytes that cannot be what they claim to be.
    InvalidEncoding,
    /// INVALID_START_OF_STREAM: a data stream that does not begin with its header.
    InvalidStartOfStream,
    /// SWITCH_NEW_STREAM: this control stream is replaced by a newer one.
    SwitchNewStream,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::Close,
        Self::Redirect,
        Self::NotAuthorized,
        Self::ConnectMissing,
        Self::ConnectResponseMissing,
        Self::InvalidMessageType,
        Self::InvalidEncoding,
        Self::InvalidStartOfStream,
        Self::SwitchNewStream,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn number(self) -> u64 {
        codepoints::error_number(self)
    }

    /// The code with this number; none when the protocol does not define it.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The name that the protocol gives it, for logs and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "CLOSE",
            Self::Redirect => "REDIRECT",
            Self::NotAuthorized => "NOT_AUTHORIZED",
            Self::ConnectMissing => "CONNECT_MISSING",
            Self::ConnectResponseMissing => "CONNECT_RESP_MISSING",
            Self::InvalidMessageType => "INVALID_CTRL_MSG_TYPE",
            Self::InvalidEncoding => "INVALID_ENCODING",
            Self::InvalidStartOfStream => "INVALID_START_OF_STREAM",
            Self::SwitchNewStream => "SWITCH_NEW_STREAM",
        }
    }
}

/// The bytes cannot be what they claim to be; the peer that sent them is at fault.
///
/// "Not enough bytes yet" is never one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} [{section}]")]
pub struct DecodeError {
    /// How the link or the data stream ends.
    pub code: ErrorCode,
    /// What was wrong, for a person; names what was too large, and how large it may be.
    pub what: Cow<'static, str>,
    /// The section of the protocol that says so, such as `laps peering, "Node Path"`.
    pub section: &'static str,
}

impl DecodeError {
    /// A breach with a code of its own.
    #[must_use]
    pub fn new(code: ErrorCode, what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self {
            code,
            what: what.into(),
            section,
        }
    }

    /// Bytes that are wrong: INVALID_ENCODING.
    #[must_use]
    pub fn encoding(what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self::new(ErrorCode::InvalidEncoding, what, section)
    }
}

/// A message of ours that cannot be written; the caller is at fault and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// More of something than its length field can say.
    #[error("{what}: {size}, and the field for it ends at {max}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much there is.
        size: usize,
        /// The most that can be said.
        max: usize,
    },
    /// A value that the dialect has no way to say.
    #[error("{0} cannot be said to this peer")]
    NoCodepoint(&'static str),
}

impl From<TooLarge> for EncodeError {
    fn from(TooLarge(size): TooLarge) -> Self {
        Self::TooLarge {
            what: "a length",
            size: usize::try_from(size).unwrap_or(usize::MAX),
            max: usize::try_from(crate::wire::varint::MAX).unwrap_or(usize::MAX),
        }
    }
}

/// Why the SUBSCRIBE in a subscribe info cannot be read or written. No fault of the link: who does not need to understand
/// it hands it on as it is. laps peering, "Subscribe Information".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeDataError {
    /// Relays of this dialect put the SUBSCRIBE of a MOQT draft there that this build does not speak.
    #[error("the SUBSCRIBE of {0} relays is of a MOQT draft that is not spoken here")]
    NotSpoken(Dialect),
    /// It is no SUBSCRIBE.
    #[error("no SUBSCRIBE: {0}")]
    Malformed(#[from] crate::moqt::error::DecodeError),
    /// It cannot be written.
    #[error(transparent)]
    Encode(#[from] crate::moqt::error::EncodeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// laps peering, "QUIC APP Error Codes".
    #[test]
    fn codes_have_the_numbers_of_the_document() {
        let numbers = ErrorCode::ALL.iter().map(|code| (code.number(), code.name()));
        let expected = [
            (1, "CLOSE"),
            (2, "REDIRECT"),
            (8, "NOT_AUTHORIZED"),
            (32, "CONNECT_MISSING"),
            (33, "CONNECT_RESP_MISSING"),
            (34, "INVALID_CTRL_MSG_TYPE"),
            (35, "INVALID_ENCODING"),
            (36, "INVALID_START_OF_STREAM"),
            (128, "SWITCH_NEW_STREAM"),
        ];
        assert!(numbers.eq(expected));
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
        assert_eq!(ErrorCode::from_number(100), None);
    }
}
