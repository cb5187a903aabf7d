//! Nodes, the ways to them, and links.

use super::*;

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

/// Decision 0042: data goes out over the link whose dialler this relay is, and what only comes in is no way to anybody.
#[test]
fn a_link_for_one_way_leads_one_way() {
    let mut desk = Desk::new(EDGE);
    assert_eq!(desk.link_for(3, 2, EDGE, OURS, 1, PeerMode::DataIn), []);
    assert!(desk.base.fib().is_empty() && desk.base.sizes().nodes == 0);
    desk.link_for(1, 2, EDGE, OURS, 10, PeerMode::Both);
    desk.hear(1, Message::NodeInfoAdvertise(far(4, &[(2, 5)])));
    assert_eq!(desk.base.fib().links(id(4)), [LinkId(1)]);
    assert_eq!(desk.link_for(4, 2, EDGE, OURS, 1, PeerMode::DataIn), []);
    desk.link_for(5, 2, EDGE, OURS, 1, PeerMode::DataOut);
    assert_eq!(desk.base.fib().links(id(4)), [LinkId(1), LinkId(5)]);
    // What was learned by the others goes with them, whatever still comes in.
    desk.base.link_down(desk.now, LinkId(5));
    desk.base.link_down(desk.now, LinkId(1));
    let out = desk.drain();
    assert!(out.contains(&Output::NodeUnreachable { node: id(2) }), "{out:?}");
    assert!(desk.base.fib().is_empty() && desk.base.sizes().nodes == 0);
    // Another life of the peer waits until that is over too.
    let out = desk.link_for(6, 2, EDGE, Kin::Ours(10), 10, PeerMode::Both);
    assert!(matches!(out[..], [Output::Refused { .. }]), "{out:?}");
}

/// A way that takes no data is told to those that send none here: who sends some one way does.
#[test]
fn who_sends_data_one_way_hears_of_ways_for_data() {
    for (mode, hears) in [(PeerMode::Control, true), (PeerMode::Both, false)] {
        let mut desk = Desk::new(EDGE);
        desk.link_for(2, 2, EDGE, OURS, 1, PeerMode::Control);
        desk.link_for(3, 3, EDGE, OURS, 1, mode);
        let out = desk.hear(2, Message::NodeInfoAdvertise(far(4, &[(2, 1)])));
        assert_eq!(nodes(&out).len(), usize::from(hears), "{mode}");
        let out = desk.link_for(30, 3, EDGE, OURS, 1, PeerMode::DataIn);
        let gone = [(3, 2, None), (3, 4, None)];
        assert_eq!(nodes(&out) == gone, hears, "{mode} {out:?}");
    }
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
