//! Room for infos, and who gets it.

use super::*;

const fn stamp(sequence: u16) -> Stamp {
    Stamp {
        epoch: 9,
        sequence: Sequence(sequence),
    }
}

fn named(number: usize) -> FullTrackName {
    FullTrackName::new(namespace("live"), Bytes::from(format!("{number:03}"))).unwrap()
}

fn subscribes(source: u64, number: usize, sequence: u16) -> Message {
    Message::SubscribeInfoAdvertise(subscription(source, &named(number), sequence))
}

fn publishes(source: u64, number: usize) -> Message {
    let what = Published::Track(named(number));
    Message::PublishInfoAdvertise(PublishInfo::new(id(source), what))
}

fn desk(limits: Limits) -> Desk {
    let mut desk = Desk::with(EDGE, limits);
    desk.link(2, EDGE, OURS, 1);
    desk.link(3, EDGE, OURS, 1);
    for node in [4, 5] {
        desk.hear(2, Message::NodeInfoAdvertise(far(node, &[(2, 5)])));
    }
    desk
}

/// Subscriptions and publications that are known.
fn known(desk: &Desk) -> (usize, usize) {
    let sizes = desk.base.sizes();
    (sizes.subscribes, sizes.publishes)
}

/// A node that has more than its share leaves the others theirs, also where what is over is remembered.
#[test]
fn one_node_leaves_room_for_others() {
    let mut desk = desk(Limits {
        max_infos_of_node: 10,
        ..Limits::default()
    });
    for number in 0..20 {
        desk.hear_stamped(2, subscribes(4, number, 1), stamp(1));
        desk.hear_stamped(2, publishes(4, number), stamp(1));
    }
    assert_eq!(known(&desk), (10, 10));
    assert_eq!(desk.base.counters().over_limit, 20);
    desk.hear_stamped(2, subscribes(5, 0, 1), stamp(1));
    desk.hear_stamped(2, publishes(5, 0), stamp(1));
    assert_eq!(known(&desk), (11, 11));
    // A change of what is known needs no room, and what is over keeps its place until it is forgotten.
    let mut other = subscription(4, &named(0), 2);
    other.data = data(&named(0), 7);
    desk.hear_stamped(2, Message::SubscribeInfoAdvertise(other), stamp(2));
    let gone = subscription(4, &named(1), 2);
    desk.hear_stamped(2, Message::SubscribeInfoWithdraw(gone), stamp(2));
    desk.hear_stamped(2, subscribes(4, 11, 1), stamp(1));
    assert_eq!((known(&desk).0, desk.base.counters().over_limit), (10, 21));
    desk.pass(Settings::default().convergence_window);
    desk.hear_stamped(2, subscribes(4, 11, 1), stamp(1));
    assert_eq!(known(&desk).0, 11);
}

/// The same, counted in bytes: of one node, and of all. What goes gives its bytes back.
#[test]
fn bytes_are_bounded() {
    let each = data(&named(0), 1).len();
    let mut desk = desk(Limits {
        max_info_bytes: 8 * each,
        max_info_bytes_of_node: 5 * each,
        ..Limits::default()
    });
    for node in [4, 5] {
        for number in 0..9 {
            desk.hear_stamped(2, subscribes(node, number, 1), stamp(1));
        }
    }
    assert_eq!((known(&desk).0, desk.base.counters().over_limit), (8, 4 + 6));
    // One that grows, too; one that does not need not.
    let mut other = subscription(4, &named(0), 2);
    other.data = data(&named(0), 7);
    desk.hear_stamped(2, Message::SubscribeInfoAdvertise(other.clone()), stamp(2));
    assert_eq!(desk.base.counters().over_limit, 10);
    (other.data, other.sequence) = (Bytes::from(vec![0; 2 * each]), Sequence(3));
    desk.hear_stamped(2, Message::SubscribeInfoAdvertise(other), stamp(3));
    assert_eq!((known(&desk).0, desk.base.counters().over_limit), (8, 11));
    for number in 0..2 {
        let gone = subscription(4, &named(number), 4);
        desk.hear_stamped(2, Message::SubscribeInfoWithdraw(gone), stamp(4));
    }
    for number in 4..9 {
        desk.hear_stamped(2, subscribes(5, number, 1), stamp(1));
    }
    assert_eq!(known(&desk).0, 8);
    desk.hear(2, Message::NodeInfoWithdraw(far(4, &[(2, 5)])));
    desk.pass(Duration::from_secs(60));
    assert_eq!(known(&desk).0, 5);
    for number in 0..4 {
        desk.hear_stamped(2, subscribes(6, number, 1), stamp(1));
    }
    assert_eq!(known(&desk).0, 8, "three of the sixth");
}

/// A stub has no more than its share of what this relay says for itself and its stubs, and neither have all of them.
#[test]
fn stubs_leave_room_for_local_users() {
    let mut desk = Desk::with(
        EDGE,
        Limits {
            max_own: 16,
            ..Limits::default()
        },
    );
    for stub in 10..20 {
        desk.link(stub, NodeType::Stub, OURS, 1);
        let base = 10 * stub as usize;
        for number in base..base + 4 {
            desk.hear(stub, publishes(u64::from(stub), number));
        }
        assert_eq!(desk.base.sizes().own, (2 * (stub as usize - 9)).min(12));
    }
    for number in 0..4 {
        desk.command(Command::Publish(Published::Track(named(number))));
    }
    let more = Command::Publish(Published::Track(named(4)));
    assert_eq!(desk.base.command(desk.now, more), Err(CommandError::TooMany));
}

/// A stub that says ever new things and takes them back has its share of what is remembered of that. What it had it may have
/// again.
#[test]
fn what_a_stub_takes_back_counts_until_it_is_forgotten() {
    let mut desk = Desk::with(
        EDGE,
        Limits {
            max_own: 16,
            ..Limits::default()
        },
    );
    for stub in [10, 11] {
        desk.link(stub, NodeType::Stub, OURS, 1);
    }
    let over = |number| {
        let info = PublishInfo::new(id(10), Published::Track(named(number)));
        Message::PublishInfoWithdraw(info)
    };
    for number in 0..20 {
        desk.hear(10, publishes(10, number));
        desk.hear(10, over(number));
    }
    assert_eq!((desk.base.sizes().own, desk.base.counters().over_limit), (2, 18));
    desk.hear(11, publishes(11, 20));
    desk.hear(10, publishes(10, 1));
    assert_eq!((desk.base.sizes().own, desk.base.counters().over_limit), (3, 18));
    // Whoever else wants it has it instead.
    desk.hear(11, publishes(11, 0));
    desk.hear(10, publishes(10, 2));
    assert_eq!((desk.base.sizes().own, desk.base.counters().over_limit), (4, 18));
    desk.hear(10, over(2));
    desk.pass(2 * Settings::default().convergence_window);
    desk.hear(10, publishes(10, 3));
    assert_eq!((desk.base.sizes().own, desk.base.counters().over_limit), (4, 18));
    desk.base.own.check_shares();
}
