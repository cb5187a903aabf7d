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

/// A link for data one way, as who dialled it sees it, or who accepted it.
fn one_way(role: Role) -> Side {
    let config = Config {
        mode: PeerMode::DataOut,
        ..config()
    };
    let now = base();
    let session = PeerSession::new(role, Dialect::Own, config, now);
    let mut side = Side { session, now };
    let connect = |id| connect_of(id, PeerMode::DataOut);
    if role == Role::Dialler {
        side.drain();
        let asks = connect(1).stamped(life(11));
        assert_eq!(side.input(Input::StreamOpened(S0)), [write(&asks)]);
        hear(&mut side, &accepted_by(2).stamped(life(22)));
    } else {
        side.input(Input::StreamAccepted(S0));
        hear(&mut side, &connect(2).stamped(life(22)));
        side.command(Command::Accept).unwrap();
    }
    assert!(side.session.is_established());
    assert_eq!(side.input(Input::Flushed(S0)), []);
    side
}

/// laps peering, "(2) Data Peering", and decision 0042: from who dialled to who accepted, and neither back nor anything else.
#[test]
fn data_goes_one_way() {
    for (role, mode) in [
        (Role::Dialler, PeerMode::DataOut),
        (Role::Acceptor, PeerMode::DataIn),
    ] {
        let sends = role == Role::Dialler;
        let side = one_way(role);
        assert_eq!(
            (side.session.mode(), side.session.carries_control()),
            (mode, false)
        );
        assert_eq!(
            (side.session.sends_data(), side.session.takes_data()),
            (sends, !sends)
        );
        for message in [node_set(1), Message::NodeSetWithdraw(SnsId::FIRST)] {
            let mut side = one_way(role);
            let said = side.send(message.clone());
            assert_eq!(said.is_ok(), sends, "{mode} {said:?}");
            let mut side = one_way(role);
            let heard = hear(&mut side, &message);
            if sends {
                closed(
                    &heard,
                    ErrorCode::InvalidMessageType,
                    "takes no data of this peer",
                );
            } else {
                assert_eq!(heard, [event(Event::Message(message))]);
            }
        }
        let mut side = one_way(role);
        let outputs = side.input(Input::DataArrived);
        if sends {
            closed(&outputs, ErrorCode::InvalidStartOfStream, "takes none");
        } else {
            assert_eq!(outputs, []);
        }
        let info = subscribe(1).stamped(life(3));
        let mut side = one_way(role);
        assert!(side.send(info.clone()).is_err());
        let outputs = hear(&mut side, &info);
        closed(&outputs, ErrorCode::InvalidMessageType, "for data alone");
        // That it lives is asked by both.
        let mut side = one_way(role);
        assert_eq!(side.command(Command::Ping(9)), Ok(vec![write(&Message::Ping(9))]));
    }
}

/// The acceptor's side of a link stays what it is when the dialler begins a new control stream.
#[test]
fn a_link_for_one_way_keeps_its_way() {
    let again = |mode| {
        let mut side = one_way(Role::Acceptor);
        side.input(Input::StreamAccepted(S4));
        let connect = own_bytes(&connect_of(2, mode).stamped(life(22)));
        (side.input(Input::StreamBytes(S4, connect)), side)
    };
    let (outputs, side) = again(PeerMode::DataOut);
    assert!(outputs.contains(&Output::Action(Action::Write(
        S4,
        own_bytes(&accepted_by(1).stamped(life(11)))
    ))));
    assert_eq!(side.session.mode(), PeerMode::DataIn);
    let (outputs, _) = again(PeerMode::Data);
    closed(&outputs, ErrorCode::InvalidMessageType, "in another mode");
}

/// laps peering, "(2) Data Peering": stubs always operate in bi-directional mode.
#[test]
fn a_stub_asks_for_both_ways() {
    for (kind, refuses) in [(NodeType::Stub, true), (NodeType::Edge, false)] {
        let now = base();
        let session = PeerSession::new(Role::Acceptor, Dialect::Own, config(), now);
        let mut side = Side { session, now };
        side.input(Input::StreamAccepted(S0));
        let node = NodeInfo {
            node_type: kind,
            ..node(2)
        };
        let mode = PeerMode::DataOut;
        let outputs = hear(
            &mut side,
            &Message::Connect(Connect { mode, node }).stamped(life(22)),
        );
        let refusal = refused(ResponseCode::ModeNotAllowed).stamped(Stamp {
            epoch: 11,
            sequence: Sequence::default(),
        });
        assert_eq!(outputs == [write(&refusal)], refuses, "{kind}: {outputs:?}");
    }
}

/// A laps relay is not asked for it: the link ends here before a word of it was said.
#[test]
fn laps_relays_are_not_asked_for_one_way() {
    let mut side = Side::new(
        Role::Dialler,
        Config {
            mode: PeerMode::DataOut,
            ..config()
        },
    );
    side.drain();
    let outputs = side.input(Input::StreamOpened(S0));
    closed(&outputs, ErrorCode::Close, "one way cannot be said to this peer");
    assert_eq!(outputs.len(), 1);
}
