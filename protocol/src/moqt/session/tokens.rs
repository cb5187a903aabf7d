//! Authorization tokens that the peer shows, by value or under an alias. MOQT-14 §9.2.1.1, §9.3.2.4, §9.3.2.5.
//!
//! The session keeps what is registered and hands each token on by its value; what the values allow is for others to
//! judge ([`crate::auth`]). Tokens of ours are always shown by value, so the aliases here are all the peer's, and a
//! number that both sides might use is never one alias. [D14-AUTH-2]

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::Role;
use crate::moqt::codec::Codec;
use crate::moqt::error::{CloseCode, EncodeError};
use crate::moqt::message::{AuthToken, MessageParams, RequestErrorReason, RequestId, RequestKind};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const SECTION: &str = "MOQT-14 §9.2.1.1";
/// Bytes that a registered token counts beside its value. MOQT-14 §9.3.2.4 [D14-SETUP-19].
const OVERHEAD: u64 = 16;

/// What stands under an alias.
struct Registered {
    /// The token as a structure that shows it by value. One allocation of its own, shared by all who are shown it.
    by_value: Bytes,
    /// What it counts.
    size: u64,
}

/// The tokens that the peer has registered and not deleted.
pub(super) struct TokenCache {
    /// Most bytes, as the peer was told.
    max: u64,
    /// MOQT-14 §9.3.2.4 [D14-AUTH-8]: everything registered minus everything deleted.
    used: u64,
    by_alias: BTreeMap<u64, Registered>,
}

impl fmt::Debug for TokenCache {
    /// [D14-AUTH-10]: how many there are, never what they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TokenCache({} of {} bytes, {} aliases)",
            self.used,
            self.max,
            self.by_alias.len()
        )
    }
}

/// In which kind of message a token stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// CLIENT_SETUP: the client could not know the size of the cache.
    ClientSetup,
    /// SERVER_SETUP.
    ServerSetup,
    /// Any other message.
    Message,
}

/// The tokens of one message.
struct Shown {
    /// Each as a structure that shows it by value.
    by_value: Vec<Bytes>,
    /// An alias was named under which nothing is registered.
    unknown: bool,
}

impl TokenCache {
    /// An empty cache of `max` bytes; 0 for none.
    pub(super) const fn new(max: u64) -> Self {
        Self {
            max,
            used: 0,
            by_alias: BTreeMap::new(),
        }
    }

    /// The size to tell the peer; none when there is no cache. MOQT-14 §9.3.2.4 [D14-SETUP-19].
    pub(super) const fn offered(&self) -> Option<u64> {
        match self.max {
            0 => None,
            max => Some(max),
        }
    }

    /// Bytes that count, and tokens.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u64, usize) {
        (self.used, self.by_alias.len())
    }

    /// Takes the tokens of one message in, in their order.
    ///
    /// MOQT-14 §9.2.1.1 [D14-AUTH-5]: registrations and deletions count also when the message is refused, for an
    /// unknown alias beside them or anything else, so that what the peer has sent already means what it meant.
    fn take(&mut self, codec: Codec, tokens: &[Bytes], place: Place) -> Result<Shown, PeerMisbehaved> {
        let mut shown = Shown {
            by_value: Vec::with_capacity(tokens.len()),
            unknown: false,
        };
        // A message has room for thousands of aliases of one token, which say no more than the first.
        let mut used = BTreeSet::new();
        for token in tokens {
            match codec.decode_token(token)? {
                AuthToken::UseValue { .. } => shown.by_value.push(token.clone()),
                AuthToken::Register {
                    alias,
                    token_type,
                    value,
                } => {
                    let by_value = AuthToken::UseValue { token_type, value };
                    let by_value = self.register(codec, alias, &by_value, place)?;
                    used.insert(alias);
                    shown.by_value.push(by_value);
                }
                // [D14-AUTH-9]: nothing can be registered before SETUP, as later drafts say.
                AuthToken::UseAlias { .. } | AuthToken::Delete { .. } if place != Place::Message => {
                    shown.unknown = true;
                }
                AuthToken::UseAlias { alias } => match self.by_alias.get(&alias) {
                    Some(known) if used.insert(alias) => shown.by_value.push(known.by_value.clone()),
                    Some(_) => {}
                    None => shown.unknown = true,
                },
                // MOQT-14 §9.2.1.1 [D14-AUTH-9]: what was authorised stays so, and the value may come again.
                AuthToken::Delete { alias } => match self.by_alias.remove(&alias) {
                    Some(known) => {
                        self.used = self.used.saturating_sub(known.size);
                        used.remove(&alias);
                    }
                    None => shown.unknown = true,
                },
            }
        }
        Ok(shown)
    }

    /// Keeps a token under an alias. What it says, and whether its time is over, makes no difference to its place
    /// and size. MOQT-14 §9.2.1.1 [D14-AUTH-7] [D14-AUTH-8].
    fn register(
        &mut self,
        codec: Codec,
        alias: u64,
        token: &AuthToken,
        place: Place,
    ) -> Result<Bytes, PeerMisbehaved> {
        // MOQT-14 §9.2.1.1 [D14-AUTH-2].
        if self.by_alias.contains_key(&alias) {
            return Err(PeerMisbehaved::new(
                CloseCode::DuplicateAuthTokenAlias,
                "a token is registered under this alias already",
                SECTION,
            ));
        }
        let value_len = if let AuthToken::UseValue { value, .. } = token {
            value.len() as u64
        } else {
            0
        };
        let unwritable =
            |error: EncodeError| PeerMisbehaved::new(CloseCode::InternalError, error.to_string(), SECTION);
        // A copy: a slice would keep the whole of what was received with it.
        let by_value = codec.encode_token(token).map_err(unwritable)?;
        let size = OVERHEAD.saturating_add(value_len);
        let used = self.used.saturating_add(size);
        if used > self.max {
            // MOQT-14 §9.3.2.5 [D14-SETUP-20]: there it is a token shown by value, and the alias stays free.
            if place == Place::ClientSetup {
                return Ok(by_value);
            }
            // MOQT-14 §9.2.1.1 [D14-AUTH-6].
            return Err(PeerMisbehaved::new(
                CloseCode::AuthTokenCacheOverflow,
                "more tokens are registered than the cache holds",
                SECTION,
            ));
        }
        self.used = used;
        let registered = Registered {
            by_value: by_value.clone(),
            size,
        };
        self.by_alias.insert(alias, registered);
        Ok(by_value)
    }
}

impl Session {
    /// Replaces the tokens of a request of the peer by their values. True when it is refused for them, which the peer
    /// was told then.
    pub(super) fn refuses_tokens(
        &mut self,
        id: RequestId,
        kind: RequestKind,
        params: &mut MessageParams,
    ) -> Result<bool, PeerMisbehaved> {
        let unknown = self.resolve_tokens(params)?;
        if unknown {
            // [D14-AUTH-3]: the draft has no code for an unknown alias in the answers; the request pays, not the session.
            let reason = RequestErrorReason::MalformedAuthToken;
            self.refuse(id, kind, reason, "no token is registered under this alias");
        }
        Ok(unknown)
    }

    /// The same for a message that nothing answers: it is the session that ends. MOQT-14 §3.4 [D14-AUTH-3].
    pub(super) fn check_tokens(&mut self, params: &mut MessageParams) -> Result<(), PeerMisbehaved> {
        if self.resolve_tokens(params)? {
            return Err(unknown_alias());
        }
        Ok(())
    }

    /// True when a token cannot be resolved.
    fn resolve_tokens(&mut self, params: &mut MessageParams) -> Result<bool, PeerMisbehaved> {
        let tokens = std::mem::take(&mut params.authorization_tokens);
        let shown = self.tokens.take(self.codec, &tokens, Place::Message)?;
        params.authorization_tokens = shown.by_value;
        Ok(shown.unknown)
    }

    /// The tokens of the peer's SETUP, each shown by its value.
    pub(super) fn setup_tokens(&mut self, tokens: &[Bytes]) -> Result<Vec<Bytes>, PeerMisbehaved> {
        let place = match self.role {
            Role::Server => Place::ClientSetup,
            Role::Client => Place::ServerSetup,
        };
        let shown = self.tokens.take(self.codec, tokens, place)?;
        // MOQT-14 §3.4 [D14-AUTH-3]: the message that is refused is the one that makes the session.
        if shown.unknown {
            return Err(unknown_alias());
        }
        Ok(shown.by_value)
    }
}

fn unknown_alias() -> PeerMisbehaved {
    PeerMisbehaved::new(
        CloseCode::UnknownAuthTokenAlias,
        "no token is registered under this alias",
        SECTION,
    )
}
