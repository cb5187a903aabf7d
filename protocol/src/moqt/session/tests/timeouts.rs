//! What a peer leaves unfinished, and sessions in which nobody asks for anything.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn encoded(message: &ControlMessage) -> Bytes {
    let mut bytes = BytesMut::new();
    Codec::Draft14.encode(message, &mut bytes).unwrap();
    bytes.freeze()
}

impl Bench {
    fn at(&mut self, after: Duration, input: Input) {
        self.session.handle_input(self.start + after, input);
    }

    fn due(&self) -> Option<Duration> {
        self.session.poll_timeout().map(|at| at - self.start)
    }
}

/// D14-LIM-6
#[test]
fn a_message_that_is_never_finished_ends_the_session() {
    let message = encoded(&ControlMessage::Subscribe(
        RequestId(0),
        subscribe("a", SubscribeFilter::LargestObject),
    ));
    let second = Duration::from_secs(1);
    let mut bench = Bench::server();
    assert_eq!(bench.due(), None);
    for (after, byte) in message.slice(..9).into_iter().enumerate() {
        // One byte each second buys no time.
        let bytes = Bytes::copy_from_slice(&[byte]);
        bench.at(
            second * u32::try_from(after).unwrap(),
            Input::StreamBytes(STREAM, bytes),
        );
        assert_eq!(bench.due(), Some(second * 10));
    }
    bench.at(second * 9, Input::Timeout);
    assert_eq!(bench.out(), Out::default());
    bench.at(second * 10, Input::Timeout);
    let (code, why) = bench.out().closed.unwrap();
    assert_eq!(
        (code, &why[..]),
        (
            CloseCode::ControlMessageTimeout,
            "a control message was left unfinished"
        )
    );
    assert_eq!(bench.due(), None);
}

/// D14-LIM-6
#[test]
fn each_message_has_its_own_time() {
    let message = |id| {
        encoded(&ControlMessage::PublishNamespace(
            RequestId(id),
            announce(&["a", "b"]),
        ))
    };
    let (first, next) = (message(0), message(2));
    let second = Duration::from_secs(1);
    let mut bench = Bench::server();
    bench.at(Duration::ZERO, Input::StreamBytes(STREAM, first.slice(..4)));
    // It ends, and the next one begins with the same bytes.
    let mut rest = BytesMut::from(&first[4..]);
    rest.extend_from_slice(&next[..3]);
    bench.at(second * 9, Input::StreamBytes(STREAM, rest.freeze()));
    assert_eq!(bench.due(), Some(second * 19));
    bench.at(second * 10, Input::Timeout);
    bench.at(second * 18, Input::StreamBytes(STREAM, next.slice(3..)));
    assert_eq!(bench.due(), None);
    let events = bench.events();
    let announced = events
        .iter()
        .filter(|event| matches!(event, Event::PeerPublishNamespace(..)));
    assert_eq!(announced.count(), 2, "{events:?}");
}

/// D14-LIM-6
#[test]
fn a_session_without_requests_is_given_up() {
    let config = Config {
        idle_timeout: Some(MINUTE),
        ..config()
    };
    let mut bench = Bench::ready(Role::Server, config, 100);
    assert_eq!(bench.due(), Some(MINUTE));
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    bench.command(Command::AcceptNamespace(RequestId(0))).unwrap();
    // As long as something is open, and for a period after that.
    for period in 1..=3 {
        bench.at(MINUTE * period, Input::Timeout);
        assert_eq!(bench.out().closed, None);
        assert_eq!(bench.due(), Some(MINUTE * (period + 1)));
    }
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a"])));
    // One that came and went between two looks.
    bench.hear(&ControlMessage::TrackStatus(
        RequestId(2),
        subscribe("a", SubscribeFilter::LargestObject),
    ));
    bench.command(Command::Reject(RequestId(2), error())).unwrap();
    bench.at(MINUTE * 4, Input::Timeout);
    assert_eq!(bench.out().closed, None);
    bench.at(MINUTE * 5, Input::Timeout);
    assert_eq!(bench.code(), Some(CloseCode::NoError));
}
