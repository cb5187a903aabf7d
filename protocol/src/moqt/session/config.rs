//! What a session is told at its start.

use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// Settings of one session.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Our name and version for SETUP's MOQT_IMPLEMENTATION; left out when empty.
    pub implementation: Bytes,
    /// The peer's window, in ids: half as many of its requests may be open at a time. MOQT-14 §9.3.2.3.
    pub max_request_id: u64,
    /// Requests of ours that may wait for the peer to allow them.
    pub max_queued_requests: usize,
    /// How long the peer may take to finish SETUP.
    pub setup_timeout: Duration,
    /// How long the peer may take to finish a control message that it began. MOQT-14 §12.2.
    pub message_timeout: Duration,
    /// How long a session may have no open request of either side; none when it may for ever. MOQT-14 §12.2.
    pub idle_timeout: Option<Duration>,
    /// PATH that a client sends over raw QUIC.
    pub path: Option<Bytes>,
    /// AUTHORITY that a client sends over raw QUIC.
    pub authority: Option<Bytes>,
    /// Tokens that a client shows in SETUP, each an encoded token structure.
    pub authorization_tokens: Vec<Bytes>,
    /// Bytes of tokens that the peer may register, each counted as 16 and its value; 0 for none. MOQT-14 §9.3.2.4.
    pub max_auth_token_cache_size: u64,
    /// The connection is WebTransport, whose CONNECT request carries path and authority already.
    pub webtransport: bool,
    /// Tolerates a peer that skips request ids. [D14-REQ-2]
    pub allow_request_id_gaps: bool,
    /// Gives each control message, in and out, as an [`super::Output::Trace`].
    pub trace: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            implementation: Bytes::new(),
            // Large enough that a peer with thousands of tracks is not told a new maximum in its first minutes,
            // which some implementations cannot take.
            max_request_id: 10_000,
            // A burst of as many subscriptions as a peer with a usual window of 100 to 1000 ids has to be waited for.
            max_queued_requests: 1024,
            // [D14-SETUP-23] suggests this value.
            setup_timeout: Duration::from_secs(5),
            // The largest message has 64 KiB, which takes a second at 512 kbit/s.
            message_timeout: Duration::from_secs(10),
            idle_timeout: None,
            path: None,
            authority: None,
            authorization_tokens: Vec::new(),
            // The draft's default. Only who judges tokens has a use for them.
            max_auth_token_cache_size: 0,
            webtransport: false,
            allow_request_id_gaps: false,
            trace: false,
        }
    }
}

impl fmt::Debug for Config {
    /// Shows that there are tokens, never what they are. [D14-AUTH-10]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("implementation", &self.implementation)
            .field("max_request_id", &self.max_request_id)
            .field("max_queued_requests", &self.max_queued_requests)
            .field("setup_timeout", &self.setup_timeout)
            .field("path", &self.path)
            .field("authority", &self.authority)
            .field("authorization_tokens", &self.authorization_tokens.len())
            .field("max_auth_token_cache_size", &self.max_auth_token_cache_size)
            .field("webtransport", &self.webtransport)
            .field("allow_request_id_gaps", &self.allow_request_id_gaps)
            .field("trace", &self.trace)
            .finish()
    }
}
