//! A relay with a track of its own, the real plane, and links over real connections whose other ends are played by hand.

mod fetching;
mod joining;
mod moving;
mod priority;
mod publishing;
mod serving;
mod wishing;

use super::*;
use crate::limits::{self, Prefixes, Strain};
use crate::peering::mesh::{MeshNews, News};
use crate::peering::plane::{self, LinkBirth, Plane, TellSets};
use crate::registry::{
    AnnounceId, RegisterNamespace, RegisterTrack, RegistryActor, RegistryHandle, ShardRef,
    UnregisterNamespace,
};
use crate::session::SessionActor;
use crate::shard::ShardActor;
use crate::supervise::Faults;
use crate::track::{
    self, Gather, Ingest, Source, SourceId, TrackActor, TrackRef, UpstreamDone, UpstreamTerms,
};
use crate::transport::testing::{Pair, pair};
use crate::transport::{ConnParts, RecvGuard};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{PublishDone, PublishDoneStatus, Subscribe};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader};
use laps_protocol::peering::data_header::StreamHeader;
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::info_base::CommandError;
use laps_protocol::peering::message::{
    Answer, Dialect, FetchMessage, Message, Published, TrackAnswer, encode_subscribe_data, laps_subscribe,
};
use laps_protocol::peering::node::NodeType;
use laps_protocol::relay::track_log::{Append, StreamEnd};
use slog::Discard;
use std::collections::VecDeque;
use tokio::sync::{mpsc, watch};

const LONG: Duration = Duration::from_secs(20);
const ME: NodeId = NodeId(100);
/// Two nodes behind the neighbour to which the links lead.
const NODES: [NodeId; 2] = [NodeId(11), NodeId(12)];
const NEXT: NodeId = NodeId(1);
const A: LinkId = LinkId(1);
const B: LinkId = LinkId(2);

/// The information bases, and the links' actors: keep what they are told.
struct Ear {
    answers: mpsc::UnboundedSender<(NodeId, TrackAnswer)>,
    again: mpsc::UnboundedSender<(NodeId, TrackAnswer)>,
    repeated: mpsc::UnboundedSender<(NodeId, TrackAnswer)>,
    fetches: mpsc::UnboundedSender<(NodeId, FetchMessage)>,
    wants: mpsc::UnboundedSender<laps_protocol::peering::info_base::Command>,
    sets: mpsc::UnboundedSender<Message>,
    refuses: VecDeque<CommandError>,
}

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<SendToNode> for Ear {
    type Result = ();
    fn handle(&mut self, msg: SendToNode, _: &mut Self::Context) {
        if msg.kind == FetchMessage::KIND {
            let said = FetchMessage::decode(msg.request_id, &msg.body, &Default::default()).unwrap();
            self.fetches.send((msg.target, said)).ok();
            return;
        }
        let to = match msg.kind {
            TrackAnswer::KIND => &self.answers,
            TrackAnswer::AGAIN => &self.again,
            TrackAnswer::REPEATED => &self.repeated,
            kind => panic!("kind {kind}"),
        };
        let answer = TrackAnswer::decode(msg.request_id, &msg.body).unwrap();
        to.send((msg.target, answer)).ok();
    }
}

impl Handler<Want> for Ear {
    type Result = Result<(), CommandError>;
    fn handle(&mut self, msg: Want, _: &mut Self::Context) -> Self::Result {
        self.wants.send(msg.0).ok();
        self.refuses.pop_front().map_or(Ok(()), Err)
    }
}

impl Handler<TellSets> for Ear {
    type Result = ();
    fn handle(&mut self, msg: TellSets, _: &mut Self::Context) {
        for message in msg.0 {
            self.sets.send(message).ok();
        }
    }
}

struct Heard {
    ear: Addr<Ear>,
    answers: mpsc::UnboundedReceiver<(NodeId, TrackAnswer)>,
    again: mpsc::UnboundedReceiver<(NodeId, TrackAnswer)>,
    repeated: mpsc::UnboundedReceiver<(NodeId, TrackAnswer)>,
    fetches: mpsc::UnboundedReceiver<(NodeId, FetchMessage)>,
    wants: mpsc::UnboundedReceiver<laps_protocol::peering::info_base::Command>,
    sets: mpsc::UnboundedReceiver<Message>,
}

fn ear(refuses: impl IntoIterator<Item = CommandError>) -> Heard {
    let (answers, heard_answers) = mpsc::unbounded_channel();
    let (again, heard_again) = mpsc::unbounded_channel();
    let (repeated, heard_repeated) = mpsc::unbounded_channel();
    let (fetches, heard_fetches) = mpsc::unbounded_channel();
    let (wants, heard_wants) = mpsc::unbounded_channel();
    let (sets, heard_sets) = mpsc::unbounded_channel();
    let ear = Ear {
        answers,
        again,
        repeated,
        fetches,
        wants,
        sets,
        refuses: refuses.into_iter().collect(),
    };
    Heard {
        ear: ear.start(),
        answers: heard_answers,
        again: heard_again,
        repeated: heard_repeated,
        fetches: heard_fetches,
        wants: heard_wants,
        sets: heard_sets,
    }
}

impl Heard {
    fn began(&self) -> BasesBegan {
        BasesBegan {
            want: self.ear.clone().recipient(),
            nodes: self.ear.clone().recipient(),
        }
    }

    /// The next answer: to whom, under which id.
    async fn answer(&mut self) -> (NodeId, u64, Answer) {
        let heard = tokio::time::timeout(LONG, self.answers.recv());
        let (node, answer) = heard.await.unwrap().unwrap();
        assert_eq!(answer.track, hash().full);
        (node, answer.request.0, answer.answer)
    }

    /// The same of the next two, in the order of nodes.
    async fn answers(&mut self) -> [(NodeId, u64, Answer); 2] {
        let mut both = [self.answer().await, self.answer().await];
        both.sort_by_key(|(node, ..)| *node);
        both
    }

    /// Both nodes are told again that they have the track, and up to which group it is made.
    async fn again(&mut self) -> u64 {
        let mut nodes = BTreeSet::new();
        let mut group = 0;
        for _ in NODES {
            let heard = tokio::time::timeout(LONG, self.again.recv());
            let (node, said) = heard.await.unwrap().unwrap();
            let Answer::Ok(ok) = said.answer else {
                panic!("{said:?}");
            };
            assert_eq!(said.request.0, if node == NODES[0] { 41 } else { 42 });
            assert!(nodes.insert(node));
            group = ok.largest.unwrap().group;
        }
        group
    }

    async fn set(&mut self) -> Message {
        let heard = tokio::time::timeout(LONG, self.sets.recv());
        heard.await.unwrap().unwrap()
    }
}

fn name() -> FullTrackName {
    let namespace = TrackNamespace::new([Bytes::from_static(b"live")]).unwrap();
    FullTrackName::new(namespace, Bytes::from_static(b"video")).unwrap()
}

fn hash() -> TrackHash {
    TrackHash::of(&name())
}

fn env(registry: RegistryHandle, faults: Faults) -> Env {
    Env {
        registry,
        shard: ShardRef {
            index: 0,
            tracks: Context::<ShardActor>::new().address().recipient(),
        },
        replicas: None,
        session: Arc::default(),
        track: Arc::default(),
        prefixes: Arc::new(Prefixes::new(limits::Limits::NONE)),
        strain: Strain::none(),
        log: Logger::root(Discard, slog::o!()),
        faults,
    }
}

/// A track of this relay, as a client of its own process writes one.
struct Publisher {
    home: Addr<TrackActor>,
    source: SourceId,
    wanted: watch::Receiver<bool>,
    new_groups: watch::Receiver<u64>,
}

impl Publisher {
    async fn new(env: &Env) -> Self {
        // Nobody is there to be asked: what counts is that it is published.
        env.registry.signal(RegisterNamespace {
            id: AnnounceId(1),
            namespace: name().namespace().clone(),
            upstream: Context::<SessionActor>::new().address().into(),
            shard: env.shard.clone(),
        });
        let (wanted, wants) = watch::channel(false);
        let (new_group, new_groups) = watch::channel(0);
        let source = SourceId::next();
        let home = TrackActor::new(track::Birth {
            name: name(),
            epoch: 1,
            config: Arc::clone(&env.track),
            registry: env.registry.clone(),
            log: env.log.clone(),
            faults: Faults::default(),
            guard: None,
            terms: UpstreamTerms::default(),
            source: (source, Source::Local { wanted, new_group }),
        })
        .start();
        let gather = Gather { readers: Vec::new() };
        mailbox::ask(&home, gather, LONG).await.unwrap();
        let track = TrackRef {
            name: name(),
            shard: 0,
            home: home.clone(),
            epoch: 1,
        };
        env.registry.now().send(RegisterTrack(track)).await.unwrap();
        Self {
            home,
            source,
            wanted: wants,
            new_groups,
        }
    }

    async fn say(&self, batch: Vec<Append>) {
        let source = self.source;
        mailbox::ask(&self.home, Ingest { source, batch }, LONG)
            .await
            .unwrap();
    }

    /// A group begins with this object; its stream stays open.
    async fn begin(&self, group: u64, payload: &'static [u8]) {
        let opened = Append::SubgroupOpened {
            stream: group,
            group,
            subgroup: 0,
            priority: 7,
            has_extensions: false,
            end_of_group: false,
        };
        self.say(vec![opened]).await;
        self.object(group, 0, payload).await;
    }

    async fn object(&self, group: u64, id: u64, payload: &'static [u8]) {
        let (stream, bytes) = (group, Bytes::from_static(payload));
        let header = ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: bytes.len() as u64,
        };
        self.say(vec![
            Append::ObjectStarted { stream, header },
            Append::Payload { stream, bytes },
        ])
        .await;
    }

    async fn end(&self, group: u64) {
        let (stream, end) = (group, StreamEnd::Fin);
        self.say(vec![Append::SubgroupClosed { stream, end }]).await;
    }

    fn withdraw(env: &Env) {
        env.registry.signal(UnregisterNamespace {
            id: AnnounceId(1),
            namespace: name().namespace().clone(),
        });
    }

    async fn done(&self) {
        let done = PublishDone {
            status: PublishDoneStatus::TrackEnded,
            stream_count: Some(0),
            phrase: Bytes::from_static(b"that was all"),
        };
        let source = self.source;
        mailbox::ask(&self.home, UpstreamDone { source, done }, LONG)
            .await
            .unwrap();
    }
}

struct Scene {
    origin: Addr<OriginActor>,
    plane: Plane,
    fib: watch::Sender<Fib>,
    heard: Heard,
    env: Env,
    /// The other ends of the links A and B.
    ends: Vec<ConnParts>,
    _alive: Vec<Box<dyn std::any::Any>>,
}

/// All nodes are reached by this link.
fn fib(link: LinkId) -> Fib {
    let nodes = NODES.iter().map(|node| (*node, NEXT));
    Fib::written(nodes, [(NEXT, vec![link])])
}

impl Scene {
    async fn new() -> Self {
        Self::with(Faults::default(), Limits::default(), Dialect::Own).await
    }

    /// Who joins gets what begins both ways for so long.
    async fn overlapping(join_overlap: Duration) -> Self {
        let limits = Limits {
            join_overlap,
            ..Limits::default()
        };
        Self::made(Faults::default(), limits, Dialect::Own).await
    }

    async fn with(faults: Faults, limits: Limits, dialect: Dialect) -> Self {
        let limits = Limits {
            join_overlap: Duration::ZERO,
            ..limits
        };
        Self::made(faults, limits, dialect).await
    }

    async fn made(faults: Faults, limits: Limits, dialect: Dialect) -> Self {
        let log = Logger::root(Discard, slog::o!());
        let registry = RegistryActor::new(log.clone(), 10, None).start().into();
        let env = env(registry, faults);
        let (fib, following) = watch::channel(fib(A));
        let mut config = plane::Config::default();
        // A move is over at once.
        config.forward.move_overlap = Duration::ZERO;
        // And remembered for as long as a test takes.
        config.forward.move_grace = LONG;
        let plane = Plane::new(plane::Birth {
            me: ME,
            role: NodeType::Edge,
            fib: following,
            codec: Codec::Draft14,
            config,
            faults: Faults::default(),
            log,
        });
        actix_rt::spawn(plane.clone().run());
        let heard = ear([]);
        let mut scene = Self {
            origin: Birth {
                env: env.clone(),
                outlets: Rc::new(plane.clone()),
                limits,
                guard: None,
            }
            .start(),
            plane,
            fib,
            heard,
            env,
            ends: Vec::new(),
            _alive: Vec::new(),
        };
        scene.plane.tell_origin(scene.origin.clone().recipient());
        for link in [A, B] {
            let Pair {
                server,
                client,
                _endpoints,
            } = pair().await;
            scene.plane.link_up(LinkBirth {
                link,
                peer: NEXT,
                stub: false,
                dialect,
                conn: server.handle,
                uni: Some(server.uni),
                datagrams: Some(server.datagrams),
                tell: scene.heard.ear.clone().recipient(),
            });
            scene.ends.push(client);
            scene._alive.push(Box::new((server.bidi, _endpoints)));
        }
        scene.origin.send(scene.heard.began()).await.unwrap();
        scene
    }

    async fn news(&self, news: News) {
        self.origin.send(MeshNews(vec![news])).await.unwrap();
    }

    /// A node subscribes under this id, as `change` has it.
    async fn subscribe(&self, node: NodeId, id: u64, change: impl FnOnce(&mut Subscribe)) {
        self.news(wish(node, id, change)).await;
    }

    async fn unsubscribe(&self, node: NodeId) {
        let track = hash().full;
        self.news(News::SubscribeGone { source: node, track }).await;
    }

    /// Both nodes subscribe, and are answered.
    async fn subscribed(&mut self) {
        for (node, id) in NODES.into_iter().zip([41, 42]) {
            self.subscribe(node, id, |_| {}).await;
        }
        let [one, other] = self.heard.answers().await;
        assert_eq!((one.0, one.1), (NODES[0], 41));
        assert_eq!((other.0, other.1), (NODES[1], 42));
        assert!(matches!((one.2, other.2), (Answer::Ok(_), Answer::Ok(_))));
        self.until("mesh_published", 1).await;
    }

    /// The next stream at the other end of this link.
    async fn stream(&mut self, link: LinkId) -> Stream {
        let end = &mut self.ends[usize::from(link == B)];
        let accepted = tokio::time::timeout(LONG, end.uni.accept()).await;
        Stream {
            recv: accepted.unwrap().unwrap().unwrap(),
            head: Vec::new(),
            reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
        }
    }

    async fn until(&self, table: &str, count: u64) {
        let reached = async {
            while self.count(table).await != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }

    async fn count(&self, table: &str) -> u64 {
        let rows = self.origin.send(Count).await.unwrap();
        let row = rows.iter().find(|(name, _)| *name == table);
        row.unwrap().1
    }

    async fn counters(&self) -> Counters {
        self.origin.send(TakeCounters).await.unwrap().0
    }
}

fn wish(node: NodeId, id: u64, change: impl FnOnce(&mut Subscribe)) -> News {
    let mut subscribe = laps_subscribe(name(), 128, None);
    change(&mut subscribe);
    News::Subscribe {
        source: node,
        track: hash(),
        data: encode_subscribe_data(Dialect::Own, RequestId(id), &subscribe).unwrap(),
    }
}

/// A stream of a link.
struct Stream {
    recv: RecvGuard,
    head: Vec<u8>,
    reader: StreamReader,
}

impl Stream {
    /// What comes next behind the data header; none when the stream is finished, an error when it is reset.
    async fn item(&mut self) -> Result<Option<StreamItem>, ()> {
        loop {
            if let Some(item) = self.reader.next().unwrap() {
                return Ok(Some(item));
            }
            let received = tokio::time::timeout(LONG, self.recv.receive()).await.unwrap();
            let Some(mut bytes) = received.map_err(|_| ())? else {
                self.reader.fin().unwrap();
                return Ok(None);
            };
            let rest = (StreamHeader::LEN - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes.split_to(rest));
            self.reader.push(bytes);
        }
    }

    async fn header(&mut self) -> SubgroupHeader {
        match self.item().await {
            Ok(Some(StreamItem::SubgroupHeader(header))) => header,
            other => panic!("{other:?}"),
        }
    }

    /// The next object, id and payload.
    async fn object(&mut self) -> (u64, Bytes) {
        let Ok(Some(StreamItem::Object(header))) = self.item().await else {
            panic!("no object");
        };
        let Ok(Some(StreamItem::Payload(payload))) = self.item().await else {
            panic!("no payload");
        };
        (header.id, payload)
    }
}

/// Who gets what is sent under an id.
fn nodes(message: &Message) -> &[NodeId] {
    let Message::NodeSetAdvertise(set) = message else {
        panic!("{message:?}");
    };
    set.nodes()
}
