//! PUBLISH and its end.

use super::*;

/// D14-SUB-24
#[test]
fn the_alias_counts_from_publish_on() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 9)));
    assert_eq!(
        bench.events(),
        [Event::PeerPublish(RequestId(0), publish("a", 9))]
    );
    assert_eq!(bench.session.peer_alias(9), Some(RequestId(0)));
    bench
        .command(Command::AcceptPublish(RequestId(0), publish_ok()))
        .unwrap();
    assert_eq!(
        bench.said(),
        [ControlMessage::PublishOk(RequestId(0), publish_ok())]
    );
}

/// D14-DATA-20, D14-SUB-21
#[test]
fn the_alias_outlives_publish_done_until_forgotten() {
    let config = Config {
        max_request_id: 4,
        ..config()
    };
    let mut bench = Bench::ready(Role::Server, config, 100);
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 9)));
    bench
        .command(Command::AcceptPublish(RequestId(0), publish_ok()))
        .unwrap();
    bench.session.forget_alias(RequestId(0));
    assert_eq!(
        bench.session.peer_alias(9),
        Some(RequestId(0)),
        "an open one is not forgotten"
    );
    bench.out();
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    assert_eq!(
        bench.out(),
        Out {
            events: vec![Event::PublishDone(RequestId(0), done())],
            ..Out::default()
        }
    );
    assert_eq!(bench.session.peer_alias(9), Some(RequestId(0)));
    assert_eq!(
        bench.session.open_requests(),
        (0, 1),
        "it counts against the window"
    );
    bench.session.forget_alias(RequestId(0));
    assert_eq!(bench.session.peer_alias(9), None);
    assert_eq!(bench.session.open_requests(), (0, 0));
    assert_eq!(bench.said(), [ControlMessage::MaxRequestId(6)]);
    bench.session.forget_alias(RequestId(0));
    assert_eq!(bench.out(), Out::default());
}

/// D14-VAL-14
#[test]
fn an_alias_is_free_for_another_track_after_the_end() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 9)));
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    bench.hear(&ControlMessage::Publish(RequestId(2), publish("b", 9)));
    assert_eq!(bench.out().closed, None);
    assert_eq!(bench.session.peer_alias(9), Some(RequestId(2)));
}

/// D14-REQ-8
#[test]
fn a_short_track_is_over_before_its_answer() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 9)));
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    assert_eq!(bench.events().len(), 2);
    bench
        .command(Command::AcceptPublish(RequestId(0), publish_ok()))
        .unwrap();
    assert_eq!(
        bench.said(),
        [ControlMessage::PublishOk(RequestId(0), publish_ok())]
    );
    assert_eq!(bench.session.peer_alias(9), Some(RequestId(0)));
    bench.session.forget_alias(RequestId(0));
    assert_eq!(bench.session.open_requests(), (0, 0));
}

/// D14-VAL-2
#[test]
fn an_answer_may_ask_for_no_change_of_order() {
    let mut bench = Bench::client();
    let alias = bench.session.new_alias();
    let id = bench.ask(Command::Publish(publish("a", alias)));
    // Order 0 cannot be encoded by us, so the byte is set by hand: id, forward, priority, order.
    let mut bytes = BytesMut::new();
    Codec::Draft14
        .encode(&ControlMessage::PublishOk(id, publish_ok()), &mut bytes)
        .unwrap();
    bytes[6] = 0;
    bench.input(Input::StreamBytes(STREAM, bytes.freeze()));
    let ok = PublishOk {
        group_order: None,
        ..publish_ok()
    };
    assert_eq!(
        bench.out().events,
        [
            Event::Note(Note::PublishOkGroupOrderZero),
            Event::PublishOk(id, ok)
        ]
    );
}

/// D14-VAL-6 D14-TERM-3: of all that the session carries.
#[test]
fn an_inverted_filter_in_the_answer_ends_that_subscription() {
    let filter = SubscribeFilter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    let mut bench = Bench::client();
    let alias = bench.session.new_alias();
    let id = bench.ask(Command::Publish(publish("a", alias)));
    bench.hear(&ControlMessage::PublishOk(
        id,
        PublishOk {
            filter,
            ..publish_ok()
        },
    ));
    let out = bench.out();
    assert_eq!(out.closed, None);
    assert!(
        matches!(&out.said[..], [.., ControlMessage::PublishDone(done, _)] if *done == id),
        "{out:?}"
    );
    assert!(matches!(out.events[..], [Event::Rejected(rejected, RequestKind::Publish, _)] if rejected == id));
    assert_eq!(bench.session.open_requests(), (0, 0));
    // What crosses it on the wire is no breach either.
    bench.hear(&ControlMessage::Unsubscribe(id));
    assert_eq!(bench.events(), []);
}

/// D14-SUB-1
#[test]
fn our_publish_ends_on_either_side() {
    // We end it.
    let mut bench = Bench::client();
    let alias = bench.session.new_alias();
    let id = bench.ask(Command::Publish(publish("a", alias)));
    bench.hear(&ControlMessage::PublishOk(id, publish_ok()));
    bench.out();
    bench.command(Command::PublishDone(id, done())).unwrap();
    assert_eq!(bench.said(), [ControlMessage::PublishDone(id, done())]);
    // The subscriber's UNSUBSCRIBE crossed it.
    bench.hear(&ControlMessage::Unsubscribe(id));
    assert_eq!(bench.out(), Out::default());
    // The subscriber ends the next one.
    let id = bench.ask(Command::Publish(publish("a", alias)));
    bench.hear(&ControlMessage::PublishOk(id, publish_ok()));
    bench.hear(&ControlMessage::Unsubscribe(id));
    assert!(matches!(bench.events()[..], [Event::PublishOk(..), Event::PeerUnsubscribe(gone)] if gone == id));
    let late = bench.command(Command::PublishDone(id, done()));
    assert_eq!(late, Err(CommandError::NoSuchRequest(id)));
    assert_eq!(bench.session.open_requests(), (0, 0));
}

/// D14-SUB-18
#[test]
fn we_leave_a_subscription_that_the_peer_published() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 9)));
    let early = bench.command(Command::Unsubscribe(RequestId(0)));
    assert_eq!(
        early,
        Err(CommandError::NoSuchRequest(RequestId(0))),
        "refuse it instead"
    );
    bench
        .command(Command::AcceptPublish(RequestId(0), publish_ok()))
        .unwrap();
    let narrow = update(RequestId(0), Location::new(3, 0), None);
    bench.command(Command::SubscribeUpdate(narrow.clone())).unwrap();
    bench.command(Command::Unsubscribe(RequestId(0))).unwrap();
    assert_eq!(
        bench.said()[1..],
        [
            ControlMessage::SubscribeUpdate(RequestId(1), narrow),
            ControlMessage::Unsubscribe(RequestId(0)),
        ]
    );
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    assert_eq!(bench.out(), Out::default());
    bench.session.forget_alias(RequestId(0));
    assert_eq!(bench.session.open_requests(), (0, 0));
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    assert_eq!(bench.out(), Out::default(), "one that is over is not told apart");
}

/// D14-REQ-7, D14-REQ-8
#[test]
fn publish_done_comes_after_the_answer_and_for_a_subscription() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::Subscribe(subscribe("a", SubscribeFilter::LargestObject)));
    bench.hear(&ControlMessage::PublishDone(id, done()));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));

    let mut bench = Bench::client();
    let id = bench.ask(Command::PublishNamespace(announce(&["a"])));
    bench.hear(&ControlMessage::PublishDone(id, done()));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));

    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    bench.hear(&ControlMessage::PublishDone(RequestId(0), done()));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));

    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(
        RequestId(0),
        subscribe("a", SubscribeFilter::LargestObject),
    ));
    let early = bench.command(Command::PublishDone(RequestId(0), done()));
    assert_eq!(early, Err(CommandError::NoSuchRequest(RequestId(0))));
}
