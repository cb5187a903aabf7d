//! Relays that are part of one mesh, in this process.

use super::feeding::{Feeder, Flow};
use super::raw::{Raw, raw};
use super::{PATIENCE, settings};
use bytes::Bytes;
use laps::relay::{Peering, Relay, Settings};
use laps_actors::client::{Item, Subscriber, TrackWriter, Wanted};
use laps_actors::peering::{BACKOFF, Setup, local_users, plane};
use laps_actors::supervise::Backoff;
use laps_actors::track::TrackGone;
use laps_actors::transport::{LAPS_ALPN, LinkTimes, Listen, PeerCa, PeerTls, Pem, TransportConfig};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
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

/// An object, as a test compares it.
pub type Object = (Location, Bytes);

/// So many groups of so many objects, each of 3000 bytes of its own.
pub fn objects(groups: u64, each: u64) -> Vec<Object> {
    let places = (0..groups).flat_map(|group| (0..each).map(move |object| Location::new(group, object)));
    let payload = |place: &Location| {
        let own = u8::try_from((place.group * each + place.object) % 251).unwrap();
        Bytes::from(vec![own; 3000])
    };
    places.map(|place| (place, payload(&place))).collect()
}

pub async fn write(writer: &mut TrackWriter, objects: &[Object]) {
    for (place, payload) in objects {
        writer.object(*place, vec![payload.clone()]).await.unwrap();
    }
}

pub fn wanted(name: &FullTrackName) -> Wanted {
    Wanted {
        track: name.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    }
}

/// Subscribes. News of a publisher reach another relay in a moment, for which a subscription waits.
pub async fn subscribe(subscriber: &mut Subscriber, name: &FullTrackName) {
    subscriber.subscribe(wanted(name)).await.unwrap();
}

/// All that comes, by place, and the end of it.
pub async fn read_to_the_end(subscriber: &mut Subscriber) -> (Vec<Object>, TrackGone) {
    let mut got = Vec::new();
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => got.push((object.location, Bytes::from(object.payload.concat()))),
            Item::Done(gone) => {
                got.sort_by_key(|(place, _)| *place);
                return (got, gone);
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Lost => panic!("objects were lost"),
        }
    }
}

/// The next object.
pub async fn next_object(subscriber: &mut Subscriber) -> Object {
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => return (object.location, Bytes::from(object.payload.concat())),
            Item::Opened { .. } | Item::Closed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
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
