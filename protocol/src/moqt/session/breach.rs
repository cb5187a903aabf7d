//! A rule that the peer broke and that ends the session.

use crate::moqt::error::{CloseCode, DecodeError};
use std::borrow::Cow;

/// The peer broke a rule of the session; it is at fault and the session ends. MOQT-14 §3.4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} [{section}]")]
pub(super) struct PeerMisbehaved {
    /// How the session ends.
    pub(super) code: CloseCode,
    /// What the peer did, for a person.
    pub(super) what: Cow<'static, str>,
    /// The rule, such as "MOQT-14 §9.1".
    pub(super) section: &'static str,
}

impl PeerMisbehaved {
    /// A breach that ends the session with `code`.
    pub(super) fn new(code: CloseCode, what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self {
            code,
            what: what.into(),
            section,
        }
    }

    /// A breach that has no code of its own.
    pub(super) fn violation(what: impl Into<Cow<'static, str>>, section: &'static str) -> Self {
        Self::new(CloseCode::ProtocolViolation, what, section)
    }
}

impl From<DecodeError> for PeerMisbehaved {
    fn from(error: DecodeError) -> Self {
        Self::new(error.code, error.what, error.section)
    }
}
