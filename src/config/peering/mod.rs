//! `[peering]`: the links to other relays.

mod check;
mod keys;
mod setup;
#[cfg(test)]
mod tests;

pub use check::first_refused;
pub use keys::KEYS;

use super::list::{List, Network};
use super::settings::count;
use crate::exit::Failure;
use ipnet::IpNet;
use laps_actors::peering::{BACKOFF, DEFAULT_PORT, HostPort, PeerTarget};
use laps_actors::supervise::Backoff;
use laps_actors::transport::{LAPS_ALPN, LINK_ALPN, LinkTimes, Listen, PeerTls, Pem, TransportConfig};
use laps_protocol::peering::node::{Degrees, NodeId, NodeType};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// `[peering]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Peering {
    /// Address to listen on for relays; `::` is every address of this machine, IPv6 and IPv4.
    pub bind: IpAddr,
    /// UDP port for relays; 0 lets the system choose.
    pub port: u16,
    /// Relays to dial.
    pub peers: List<PeerTarget>,
    /// Links to each of them that carry data only, beside the one that carries control too.
    pub data_links: u64,
    /// Those that this relay dials carry its own data only.
    pub data_links_one_way: bool,
    /// What this relay does in the mesh.
    pub node_type: Role,
    /// Path of the certificate of the mesh's CA; empty for none.
    pub ca: String,
    /// Path of this node's certificate; empty for none.
    pub cert: String,
    /// Path of its private key; empty for none.
    pub key: String,
    /// Nobody proves who he is.
    pub insecure: bool,
    /// Where laps relays may dial; empty for nowhere.
    pub laps_listen: String,
    /// Which of them may.
    pub laps_from: List<Network>,
    /// Name or address under which this relay is reached, as others are told; empty for the endpoint id.
    pub contact: String,
    /// Where this relay is.
    pub longitude: Place,
    /// Where this relay is.
    pub latitude: Place,
    /// Milliseconds in which changes of what is known of a node are told as one.
    pub node_advert_interval_ms: u64,
    /// Milliseconds for which the mesh is not told that the last subscriber of a track has left.
    pub unsubscribe_hold_ms: u64,
    /// Milliseconds that looking a peer up, and shaking hands with it, may each take.
    pub connect_ms: u64,
    /// Milliseconds of the first wait before a peer is dialled again.
    pub backoff_first_ms: u64,
    /// Milliseconds of the longest such wait.
    pub backoff_max_ms: u64,
    /// Milliseconds between keep-alive packets.
    pub keep_alive_ms: u64,
    /// Milliseconds of silence after which QUIC itself ends a link.
    pub idle_timeout_ms: u64,
    /// Links, handshakes included, that one worker has at most.
    pub max_links: u64,
    /// Unidirectional streams a peer may have open.
    pub max_uni_streams: u64,
    /// Bidirectional streams a peer may have open.
    pub max_bidi_streams: u64,
    /// Bytes in flight to us on a link.
    pub connection_window_bytes: u64,
    /// Bytes in flight to us on a stream.
    pub stream_window_bytes: u64,
    /// Bytes that wait to be sent on a stream.
    pub send_buffer_bytes: u32,
}

impl Default for Peering {
    fn default() -> Self {
        Self {
            bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port: DEFAULT_PORT,
            peers: List::default(),
            data_links: 0,
            data_links_one_way: false,
            node_type: Role(NodeType::Edge),
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            insecure: false,
            laps_listen: String::new(),
            laps_from: List::default(),
            contact: String::new(),
            longitude: Place::default(),
            latitude: Place::default(),
            node_advert_interval_ms: 2_000,
            unsubscribe_hold_ms: 5_000,
            connect_ms: 3_000,
            backoff_first_ms: 1_000,
            backoff_max_ms: 60_000,
            keep_alive_ms: 75,
            idle_timeout_ms: 5_000,
            max_links: 1_024,
            max_uni_streams: 100_000,
            max_bidi_streams: 1_000,
            connection_window_bytes: 64 << 20,
            stream_window_bytes: 4 << 20,
            send_buffer_bytes: 1 << 20,
        }
    }
}

impl Peering {
    /// Whether this relay is part of a mesh at all. By default it is not, and opens no port.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.peers.0.is_empty() || !self.ca.is_empty() || self.insecure || !self.laps_listen.is_empty()
    }

    /// Whether this relay refuses clients: a Via passes on what relays send.
    #[must_use]
    pub fn is_via(&self) -> bool {
        self.is_on() && self.node_type.0 == NodeType::Via
    }

    /// TLS of links to relays of ours; none when there can be none.
    ///
    /// # Errors
    /// When a file cannot be used, or the certificate is not that of this `node`.
    pub fn tls(&self, node: NodeId) -> Result<Option<PeerTls>, Failure> {
        let tls = if self.insecure {
            PeerTls::open(LINK_ALPN)
        } else if self.ca.is_empty() {
            return Ok(None);
        } else {
            let file = |path: &String| Pem::File(path.into());
            PeerTls::mutual(&file(&self.ca), &file(&self.cert), &file(&self.key), node)
        };
        tls.map(Some).map_err(|error| {
            let remedy = "make certificates with `laps cert ca`";
            Failure::run("peering", error.to_string(), remedy)
        })
    }

    /// TLS of links to and from laps relays.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn laps_tls() -> Result<PeerTls, Failure> {
        PeerTls::open(LAPS_ALPN).map_err(|error| Failure::run("peering", error.to_string(), ""))
    }

    /// Where relays of ours dial this one; none when they cannot. A stub is dialled by nobody.
    #[must_use]
    pub fn listen(&self) -> Option<(Listen, u16)> {
        let proof = self.insecure || !self.ca.is_empty();
        if !proof || self.node_type.0 == NodeType::Stub {
            return None;
        }
        let listen = if self.bind.is_unspecified() && self.bind.is_ipv6() {
            Listen::All
        } else {
            Listen::Ip(self.bind)
        };
        Some((listen, self.port))
    }

    /// Where laps relays dial this one, if they may; [`first_refused`] has seen to it that the text can be read.
    #[must_use]
    pub fn laps_listen(&self) -> Option<HostPort> {
        self.laps_listen.parse().ok()
    }

    /// Networks from which they may, for [`Door::admit`](laps_actors::transport::Door::admit).
    #[must_use]
    pub fn laps_from(&self) -> Vec<IpNet> {
        self.laps_from.0.iter().map(|network| network.0).collect()
    }

    /// Times of a link.
    #[must_use]
    pub const fn times(&self) -> LinkTimes {
        LinkTimes {
            keep_alive: Duration::from_millis(self.keep_alive_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            connect: Duration::from_millis(self.connect_ms),
        }
    }

    /// Settings of the QUIC endpoints of links.
    #[must_use]
    pub fn settings(&self) -> TransportConfig {
        TransportConfig {
            max_connections: count(self.max_links),
            max_uni_streams: self.max_uni_streams,
            max_bidi_streams: self.max_bidi_streams,
            connection_window: self.connection_window_bytes,
            uni_stream_window: self.stream_window_bytes,
            bidi_stream_window: self.stream_window_bytes,
            send_buffer: self.send_buffer_bytes,
            ..TransportConfig::for_links(self.times())
        }
    }

    /// When a peer is dialled again.
    #[must_use]
    pub const fn backoff(&self) -> Backoff {
        Backoff {
            first: Duration::from_millis(self.backoff_first_ms),
            max: Duration::from_millis(self.backoff_max_ms),
            ..BACKOFF
        }
    }
}

/// What a relay does in the mesh, as text: edge, via or stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Role(pub NodeType);

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NodeType::from_name(text).map(Self);
        found.ok_or_else(|| format!("`{text}` is none of edge, via, stub"))
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Role> for &'static str {
    fn from(role: Role) -> Self {
        role.0.name()
    }
}

/// A longitude or latitude, in degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Place(pub Degrees);

impl TryFrom<f64> for Place {
    type Error = &'static str;

    fn try_from(degrees: f64) -> Result<Self, Self::Error> {
        if degrees.is_finite() {
            Ok(Self(Degrees::new(degrees)))
        } else {
            Err("not a number of degrees")
        }
    }
}

impl From<Place> for f64 {
    fn from(place: Place) -> Self {
        place.0.get()
    }
}
