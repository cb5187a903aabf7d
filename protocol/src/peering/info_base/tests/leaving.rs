//! A relay that is about to end.

use super::*;

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
