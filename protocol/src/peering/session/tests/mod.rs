//! Links on paper: one side against a script, and two sides against each other.

use super::*;
use crate::moqt::name::TrackNamespace;
use crate::peering::hash::TrackHash;
use crate::peering::message::{
    Connect, ConnectResponse, MessageKind, NodeSet, PublishInfo, Published, ResponseCode, Sequence, SnsId,
    SubscribeInfo,
};
use crate::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use crate::peering::reader::{ControlReader, Incoming};
use std::time::Duration;

mod own;
mod pair;
mod properties;
mod sets;

const S0: ControlStream = ControlStream(0);
const S4: ControlStream = ControlStream(4);
const S8: ControlStream = ControlStream(8);

#[expect(
    clippy::disallowed_methods,
    reason = "a test may read the clock once, for a base of virtual time"
)]
fn base() -> Instant {
    Instant::now()
}

fn node(id: u64) -> NodeInfo {
    NodeInfo::new(NodeId(id), NodeType::Edge, Bytes::from_static(b"relay"))
}

fn with_path(id: u64) -> NodeInfo {
    node(id).via(PathItem {
        node: NodeId(9),
        srtt_us: 1,
    })
}

fn connect_of(id: u64, mode: PeerMode) -> Message {
    Message::Connect(Connect { mode, node: node(id) })
}

fn accepted_by(id: u64) -> Message {
    Message::ConnectResponse(ConnectResponse::Accepted(node(id)))
}

fn refused(code: ResponseCode) -> Message {
    Message::ConnectResponse(ConnectResponse::Refused(code))
}

fn node_set(id: u32) -> Message {
    Message::NodeSetAdvertise(NodeSet::new(
        SnsId::new(id).unwrap(),
        NodeSet::PRIORITY,
        [NodeId(1)],
    ))
}

fn subscribe(sequence: u16) -> Message {
    Message::SubscribeInfoAdvertise(SubscribeInfo {
        sequence: Sequence(sequence),
        source: NodeId(7),
        track: TrackHash::combined(1, 2),
        data: Bytes::new(),
    })
}

fn publish() -> Message {
    let namespace = TrackNamespace::new([Bytes::from_static(b"moq")]).unwrap();
    Message::PublishInfoAdvertise(PublishInfo::new(NodeId(7), Published::Namespace(namespace)))
}

fn bytes(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(Dialect::Laps14, &mut out).unwrap();
    out.freeze()
}

/// The one message in what was written.
fn message(bytes: &[u8]) -> Message {
    let mut reader = ControlReader::new(Dialect::Laps14, Default::default());
    reader.push(bytes);
    let Ok(Some(Incoming::Message(message))) = reader.next() else {
        panic!("no message in {bytes:?}");
    };
    assert_eq!(reader.buffered(), 0, "one write is one message");
    message
}

/// One side, its own id 1.
struct Side {
    session: PeerSession,
    now: Instant,
}

impl Side {
    fn new(role: Role, config: Config) -> Self {
        let now = base();
        let session = PeerSession::new(role, Dialect::Laps14, config, now);
        Self { session, now }
    }

    fn dialler() -> Self {
        let mut side = Self::new(Role::Dialler, Config::new(node(1)));
        assert_eq!(side.drain(), [Output::Action(Action::OpenControl)]);
        side
    }

    fn acceptor(config: Config) -> Self {
        let mut side = Self::new(Role::Acceptor, config);
        assert_eq!(side.drain(), []);
        side.input(Input::StreamAccepted(S0));
        side
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.session.poll_output()).collect()
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.session.handle_input(self.now, input);
        self.drain()
    }

    fn say(&mut self, stream: ControlStream, message: &Message) -> Vec<Output> {
        self.input(Input::StreamBytes(stream, bytes(message)))
    }

    fn command(&mut self, command: Command) -> Result<Vec<Output>, CommandError> {
        self.session.command(self.now, command)?;
        Ok(self.drain())
    }

    fn send(&mut self, message: Message) -> Result<Vec<Output>, CommandError> {
        self.command(Command::Send(message))
    }

    /// Lets the next deadline pass.
    fn time_out(&mut self) -> Vec<Output> {
        let deadline = self.session.poll_timeout().unwrap();
        self.session
            .handle_input(deadline - Duration::from_millis(1), Input::Timeout);
        assert_eq!(self.drain(), []);
        self.now = deadline;
        self.input(Input::Timeout)
    }
}

fn written(stream: ControlStream, message: &Message) -> Output {
    Output::Action(Action::Write(stream, bytes(message)))
}

fn reset(stream: ControlStream, code: ErrorCode) -> Output {
    Output::Action(Action::Reset(stream, code))
}

fn event(event: Event) -> Output {
    Output::Event(Box::new(event))
}

/// The link was closed with this code and these words, and that is the last of it.
#[track_caller]
fn closed(outputs: &[Output], code: ErrorCode, words: &str) {
    let Some(Output::Action(Action::Close { code: found, reason })) = outputs.last() else {
        panic!("not closed: {outputs:?}");
    };
    assert_eq!((*found, reason.contains(words)), (code, true), "{reason}");
}

/// An acceptor that has taken the link of node 2; its answer is not flushed.
fn accepting(config: Config) -> Side {
    let mut side = Side::acceptor(config);
    side.say(S0, &connect_of(2, PeerMode::Both));
    side.command(Command::Accept).unwrap();
    side
}

/// A dialler in `mode` whose CONNECT was answered by node 2, all flushed.
fn dialled(mode: PeerMode) -> Side {
    let mut config = Config::new(node(1));
    config.mode = mode;
    let mut side = Side::new(Role::Dialler, config);
    side.drain();
    side.input(Input::StreamOpened(S0));
    side.input(Input::Flushed(S0));
    let peer = node(2);
    assert_eq!(
        side.say(S0, &accepted_by(2)),
        [event(Event::Established { peer, mode })]
    );
    side
}

/// An acceptor that took node 2's CONNECT in `mode`, all flushed.
fn taken(mode: PeerMode) -> Side {
    let mut side = Side::acceptor(Config::new(node(1)));
    side.say(S0, &connect_of(2, mode));
    side.command(Command::Accept).unwrap();
    assert_eq!(side.input(Input::Flushed(S0)), []);
    assert!(side.session.is_established());
    side
}

/// laps peering, "Connect Message": first and alone; nothing is sent before the answer.
#[test]
fn a_dialler_connects_first() {
    let mut side = Side::dialler();
    assert_eq!(side.send(subscribe(1)), Err(CommandError::WrongState));
    let connect = connect_of(1, PeerMode::Both);
    assert_eq!(side.input(Input::StreamOpened(S0)), [written(S0, &connect)]);
    assert_eq!(side.send(subscribe(1)), Err(CommandError::WrongState));
    assert_eq!(side.input(Input::Flushed(S0)), []);
    let established = Event::Established {
        peer: node(2),
        mode: PeerMode::Both,
    };
    assert_eq!(side.say(S0, &accepted_by(2)), [event(established)]);
    assert_eq!(side.session.peer(), Some(&node(2)));
    assert_eq!(side.session.poll_timeout(), None);
    assert_eq!(side.send(subscribe(1)).unwrap(), [written(S0, &subscribe(1))]);
}

/// What is known of us from others goes into no CONNECT of ours. laps peering, "Node Path".
#[test]
fn a_node_tells_of_itself_with_an_empty_path() {
    let mut side = Side::new(Role::Dialler, Config::new(with_path(1)));
    side.drain();
    let connect = connect_of(1, PeerMode::Both);
    assert_eq!(side.input(Input::StreamOpened(S0)), [written(S0, &connect)]);
}

#[test]
fn an_acceptor_asks_who_may_come() {
    let mut side = Side::acceptor(Config::new(node(1)));
    let connect = Connect {
        mode: PeerMode::Data,
        node: node(2),
    };
    assert_eq!(side.command(Command::Accept), Err(CommandError::WrongState));
    let outputs = side.say(S0, &Message::Connect(connect.clone()));
    assert_eq!(outputs, [event(Event::PeerConnect(connect))]);
    assert_eq!(side.session.poll_timeout(), None);
    let established = Event::Established {
        peer: node(2),
        mode: PeerMode::Data,
    };
    assert_eq!(
        side.command(Command::Accept).unwrap(),
        [event(established), written(S0, &accepted_by(1))]
    );
    assert_eq!(side.command(Command::Accept), Err(CommandError::WrongState));
}

/// A refusal goes out before the link is closed, and is not waited for without end.
#[test]
fn an_acceptor_refuses_with_a_code() {
    for flushed in [true, false] {
        let mut side = Side::acceptor(Config::new(node(1)));
        side.say(S0, &connect_of(2, PeerMode::Both));
        let why = Command::Refuse(ResponseCode::NotAuthorized, "one link is enough".into());
        let unknown = Command::Refuse(ResponseCode::Unknown(9), "".into());
        assert!(matches!(side.command(unknown), Err(CommandError::NotAllowed(_))));
        assert_eq!(
            side.command(why).unwrap(),
            [written(S0, &refused(ResponseCode::NotAuthorized))]
        );
        assert_eq!(side.say(S0, &subscribe(1)), []);
        let outputs = if flushed {
            side.input(Input::Flushed(S0))
        } else {
            side.time_out()
        };
        closed(&outputs, ErrorCode::NotAuthorized, "one link is enough");
        assert_eq!(side.session.poll_timeout(), None);
    }
}

#[test]
fn a_refused_dialler_is_told() {
    for (code, close) in [
        (ResponseCode::ConnectionError, ErrorCode::Close),
        (ResponseCode::NotAuthorized, ErrorCode::NotAuthorized),
        (ResponseCode::ModeNotAllowed, ErrorCode::Close),
    ] {
        let mut side = Side::dialler();
        side.input(Input::StreamOpened(S0));
        let outputs = side.say(S0, &refused(code));
        assert_eq!(outputs.first(), Some(&event(Event::Refused(code))));
        closed(&outputs, close, "the peer refuses the link");
    }
    let mut side = Side::dialler();
    side.input(Input::StreamOpened(S0));
    let outputs = side.input(Input::StreamBytes(
        S0,
        Bytes::from_static(&[1, 0, 2, 0, 0, 0, 2, 0, 77]),
    ));
    closed(&outputs, ErrorCode::Close, "response code 77");
}

/// laps peering, "Connect Message", "Connect Response Message": each other message has its code.
#[test]
fn anything_else_first_is_a_breach() {
    let unknown = Bytes::from_static(&[1, 0, 99, 0, 0, 0, 0]);
    for first in [accepted_by(2), subscribe(1), publish(), node_set(1)].map(|message| bytes(&message)) {
        let mut side = Side::acceptor(Config::new(node(1)));
        let outputs = side.input(Input::StreamBytes(S0, first));
        closed(&outputs, ErrorCode::ConnectMissing, "where CONNECT has to be");
    }
    let mut side = Side::acceptor(Config::new(node(1)));
    let outputs = side.input(Input::StreamBytes(S0, unknown.clone()));
    closed(
        &outputs,
        ErrorCode::ConnectMissing,
        "type 99 where CONNECT has to be",
    );
    for first in [connect_of(2, PeerMode::Both), subscribe(1), node_set(1)].map(|message| bytes(&message)) {
        let mut side = Side::dialler();
        side.input(Input::StreamOpened(S0));
        let outputs = side.input(Input::StreamBytes(S0, first));
        closed(
            &outputs,
            ErrorCode::ConnectResponseMissing,
            "where CONNECT_RESPONSE has to be",
        );
    }
    let mut side = Side::dialler();
    side.input(Input::StreamOpened(S0));
    let outputs = side.input(Input::StreamBytes(S0, unknown));
    closed(&outputs, ErrorCode::ConnectResponseMissing, "type 99");
}

#[test]
fn nothing_is_said_between_connect_and_its_answer() {
    let mut side = Side::acceptor(Config::new(node(1)));
    side.say(S0, &connect_of(2, PeerMode::Both));
    let outputs = side.say(S0, &subscribe(1));
    closed(
        &outputs,
        ErrorCode::InvalidMessageType,
        "before CONNECT is answered",
    );
}

#[test]
fn bytes_that_are_no_message_end_the_link() {
    let mut side = taken(PeerMode::Both);
    let outputs = side.input(Input::StreamBytes(S0, Bytes::from_static(b"GET /")));
    closed(&outputs, ErrorCode::InvalidEncoding, "version 71");
    assert_eq!(side.say(S0, &subscribe(1)), []);
    let mut side = taken(PeerMode::Both);
    let outputs = side.input(Input::StreamBytes(S0, Bytes::from_static(&[1, 0, 3])));
    closed(&outputs, ErrorCode::InvalidMessageType, "data object");
}

#[test]
fn waiting_ends() {
    let mut side = Side::dialler();
    let outputs = side.time_out();
    closed(
        &outputs,
        ErrorCode::ConnectResponseMissing,
        "not answered in time",
    );
    let mut side = Side::dialler();
    side.input(Input::StreamOpened(S0));
    side.input(Input::Flushed(S0));
    closed(
        &side.time_out(),
        ErrorCode::ConnectResponseMissing,
        "not answered in time",
    );
    let mut side = Side::acceptor(Config::new(node(1)));
    side.input(Input::StreamBytes(
        S0,
        bytes(&connect_of(2, PeerMode::Both)).slice(..9),
    ));
    closed(&side.time_out(), ErrorCode::ConnectMissing, "no CONNECT in time");
    assert_eq!(side.session.poll_timeout(), None);
}

/// A drop of bytes now and then does not buy time.
#[test]
fn a_message_is_to_be_finished() {
    let mut side = taken(PeerMode::Both);
    let begun = bytes(&subscribe(1));
    side.input(Input::StreamBytes(S0, begun.slice(..3)));
    let deadline = side.session.poll_timeout();
    side.now += Duration::from_secs(9);
    side.input(Input::StreamBytes(S0, begun.slice(3..9)));
    assert_eq!(side.session.poll_timeout(), deadline);
    closed(&side.time_out(), ErrorCode::InvalidEncoding, "unfinished");

    let mut side = taken(PeerMode::Both);
    side.input(Input::StreamBytes(S0, begun.slice(..3)));
    side.input(Input::StreamBytes(S0, begun.slice(3..)));
    assert_eq!(side.session.poll_timeout(), None);
}

#[test]
fn who_is_there_is_checked() {
    let expecting = Config {
        expected: Some(NodeId(3)),
        ..Config::new(node(1))
    };
    let answers = |config: Config, connect: &Message| {
        let mut side = Side::acceptor(config);
        let outputs = side.say(S0, connect);
        let answer = match &outputs[..] {
            [Output::Action(Action::Write(_, bytes))] => message(bytes),
            other => panic!("{other:?}"),
        };
        (answer, side.input(Input::Flushed(S0)))
    };
    let (answer, outputs) = answers(expecting.clone(), &connect_of(2, PeerMode::Both));
    assert_eq!(answer, refused(ResponseCode::NotAuthorized));
    closed(
        &outputs,
        ErrorCode::NotAuthorized,
        "node 0:2 where 0:3 is expected",
    );
    let (answer, outputs) = answers(Config::new(node(1)), &connect_of(1, PeerMode::Both));
    assert_eq!(answer, refused(ResponseCode::ConnectionError));
    closed(&outputs, ErrorCode::Close, OWN_ID);
    // Also when the link is closed for something else before the answer is out.
    let mut side = Side::acceptor(Config::new(node(1)));
    side.say(S0, &connect_of(1, PeerMode::Both));
    let outputs = side.command(Command::Close(ErrorCode::Close, "the relay ends".into()));
    closed(&outputs.unwrap(), ErrorCode::Close, OWN_ID);
    let control_only = Config {
        accepted_modes: vec![PeerMode::Control],
        ..Config::new(node(1))
    };
    let (answer, outputs) = answers(control_only, &connect_of(2, PeerMode::Data));
    assert_eq!(answer, refused(ResponseCode::ModeNotAllowed));
    closed(&outputs, ErrorCode::Close, "mode data");

    let answered = |config: Config, response: Message| {
        let mut side = Side::new(Role::Dialler, config);
        side.drain();
        side.input(Input::StreamOpened(S0));
        side.say(S0, &response)
    };
    let outputs = answered(expecting.clone(), accepted_by(2));
    closed(
        &outputs,
        ErrorCode::NotAuthorized,
        "node 0:2 where 0:3 is expected",
    );
    closed(
        &answered(expecting.clone(), accepted_by(1)),
        ErrorCode::Close,
        "own id",
    );
    assert_eq!(answered(expecting, accepted_by(3)).len(), 1);
    let forged = Message::ConnectResponse(ConnectResponse::Accepted(with_path(2)));
    let outputs = answered(Config::new(node(1)), forged);
    closed(&outputs, ErrorCode::InvalidEncoding, "with a path");
    let mut side = Side::acceptor(Config::new(node(1)));
    let outputs = side.say(
        S0,
        &Message::Connect(Connect {
            mode: PeerMode::Both,
            node: with_path(2),
        }),
    );
    closed(&outputs, ErrorCode::InvalidEncoding, "with a path");
}

/// Everything twice, as laps relays say it at the start.
#[test]
fn duplicates_are_no_breach() {
    let mut side = taken(PeerMode::Both);
    for message in [
        Message::NodeInfoAdvertise(node(3)),
        publish(),
        subscribe(1),
        Message::NodeInfoAdvertise(node(3)),
        publish(),
        subscribe(1),
    ] {
        assert_eq!(side.say(S0, &message), [event(Event::Message(message))]);
    }
    assert_eq!(side.session.received().of(MessageKind::SubscribeInfoAdvertise), 2);
    let unknown = Bytes::from_static(&[1, 0, 99, 0, 0, 0, 1, 7]);
    let passed_over = Event::Unknown {
        message_type: 99,
        length: 1,
    };
    assert_eq!(side.input(Input::StreamBytes(S0, unknown)), [event(passed_over)]);
    let received = side.session.received();
    assert_eq!((received.unknown(), received.total()), (1, 8));
}

/// laps peering, "Peering Modes": what goes over which link, in which direction.
#[test]
fn modes_permit_what_they_are_for() {
    use PeerMode::{Both, Control, Data};
    for (mode, control, data) in [(Control, true, false), (Data, false, true), (Both, true, true)] {
        for dials in [true, false] {
            let make = || if dials { dialled(mode) } else { taken(mode) };
            let side = make();
            assert_eq!(
                (
                    side.session.carries_control(),
                    side.session.sends_data(),
                    side.session.takes_data()
                ),
                (control, data, data),
                "{mode} {dials}"
            );
            let cases = [
                (subscribe(1), control),
                (publish(), control),
                (Message::NodeInfoWithdraw(node(3)), control),
                (node_set(1), data),
                (Message::NodeSetWithdraw(SnsId::FIRST), data),
            ];
            for (message, taken) in cases {
                let mut side = make();
                assert_eq!(side.send(message.clone()).is_ok(), taken, "{mode} {message:?}");
                let outputs = side.say(S0, &message);
                if taken {
                    assert_eq!(outputs, [event(Event::Message(message))]);
                } else {
                    closed(&outputs, ErrorCode::InvalidMessageType, "on a link");
                }
            }
            let mut side = make();
            let outputs = side.input(Input::DataArrived);
            if data {
                assert_eq!(outputs, []);
            } else {
                closed(&outputs, ErrorCode::InvalidStartOfStream, "takes none");
            }
            let mut side = make();
            assert!(matches!(
                side.send(connect_of(1, mode)),
                Err(CommandError::NotAllowed(_))
            ));
            assert!(side.session.is_established());
        }
    }
}

/// Data that overtakes the answer is no breach.
#[test]
fn early_data() {
    let mut side = Side::dialler();
    side.input(Input::StreamOpened(S0));
    assert_eq!(side.input(Input::DataArrived), []);
}

/// Laps relays lose the second message of a chunk: each waits until the one before has left.
#[test]
fn one_message_leaves_at_a_time() {
    let mut side = dialled(PeerMode::Both);
    assert_eq!(side.send(subscribe(1)).unwrap(), [written(S0, &subscribe(1))]);
    assert_eq!(side.send(subscribe(2)).unwrap(), []);
    assert_eq!(side.send(subscribe(3)).unwrap(), []);
    assert_eq!(side.session.queued(), (2, 2 * bytes(&subscribe(2)).len()));
    assert_eq!(side.input(Input::Flushed(S4)), []);
    assert_eq!(side.input(Input::Flushed(S0)), [written(S0, &subscribe(2))]);
    assert_eq!(side.input(Input::Flushed(S0)), [written(S0, &subscribe(3))]);
    assert_eq!(side.input(Input::Flushed(S0)), []);
    assert_eq!(side.session.queued(), (0, 0));
    assert_eq!(side.session.sent().of(MessageKind::SubscribeInfoAdvertise), 3);
    // Neither does the answer share a chunk with what follows it.
    let mut side = accepting(Config::new(node(1)));
    assert_eq!(side.send(subscribe(1)).unwrap(), []);
    assert_eq!(side.input(Input::Flushed(S0)), [written(S0, &subscribe(1))]);
}

#[test]
fn a_peer_that_takes_nothing_is_left() {
    let config = Config {
        max_queued_messages: 2,
        ..Config::new(node(1))
    };
    let mut side = accepting(config);
    assert_eq!(side.session.queue_room(), 2);
    side.send(subscribe(1)).unwrap();
    side.send(subscribe(2)).unwrap();
    assert_eq!(side.session.queue_room(), 0);
    assert_eq!(side.send(subscribe(3)), Err(CommandError::Overflow(2)));
    let outputs = side.drain();
    closed(&outputs, ErrorCode::Close, "2 control messages wait");
    assert_eq!(side.send(subscribe(4)), Err(CommandError::WrongState));
}

#[test]
fn a_message_that_cannot_be_said_changes_nothing() {
    let mut side = dialled(PeerMode::Both);
    let nodes = (0..70_000).map(NodeId);
    let set = NodeSet::new(SnsId::FIRST, NodeSet::PRIORITY, nodes);
    assert!(matches!(
        side.send(Message::NodeSetAdvertise(set)),
        Err(CommandError::Encode(EncodeError::TooLarge { .. }))
    ));
    assert!(side.session.is_established());
    assert_eq!(side.session.sent().of(MessageKind::NodeSetAdvertise), 0);
    let closing = side.command(Command::Close(ErrorCode::Redirect, "drain".into()));
    closed(&closing.unwrap(), ErrorCode::Redirect, "drain");
}

/// laps peering, "Sending/Receiving Control Messages": messages decide, not the stream itself; the old one is reset.
#[test]
fn an_acceptor_moves_with_the_dialler() {
    let mut side = taken(PeerMode::Both);
    side.send(subscribe(1)).unwrap();
    side.send(subscribe(2)).unwrap();
    assert_eq!(side.input(Input::StreamAccepted(S4)), []);
    // Still the old one, also while a message is not whole.
    let again = bytes(&connect_of(2, PeerMode::Both));
    assert_eq!(side.input(Input::StreamBytes(S4, again.slice(..10))), []);
    assert_eq!(side.say(S0, &subscribe(5)), [event(Event::Message(subscribe(5)))]);
    assert_eq!(side.input(Input::Flushed(S0)), [written(S0, &subscribe(2))]);
    assert_eq!(side.send(subscribe(3)).unwrap(), []);
    assert_eq!(
        side.input(Input::StreamBytes(S4, again.slice(10..))),
        [
            reset(S0, ErrorCode::SwitchNewStream),
            event(Event::ControlMoved),
            written(S4, &accepted_by(1))
        ]
    );
    assert_eq!(side.input(Input::Flushed(S0)), []);
    assert_eq!(side.input(Input::Flushed(S4)), [written(S4, &subscribe(3))]);
    // The old one is of no use any more.
    assert_eq!(side.say(S0, &subscribe(6)), []);
    assert_eq!(side.input(Input::StreamReset(S0)), []);
    // Any message moves, not just CONNECT.
    assert_eq!(side.input(Input::StreamAccepted(S8)), []);
    assert_eq!(
        side.say(S8, &subscribe(7)),
        [
            reset(S4, ErrorCode::SwitchNewStream),
            event(Event::ControlMoved),
            event(Event::Message(subscribe(7)))
        ]
    );
    closed(
        &side.say(S8, &connect_of(2, PeerMode::Both)),
        ErrorCode::InvalidMessageType,
        "CONNECT on a link that stands",
    );
}

#[test]
fn only_the_newest_stream_can_take_over() {
    let mut side = taken(PeerMode::Both);
    assert_eq!(side.input(Input::StreamAccepted(S4)), []);
    assert_eq!(
        side.input(Input::StreamAccepted(S8)),
        [reset(S4, ErrorCode::SwitchNewStream)]
    );
    assert_eq!(side.say(S4, &subscribe(1)), []);
    assert_eq!(side.say(S0, &subscribe(1)), [event(Event::Message(subscribe(1)))]);
    assert_eq!(side.input(Input::StreamFin(S8)), [reset(S8, ErrorCode::Close)]);
    assert_eq!(side.session.poll_timeout(), None);
    let mut side = taken(PeerMode::Both);
    side.input(Input::StreamAccepted(S4));
    let outputs = side.say(S4, &connect_of(3, PeerMode::Both));
    closed(&outputs, ErrorCode::InvalidMessageType, "another node");
}

#[test]
fn an_acceptor_waits_for_a_new_stream() {
    for newer_was_there in [true, false] {
        let mut side = taken(PeerMode::Both);
        if newer_was_there {
            side.input(Input::StreamAccepted(S4));
        }
        assert_eq!(side.input(Input::StreamReset(S0)), [reset(S0, ErrorCode::Close)]);
        assert_eq!(side.send(subscribe(1)).unwrap(), []);
        if !newer_was_there {
            assert_eq!(side.input(Input::StreamAccepted(S4)), []);
        }
        assert!(side.session.poll_timeout().is_some());
        assert_eq!(
            side.say(S4, &connect_of(2, PeerMode::Both)),
            [event(Event::ControlMoved), written(S4, &accepted_by(1))]
        );
        assert_eq!(side.session.poll_timeout(), None);
        assert_eq!(side.input(Input::Flushed(S4)), [written(S4, &subscribe(1))]);
    }
    let mut side = taken(PeerMode::Both);
    side.input(Input::StreamFin(S0));
    closed(&side.time_out(), ErrorCode::ConnectMissing, "no new one came");
}

#[test]
fn a_dialler_replaces_its_stream() {
    for lost in [true, false] {
        let mut side = dialled(PeerMode::Both);
        side.send(subscribe(1)).unwrap();
        side.send(subscribe(2)).unwrap();
        let open = Output::Action(Action::OpenControl);
        let mut expected = Vec::new();
        if lost {
            assert_eq!(
                side.input(Input::StreamReset(S0)),
                [reset(S0, ErrorCode::Close), open]
            );
        } else {
            assert_eq!(side.command(Command::RecreateControl).unwrap(), [open]);
            // Once is enough.
            assert_eq!(side.command(Command::RecreateControl).unwrap(), []);
            expected.push(reset(S0, ErrorCode::SwitchNewStream));
        }
        expected.push(event(Event::ControlMoved));
        expected.push(written(S4, &connect_of(1, PeerMode::Both)));
        assert_eq!(side.input(Input::StreamOpened(S4)), expected);
        assert_eq!(side.input(Input::Flushed(S4)), [written(S4, &subscribe(2))]);
        // What the peer had to say may come before its answer.
        assert_eq!(side.say(S4, &subscribe(9)), [event(Event::Message(subscribe(9)))]);
        assert_eq!(side.say(S4, &accepted_by(2)), []);
        assert_eq!(side.session.poll_timeout(), None);
        closed(
            &side.say(S4, &accepted_by(2)),
            ErrorCode::InvalidMessageType,
            "on a link that stands",
        );
    }
    let again = || {
        let mut side = dialled(PeerMode::Both);
        side.command(Command::RecreateControl).unwrap();
        side
    };
    closed(
        &again().time_out(),
        ErrorCode::ConnectResponseMissing,
        "new control stream",
    );
    let mut side = again();
    side.input(Input::StreamOpened(S4));
    closed(
        &side.time_out(),
        ErrorCode::ConnectResponseMissing,
        "new control stream",
    );
    let mut side = again();
    side.input(Input::StreamOpened(S4));
    closed(
        &side.say(S4, &accepted_by(3)),
        ErrorCode::InvalidMessageType,
        "another node",
    );
    let mut side = taken(PeerMode::Both);
    assert!(matches!(
        side.command(Command::RecreateControl),
        Err(CommandError::NotAllowed(_))
    ));
}

#[test]
fn streams_are_the_diallers_to_open() {
    let mut side = dialled(PeerMode::Both);
    let stream = ControlStream(1);
    assert_eq!(
        side.input(Input::StreamAccepted(stream)),
        [reset(stream, ErrorCode::InvalidMessageType)]
    );
    assert_eq!(side.say(stream, &subscribe(1)), []);
    assert!(side.session.is_established());
}

#[test]
fn a_stream_that_ends_too_early_ends_the_link() {
    let mut side = Side::dialler();
    side.input(Input::StreamOpened(S0));
    let outputs = side.input(Input::StreamFin(S0));
    closed(&outputs, ErrorCode::ConnectResponseMissing, "ended before");
    let mut side = Side::acceptor(Config::new(node(1)));
    side.say(S0, &connect_of(2, PeerMode::Both));
    let outputs = side.input(Input::StreamFin(S0));
    closed(&outputs, ErrorCode::ConnectMissing, "ended before");
}

/// Each move makes both sides say everything again, so they are bounded.
#[test]
fn moving_without_end_ends_the_link() {
    let mut side = taken(PeerMode::Both);
    let mut moves = 0;
    let outputs = loop {
        moves += 1;
        let stream = ControlStream(moves * 4);
        side.input(Input::StreamAccepted(stream));
        let outputs = side.say(stream, &connect_of(2, PeerMode::Both));
        if side.session.is_closed() {
            break outputs;
        }
    };
    assert_eq!(moves, 17);
    closed(&outputs, ErrorCode::Close, "too often");
}

#[test]
fn messages_are_traced() {
    let config = Config {
        trace: true,
        ..Config::new(node(1))
    };
    let mut side = Side::acceptor(config);
    side.say(S0, &connect_of(2, PeerMode::Both));
    side.session.command(side.now, Command::Accept).unwrap();
    side.session
        .command(side.now, Command::Send(subscribe(1)))
        .unwrap();
    let traced = side.drain().into_iter().filter_map(|output| match output {
        Output::Trace(traced) => Some((traced.inbound, traced.message.kind())),
        Output::Action(_) | Output::Event(_) => None,
    });
    assert_eq!(
        traced.collect::<Vec<_>>(),
        [
            (false, MessageKind::ConnectResponse),
            (false, MessageKind::SubscribeInfoAdvertise)
        ]
    );
}

/// A set that another one takes the place of is never said, and not traced either.
#[test]
fn sets_are_traced_as_they_leave() {
    let config = Config {
        trace: true,
        ..Config::new(node(1))
    };
    let mut side = Side::acceptor(config);
    side.say(S0, &connect_of(2, PeerMode::Both));
    side.session.command(side.now, Command::Accept).unwrap();
    side.drain();
    let set = |to| {
        Message::NodeSetAdvertise(NodeSet::new(
            SnsId::new(1).unwrap(),
            NodeSet::PRIORITY,
            [NodeId(to)],
        ))
    };
    let traced = |outputs: Vec<Output>| {
        let traced = outputs.into_iter().filter_map(|output| match output {
            Output::Trace(traced) => Some((traced.inbound, traced.message)),
            Output::Action(_) | Output::Event(_) => None,
        });
        traced.collect::<Vec<_>>()
    };
    for to in 3..6 {
        assert_eq!(traced(side.send(set(to)).unwrap()), []);
    }
    assert_eq!(traced(side.input(Input::Flushed(S0))), [(false, set(5))]);
    assert_eq!(side.session.sent().of(MessageKind::NodeSetAdvertise), 1);
}
