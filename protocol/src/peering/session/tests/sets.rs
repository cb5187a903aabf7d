//! Sets of nodes on a link that is slow, or says nothing back.

use super::*;

fn set_of(id: u32, node: u64) -> Message {
    Message::NodeSetAdvertise(NodeSet::new(
        SnsId::new(id).unwrap(),
        NodeSet::PRIORITY,
        [NodeId(node)],
    ))
}

fn over(id: u32) -> Message {
    Message::NodeSetWithdraw(SnsId::new(id).unwrap())
}

/// All that leaves from now on, one message for each flush.
fn leaves(side: &mut Side) -> Vec<Message> {
    let mut left = Vec::new();
    while let [Output::Action(Action::Write(S0, bytes))] = &side.input(Input::Flushed(S0))[..] {
        left.push(message(bytes));
    }
    left
}

/// laps peering, "SNS Advertisement": the same id gets a new set. A track that relays join and leave all the time does not
/// end a link that takes nothing for a while, and the peer hears how it is in the end.
#[test]
fn a_set_that_changes_all_the_time_waits_once() {
    let mut side = dialled(PeerMode::Both);
    side.send(subscribe(1)).unwrap();
    for node in 0..70_000 {
        assert_eq!(side.send(set_of(1, node)).unwrap(), []);
    }
    assert_eq!((side.session.queued(), side.session.queued_sets()), ((0, 0), 1));
    assert_eq!(leaves(&mut side), [set_of(1, 69_999)]);
    assert_eq!(side.session.sent().of(MessageKind::NodeSetAdvertise), 1);
}

/// A link on which as many sets begin at once as it may have has room for all of them, and for what the bases say.
#[test]
fn as_many_sets_as_a_link_has_wait_beside_the_rest() {
    let mut side = dialled(PeerMode::Both);
    side.send(subscribe(1)).unwrap();
    for id in 1..=65_536 {
        side.send(set_of(id, 1)).unwrap();
    }
    assert_eq!(
        side.session.queue_room(),
        Config::new(node(1)).max_queued_messages
    );
    side.send(subscribe(2)).unwrap();
    side.send(subscribe(3)).unwrap();
    assert_eq!(side.session.queued_sets(), 65_536);
    // Neither keeps the other waiting.
    let left = leaves(&mut side);
    assert_eq!(left.len(), 65_538);
    assert_eq!(
        left[..5],
        [
            set_of(1, 1),
            subscribe(2),
            set_of(2, 1),
            subscribe(3),
            set_of(3, 1)
        ]
    );
    assert_eq!(left.last(), Some(&set_of(65_536, 1)));
}

/// All of them may end before they left, and as many begin.
#[test]
fn as_many_sets_as_a_link_has_are_replaced_while_they_wait() {
    const MOST: u32 = 65_536;
    let mut side = dialled(PeerMode::Both);
    side.send(subscribe(1)).unwrap();
    for id in 1..=MOST {
        side.send(set_of(id, 1)).unwrap();
    }
    for id in 1..=MOST {
        side.send(over(id)).unwrap();
        side.send(set_of(MOST + id, 1)).unwrap();
    }
    assert_eq!(side.session.queued_sets(), 3 * 65_536);
    assert_eq!(leaves(&mut side).len(), 3 * 65_536);
}

/// Data of a set does not wait for what is said of it: whoever has that data is to hear whom it is for, also where the set is
/// over before it left.
#[test]
fn a_set_that_ends_before_it_left_is_said_all_the_same() {
    let mut side = dialled(PeerMode::Both);
    side.send(subscribe(1)).unwrap();
    side.send(set_of(1, 1)).unwrap();
    side.send(over(1)).unwrap();
    side.send(set_of(2, 1)).unwrap();
    assert_eq!(leaves(&mut side), [set_of(1, 1), over(1), set_of(2, 1)]);
    side.send(subscribe(2)).unwrap();
    side.send(set_of(2, 2)).unwrap();
    side.send(over(2)).unwrap();
    assert_eq!(leaves(&mut side), [set_of(2, 2), over(2)]);
}

#[test]
fn sets_without_end_end_the_link() {
    let config = Config {
        max_queued_sets: 2,
        ..Config::new(node(1))
    };
    let mut side = accepting(config);
    for id in [1, 2, 1, 2] {
        side.send(set_of(id, 1)).unwrap();
    }
    assert_eq!(side.send(set_of(3, 1)), Err(CommandError::Overflow(2)));
    closed(&side.drain(), ErrorCode::Close, "2 control messages wait");
}

#[test]
fn sets_without_measure_end_the_link() {
    let config = Config {
        max_queued_set_bytes: 100,
        ..Config::new(node(1))
    };
    let mut side = accepting(config);
    let large = NodeSet::new(SnsId::new(1).unwrap(), NodeSet::PRIORITY, (1..100).map(NodeId));
    let sent = side.send(Message::NodeSetAdvertise(large));
    assert_eq!(sent, Err(CommandError::Overflow(0)));
    closed(&side.drain(), ErrorCode::Close, "control messages wait");
}
