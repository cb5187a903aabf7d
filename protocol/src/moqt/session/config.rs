//! What a session is told at its start.

use bytes::Bytes;
use std::time::Duration;

/// Settings of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our name and version for SETUP's MOQT_IMPLEMENTATION; left out when empty.
    pub implementation: Bytes,
    /// The peer's window, in ids: half as many of its requests may be open at a time. MOQT-14 §9.3.2.3.
    pub max_request_id: u64,
    /// Requests of ours that may wait for the peer to allow them.
    pub max_queued_requests: usize,
    /// How long the peer may take to finish SETUP.
    pub setup_timeout: Duration,
    /// PATH that a client sends over raw QUIC.
    pub path: Option<Bytes>,
    /// AUTHORITY that a client sends over raw QUIC.
    pub authority: Option<Bytes>,
    /// Tokens that a client shows in SETUP, each an encoded token structure.
    pub authorization_tokens: Vec<Bytes>,
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
            path: None,
            authority: None,
            authorization_tokens: Vec::new(),
            webtransport: false,
            allow_request_id_gaps: false,
            trace: false,
        }
    }
}
