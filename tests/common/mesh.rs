//! Relays that are part of one mesh, in this process.

#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use super::whole::{Object, next_object, objects, read_to_the_end, subscribe, wanted, write};

use super::feeding::{Feeder, Flow};
use super::raw::{Raw, raw};
use super::{PATIENCE, settings};
use bytes::Bytes;
use laps::relay::{Peering, Relay, Settings};
use laps_actors::client;
use laps_actors::peering::{BACKOFF, Setup, local_users, plane};
use laps_actors::supervise::Backoff;
use laps_actors::transport::{LAPS_ALPN, LinkTimes, Listen, PeerCa, PeerTls, Pem, TransportConfig};
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::moqt::name::FullTrackName;
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
            data_links_one_way: false,
            found: None,
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

/// A machine that is busy with other tests is no dead link.
pub fn patient(settings: &mut Settings) {
    let setup = &mut settings.peering.as_mut().unwrap().setup;
    setup.times.keep_alive = PATIENCE;
    setup.transport.idle_timeout = PATIENCE;
}

/// Two relays with a link, the first of which has the publishers as a rule.
pub async fn two(shards: usize) -> [Relay; 2] {
    let ca = PeerCa::generate().unwrap();
    let far = Member {
        shards,
        ..Member::edge(&ca, 2, &[])
    };
    let far = far.start().await;
    let near = Member {
        shards,
        ..Member::edge(&ca, 1, &[&far])
    };
    let near = near.start().await;
    [near, far]
}

/// What a publisher of one relay writes, a subscriber of the other reads to its end: each object once, and whole.
pub async fn carries(from: &Relay, to: &Relay, name: &FullTrackName, flow: client::Flow, sent: &[Object]) {
    let mut publisher = super::publisher(from).await;
    let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
    let mut subscriber = super::subscriber(to).await;
    subscribe(&mut subscriber, name).await;
    writer.wanted().await.unwrap();
    write(&mut writer, sent).await;
    let finished = actix_rt::spawn(writer.finish());
    let (got, gone) = read_to_the_end(&mut subscriber).await;
    assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
    assert!(got == sent, "each object once, and whole");
    finished.await.unwrap().unwrap();
}

/// A publisher at `relay`, which has heard that a reader at another relay wants objects: at its own relay it would be told
/// so with the answer to its PUBLISH, here a moment later.
pub async fn feeder(relay: &Relay, flow: Flow, name: &FullTrackName, alias: u64) -> Feeder {
    let mut raw = raw(relay).await;
    if flow == Flow::Announce {
        return Feeder::join(raw, flow, name, alias, None).await;
    }
    let request = raw.publish(name, alias, true).await;
    if !raw.publish_ok(request).await.forward {
        let told = |log: &[_]| Raw::updates(log, request).first().map(|update| update.forward);
        assert!(raw.wait(told).await);
    }
    Feeder { raw, alias, request }
}
