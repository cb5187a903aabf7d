//! The ways that messages to nodes take, beside those of the data.

use super::*;

/// Whom a relay asked for its infos, and whom it took for one that can be spoken to, or not.
fn asked(out: &[Output]) -> (Vec<u64>, Vec<bool>) {
    let asked = out.iter().filter_map(|output| match output {
        Output::ToNode {
            node,
            message: NodeMessage::Pull { .. },
        } => Some(node.0 & 0xff),
        _ => None,
    });
    let spoken_to = out.iter().filter_map(|output| match output {
        Output::NodeReachable { ours, .. } => Some(*ours),
        _ => None,
    });
    (asked.collect(), spoken_to.collect())
}

/// Whoever has links for data may have them before the one for messages, and lose that one alone.
#[test]
fn a_node_is_asked_when_its_control_link_comes() {
    let mut desk = Desk::new(EDGE);
    let out = desk.link_for(1, 2, EDGE, OURS, 1, PeerMode::Data);
    assert_eq!(asked(&out), (vec![], vec![false]), "nothing would arrive");
    assert_eq!(desk.base.control_link(id(2)), None);
    let out = desk.link_for(2, 2, EDGE, OURS, 50, PeerMode::Both);
    assert_eq!(asked(&out), (vec![2], vec![true]));
    assert_eq!(desk.base.control_link(id(2)), Some(LinkId(2)));
    desk.base.link_down(desk.now, LinkId(2));
    assert_eq!(asked(&desk.drain()), (vec![], vec![false]));
    let out = desk.link_for(3, 2, EDGE, OURS, 50, PeerMode::Both);
    assert_eq!(asked(&out), (vec![2], vec![true]), "what was said meanwhile");
}

/// What was on its way on a control link that died is asked for on the next one, also where another way led to the node.
#[test]
fn a_node_is_asked_when_its_control_link_comes_again() {
    let mut desk = Desk::new(EDGE);
    desk.link(2, EDGE, OURS, 10);
    desk.link(3, EDGE, OURS, 10);
    desk.hear(3, Message::NodeInfoAdvertise(far(2, &[(3, 9)])));
    desk.base.link_down(desk.now, LinkId(2));
    assert_eq!(asked(&desk.drain()), (vec![], vec![]));
    assert_eq!(desk.base.control_link(id(2)), Some(LinkId(3)));
    let out = desk.link_for(4, 2, EDGE, OURS, 10, PeerMode::Both);
    assert_eq!(asked(&out), (vec![2], vec![]));
}

/// A neighbour for data alone is spoken to by relays that have control links, and others do not hear that messages to it
/// go where the data goes.
#[test]
fn a_neighbour_for_data_alone_is_spoken_to_by_others() {
    let mut desk = Desk::new(EDGE);
    desk.link_for(20, 2, EDGE, OURS, 1, PeerMode::Data);
    desk.link(3, EDGE, OURS, 10);
    let out = desk.link(4, EDGE, OURS, 10);
    let life = |out: &[Output]| {
        out.iter().rev().find_map(|output| match output {
            Output::Send {
                link: LinkId(4),
                message: Message::NodeInfoAdvertise(info),
                stamp,
            } if info.id == id(2) => Some(stamp.epoch),
            _ => None,
        })
    };
    assert_eq!(life(&out), Some(0));
    let out = desk.hear(3, Message::NodeInfoAdvertise(far(2, &[(3, 9)])));
    assert_eq!(asked(&out), (vec![2], vec![true]));
    assert_eq!(desk.base.control_link(id(2)), Some(LinkId(3)));
    assert_eq!(desk.base.fib().next_node(id(2)), Some(id(2)));
    // Both by one way.
    let mut out = desk.link_for(2, 2, EDGE, OURS, 1, PeerMode::Both);
    out.extend(desk.pass(Duration::from_secs(2)));
    assert_eq!(life(&out), Some(9));
}
