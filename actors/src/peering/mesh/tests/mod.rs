//! The mesh with a real registry and real tracks, bases that are played, and objects that are fed by hand.

mod asking_again;
mod fetching;
mod links;
mod lost;
mod priority;
mod published;
mod repairing;
mod subscribing;
mod watching;

use super::*;
use crate::limits::{Limits, Prefixes, Strain};
use crate::registry::{RegistryActor, RegistryHandle, ResolveTrack, ShardRef};
use crate::session::{self, Binding};
use crate::shard::ShardActor;
use crate::supervise::{FaultPlan, Trigger};
use crate::track::{
    self, AttachReplica, Audience, AudienceNow, Ingest, ReaderId, ReplicaAttached, ReplicaState, Replicate,
    Unavailable, Wants,
};
use crate::track::{TrackGone, TrackRef};
use actix::System;
use bytes::Bytes;
use laps_protocol::moqt::message::{GroupOrder, MessageParams, RequestId, Subscribe, SubscribeOk};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::peering::info_base::Command;
use laps_protocol::peering::message::{Dialect, FetchMessage, TrackAnswer, parse_subscribe_data};
use laps_protocol::peering::node::NodeType;
use laps_protocol::relay::track_log::{Append, StreamEnd, StreamKey};
use slog::Discard;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(60);
const EPOCH: u64 = 1_000_000;
const A: NodeId = NodeId(1 << 32 | 7);
const B: NodeId = NodeId(1 << 32 | 8);

/// Bases that hand on what they are told.
struct Bases {
    wants: mpsc::UnboundedSender<Command>,
    nodes: mpsc::UnboundedSender<SendToNode>,
    answer: Rc<RefCell<Result<(), CommandError>>>,
}

impl Actor for Bases {
    type Context = Context<Self>;
}

impl Handler<Want> for Bases {
    type Result = Result<(), CommandError>;
    fn handle(&mut self, Want(command): Want, _: &mut Self::Context) -> Self::Result {
        drop(self.wants.send(command));
        *self.answer.borrow()
    }
}

impl Handler<SendToNode> for Bases {
    type Result = ();
    fn handle(&mut self, msg: SendToNode, _: &mut Self::Context) {
        drop(self.nodes.send(msg));
    }
}

/// Tables that a test looks into.
#[derive(Default)]
struct Tables {
    bindings: RefCell<BTreeMap<(FullNameHash, NodeId), Binding>>,
    fetches: RefCell<BTreeMap<RequestId, crate::fetch::FetchSink>>,
}

impl Inlets for Tables {
    fn bind(&self, track: FullNameHash, origin: NodeId, binding: Binding) {
        assert!(
            self.bindings
                .borrow_mut()
                .insert((track, origin), binding)
                .is_none()
        );
    }

    fn unbind(&self, track: FullNameHash, origin: NodeId) {
        self.bindings.borrow_mut().remove(&(track, origin));
    }

    fn set_laps(&self, _: NodeId, _: bool) {}

    fn expect(&self, fetch: RequestId, sink: crate::fetch::FetchSink) {
        self.fetches.borrow_mut().insert(fetch, sink);
    }

    fn forget(&self, fetch: RequestId) {
        self.fetches.borrow_mut().remove(&fetch);
    }

    fn expects(&self, fetch: RequestId) -> bool {
        self.fetches.borrow().contains_key(&fetch)
    }
}

/// A subscriber, as a track sees one of another shard.
struct Reader(mpsc::UnboundedSender<Replicate>);

impl Actor for Reader {
    type Context = Context<Self>;
}

impl Handler<Replicate> for Reader {
    type Result = ();
    fn handle(&mut self, msg: Replicate, _: &mut Self::Context) {
        drop(self.0.send(msg));
    }
}

/// What a mesh without sessions has.
struct Scene {
    mesh: Addr<MeshActor>,
    env: Env,
    tables: Rc<Tables>,
    wants: mpsc::UnboundedReceiver<Command>,
    nodes: mpsc::UnboundedReceiver<SendToNode>,
    /// What is said to every wish.
    answer: Rc<RefCell<Result<(), CommandError>>>,
    bases: Addr<Bases>,
    /// Makes the actor of a node fail.
    fault: Trigger,
    log: Logger,
}

/// One who reads a track.
struct Reading {
    id: ReaderId,
    track: TrackRef,
    batches: mpsc::UnboundedReceiver<Replicate>,
    /// The groups of streams that began.
    groups: BTreeMap<StreamKey, u64>,
    _reader: Addr<Reader>,
}

fn ns(text: &'static str) -> TrackNamespace {
    TrackNamespace::new(text.split('/').map(|field| Bytes::from_static(field.as_bytes()))).unwrap()
}

fn video() -> FullTrackName {
    FullTrackName::new(ns("live/cam"), Bytes::from_static(b"video")).unwrap()
}

fn hash() -> FullNameHash {
    TrackHash::of(&video()).full
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Scene) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Scene::new(false)).await;
    });
}

/// The same on a stub.
fn run_stub<F: Future<Output = ()>>(test: impl FnOnce(Scene) -> F) {
    System::new().block_on(async {
        tokio::time::pause();
        test(Scene::new(true)).await;
    });
}

impl Scene {
    fn new(stub: bool) -> Self {
        let log = Logger::root(Discard, o!());
        let mut plan = FaultPlan::new();
        let fault = plan.point("node");
        let registry = RegistryHandle::new();
        registry.renew(RegistryActor::new(log.clone(), 16, None).start(), 0);
        let context = Context::<ShardActor>::new();
        let shard = context.address();
        let env = Env {
            registry: registry.clone(),
            shard: ShardRef {
                index: 0,
                tracks: shard.recipient(),
            },
            replicas: None,
            session: Arc::new(session::Config::default()),
            track: Arc::new(track::Config::default()),
            prefixes: Arc::new(Prefixes::new(Limits::NONE)),
            strain: Strain::none(),
            log: log.clone(),
            faults: plan.faults(),
        };
        context.run(ShardActor::new(env.clone(), None, 0, None));
        let tables = Rc::<Tables>::default();
        let mesh = Birth {
            epoch: EPOCH,
            env: env.clone(),
            inlets: Rc::clone(&tables) as Rc<dyn Inlets>,
            origin: None,
            stub,
            guard: None,
        }
        .start();
        // The shard enlists itself.
        registry.enlist(1, mesh.clone().recipient());
        let (wants, wanted) = mpsc::unbounded_channel();
        let (nodes, said) = mpsc::unbounded_channel();
        let answer = Rc::new(RefCell::new(Ok(())));
        let bases = Bases {
            wants,
            nodes,
            answer: Rc::clone(&answer),
        }
        .start();
        let scene = Self {
            mesh,
            env,
            tables,
            wants: wanted,
            nodes: said,
            answer,
            bases,
            fault,
            log,
        };
        scene.begin();
        scene
    }

    /// New bases, which are the same actor.
    fn begin(&self) {
        let began = BasesBegan {
            want: self.bases.clone().recipient(),
            nodes: self.bases.clone().recipient(),
        };
        mailbox::signal(&self.mesh, began);
    }

    async fn news(&self, news: impl IntoIterator<Item = News>) {
        let news = MeshNews(news.into_iter().collect());
        mailbox::ask(&self.mesh, news, LONG).await.unwrap();
    }

    /// The node can be reached, and announces `live`.
    async fn announces(&self, node: NodeId, ours: bool) {
        self.news([reachable(node, ours), publish(node, namespace())])
            .await;
    }

    /// The next thing that the mesh is told to want.
    async fn want(&mut self) -> Command {
        let command = tokio::time::timeout(LONG, self.wants.recv()).await;
        command.unwrap().unwrap()
    }

    /// The same, which is a SUBSCRIBE.
    async fn subscribe(&mut self) -> (RequestId, Subscribe) {
        let command = self.want().await;
        let Command::Subscribe { track, data } = command else {
            panic!("{command:?}");
        };
        assert_eq!(track, video());
        parse_subscribe_data(Dialect::Own, &data).unwrap()
    }

    /// Nothing is wanted for so long.
    async fn wants_nothing(&mut self, wait: Duration) {
        let wanted = tokio::time::timeout(wait, self.wants.recv()).await;
        assert!(wanted.is_err(), "{wanted:?}");
    }

    async fn says(&self, node: NodeId, request: RequestId, answer: Answer) {
        self.says_as(TrackAnswer::KIND, node, request, answer).await;
    }

    async fn says_as(&self, kind: u8, node: NodeId, request: RequestId, answer: Answer) {
        let answer = TrackAnswer {
            track: hash(),
            request,
            answer,
        };
        let said = FromNode {
            source: node,
            kind,
            request_id: request.0,
            body: answer.encode().unwrap(),
        };
        mailbox::ask(&self.mesh, said, LONG).await.unwrap();
    }

    /// Who would read the track finds it, or hears why not; a publisher is waited for.
    async fn find(&self) -> Result<TrackRef, Unavailable> {
        let resolve = ResolveTrack {
            name: video(),
            reader: ReaderId::next(),
            stale: None,
            wait: true,
            except: None,
            seek: true,
        };
        self.env.registry.ask(resolve, LONG).await.unwrap()
    }

    /// Whether somebody publishes the track.
    async fn is_there(&self) -> bool {
        let resolve = ResolveTrack {
            name: video(),
            reader: ReaderId::next(),
            stale: None,
            wait: false,
            except: None,
            seek: true,
        };
        self.env.registry.ask(resolve, LONG).await.unwrap().is_ok()
    }

    /// Waits until it is so.
    async fn until(&self, what: &str, mut so: impl FnMut(&Tables) -> bool) {
        for _ in 0..10_000 {
            if so(&self.tables) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}");
    }

    fn binding(&self, node: NodeId) -> Option<Binding> {
        self.tables.bindings.borrow().get(&(hash(), node)).cloned()
    }

    /// An object of this group comes from a node that is bound.
    async fn object(&self, node: NodeId, group: u64) {
        let stream = node.0 << 16 | group;
        self.part(node, stream, group, 0).await;
        self.ends(node, stream, StreamEnd::Fin).await;
    }

    /// An object comes on a stream that stays open.
    async fn part(&self, node: NodeId, stream: u64, group: u64, object: u64) {
        let header = ObjectHeader {
            id: object,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 5,
        };
        let opened = Append::SubgroupOpened {
            stream,
            group,
            subgroup: 0,
            priority: 128,
            has_extensions: true,
            end_of_group: false,
        };
        let bytes = Bytes::from_static(b"hello");
        let begun = Append::ObjectStarted { stream, header };
        self.ingest(node, vec![opened, begun, Append::Payload { stream, bytes }])
            .await;
    }

    /// A further one comes on it.
    async fn further(&self, node: NodeId, stream: u64, object: u64) {
        let header = ObjectHeader {
            id: object,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 5,
        };
        let bytes = Bytes::from_static(b"hello");
        let begun = Append::ObjectStarted { stream, header };
        self.ingest(node, vec![begun, Append::Payload { stream, bytes }])
            .await;
    }

    async fn ends(&self, node: NodeId, stream: u64, end: StreamEnd) {
        self.ingest(node, vec![Append::SubgroupClosed { stream, end }])
            .await;
    }

    async fn ingest(&self, node: NodeId, batch: Vec<Append>) {
        let binding = self.binding(node).unwrap();
        let source = binding.source;
        mailbox::ask(&binding.track, Ingest { source, batch }, LONG)
            .await
            .unwrap();
    }
}

impl Reading {
    /// Begins to read a track; the answer may take until its publisher has answered.
    fn begin(track: TrackRef) -> (Self, impl Future<Output = Result<ReplicaAttached, Unavailable>>) {
        Self::begin_as(track, true)
    }

    /// The same for a reader of this relay, or for a link.
    fn begin_as(
        track: TrackRef,
        own: bool,
    ) -> (Self, impl Future<Output = Result<ReplicaAttached, Unavailable>>) {
        Self::begin_wanting(track, own, Wants::of(true, 128))
    }

    /// The same, which wants this.
    fn begin_wanting(
        track: TrackRef,
        own: bool,
        wants: Wants,
    ) -> (Self, impl Future<Output = Result<ReplicaAttached, Unavailable>>) {
        let (batches, received) = mpsc::unbounded_channel();
        let reader = Reader(batches).start();
        let id = ReaderId::next();
        let attach = AttachReplica {
            id,
            replica: reader.clone().recipient(),
            own,
            wants,
        };
        let attached = mailbox::ask(&track.home, attach, LONG);
        let reading = Self {
            id,
            track,
            batches: received,
            groups: BTreeMap::new(),
            _reader: reader,
        };
        (reading, async move { attached.await.unwrap() })
    }

    /// Whether it wants objects.
    fn forward(&self, forward: bool) {
        self.readers(Audience::of(true, Wants::of(forward, 128)));
    }

    /// Who reads.
    fn readers(&self, audience: Audience) {
        let readers = Arc::new(AudienceNow::default());
        assert!(readers.set(audience));
        let state = ReplicaState {
            id: self.id,
            readers,
            closed: false,
        };
        mailbox::signal(&self.track.home, state);
    }

    fn leave(&self) {
        let state = ReplicaState {
            id: self.id,
            readers: Arc::default(),
            closed: true,
        };
        mailbox::signal(&self.track.home, state);
    }

    async fn next(&mut self) -> Replicate {
        let batch = tokio::time::timeout(LONG, self.batches.recv()).await;
        batch.unwrap().unwrap()
    }

    /// The groups that begin next.
    async fn groups(&mut self) -> Vec<u64> {
        let group = |append: &Append| match append {
            Append::SubgroupOpened { group, .. } => Some(*group),
            Append::SubgroupClosed { .. }
            | Append::ObjectStarted { .. }
            | Append::Payload { .. }
            | Append::Missing { .. }
            | Append::Datagram(_) => None,
        };
        loop {
            let batch = self.next().await;
            assert_eq!(batch.gone, None);
            let groups: Vec<_> = batch.batch.iter().filter_map(group).collect();
            if !groups.is_empty() {
                return groups;
            }
        }
    }

    /// The places of the objects that come, until there are so many of them.
    async fn objects(&mut self, count: usize) -> Vec<(u64, u64)> {
        let mut objects = Vec::new();
        while objects.len() < count {
            for append in self.next().await.batch {
                if let Append::SubgroupOpened { stream, group, .. } = append {
                    self.groups.insert(stream, group);
                } else if let Append::ObjectStarted { stream, header } = append {
                    objects.push((self.groups[&stream], header.id));
                }
            }
        }
        objects
    }

    /// The end of the track, whatever comes before it.
    async fn gone(&mut self) -> TrackGone {
        loop {
            if let Some(gone) = self.next().await.gone {
                return gone;
            }
        }
    }
}

const fn reachable(node: NodeId, ours: bool) -> News {
    News::NodeReachable {
        node,
        node_type: NodeType::Edge,
        ours,
    }
}

const fn publish(source: NodeId, what: Published) -> News {
    News::Publish { source, what }
}

const fn publish_gone(source: NodeId, what: Published) -> News {
    News::PublishGone { source, what }
}

fn namespace() -> Published {
    Published::Namespace(ns("live"))
}

fn ok(largest: Option<laps_protocol::moqt::location::Location>) -> Answer {
    Answer::Ok(SubscribeOk {
        alias: 0,
        expires_ms: 0,
        group_order: GroupOrder::Descending,
        largest,
        params: MessageParams {
            delivery_timeout_ms: Some(300),
            ..MessageParams::default()
        },
    })
}
