//! What holds whatever the peer and our own side do.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn messages() -> Vec<Message> {
    vec![
        connect_of(1, PeerMode::Both),
        connect_of(2, PeerMode::Both),
        connect_of(2, PeerMode::Data),
        accepted_by(2),
        accepted_by(3),
        refused(ResponseCode::ModeNotAllowed),
        Message::NodeInfoAdvertise(with_path(3)),
        subscribe(1),
        publish(),
        node_set(1),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let stream = (0..4_u64).prop_map(|number| ControlStream(number * 4));
    let said = prop::sample::select(messages()).prop_map(|message| bytes(&message));
    let piece = (said.clone(), any::<prop::sample::Index>()).prop_map(|(bytes, at)| {
        let len = at.index(bytes.len());
        bytes.slice(..len)
    });
    let wild = vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let bytes = prop_oneof![6 => said, 1 => piece, 1 => wild];
    prop_oneof![
        2 => stream.clone().prop_map(Input::StreamOpened),
        2 => stream.clone().prop_map(Input::StreamAccepted),
        9 => (stream.clone(), bytes).prop_map(|(stream, bytes)| Input::StreamBytes(stream, bytes)),
        1 => stream.clone().prop_map(Input::StreamFin),
        1 => stream.clone().prop_map(Input::StreamReset),
        4 => stream.prop_map(Input::Flushed),
        1 => Just(Input::DataArrived),
        1 => Just(Input::Timeout),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => Just(Command::Accept),
        1 => Just(Command::Refuse(ResponseCode::ModeNotAllowed, "".into())),
        9 => prop::sample::select(messages()).prop_map(Command::Send),
        1 => Just(Command::RecreateControl),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_breaks_a_session(
        dials in any::<bool>(),
        doings in vec(prop_oneof![3 => input().prop_map(Ok), 1 => command().prop_map(Err)], 0..60),
        waits in vec(0..4_u64, 60),
    ) {
        let role = if dials { Role::Dialler } else { Role::Acceptor };
        let config = Config { max_queued_messages: 5, max_control_moves: 2, ..Config::new(node(1)) };
        let mut side = Side::new(role, config);
        let mut under_way: Option<ControlStream> = None;
        let mut over = 0;
        let mut established = false;
        for (doing, wait) in doings.into_iter().zip(waits) {
            side.now += Duration::from_secs(wait);
            match doing {
                Ok(input) => {
                    if matches!(input, Input::Flushed(stream) if under_way == Some(stream)) {
                        under_way = None;
                    }
                    side.session.handle_input(side.now, input);
                }
                Err(command) => {
                    let was_closed = side.session.is_closed();
                    let done = side.session.command(side.now, command);
                    prop_assert!(!was_closed || done == Err(CommandError::WrongState));
                }
            }
            for output in side.drain() {
                prop_assert_eq!(over, 0, "{:?} after the end", output);
                match output {
                    Output::Action(Action::Write(stream, bytes)) => {
                        let message = message(&bytes);
                        // One at a time on a stream; and nothing but the handshake before the link stands.
                        prop_assert_ne!(under_way.replace(stream), Some(stream));
                        let handshake = matches!(message, Message::Connect(_) | Message::ConnectResponse(_));
                        prop_assert!(established || handshake);
                    }
                    Output::Action(Action::Reset(stream, _)) => {
                        under_way.take_if(|under_way| *under_way == stream);
                    }
                    Output::Action(Action::Close { .. }) => over += 1,
                    Output::Action(Action::OpenControl) => prop_assert!(dials),
                    Output::Event(event) => match *event {
                        Event::Established { peer, .. } => {
                            prop_assert!(!std::mem::replace(&mut established, true));
                            prop_assert_ne!(peer.id, NodeId(1));
                        }
                        Event::Message(message) => {
                            prop_assert!(established);
                            let handshake = matches!(message, Message::Connect(_) | Message::ConnectResponse(_));
                            prop_assert!(!handshake);
                        }
                        Event::PeerConnect(_) => prop_assert!(!dials && !established),
                        Event::Refused(_) => prop_assert!(dials),
                        Event::Unknown { .. } | Event::ControlMoved | Event::Pong(_) => {}
                    },
                    Output::Trace(_) => prop_assert!(false, "nobody asked for it"),
                }
            }
            prop_assert_eq!(over > 0, side.session.is_closed());
            prop_assert!(!side.session.is_closed() || side.session.poll_timeout().is_none());
            prop_assert!(side.session.queued().0 <= 5 + 3);
            prop_assert!(established || !side.session.is_established());
        }
        // A session that is left alone either stands, waits for our own side, or ends.
        for _ in 0..4 {
            let Some(deadline) = side.session.poll_timeout() else { break };
            side.now = side.now.max(deadline);
            side.input(Input::Timeout);
            prop_assert!(side.session.poll_timeout().is_none_or(|next| next > side.now));
        }
        prop_assert_eq!(side.session.poll_timeout(), None);
    }
}
