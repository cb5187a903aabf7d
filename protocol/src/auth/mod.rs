//! Who may do what: what a token grants, and whether that covers what a peer asks for.
//!
//! | file | what it holds |
//! |---|---|
//! | `scope` | one thing that a token allows, as text and as a match |
//! | `grant` | all that a token allows, for how long, and the decision |
//!
//! How a token is verified is a [`Verifier`]'s business, and keys are held where it lives. Time is an argument.

mod grant;
mod scope;

pub use grant::{Grant, Rights};
pub use scope::{MAX_SCOPES, Scope, ScopeError, scopes};

use crate::moqt::error::CloseCode;
use crate::moqt::message::RequestErrorReason;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use bytes::Bytes;
use std::fmt;

/// Seconds since the epoch of Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// What a peer may ask for. MOQT-14 §8.3, §8.4, §9.28 [D14-AUTH-11].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// SUBSCRIBE, changing a subscription, and being offered a track by PUBLISH.
    Subscribe,
    /// FETCH.
    Fetch,
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH.
    Publish,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE, and being told what is announced.
    SubscribeNamespace,
}

/// What it is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A track.
    Track(&'a FullTrackName),
    /// A namespace, or everything below a prefix.
    Namespace(&'a TrackNamespace),
}

impl Resource<'_> {
    /// The namespace that it is, or lies in.
    #[must_use]
    pub const fn namespace(&self) -> &TrackNamespace {
        match self {
            Self::Track(name) => name.namespace(),
            Self::Namespace(namespace) => namespace,
        }
    }
}

/// A token that a peer showed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What kind of token it is; 0 was agreed on out of band. MOQT-14 §9.2.1.1.
    pub token_type: u64,
    /// The token.
    pub value: Bytes,
}

impl fmt::Debug for Token {
    /// Leaves the secret out: [D14-AUTH-10].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(type {}, {} bytes)", self.token_type, self.value.len())
    }
}

/// What is the matter with a peer's right to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing that it showed allows this.
    Unauthorized,
    /// It showed a token that is none.
    Malformed,
    /// What would allow it is over.
    Expired,
}

/// A peer may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{phrase}")]
pub struct Denied {
    /// Why.
    pub fault: Fault,
    /// Why, for a person on the other side; says nothing of what would be right.
    pub phrase: &'static str,
}

impl Denied {
    /// For this reason, in these words.
    #[must_use]
    pub const fn new(fault: Fault, phrase: &'static str) -> Self {
        Self { fault, phrase }
    }

    /// The reason in the answer to a request; the draft's tables say what becomes of it in an answer that has no code
    /// for it. MOQT-14 §9.2.1.1 [D14-AUTH-4].
    #[must_use]
    pub const fn reason(&self) -> RequestErrorReason {
        match self.fault {
            Fault::Unauthorized => RequestErrorReason::Unauthorized,
            Fault::Malformed => RequestErrorReason::MalformedAuthToken,
            Fault::Expired => RequestErrorReason::ExpiredAuthToken,
        }
    }

    /// The code that ends a session whose SETUP is refused. MOQT-14 §3.4, §9.2.1.1 [D14-SETUP-24] [D14-AUTH-4].
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self.fault {
            Fault::Unauthorized => CloseCode::Unauthorized,
            Fault::Malformed => CloseCode::MalformedAuthToken,
            Fault::Expired => CloseCode::ExpiredAuthToken,
        }
    }
}

/// Says what tokens allow. Asked in the midst of a session, so it answers from what it has.
pub trait Verifier: fmt::Debug + Send + Sync {
    /// What a peer may do that shows no token.
    fn anonymous(&self) -> Grant;

    /// What a token allows.
    ///
    /// # Errors
    /// When it is not one of ours, or is over.
    fn verify(&self, token: &Token, now: UnixSeconds) -> Result<Grant, Denied>;
}

/// Everybody may do everything, whatever tokens they show.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Verifier for AllowAll {
    fn anonymous(&self) -> Grant {
        Grant::everything()
    }

    fn verify(&self, _: &Token, _: UnixSeconds) -> Result<Grant, Denied> {
        Ok(Grant::everything())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-AUTH-4 D14-SETUP-24
    #[test]
    fn each_fault_has_its_codes() {
        for (fault, reason, code) in [
            (
                Fault::Unauthorized,
                RequestErrorReason::Unauthorized,
                CloseCode::Unauthorized,
            ),
            (
                Fault::Malformed,
                RequestErrorReason::MalformedAuthToken,
                CloseCode::MalformedAuthToken,
            ),
            (
                Fault::Expired,
                RequestErrorReason::ExpiredAuthToken,
                CloseCode::ExpiredAuthToken,
            ),
        ] {
            let denied = Denied::new(fault, "no");
            assert_eq!((denied.reason(), denied.close_code()), (reason, code));
        }
    }

    /// D14-AUTH-10
    #[test]
    fn a_token_is_not_shown() {
        let token = Token {
            token_type: 0,
            value: Bytes::from_static(b"sesame"),
        };
        assert_eq!(format!("{token:?}"), "Token(type 0, 6 bytes)");
    }
}
