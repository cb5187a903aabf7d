//! A node that comes and goes.

use super::*;

/// Messages about nodes to one link, questions to one node, and how often local users heard that it is there.
fn counted(out: &[Output], link: u32, node: u64) -> [usize; 3] {
    let told = nodes(out).iter().filter(|(to, ..)| *to == link).count();
    let asked = out.iter().filter(|output| {
        matches!(output, Output::ToNode { node: to, message: NodeMessage::Pull { .. } } if *to == id(node))
    });
    let heard = out
        .iter()
        .filter(|output| matches!(output, Output::NodeReachable { node: of, .. } if *of == id(node)));
    [told, asked.count(), heard.count()]
}

/// laps peering, "Node Information Advertisement Message": several updates become one. A neighbour that tells of a node and
/// takes it back, again and again, has nobody tell of it more than a few times in the interval, nor ask it.
#[test]
fn a_flapping_node_is_told_of_a_few_times() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    desk.link(3, EDGE, OURS, 10);
    desk.pass(Duration::from_secs(10));
    let node = || far(4, &[(2, 5)]);
    let mut out = Vec::new();
    for _ in 0..100 {
        out.extend(desk.hear(2, Message::NodeInfoAdvertise(node())));
        out.extend(desk.pass(Duration::from_millis(5)));
        out.extend(desk.hear(2, Message::NodeInfoWithdraw(node())));
        out.extend(desk.pass(Duration::from_millis(5)));
    }
    // There, gone, and twice more.
    assert_eq!(counted(&out, 3, 4), [6, 3, 3]);
    assert_eq!(desk.base.fib().next_node(id(4)), None);
    // The interval began when it went first, after 5 ms.
    out = desk.hear(2, Message::NodeInfoAdvertise(node()));
    out.extend(desk.pass(Duration::from_millis(1004)));
    assert_eq!(counted(&out, 3, 4), [0, 0, 0]);
    out = desk.pass(Duration::from_millis(1));
    assert_eq!(counted(&out, 3, 4), [1, 1, 1]);
    assert_eq!(desk.base.fib().next_node(id(4)), Some(id(2)));
    // Another interval.
    out = desk.hear(2, Message::NodeInfoWithdraw(node()));
    out.extend(desk.hear(2, Message::NodeInfoAdvertise(node())));
    assert_eq!(counted(&out, 3, 4), [2, 1, 1]);
}

/// Its neighbour does not go by what is said, but by the link.
#[test]
fn a_neighbour_is_there_when_its_link_is() {
    let mut desk = Desk::new(EDGE);
    desk.link(3, EDGE, OURS, 10);
    for link in 10..20 {
        desk.link_for(link, 2, EDGE, OURS, 10, PeerMode::Both);
        assert_eq!(desk.base.fib().next_node(id(2)), Some(id(2)));
        desk.base.link_down(desk.now, LinkId(link));
        desk.drain();
    }
}

/// While it does not count it is nobody's, and when its last way goes in that time nothing is left of it.
#[test]
fn what_waits_may_go() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    desk.link(3, EDGE, OURS, 10);
    let node = || far(4, &[(2, 5)]);
    for _ in 0..4 {
        desk.hear(2, Message::NodeInfoAdvertise(node()));
        desk.hear(2, Message::NodeInfoWithdraw(node()));
    }
    desk.hear(2, Message::NodeInfoAdvertise(node()));
    // Nor by another neighbour's word.
    desk.hear(3, Message::NodeInfoAdvertise(far(4, &[(3, 5)])));
    assert_eq!(desk.base.fib().next_node(id(4)), None);
    assert_eq!(desk.base.sizes().nodes, 2);
    desk.base.link_down(desk.now, LinkId(2));
    desk.hear(3, Message::NodeInfoWithdraw(far(4, &[(3, 5)])));
    assert_eq!(desk.base.sizes().nodes, 1);
    let out = desk.pass(Duration::from_secs(3));
    assert_eq!(counted(&out, 3, 4), [0, 0, 0]);
}
