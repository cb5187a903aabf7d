//! Links between relays of ours: decision 0029.

use super::*;
use crate::peering::message::{Relayed, Stamp};

fn life(epoch: u64) -> Stamp {
    Stamp {
        epoch,
        sequence: Sequence(0),
    }
}

fn own_bytes(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(Dialect::Own, &mut out).unwrap();
    out.freeze()
}

fn write(message: &Message) -> Output {
    Output::Action(Action::Write(S0, own_bytes(message)))
}

fn config() -> Config {
    Config {
        epoch: 11,
        ..Config::new(node(1))
    }
}

fn hear(side: &mut Side, message: &Message) -> Vec<Output> {
    side.input(Input::StreamBytes(S0, own_bytes(message)))
}

/// A dialler whose peer is node 2 in its life 22; nothing waits.
fn established() -> Side {
    let now = base();
    let session = PeerSession::new(Role::Dialler, Dialect::Own, config(), now);
    let mut side = Side { session, now };
    side.drain();
    let connect = connect_of(1, PeerMode::Both).stamped(life(11));
    assert_eq!(side.input(Input::StreamOpened(S0)), [write(&connect)]);
    let outputs = hear(&mut side, &accepted_by(2).stamped(life(22)));
    assert!(matches!(&outputs[..], [Output::Event(_)]), "{outputs:?}");
    assert!(side.session.is_established() && side.session.peer_epoch() == 22);
    assert_eq!(side.input(Input::Flushed(S0)), []);
    side
}

#[test]
fn both_say_their_life() {
    established();
    let now = base();
    let session = PeerSession::new(Role::Acceptor, Dialect::Own, config(), now);
    let mut side = Side { session, now };
    side.input(Input::StreamAccepted(S0));
    hear(&mut side, &connect_of(2, PeerMode::Both).stamped(life(22)));
    assert_eq!(side.session.peer_epoch(), 22);
    let outputs = side.command(Command::Accept).unwrap();
    assert!(
        outputs.contains(&write(&accepted_by(1).stamped(life(11)))),
        "{outputs:?}"
    );
}

#[test]
fn a_node_without_a_life_is_refused() {
    let now = base();
    let session = PeerSession::new(Role::Acceptor, Dialect::Own, config(), now);
    let mut side = Side { session, now };
    side.input(Input::StreamAccepted(S0));
    let outputs = hear(&mut side, &connect_of(2, PeerMode::Both).stamped(life(0)));
    let [Output::Action(Action::Close { code, reason })] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(*code, ErrorCode::InvalidEncoding);
    assert!(reason.contains("without its life"), "{reason}");
}

#[test]
fn infos_keep_their_stamp() {
    let mut side = established();
    let info = subscribe(4).stamped(Stamp {
        epoch: 3,
        sequence: Sequence(4),
    });
    assert_eq!(hear(&mut side, &info), [event(Event::Message(info.clone()))]);
    assert_eq!(side.send(info.clone()), Ok(vec![write(&info)]));
    // Nothing of a node without its stamp.
    assert!(matches!(side.send(subscribe(4)), Err(CommandError::Encode(_))));
}

/// What tells that the peer lives goes before all that waits, and does not pile up.
#[test]
fn pings_go_first_and_one_at_a_time() {
    let mut side = established();
    let relayed = |number| {
        Message::Relayed(Relayed {
            target: NodeId(3),
            source: NodeId(1),
            hop_limit: 5,
            kind: 9,
            request_id: number,
            body: Bytes::new(),
        })
    };
    assert_eq!(side.send(relayed(1)), Ok(vec![write(&relayed(1))]));
    assert_eq!(side.send(relayed(2)), Ok(vec![]));
    for number in [7, 8] {
        assert_eq!(side.command(Command::Ping(number)), Ok(vec![]));
        assert_eq!(hear(&mut side, &Message::Ping(100 + number)), []);
    }
    let mut next = || side.input(Input::Flushed(S0));
    assert_eq!(next(), [write(&Message::Ping(7))]);
    assert_eq!(next(), [write(&Message::Pong(107))]);
    assert_eq!(next(), [write(&relayed(2))]);
    assert_eq!(next(), []);
    assert_eq!(hear(&mut side, &Message::Pong(7)), [event(Event::Pong(7))]);
    assert_eq!(side.command(Command::Ping(9)), Ok(vec![write(&Message::Ping(9))]));
    assert!(side.send(Message::Ping(1)).is_err());
}

#[test]
fn laps_relays_are_not_pinged() {
    let mut side = Side::dialler();
    assert_eq!(side.command(Command::Ping(1)), Err(CommandError::WrongState));
    side.input(Input::StreamOpened(S0));
    side.say(S0, &accepted_by(2));
    assert!(matches!(
        side.command(Command::Ping(1)),
        Err(CommandError::NotAllowed(_))
    ));
}
