//! SETUP: the first message each way. MOQT-14 §9.3.

use super::params::KeyValue;
use bytes::Bytes;
use std::fmt;

/// Parameters of CLIENT_SETUP and SERVER_SETUP. MOQT-14 §9.3.2.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SetupParams {
    /// PATH, raw QUIC clients only.
    pub path: Option<Bytes>,
    /// MAX_REQUEST_ID; absent means 0, that is: no requests at all.
    pub max_request_id: Option<u64>,
    /// MAX_AUTH_TOKEN_CACHE_SIZE in bytes; absent means 0.
    pub max_auth_token_cache_size: Option<u64>,
    /// AUTHORIZATION_TOKEN, repeatable, each the undecoded token structure.
    pub authorization_tokens: Vec<Bytes>,
    /// AUTHORITY, raw QUIC clients only.
    pub authority: Option<Bytes>,
    /// MOQT_IMPLEMENTATION: name and version of the sender's software.
    pub implementation: Option<Bytes>,
    /// Parameters this build does not know, in order of arrival. Ignored (MOQT-14 §9.3 [D14-SETUP-12]).
    pub unknown: Vec<KeyValue>,
}

impl fmt::Debug for SetupParams {
    /// Shows that there are tokens, never what they are: messages are logged. [D14-AUTH-10]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupParams")
            .field("path", &self.path)
            .field("max_request_id", &self.max_request_id)
            .field("max_auth_token_cache_size", &self.max_auth_token_cache_size)
            .field("authorization_tokens", &self.authorization_tokens.len())
            .field("authority", &self.authority)
            .field("implementation", &self.implementation)
            .field("unknown", &self.unknown)
            .finish()
    }
}

/// CLIENT_SETUP. MOQT-14 §9.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSetup {
    /// Version numbers as they stand on the wire, in the client's order; unknown ones are kept.
    pub versions: Vec<u64>,
    /// Parameters.
    pub params: SetupParams,
}

/// SERVER_SETUP. MOQT-14 §9.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSetup {
    /// The chosen version's number on the wire.
    pub version: u64,
    /// Parameters.
    pub params: SetupParams,
}
