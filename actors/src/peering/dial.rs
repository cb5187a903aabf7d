//! From a peer's name to a connection with it.

use std::net::SocketAddr;
use std::time::Duration;

use super::target::HostPort;
use crate::supervise::{Backoff, Intensity, Restart, Supervisor};
use crate::transport::reach;
use crate::transport::{ClientEndpoint, ClientTls, Conn, ConnectError, StartError, TransportConfig};

/// When a peer that was not reached, or whose link ended, is dialled again: after 1 s, then twice as long each time up to
/// a minute. Half of each wait is left to chance, so that a mesh does not come back to a restarted relay all at once.
pub const BACKOFF: Backoff = Backoff {
    at_once: 0,
    first: Duration::from_secs(1),
    max: Duration::from_secs(60),
    jitter_percent: 50,
};

/// Addresses of one name that are tried; more are of no use to a relay.
const MAX_ADDRESSES: usize = 16;

/// Remembers how often a peer was dialled in vain, and says when to dial it again: an attempt that failed, or a link that
/// ended, is its child that went down. A link that stayed for as long as the longest wait is forgiven what was before it,
/// so that one that flaps waits ever longer.
#[must_use]
pub fn tries(backoff: Backoff) -> Supervisor {
    Supervisor::new(Restart::Permanent, Intensity::UNLIMITED, backoff, rand::random())
}

/// Dials one peer, again and again.
///
/// It has its own sockets, one of each address family from when that is first needed. Parallel links to one peer need a
/// dialler each: they take different paths by their ports. It lives on the runtime that it dials on.
#[derive(Debug)]
pub struct Dialer {
    tls: ClientTls,
    config: TransportConfig,
    lookup: Duration,
    v4: Option<ClientEndpoint>,
    v6: Option<ClientEndpoint>,
}

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Its name is not known, or the resolver failed.
    #[error("cannot look up {host}: {source}")]
    Lookup {
        /// The name.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its name was not looked up in time.
    #[error("cannot look up {host}: no answer within {} ms", .within.as_millis())]
    LookupTimeout {
        /// The name.
        host: String,
        /// How long that may take.
        within: Duration,
    },
    /// Its name is known and has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// None of its addresses led to it.
    #[error("{}", all(.0))]
    Unreached(Vec<AddressFault>),
}

/// Why one address of a peer did not lead to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressFault {
    /// There is no socket to reach it from, as on a machine without IPv6.
    #[error("{addr}: {source}")]
    Start {
        /// The address.
        addr: SocketAddr,
        /// What is wrong with our side.
        source: StartError,
    },
    /// The attempt failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Dialer {
    /// A dialler with these settings, whose `handshake_timeout` bounds each attempt at one address. A lookup may take
    /// `lookup`.
    #[must_use]
    pub const fn new(tls: ClientTls, config: TransportConfig, lookup: Duration) -> Self {
        Self {
            tls,
            config,
            lookup,
            v4: None,
            v6: None,
        }
    }

    /// Looks the host up and tries all its addresses, of both families in turn, each a moment after the one before; the
    /// first that answers is taken. Who it is says [`ConnHandle::peer_node`](crate::transport::ConnHandle::peer_node).
    ///
    /// # Errors
    /// [`DialError`] tells what is wrong with each address.
    pub async fn dial(&mut self, at: &HostPort) -> Result<Conn, DialError> {
        let host = || at.host().to_owned();
        let asked = tokio::time::timeout(self.lookup, reach::lookup(at.host(), at.port())).await;
        let found = match asked {
            Ok(found) => found.map_err(|source| DialError::Lookup { host: host(), source })?,
            Err(_) => {
                return Err(DialError::LookupTimeout {
                    host: host(),
                    within: self.lookup,
                });
            }
        };
        if found.is_empty() {
            return Err(DialError::NoAddress { host: host() });
        }
        self.race(in_turn(found), at.host())
            .await
            .map_err(DialError::Unreached)
    }

    async fn race(&mut self, addresses: Vec<SocketAddr>, name: &str) -> Result<Conn, Vec<AddressFault>> {
        let mut faults = Vec::new();
        let mut reachable = Vec::new();
        for addr in addresses {
            match self.endpoint(addr) {
                Ok(endpoint) => reachable.push((addr, endpoint)),
                Err(source) => faults.push(AddressFault::Start { addr, source }),
            }
        }
        let attempt = |(addr, endpoint): (SocketAddr, ClientEndpoint)| async move {
            endpoint.connect(addr, name).await.map_err(AddressFault::from)
        };
        reach::first(reachable, attempt).await.map_err(|others| {
            faults.extend(others);
            faults
        })
    }

    /// Waits until every peer has been told that its connection ended. To be called before the runtime stops: who was told
    /// nothing keeps the link until it has heard nothing for too long.
    pub async fn wait_idle(&self) {
        for endpoint in [&self.v4, &self.v6].into_iter().flatten() {
            endpoint.wait_idle().await;
        }
    }

    fn endpoint(&mut self, to: SocketAddr) -> Result<ClientEndpoint, StartError> {
        let kept = if to.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if let Some(endpoint) = kept {
            return Ok(endpoint.clone());
        }
        let started = ClientEndpoint::for_remote(to, &self.tls, &self.config)?;
        Ok(kept.insert(started).clone())
    }
}

/// The addresses with the families taking turns, the one that the system prefers first, so that neither waits for all of
/// the other. RFC 8305 §4.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = found.first().is_some_and(SocketAddr::is_ipv4);
    let (one, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|addr| addr.is_ipv4() == first_is_v4);
    let longer = one.len().max(other.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let pairs = (0..longer).flat_map(|_| [one.next(), other.next()]);
    pairs.flatten().take(MAX_ADDRESSES).collect()
}

fn all(faults: &[AddressFault]) -> String {
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::{Decision, Exit};
    use crate::transport::testing::{LOOPBACK, run};
    use crate::transport::{LINK_ALPN, LinkTimes, PeerTls, ResetKey, ServerEndpoint, bind};
    use std::time::Instant;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> TransportConfig {
        TransportConfig {
            recv_ring: 1 << 20,
            ..TransportConfig::for_links(LinkTimes::default())
        }
    }

    fn dialer(tls: &PeerTls) -> Dialer {
        Dialer::new(tls.client().clone(), config(), 20 * SECOND)
    }

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_dialled_at_all_its_addresses() {
        run(async {
            let tls = PeerTls::open(LINK_ALPN).unwrap();
            let socket = bind(LOOPBACK, 0, 1).unwrap().remove(0);
            let mut server =
                ServerEndpoint::start(socket, tls.server(), &config(), ResetKey::random()).unwrap();
            let port = server.local_addr().port();
            let mut dialer = dialer(&tls);
            // Where localhost is ::1 too, nobody answers there.
            for host in ["localhost", "127.0.0.1"] {
                let target = at(&format!("{host}:{port}"));
                let (accepted, dialled) = futures::join!(server.accept(), dialer.dial(&target));
                assert!(accepted.is_some());
                assert_eq!(dialled.unwrap().handle().remote_addr().unwrap().port(), port);
            }
        });
    }

    #[test]
    fn a_peer_that_is_not_there_is_named_with_its_address() {
        run(async {
            let tls = PeerTls::open(LINK_ALPN).unwrap();
            let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = silent.local_addr().unwrap();
            let mut dialer = Dialer::new(
                tls.client().clone(),
                TransportConfig {
                    handshake_timeout: Duration::from_millis(300),
                    ..config()
                },
                SECOND,
            );
            let error = dialer.dial(&at(&to.to_string())).await.unwrap_err();
            assert!(
                matches!(&error, DialError::Unreached(faults) if faults.len() == 1),
                "{error}"
            );
            assert!(error.to_string().contains(&to.to_string()), "{error}");
        });
    }

    #[test]
    fn a_name_that_nobody_has_is_told() {
        run(async {
            let mut dialer = dialer(&PeerTls::open(LINK_ALPN).unwrap());
            // RFC 2606 §2: no such domain ever exists.
            let error = dialer.dial(&at("relay.invalid")).await.unwrap_err();
            assert!(matches!(error, DialError::Lookup { .. }), "{error}");
            assert!(error.to_string().contains("relay.invalid"), "{error}");
        });
    }

    #[test]
    fn the_families_take_turns() {
        let addrs =
            |texts: &[&str]| -> Vec<SocketAddr> { texts.iter().map(|t| t.parse().unwrap()).collect() };
        let found = addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let wanted = addrs(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(in_turn(found), wanted);
        let many = (1..100)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        assert_eq!(in_turn(many).len(), MAX_ADDRESSES);
        assert_eq!(in_turn(Vec::new()), []);
    }

    #[test]
    fn a_peer_is_dialled_ever_more_rarely_and_never_given_up() {
        let (mut tries, mut now) = (tries(BACKOFF), Instant::now());
        let mut wait = |now| match tries.child_down(now, Exit::Normal) {
            Decision::Restart { after } => after,
            Decision::GiveUp | Decision::Forget => panic!("not for ever"),
        };
        for number in 0..50_u32 {
            let full = (SECOND * (1 << number.min(6))).min(60 * SECOND);
            let after = wait(now);
            assert!(after <= full && after >= full / 2, "{number}: {after:?}");
            now += after + SECOND;
        }
        // A link that was there for a minute is worth a quick try.
        now += 120 * SECOND;
        assert!(wait(now) <= SECOND);
    }
}
