//! Whose tokens are believed, and what time it is: what a session needs to judge a request on the spot.
//!
//! What tokens allow and how a request is judged is `laps_protocol::auth`'s; keys live here. There is no actor: keys
//! are read at start and never change, so each session has a share of one verifier (decision 0018).

mod shared_secret;

pub use shared_secret::{MIN_SECRET_BYTES, MintError, Secret, SecretError, SharedSecret, mint};

use bytes::Bytes;
use laps_protocol::auth::{AllowAll, Denied, Fault, Grant, Token, UnixSeconds, Verifier};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::message::AuthToken;
use std::sync::Arc;
use std::time::SystemTime;

/// Tokens of one message that are looked at: one for each of a few issuers is what there may be. Each takes a hash to
/// look at, and what it allows may be kept as long as the session.
const MAX_TOKENS: usize = 16;

/// Who verifies tokens, and by which clock. Cheap to clone, and shared by all sessions of a relay.
#[derive(Clone, Debug)]
pub struct Auth {
    verifier: Arc<dyn Verifier>,
    /// Nobody needs a token.
    open: bool,
    clock: fn() -> UnixSeconds,
}

impl Default for Auth {
    /// Everybody may do everything.
    fn default() -> Self {
        Self::new(Arc::new(AllowAll))
    }
}

impl Auth {
    /// Tokens are verified so, by the clock of this machine.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>) -> Self {
        Self {
            open: verifier.anonymous() == Grant::everything(),
            verifier,
            clock: system_time,
        }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> UnixSeconds) -> Self {
        Self { clock, ..self }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        (self.clock)()
    }

    /// What a session may do before it has shown anything.
    #[must_use]
    pub fn anonymous(&self) -> Grant {
        self.verifier.anonymous()
    }

    /// What these tokens allow, each a token structure that shows its value, as the session's machine gives them. Where
    /// everybody may do everything they allow nothing more, and nobody looks at them.
    ///
    /// # Errors
    /// For the first one that is not to be believed: it costs the message that it stands in, whatever the others
    /// allow. MOQT-14 §9.2.1.1 [D14-AUTH-4] Also when there are more than a message has any use for.
    pub fn grants(&self, codec: Codec, tokens: &[Bytes], now: UnixSeconds) -> Result<Vec<Grant>, Denied> {
        if self.open {
            return Ok(Vec::new());
        }
        if tokens.len() > MAX_TOKENS {
            return Err(Denied::new(Fault::Malformed, "too many tokens in one message"));
        }
        let grant = |token: &Bytes| match codec.decode_token(token) {
            Ok(AuthToken::UseValue { token_type, value }) => {
                self.verifier.verify(&Token { token_type, value }, now)
            }
            Ok(AuthToken::UseAlias { .. } | AuthToken::Register { .. } | AuthToken::Delete { .. })
            | Err(_) => Err(Denied::new(Fault::Malformed, "the token shows no value")),
        };
        tokens.iter().map(grant).collect()
    }
}

/// A clock that stands before 1970 is as wrong as one that stands still: nothing has expired by it.
fn system_time() -> UnixSeconds {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixSeconds(since.map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODEC: Codec = Codec::Draft14;
    const NOW: UnixSeconds = UnixSeconds(0);

    fn shown(token: &AuthToken) -> Bytes {
        CODEC.encode_token(token).unwrap()
    }

    /// D14-AUTH-4: a token that is not to be believed counts for more than others that are.
    #[test]
    fn one_bad_token_is_enough() {
        let secret = "x".repeat(MIN_SECRET_BYTES);
        let auth = Auth::new(Arc::new(SharedSecret::new(&Secret::new(&secret).unwrap())));
        let value = |value: &str| {
            shown(&AuthToken::UseValue {
                token_type: 0,
                value: Bytes::copy_from_slice(value.as_bytes()),
            })
        };
        let (good, bad) = (value(&secret), value("x"));
        let grants = |tokens: &[Bytes]| {
            let grants = auth.grants(CODEC, tokens, NOW);
            grants.map(|grants| grants.len()).map_err(|denied| denied.fault)
        };
        assert_eq!(grants(&[]), Ok(0));
        assert_eq!(grants(&[good.clone(), good.clone()]), Ok(2));
        assert_eq!(grants(&[good.clone(), bad]), Err(Fault::Malformed));
        assert_eq!(grants(&vec![good.clone(); MAX_TOKENS]), Ok(MAX_TOKENS));
        assert_eq!(grants(&vec![good; MAX_TOKENS + 1]), Err(Fault::Malformed));
        // The session's machine gives none of these.
        assert_eq!(
            grants(&[shown(&AuthToken::UseAlias { alias: 1 })]),
            Err(Fault::Malformed)
        );
        assert_eq!(grants(&[Bytes::from_static(b"\x09")]), Err(Fault::Malformed));
        assert_eq!(auth.anonymous(), Grant::nothing());
    }

    #[test]
    fn where_everybody_may_do_everything_no_token_is_wrong() {
        let auth = Auth::default();
        let tokens = vec![Bytes::from_static(b"\x09"); 1000];
        assert_eq!(auth.grants(CODEC, &tokens, NOW), Ok(Vec::new()));
        assert_eq!(auth.anonymous(), Grant::everything());
        assert!(auth.now() > UnixSeconds(1_700_000_000));
    }
}
