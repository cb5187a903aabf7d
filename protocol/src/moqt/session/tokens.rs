//! Authorization tokens. MOQT-14 §9.2.1.1, §9.3.2.4, §9.3.2.5.
//!
//! SETUP of this side offers no token cache, so a peer may show tokens by value and not by alias. What the values
//! allow is for others to judge.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::Role;
use crate::moqt::error::CloseCode;
use crate::moqt::message::{AuthToken, MessageParams, RequestErrorReason, RequestId, RequestKind};
use bytes::Bytes;

/// How a message shows a token that is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alias {
    /// It registers one.
    Registered,
    /// It uses or deletes one, and none is registered.
    Named,
}

impl Session {
    /// Whether a request of the peer is refused for a token that it shows by alias. Says so to the peer.
    pub(super) fn refuses_tokens(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        params: &MessageParams,
    ) -> Result<bool, PeerMisbehaved> {
        match self.alias_in(&params.authorization_tokens)? {
            None => Ok(false),
            Some(Alias::Registered) => Err(overflow()),
            // [D14-AUTH-3]: the draft has no code for an unknown alias in the answers; the request pays, not the session.
            Some(Alias::Named) => {
                let reason = RequestErrorReason::MalformedAuthToken;
                self.refuse(id, kind, reason, "no token is registered under this alias");
                Ok(true)
            }
        }
    }

    /// Checks the tokens of a message that nothing answers.
    pub(super) fn check_tokens(&self, params: &MessageParams) -> Result<(), PeerMisbehaved> {
        match self.alias_in(&params.authorization_tokens)? {
            None => Ok(()),
            Some(Alias::Registered) => Err(overflow()),
            Some(Alias::Named) => Err(unknown_alias()),
        }
    }

    /// The tokens of the peer's SETUP, each a token shown by value.
    pub(super) fn setup_tokens(&self, tokens: Vec<Bytes>) -> Result<Vec<Bytes>, PeerMisbehaved> {
        let by_value = |token: Bytes| match self.codec.decode_token(&token)? {
            AuthToken::UseValue { .. } => Ok(token),
            // MOQT-14 §9.3.2.5 [D14-SETUP-20]: the client could not know that there is no room for it.
            AuthToken::Register {
                token_type, value, ..
            } if self.role == Role::Server => {
                let by_value = AuthToken::UseValue { token_type, value };
                let error = |error: crate::moqt::error::EncodeError| {
                    PeerMisbehaved::new(CloseCode::InternalError, error.to_string(), "MOQT-14 §9.3.2.5")
                };
                self.codec.encode_token(&by_value).map_err(error)
            }
            AuthToken::Register { .. } => Err(overflow()),
            AuthToken::UseAlias { .. } | AuthToken::Delete { .. } => Err(unknown_alias()),
        };
        tokens.into_iter().map(by_value).collect()
    }

    fn alias_in(&self, tokens: &[Bytes]) -> Result<Option<Alias>, PeerMisbehaved> {
        let mut found = None;
        for token in tokens {
            match self.codec.decode_token(token)? {
                AuthToken::UseValue { .. } => {}
                AuthToken::Register { .. } => return Ok(Some(Alias::Registered)),
                AuthToken::UseAlias { .. } | AuthToken::Delete { .. } => found = Some(Alias::Named),
            }
        }
        Ok(found)
    }
}

/// MOQT-14 §9.2.1.1, §9.3.2.4 [D14-SETUP-19]: the size of no cache is 0, and a token has 16 bytes at least.
fn overflow() -> PeerMisbehaved {
    PeerMisbehaved::new(
        CloseCode::AuthTokenCacheOverflow,
        "a token was registered, and no cache is offered",
        "MOQT-14 §9.2.1.1",
    )
}

fn unknown_alias() -> PeerMisbehaved {
    PeerMisbehaved::new(
        CloseCode::UnknownAuthTokenAlias,
        "no token is registered under this alias",
        "MOQT-14 §9.2.1.1",
    )
}
