//! A rule that the peer broke and that ends the link.

use crate::peering::error::{DecodeError, ErrorCode};
use std::borrow::Cow;

/// The peer broke a rule of the link; it is at fault and the link ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} [{section}]")]
pub(super) struct PeerMisbehaved {
    /// How the link ends.
    pub(super) code: ErrorCode,
    /// What the peer did, for a person.
    pub(super) what: Cow<'static, str>,
    /// The rule, such as `laps peering, "Connect Message"`.
    pub(super) section: &'static str,
}

impl PeerMisbehaved {
    pub(super) fn new(code: ErrorCode, what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self {
            code,
            what: what.into(),
            section,
        }
    }

    /// A control message that may not be sent, at all, now, or on this link.
    pub(super) fn message(what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self::new(ErrorCode::InvalidMessageType, what, section)
    }
}

impl From<DecodeError> for PeerMisbehaved {
    fn from(error: DecodeError) -> Self {
        Self::new(error.code, error.what, error.section)
    }
}
