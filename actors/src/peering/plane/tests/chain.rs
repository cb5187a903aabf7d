//! Three relays of ours in a row: sets and data find their way from the origin to who wants them.

use super::local::{live, subgroup};
use super::*;
use laps_protocol::relay::track_log::StreamEnd;

/// The origin, what is in between, and who wants the track.
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// A link's actor, as far as sets are concerned: what it is to tell is heard by the plane at the other end.
struct Wire {
    other: Plane,
    link: LinkId,
}

impl Actor for Wire {
    type Context = Context<Self>;
}

impl Handler<TellSets> for Wire {
    type Result = ();
    fn handle(&mut self, msg: TellSets, _: &mut Self::Context) {
        for message in msg.0 {
            if let Message::NodeSetAdvertise(set) = &message {
                self.other.advertised(self.link, set);
            }
            if let Message::NodeSetWithdraw(id) = message {
                self.other.withdrawn(self.link, id);
            }
        }
    }
}

struct Chain {
    planes: Vec<Plane>,
    _fibs: Vec<watch::Sender<Fib>>,
    _alive: Vec<Box<dyn std::any::Any>>,
}

/// Link 12 is between the first and the second, link 23 between the second and the third; `one_way` from the left to the right.
async fn chain(one_way: bool) -> Chain {
    let [first, second] = [LinkId(12), LinkId(23)];
    let tables = [
        Fib::written(
            [(NODES[1], NODES[1]), (NODES[2], NODES[1])],
            [(NODES[1], vec![first])],
        ),
        Fib::written(
            [(NODES[0], NODES[0]), (NODES[2], NODES[2])],
            [(NODES[0], vec![first]), (NODES[2], vec![second])],
        ),
        Fib::written(
            [(NODES[0], NODES[1]), (NODES[1], NODES[1])],
            [(NODES[1], vec![second])],
        ),
    ];
    let roles = [NodeType::Edge, NodeType::Via, NodeType::Edge];
    let mut chain = Chain {
        planes: Vec::new(),
        _fibs: Vec::new(),
        _alive: Vec::new(),
    };
    for ((me, role), table) in NODES.into_iter().zip(roles).zip(tables) {
        let (sender, fib) = watch::channel(table);
        let plane = Plane::new(Birth {
            me,
            role,
            fib,
            codec: Codec::Draft14,
            config: Config::default(),
            faults: Faults::default(),
            log: Logger::root(Discard, o!()),
        });
        actix_rt::spawn(plane.clone().run());
        chain.planes.push(plane);
        chain._fibs.push(sender);
    }
    for (link, [left, right]) in [(first, [0, 1]), (second, [1, 2])] {
        let Pair {
            server,
            client,
            _endpoints,
        } = pair().await;
        chain
            ._alive
            .push(Box::new((server.bidi, client.bidi, _endpoints)));
        let ends = [
            (left, right, server.handle, server.uni, server.datagrams),
            (right, left, client.handle, client.uni, client.datagrams),
        ];
        for (here, there, conn, uni, datagrams) in ends {
            let wire = Wire {
                other: chain.planes[there].clone(),
                link,
            };
            let (mut uni, mut datagrams) = (Some(uni), Some(datagrams));
            if one_way && here == left {
                chain._alive.push(Box::new((uni.take(), datagrams.take())));
            }
            chain.planes[here].link_up(LinkBirth {
                link,
                peer: NODES[there],
                stub: false,
                dialect: Dialect::Own,
                conn,
                uni,
                datagrams,
                tell: wire.start().recipient(),
            });
        }
    }
    chain
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("what was waited for did not happen");
}

/// Issue 6, "chain of 3": a set goes ahead of the data, or after it, and every stream comes to the track of who wants it,
/// once, under the name of its origin; in between nothing is left of it.
#[actix::test]
async fn data_finds_its_way_through_a_relay_in_between() {
    finds_its_way(chain(false).await).await;
}

/// Decision 0042: the same over links that bring their diallers nothing.
#[actix::test]
async fn data_finds_its_way_by_links_one_way() {
    finds_its_way(chain(true).await).await;
}

async fn finds_its_way(chain: Chain) {
    let [origin, via, edge] = &chain.planes[..] else {
        unreachable!()
    };
    let mut own = live().await;
    edge.bindings()
        .bind(track(9), Some(NODES[0]), own.binding.clone());
    origin.set_targets(track(9), urgent(&[NODES[2]]));
    let route = origin.route(track(9));
    assert_eq!((route.len(), route[0].link), (1, LinkId(12)));
    assert_eq!(route[0].nodes, [NODES[2]]);
    let out = origin.link(route[0].link).unwrap();
    for (group, len) in [10, 100_000, 1_000_000].into_iter().enumerate() {
        // Nobody has told the next relay of the set when the first stream begins.
        let mut stream = out.egress.open_uni().await.unwrap();
        let header = StreamHeader {
            sns: route[0].sns,
            ..head(1, 9)
        };
        let payload = payload(len, 9);
        let bytes = subgroup(group as u64, &payload);
        let head = Bytes::copy_from_slice(&header.encode());
        let sending = async {
            stream.send(&mut [head, bytes]).await.unwrap();
            stream.finish().unwrap();
        };
        let ((), (got, end)) = futures::join!(sending, own.stream());
        assert!(got == payload && end == StreamEnd::Fin, "{} of {len}", got.len());
    }
    until(|| via.sizes() == (0, 0, 0) && edge.sizes() == (0, 0, 0)).await;
    let counters = via.counts().forward;
    assert_eq!(
        (counters.streams, counters.lanes_finished, counters.advertised),
        (3, 3, 1)
    );
    // Nobody wants it any more: the sets go, all along the way.
    origin.set_targets(track(9), BTreeMap::new());
    until(|| via.counts().forward.withdrawn == 1).await;
    assert_eq!(origin.route(track(9)), []);
}
