//! What one endpoint grants its peers: stream counts, windows, buffers and timers.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ipnet::IpNet;
use s2n_quic_core::event::api::SocketAddress;

use s2n_quic::provider::{
    endpoint_limits::{self, ConnectionAttempt, Limiter, Outcome},
    limits::Limits,
};

use super::error::StartError;
use super::membership::{Membership, Refusals};
use crate::limits::{Prefixes, Strain};
use laps_protocol::relay::rate::Pace;

/// Transport settings of one endpoint, server or client. Plain data; every field has a unit in its documentation.
///
/// MOQT-14 §12.1 [D14-LIM-1]: windows are sized by bit rate, 8 MiB of a connection and 1 MiB of a stream being what
/// 640 and 80 Mbit/s need over 100 ms. The defaults are those a relay needs: the stack's own ones (100 streams, 4 MiB of unacknowledged data per stream,
/// no keep-alive, CUBIC) starve a relay of streams and let one peer that never reads hold megabytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportConfig {
    /// Unidirectional streams the peer may have open towards us, and we towards the peer (count).
    pub max_uni_streams: u64,
    /// Bidirectional streams the peer may have open towards us, and we towards the peer (count).
    pub max_bidi_streams: u64,
    /// Bytes in flight towards us over all streams of a connection (at most 4 GiB - 1).
    pub connection_window: u64,
    /// Bytes in flight towards us on one unidirectional stream.
    pub uni_stream_window: u64,
    /// Bytes in flight towards us on one bidirectional stream.
    pub bidi_stream_window: u64,
    /// Bytes we hold per stream until the peer acknowledges them. It bounds what a reader that never reads costs.
    pub send_buffer: u32,
    /// Period of our keep-alive pings, or none. Must be shorter than `idle_timeout` to have an effect.
    pub keep_alive: Option<Duration>,
    /// Silence after which a connection is given up. The smaller of the two ends' values counts.
    pub idle_timeout: Duration,
    /// How long a handshake may take before its state is dropped.
    pub handshake_timeout: Duration,
    /// Round trip assumed before the first measurement.
    pub initial_rtt: Duration,
    /// The congestion controller of every connection.
    pub congestion: Congestion,
    /// Datagrams kept per connection until the session takes them (count); the oldest is dropped when it is full.
    pub datagram_recv_queue: usize,
    /// Largest DATAGRAM frame that we tell the peer we take (bytes, header included); 0 when we take none.
    pub datagram_frame: u64,
    /// Datagrams kept per connection until they are sent (count); a full queue refuses the next one.
    pub datagram_send_queue: usize,
    /// Handshakes in progress from which on a server asks newcomers to prove their address with Retry (count).
    pub retry_above_handshakes: usize,
    /// Connections of one endpoint, handshakes included, above which newcomers are refused (count).
    pub max_connections: usize,
    /// Whether the kernel may merge received packets (UDP GRO). It can merge packets of several connections.
    pub gro: bool,
    /// Bytes of the endpoint's own receive ring. It is allocated at start.
    pub recv_ring: usize,
    /// Bytes of socket buffer asked of the kernel in each direction; its own limits (`net.core.rmem_max`) cap it.
    pub kernel_buffer: usize,
}

/// Which congestion controller a connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// BBR: keeps the queue at the sender, where the relay can still order it.
    Bbr,
    /// CUBIC: fills the bottleneck's queue.
    Cubic,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            max_uni_streams: 10_000,
            max_bidi_streams: 1_000,
            connection_window: 8 * MIB,
            uni_stream_window: MIB,
            bidi_stream_window: MIB,
            send_buffer: 256 * 1024,
            keep_alive: Some(Duration::from_secs(10)),
            idle_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            initial_rtt: Duration::from_millis(100),
            congestion: Congestion::Bbr,
            datagram_recv_queue: 256,
            // The largest that a UDP packet can hold. RFC 9221 §3.
            datagram_frame: 65_535,
            datagram_send_queue: 256,
            retry_above_handshakes: 256,
            max_connections: 100_000,
            gro: true,
            recv_ring: 8 << 20,
            kernel_buffer: 4 << 20,
        }
    }
}

impl TransportConfig {
    /// The stack's form of these settings.
    ///
    /// # Errors
    /// [`StartError::Limits`] names the field whose value the stack refuses.
    pub(super) fn limits(&self) -> Result<Limits, StartError> {
        fn named<T, E: std::fmt::Display>(field: &'static str, value: Result<T, E>) -> Result<T, StartError> {
            value.map_err(|error| StartError::Limits {
                field,
                reason: error.to_string(),
            })
        }
        let mut limits = Limits::new();
        limits = named(
            "max_uni_streams",
            limits.with_max_open_remote_unidirectional_streams(self.max_uni_streams),
        )?;
        limits = named(
            "max_uni_streams",
            limits.with_max_open_local_unidirectional_streams(self.max_uni_streams),
        )?;
        limits = named(
            "max_bidi_streams",
            limits.with_max_open_remote_bidirectional_streams(self.max_bidi_streams),
        )?;
        limits = named(
            "max_bidi_streams",
            limits.with_max_open_local_bidirectional_streams(self.max_bidi_streams),
        )?;
        limits = named(
            "connection_window",
            limits.with_data_window(self.connection_window),
        )?;
        limits = named(
            "uni_stream_window",
            limits.with_unidirectional_data_window(self.uni_stream_window),
        )?;
        limits = named(
            "bidi_stream_window",
            limits.with_bidirectional_local_data_window(self.bidi_stream_window),
        )?;
        limits = named(
            "bidi_stream_window",
            limits.with_bidirectional_remote_data_window(self.bidi_stream_window),
        )?;
        limits = named("send_buffer", limits.with_max_send_buffer_size(self.send_buffer))?;
        if let Some(period) = self.keep_alive {
            limits = named("keep_alive", limits.with_max_keep_alive_period(period))?;
        }
        limits = named("idle_timeout", limits.with_max_idle_timeout(self.idle_timeout))?;
        limits = named(
            "handshake_timeout",
            limits.with_max_handshake_duration(self.handshake_timeout),
        )?;
        limits = named(
            "initial_rtt",
            limits.with_initial_round_trip_time(self.initial_rtt),
        )?;
        Ok(limits)
    }
}

/// Lets newcomers of one server endpoint in, or not.
#[derive(Clone, Debug, Default)]
pub struct Door(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    refusing: AtomicBool,
    /// None while it matters to nobody where newcomers come from.
    from: OnceLock<Guests>,
    /// None while nobody counts where connections come from.
    prefixes: OnceLock<Arc<Prefixes>>,
    /// None while nobody measures the load.
    strain: OnceLock<Strain>,
    proofs: AtomicU64,
}

/// From where newcomers may come, and who is told of others.
#[derive(Debug)]
struct Guests {
    networks: Box<[IpNet]>,
    told: Membership,
}

impl Door {
    /// Turns newcomers away (CONNECTION_REFUSED), or lets them in again.
    pub fn refuse(&self, refuse: bool) {
        self.0.refusing.store(refuse, Relaxed);
    }

    /// From now on, turns everybody away whose address is in none of these networks; the value tells of them, for whoever
    /// logs it. Later calls change nothing.
    ///
    /// Who forges an address gets no further than to the first answer, which goes there; what is admitted may move to
    /// another address later. RFC 9000 §8.1, §9
    pub fn admit(&self, from: &[IpNet]) -> Refusals {
        let (told, refusals) = Membership::new();
        let networks = from.into();
        drop(self.0.from.set(Guests { networks, told }));
        refusals
    }

    /// From now on, turns those away whose address prefix has all the connections that it may have. Whoever takes the
    /// connections counts them. Later calls change nothing.
    pub fn count(&self, prefixes: Arc<Prefixes>) {
        drop(self.0.prefixes.set(prefixes));
    }

    /// From now on, turns everybody away while the shard is overloaded. Later calls change nothing.
    pub fn heed(&self, strain: Strain) {
        drop(self.0.strain.set(strain));
    }

    /// How often a newcomer was asked to prove its address (Retry).
    #[must_use]
    pub fn proofs(&self) -> u64 {
        self.0.proofs.load(Relaxed)
    }

    /// How a newcomer from `address` is met. A prefix is asked for its rate last, so what is refused for another reason
    /// does not count towards it.
    fn meet(&self, from: SocketAddr) -> Pace {
        let (inner, address) = (&self.0, from.ip());
        if inner.refusing.load(Relaxed) || inner.strain.get().is_some_and(Strain::refuses_connection) {
            return Pace::FarAbove;
        }
        if let Some(guests) = inner.from.get()
            && !guests.networks.iter().any(|network| network.contains(&address))
        {
            guests.told.stranger(from);
            return Pace::FarAbove;
        }
        let Some(prefixes) = inner.prefixes.get() else {
            return Pace::Within;
        };
        if prefixes.refuses(address) {
            return Pace::FarAbove;
        }
        prefixes.pace(Instant::now(), address)
    }

    /// RFC 9000 §8.1.2: Retry costs no state, so forged addresses cannot fill the handshake table.
    fn ask_for_proof(&self) -> Outcome {
        self.0.proofs.fetch_add(1, Relaxed);
        Outcome::retry()
    }
}

/// Who may begin a handshake with a server.
#[derive(Debug)]
pub(super) struct Admission {
    max_connections: usize,
    retry_above_handshakes: usize,
    door: Door,
    ports: endpoint_limits::Default,
}

impl Admission {
    pub(super) fn new(config: &TransportConfig) -> Self {
        Self {
            max_connections: config.max_connections,
            retry_above_handshakes: config.retry_above_handshakes,
            door: Door::default(),
            ports: endpoint_limits::Default::default(),
        }
    }

    /// What turns newcomers away.
    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }
}

impl Limiter for Admission {
    fn on_connection_attempt(&mut self, attempt: &ConnectionAttempt<'_>) -> Outcome {
        // The stack's own list of ports that reflect packets (DNS, NTP and the like) stays in force.
        let outcome = self.ports.on_connection_attempt(attempt);
        if outcome != Outcome::allow() {
            return outcome;
        }
        if attempt.connection_count >= self.max_connections {
            return Outcome::close();
        }
        // Whoever comes back with the token of a Retry is not asked about here again: the stack lets it in.
        match self.door.meet(socket_addr(&attempt.remote_address)) {
            Pace::FarAbove => Outcome::close(),
            Pace::Above => self.door.ask_for_proof(),
            Pace::Within if attempt.inflight_handshakes >= self.retry_above_handshakes => {
                self.door.ask_for_proof()
            }
            Pace::Within => Outcome::allow(),
        }
    }
}

/// An address as the standard library has it; IPv4 in IPv6 is IPv4.
pub(super) fn socket_addr(remote: &SocketAddress<'_>) -> SocketAddr {
    let (ip, port) = match remote {
        SocketAddress::IpV4 { ip, port, .. } => (IpAddr::from(**ip), *port),
        SocketAddress::IpV6 { ip, port, .. } => (IpAddr::from(**ip), *port),
        _ => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    };
    SocketAddr::new(ip.to_canonical(), port)
}

const MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_by_the_stack() {
        TransportConfig::default().limits().unwrap();
    }

    #[test]
    fn a_refused_value_is_named() {
        let config = TransportConfig {
            connection_window: 1 << 40,
            ..TransportConfig::default()
        };
        let error = config.limits().unwrap_err();
        assert!(error.to_string().contains("connection_window"), "{error}");
    }
}
