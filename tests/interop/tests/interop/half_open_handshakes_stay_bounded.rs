//! [D14-LIM-6]: ten thousand handshakes that stop after their first packet cost bounded memory, and an honest client gets in
//! during and after them.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::common::bystander::Bystander;
use crate::common::quic::{ALPN, client_endpoint};
use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::within;

const HANDSHAKES: usize = 10_000;
/// Fits a default UDP receive buffer, so that each of them really arrives.
const BATCH: usize = 50;
/// What they may cost together. A few hundred handshakes of some 50 kB are held before newcomers have to prove their address,
/// 12 MB in all when measured on the relay's endpoint; a server without such a rule grew by 2 GB.
const BOUND: u64 = 64 << 20;

/// Turns real client handshakes into first packets without an afterwards: quinn dials `trap`, and only the first datagram of
/// each connection id goes on to the relay, from another loopback address. Answers go nowhere.
struct Flood {
    endpoint: quinn::Endpoint,
    trap: UdpSocket,
    outlet: UdpSocket,
    relay: SocketAddr,
    seen: HashSet<Vec<u8>>,
}

impl Flood {
    async fn new(relay: SocketAddr) -> Self {
        let trap = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a UDP socket");
        // Not 127.0.0.1: the relay may count handshakes by address, and the honest client lives there.
        let outlet = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0))
            .await
            .expect("a UDP socket on 127.0.0.2");
        Self {
            endpoint: client_endpoint(ALPN),
            trap,
            outlet,
            relay,
            seen: HashSet::new(),
        }
    }

    /// Opens `count` more and lets their first packets through.
    async fn open(&mut self, count: usize) {
        let trap = self.trap.local_addr().expect("a bound socket");
        let wanted = self.seen.len() + count;
        let half_open: Vec<_> = (0..count)
            .map(|_| self.endpoint.connect(trap, "localhost").expect("a valid address"))
            .collect();
        let mut packet = [0; 2048];
        while self.seen.len() < wanted {
            let (len, _) = within("an Initial of our own", self.trap.recv_from(&mut packet))
                .await
                .expect("a socket");
            if self.seen.insert(destination(&packet[..len]).to_vec()) {
                self.outlet
                    .send_to(&packet[..len], self.relay)
                    .await
                    .expect("a socket");
            }
        }
        drop(half_open);
    }
}

/// RFC 9000 §17.2: the Destination Connection ID of a long header packet.
fn destination(packet: &[u8]) -> &[u8] {
    assert_eq!(
        packet[0] & 0x80,
        0x80,
        "a client's first packet has a long header"
    );
    &packet[6..6 + usize::from(packet[5])]
}

/// D14-LIM-6
#[tokio::test]
async fn ten_thousand() {
    let mut relay = Options::default().alone().start().await;
    let mut bystander = Bystander::start(relay.address).await;
    let before = relay.resident_bytes();
    let mut flood = Flood::new(relay.address).await;
    let mut highest = before;
    let attack = async {
        while flood.seen.len() < HANDSHAKES {
            flood.open(BATCH).await;
            highest = highest.max(relay.resident_bytes());
            if flood.seen.len() == HANDSHAKES / 2 {
                RawPeer::connect(relay.address)
                    .await
                    .publish_namespace("honest/during")
                    .await;
            }
        }
    };
    bystander.during(attack).await;
    RawPeer::connect(relay.address)
        .await
        .publish_namespace("honest/after")
        .await;
    highest = highest.max(relay.resident_bytes());
    let grown = highest - before;
    assert!(
        grown < BOUND,
        "grew by {grown} bytes for {HANDSHAKES} half-open handshakes"
    );
    relay.assert_running();
}
