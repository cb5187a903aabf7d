//! A relay with links over real connections, whose other ends are played by hand.

use super::*;
use crate::limits::Kind;
use crate::session::Binding;
use crate::supervise::inject::FaultPlan;
use crate::supervise::mailbox;
use crate::transport::testing::{Pair, pair};
use crate::transport::{ConnError, ConnParts, RecvGuard, SendGuard, StreamError};
use actix::{Actor, Context, Handler};
use bytes::Bytes;
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::message::{LostNodes, Message};
use slog::Discard;
use std::collections::HashMap;
use tokio::sync::mpsc;

mod chain;
mod cut;
mod ending;
mod local;
mod turns;

const ME: NodeId = NodeId(100);
const A: LinkId = LinkId(1);
const B: LinkId = LinkId(2);
const C: LinkId = LinkId(3);
/// Who is at the other end of each, which is also the node that is reached by it.
const PEERS: [(LinkId, NodeId); 3] = [(A, NodeId(1)), (B, NodeId(2)), (C, NodeId(3))];

fn sns(id: u32) -> SnsId {
    SnsId::new(id).unwrap()
}

fn track(n: u64) -> FullNameHash {
    FullNameHash::new(n).unwrap()
}

/// These nodes, each as urgent as any.
fn urgent(nodes: &[NodeId]) -> BTreeMap<NodeId, u8> {
    nodes.iter().map(|node| (*node, 128)).collect()
}

fn head(id: u32, of: u64) -> StreamHeader {
    StreamHeader {
        sns: sns(id),
        track: track(of),
        priority: 7,
        ttl_ms: 0,
    }
}

/// What a link's actor would tell its peer.
struct Teller(mpsc::UnboundedSender<Message>);

impl Actor for Teller {
    type Context = Context<Self>;
}

impl Handler<TellSets> for Teller {
    type Result = ();
    fn handle(&mut self, msg: TellSets, _: &mut Self::Context) {
        for message in msg.0 {
            self.0.send(message).ok();
        }
    }
}

/// The other end of a link.
struct End {
    conn: ConnParts,
    told: mpsc::UnboundedReceiver<Message>,
}

struct Scene {
    plane: Plane,
    fib: watch::Sender<Fib>,
    ends: HashMap<LinkId, End>,
    _alive: Vec<Box<dyn std::any::Any>>,
}

/// A relay of this role with the links A, B and C.
async fn scene(role: NodeType, config: Config, faults: Faults) -> Scene {
    scene_of(role, config, faults, Dialect::Own).await
}

async fn scene_of(role: NodeType, config: Config, faults: Faults, dialect: Dialect) -> Scene {
    let nodes = PEERS.iter().map(|(_, node)| (*node, *node));
    let links = PEERS.iter().map(|(link, node)| (*node, vec![*link]));
    let (fib, following) = watch::channel(Fib::written(nodes, links));
    let plane = Plane::new(Birth {
        me: ME,
        role,
        fib: following,
        codec: Codec::Draft14,
        config,
        faults,
        log: Logger::root(Discard, o!()),
    });
    actix_rt::spawn(plane.clone().run());
    let mut scene = Scene {
        plane,
        fib,
        ends: HashMap::new(),
        _alive: Vec::new(),
    };
    for (link, peer) in PEERS {
        let Pair {
            server,
            client,
            _endpoints,
        } = pair().await;
        let (tell, told) = mpsc::unbounded_channel();
        let birth = LinkBirth {
            link,
            peer,
            stub: false,
            dialect,
            conn: server.handle,
            uni: Some(server.uni),
            datagrams: Some(server.datagrams),
            tell: Teller(tell).start().recipient(),
        };
        scene.plane.link_up(birth);
        scene.ends.insert(link, End { conn: client, told });
        scene._alive.push(Box::new((server.bidi, _endpoints)));
    }
    scene
}

impl Scene {
    async fn via() -> Self {
        scene(NodeType::Via, Config::default(), Faults::default()).await
    }

    fn end(&mut self, link: LinkId) -> &mut End {
        self.ends.get_mut(&link).unwrap()
    }

    /// The peer of link A tells a set.
    fn advertise(&self, id: u32, nodes: &[NodeId]) {
        let set = NodeSet::new(sns(id), NodeSet::PRIORITY, nodes.iter().copied());
        self.plane.advertised(A, &set.from_origin(Some(NodeId(1))));
    }

    fn forward(&self) -> forward::Counters {
        self.plane.counts().forward
    }

    /// Waits until this holds; whatever it waits for wakes somebody on this thread.
    async fn until(&self, mut holds: impl FnMut(&Plane) -> bool) {
        let waiting = async {
            while !holds(&self.plane) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("what was waited for did not happen");
    }
}

impl End {
    async fn open(&mut self) -> SendGuard {
        self.conn.handle.open_uni().await.unwrap()
    }

    async fn accept(&mut self) -> RecvGuard {
        self.conn.uni.accept().await.unwrap().unwrap()
    }

    /// The set that the relay told, by its id.
    async fn told(&mut self) -> NodeSet {
        let told = self.told.recv().await.unwrap();
        let Message::NodeSetAdvertise(set) = told else {
            panic!("{told:?}");
        };
        set
    }
}

/// The head of a stream, and its payload until its end.
async fn read(stream: &mut RecvGuard) -> (StreamHeader, Vec<u8>, Result<(), StreamError>) {
    let (mut reader, mut head, mut all) = (StreamHeaderReader::new(), None, Vec::new());
    loop {
        match stream.receive().await {
            Ok(Some(mut piece)) => {
                if head.is_none() {
                    head = reader.read(&mut piece).unwrap();
                }
                all.extend_from_slice(&piece);
            }
            Ok(None) => return (head.unwrap(), all, Ok(())),
            Err(error) => return (head.unwrap(), all, Err(error)),
        }
    }
}

/// Bytes that are not alike.
fn payload(len: usize, seed: u8) -> Bytes {
    let bytes = (0..len).map(|at| u8::try_from((at * 31 + at / 251) % 251).unwrap() ^ seed);
    bytes.collect()
}

/// Keeps what it hears of links that died.
struct Users(mpsc::UnboundedSender<WaysCut>);

impl Actor for Users {
    type Context = Context<Self>;
}

impl Handler<WaysCut> for Users {
    type Result = ();
    fn handle(&mut self, msg: WaysCut, _: &mut Self::Context) {
        self.0.send(msg).ok();
    }
}

/// Issue 6, "Failover": a link that dies between two streams cuts none of them, so it is said whose data came by it. One by
/// which none came is nobody's matter.
#[actix::test]
async fn whose_way_a_dead_link_was_is_told() {
    let scene = scene(NodeType::Edge, Config::default(), Faults::default()).await;
    let (users, mut cut) = mpsc::unbounded_channel();
    scene.plane.tell_users(Users(users).start().recipient());
    scene.advertise(1, &[ME]);
    scene.advertise(2, &[ME]);
    scene.plane.link_down(B);
    scene.plane.link_down(A);
    assert_eq!(cut.recv().await, Some(WaysCut([NodeId(1)].into())));
    assert!(cut.try_recv().is_err());
}

/// Keeps what other nodes are told.
struct Bases(mpsc::UnboundedSender<SendToNode>);

impl Actor for Bases {
    type Context = Context<Self>;
}

impl Handler<SendToNode> for Bases {
    type Result = ();
    fn handle(&mut self, msg: SendToNode, _: &mut Self::Context) {
        self.0.send(msg).ok();
    }
}

/// Issue 6, "Failover": what a relay in between has lost nobody else sees, so it tells the origin, once for all tracks; and
/// again when a link leads to nodes that none led to. Where a laps relay is on the way nobody is known to be told.
#[actix::test]
async fn an_origin_is_told_what_was_lost_of_its_data() {
    let scene = scene(NodeType::Via, Config::default(), Faults::default()).await;
    let (bases, mut told) = mpsc::unbounded_channel();
    scene.plane.speak_by(Bases(bases).start().recipient());
    let origin = NodeId(40);
    let set = |id: u32, nodes: &[u64], origin: Option<NodeId>| {
        let nodes = nodes.iter().map(|node| NodeId(*node));
        NodeSet::new(sns(id), 2, nodes).from_origin(origin)
    };
    // Two tracks of one origin, one of which is for a node behind another link too.
    scene.plane.advertised(A, &set(1, &[2], Some(origin)));
    scene.plane.advertised(A, &set(2, &[2, 3], Some(origin)));
    scene.plane.advertised(A, &set(3, &[2], None));
    scene.plane.link_down(B);
    for way in [None, Some(C)] {
        if let Some(link) = way {
            let nodes = [(NodeId(2), NodeId(2))];
            scene
                .fib
                .send_replace(Fib::written(nodes, [(NodeId(2), vec![link])]));
        }
        let said = told.recv().await.unwrap();
        assert_eq!(
            (said.target, said.kind, said.request_id),
            (origin, LostNodes::KIND, 0)
        );
        assert_eq!(said.body, LostNodes(vec![NodeId(2)]).encode());
        assert!(told.try_recv().is_err());
    }
}

/// laps peering, "SNS Advertisement": however often the nodes of a set change in one turn, its peer is told once. A set that came
/// and went in one turn may have had data, so its peer hears for whom that is.
#[actix::test]
async fn changes_of_one_turn_are_told_as_one() {
    let mut scene = scene(NodeType::Edge, Config::default(), Faults::default()).await;
    for count in 1..=50 {
        let nodes = [NodeId(2), NodeId(3)];
        scene.plane.set_targets(track(9), urgent(&nodes[..=count % 2]));
        assert_eq!(scene.plane.route(track(9)).len(), 1 + count % 2, "known at once");
    }
    scene.plane.set_targets(track(8), urgent(&[NodeId(1)]));
    scene.plane.set_targets(track(8), BTreeMap::new());
    let set = scene.end(B).told().await;
    assert_eq!((set.id, set.nodes()), (sns(1), &[NodeId(2)][..]));
    let set = scene.end(A).told().await;
    assert_eq!((set.id, set.nodes()), (sns(1), &[NodeId(1)][..]));
    assert_eq!(
        scene.end(A).told.recv().await,
        Some(Message::NodeSetWithdraw(sns(1)))
    );
    scene.plane.set_targets(track(9), BTreeMap::new());
    assert_eq!(
        scene.end(B).told.recv().await,
        Some(Message::NodeSetWithdraw(sns(1)))
    );
    assert!(scene.end(A).told.try_recv().is_err() && scene.end(B).told.try_recv().is_err());
}

/// laps peering, "(2) Data Peering": parallel links share the tracks, and each track keeps to one of them.
#[actix::test]
async fn parallel_links_share_the_tracks() {
    let scene = scene(NodeType::Edge, Config::default(), Faults::default()).await;
    let there = |links: &[LinkId]| Fib::written([(NodeId(2), NodeId(2))], [(NodeId(2), links.to_vec())]);
    scene.fib.send_replace(there(&[A, B, C]));
    let tracks: Vec<_> = (1..=300).map(track).collect();
    for track in &tracks {
        scene.plane.set_targets(*track, urgent(&[NodeId(2)]));
    }
    let taken = |plane: &Plane| -> Vec<Vec<LinkId>> {
        let links = |track| {
            let mut route = plane.route(track);
            route.retain(|out| !out.nodes.is_empty());
            route.into_iter().map(|out| out.link).collect()
        };
        tracks.iter().copied().map(links).collect()
    };
    let shares =
        |taken: &[Vec<LinkId>]| [A, B, C].map(|link| taken.iter().filter(|links| **links == [link]).count());
    scene
        .until(|plane| shares(&taken(plane)).iter().all(|share| *share > 50))
        .await;
    let before = taken(&scene.plane);
    assert_eq!(shares(&before).iter().sum::<usize>(), 300, "one link each");
    scene.fib.send_replace(there(&[A, C]));
    scene.until(|plane| shares(&taken(plane))[1] == 0).await;
    for (before, after) in before.iter().zip(taken(&scene.plane)) {
        assert!(*before == after || *before == [B], "who need not move stays");
    }
}

/// Issue 6, "Pipeline forwarding" and "SNS and source routing": every byte of a stream leaves once by each link that its set
/// names, behind the head with the id of that link, and its end is mirrored; nobody in between looks at the bytes.
#[actix::test]
async fn streams_of_any_size_arrive_once_at_each_target() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    for link in [B, C] {
        let set = scene.end(link).told().await;
        assert_eq!(
            (set.id, set.nodes().len(), set.origin),
            (sns(1), 1, Some(NodeId(1)))
        );
    }
    for (round, len) in [0, 1, 25, 26, 1_200, 70_000, 3_000_000].into_iter().enumerate() {
        let sent = payload(len, u8::try_from(round).unwrap());
        let mut source = scene.end(A).open().await;
        let pieces = [Bytes::copy_from_slice(&head(5, 9).encode()), sent.clone()];
        let sending = async {
            let mut pieces = pieces.map(Bytes::from);
            source.send(&mut pieces).await.unwrap();
            source.finish().unwrap();
            source.delivered().await.unwrap();
        };
        let (b, c) = (scene.ends.remove(&B).unwrap(), scene.ends.remove(&C).unwrap());
        let receiving = |mut end: End| async {
            let mut stream = end.accept().await;
            let got = read(&mut stream).await;
            (end, got)
        };
        let ((), (b, at_b), (c, at_c)) = futures::join!(sending, receiving(b), receiving(c));
        for (head, got, end) in [at_b, at_c] {
            let expected = StreamHeader {
                sns: sns(1),
                track: track(9),
                priority: 7,
                ttl_ms: 0,
            };
            assert_eq!((head, end), (expected, Ok(())));
            assert!(got == sent, "{} of {len} bytes", got.len());
        }
        scene.ends.extend([(B, b), (C, c)]);
    }
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
    let counters = scene.forward();
    assert_eq!(
        (counters.streams, counters.lanes, counters.lanes_finished),
        (7, 14, 14)
    );
    assert_eq!(counters.bytes_out, 2 * counters.bytes_in);
}

/// Issue 6: datagrams too, each once to each.
#[actix::test]
async fn datagrams_arrive_once_at_each_target() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    let head = DatagramHeader {
        sns: sns(5),
        track: track(9),
    };
    for number in 0..20 {
        let datagram = [&head.encode()[..], &payload(900, number)].concat();
        scene.end(A).conn.handle.send_datagram(datagram.into()).unwrap();
        for link in [B, C] {
            let got = scene.end(link).conn.datagrams.recv().await.unwrap();
            let (head, got) = DatagramHeader::split(got).unwrap();
            assert_eq!((head.sns, head.track), (sns(1), track(9)));
            assert_eq!(got, payload(900, number));
        }
    }
    let counts = scene.plane.counts();
    assert_eq!((counts.forward.datagrams, counts.datagrams_sent), (20, 40));
    // Half a head is dropped.
    let short = Bytes::copy_from_slice(&head.encode()[..9]);
    scene.end(A).conn.handle.send_datagram(short).unwrap();
    scene
        .until(|plane| plane.counts().forward.bad_datagrams == 1)
        .await;
}

/// laps peering, "Pipeline forwarding": a reset is mirrored with its code, and so is that nobody wants more.
#[actix::test]
async fn resets_and_stops_are_mirrored() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[1; 100]].concat();
    source.send(&mut [Bytes::from(begin.clone())]).await.unwrap();
    let (mut at_b, mut at_c) = (scene.end(B).accept().await, scene.end(C).accept().await);
    // One target that wants no more costs the other nothing.
    at_b.stop(77);
    scene
        .until(|plane| plane.counts().forward.lanes_stopped == 1)
        .await;
    source.send(&mut [Bytes::from_static(&[2; 50])]).await.unwrap();
    let got = async {
        let mut all = 0;
        while all < begin.len() + 50 {
            all += at_c.receive().await.unwrap().unwrap().len();
        }
    };
    got.await;
    source.reset(42);
    assert_eq!(at_c.receive().await, Err(StreamError::Reset { code: 42 }));
    // When no target wants more, the source is told.
    let mut source = scene.end(A).open().await;
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    for link in [B, C] {
        scene.end(link).accept().await.stop(77);
    }
    let stopped = futures::future::poll_fn(|cx| source.poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

/// Issue 6, "half a header", "an SNS for a foreign track": refused, and told once.
#[actix::test]
async fn what_is_no_data_of_the_link_is_refused() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2)]);
    let mut half = scene.end(A).open().await;
    half.send(&mut [Bytes::copy_from_slice(&head(5, 9).encode()[..10])])
        .await
        .unwrap();
    half.finish().unwrap();
    scene.until(|plane| plane.counts().forward.bad_starts == 1).await;
    let mut wrong = scene.end(A).open().await;
    wrong
        .send(&mut [Bytes::from_static(b"GET / HTTP")])
        .await
        .unwrap();
    let stopped = futures::future::poll_fn(|cx| wrong.poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::InvalidStartOfStream.number());
    // The first data binds the id to its track.
    let mut first = scene.end(A).open().await;
    first
        .send(&mut [Bytes::copy_from_slice(&head(5, 9).encode())])
        .await
        .unwrap();
    let mut at_b = scene.end(B).accept().await;
    for _ in 0..2 {
        let mut foreign = scene.end(A).open().await;
        foreign
            .send(&mut [Bytes::copy_from_slice(&head(5, 10).encode())])
            .await
            .unwrap();
        let stopped = futures::future::poll_fn(|cx| foreign.poll_stopped(cx)).await;
        assert_eq!(stopped, ErrorCode::InvalidStartOfStream.number());
    }
    first.finish().unwrap();
    assert_eq!(read(&mut at_b).await.0.track, track(9));
    let counters = scene.forward();
    assert_eq!((counters.foreign, counters.bad_starts, counters.lanes), (2, 2, 1));
    let told = scene.plane.0.links()[0].once.told();
    assert_eq!(
        told,
        [
            "a stream does not begin as it has to",
            "data of another track than that of its SNS id"
        ]
    );
}

/// laps peering, "SNS Advertisement": data that is there before its set waits, and goes when it comes; what waits for too
/// long is given up.
#[actix::test]
async fn data_waits_for_its_set() {
    let mut config = Config::default();
    config.forward.max_parked_items = 2;
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    let mut streams = Vec::new();
    for number in 0..3 {
        let mut stream = scene.end(A).open().await;
        let begin = [&head(5, 9).encode()[..], &[number; 3000]].concat();
        stream.send(&mut [Bytes::from(begin)]).await.unwrap();
        scene
            .until(|plane| plane.counts().forward.parked == u64::from(number) + 1)
            .await;
        streams.push(stream);
    }
    // The oldest has given way.
    let stopped = futures::future::poll_fn(|cx| streams[0].poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    assert_eq!(scene.plane.sizes().1, 2);
    scene.advertise(5, &[NodeId(2)]);
    for (number, source) in (1..3).zip(&mut streams[1..]) {
        source.send(&mut [Bytes::from(vec![number; 10])]).await.unwrap();
        source.finish().unwrap();
        let mut at_b = scene.end(B).accept().await;
        let (_, got, end) = read(&mut at_b).await;
        assert_eq!((got, end), (vec![number; 3010], Ok(())));
    }
    assert_eq!((scene.forward().parked_evicted, scene.plane.sizes().1), (1, 0));
    // One for which no set comes is not kept for ever.
    let mut stream = scene.end(A).open().await;
    stream
        .send(&mut [Bytes::copy_from_slice(&head(6, 9).encode())])
        .await
        .unwrap();
    let stopped = futures::future::poll_fn(|cx| stream.poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    assert_eq!(scene.forward().parked_expired, 1);
}

/// laps peering, "SNS Advertisement": so does what came whole, to its end.
#[actix::test]
async fn a_stream_that_came_whole_waits_for_its_set() {
    let mut scene = scene(NodeType::Via, Config::default(), Faults::default()).await;
    for number in 0..2 {
        let mut stream = scene.end(A).open().await;
        let whole = [&head(5, 9).encode()[..], &[number; 3000]].concat();
        stream.send(&mut [Bytes::from(whole)]).await.unwrap();
        stream.finish().unwrap();
        // The end of the first one is here before the second one.
        scene
            .until(|plane| plane.counts().forward.parked == u64::from(number) + 1)
            .await;
    }
    scene.advertise(5, &[NodeId(2)]);
    for number in 0..2 {
        let mut at_b = scene.end(B).accept().await;
        let (_, got, end) = read(&mut at_b).await;
        assert_eq!((got, end), (vec![number; 3000], Ok(())));
    }
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
}

/// Issue 6, "bounded": a peer has so many streams at once, and a datagram is no larger than the next link takes.
#[actix::test]
async fn a_link_has_so_many_streams() {
    let mut config = Config::default();
    config.forward.max_streams = 2;
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    scene.advertise(5, &[NodeId(2)]);
    let begin = Bytes::copy_from_slice(&head(5, 9).encode());
    let mut streams = Vec::new();
    for number in 1..=3 {
        let mut stream = scene.end(A).open().await;
        stream.send(&mut [begin.clone()]).await.unwrap();
        scene
            .until(|plane| plane.counts().forward.streams == number)
            .await;
        streams.push(stream);
    }
    let stopped = futures::future::poll_fn(|cx| streams[2].poll_stopped(cx)).await;
    assert_eq!(stopped, ErrorCode::Close.number());
    assert_eq!(scene.forward().streams_refused, 1);
    // When one is over there is room for another.
    streams[0].finish().unwrap();
    scene.until(|plane| plane.sizes().0 == 1).await;
    let mut stream = scene.end(A).open().await;
    stream.send(&mut [begin]).await.unwrap();
    scene.until(|plane| plane.counts().forward.lanes == 3).await;
    assert_eq!(scene.forward().streams_refused, 1);
}

/// Issue 6: a target that takes nothing is in nobody's way. What waits for it is bounded, and then its stream is reset.
#[actix::test]
async fn a_slow_target_does_not_hold_the_other() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    let mut source = scene.end(A).open().await;
    let sent = payload(12 << 20, 3);
    let mut slow = None;
    let mut b = scene.ends.remove(&B).unwrap();
    let sending = async {
        let head = Bytes::copy_from_slice(&head(5, 9).encode());
        source.send(&mut [head]).await.unwrap();
        // B accepts its stream and does not read it.
        slow = Some(b.accept().await);
        for piece in sent.chunks(64 << 10) {
            let piece = Bytes::copy_from_slice(piece);
            source.send(&mut [piece]).await.unwrap();
        }
        source.finish().unwrap();
        source.delivered().await.unwrap();
    };
    let mut c = scene.ends.remove(&C).unwrap();
    let receiving = async {
        let mut stream = c.accept().await;
        read(&mut stream).await
    };
    let ((), (_, got, end)) = futures::join!(sending, receiving);
    assert_eq!(end, Ok(()));
    assert!(got == sent, "{} bytes", got.len());
    let mut slow = slow.unwrap();
    let end = loop {
        if let Err(error) = slow.receive().await {
            break error;
        }
    };
    assert_eq!(end, StreamError::Reset { code: 0 });
    let counters = scene.forward();
    assert_eq!((counters.lanes_overrun, counters.lanes_finished), (1, 1));
}

/// Issue 6: what waits for one link is bounded over all streams, and of that too nothing is left.
#[actix::test]
async fn a_slow_link_holds_so_much_in_all() {
    let config = Config {
        // C may be as far behind as B's window is wide, and half a megabyte.
        max_link_backlog: 3 << 20,
        ..Config::default()
    };
    let mut scene = scene(NodeType::Via, config, Faults::default()).await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    let sent = payload(8 << 20, 3);
    let (mut a, mut b, mut c) = (
        scene.ends.remove(&A).unwrap(),
        scene.ends.remove(&B).unwrap(),
        scene.ends.remove(&C).unwrap(),
    );
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut source = a.open().await;
        let sending = async {
            let head = Bytes::copy_from_slice(&head(5, 9).encode());
            source.send(&mut [head]).await.unwrap();
            unread.push(b.accept().await);
            source.send(&mut [sent.clone()]).await.unwrap();
            source.finish().unwrap();
            source.delivered().await.unwrap();
        };
        let receiving = async {
            let mut stream = c.accept().await;
            read(&mut stream).await
        };
        let ((), (_, got, end)) = futures::join!(sending, receiving);
        assert!(got == sent && end == Ok(()), "{} bytes", got.len());
    }
    scene.until(|plane| plane.counts().lanes_crowded == 2).await;
    assert_eq!(scene.forward().lanes_finished, 2);
    let backlog = scene.plane.link(B).unwrap().backlog;
    scene.until(|_| backlog.bytes() == 0).await;
}

/// While no target takes anything, the source is not read any more, so that its sender is slowed down.
#[actix::test]
async fn a_source_is_not_read_faster_than_the_fastest_target() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2)]);
    let mut source = scene.end(A).open().await;
    let sent = payload(12 << 20, 3);
    let mut b = scene.ends.remove(&B).unwrap();
    let sending = async {
        let head = Bytes::copy_from_slice(&head(5, 9).encode());
        source.send(&mut [head, sent.clone()]).await.unwrap();
        source.finish().unwrap();
        source.delivered().await.unwrap();
    };
    let plane = scene.plane.clone();
    let receiving = async {
        let mut stream = b.accept().await;
        // Until nothing moves any more.
        let (mut before, mut still) = (0, 0);
        while still < 5_000 {
            tokio::task::yield_now().await;
            let now = plane.counts().forward.bytes_in;
            still = if now == before && now > 0 { still + 1 } else { 0 };
            before = now;
        }
        assert!(before < 8 << 20, "{before} bytes were taken in");
        read(&mut stream).await
    };
    let ((), (_, got, end)) = futures::join!(sending, receiving);
    assert_eq!(end, Ok(()));
    assert!(got == sent, "{} bytes", got.len());
    assert_eq!(scene.forward().lanes_overrun, 0);
}

/// Issue 6, "Failover": a link that dies takes only its own streams with it.
#[actix::test]
async fn the_end_of_a_link_resets_what_came_by_it() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2), NodeId(3)]);
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[1; 100]].concat();
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    let mut at_b = scene.end(B).accept().await;
    let _at_c = scene.end(C).accept().await;
    // The way out by C dies: B goes on.
    scene.plane.link_down(C);
    source.send(&mut [Bytes::from_static(&[2; 50])]).await.unwrap();
    let mut all = 0;
    while all < StreamHeader::LEN + 150 {
        all += at_b.receive().await.unwrap().unwrap().len();
    }
    assert_eq!(scene.forward().lanes_lost, 1);
    // The way in dies.
    scene.plane.link_down(A);
    assert_eq!(at_b.receive().await, Err(StreamError::Reset { code: 0 }));
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
    // Its sets went with it.
    let told = async {
        loop {
            if let Message::NodeSetWithdraw(id) = scene.end(B).told.recv().await.unwrap() {
                return id;
            }
        }
    };
    assert_eq!(told.await, sns(1));
}

/// The connection itself ends, without anybody telling the plane: what came by it is reset all the same.
#[actix::test]
async fn the_end_of_a_connection_resets_what_came_by_it() {
    let mut scene = Scene::via().await;
    scene.advertise(5, &[NodeId(2)]);
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[1; 100]].concat();
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    let mut at_b = scene.end(B).accept().await;
    scene.end(A).conn.handle.close(0, "gone");
    let (_, got, end) = read(&mut at_b).await;
    assert_eq!((got.len(), end), (100, Err(StreamError::Reset { code: 0 })));
}

/// Issue 5: what a link cannot do without fails with the link, and one stream fails alone.
#[actix::test]
async fn a_task_that_fails_is_noticed() {
    let mut plan = FaultPlan::new();
    let (stream, link) = (plan.point("plane_stream"), plan.point("plane_link"));
    let mut scene = scene(NodeType::Via, Config::default(), plan.faults()).await;
    scene.advertise(5, &[NodeId(2)]);
    let mut source = scene.end(A).open().await;
    let begin = Bytes::from([&head(5, 9).encode()[..], &[1; 100]].concat());
    source.send(&mut [begin.clone()]).await.unwrap();
    let mut at_b = scene.end(B).accept().await;
    stream.arm(1);
    source.send(&mut [Bytes::from_static(&[2; 50])]).await.unwrap();
    let (_, _, end) = read(&mut at_b).await;
    assert_eq!(end, Err(StreamError::Reset { code: 0 }));
    scene.until(|plane| plane.sizes() == (0, 0, 0)).await;
    // The link goes on.
    let mut source = scene.end(A).open().await;
    source.send(&mut [begin]).await.unwrap();
    scene.end(B).accept().await;
    link.arm(1);
    let mut another = scene.end(A).open().await;
    another.send(&mut [Bytes::from_static(b"x")]).await.unwrap();
    let ended = scene.end(A).conn.uni.accept().await;
    assert!(
        matches!(ended, Err(ConnError::Peer { code }) if code == ErrorCode::Close.number()),
        "{ended:?}"
    );
}

/// C1 of the mesh: whoever serves a track is told where it goes, and by which id.
#[actix::test]
async fn the_origin_is_told_of_its_routes() {
    struct Origin(mpsc::UnboundedSender<FullNameHash>);
    impl Actor for Origin {
        type Context = Context<Self>;
    }
    impl Handler<TrackRerouted> for Origin {
        type Result = ();
        fn handle(&mut self, msg: TrackRerouted, _: &mut Self::Context) {
            self.0.send(msg.0).ok();
        }
    }
    let mut scene = scene(NodeType::Edge, Config::default(), Faults::default()).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    scene.plane.set_targets(track(9), urgent(&[NodeId(2)]));
    scene.plane.tell_origin(Origin(tell).start().recipient());
    // What was there before is told too, once.
    assert_eq!(told.recv().await, Some(track(9)));
    let set = scene.end(B).told().await;
    assert_eq!((set.nodes(), set.origin), (&[NodeId(2)][..], Some(ME)));
    scene.plane.set_targets(track(9), urgent(&[NodeId(2), NodeId(3)]));
    let route = scene.plane.route(track(9));
    let links: Vec<_> = route.iter().map(|out| (out.link, out.sns, &*out.nodes)).collect();
    assert_eq!(
        links,
        [(B, sns(1), &[NodeId(2)][..]), (C, sns(1), &[NodeId(3)][..])]
    );
    // The FIB leads to node 3 by B now: the same set of B is larger, C goes.
    let links = [(NodeId(2), vec![B])];
    let routes = [(NodeId(2), NodeId(2)), (NodeId(3), NodeId(2))];
    scene.fib.send_replace(Fib::written(routes, links));
    assert_eq!(told.recv().await, Some(track(9)));
    let nodes = |plane: &Plane| {
        let route = plane.route(track(9));
        let of_b = route.iter().find(|out| out.link == B);
        of_b.map(|out| out.nodes.clone()).unwrap_or_default()
    };
    scene.until(|plane| nodes(plane) == [NodeId(2), NodeId(3)]).await;
    assert!(scene.plane.link(B).is_some_and(|out| out.peer == NodeId(2)));
    scene.plane.link_down(B);
    assert!(scene.plane.link(B).is_none());
    assert!(scene.plane.route(track(9)).iter().all(|out| out.link != B));
}

/// laps peering, "Data Header Messages": a laps relay gets head and SUBGROUP_HEADER in one write, and the set before it.
#[actix::test]
async fn a_laps_relay_gets_nothing_but_whole_heads() {
    let config = Config::default();
    let mut scene = scene_of(NodeType::Via, config, Faults::default(), Dialect::Laps14).await;
    scene.advertise(5, &[NodeId(2)]);
    let set = scene.end(B).told().await;
    let mut source = scene.end(A).open().await;
    let begin = [&head(5, 9).encode()[..], &[1; 10]].concat();
    source.send(&mut [Bytes::from(begin)]).await.unwrap();
    scene.until(|plane| plane.counts().forward.parked == 1).await;
    scene.plane.set_delivered(B, set.id);
    source.send(&mut [Bytes::from_static(&[1; 30])]).await.unwrap();
    let mut at_b = scene.end(B).accept().await;
    let first = at_b.receive().await.unwrap().unwrap();
    assert!(first.len() > StreamHeader::LEN, "{} bytes", first.len());
}
