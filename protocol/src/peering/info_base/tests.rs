//! One relay and what it is told.

mod many_stubs;
mod ways;

use super::ledger::{How, Said, Verdict, judge};
use super::*;
use crate::moqt::message::RequestId;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::peering::hash::TrackHash;
use crate::peering::message::{
    Dialect, PeerMode, PublishInfo, Published, Sequence, SubscribeInfo, encode_subscribe_data, laps_subscribe,
};
use crate::peering::node::{NodeInfo, PathItem};
use bytes::Bytes;
use proptest::prelude::*;

#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

const fn id(low: u64) -> NodeId {
    NodeId(1 << 32 | low)
}

fn info(low: u64, kind: NodeType) -> NodeInfo {
    NodeInfo::new(id(low), kind, Bytes::from(format!("relay-{low}")))
}

fn far(low: u64, path: &[(u64, u64)]) -> NodeInfo {
    let hops = path.iter().map(|(node, ms)| PathItem {
        node: id(*node),
        srtt_us: ms * 1000,
    });
    NodeInfo {
        path: hops.collect(),
        ..info(low, NodeType::Edge)
    }
}

fn namespace(text: &str) -> TrackNamespace {
    TrackNamespace::new(
        text.split('/')
            .map(|field| Bytes::copy_from_slice(field.as_bytes())),
    )
    .unwrap()
}

fn track(text: &str, name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace(text), Bytes::from_static(name.as_bytes())).unwrap()
}

fn data(track: &FullTrackName, priority: u8) -> Bytes {
    let subscribe = laps_subscribe(track.clone(), priority, None);
    encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap()
}

fn subscription(source: u64, track: &FullTrackName, sequence: u16) -> SubscribeInfo {
    SubscribeInfo {
        sequence: Sequence(sequence),
        source: id(source),
        track: TrackHash::of(track),
        data: data(track, 1),
    }
}

/// A relay with the id 1, and what it did since it was asked last.
struct Desk {
    now: Instant,
    base: InfoBase,
}

impl Desk {
    fn new(role: NodeType) -> Self {
        Self::with(role, Limits::default())
    }

    fn with(role: NodeType, limits: Limits) -> Self {
        Self::of(1, role, limits)
    }

    fn of(low: u64, role: NodeType, limits: Limits) -> Self {
        let now = t0();
        let base = InfoBase::new(id(low), role, 7, Settings::default(), limits, now);
        Self { now, base }
    }

    /// A link with the number of the node that it goes to.
    fn link(&mut self, low: u32, kind: NodeType, kin: Kin, ms: u64) -> Vec<Output> {
        self.link_for(low, u64::from(low), kind, kin, ms, PeerMode::Both)
    }

    fn link_for(
        &mut self,
        link: u32,
        low: u64,
        kind: NodeType,
        kin: Kin,
        ms: u64,
        mode: PeerMode,
    ) -> Vec<Output> {
        let up = LinkUp {
            node: info(low, kind),
            mode,
            kin,
            srtt_us: ms * 1000,
        };
        self.base.link_up(self.now, LinkId(link), up);
        self.drain()
    }

    fn hear(&mut self, link: u32, message: Message) -> Vec<Output> {
        self.hear_stamped(link, message, Stamp::of_life(9))
    }

    fn hear_stamped(&mut self, link: u32, message: Message, stamp: Stamp) -> Vec<Output> {
        self.base.handle_message(self.now, LinkId(link), message, stamp);
        self.drain()
    }

    fn command(&mut self, command: Command) -> Vec<Output> {
        self.base.command(self.now, command).unwrap();
        self.drain()
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut out = Vec::new();
        while let Some(at) = self.base.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.base.handle_timeout(self.now);
            out.extend(self.drain());
        }
        self.now = end;
        out
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.base.poll_output()).collect()
    }
}

/// Nodes and milliseconds.
type Path = Vec<(u64, u64)>;

/// Node infos that were sent: link, id of the node, its path, or none where it is withdrawn.
fn nodes(out: &[Output]) -> Vec<(u32, u64, Option<Path>)> {
    let path = |info: &NodeInfo| {
        info.path
            .iter()
            .map(|item| (item.node.0 & 0xff, item.srtt_us / 1000))
            .collect()
    };
    let found = out.iter().filter_map(|output| match output {
        Output::Send {
            link,
            message: Message::NodeInfoAdvertise(info),
            ..
        } => Some((link.0, info.id.0 & 0xff, Some(path(info)))),
        Output::Send {
            link,
            message: Message::NodeInfoWithdraw(info),
            ..
        } => Some((link.0, info.id.0 & 0xff, None)),
        _ => None,
    });
    found.collect()
}

/// Infos that were sent: link, whether it is an advertisement, its number.
fn infos(out: &[Output]) -> Vec<(u32, bool, u16)> {
    let found = out.iter().filter_map(|output| match output {
        Output::Send { link, message, stamp } => match message {
            Message::SubscribeInfoAdvertise(_) | Message::PublishInfoAdvertise(_) => {
                Some((link.0, true, stamp.sequence.0))
            }
            Message::SubscribeInfoWithdraw(_) | Message::PublishInfoWithdraw(_) => {
                Some((link.0, false, stamp.sequence.0))
            }
            _ => None,
        },
        _ => None,
    });
    found.collect()
}

const EDGE: NodeType = NodeType::Edge;
const OURS: Kin = Kin::Ours(9);

/// laps peering, "Node Path": node 1:2 tells 1:3 of 1:1 with its own id and the time of the session on which it was
/// received, not the id of the node, as a real laps relay does.
#[test]
fn a_node_is_handed_on_with_this_relay_on_its_path() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 25);
    let out = desk.link(3, EDGE, OURS, 50);
    assert_eq!(
        nodes(&out),
        [(3, 2, Some(vec![(1, 25)])), (2, 3, Some(vec![(1, 50)]))]
    );
    let out = desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(2, 5)])));
    assert_eq!(nodes(&out), [(3, 4, Some(vec![(2, 5), (1, 25)]))]);
    // The same again is nothing; a way through this relay is none, and reported once; of itself it does not hear.
    assert_eq!(desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(2, 5)]))), []);
    let kind = ReportKind::Loop;
    let report = Output::Report(Report::Link {
        link: LinkId(3),
        kind,
    });
    for (ms, reports) in [(50, vec![report]), (51, vec![])] {
        let round = far(4, &[(2, 5), (1, 25), (3, ms)]);
        assert_eq!(desk.hear(3, Message::NodeInfoAdvertise(round)), reports);
    }
    assert_eq!(desk.hear(3, Message::NodeInfoAdvertise(far(1, &[(3, 50)]))), []);
    let counters = desk.base.counters();
    assert_eq!((counters.duplicates, counters.loops, counters.echoes), (1, 2, 1));
    let out = desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 5)])));
    assert_eq!(nodes(&out), [(3, 4, None)]);
    assert!(out.contains(&Output::NodeUnreachable { node: id(4) }));
}

/// laps peering, "Node Information Advertisement Message": several updates become one; news and withdrawals do not wait.
#[test]
fn changes_of_a_way_wait_for_the_interval() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    desk.link(3, EDGE, OURS, 10);
    let told = |out: Vec<Output>| nodes(&out);
    let path = |ms| Message::NodeInfoAdvertise(far(4, &[(2, ms)]));
    assert_eq!(told(desk.hear(2, path(5))), [(3, 4, Some(vec![(2, 5), (1, 10)]))]);
    for ms in [6, 7, 8] {
        assert_eq!(told(desk.hear(2, path(ms))), []);
    }
    assert_eq!(told(desk.pass(Duration::from_millis(1999))), []);
    assert_eq!(
        told(desk.pass(Duration::from_millis(1))),
        [(3, 4, Some(vec![(2, 8), (1, 10)]))]
    );
    assert_eq!(told(desk.hear(2, path(9))), []);
    // Back to what was told: nothing to tell.
    assert_eq!(told(desk.hear(2, path(8))), []);
    assert_eq!(told(desk.pass(Duration::from_secs(9))), []);
    assert_eq!(told(desk.hear(2, path(9))).len(), 1);
    let gone = Message::NodeInfoWithdraw(far(4, &[(2, 9)]));
    assert_eq!(told(desk.hear(2, gone)), [(3, 4, None)]);
}

#[test]
fn a_wobbling_round_trip_time_ripples_nothing() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 50);
    desk.link(3, EDGE, OURS, 50);
    desk.pass(Duration::from_secs(5));
    for us in [45_500, 54_500, 50_100, 47_000] {
        desk.base.link_srtt(desk.now, LinkId(2), us);
        assert_eq!(desk.drain(), []);
    }
    desk.base.link_srtt(desk.now, LinkId(2), 60_000);
    assert_eq!(nodes(&desk.drain()), [(3, 2, Some(vec![(1, 60)]))]);
}

/// laps peering, "Node ID": only the first (oldest) will work.
#[test]
fn who_comes_second_with_an_id_is_refused() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(2, 5)])));
    let stranger = |low: u64| LinkUp {
        node: NodeInfo::new(id(low), EDGE, Bytes::from_static(b"a stranger")),
        mode: PeerMode::Both,
        kin: OURS,
        srtt_us: 1,
    };
    let mut refused = |low, link| {
        desk.base.link_up(desk.now, LinkId(link), stranger(low));
        desk.drain()
    };
    let refusal = |link, reason| {
        [Output::Refused {
            link: LinkId(link),
            reason,
        }]
    };
    assert_eq!(refused(2, 20), refusal(20, RefuseReason::DuplicateNodeId));
    assert_eq!(refused(4, 21), refusal(21, RefuseReason::DuplicateNodeId));
    assert_eq!(refused(1, 22), refusal(22, RefuseReason::OurOwnId));
    // A stranger that others tell of: it does not count, and is reported once.
    desk.link(3, EDGE, OURS, 1);
    let other = NodeInfo {
        contact: Bytes::from_static(b"a stranger"),
        ..far(4, &[(3, 1)])
    };
    let report = Output::Report(Report::DuplicateNode { node: id(4) });
    assert_eq!(desk.hear(3, Message::NodeInfoAdvertise(other.clone())), [report]);
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(2)));
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 5)])));
    assert_eq!(
        desk.base.fib().next_node(id(4)),
        Some(id(3)),
        "the first one is gone"
    );
}

/// The same, where the two say the same of themselves, as those do that nobody gave a contact: another life has no link of
/// any kind while one of the first stands.
#[test]
fn who_comes_second_with_an_id_and_says_the_same_is_refused() {
    let mut desk = Desk::new(EDGE);
    desk.link_for(1, 2, EDGE, OURS, 10, PeerMode::Both);
    desk.link_for(2, 2, EDGE, OURS, 10, PeerMode::Data);
    let reason = RefuseReason::OtherLife;
    for (link, mode) in [(3, PeerMode::Both), (4, PeerMode::Data), (5, PeerMode::Control)] {
        let refused = Output::Refused {
            link: LinkId(link),
            reason,
        };
        assert_eq!(desk.link_for(link, 2, EDGE, Kin::Ours(10), 10, mode), [refused]);
    }
    assert_eq!(desk.base.fib().links(id(2)), [LinkId(1), LinkId(2)]);
    // Its control link is dead, and one for data is not noticed to be so yet.
    desk.base.link_down(desk.now, LinkId(1));
    desk.drain();
    let out = desk.link_for(6, 2, EDGE, Kin::Ours(10), 10, PeerMode::Both);
    assert!(matches!(out[..], [Output::Refused { .. }]), "{out:?}");
    desk.base.link_down(desk.now, LinkId(2));
    desk.drain();
    desk.link_for(7, 2, EDGE, Kin::Ours(10), 10, PeerMode::Both);
    assert_eq!(desk.base.fib().links(id(2)), [LinkId(7)]);
}

/// laps peering, "Connection Establishment" and "(2) Data Peering".
#[test]
fn one_control_link_and_any_number_for_data() {
    let mut desk = Desk::new(EDGE);
    desk.link_for(1, 2, EDGE, OURS, 10, PeerMode::Both);
    let out = desk.link_for(2, 2, EDGE, OURS, 10, PeerMode::Both);
    let reason = RefuseReason::SecondControlLink;
    assert_eq!(
        out,
        [Output::Refused {
            link: LinkId(2),
            reason
        }]
    );
    let out = desk.link_for(3, 2, EDGE, OURS, 10, PeerMode::Data);
    assert!(
        matches!(&out[..], [Output::Fib(fib)] if fib.links(id(2)) == [LinkId(1), LinkId(3)]),
        "{out:?}"
    );
    desk.base.link_down(desk.now, LinkId(1));
    let out = desk.drain();
    assert!(
        matches!(&out[..], [Output::Fib(fib), Output::NodeReachable { ours: false, .. }]
            if fib.links(id(2)) == [LinkId(3)]),
        "{out:?}"
    );
    // The link for data takes over the control messages.
    desk.link_for(3, 2, EDGE, OURS, 10, PeerMode::Both);
    assert_eq!(desk.base.control_link(id(2)), Some(LinkId(3)));
    desk.base.link_down(desk.now, LinkId(3));
    assert!(desk.drain().contains(&Output::NodeUnreachable { node: id(2) }));
    assert!(desk.base.fib().is_empty());
}

/// laps peering, "(1) Control Peering": messages need not take the way of the data.
#[test]
fn a_control_link_takes_no_data() {
    let mut desk = Desk::new(EDGE);
    desk.link_for(2, 2, EDGE, OURS, 1, PeerMode::Control);
    desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(2, 1)])));
    assert!(desk.base.fib().is_empty());
    // A longer way that takes data is better than a shorter one that does not.
    desk.link(3, EDGE, OURS, 10);
    let out = desk.hear(3, Message::NodeInfoAdvertise(far(4, &[(5, 9), (3, 9)])));
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(3)));
    assert_eq!(nodes(&out), [(2, 4, Some(vec![(5, 9), (3, 9), (1, 10)]))]);
    // Data to the peer itself may take a link of its own.
    desk.link_for(20, 2, EDGE, OURS, 1, PeerMode::Data);
    assert_eq!(desk.base.fib().links(id(4)), [LinkId(20)]);
}

/// Issue 6, "Bad input": a peer that advertises a million nodes, and forged paths.
#[test]
fn nodes_are_bounded_and_forged_paths_refused() {
    let limits = Limits {
        max_nodes_per_link: 100,
        max_nodes: 150,
        ..Limits::default()
    };
    let mut desk = Desk::with(EDGE, limits);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    let mut reports = 0;
    for link in [2, 3] {
        for low in 100_000..101_000 {
            let out = desk.hear(
                link,
                Message::NodeInfoAdvertise(far(low * u64::from(link), &[(u64::from(link), 1)])),
            );
            reports += out
                .iter()
                .filter(|output| matches!(output, Output::Report(_)))
                .count();
        }
    }
    assert_eq!((desk.base.sizes().nodes, reports), (150, 2));
    let counters = desk.base.counters();
    assert_eq!(counters.over_limit + counters.crowded_out, 2000 - 148);
    // Neither of the two has more room than the other one.
    let of_each = [2, 3].map(|link| desk.base.links.get(LinkId(link)).map(|link| link.heard.len()));
    assert_eq!(of_each, [Some(75), Some(75)]);
    let forged: [&[(u64, u64)]; 4] = [&[], &[(9, 1)], &[(2, 1), (9, 1), (2, 1)], &[(50, 1), (2, 1)]];
    for path in forged {
        desk.hear(2, Message::NodeInfoAdvertise(far(50, path)));
    }
    assert_eq!(desk.base.counters().forged, 4);
    let out = desk.hear(2, Message::NodeInfoAdvertise(far(2, &[(9, 1), (2, 1)])));
    assert_eq!((out, desk.base.counters().forged), (vec![], 5));
}

/// Issue 6, "Bad input": a peer that advertises a million nodes keeps no honest node from being learned, neither where it tells
/// of them nor further on, where they come by the same link as all others.
#[test]
fn who_invents_nodes_makes_room_for_honest_ones() {
    let limits = Limits {
        max_nodes: 100,
        ..Limits::default()
    };
    let (mut near, mut next, mut last) = (
        Desk::of(10, EDGE, limits),
        Desk::of(11, EDGE, limits),
        Desk::of(12, EDGE, limits),
    );
    // Links have the number of the relay that they lead to. A liar, 1:2, and an honest relay, 1:3, at the first one.
    next.link(12, EDGE, OURS, 1);
    last.link(11, EDGE, OURS, 1);
    last.link(5, EDGE, OURS, 1);
    near.link(11, EDGE, OURS, 1);
    let hands_on = |out: &[Output], link: u32, to: &mut Desk, from: u32| -> Vec<Output> {
        let mut said = Vec::new();
        for output in out {
            if let Output::Send {
                link: LinkId(on),
                message,
                stamp,
            } = output
                && *on == link
            {
                said.extend(to.hear_stamped(from, message.clone(), *stamp));
            }
        }
        said
    };
    let spread = |desks: [&mut Desk; 3], out: &[Output]| {
        let [near, next, last] = desks;
        let on = hands_on(out, 11, next, 10);
        hands_on(&on, 12, last, 11);
        assert!(
            [near, next, last]
                .iter()
                .all(|desk| desk.base.sizes().nodes <= 100)
        );
    };
    next.link(10, EDGE, OURS, 1);
    for low in [2, 3] {
        let out = near.link(low, EDGE, OURS, 1);
        spread([&mut near, &mut next, &mut last], &out);
    }
    let node = |low: u64, by: u64| Message::NodeInfoAdvertise(far(low, &[(by, 1)]));
    let honest = |count: u64| 500..500 + count;
    for low in honest(5) {
        let out = near.hear(3, node(low, 3));
        spread([&mut near, &mut next, &mut last], &out);
    }
    for low in 1000..3000 {
        let out = near.hear(2, node(low, 2));
        spread([&mut near, &mut next, &mut last], &out);
    }
    assert_eq!(near.base.sizes().nodes, 100);
    for low in honest(30) {
        let out = near.hear(3, node(low, 3));
        spread([&mut near, &mut next, &mut last], &out);
    }
    // And beside the crowd, so that all that came by the other link is one.
    let out = last.hear(5, node(700, 5));
    assert!(!nodes(&out).is_empty());
    // It goes on.
    for low in 4000..6000 {
        let out = near.hear(2, node(low, 2));
        spread([&mut near, &mut next, &mut last], &out);
    }
    for (desk, by) in [(&near, 3), (&next, 10), (&last, 11)] {
        let reached = |low: &u64| desk.base.fib().next_node(id(*low)) == Some(id(by));
        assert_eq!(honest(30).filter(reached).count(), 30, "by {by}");
        assert!((98..=100).contains(&desk.base.sizes().nodes));
    }
    assert_eq!(last.base.fib().next_node(id(700)), Some(id(5)));
}

/// A real laps relay puts the id of the node where its own belongs; without its own there would be loops through it.
#[test]
fn the_path_of_a_laps_relay_is_made_whole() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, Kin::Laps, 10);
    desk.link(3, EDGE, OURS, 10);
    let huge = NodeInfo {
        path: vec![PathItem {
            node: id(4),
            srtt_us: u64::MAX,
        }],
        ..far(4, &[])
    };
    let out = desk.hear(2, Message::NodeInfoAdvertise(huge));
    assert_eq!(nodes(&out), [(3, 4, Some(vec![(2, 10_000), (1, 10)]))]);
}

/// Who would answer a node has to know whether what it says arrives.
#[test]
fn it_is_told_whether_a_laps_relay_is_on_the_way() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, Kin::Laps, 10);
    desk.link(3, EDGE, OURS, 10);
    let told = |out: Vec<Output>| {
        out.iter().find_map(|output| match output {
            Output::NodeReachable { ours, .. } => Some(*ours),
            _ => None,
        })
    };
    let by_laps = Message::NodeInfoAdvertise(far(4, &[(4, 1)]));
    assert_eq!(told(desk.hear(2, by_laps)), Some(false));
    assert_eq!(desk.base.control_link(id(4)), None);
    // The same number of relays, and nearer.
    let by_ours = Message::NodeInfoAdvertise(far(4, &[(3, 0)]));
    assert_eq!(told(desk.hear(3, by_ours.clone())), Some(true));
    assert_eq!(desk.base.control_link(id(4)), Some(LinkId(3)));
    assert_eq!(told(desk.hear(3, by_ours.clone())), None);
    let Message::NodeInfoAdvertise(gone) = by_ours else {
        unreachable!()
    };
    assert_eq!(told(desk.hear(3, Message::NodeInfoWithdraw(gone))), Some(false));
}

/// laps peering, "Stub": unknown to all but its edge, and told of nobody.
#[test]
fn a_stub_is_known_to_its_edge_alone() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    let out = desk.link(3, NodeType::Stub, OURS, 1);
    assert_eq!(nodes(&out), []);
    assert_eq!(desk.base.fib().links(id(3)), [LinkId(3)]);
    let other = NodeInfo {
        path: far(5, &[(2, 1)]).path,
        ..info(5, NodeType::Stub)
    };
    assert_eq!(desk.hear(2, Message::NodeInfoAdvertise(other)), []);
    assert_eq!(
        nodes(&desk.hear(3, Message::NodeInfoAdvertise(far(6, &[(3, 1)])))),
        []
    );
    assert_eq!(desk.base.counters().out_of_place, 2);
    let mut via = Desk::new(NodeType::Via);
    let out = via.link(3, NodeType::Stub, OURS, 1);
    assert!(matches!(
        out[..],
        [Output::Refused {
            reason: RefuseReason::StubsNeedEdges,
            ..
        }]
    ));
}

/// laps peering, "Subscribe Information": one number for all links; a triangle of real laps relays storms because there is
/// one for each.
#[test]
fn a_statement_has_one_number_for_all_links() {
    let mut desk = Desk::new(EDGE);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let track = track("a", "v");
    let subscribe = |priority| Command::Subscribe {
        track: track.clone(),
        data: data(&track, priority),
    };
    assert_eq!(
        infos(&desk.command(subscribe(1))),
        [(2, true, 1), (3, true, 1), (4, true, 1)]
    );
    assert_eq!(infos(&desk.command(subscribe(1))), []);
    assert_eq!(
        infos(&desk.command(subscribe(2))),
        [(2, true, 2), (3, true, 2), (4, true, 2)]
    );
    assert_eq!(infos(&desk.command(Command::Unsubscribe(track.clone()))), []);
    assert_eq!(infos(&desk.pass(Duration::from_millis(4999))), []);
    assert_eq!(infos(&desk.command(subscribe(2))), [], "back in time");
    assert_eq!(desk.base.counters().held_back, 1);
    desk.command(Command::Unsubscribe(track.clone()));
    assert_eq!(
        infos(&desk.pass(Duration::from_secs(5))),
        [(2, false, 3), (3, false, 3), (4, false, 3)]
    );
    assert_eq!(
        infos(&desk.command(subscribe(2))),
        [(2, true, 4), (3, true, 4), (4, true, 4)]
    );
    // Its own word comes back: whoever sent it, it is not taken.
    let echo = Message::SubscribeInfoWithdraw(subscription(1, &track, 9));
    assert_eq!((desk.hear(2, echo), desk.base.counters().echoes), (vec![], 1));
}

/// laps peering, "Subscribe Information": the race of a withdrawal and an advertisement.
#[test]
fn the_newer_statement_wins_whatever_comes_first() {
    let mut desk = Desk::new(EDGE);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let track = track("a", "v");
    let adv = |sequence| Message::SubscribeInfoAdvertise(subscription(2, &track, sequence));
    let wd = |sequence| Message::SubscribeInfoWithdraw(subscription(2, &track, sequence));
    // Not back, and not to its source.
    assert_eq!(infos(&desk.hear(3, adv(1))), [(4, true, 1)]);
    assert_eq!(infos(&desk.hear(4, adv(1))), []);
    assert_eq!(infos(&desk.hear(4, wd(2))), [(3, false, 2)]);
    assert_eq!(infos(&desk.hear(3, adv(1))), [], "an older one on a slower way");
    assert_eq!(infos(&desk.hear(3, adv(3))), [(4, true, 3)]);
    assert_eq!(infos(&desk.hear(3, wd(2))), []);
    assert_eq!(desk.base.sizes().subscribes, 1);
    desk.hear(3, wd(4));
    assert_eq!(
        (desk.base.sizes().subscribes, desk.base.sizes().remembered),
        (0, 1)
    );
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.base.sizes().remembered, 0);
    // A new life of the node begins to count anew.
    let lives = |epoch| Stamp {
        epoch,
        sequence: Sequence(0),
    };
    assert_eq!(infos(&desk.hear_stamped(3, adv(9), lives(9))), [(4, true, 9)]);
    assert_eq!(infos(&desk.hear_stamped(3, adv(1), lives(10))), [(4, true, 1)]);
    assert_eq!(infos(&desk.hear_stamped(4, wd(10), lives(9))), []);
}

/// Infos live as long as their node, and a moment longer: another way is found in that time.
#[test]
fn infos_go_with_their_node() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    let (video, other) = (track("a/b", "v"), track("b", "v"));
    desk.command(Command::Publish(Published::Namespace(namespace("a"))));
    let there = Message::NodeInfoAdvertise(far(4, &[(2, 1)]));
    desk.hear(2, there.clone());
    let out = desk.hear(2, Message::SubscribeInfoAdvertise(subscription(4, &video, 1)));
    let subscribed = |track: &FullTrackName| Output::RemoteSubscribe {
        source: id(4),
        track: TrackHash::of(track),
        data: data(track, 1),
    };
    assert!(out.contains(&subscribed(&video)));
    let out = desk.hear(2, Message::SubscribeInfoAdvertise(subscription(4, &other, 1)));
    assert!(!out.contains(&subscribed(&other)), "nobody here publishes that");
    let out = desk.command(Command::Publish(Published::Track(other.clone())));
    assert!(out.contains(&subscribed(&other)), "now somebody does");
    let gone = |track: &FullTrackName| Output::RemoteSubscribeGone {
        source: id(4),
        track: TrackHash::of(track).full,
    };
    let out = desk.command(Command::Unpublish(Published::Track(other.clone())));
    assert!(out.contains(&gone(&other)));
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 1)])));
    desk.pass(Duration::from_secs(4));
    desk.hear(2, there);
    assert!(!desk.pass(Duration::from_secs(9)).contains(&gone(&video)));
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 1)])));
    assert!(desk.pass(Duration::from_secs(5)).contains(&gone(&video)));
    let counters = desk.base.counters();
    assert_eq!((desk.base.sizes().subscribes, counters.purged), (0, 2));
}

/// A withdrawal that names what is not known, and has the hash of what is: who was told of a name hears of its end.
#[test]
fn a_withdrawal_ends_the_name_that_is_known() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    let what = |text| Published::Namespace(namespace(text));
    let stamp = |sequence| Stamp {
        epoch: 9,
        sequence: Sequence(sequence),
    };
    let known = PublishInfo::new(id(2), what("a/bc"));
    desk.hear_stamped(2, Message::PublishInfoAdvertise(known), stamp(1));
    let other = PublishInfo::new(id(2), what("ab/c"));
    let out = desk.hear_stamped(2, Message::PublishInfoWithdraw(other), stamp(2));
    let gone = Output::RemotePublishGone {
        source: id(2),
        what: what("a/bc"),
    };
    assert_eq!(out, [gone]);
}

/// Issue 6, "Bad input": two names with one hash are never mixed, and it is said once.
#[test]
fn the_second_name_with_a_hash_is_refused() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    let (first, second) = (track("a/bc", "v"), track("ab/c", "v"));
    let say = |source, track| Message::SubscribeInfoAdvertise(subscription(source, track, 1));
    desk.hear(2, say(2, &first));
    let hash = TrackHash::of(&first).full;
    let report = Report::NameCollision { hash, source: id(3) };
    assert_eq!(desk.hear(3, say(3, &second)), [Output::Report(report)]);
    assert_eq!(desk.hear(3, say(3, &second)), []);
    let publish = Message::PublishInfoAdvertise(PublishInfo::new(id(3), Published::Track(second.clone())));
    assert_eq!(
        desk.hear_stamped(
            3,
            publish,
            Stamp {
                epoch: 9,
                sequence: Sequence(1)
            }
        ),
        []
    );
    let subscribe = Command::Subscribe {
        track: second.clone(),
        data: data(&second, 1),
    };
    // Who asks for it again and again is told so each time, and the operator was once.
    for _ in 0..3 {
        let refused = desk.base.command(desk.now, subscribe.clone());
        assert_eq!(refused, Err(CommandError::NameCollision));
        assert_eq!(desk.drain(), []);
    }
    let publish = |text| Command::Publish(Published::Namespace(namespace(text)));
    desk.command(publish("x/yz"));
    for reports in [1, 0, 0] {
        let refused = desk.base.command(desk.now, publish("xy/z"));
        assert_eq!(refused, Err(CommandError::NameCollision));
        assert_eq!(desk.drain().len(), reports);
    }
    assert_eq!(
        (desk.base.sizes().subscribes, desk.base.sizes().publishes),
        (1, 0)
    );
    // Hashes that contradict one another, or the name.
    let mut forged = subscription(3, &first, 5);
    forged.track.name ^= 1;
    desk.hear(3, Message::SubscribeInfoAdvertise(forged));
    let other = SubscribeInfo {
        data: data(&track("c", "v"), 1),
        ..subscription(3, &first, 5)
    };
    desk.hear(3, Message::SubscribeInfoAdvertise(other));
    assert_eq!(desk.base.counters().forged, 2);
    desk.hear(2, Message::SubscribeInfoWithdraw(subscription(2, &first, 2)));
    desk.hear(3, say(3, &second));
    assert_eq!(
        desk.base.sizes().subscribes,
        1,
        "the first name is not used any more"
    );
}

/// laps peering, "Via": a cache of what was seen in the last seconds, and bounded.
#[test]
fn a_via_hands_on_and_forgets() {
    let limits = Limits {
        max_seen: 50,
        ..Limits::default()
    };
    let mut desk = Desk::with(NodeType::Via, limits);
    for link in [2, 3, 4] {
        desk.link(link, EDGE, OURS, 1);
    }
    let video = track("a", "v");
    let adv = Message::SubscribeInfoAdvertise(subscription(2, &video, 1));
    assert_eq!(infos(&desk.hear(2, adv.clone())), [(3, true, 1), (4, true, 1)]);
    assert_eq!(infos(&desk.hear(3, adv)), []);
    let what = |name: usize| {
        Published::Track(FullTrackName::new(namespace("b"), Bytes::from(name.to_string())).unwrap())
    };
    for name in 0..200 {
        let publish = Message::PublishInfoAdvertise(PublishInfo::new(id(2), what(name)));
        desk.hear_stamped(
            2,
            publish,
            Stamp {
                epoch: 9,
                sequence: Sequence(1),
            },
        );
    }
    let sizes = desk.base.sizes();
    assert_eq!((sizes.remembered, sizes.publishes, sizes.subscribes), (50, 0, 0));
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.base.sizes().remembered, 0);
    let command = Command::Publish(what(0));
    assert_eq!(desk.base.command(desk.now, command), Err(CommandError::NotOnAVia));
}

/// A real laps relay: no number with a publication, and a withdrawal with the number of what it withdraws.
#[test]
fn what_a_laps_relay_says_counts_in_its_order() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, Kin::Laps, 1);
    desk.link(3, EDGE, OURS, 1);
    let publish = PublishInfo::new(id(2), Published::Namespace(namespace("a")));
    let adv = Message::PublishInfoAdvertise(publish.clone());
    let wd = Message::PublishInfoWithdraw(publish);
    assert_eq!(infos(&desk.hear(2, adv.clone())), [(3, true, 1)]);
    assert_eq!(
        infos(&desk.hear(2, adv.clone())),
        [],
        "laps tells everything twice"
    );
    assert_eq!(infos(&desk.hear(2, wd.clone())), [(3, false, 2)]);
    assert_eq!(infos(&desk.hear(2, adv)), [(3, true, 3)]);
    assert_eq!(infos(&desk.hear(2, wd)), [(3, false, 4)]);
    let track = track("a", "v");
    for round in [1, 3, 5] {
        let adv = Message::SubscribeInfoAdvertise(subscription(2, &track, 1));
        assert_eq!(infos(&desk.hear(2, adv)), [(3, true, round)]);
        let wd = Message::SubscribeInfoWithdraw(subscription(2, &track, 1));
        assert_eq!(infos(&desk.hear(2, wd)), [(3, false, round + 1)]);
    }
    // Another laps relay that gets other numbers changes nothing.
    desk.link(4, EDGE, Kin::Laps, 1);
    desk.hear(2, Message::SubscribeInfoAdvertise(subscription(2, &track, 9)));
    assert_eq!(
        infos(&desk.hear(4, Message::SubscribeInfoAdvertise(subscription(2, &track, 10)))),
        []
    );
}

#[test]
fn which_statement_counts() {
    let mut ledger = ledger::Ledger::<()>::default();
    let said = |epoch, sequence, alive, from, how| Said {
        stamp: Some(Stamp {
            epoch,
            sequence: Sequence(sequence),
        }),
        alive,
        from: LinkId(from),
        how,
    };
    let key = InfoKey::FIRST;
    let first = said(0, 5, true, 1, How::Stamped);
    ledger.enter(id(2), key, &first, first.stamp.unwrap(), (), 0);
    let known = ledger.get(id(2), key);
    let new = |epoch, sequence| {
        Verdict::New(Stamp {
            epoch,
            sequence: Sequence(sequence),
        })
    };
    for (case, via_is_up, expected) in [
        (said(0, 5, true, 2, How::Stamped), true, Verdict::Known),
        (said(0, 4, true, 2, How::Stamped), true, Verdict::Old),
        (said(0, 6, true, 2, How::Stamped), true, new(0, 6)),
        (said(0, 5, false, 2, How::Stamped), true, new(0, 5)),
        (said(0, 4, false, 2, How::Stamped), true, Verdict::Old),
        (said(0, 4, false, 1, How::Stamped), true, new(0, 5)),
        (said(0, 4, false, 2, How::InOrder), true, Verdict::Old),
        (said(0, 4, false, 2, How::InOrder), false, new(0, 6)),
        (said(0, 4, false, 1, How::InOrder), true, new(0, 6)),
        (said(0, 4, false, 2, How::InOrderByOrigin), true, new(0, 6)),
        (said(0, 9, false, 2, How::InOrder), true, new(0, 9)),
        (said(0, 9, true, 2, How::InOrder), true, Verdict::Known),
        (said(3, 1, true, 2, How::Origin), true, new(3, 1)),
        (said(0, 5, true, 2, How::Origin), true, Verdict::Known),
    ] {
        assert_eq!(
            judge(known, via_is_up, true, &case),
            expected,
            "{case:?} {via_is_up}"
        );
    }
    let nothing: Option<&ledger::Record<()>> = None;
    assert_eq!(judge(nothing, true, true, &first), new(0, 5));
}

/// Issue 6, "Links": strict peers stay strict beside laps relays. What one of those says of a node of ours counts when no way of
/// ours leads there any more, and then the last that it said, be it that it was said before.
#[test]
fn a_laps_relay_does_not_overrule_a_node_of_ours() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, Kin::Laps, 1);
    desk.link(6, EDGE, OURS, 1);
    desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(5, 1), (2, 1)])));
    // A shorter way, over who proves nothing.
    let by_laps = Message::NodeInfoAdvertise(far(4, &[(4, 1)]));
    desk.hear(3, by_laps.clone());
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(2)));
    assert_eq!(desk.base.control_link(id(4)), Some(LinkId(2)));
    let (kept, gone, other) = (track("a", "kept"), track("a", "gone"), track("a", "other"));
    let stamp = |sequence| Stamp {
        epoch: 8,
        sequence: Sequence(sequence),
    };
    for (track, sequence) in [(&kept, 1), (&gone, 2)] {
        let out = desk.hear_stamped(
            2,
            Message::SubscribeInfoAdvertise(subscription(4, track, sequence)),
            stamp(sequence),
        );
        assert_eq!(infos(&out), [(3, true, sequence), (6, true, sequence)]);
    }
    let known = |desk: &Desk, track: &FullTrackName| {
        let key = InfoKey::subscription(TrackHash::of(track).full);
        let record = desk.base.subscribes.ledger.get(id(4), key);
        record.is_some_and(|record| record.alive)
    };
    // Newer by its number, and of what nobody knows.
    let withdraws = |track, sequence| Message::SubscribeInfoWithdraw(subscription(4, track, sequence));
    let wants = |track, sequence| Message::SubscribeInfoAdvertise(subscription(4, track, sequence));
    for message in [
        withdraws(&kept, 99),
        wants(&kept, 100),
        withdraws(&gone, 101),
        wants(&other, 102),
    ] {
        assert_eq!(desk.hear(3, message), []);
    }
    assert_eq!(
        [&kept, &gone, &other].map(|track| known(&desk, track)),
        [true, true, false]
    );
    assert_eq!(desk.base.counters().overruled, 4);
    // The way of ours is lost: what it said last, and the node did not, may have been lost with it.
    let out = desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(5, 1), (2, 1)])));
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(3)));
    let mut told = infos(&out);
    told.sort_unstable();
    assert_eq!(
        told,
        [(2, false, 101), (2, true, 102), (6, false, 101), (6, true, 102)]
    );
    assert_eq!(
        [&kept, &gone, &other].map(|track| known(&desk, track)),
        [true, false, true]
    );
}

/// Local users that were started anew say again what they want; the rest is over.
#[test]
fn what_is_not_said_again_is_over() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    let (stays, goes) = (track("a", "stays"), track("a", "goes"));
    let publish = |track: &FullTrackName| Command::Publish(Published::Track(track.clone()));
    desk.command(publish(&stays));
    desk.command(publish(&goes));
    desk.command(Command::BeginEpoch);
    assert_eq!(infos(&desk.command(publish(&stays))), []);
    assert_eq!(infos(&desk.pass(Duration::from_secs(4))), []);
    assert_eq!(infos(&desk.pass(Duration::from_secs(1))), [(2, false, 2)]);
}

/// A stub with two edges belongs to one of them, or its tracks would come twice.
#[test]
fn a_stub_speaks_to_one_edge() {
    let mut desk = Desk::new(NodeType::Stub);
    desk.link(2, EDGE, OURS, 9);
    desk.link(3, EDGE, OURS, 5);
    desk.link(4, EDGE, OURS, 7);
    let video = track("a", "v");
    let out = desk.command(Command::Subscribe {
        track: video.clone(),
        data: data(&video, 1),
    });
    assert_eq!(infos(&out), [(2, true, 1)]);
    let watch = OwnMessage::Watch(namespace("b"));
    let send = |link, message| Output::SendOwn {
        link: LinkId(link),
        message,
    };
    assert_eq!(
        desk.command(Command::Watch(namespace("b"))),
        [send(2, watch.clone())]
    );
    desk.base.link_down(desk.now, LinkId(2));
    let out = desk.drain();
    assert_eq!(infos(&out), [(3, true, 1)], "the nearest");
    assert!(out.contains(&send(3, watch)));
}

/// A relay that is about to end says so to relays of ours, also to those that come later, and is no way to anybody for laps
/// relays.
#[test]
fn who_leaves_says_so() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, Kin::Laps, 1);
    desk.link(4, NodeType::Stub, OURS, 1);
    let leaving = |link| Output::SendOwn {
        link: LinkId(link),
        message: OwnMessage::Leaving,
    };
    desk.base.leave(desk.now);
    let out = desk.drain();
    assert!(out.contains(&leaving(2)) && out.contains(&leaving(4)) && !out.contains(&leaving(3)));
    let withdrawn = |output: &Output| match output {
        Output::Send { link, message, .. } => {
            matches!(message, Message::NodeInfoWithdraw(info) if info.id == id(2) && *link == LinkId(3))
        }
        _ => false,
    };
    assert!(out.iter().any(withdrawn), "{out:?}");
    assert!(desk.link(5, EDGE, OURS, 1).contains(&leaving(5)));
    desk.base.leave(desk.now);
    assert_eq!(desk.drain(), [], "said once");
}

/// Ways lead around a peer that is about to end, where there are others, and others are not told of those that do not.
#[test]
fn who_leaves_is_the_last_resort() {
    let mut desk = Desk::new(EDGE);
    for peer in [2, 3, 4] {
        desk.link(peer, EDGE, OURS, 1);
    }
    let tell = |node, path: &[(u64, u64)]| Message::NodeInfoAdvertise(far(node, path));
    desk.hear(2, tell(8, &[(2, 1)]));
    desk.hear(3, tell(8, &[(9, 1), (3, 1)]));
    desk.hear(2, tell(7, &[(2, 1)]));
    let next = |desk: &Desk, node| desk.base.fib().next_node(id(node));
    assert_eq!((next(&desk, 8), next(&desk, 7)), (Some(id(2)), Some(id(2))));
    desk.base
        .handle_own_message(desk.now, LinkId(2), OwnMessage::Leaving);
    let out = desk.drain();
    assert_eq!(next(&desk, 8), Some(id(3)), "longer, but it stays");
    assert_eq!((next(&desk, 7), next(&desk, 2)), (Some(id(2)), Some(id(2))));
    let withdrawn = |output: &Output| match output {
        Output::Send {
            link,
            message: Message::NodeInfoWithdraw(info),
            ..
        } => Some((link.0, info.id)),
        _ => None,
    };
    // Who else has a way to 7 has to be found; the way to 8 is that of 3 now; the peer itself is still there.
    let withdrawn: Vec<_> = out.iter().filter_map(withdrawn).collect();
    assert_eq!(withdrawn, [(3, id(7)), (4, id(7)), (3, id(8))]);
    assert!(
        out.iter()
            .all(|output| !matches!(output, Output::NodeUnreachable { .. }))
    );
    desk.base.link_down(desk.now, LinkId(2));
    assert_eq!((next(&desk, 8), next(&desk, 7)), (Some(id(3)), None));
}

/// A stub takes the other edge before its own one has ended.
#[test]
fn a_stub_leaves_an_edge_that_leaves() {
    let mut desk = Desk::new(NodeType::Stub);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 5);
    let video = track("a", "v");
    let subscribed = desk.command(Command::Subscribe {
        track: video.clone(),
        data: data(&video, 1),
    });
    assert_eq!(infos(&subscribed), [(2, true, 1)]);
    desk.base
        .handle_own_message(desk.now, LinkId(2), OwnMessage::Leaving);
    assert_eq!(infos(&desk.drain()), [(3, true, 1)]);
    desk.base
        .handle_own_message(desk.now, LinkId(3), OwnMessage::Leaving);
    assert_eq!(
        infos(&desk.drain()),
        [(2, true, 1)],
        "the nearest of those that go"
    );
    desk.base
        .handle_own_message(desk.now, LinkId(2), OwnMessage::Leaving);
    assert_eq!(desk.drain(), [], "said twice");
}

/// An edge tells a stub what it watches, and of its own publications nothing.
#[test]
fn a_stub_hears_what_it_needs() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 9);
    desk.link(3, NodeType::Stub, OURS, 1);
    desk.link(4, NodeType::Stub, OURS, 1);
    let publish = |source, what| Message::PublishInfoAdvertise(PublishInfo::new(id(source), what));
    let namespaced = |text| Published::Namespace(namespace(text));
    let one = Stamp {
        epoch: 9,
        sequence: Sequence(1),
    };
    assert_eq!(
        infos(&desk.hear_stamped(2, publish(2, namespaced("w/x")), one)),
        []
    );
    let mut watch = |message| {
        desk.base.handle_own_message(desk.now, LinkId(3), message);
        infos(&desk.drain())
    };
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 1)]);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w"))), [(3, false, 2)]);
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 3)]);
    // Who publishes a namespace publishes all that is below it.
    assert_eq!(watch(OwnMessage::Watch(namespace("w/x/y"))), []);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w"))), []);
    assert_eq!(watch(OwnMessage::Unwatch(namespace("w/x/y"))), [(3, false, 4)]);
    assert_eq!(watch(OwnMessage::Watch(namespace("w"))), [(3, true, 5)]);
    // The other stub publishes there: to the mesh the edge does, to the first stub too, and to itself nobody.
    let out = desk.hear_stamped(4, publish(4, namespaced("w/y")), one);
    assert_eq!(infos(&out), [(2, true, 1), (3, true, 6)]);
    assert!(out.contains(&Output::RemotePublish {
        source: id(4),
        what: namespaced("w/y")
    }));
    // For another node it may not speak.
    desk.hear_stamped(4, publish(2, namespaced("w/z")), one);
    assert_eq!(desk.base.counters().forged, 1);
    // Its subscribers become those of the edge; two stubs and a local user are one.
    let video = track("w/x", "v");
    let subscribe = |source| Message::SubscribeInfoAdvertise(subscription(source, &video, 1));
    assert_eq!(infos(&desk.hear(4, subscribe(4))), [(2, true, 1), (4, true, 1)]);
    assert_eq!(infos(&desk.hear(3, subscribe(3))), []);
    desk.base.link_down(desk.now, LinkId(4));
    assert_eq!(
        infos(&desk.drain()),
        [(2, false, 2), (3, false, 7)],
        "what it published goes with it"
    );
    desk.base.link_down(desk.now, LinkId(3));
    assert_eq!(infos(&desk.drain()), [], "the last subscriber may come back");
    assert_eq!(infos(&desk.pass(Duration::from_secs(5))), [(2, false, 2)]);
}

/// What local users want of a track has the wishes of the stubs in it, which subscribe through them: a stub that changes
/// its mind does not speak over them, and what they said is answered under their number.
#[test]
fn what_local_users_say_stands_before_what_stubs_say() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 9);
    desk.link(4, NodeType::Stub, OURS, 1);
    let video = track("w/x", "v");
    let of_stub = |sequence, priority| {
        let info = SubscribeInfo {
            data: data(&video, priority),
            ..subscription(4, &video, sequence)
        };
        Message::SubscribeInfoAdvertise(info)
    };
    let told = |out: &[Output]| {
        let infos = out.iter().filter_map(|output| match output {
            Output::Send {
                link: LinkId(2),
                message: Message::SubscribeInfoAdvertise(info),
                ..
            } => Some(info.data.clone()),
            _ => None,
        });
        infos.collect::<Vec<_>>()
    };
    assert_eq!(told(&desk.hear(4, of_stub(1, 7))), [data(&video, 7)]);
    let local = Command::Subscribe {
        track: video.clone(),
        data: data(&video, 3),
    };
    desk.base.command(desk.now, local).unwrap();
    assert_eq!(told(&desk.drain()), [data(&video, 3)]);
    assert_eq!(told(&desk.hear(4, of_stub(2, 9))), Vec::<Bytes>::new());
    desk.base
        .command(desk.now, Command::Unsubscribe(video.clone()))
        .unwrap();
    assert_eq!(told(&desk.drain()), [data(&video, 9)]);
}

fn arrivals() -> impl Strategy<Value = Vec<(u32, u64, Path)>> {
    // Node ids of paths lie outside those of links and destinations.
    let path = prop::collection::vec((40_u64..60, 0_u64..4), 0..3);
    prop::collection::vec((2_u32..6, 10_u64..14, path), 1..24)
}

proptest! {
    /// Issue 6, "Selection and FIB": the same in the end whatever comes first. (Each neighbour's last word on a node
    /// counts, so what a neighbour says of one node stays in order.)
    #[test]
    fn the_order_of_arrival_does_not_matter(
        arrivals in arrivals(),
        seed in any::<u64>(),
        srtt in prop::array::uniform4(1_u64..4),
    ) {
        let mut last = BTreeMap::new();
        for (link, node, mut path) in arrivals {
            path.dedup_by_key(|item| item.0);
            path.retain(|item| item.0 % 4 == u64::from(link) % 4);
            path.sort_unstable();
            path.dedup_by_key(|item| item.0);
            path.push((u64::from(link), 1));
            last.insert((link, node), path);
        }
        let words: Vec<_> = last.into_iter().collect();
        let run = |order: &[usize]| {
            let mut desk = Desk::new(EDGE);
            // Links too come up in any order.
            for at in 0..4 {
                let link = 2 + (at + u32::try_from(order[0]).unwrap()) % 4;
                desk.link(link, EDGE, OURS, srtt[usize::try_from(link).unwrap() - 2]);
            }
            let mut told = BTreeMap::new();
            let mut tell = |out: Vec<Output>| {
                for (link, node, path) in nodes(&out) {
                    told.insert((link, node), path);
                }
            };
            for at in order {
                let ((link, node), path) = &words[*at];
                tell(desk.hear(*link, Message::NodeInfoAdvertise(far(*node, path))));
            }
            tell(desk.pass(Duration::from_secs(10)));
            told.retain(|(_, node), path| *node >= 10 && path.is_some());
            (desk.base.fib().clone(), told)
        };
        let straight: Vec<_> = (0..words.len()).collect();
        let mut mixed = straight.clone();
        let mut state = seed | 1;
        for at in (1..mixed.len()).rev() {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            mixed.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        let (one, other) = (run(&straight), run(&mixed));
        prop_assert!(one.0 == other.0);
        prop_assert_eq!(one.1, other.1);
    }

    /// laps peering, "Subscribe Information": any order of a node's statements, each on any way, any number of times.
    #[test]
    fn the_last_statement_of_a_node_is_what_remains(
        count in 1_u16..20,
        order in prop::collection::vec((any::<prop::sample::Index>(), 2_u32..5), 0..60),
    ) {
        let mut desk = Desk::new(EDGE);
        for link in 2..5 {
            desk.link(link, EDGE, OURS, 1);
        }
        let video = track("a", "v");
        let say = |number: u16| {
            let info = SubscribeInfo { data: data(&video, number.to_be_bytes()[1]), ..subscription(4, &video, 65_530_u16.wrapping_add(number)) };
            if number % 3 == 2 { Message::SubscribeInfoWithdraw(info) } else { Message::SubscribeInfoAdvertise(info) }
        };
        let mut sent = 0;
        for (index, link) in order {
            let number = u16::try_from(index.index(usize::from(count))).unwrap();
            sent += infos(&desk.hear(link, say(number))).len();
        }
        sent += infos(&desk.hear(2, say(count - 1))).len();
        prop_assert_eq!(desk.base.sizes().subscribes, usize::from((count - 1) % 3 != 2));
        // One message to each other link for each statement at most.
        prop_assert!(sent <= usize::from(count) * 2);
    }
}

/// What a link is told of all that there is waits for room on it; others, and changes, do not wait with it.
#[test]
fn greetings_wait_for_room_and_changes_do_not() {
    let mut desk = Desk::new(NodeType::Edge);
    for name in ["a", "b", "c"] {
        let track = track("moq", name);
        desk.command(Command::Publish(Published::Track(track)));
    }
    for link in [2, 3] {
        let up = LinkUp {
            node: info(u64::from(link), NodeType::Edge),
            mode: PeerMode::Both,
            kin: Kin::Laps,
            srtt_us: 0,
        };
        desk.base.link_up(desk.now, LinkId(link), up);
    }
    let published = |output: &Output, to: u32| {
        let Output::Send { link, message, .. } = output else {
            return false;
        };
        *link == LinkId(to) && matches!(message, Message::PublishInfoAdvertise(_))
    };
    let drain = |desk: &mut Desk, closed: u32| -> Vec<Output> {
        std::iter::from_fn(|| desk.base.poll_output_where(|link| link != LinkId(closed))).collect()
    };
    let first = drain(&mut desk, 2);
    assert!(!first.iter().any(|output| published(output, 2)));
    assert_eq!(first.iter().filter(|output| published(output, 3)).count(), 3);
    let late = Command::Publish(Published::Track(track("moq", "late")));
    desk.base.command(desk.now, late).unwrap();
    let second = drain(&mut desk, 2);
    assert_eq!(second.iter().filter(|output| published(output, 2)).count(), 1);
    let third = drain(&mut desk, 0);
    // The late one is there by now, and said once more.
    assert_eq!(third.iter().filter(|output| published(output, 2)).count(), 4);
}
