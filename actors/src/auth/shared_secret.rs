//! A secret that the relay shares with those who may do everything, and with those who sign tokens for others.
//!
//! A token of type 0 is either the secret itself, which allows everything, or a JSON Web Token (RFC 7519) signed with
//! it by HMAC and SHA-256, whose `scope` says what it allows and whose `exp` says until when.

use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use laps_protocol::auth::{Denied, Fault, Grant, Scope, Token, UnixSeconds, Verifier, scopes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// Fewest bytes of a secret. RFC 7518 §3.2: as many as SHA-256 has, since whoever holds a signed token can try out
/// secrets against it in peace.
pub const MIN_SECRET_BYTES: usize = 32;
/// Most bytes of a token: with [`laps_protocol::auth::MAX_SCOPES`] scopes of usual length, and some.
const MAX_TOKEN_BYTES: usize = 8192;
/// The type of our tokens: agreed on out of band, since draft 14 lists none. MOQT-14 §9.2.1.1.
const TOKEN_TYPE: u64 = 0;

/// A secret. Never shown.
#[derive(Clone)]
pub struct Secret(Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It has fewer than [`MIN_SECRET_BYTES`].
    #[error("{0} bytes are too few for a secret, {MIN_SECRET_BYTES} are needed")]
    TooShort(usize),
}

impl Secret {
    /// A secret of these bytes, blanks at both ends left out: a file of one line ends in a newline.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let bytes = text.trim().as_bytes();
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort(bytes.len()));
        }
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

/// What is signed. RFC 7519 §4.1, RFC 8693 §4.2.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// Fractions are allowed, as in any JSON number.
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(default)]
    scope: String,
}

/// Believes whoever holds a secret, or a token signed with it, and nobody else.
pub struct SharedSecret {
    /// Of the secret: all are of one length, so comparing them says nothing of how long it is.
    digest: [u8; 32],
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

impl SharedSecret {
    /// Believes those who hold this one.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Time is an argument here, and has no leeway. An audience is none of ours, so a token that has one is refused.
        validation.validate_exp = false;
        Self {
            digest: Sha256::digest(&secret.0).into(),
            key: DecodingKey::from_secret(&secret.0),
            validation,
        }
    }

    fn claims(&self, token: &[u8]) -> Option<Claims> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation).ok()?;
        // RFC 7515 §4.1.11: it wants something understood that is not.
        decoded.header.crit.is_none().then_some(decoded.claims)
    }
}

impl Verifier for SharedSecret {
    fn anonymous(&self) -> Grant {
        Grant::nothing()
    }

    fn verify(&self, token: &Token, now: UnixSeconds) -> Result<Grant, Denied> {
        if token.token_type != TOKEN_TYPE {
            return Err(Denied::new(Fault::Malformed, "no such type of token here"));
        }
        if token.value.len() > MAX_TOKEN_BYTES {
            return Err(Denied::new(Fault::Malformed, "the token is too long"));
        }
        let digest: [u8; 32] = Sha256::digest(&token.value).into();
        if bool::from(digest.ct_eq(&self.digest)) {
            return Ok(Grant::everything());
        }
        // Whether it is none at all, or somebody else's, is for nobody to know.
        let claims = self
            .claims(&token.value)
            .ok_or(Denied::new(Fault::Malformed, "the token is not valid here"))?;
        let scopes =
            scopes(&claims.scope).ok_or(Denied::new(Fault::Malformed, "the token has too many scopes"))?;
        let grant = Grant::until(seconds(claims.exp), scopes, now)?;
        if claims.nbf.is_some_and(|begin| seconds(begin) > now) {
            return Err(Denied::new(Fault::Unauthorized, "the token is not valid yet"));
        }
        Ok(grant)
    }
}

/// A time before 1970 is long ago, one that cannot be counted is far away.
fn seconds(number: f64) -> UnixSeconds {
    let far = if number > 0.0 { u64::MAX } else { 0 };
    UnixSeconds(Duration::try_from_secs_f64(number).map_or(far, |since| since.as_secs()))
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// It would be longer than what is believed.
    #[error("the token would have {0} bytes, more than {MAX_TOKEN_BYTES}")]
    TooLong(usize),
    /// The signature failed.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// A token that allows these scopes until a time, for whom the secret itself is too much.
///
/// # Errors
/// When it would be too long, or cannot be signed.
pub fn mint(secret: &Secret, scopes: &[Scope], expires: UnixSeconds) -> Result<String, MintError> {
    #[derive(Serialize)]
    struct Signed {
        exp: u64,
        scope: String,
    }
    let scope = scopes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let claims = Signed {
        exp: expires.0,
        scope,
    };
    let key = EncodingKey::from_secret(&secret.0);
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(MintError::TooLong(token.len()));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::auth::{Action, Resource, Rights};
    use laps_protocol::moqt::name_text::parse_namespace;

    const TEXT: &str = "a secret of more than thirty-two bytes";
    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn secret() -> Secret {
        Secret::new(TEXT).unwrap()
    }

    fn token(value: impl Into<Bytes>) -> Token {
        Token {
            token_type: 0,
            value: value.into(),
        }
    }

    fn verify(value: impl Into<Bytes>) -> Result<Grant, Fault> {
        let verified = SharedSecret::new(&secret()).verify(&token(value), NOW);
        verified.map_err(|denied| denied.fault)
    }

    fn minted(scope: &str, expires: u64) -> String {
        let scopes = scopes(scope).unwrap();
        mint(&secret(), &scopes, UnixSeconds(expires)).unwrap()
    }

    /// Signed with our secret, whatever it says.
    fn signed(header: &Header, claims: &str) -> String {
        let claims: serde_json::Value = serde_json::from_str(claims).unwrap();
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(TEXT.as_bytes())).unwrap()
    }

    fn allows(grant: Grant, action: Action, namespace: &str) -> bool {
        let mut rights = Rights::new(Grant::nothing());
        rights.add(vec![grant]);
        let namespace = parse_namespace(namespace).unwrap();
        rights
            .decide(&[], action, Resource::Namespace(&namespace), NOW)
            .is_ok()
    }

    #[test]
    fn a_secret_is_long_and_trimmed() {
        assert_eq!(
            Secret::new(&"x".repeat(31)).unwrap_err(),
            SecretError::TooShort(31)
        );
        assert_eq!(
            Secret::new(&format!(" {}\r\n", "x".repeat(31))).unwrap_err(),
            SecretError::TooShort(31)
        );
        assert!(Secret::new(&format!("{}\n", "x".repeat(32))).is_ok());
    }

    /// D14-AUTH-11
    #[test]
    fn who_holds_the_secret_may_do_everything() {
        assert_eq!(verify(TEXT), Ok(Grant::everything()));
        for wrong in ["", "a secret", &TEXT[1..], &TEXT.to_uppercase()] {
            assert_eq!(verify(wrong.to_owned()), Err(Fault::Malformed), "{wrong}");
        }
        assert_eq!(SharedSecret::new(&secret()).anonymous(), Grant::nothing());
    }

    /// D14-AUTH-11 D14-AUTH-4
    #[test]
    fn a_signed_token_allows_its_scopes_until_it_is_over() {
        let grant = verify(minted("publisher:live/cam1 subscriber:live", NOW.0 + 1)).unwrap();
        for (action, namespace, allowed) in [
            (Action::Publish, "live/cam1", true),
            (Action::PublishNamespace, "live/cam1/x", true),
            (Action::Publish, "live/cam2", false),
            (Action::Subscribe, "live/cam2", true),
            (Action::Fetch, "live", true),
            (Action::Subscribe, "other", false),
        ] {
            assert_eq!(
                allows(grant.clone(), action, namespace),
                allowed,
                "{action:?} {namespace}"
            );
        }
        assert_eq!(verify(minted("fetch", NOW.0)), Err(Fault::Expired));
        assert_eq!(verify(minted("fetch", 0)), Err(Fault::Expired));
    }

    /// D14-AUTH-4
    #[test]
    fn what_is_not_ours_is_not_believed() {
        let good = minted("fetch", NOW.0 + 1);
        assert!(verify(good.clone()).is_ok());
        let other = Secret::new(&TEXT.replace('a', "b")).unwrap();
        let forged = mint(&other, &scopes("fetch").unwrap(), UnixSeconds(NOW.0 + 1)).unwrap();
        let (body, signature) = good.rsplit_once('.').unwrap();
        // {"alg":"none","typ":"JWT"}, and no signature.
        let unsigned = format!(
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.",
            body.split_once('.').unwrap().1
        );
        let critical = Header {
            crit: Some(vec!["x".to_owned()]),
            ..Header::new(Algorithm::HS256)
        };
        let exp = NOW.0 + 1;
        for token in [
            forged,
            unsigned,
            format!("{body}."),
            format!("{body}.{signature}A"),
            format!("{body}A.{signature}"),
            format!("{good}.{good}"),
            signed(
                &Header::new(Algorithm::HS384),
                &format!(r#"{{"exp":{exp},"scope":"fetch"}}"#),
            ),
            signed(&critical, &format!(r#"{{"exp":{exp},"scope":"fetch"}}"#)),
            // Without an end; for somebody else; with an end that is none.
            signed(&Header::default(), r#"{"scope":"fetch"}"#),
            signed(
                &Header::default(),
                &format!(r#"{{"exp":{exp},"scope":"fetch","aud":"x"}}"#),
            ),
            signed(&Header::default(), r#"{"exp":"never","scope":"fetch"}"#),
            signed(
                &Header::default(),
                &format!(r#"{{"exp":{exp},"scope":"{}"}}"#, "fetch ".repeat(65)),
            ),
            "x".repeat(MAX_TOKEN_BYTES + 1),
        ] {
            assert_eq!(verify(token.clone()), Err(Fault::Malformed), "{token}");
        }
        assert_eq!(verify(&b"\xff.\xff.\xff"[..]), Err(Fault::Malformed));
        let typed = Token {
            token_type: 1,
            value: Bytes::from_static(TEXT.as_bytes()),
        };
        let refused = SharedSecret::new(&secret()).verify(&typed, NOW).unwrap_err();
        assert_eq!(refused.fault, Fault::Malformed);
    }

    #[test]
    fn what_claims_say_is_what_counts() {
        let (now, later) = (NOW.0, NOW.0 + 1);
        for (claims, fault) in [
            (
                format!(r#"{{"exp":{later}.5,"scope":"fetch openid","sub":"x"}}"#),
                None,
            ),
            (format!(r#"{{"exp":{later},"nbf":{now},"scope":"fetch"}}"#), None),
            (
                r#"{"exp":1e300,"scope":"fetch"}"#.to_owned(),
                Some(Fault::Malformed),
            ),
            (
                format!(r#"{{"exp":{later},"nbf":1e300,"scope":"fetch"}}"#),
                Some(Fault::Unauthorized),
            ),
            (
                format!(r#"{{"exp":{now}.9,"scope":"fetch"}}"#),
                Some(Fault::Expired),
            ),
            (r#"{"exp":-1,"scope":"fetch"}"#.to_owned(), Some(Fault::Malformed)),
            (
                format!(r#"{{"exp":{later},"nbf":{later},"scope":"fetch"}}"#),
                Some(Fault::Unauthorized),
            ),
            (format!(r#"{{"exp":{later}}}"#), Some(Fault::Unauthorized)),
            (
                format!(r#"{{"exp":{later},"scope":"openid"}}"#),
                Some(Fault::Unauthorized),
            ),
        ] {
            let token = signed(&Header::default(), &claims);
            assert_eq!(verify(token).err(), fault, "{claims}");
        }
    }

    /// D14-AUTH-10
    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?} {:?}", secret(), SharedSecret::new(&secret()));
        assert_eq!(shown, "Secret SharedSecret");
    }

    #[test]
    fn a_token_that_would_not_be_believed_is_not_made() {
        let long = format!("fetch:{}", "x".repeat(4000));
        let scopes = scopes(&format!("{long} {long} {long}")).unwrap();
        let refused = mint(&secret(), &scopes, NOW);
        assert!(matches!(refused, Err(MintError::TooLong(_))));
    }
}
