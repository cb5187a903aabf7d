//! Races at the end of requests, fetches, and GOAWAY.

use super::*;

const LARGEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// D14-REQ-8, D14-SUB-18
#[test]
fn an_unanswered_subscription_given_up_gets_its_one_answer() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::Unsubscribe(RequestId(0)));
    let out = bench.out();
    assert!(matches!(
        out.said[..],
        [ControlMessage::RequestError(
            RequestId(0),
            RequestKind::Subscribe,
            _
        )]
    ));
    assert_eq!(out.events[1..], [Event::PeerUnsubscribe(RequestId(0))]);
    // The relay's answer crossed the UNSUBSCRIBE.
    let alias = bench.session.new_alias();
    let late = bench.command(Command::AcceptSubscribe(RequestId(0), subscribe_ok(alias, None)));
    assert_eq!(late, Err(CommandError::NoSuchRequest(RequestId(0))));
    // Some peers say it again.
    bench.hear(&ControlMessage::Unsubscribe(RequestId(0)));
    assert_eq!(bench.out(), Out::default());
}

/// D14-SUB-18
#[test]
fn unsubscribe_may_cross_every_end() {
    let mut bench = Bench::server();
    for (id, accepted) in [(RequestId(0), true), (RequestId(2), false)] {
        bench.hear(&ControlMessage::Subscribe(id, subscribe("a", LARGEST)));
        if accepted {
            let alias = bench.session.new_alias();
            bench
                .command(Command::AcceptSubscribe(id, subscribe_ok(alias, None)))
                .unwrap();
            bench.command(Command::PublishDone(id, done())).unwrap();
        } else {
            bench.command(Command::Reject(id, error())).unwrap();
        }
        bench.out();
        bench.hear(&ControlMessage::Unsubscribe(id));
        assert_eq!(bench.out(), Out::default());
    }
    bench.hear(&ControlMessage::PublishNamespace(RequestId(4), announce(&["a"])));
    bench.hear(&ControlMessage::Unsubscribe(RequestId(4)));
    assert_eq!(
        bench.code(),
        Some(CloseCode::ProtocolViolation),
        "not a subscription"
    );
}

/// D14-DATA-20
#[test]
fn an_ok_that_crosses_our_unsubscribe_leaves_the_alias_free() {
    let mut bench = Bench::client();
    let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.command(Command::Unsubscribe(a)).unwrap();
    bench.out();
    bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(9, None)));
    bench.hear(&ControlMessage::PublishDone(a, done()));
    assert_eq!(bench.out(), Out::default());
    assert_eq!(bench.session.peer_alias(9), None);
    let b = bench.ask(Command::Subscribe(subscribe("b", LARGEST)));
    bench.hear(&ControlMessage::SubscribeOk(b, subscribe_ok(9, None)));
    assert_eq!(bench.session.peer_alias(9), Some(b));
    let twice = bench.command(Command::Unsubscribe(a));
    assert_eq!(twice, Err(CommandError::NoSuchRequest(a)));
}

/// D14-DATA-20
#[test]
fn the_alias_of_our_subscription_outlives_it_until_forgotten() {
    for unsubscribe in [true, false] {
        let mut bench = Bench::client();
        let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
        bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(9, None)));
        bench.session.forget_alias(a);
        assert_eq!(
            bench.session.peer_alias(9),
            Some(a),
            "an open one is not forgotten"
        );
        if unsubscribe {
            bench.command(Command::Unsubscribe(a)).unwrap();
        }
        bench.hear(&ControlMessage::PublishDone(a, done()));
        let events = bench.events();
        assert_eq!(events.len(), if unsubscribe { 1 } else { 2 }, "{events:?}");
        assert_eq!(bench.session.open_requests(), (0, 0));
        assert_eq!(bench.session.peer_alias(9), Some(a));
        bench.session.forget_alias(a);
        assert_eq!(bench.session.peer_alias(9), None);
    }
}

#[test]
fn an_update_that_waits_goes_before_the_unsubscribe() {
    let mut bench = Bench::ready(Role::Client, config(), 2);
    let id = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::SubscribeOk(id, subscribe_ok(9, None)));
    bench
        .command(Command::SubscribeUpdate(update(id, Location::ZERO, None)))
        .unwrap();
    bench.command(Command::Unsubscribe(id)).unwrap();
    bench.out();
    bench.hear(&ControlMessage::MaxRequestId(4));
    assert_eq!(
        bench.said(),
        [
            ControlMessage::SubscribeUpdate(RequestId(2), update(id, Location::ZERO, None)),
            ControlMessage::Unsubscribe(id),
        ]
    );
}

/// D14-FETCH-16
#[test]
fn a_fetch_ends_with_its_stream_or_its_cancel() {
    let fetch = || standalone(Location::ZERO, Location::new(9, 0));
    let mut bench = Bench::server();
    // Accepted, then its stream ends.
    bench.hear(&ControlMessage::Fetch(RequestId(0), fetch()));
    bench
        .command(Command::AcceptFetch(RequestId(0), fetch_ok(Location::new(9, 0))))
        .unwrap();
    bench.command(Command::FetchDone(RequestId(0))).unwrap();
    bench.hear(&ControlMessage::FetchCancel(RequestId(0)));
    assert_eq!(bench.events().len(), 1, "a late cancel is no news");
    // Its stream ends before the answer.
    bench.hear(&ControlMessage::Fetch(RequestId(2), fetch()));
    bench.command(Command::FetchDone(RequestId(2))).unwrap();
    bench
        .command(Command::AcceptFetch(RequestId(2), fetch_ok(Location::new(9, 0))))
        .unwrap();
    // Cancelled while open, and while unanswered.
    bench.hear(&ControlMessage::Fetch(RequestId(4), fetch()));
    bench
        .command(Command::AcceptFetch(RequestId(4), fetch_ok(Location::new(9, 0))))
        .unwrap();
    bench.hear(&ControlMessage::Fetch(RequestId(6), fetch()));
    bench.out();
    bench.hear(&ControlMessage::FetchCancel(RequestId(4)));
    bench.hear(&ControlMessage::FetchCancel(RequestId(6)));
    let out = bench.out();
    assert_eq!(
        out.events,
        [
            Event::PeerFetchCancel(RequestId(4)),
            Event::PeerFetchCancel(RequestId(6))
        ]
    );
    assert!(matches!(
        out.said[..],
        [ControlMessage::RequestError(RequestId(6), RequestKind::Fetch, _)]
    ));
    assert_eq!(bench.session.open_requests(), (0, 0));
}

/// D14-FETCH-16, D14-VAL-12
#[test]
fn our_fetch_ends_with_its_stream_or_its_cancel() {
    let fetch = || Command::Fetch(standalone(Location::new(5, 0), Location::new(9, 0)));
    let mut bench = Bench::client();
    // The stream ends first; the answer is still news.
    let id = bench.ask(fetch());
    bench.command(Command::FetchDone(id)).unwrap();
    bench.hear(&ControlMessage::FetchOk(id, fetch_ok(Location::new(9, 0))));
    assert_eq!(bench.events().len(), 1);
    // We cancel; the answer is none.
    let id = bench.ask(fetch());
    bench.command(Command::FetchCancel(id)).unwrap();
    bench.hear(&ControlMessage::FetchOk(id, fetch_ok(Location::new(9, 0))));
    assert_eq!(bench.events(), []);
    assert_eq!(bench.session.open_requests(), (0, 0));
    let id = bench.ask(fetch());
    bench.hear(&ControlMessage::FetchOk(id, fetch_ok(Location::new(4, 9))));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation), "D14-VAL-12");
}

/// D14-VAL-8
#[test]
fn an_inverted_fetch_is_refused_by_itself() {
    let mut bench = Bench::server();
    let fetch = standalone(Location::new(5, 5), Location::new(5, 4));
    bench.hear(&ControlMessage::Fetch(RequestId(0), fetch.clone()));
    let out = bench.out();
    let [ControlMessage::RequestError(RequestId(0), RequestKind::Fetch, error)] = &out.said[..] else {
        panic!("{out:?}");
    };
    assert_eq!(
        (error.reason, out.events.len()),
        (RequestErrorReason::InvalidRange, 0)
    );
    assert!(matches!(
        bench.command(Command::Fetch(fetch)),
        Err(CommandError::NotAllowed(_))
    ));
}

/// D14-VAL-11
#[test]
fn goaway_is_said_once_and_rightly() {
    let uri = Bytes::from_static(b"moqt://other");
    for (role, messages, closed) in [
        (Role::Client, vec![uri.clone()], false),
        (Role::Client, vec![Bytes::new()], false),
        (Role::Server, vec![Bytes::new()], false),
        (Role::Server, vec![uri.clone()], true),
        (Role::Client, vec![Bytes::new(), Bytes::new()], true),
    ] {
        let mut bench = Bench::ready(role, config(), 100);
        for uri in &messages {
            bench.hear(&ControlMessage::Goaway(uri.clone()));
        }
        let code = closed.then_some(CloseCode::ProtocolViolation);
        assert_eq!(bench.code(), code, "{role:?} {messages:?}");
    }
    // We keep to it ourselves.
    let mut bench = Bench::client();
    let result = bench.command(Command::Goaway(uri.clone()));
    assert!(matches!(result, Err(CommandError::NotAllowed(_))));
    let mut bench = Bench::server();
    let result = bench.command(Command::Goaway(Bytes::from(vec![b'a'; 8193])));
    assert!(matches!(result, Err(CommandError::NotAllowed(_))));
    bench.command(Command::Goaway(uri.clone())).unwrap();
    assert_eq!(bench.said(), [ControlMessage::Goaway(uri.clone())]);
    assert!(matches!(
        bench.command(Command::Goaway(uri)),
        Err(CommandError::NotAllowed(_))
    ));
}

/// D14-GOAWAY-1
#[test]
fn after_goaway_nothing_new_is_asked() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::Goaway(Bytes::new()));
    assert_eq!(bench.events(), [Event::Goaway(Bytes::new())]);
    let alias = bench.session.new_alias();
    for command in [
        Command::Subscribe(subscribe("b", LARGEST)),
        Command::Publish(publish("b", alias)),
        Command::Fetch(standalone(Location::ZERO, Location::ZERO)),
        Command::TrackStatus(subscribe("b", LARGEST)),
        Command::PublishNamespace(announce(&["b"])),
        Command::SubscribeNamespace(announce(&["b"])),
    ] {
        assert_eq!(bench.command(command), Err(CommandError::GoingAway));
    }
    // What is there goes on, and the peer may still ask.
    bench.hear(&ControlMessage::SubscribeOk(id, subscribe_ok(9, None)));
    bench
        .command(Command::SubscribeUpdate(update(id, Location::ZERO, None)))
        .unwrap();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(1), announce(&["x"])));
    bench.command(Command::AcceptNamespace(RequestId(1))).unwrap();
    bench.command(Command::Unsubscribe(id)).unwrap();
    assert_eq!(bench.out().closed, None);
}
