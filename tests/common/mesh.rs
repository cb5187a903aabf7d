//! Relays that are part of one mesh, in this process.

use super::settings;
use bytes::Bytes;
use laps::relay::{Peering, Relay, Settings};
use laps_actors::peering::{BACKOFF, Setup, local_users, plane};
use laps_actors::supervise::Backoff;
use laps_actors::transport::{LAPS_ALPN, LinkTimes, Listen, PeerCa, PeerTls, Pem, TransportConfig};
use laps_protocol::peering::damping;
use laps_protocol::peering::info_base;
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use std::time::Duration;

const LOOPBACK: Listen = Listen::Ip(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// The node `1:low`.
pub const fn id(low: u64) -> NodeId {
    NodeId(1 << 32 | low)
}

/// One relay of a mesh.
pub struct Member<'a> {
    /// Who signs certificates.
    pub ca: &'a PeerCa,
    /// Its id is `1:low`.
    pub low: u64,
    /// What it does.
    pub role: NodeType,
    /// Relays that it dials.
    pub dials: Vec<&'a Relay>,
    /// Its shards.
    pub shards: usize,
    /// What is otherwise than usual.
    pub change: Box<dyn FnOnce(&mut Settings)>,
}

impl<'a> Member<'a> {
    /// An edge with one shard.
    pub fn edge(ca: &'a PeerCa, low: u64, dials: &[&'a Relay]) -> Self {
        Self {
            ca,
            low,
            role: NodeType::Edge,
            dials: dials.to_vec(),
            shards: 1,
            change: Box::new(|_| {}),
        }
    }

    /// The same with something changed.
    pub fn but(self, change: impl FnOnce(&mut Settings) + 'static) -> Self {
        Self {
            change: Box::new(change),
            ..self
        }
    }

    /// Starts it.
    pub async fn start(self) -> Relay {
        let node = id(self.low);
        let own = self.ca.certify(node).unwrap();
        let text = |pem: &str| Pem::Text(pem.to_owned());
        let (ca, cert, key) = (text(self.ca.cert_pem()), text(&own.cert_pem), text(&own.key_pem));
        let target = |relay: &&Relay| (relay.peer_addrs()[0].unwrap().to_string().parse().unwrap(), 1);
        let setup = Setup {
            own: NodeInfo::new(node, self.role, Bytes::new()),
            targets: self.dials.iter().map(target).collect(),
            tls: Some(PeerTls::mutual(&ca, &cert, &key, node).unwrap()),
            laps_tls: Some(PeerTls::open(LAPS_ALPN).unwrap()),
            laps_from: Vec::new(),
            transport: TransportConfig::for_links(LinkTimes::default()),
            times: LinkTimes::default(),
            backoff: Backoff {
                first: Duration::from_millis(50),
                ..BACKOFF
            },
            damping: damping::Settings::default(),
            settings: info_base::Settings::default(),
            limits: info_base::Limits::default(),
            max_inbound: 100,
            plane: plane::Config::default(),
            mesh: (self.role != NodeType::Via).then_some(local_users as fn(_) -> _),
        };
        let mut settings = settings(self.shards);
        settings.peering = Some(Peering {
            setup,
            listen: (self.role != NodeType::Stub).then_some((LOOPBACK, 0)),
            laps_listen: None,
        });
        (self.change)(&mut settings);
        super::relay(settings).await
    }
}
