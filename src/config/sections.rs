//! The sections of the configuration, each the table of the same name in the file.
//!
//! No field is an `Option`: every key has a value in a dump, so a dump shows all there is to set. An empty text
//! stands for "not given" where that is possible.

use super::admin::Admin;
use super::discovery::Discovery;
use super::limits::Limits;
use super::namespaces::Namespaces;
use super::peering::Peering;
use super::secret::SecretText;
use super::span::Span;
use crate::node_id::{self, NodeId, NotANodeId};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Everything that can be configured. Keys and their meaning: [`super::keys::all`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who and where this relay is.
    pub relay: Relay,
    /// Its certificate.
    pub tls: Tls,
    /// Its threads.
    pub workers: Workers,
    /// What becomes of a SUBSCRIBE.
    pub subscribe: Subscribe,
    /// Limits of each MOQT session.
    pub session: Session,
    /// Limits of each QUIC connection.
    pub transport: Transport,
    /// How long and how much of a track is kept.
    pub cache: Cache,
    /// How past objects are given.
    pub fetch: Fetch,
    /// Who may do what.
    pub auth: Auth,
    /// What is too large, and how much of what is too much.
    pub limits: Limits,
    /// Its links to other relays.
    pub peering: Peering,
    /// How it ends.
    pub drain: Drain,
    /// Being found on a local network.
    pub discovery: Discovery,
    /// Where it tells how it is.
    pub admin: Admin,
    /// The log.
    pub logging: Logging,
}

/// `[relay]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relay {
    /// Address to listen on; `::` is every address of this machine, IPv6 and IPv4.
    pub bind: IpAddr,
    /// UDP port; 0 lets the system choose.
    pub port: u16,
    /// Name or node id of this relay; empty for the host name.
    pub endpoint_id: String,
    /// Sessions are told of what they publish themselves, and may subscribe to it.
    pub allow_self: bool,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port: 33435,
            endpoint_id: String::new(),
            allow_self: true,
        }
    }
}

impl Relay {
    /// The endpoint id, the host name when none is configured.
    #[must_use]
    pub fn endpoint_text(&self) -> String {
        if !self.endpoint_id.is_empty() {
            return self.endpoint_id.clone();
        }
        // A machine without a name is still a relay; the text only has to be there.
        let name = nix::unistd::gethostname().unwrap_or_default();
        if name.is_empty() {
            "laps".to_owned()
        } else {
            name.to_string_lossy().into_owned()
        }
    }

    /// The node id behind the endpoint id.
    ///
    /// # Errors
    /// When the endpoint id is a malformed `n:n`; never after [`super::load()`], which checks it.
    pub fn node_id(&self) -> Result<NodeId, NotANodeId> {
        node_id::of_endpoint(&self.endpoint_text())
    }
}

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Path of the PEM certificate chain; empty for one that the relay makes and renews.
    pub cert: String,
    /// Path of the PEM private key.
    pub key: String,
}

/// `[workers]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workers {
    /// Shards, each a thread; 0 for one per core, as far as there is memory for them.
    pub threads: u16,
}

/// `[subscribe]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    /// Milliseconds that a SUBSCRIBE waits for a publisher before it is refused.
    pub wait: u64,
    /// A SUBSCRIBE is accepted without a publisher, and outlives its publisher.
    pub detached: bool,
    /// The least milliseconds between two messages that tell a publisher whether objects are wanted, and for how long
    /// nobody has wanted any when it is told so.
    pub dampen_ms: u64,
    /// Milliseconds that a publisher has to answer our SUBSCRIBE.
    pub answer_ms: u64,
    /// Mebibytes of objects that wait for one subscription.
    pub max_behind_mb: u64,
    /// Namespaces whose subscribers go on with the newest group when more than that waits for them, or for too long.
    pub newest_group: Namespaces,
    /// Milliseconds that an object waits for one of these subscribers while a newer group is there; 0 for any time.
    pub max_behind_ms: u64,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self {
            wait: 1000,
            detached: false,
            dampen_ms: 500,
            answer_ms: 3000,
            max_behind_mb: 16,
            newest_group: Namespaces::default(),
            max_behind_ms: 500,
        }
    }
}

impl Subscribe {
    /// How long a SUBSCRIBE waits for a publisher, where it needs one.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        Duration::from_millis(self.wait)
    }
}

/// `[session]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// The window of request ids that a peer has; half as many of its requests may be open.
    pub max_request_id: u64,
    /// Milliseconds that a peer has for its SETUP.
    pub setup_timeout_ms: u64,
    /// Bytes of control messages that may wait for a peer that does not read.
    pub control_backlog_bytes: u64,
    /// Milliseconds that a peer has to finish a control message.
    pub message_timeout_ms: u64,
    /// Milliseconds that a peer has to finish the header of a data stream.
    pub header_timeout_ms: u64,
    /// Milliseconds that data waits for the message that explains its track alias.
    pub alias_wait_ms: u64,
    /// Milliseconds without a request after which a session is closed; 0 for never.
    pub idle_timeout_ms: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            max_request_id: 10_000,
            setup_timeout_ms: 5_000,
            control_backlog_bytes: 1 << 20,
            message_timeout_ms: 10_000,
            header_timeout_ms: 10_000,
            alias_wait_ms: 1000,
            idle_timeout_ms: 3_600_000,
        }
    }
}

/// `[transport]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transport {
    /// Milliseconds of silence that end a connection.
    pub idle_timeout_ms: u64,
    /// Milliseconds that a handshake may take.
    pub handshake_timeout_ms: u64,
    /// Milliseconds between keep-alive packets.
    pub keep_alive_ms: u64,
    /// Milliseconds assumed as round trip before the first measurement.
    pub initial_rtt_ms: u64,
    /// Unidirectional streams a peer may have open.
    pub max_uni_streams: u64,
    /// Bidirectional streams a peer may have open.
    pub max_bidi_streams: u64,
    /// Bytes in flight to us on a connection.
    pub connection_window_bytes: u64,
    /// Bytes in flight to us on a stream.
    pub stream_window_bytes: u64,
    /// Bytes that wait to be sent on a stream.
    pub send_buffer_bytes: u32,
    /// Connections, handshakes included, that one worker has at most.
    pub max_connections: u64,
    /// Handshakes in progress on one worker from which on newcomers must prove their address first.
    pub retry_above_handshakes: u64,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            idle_timeout_ms: 30_000,
            handshake_timeout_ms: 5_000,
            keep_alive_ms: 10_000,
            initial_rtt_ms: 100,
            max_uni_streams: 10_000,
            max_bidi_streams: 1_000,
            connection_window_bytes: 8 << 20,
            stream_window_bytes: 1 << 20,
            send_buffer_bytes: 256 << 10,
            max_connections: 100_000,
            retry_above_handshakes: 256,
        }
    }
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Seconds that a group is kept after its last object began.
    pub duration: Span,
    /// Mebibytes kept of all tracks together.
    pub max_mb: u64,
    /// Mebibytes kept of one track, on each worker that carries it.
    pub track_mb: u64,
    /// The extension that marks fetched objects that came from the cache; 0 for none.
    pub key: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            duration: Span(Duration::from_secs(60)),
            max_mb: 256,
            track_mb: 32,
            key: 0,
        }
    }
}

/// `[fetch]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fetch {
    /// Milliseconds that a FETCH waits for an object that a live stream may still bring.
    pub wait_ms: u64,
    /// Fetches of one session that may be open at once.
    pub max_per_session: u64,
    /// Milliseconds that a publisher has to answer our FETCH, and that its response may stand still.
    pub answer_ms: u64,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            wait_ms: 1000,
            max_per_session: 64,
            answer_ms: 5000,
        }
    }
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whoever holds it may do everything, and sign tokens for others; empty for none.
    pub secret: SecretText,
    /// Path of a file with the secret; empty for none.
    pub secret_file: String,
    /// Bytes of tokens that a peer may register.
    pub token_cache_bytes: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secret: SecretText::default(),
            secret_file: String::new(),
            token_cache_bytes: 4096,
        }
    }
}

impl Auth {
    /// True when nobody needs a token.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.secret.is_empty() && self.secret_file.is_empty()
    }
}

/// `[drain]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// Where clients are sent; empty for the relay that serves this address next.
    pub uri: String,
    /// Seconds that they may take.
    pub grace: u64,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            uri: String::new(),
            grace: 10,
        }
    }
}

/// `[logging]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// The least urgent level that is written.
    pub level: LogLevel,
    /// How a record looks.
    pub format: LogFormat,
}

/// How urgent a log record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum LogLevel {
    /// The relay cannot go on.
    Critical,
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Every message.
    Trace,
}

/// How a log record looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum LogFormat {
    /// A line for people, coloured on a terminal.
    #[default]
    Terminal,
    /// A JSON object a line.
    Json,
}

impl LogLevel {
    /// Every level, the most urgent first.
    pub const ALL: [Self; 6] = [
        Self::Critical,
        Self::Error,
        Self::Warning,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The name in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.name() == text);
        found.ok_or_else(|| format!("`{text}` is none of critical, error, warning, info, debug, trace"))
    }
}

impl LogFormat {
    /// The name in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminal => "terminal",
            Self::Json => "json",
        }
    }
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "terminal" => Ok(Self::Terminal),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is neither terminal nor json")),
        }
    }
}

impl TryFrom<String> for LogLevel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogLevel> for &'static str {
    fn from(level: LogLevel) -> Self {
        level.name()
    }
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogFormat> for &'static str {
    fn from(format: LogFormat) -> Self {
        format.name()
    }
}
