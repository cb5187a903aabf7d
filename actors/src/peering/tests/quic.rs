//! Whole relays' peerings over QUIC on loopback, each on a shard as in a relay, with what they say to local users in hand.

use super::fake::id;
use crate::discovery::{Introductions, PeerFound};
use crate::limits::{Limits, Prefixes, Strain};
use crate::peering::bases::Ears;
use crate::peering::mesh::{BasesBegan, FromNode, MeshNews, News, SendToNode, Want};
use crate::peering::{BACKOFF, MeshParts, Seat, Setup, Sockets, plane};
use crate::registry::{RegistryActor, ShardRef};
use crate::root::StopChild;
use crate::shard::{Env, ShardActor};
use crate::supervise::mailbox::{ask, signal};
use crate::supervise::{Backoff, Faults};
use crate::transport::{LAPS_ALPN, LinkTimes, Listen, PeerCa, PeerTls, Pem, ResetKey, TransportConfig, bind};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient};
use bytes::Bytes;
use laps_protocol::discovery::Instance;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::damping;
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::info_base::{self, Command, Settings};
use laps_protocol::peering::message::Published;
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType};
use slog::{Discard, Drain, Logger, o};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const DEADLINE: Duration = Duration::from_secs(60);
const LOOPBACK: Listen = Listen::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// What a relay's local users hear.
enum Heard {
    Began(Recipient<Want>, Recipient<SendToNode>),
    News(News),
    Said(FromNode),
}

/// Plays the mesh of one relay.
struct Users(mpsc::UnboundedSender<Heard>);

impl Actor for Users {
    type Context = Context<Self>;
}

impl Handler<BasesBegan> for Users {
    type Result = ();

    fn handle(&mut self, msg: BasesBegan, _: &mut Self::Context) {
        self.0.send(Heard::Began(msg.want, msg.nodes)).ok();
    }
}

impl Handler<MeshNews> for Users {
    type Result = ();

    fn handle(&mut self, MeshNews(news): MeshNews, _: &mut Self::Context) {
        for news in news {
            self.0.send(Heard::News(news)).ok();
        }
    }
}

impl Handler<FromNode> for Users {
    type Result = ();

    fn handle(&mut self, msg: FromNode, _: &mut Self::Context) {
        self.0.send(Heard::Said(msg)).ok();
    }
}

thread_local! {
    static USERS: RefCell<BTreeMap<NodeId, Ears>> = const { RefCell::new(BTreeMap::new()) };
}

fn users_of(parts: MeshParts) -> Ears {
    USERS.with_borrow(|users| users[&parts.own.id].clone())
}

/// A log that is read.
pub(super) struct Lines(pub(super) mpsc::UnboundedSender<String>);

impl Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        struct Words(String);
        impl slog::Serializer for Words {
            fn emit_arguments(&mut self, _: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
                self.0.push_str(&format!(" {value}"));
                Ok(())
            }
        }
        let mut words = Words(record.msg().to_string());
        slog::KV::serialize(&record.kv(), record, &mut words).ok();
        self.0.send(words.0).ok();
        Ok(())
    }
}

struct Relay {
    shard: Addr<ShardActor>,
    addrs: Vec<SocketAddr>,
    want: Recipient<Want>,
    nodes: Recipient<SendToNode>,
    heard: mpsc::UnboundedReceiver<Heard>,
    lines: mpsc::UnboundedReceiver<String>,
}

/// Who a relay of a test is, and whom it dials.
struct Plan {
    id: NodeId,
    role: NodeType,
    tls: PeerTls,
    targets: Vec<String>,
    data_links: u32,
    one_way: bool,
    found: Option<Introductions>,
    contact: &'static str,
}

fn mutual(ca: &PeerCa, node: NodeId) -> PeerTls {
    let own = ca.certify(node).unwrap();
    let text = |pem: &str| Pem::Text(pem.to_owned());
    PeerTls::mutual(
        &text(ca.cert_pem()),
        &text(&own.cert_pem),
        &text(&own.key_pem),
        node,
    )
    .unwrap()
}

fn plan(ca: &PeerCa, low: u64, targets: &[&str]) -> Plan {
    Plan {
        id: id(low),
        role: NodeType::Edge,
        tls: mutual(ca, id(low)),
        targets: targets.iter().map(|&target| target.to_owned()).collect(),
        data_links: 0,
        one_way: false,
        found: None,
        contact: "",
    }
}

fn setup(plan: &Plan) -> Setup {
    Setup {
        own: NodeInfo::new(plan.id, plan.role, Bytes::from_static(plan.contact.as_bytes())),
        targets: plan
            .targets
            .iter()
            .map(|target| (target.parse().unwrap(), 1 + plan.data_links))
            .collect(),
        data_links_one_way: plan.one_way,
        tls: Some(plan.tls.clone()),
        laps_tls: Some(PeerTls::open(LAPS_ALPN).unwrap()),
        laps_from: vec!["127.0.0.0/8".parse().unwrap()],
        transport: TransportConfig {
            recv_ring: 1 << 20,
            ..TransportConfig::for_links(LinkTimes::default())
        },
        times: LinkTimes::default(),
        backoff: Backoff {
            first: Duration::from_millis(50),
            ..BACKOFF
        },
        damping: damping::Settings::default(),
        settings: Settings::default(),
        limits: info_base::Limits::default(),
        found: plan.found.clone(),
        max_inbound: 100,
        plane: plane::Config::default(),
        mesh: Some(users_of),
    }
}

/// Starts a relay on this thread.
async fn start(plan: Plan) -> Relay {
    let (hears, mut heard) = mpsc::unbounded_channel();
    let users = Users(hears).start();
    let ears = Ears {
        began: users.clone().recipient(),
        news: users.clone().recipient(),
        nodes: users.recipient(),
        life: None,
    };
    USERS.with_borrow_mut(|users| users.insert(plan.id, ears));
    let (tells, lines) = mpsc::unbounded_channel();
    let log = Logger::root(Lines(tells), o!());
    let context = Context::<ShardActor>::new();
    let env = Env {
        registry: RegistryActor::new(Logger::root(Discard, o!()), 10, None)
            .start()
            .into(),
        shard: ShardRef {
            index: 0,
            tracks: context.address().recipient(),
        },
        replicas: None,
        session: Arc::default(),
        track: Arc::default(),
        prefixes: Arc::new(Prefixes::new(Limits::NONE)),
        strain: Strain::none(),
        log,
        faults: Faults::default(),
    };
    let socket = || Some(bind(LOOPBACK, 0, 1).unwrap().remove(0));
    let sockets = Sockets {
        ours: socket(),
        laps: socket(),
    };
    let seat = Seat::new(setup(&plan), sockets, ResetKey::random()).unwrap();
    let addrs = seat.local_addrs().to_vec();
    let shard = context.run(ShardActor::new(env, None, 0, None).with_peering(Some(seat)));
    let Some(Heard::Began(want, nodes)) = heard.recv().await else {
        panic!("the bases say first that they begin");
    };
    Relay {
        shard,
        addrs,
        want,
        nodes,
        heard,
        lines,
    }
}

impl Relay {
    /// As a target of another relay.
    fn target(&self) -> String {
        self.addrs[0].to_string()
    }

    fn laps_target(&self) -> String {
        format!("laps+{}", self.addrs[1])
    }

    async fn wants(&self, command: Command) {
        ask(&self.want, Want(command), DEADLINE).await.unwrap().unwrap();
    }

    async fn hears(&mut self, which: impl Fn(&News) -> bool) {
        let found = async {
            loop {
                if let Heard::News(news) = self.heard.recv().await.unwrap()
                    && which(&news)
                {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap();
    }

    async fn reaches(&mut self, low: u64) {
        self.hears(|news| matches!(news, News::NodeReachable { node, .. } if *node == id(low)))
            .await;
    }

    /// Waits for a line of the log with these words.
    async fn logs(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        let found = async {
            loop {
                let line = self.lines.recv().await.unwrap();
                if line.contains(words) {
                    return line;
                }
                seen.push(line);
            }
        };
        let found = tokio::time::timeout(DEADLINE, found).await;
        found.unwrap_or_else(|_| panic!("no {words} in {seen:#?}"))
    }

    async fn end(mut self) {
        let deadline = DEADLINE;
        signal(&self.shard, StopChild { deadline });
        self.logs("link closes").await;
    }
}

fn track() -> FullTrackName {
    let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
    FullTrackName::new(namespace, Bytes::from_static(b"video")).unwrap()
}

/// One end publishes, the other subscribes; both hear of it, and, when `middle` ends, that it is over.
async fn tell_across(first: (&mut Relay, u64), last: (&mut Relay, u64), middle: Relay) {
    let (a, c) = (first.0, last.0);
    a.reaches(last.1).await;
    c.reaches(first.1).await;
    let what = Published::Track(track());
    a.wants(Command::Publish(what.clone())).await;
    let published = News::Publish {
        source: id(first.1),
        what: what.clone(),
    };
    c.hears(|news| *news == published).await;
    let data = Bytes::from_static(b"opaque");
    c.wants(Command::Subscribe {
        track: track(),
        data: data.clone(),
    })
    .await;
    let hash = TrackHash::of(&track());
    let subscribed = News::Subscribe {
        source: id(last.1),
        track: hash,
        data,
    };
    a.hears(|news| *news == subscribed).await;
    middle.end().await;
    let (source, track) = (id(last.1), hash.full);
    a.hears(|news| *news == News::SubscribeGone { source, track })
        .await;
    let source = id(first.1);
    c.hears(|news| {
        *news
            == News::PublishGone {
                source,
                what: what.clone(),
            }
    })
    .await;
}

/// Issue 6, "Links" and "Information bases".
#[actix::test]
async fn a_chain_with_certificates_tells_of_tracks_and_forgets_them() {
    let ca = PeerCa::generate().unwrap();
    let mut c = start(plan(&ca, 3, &[])).await;
    let b = start(plan(&ca, 2, &[&c.target()])).await;
    let mut a = start(plan(&ca, 1, &[&b.target()])).await;
    tell_across((&mut a, 1), (&mut c, 3), b).await;
}

/// What one relay of ours says to another gets there through a third.
#[actix::test]
async fn nodes_speak_to_each_other() {
    let ca = PeerCa::generate().unwrap();
    let mut c = start(plan(&ca, 3, &[])).await;
    let via = Plan {
        role: NodeType::Via,
        ..plan(&ca, 2, &[&c.target()])
    };
    let b = start(via).await;
    let mut a = start(plan(&ca, 1, &[&b.target()])).await;
    a.reaches(3).await;
    c.reaches(1).await;
    let say = SendToNode {
        target: id(3),
        kind: 200,
        request_id: 4,
        body: Bytes::from_static(b"hello"),
    };
    ask(&a.nodes, say, DEADLINE).await.unwrap();
    let heard = async {
        loop {
            if let Heard::Said(said) = c.heard.recv().await.unwrap() {
                return (said.source, said.kind, said.request_id, said.body);
            }
        }
    };
    let heard = tokio::time::timeout(DEADLINE, heard).await.unwrap();
    assert_eq!(heard, (id(1), 200, 4, Bytes::from_static(b"hello")));
}

/// The same as between relays of ours, over a link on which a laps relay could be.
#[actix::test]
async fn a_chain_over_a_laps_link() {
    let ca = PeerCa::generate().unwrap();
    let mut c = start(plan(&ca, 3, &[])).await;
    let b = start(plan(&ca, 2, &[&c.target()])).await;
    let mut a = start(plan(&ca, 1, &[&b.laps_target()])).await;
    tell_across((&mut a, 1), (&mut c, 3), b).await;
}

/// laps peering, "(2) Data Peering".
#[actix::test]
async fn parallel_links_stand() {
    let ca = PeerCa::generate().unwrap();
    let mut b = start(plan(&ca, 2, &[])).await;
    let dials = Plan {
        data_links: 2,
        ..plan(&ca, 1, &[&b.target()])
    };
    let mut a = start(dials).await;
    for relay in [&mut a, &mut b] {
        for _ in 0..3 {
            relay.logs("link stands").await;
        }
    }
}

/// Issue 7, mDNS: who is found is dialled, and mutual TLS decides who joins, whatever its record says.
#[actix::test]
async fn who_is_found_proves_who_he_is() {
    let ca = PeerCa::generate().unwrap();
    let member = start(plan(&ca, 2, &[])).await;
    let stranger = start(plan(&PeerCa::generate().unwrap(), 9, &[])).await;
    let found = Introductions::default();
    let finds = Plan {
        found: Some(found.clone()),
        ..plan(&ca, 1, &[])
    };
    let mut a = start(finds).await;
    // It takes the id of a member of the mesh, and is found first.
    for (name, relay) in [("false", &stranger), ("true", &member)] {
        let record = PeerFound {
            node: Some(id(2)),
            node_type: Some(NodeType::Edge),
            addresses: vec![relay.addrs[0]],
        };
        found.found(Instance::new(name).unwrap(), record);
    }
    let line = a.logs("peer not reached").await;
    assert!(line.contains("certificate"), "{line}");
    a.reaches(2).await;
}

/// Issue 6, "Bad input".
#[actix::test]
async fn who_may_not_join_is_told_so() {
    let ca = PeerCa::generate().unwrap();
    let mut hub = start(plan(&ca, 2, &[])).await;
    let mut member = start(plan(&ca, 1, &[&hub.target()])).await;
    member.reaches(2).await;
    hub.reaches(1).await;

    let mut stranger = start(plan(&PeerCa::generate().unwrap(), 9, &[&hub.target()])).await;
    let line = stranger.logs("peer not reached").await;
    assert!(line.contains("certificate"), "{line}");

    let other = Plan {
        contact: "elsewhere",
        ..plan(&ca, 1, &[&hub.target()])
    };
    let mut second = start(other).await;
    second.logs("the peer refuses the link").await;

    let stub = Plan {
        role: NodeType::Stub,
        ..plan(&ca, 4, &[&hub.target()])
    };
    let stub = start(stub).await;
    hub.reaches(4).await;
    let mut dials_stub = start(plan(&ca, 5, &[&stub.target()])).await;
    let line = dials_stub.logs("the connection of the link is over").await;
    assert!(line.contains("a stub takes no peers"), "{line}");
}
