//! Tables and properties of [`NodeSets`].

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::Duration;

mod ending;
mod moved;
mod properties;
mod stubs;
mod turns;

type Table = BTreeMap<NodeId, Vec<LinkId>>;

const ME: u64 = 100;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

fn sns(id: u32) -> SnsId {
    SnsId::new(id).unwrap()
}

fn track(n: u64) -> FullNameHash {
    FullNameHash::new(n).unwrap()
}

fn table(entries: &[(u64, &[u32])]) -> Table {
    let links = |links: &[u32]| links.iter().map(|link| LinkId(*link)).collect();
    let entries = entries.iter().map(|(node, to)| (NodeId(*node), links(to)));
    entries.collect()
}

/// What is said, in one line each.
fn said(output: &Output) -> String {
    let list = |nodes: &[NodeId]| {
        let nodes: Vec<String> = nodes.iter().map(|node| node.0.to_string()).collect();
        format!("[{}]", nodes.join(" "))
    };
    let name = |source: &Source| match source {
        Source::Track(track) => format!("track {}", track.get()),
        Source::Ingress(link, sns) => format!("L{}:{sns}", link.0),
    };
    match output {
        Output::Advertise { link, set } => {
            assert_eq!(set.priority, 2);
            format!("tell L{}:{} {}", link.0, set.id, list(set.nodes()))
        }
        Output::Prioritise { link, sns, priority } => format!("L{}:{sns} at {priority}", link.0),
        Output::Withdraw { link, sns } => format!("withdraw L{}:{sns}", link.0),
        Output::Route(change) => {
            let mut text = format!("route {} ->", name(&change.source));
            if change.route.is_local() {
                text.push_str(" here");
            }
            for egress in change.route.egress() {
                write!(text, " L{}:{}", egress.link.0, egress.sns).unwrap();
            }
            for joined in &change.joined {
                write!(text, ", L{} {:?}", joined.link.0, joined.cause).unwrap();
            }
            for left in &change.left {
                write!(text, ", not L{}", left.0).unwrap();
            }
            text
        }
        Output::Ended(source) => format!("end {}", name(source)),
        Output::Lost(lost) => {
            let now = |to: &Option<LinkId>| to.map_or_else(|| "-".to_owned(), |link| format!("L{}", link.0));
            let nodes: Vec<String> = lost
                .nodes
                .iter()
                .map(|(node, to)| format!("{}>{}", node.0, now(to)))
                .collect();
            format!(
                "lost {} on L{}: {}",
                name(&lost.source),
                lost.link.0,
                nodes.join(" ")
            )
        }
        Output::Back { source, nodes } => format!("back {} {}", name(source), list(nodes)),
        Output::Refused { link, sns, why } => format!("refused L{}:{sns} {why:?}", link.0),
    }
}

struct Relay {
    sets: NodeSets<Table>,
    now: Instant,
}

impl Relay {
    fn new(role: NodeType, limits: Limits, routes: &[(u64, &[u32])]) -> Self {
        Self {
            sets: NodeSets::new(NodeId(ME), role, limits, table(routes)),
            now: t0(),
        }
    }

    /// An edge with links 1, 2, 3, 4 to the peers 1, 2, 3, and 3 again.
    fn edge(routes: &[(u64, &[u32])]) -> Self {
        Self::new(NodeType::Edge, Limits::default(), routes).linked()
    }

    fn linked(mut self) -> Self {
        for (link, peer) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
            self.sets.link_up(LinkId(link), NodeId(peer), false);
        }
        self
    }

    fn targets(&mut self, name: u64, nodes: &[u64]) {
        let nodes: Vec<_> = nodes.iter().map(|node| (*node, 128)).collect();
        self.urgent_targets(name, &nodes);
    }

    fn urgent_targets(&mut self, name: u64, nodes: &[(u64, u8)]) {
        let nodes = nodes.iter().map(|(node, priority)| (NodeId(*node), *priority));
        self.sets.set_targets(track(name), nodes);
    }

    fn told(&mut self, link: u32, id: u32, nodes: &[u64]) {
        let set = NodeSet::new(sns(id), 2, nodes.iter().map(|node| NodeId(*node)));
        self.sets.advertised(LinkId(link), &set);
    }

    fn withdrawn(&mut self, link: u32, id: u32) {
        self.sets.withdrawn(LinkId(link), sns(id), self.now);
    }

    fn routes(&mut self, routes: &[(u64, &[u32])]) {
        self.sets.set_routes(table(routes));
    }

    fn after(&mut self, ms: u64) -> Vec<String> {
        self.now += Duration::from_millis(ms);
        self.drain()
    }

    fn drain(&mut self) -> Vec<String> {
        let outputs = std::iter::from_fn(|| self.sets.poll_output(self.now));
        outputs.map(|output| said(&output)).collect()
    }
}

const NOTHING: [&str; 0] = [];

/// laps peering, "SNS Advertisement": one set for each track and link, nodes in order, told before data has a route.
#[test]
fn an_origin_tells_each_link_its_nodes() {
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[2]), (7, &[2]), (6, &[2])]);
    relay.targets(5, &[7, 2, 1, 6, ME, 2]);
    assert_eq!(
        relay.drain(),
        [
            "tell L1:1 [1]",
            "tell L2:1 [2 6 7]",
            "route track 5 -> L1:1 L2:1, L1 Asked, L2 Asked"
        ]
    );
    // The next track has the next id.
    relay.targets(6, &[7]);
    assert_eq!(
        relay.drain(),
        ["tell L2:2 [7]", "route track 6 -> L2:2, L2 Asked"]
    );
    assert_eq!(relay.drain(), NOTHING);
}

/// laps peering, "FIB": the same id gets a new set, and no stream changes; one that is empty is withdrawn.
#[test]
fn nodes_come_and_go_under_the_same_id() {
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[2]), (7, &[2])]);
    relay.targets(5, &[2]);
    relay.drain();
    relay.targets(5, &[2, 7]);
    assert_eq!(relay.drain(), ["tell L2:1 [2 7]"]);
    relay.targets(5, &[1, 7]);
    assert_eq!(
        relay.drain(),
        [
            "tell L1:1 [1]",
            "tell L2:1 [7]",
            "route track 5 -> L1:1 L2:1, L1 Asked"
        ]
    );
    relay.targets(5, &[1]);
    assert_eq!(relay.drain(), ["route track 5 -> L1:1, not L2", "withdraw L2:1"]);
    relay.targets(5, &[]);
    assert_eq!(relay.drain(), ["end track 5", "withdraw L1:1"]);
    // Ids are not given again.
    relay.targets(5, &[1]);
    assert_eq!(
        relay.drain(),
        ["tell L1:2 [1]", "route track 5 -> L1:2, L1 Asked"]
    );
}

/// Decision 0029: a set says whose publishers its data comes from. An origin names itself, a relay in between copies what it
/// was told, also when that changes, and names the laps relay that it comes from, which said nothing.
#[test]
fn a_set_says_where_its_data_comes_from() {
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[2]), (7, &[2])]);
    let told = |relay: &mut Relay| {
        let outputs: Vec<Output> = std::iter::from_fn(|| relay.sets.poll_output(relay.now)).collect();
        let sets = outputs.into_iter().filter_map(|output| match output {
            Output::Advertise { link, set } => Some((link.0, set.id.get(), set.origin.map(|node| node.0))),
            Output::Prioritise { .. }
            | Output::Withdraw { .. }
            | Output::Route(_)
            | Output::Ended(_)
            | Output::Lost(_)
            | Output::Back { .. }
            | Output::Refused { .. } => None,
        });
        sets.collect::<Vec<_>>()
    };
    relay.targets(5, &[2]);
    assert_eq!(told(&mut relay), [(2, 1, Some(ME))]);
    let source = Source::Ingress(LinkId(3), sns(9));
    for origin in [None, Some(NodeId(40)), Some(NodeId(41))] {
        let set = NodeSet::new(sns(9), 2, [NodeId(1)]).from_origin(origin);
        relay.sets.advertised(LinkId(3), &set);
        assert_eq!(told(&mut relay), [(1, 1, origin.map(|node| node.0))]);
        assert_eq!(relay.sets.view(source).unwrap().origin, origin);
        relay.sets.advertised(LinkId(3), &set);
        assert_eq!(told(&mut relay), []);
    }
    // Who asks for it hears the same again, and whose an id is.
    let again: Vec<_> = relay.sets.told_on(LinkId(1)).collect();
    let set = NodeSet::new(SnsId::FIRST, 2, [NodeId(1)]).from_origin(Some(NodeId(41)));
    assert_eq!(again, [set]);
    assert_eq!(relay.sets.source_of(LinkId(1), SnsId::FIRST), Some(source));
    assert_eq!(relay.sets.source_of(LinkId(1), sns(2)), None);
    assert_eq!(
        relay.sets.assigned(Source::Track(track(5))),
        [(LinkId(2), SnsId::FIRST, vec![NodeId(2)])]
    );
    assert_eq!(relay.sets.assigned(Source::Track(track(6))), []);
    relay.sets.link_up(LinkId(5), NodeId(5), true);
    relay
        .sets
        .advertised(LinkId(5), &NodeSet::new(sns(9), 2, [NodeId(1)]));
    assert_eq!(told(&mut relay), [(1, 2, Some(5))]);
}

/// MOQT-14 §7.2 [D14-PRIO-1]: what leaves by a link is as urgent as to the most urgent node behind it, a peer is told how
/// urgent to each, and a change keeps the id and the route. A relay in between does with that as the origin did.
#[test]
fn each_link_is_as_urgent_as_who_is_behind_it() {
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[2]), (7, &[2]), (6, &[2])]);
    let told = |relay: &Relay, link| {
        let sets: Vec<_> = relay.sets.told_on(LinkId(link)).collect();
        let nodes = sets.iter().flat_map(NodeSet::with_priorities);
        nodes
            .map(|(node, priority)| (node.0, priority))
            .collect::<Vec<_>>()
    };
    relay.urgent_targets(5, &[(7, 20), (2, 255), (1, 128), (6, 128), (6, 30), (ME, 0)]);
    let first = [
        "tell L1:1 [1]",
        "L2:1 at 20",
        "tell L2:1 [2 6 7]",
        "route track 5 -> L1:1 L2:1, L1 Asked, L2 Asked",
    ];
    assert_eq!(relay.drain(), first);
    assert_eq!(told(&relay, 1), [(1, 128)]);
    assert_eq!(told(&relay, 2), [(2, 255), (6, 30), (7, 20)]);
    // One that is not the most urgent changes nothing here, but further on.
    relay.urgent_targets(5, &[(7, 20), (2, 100), (1, 128), (6, 30)]);
    assert_eq!(relay.drain(), ["tell L2:1 [2 6 7]"]);
    relay.urgent_targets(5, &[(7, 200), (2, 100), (1, 0), (6, 30)]);
    let changed = ["L1:1 at 0", "tell L1:1 [1]", "L2:1 at 30", "tell L2:1 [2 6 7]"];
    assert_eq!(relay.drain(), changed);
    relay.urgent_targets(5, &[(7, 200), (2, 100), (1, 0), (6, 30)]);
    assert_eq!(relay.drain(), NOTHING);
    // The same as told by a peer, which is behind neither.
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[2]), (7, &[2])]);
    for (priorities, said) in [
        (
            [9, 200, 20],
            &["L1:1 at 9", "tell L1:1 [1]", "L2:1 at 20", "tell L2:1 [2 7]"][..],
        ),
        ([9, 128, 128], &["L2:1 at 128", "tell L2:1 [2 7]"]),
        ([9, 128, 128], &[]),
    ] {
        let nodes = [1, 2, 7].map(NodeId).into_iter().zip(priorities);
        relay.sets.advertised(LinkId(3), &NodeSet::urgent(sns(9), nodes));
        let mut all = relay.drain();
        all.retain(|said| !said.starts_with("route"));
        assert_eq!(all, said);
    }
}

/// A laps relay hears of no priorities, and nothing twice; what leaves for it is as urgent as it is to it all the same.
#[test]
fn laps_relays_are_not_told_of_priorities() {
    let mut relay = Relay::new(NodeType::Edge, Limits::default(), &[(1, &[1])]);
    relay.sets.link_up(LinkId(1), NodeId(1), true);
    relay.urgent_targets(5, &[(1, 9)]);
    assert_eq!(relay.drain()[..2], ["L1:1 at 9", "tell L1:1 [1]"]);
    relay.urgent_targets(5, &[(1, 7)]);
    assert_eq!(relay.drain(), ["L1:1 at 7"]);
}

/// Issue 6: several changes in one turn are one advertisement.
#[test]
fn changes_in_a_row_are_told_once() {
    let mut relay = Relay::edge(&[(1, &[1]), (2, &[1]), (3, &[1]), (4, &[1])]);
    for last in 1..=4 {
        relay.targets(5, &(1..=last).collect::<Vec<_>>());
        relay.told(2, 9, &(1..=last).collect::<Vec<_>>());
    }
    assert_eq!(
        relay.drain(),
        [
            "tell L1:1 [1 2 3 4]",
            "route track 5 -> L1:1, L1 Asked",
            "tell L1:2 [1 2 3 4]",
            "route L2:9 -> L1:2, L1 Asked"
        ]
    );
    relay.targets(5, &[1]);
    relay.targets(5, &[1, 2, 3, 4]);
    relay.told(2, 9, &[4, 3, 2, 1]);
    assert_eq!(relay.drain(), NOTHING);
    // Gone and back in one turn.
    relay.targets(5, &[]);
    relay.targets(5, &[1, 2]);
    assert_eq!(relay.drain(), ["tell L1:1 [1 2]"]);
    let counters = relay.sets.counters();
    assert_eq!((counters.advertised, counters.withdrawn), (3, 0));
}

/// laps peering, "FIB": in -> out ids on a relay in the middle; self in the set means its own subscribers.
#[test]
fn a_relay_in_the_middle_hands_on_what_it_was_told() {
    let mut relay = Relay::edge(&[(2, &[2]), (3, &[3]), (8, &[2])]);
    relay.told(1, 77, &[8, ME, 3, 2]);
    assert_eq!(
        relay.drain(),
        [
            "tell L2:1 [2 8]",
            "tell L3:1 [3]",
            "route L1:77 -> here L2:1 L3:1, L2 Asked, L3 Asked"
        ]
    );
    // The same nodes from another peer are another source: each has one publisher.
    relay.told(2, 77, &[ME, 3]);
    assert_eq!(
        relay.drain(),
        ["tell L3:2 [3]", "route L2:77 -> here L3:2, L3 Asked"]
    );
    relay.told(1, 77, &[3, 2]);
    assert_eq!(relay.drain(), ["tell L2:1 [2]", "route L1:77 -> L2:1 L3:1"]);
    relay.withdrawn(1, 77);
    assert_eq!(relay.after(9_999), NOTHING);
    assert_eq!(relay.after(1), ["end L1:77", "withdraw L2:1", "withdraw L3:1"]);
    relay.withdrawn(1, 77);
    relay.withdrawn(9, 77);
    assert_eq!((relay.drain().len(), relay.sets.counters().sets_unknown), (0, 2));
}

/// Issue 6: "never sent back on the link it came from", nor on another one to the same peer.
#[test]
fn nothing_goes_back() {
    let mut relay = Relay::edge(&[(2, &[2]), (3, &[3, 4]), (5, &[1])]);
    relay.told(4, 1, &[2, 3]);
    relay.told(1, 1, &[5, 1]);
    assert_eq!(
        relay.drain(),
        ["route L1:1 ->", "tell L2:1 [2]", "route L4:1 -> L2:1, L2 Asked"]
    );
    assert_eq!(relay.sets.stranded(), 3);
    // No link leads to node 1 at all; those to 3 and 5 lead back.
    assert_eq!(
        (
            relay.sets.counters().loops_cut,
            relay.sets.counters().nodes_stranded
        ),
        (2, 3)
    );
    relay.routes(&[(2, &[2]), (3, &[2]), (5, &[1])]);
    assert_eq!(relay.drain(), ["tell L2:1 [2 3]"]);
    assert_eq!(relay.sets.stranded(), 2);
    assert_eq!(
        relay
            .sets
            .view(Source::Ingress(LinkId(1), sns(1)))
            .unwrap()
            .stranded
            .len(),
        2
    );
}

/// Issue 6: "nodes no route leads to are kept and re-tried when routes change".
#[test]
fn who_cannot_be_reached_is_tried_again() {
    let mut relay = Relay::edge(&[]);
    relay.targets(5, &[1, 8]);
    assert_eq!(relay.drain(), ["route track 5 ->"]);
    relay.routes(&[(8, &[2, 9])]);
    assert_eq!(
        relay.drain(),
        ["tell L2:1 [8]", "route track 5 -> L2:1, L2 Asked"]
    );
    // The table may know of a link before it is up here.
    relay.routes(&[(8, &[2]), (1, &[9])]);
    assert_eq!((relay.drain().len(), relay.sets.stranded()), (0, 1));
    relay.sets.link_up(LinkId(9), NodeId(9), false);
    assert_eq!(
        relay.drain(),
        ["tell L9:1 [1]", "route track 5 -> L2:1 L9:1, L9 Asked"]
    );
    relay.routes(&[(1, &[9])]);
    assert_eq!(relay.drain(), ["route track 5 -> L9:1, not L2", "withdraw L2:1"]);
    assert_eq!(
        (relay.sets.stranded(), relay.sets.counters().nodes_stranded),
        (1, 3)
    );
}

/// laps peering, "Via" and "Stub": a Via has no subscribers, a Stub hands nothing on, an edge hands its stubs what it
/// has.
#[test]
fn roles_differ() {
    let mut via = Relay::new(NodeType::Via, Limits::default(), &[(2, &[2])]).linked();
    via.told(1, 1, &[ME, 2]);
    assert_eq!(via.drain(), ["tell L2:1 [2]", "route L1:1 -> L2:1, L2 Asked"]);
    assert_eq!(via.sets.stranded(), 1);
    let mut stub = Relay::new(NodeType::Stub, Limits::default(), &[(1, &[1]), (2, &[2])]).linked();
    stub.told(1, 1, &[ME, 2]);
    stub.targets(5, &[1]);
    assert_eq!(
        stub.drain(),
        [
            "tell L1:1 [1]",
            "route track 5 -> L1:1, L1 Asked",
            "route L1:1 -> here"
        ]
    );
    // The edge is named by others, and names the stub to nobody but the stub.
    let mut edge = Relay::edge(&[(2, &[2])]);
    edge.told(1, 1, &[ME]);
    edge.targets(5, &[2]);
    assert_eq!(
        edge.drain(),
        [
            "tell L2:1 [2]",
            "route track 5 -> L2:1, L2 Asked",
            "route L1:1 -> here"
        ]
    );
}

/// Issue 6: a better path or a drain: new streams take the new link, the old peer knows what is under way to it.
#[test]
fn a_planned_change_lets_streams_finish() {
    let mut relay = Relay::edge(&[(7, &[1]), (8, &[1])]);
    relay.targets(5, &[7, 8]);
    relay.drain();
    relay.routes(&[(7, &[2]), (8, &[2])]);
    assert_eq!(
        relay.drain(),
        ["tell L2:1 [7 8]", "route track 5 -> L2:1, L2 Moved, not L1"]
    );
    assert_eq!(
        relay.sets.poll_timeout(),
        Some(relay.now + Duration::from_secs(1))
    );
    assert_eq!(relay.after(999), NOTHING);
    assert_eq!(relay.after(1), ["withdraw L1:1"]);
    assert_eq!(relay.sets.counters().nodes_moved, 2);
    // Part of a set.
    relay.routes(&[(7, &[2]), (8, &[3])]);
    assert_eq!(
        relay.drain(),
        ["tell L3:1 [8]", "route track 5 -> L2:1 L3:1, L3 Moved"]
    );
    assert_eq!(relay.after(1000), ["tell L2:1 [7]"]);
    // Who wants nothing any more is out at once, wherever it stands.
    relay.routes(&[(7, &[1]), (8, &[1])]);
    assert_eq!(
        relay.drain(),
        [
            "tell L1:2 [7 8]",
            "route track 5 -> L1:2, L1 Moved, not L2, not L3"
        ]
    );
    relay.targets(5, &[7]);
    assert_eq!(relay.drain(), ["tell L1:2 [7]", "withdraw L3:1"]);
    assert_eq!(relay.after(1000), ["withdraw L2:1"]);
    assert_eq!((relay.after(9000).len(), relay.sets.poll_timeout()), (0, None));
}

/// A set that the new peer has already: it may get data before it has read that the set became larger, so new streams
/// take both links until it surely has.
#[test]
fn a_move_into_a_set_overlaps() {
    let mut relay = Relay::edge(&[(7, &[1]), (8, &[2])]);
    relay.targets(5, &[7, 8]);
    relay.drain();
    relay.routes(&[(7, &[2]), (8, &[2])]);
    assert_eq!(relay.drain(), ["tell L2:1 [7 8]"]);
    assert_eq!(relay.after(499), NOTHING);
    assert_eq!(relay.after(1), ["route track 5 -> L2:1, not L1"]);
    // Back before the old peer forgot. It knows the node still, but nobody can be sure: both again.
    relay.routes(&[(7, &[1]), (8, &[2])]);
    assert_eq!(relay.drain(), ["route track 5 -> L1:1 L2:1, L1 Moved"]);
    assert_eq!(relay.after(1000), ["tell L2:1 [8]"]);
    assert_eq!(relay.sets.poll_timeout(), None);
    // No link is kept for who leaves, or for one that is dead.
    relay.routes(&[(7, &[2]), (8, &[2])]);
    assert_eq!(relay.drain(), ["tell L2:1 [7 8]"]);
    relay.targets(5, &[8]);
    assert_eq!(
        relay.drain(),
        ["tell L2:1 [8]", "route track 5 -> L2:1, not L1", "withdraw L1:1"]
    );
    relay.targets(5, &[7, 8]);
    relay.routes(&[(7, &[3]), (8, &[2])]);
    relay.drain();
    relay.sets.link_down(LinkId(3));
    relay.routes(&[(7, &[2]), (8, &[2])]);
    assert_eq!(
        relay.drain(),
        [
            "tell L2:1 [7 8]",
            "lost track 5 on L3: 7>L2",
            "route track 5 -> L2:1, not L3"
        ]
    );
}

/// Issue 6: a dead link says which track lost streams on it, and which link goes on from the cache.
#[test]
fn a_dead_link_is_replaced() {
    let mut relay = Relay::edge(&[(7, &[1]), (8, &[1]), (9, &[1]), (3, &[3])]);
    relay.targets(5, &[7, 8, 9]);
    relay.targets(6, &[3]);
    relay.told(1, 4, &[3, ME]);
    relay.told(2, 4, &[7]);
    relay.drain();
    relay.sets.link_down(LinkId(1));
    relay.routes(&[(7, &[2]), (8, &[3]), (3, &[3])]);
    assert_eq!(
        relay.drain(),
        [
            "end L1:4",
            "withdraw L3:2",
            "tell L2:1 [7]",
            "tell L3:3 [8]",
            "lost track 5 on L1: 7>L2 8>L3 9>-",
            "route track 5 -> L2:1 L3:3, L2 Died, L3 Died, not L1",
            "lost L2:4 on L1: 7>-",
            "route L2:4 ->, not L1"
        ]
    );
    assert_eq!(relay.sets.counters().nodes_lost, 4);
    relay.sets.link_down(LinkId(1));
    assert_eq!(relay.drain(), NOTHING);
}

/// Issue 6, "Failover": what came while no link led to a node is missing there, and nobody else sees that; so it is said when
/// one does again, once. Who never had a link, or is not wanted any more, misses nothing.
#[test]
fn who_was_without_a_link_is_back() {
    let mut relay = Relay::edge(&[(7, &[1]), (8, &[1])]);
    relay.told(2, 4, &[7, 8, 9]);
    assert_eq!(relay.drain(), ["tell L1:1 [7 8]", "route L2:4 -> L1:1, L1 Asked"]);
    // What comes from a peer does not go back to it.
    relay.routes(&[(7, &[2]), (8, &[1])]);
    assert_eq!(relay.drain(), ["tell L1:1 [8]"]);
    relay.routes(&[(7, &[1]), (8, &[1]), (9, &[1])]);
    assert_eq!(relay.drain(), ["tell L1:1 [7 8 9]", "back L2:4 [7]"]);
    relay.sets.link_down(LinkId(1));
    assert_eq!(
        relay.drain(),
        ["lost L2:4 on L1: 7>- 8>- 9>-", "route L2:4 ->, not L1"]
    );
    relay.routes(&[]);
    assert_eq!(relay.drain(), NOTHING);
    relay.told(2, 4, &[7, 9]);
    assert_eq!(relay.drain(), NOTHING);
    relay.told(2, 4, &[7, 8, 9]);
    relay.routes(&[(7, &[3]), (8, &[3])]);
    assert_eq!(
        relay.drain(),
        ["tell L3:1 [7 8]", "route L2:4 -> L3:1, L3 Asked", "back L2:4 [7]"]
    );
    relay.routes(&[(7, &[3]), (8, &[3]), (9, &[3])]);
    assert_eq!(relay.drain(), ["tell L3:1 [7 8 9]", "back L2:4 [9]"]);
    assert_eq!(relay.drain(), NOTHING);
}

/// Issue 6, "Failover": what is open on a link that was left a moment ago goes on there, so its death is said too.
#[test]
fn a_link_that_was_left_dies() {
    let mut relay = Relay::edge(&[(7, &[1]), (8, &[3])]);
    relay.targets(5, &[7, 8]);
    relay.drain();
    relay.routes(&[(7, &[2]), (8, &[3])]);
    assert_eq!(
        relay.drain(),
        ["tell L2:1 [7]", "route track 5 -> L2:1 L3:1, L2 Moved, not L1"]
    );
    relay.sets.link_down(LinkId(1));
    assert_eq!(relay.drain(), ["lost track 5 on L1: 7>L2"]);
    relay.routes(&[(7, &[1]), (8, &[2])]);
    relay.drain();
    assert!(!relay.after(1000).iter().any(|line| line.starts_with("lost")));
    relay.sets.link_down(LinkId(3));
    assert_eq!(relay.drain(), NOTHING);
}

/// A laps relay drops data of sets that it does not know yet: nothing goes there before it has read them, and the link
/// before goes on until then.
#[test]
fn laps_relays_read_the_set_first() {
    let mut relay = Relay::edge(&[(5, &[5]), (1, &[1])]);
    relay.sets.link_up(LinkId(5), NodeId(5), true);
    relay.targets(5, &[5, 1]);
    assert_eq!(
        relay.drain(),
        [
            "tell L1:1 [1]",
            "tell L5:1 [5]",
            "route track 5 -> L1:1, L1 Asked"
        ]
    );
    relay.sets.set_delivered(LinkId(5), sns(2));
    relay.sets.set_delivered(LinkId(6), sns(1));
    assert_eq!(relay.drain(), NOTHING);
    relay.sets.set_delivered(LinkId(5), sns(1));
    relay.sets.set_delivered(LinkId(1), sns(1));
    assert_eq!(relay.drain(), ["route track 5 -> L1:1 L5:1, L5 Asked"]);
    // Moved to it, with a set that it has to read first.
    relay.targets(6, &[1]);
    relay.drain();
    relay.routes(&[(5, &[5]), (1, &[5])]);
    assert_eq!(relay.drain(), ["tell L5:1 [1 5]", "tell L5:2 [1]"]);
    relay.sets.set_delivered(LinkId(5), sns(2));
    assert_eq!(relay.drain(), ["route track 6 -> L5:2, L5 Moved, not L1"]);
    assert_eq!(relay.after(500), ["route track 5 -> L5:1, not L1"]);
    assert_eq!(relay.after(500), ["withdraw L1:1", "withdraw L1:2"]);
}

/// What a peer sends waits for laps relays as a whole, so that its first streams go everywhere; but not for long.
#[test]
fn the_first_route_waits_for_laps_relays() {
    let mut relay = Relay::edge(&[(5, &[5]), (2, &[2])]);
    relay.sets.link_up(LinkId(5), NodeId(5), true);
    relay.told(1, 1, &[2, 5, ME]);
    relay.told(1, 2, &[2, 5]);
    assert_eq!(
        relay.drain(),
        ["tell L2:1 [2]", "tell L5:1 [5]", "tell L2:2 [2]", "tell L5:2 [5]"]
    );
    relay.sets.set_delivered(LinkId(5), sns(2));
    assert_eq!(relay.drain(), ["route L1:2 -> L2:2 L5:2, L2 Asked, L5 Asked"]);
    assert_eq!(relay.after(999), NOTHING);
    assert_eq!(relay.after(1), ["route L1:1 -> here L2:1, L2 Asked"]);
    relay.sets.set_delivered(LinkId(5), sns(1));
    assert_eq!(relay.drain(), ["route L1:1 -> here L2:1 L5:1, L5 Asked"]);
    // Ended before it ever had a route.
    relay.told(1, 3, &[5]);
    relay.drain();
    relay.withdrawn(1, 3);
    assert_eq!(relay.drain(), NOTHING);
    assert_eq!(relay.after(10_000).last().unwrap(), "withdraw L5:3");
}

/// What a set needs is kept for streams behind its withdrawal; an id that is told again stands for something else at once.
#[test]
fn a_withdrawn_set_serves_its_last_streams() {
    let mut relay = Relay::edge(&[(2, &[2]), (3, &[3])]);
    relay.told(1, 7, &[2]);
    assert_eq!(relay.drain(), ["tell L2:1 [2]", "route L1:7 -> L2:1, L2 Asked"]);
    relay.withdrawn(1, 7);
    relay.withdrawn(1, 7);
    assert_eq!((relay.drain().len(), relay.sets.counters().sets_unknown), (0, 1));
    // It follows the links meanwhile.
    relay.routes(&[(2, &[3]), (3, &[3])]);
    assert_eq!(relay.drain()[0], "tell L3:1 [2]");
    relay.told(1, 7, &[3]);
    let told = relay.drain();
    assert_eq!(told[0], "end L1:7");
    assert_eq!(told.last().unwrap(), "route L1:7 -> L3:2, L3 Asked");
    assert_eq!(relay.after(20_000), NOTHING);
    relay.withdrawn(1, 7);
    assert_eq!(relay.after(10_000), ["end L1:7", "withdraw L3:2"]);
}

/// laps peering, "Source Routing": behind the largest id comes one, zero never, and none that is in use.
#[test]
fn ids_wrap() {
    let mut relay = Relay::edge(&[(1, &[1])]);
    let ids = |relay: &mut Relay| {
        let ids = relay.drain().into_iter();
        let ids =
            ids.filter_map(|line| Some(line.strip_prefix("tell L1:")?.trim_end_matches(" [1]").to_owned()));
        ids.collect::<Vec<_>>()
    };
    for name in 1..=3 {
        relay.targets(name, &[1]);
    }
    assert_eq!(ids(&mut relay), ["1", "2", "3"]);
    relay.targets(2, &[]);
    relay.drain();
    let link = relay.sets.links.get_mut(&LinkId(1)).unwrap();
    link.count_from(sns(u32::MAX - 1));
    for name in 4..=8 {
        relay.targets(name, &[1]);
    }
    assert_eq!(ids(&mut relay), ["4294967294", "4294967295", "2", "4", "5"]);
}

/// Issue 6, "a peer that advertises a million nodes": bounded, told once, counted; what was taken before stays.
#[test]
fn a_peer_has_so_much_and_no_more() {
    let limits = Limits {
        max_sets_per_link: 3,
        max_set_nodes: 4,
        max_nodes_per_link: 8,
        ..Limits::default()
    };
    let mut relay = Relay::new(NodeType::Edge, limits, &[(2, &[2])]).linked();
    relay.told(1, 1, &[2, 3]);
    relay.drain();
    relay.told(1, 1, &[2, 3, 4, 5, 6]);
    relay.told(1, 2, &[2, 3, 4, 5, 6]);
    assert_eq!(relay.drain(), ["refused L1:1 Nodes"]);
    relay.told(1, 2, &[2, 3, 4, 5]);
    relay.told(1, 3, &[2, 3, 4]);
    relay.told(1, 3, &[2, 3]);
    relay.told(1, 4, &[]);
    relay.told(1, 5, &[2]);
    assert_eq!(
        relay.drain(),
        [
            "refused L1:3 LinkNodes",
            "refused L1:4 Sets",
            "tell L2:2 [2]",
            "route L1:2 -> L2:2, L2 Asked",
            "tell L2:3 [2]",
            "route L1:3 -> L2:3, L2 Asked"
        ]
    );
    let view = relay.sets.view(Source::Ingress(LinkId(1), sns(1))).unwrap();
    assert_eq!(view.wanted, [NodeId(2), NodeId(3)]);
    assert_eq!(
        (
            relay.sets.counters().sets_refused,
            relay.sets.counters().sets_taken
        ),
        (5, 3)
    );
    // Room on the way out is bounded too, and given to who waits for it.
    relay.targets(9, &[2]);
    assert_eq!(relay.drain(), ["route track 9 ->"]);
    assert_eq!(relay.sets.counters().nodes_crowded_out, 1);
    relay.withdrawn(1, 2);
    assert_eq!(
        relay.after(10_000),
        [
            "end L1:2",
            "withdraw L2:2",
            "tell L2:4 [2]",
            "route track 9 -> L2:4, L2 Asked"
        ]
    );
    relay.told(1, 2, &[2, 3, 4, 5]);
    assert_eq!(relay.drain(), ["route L1:2 ->"]);
    // What only waits for its end makes room at once.
    relay.withdrawn(1, 2);
    relay.told(1, 8, &[2, 3, 4, 5]);
    assert_eq!(relay.drain(), ["end L1:2", "route L1:8 ->"]);
    relay.withdrawn(1, 8);
    relay.told(1, 2, &[2, 3, 4, 5]);
    relay.drain();
    // A set has so many nodes, the rest waits.
    let routes: Vec<(u64, &[u32])> = (20..26).map(|node| (node, &[3_u32][..])).collect();
    relay.routes(&routes);
    relay.drain();
    relay.targets(10, &[20, 21, 22, 23, 24, 25]);
    assert_eq!(
        relay.drain(),
        ["tell L3:1 [20 21 22 23]", "route track 10 -> L3:1, L3 Asked"]
    );
}

/// Equally good links share the tracks; one track keeps to one of them.
#[test]
fn parallel_links_share_the_tracks() {
    let mut relay = Relay::edge(&[(3, &[3, 4]), (8, &[3, 4])]);
    for name in 0..64 {
        relay.targets(name, &[3, 8]);
    }
    relay.drain();
    let by_link = |relay: &Relay| {
        let mut by_link = BTreeMap::<u32, usize>::new();
        for source in relay.sets.sources() {
            let told = relay.sets.view(source).unwrap().told;
            let [(link, _, nodes, 0)] = told[..] else {
                panic!("{told:?}")
            };
            assert_eq!(nodes.len(), 2);
            *by_link.entry(link.0).or_default() += 1;
        }
        by_link
    };
    let both = by_link(&relay);
    assert!(both[&3] > 16 && both[&4] > 16, "{both:?}");
    // When one dies, those of the other stay where they are.
    relay.sets.link_down(LinkId(4));
    let told = relay
        .drain()
        .iter()
        .filter(|line| line.starts_with("tell"))
        .count();
    assert_eq!((told, by_link(&relay)[&3]), (both[&4], 64));
}

/// laps peering, "FIB": the table that the information bases make is asked.
#[test]
fn the_fib_says_which_links_lead_to_a_node() {
    let mut fib = crate::peering::fib::Fib::default();
    fib.set_links(NodeId(2), &[LinkId(2)]);
    fib.set_route(NodeId(8), Some(NodeId(2)));
    let mut sets = NodeSets::new(
        NodeId(ME),
        NodeType::Edge,
        Limits::default(),
        Arc::new(fib.clone()),
    );
    sets.link_up(LinkId(2), NodeId(2), false);
    sets.set_targets(track(5), [8, 9].map(|node| (NodeId(node), 128)));
    let now = t0();
    let drain = |sets: &mut NodeSets<_>| {
        std::iter::from_fn(|| sets.poll_output(now))
            .map(|output| said(&output))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        drain(&mut sets),
        ["tell L2:1 [8]", "route track 5 -> L2:1, L2 Asked"]
    );
    fib.set_route(NodeId(9), Some(NodeId(2)));
    sets.set_routes(Arc::new(fib));
    assert_eq!(drain(&mut sets), ["tell L2:1 [8 9]"]);
}
