//! Ids, their windows, and one answer for each request.

use super::*;

fn request(kind: RequestKind, bench: &mut Bench) -> RequestId {
    let alias = bench.session.new_alias();
    bench.ask(match kind {
        RequestKind::Subscribe => Command::Subscribe(subscribe("a", SubscribeFilter::LargestObject)),
        RequestKind::Publish => Command::Publish(publish("a", alias)),
        RequestKind::Fetch => Command::Fetch(standalone(Location::new(5, 0), Location::new(9, 0))),
        RequestKind::TrackStatus => Command::TrackStatus(subscribe("a", SubscribeFilter::LargestObject)),
        RequestKind::PublishNamespace => Command::PublishNamespace(announce(&["a"])),
        RequestKind::SubscribeNamespace => Command::SubscribeNamespace(announce(&["a"])),
    })
}

fn ok(kind: RequestKind, id: RequestId) -> ControlMessage {
    match kind {
        RequestKind::Subscribe => ControlMessage::SubscribeOk(id, subscribe_ok(7, None)),
        RequestKind::Publish => ControlMessage::PublishOk(id, publish_ok()),
        RequestKind::Fetch => ControlMessage::FetchOk(id, fetch_ok(Location::new(9, 0))),
        RequestKind::TrackStatus => ControlMessage::TrackStatusOk(id, subscribe_ok(0, None)),
        RequestKind::PublishNamespace => ControlMessage::PublishNamespaceOk(id),
        RequestKind::SubscribeNamespace => ControlMessage::SubscribeNamespaceOk(id),
    }
}

fn peer_request(kind: RequestKind, id: RequestId) -> ControlMessage {
    match kind {
        RequestKind::Subscribe => {
            ControlMessage::Subscribe(id, subscribe("a", SubscribeFilter::LargestObject))
        }
        RequestKind::Publish => ControlMessage::Publish(id, publish("a", 7)),
        RequestKind::Fetch => ControlMessage::Fetch(id, standalone(Location::ZERO, Location::new(9, 0))),
        RequestKind::TrackStatus => {
            ControlMessage::TrackStatus(id, subscribe("a", SubscribeFilter::LargestObject))
        }
        RequestKind::PublishNamespace => ControlMessage::PublishNamespace(id, announce(&["a"])),
        RequestKind::SubscribeNamespace => ControlMessage::SubscribeNamespace(id, announce(&["a"])),
    }
}

const KINDS: [RequestKind; 6] = [
    RequestKind::Subscribe,
    RequestKind::Publish,
    RequestKind::Fetch,
    RequestKind::TrackStatus,
    RequestKind::PublishNamespace,
    RequestKind::SubscribeNamespace,
];

/// D14-REQ-8
#[test]
fn every_request_takes_one_ok() {
    for kind in KINDS {
        let mut bench = Bench::client();
        let id = request(kind, &mut bench);
        assert_eq!(id, RequestId(0));
        bench.hear(&ok(kind, id));
        let events = bench.events();
        assert!(matches!(events[..], [_]), "{kind:?} {events:?}");
        bench.hear(&ok(kind, id));
        assert_eq!(
            bench.code(),
            Some(CloseCode::ProtocolViolation),
            "{kind:?} answered twice"
        );
    }
}

/// D14-REQ-8, D14-TERM-9
#[test]
fn every_request_takes_one_error_with_any_code() {
    for kind in KINDS {
        let mut bench = Bench::client();
        let id = request(kind, &mut bench);
        let error = RequestError::new(RequestErrorReason::Unknown(0x999), "strange");
        bench.hear(&ControlMessage::RequestError(id, kind, error.clone()));
        assert_eq!(
            bench.events(),
            [Event::Rejected(id, kind, error.clone())],
            "{kind:?}"
        );
        assert_eq!(bench.session.open_requests(), (0, 0), "{kind:?}");
        bench.hear(&ControlMessage::RequestError(id, kind, error));
        assert_eq!(
            bench.code(),
            Some(CloseCode::ProtocolViolation),
            "{kind:?} answered twice"
        );
    }
}

/// D14-REQ-8
#[test]
fn an_error_after_ok_is_a_second_answer() {
    for kind in KINDS {
        let mut bench = Bench::client();
        let id = request(kind, &mut bench);
        bench.hear(&ok(kind, id));
        bench.hear(&ControlMessage::RequestError(id, kind, error()));
        assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation), "{kind:?}");
    }
}

/// D14-REQ-7
#[test]
fn answers_fit_the_request() {
    for asked in KINDS {
        for answered in KINDS {
            let mut bench = Bench::client();
            let id = request(asked, &mut bench);
            bench.hear(&ok(answered, id));
            let code = (asked != answered).then_some(CloseCode::ProtocolViolation);
            assert_eq!(bench.code(), code, "{asked:?} {answered:?}");
        }
    }
}

/// D14-REQ-7
#[test]
fn ids_of_the_wrong_side_or_never_used() {
    let id = RequestId;
    let wrong = CloseCode::InvalidRequestId;
    let unknown = CloseCode::ProtocolViolation;
    // A client's session: its ids are even, the peer's odd.
    let mut cases: Vec<(ControlMessage, CloseCode)> = vec![
        (ControlMessage::FetchCancel(id(0)), wrong),
        (ControlMessage::FetchCancel(id(1)), unknown),
        (ControlMessage::Unsubscribe(id(0)), unknown),
        (ControlMessage::Unsubscribe(id(1)), unknown),
        (ControlMessage::PublishDone(id(0), done()), unknown),
        (ControlMessage::PublishDone(id(1), done()), unknown),
        (
            ControlMessage::SubscribeUpdate(id(1), update(id(0), Location::ZERO, None)),
            unknown,
        ),
        (
            ControlMessage::SubscribeUpdate(id(1), update(id(3), Location::ZERO, None)),
            unknown,
        ),
    ];
    for kind in KINDS {
        cases.push((ok(kind, id(1)), wrong));
        cases.push((ok(kind, id(0)), unknown));
        cases.push((ControlMessage::RequestError(id(1), kind, error()), wrong));
        cases.push((ControlMessage::RequestError(id(8), kind, error()), unknown));
    }
    for (message, code) in cases {
        let mut bench = Bench::client();
        bench.hear(&message);
        assert_eq!(bench.code(), Some(code), "{message:?}");
    }
}

/// D14-REQ-1, D14-REQ-2
#[test]
fn new_requests_follow_the_sequence() {
    for kind in KINDS {
        for id in [0, 3, 5] {
            let mut bench = Bench::client();
            bench.hear(&peer_request(kind, RequestId(id)));
            assert_eq!(bench.code(), Some(CloseCode::InvalidRequestId), "{kind:?} {id}");
        }
    }
    let mut bench = Bench::server();
    bench.hear(&peer_request(RequestKind::Subscribe, RequestId(0)));
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(2),
        update(RequestId(0), Location::ZERO, None),
    ));
    bench.hear(&peer_request(RequestKind::PublishNamespace, RequestId(4)));
    assert_eq!(bench.events().len(), 3);
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(4),
        update(RequestId(0), Location::ZERO, None),
    ));
    assert_eq!(
        bench.code(),
        Some(CloseCode::InvalidRequestId),
        "an update uses up an id"
    );
}

/// D14-REQ-3
#[test]
fn the_maximum_itself_may_not_be_used() {
    let config = Config {
        max_request_id: 4,
        ..config()
    };
    let mut bench = Bench::ready(Role::Server, config, 100);
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 1)));
    bench.hear(&ControlMessage::Publish(RequestId(2), publish("b", 2)));
    assert_eq!(bench.events().len(), 2);
    bench.hear(&ControlMessage::Publish(RequestId(4), publish("c", 3)));
    assert_eq!(bench.code(), Some(CloseCode::TooManyRequests));
}

/// D14-MSG-32
#[test]
fn the_relay_refuses_what_it_does_not_serve() {
    for kind in KINDS {
        let mut bench = Bench::server();
        bench.hear(&peer_request(kind, RequestId(0)));
        assert_eq!(bench.events().len(), 1, "{kind:?}");
        bench.command(Command::Reject(RequestId(0), error())).unwrap();
        assert_eq!(
            bench.said(),
            [ControlMessage::RequestError(RequestId(0), kind, error())]
        );
        assert_eq!(bench.session.open_requests(), (0, 0), "{kind:?}");
        let again = bench.command(Command::Reject(RequestId(0), error()));
        assert_eq!(
            again,
            Err(CommandError::NoSuchRequest(RequestId(0))),
            "one answer each"
        );
        assert_eq!(bench.session.peer_alias(7), None);
    }
}

/// D14-REQ-8
#[test]
fn commands_fit_the_request() {
    let accept = |kind, id| match kind {
        RequestKind::Subscribe => Command::AcceptSubscribe(id, subscribe_ok(1, None)),
        RequestKind::Publish => Command::AcceptPublish(id, publish_ok()),
        RequestKind::Fetch => Command::AcceptFetch(id, fetch_ok(Location::new(9, 0))),
        RequestKind::TrackStatus => Command::AcceptTrackStatus(id, subscribe_ok(0, None)),
        RequestKind::PublishNamespace | RequestKind::SubscribeNamespace => Command::AcceptNamespace(id),
    };
    let namespaces = [RequestKind::PublishNamespace, RequestKind::SubscribeNamespace];
    for asked in KINDS {
        for answered in KINDS {
            let mut bench = Bench::server();
            assert_eq!(bench.session.new_alias(), 1);
            bench.hear(&peer_request(asked, RequestId(0)));
            bench.out();
            let fits = asked == answered || (namespaces.contains(&asked) && namespaces.contains(&answered));
            let first = bench.command(accept(answered, RequestId(0)));
            assert_eq!(first.is_ok(), fits, "{asked:?} {answered:?}");
            let out = bench.out();
            assert_eq!(out.said.len(), usize::from(fits));
            if fits {
                assert_eq!(out.said, [ok_sent(asked)]);
                let second = bench.command(accept(answered, RequestId(0)));
                assert_eq!(second, Err(CommandError::NoSuchRequest(RequestId(0))));
            }
        }
    }
}

fn ok_sent(kind: RequestKind) -> ControlMessage {
    match kind {
        RequestKind::Subscribe => ControlMessage::SubscribeOk(RequestId(0), subscribe_ok(1, None)),
        RequestKind::Publish
        | RequestKind::Fetch
        | RequestKind::TrackStatus
        | RequestKind::PublishNamespace
        | RequestKind::SubscribeNamespace => ok(kind, RequestId(0)),
    }
}

/// D14-LIB-2, D14-REQ-6
#[test]
fn our_requests_wait_for_the_peer() {
    let config = Config {
        max_queued_requests: 2,
        ..config()
    };
    let mut bench = Bench::ready(Role::Client, config, 2);
    let names = ["a", "b", "c"];
    let ids: Vec<_> = names
        .iter()
        .map(|name| bench.ask(Command::PublishNamespace(announce(&[name]))))
        .collect();
    assert_eq!(ids, [RequestId(0), RequestId(2), RequestId(4)]);
    let said = bench.said();
    assert_eq!(
        said,
        [
            ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])),
            ControlMessage::RequestsBlocked(2),
        ]
    );
    let full = bench.command(Command::PublishNamespace(announce(&["d"])));
    assert_eq!(full, Err(CommandError::Blocked(2)));
    assert_eq!((bench.said(), bench.session.queued_requests()), (vec![], 2));
    // An answer to what was not sent yet is no answer.
    bench.hear(&ControlMessage::MaxRequestId(4));
    assert_eq!(
        bench.said(),
        [
            ControlMessage::PublishNamespace(RequestId(2), announce(&["b"])),
            ControlMessage::RequestsBlocked(4),
        ]
    );
    bench.hear(&ControlMessage::PublishNamespaceOk(RequestId(4)));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-LIB-2
#[test]
fn a_waiting_request_that_is_given_up_keeps_the_sequence() {
    let mut bench = Bench::ready(Role::Client, config(), 0);
    let sub = bench.ask(Command::Subscribe(subscribe("a", SubscribeFilter::LargestObject)));
    let other = bench.ask(Command::PublishNamespace(announce(&["b"])));
    bench.command(Command::Unsubscribe(sub)).unwrap();
    assert_eq!(bench.said(), [ControlMessage::RequestsBlocked(0)]);
    bench.hear(&ControlMessage::MaxRequestId(10));
    assert_eq!(
        bench.said(),
        [
            ControlMessage::Subscribe(sub, subscribe("a", SubscribeFilter::LargestObject)),
            ControlMessage::Unsubscribe(sub),
            ControlMessage::PublishNamespace(other, announce(&["b"])),
        ]
    );
}

/// D14-REQ-4
#[test]
fn the_maximum_must_grow() {
    for (maximum, code) in [(99, true), (100, true), (101, false)] {
        let mut bench = Bench::client();
        bench.hear(&ControlMessage::MaxRequestId(maximum));
        assert_eq!(
            bench.code(),
            code.then_some(CloseCode::ProtocolViolation),
            "{maximum}"
        );
    }
}

/// D14-REQ-6
#[test]
fn a_blocked_peer_is_noted() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::RequestsBlocked(5));
    assert_eq!(bench.out().events, [Event::Note(Note::PeerBlocked)]);
}

/// D14-REQ-5
#[test]
fn finished_requests_leave_nothing_and_refill_the_window() {
    let config = Config {
        max_request_id: 20,
        ..config()
    };
    let mut bench = Bench::ready(Role::Server, config, 100);
    let mut raised = Vec::new();
    for n in 0..1000 {
        let kind = KINDS[n % KINDS.len()];
        let id = RequestId(n as u64 * 2);
        bench.hear(&peer_request(kind, id));
        bench.command(Command::Reject(id, error())).unwrap();
        for message in bench.said() {
            if let ControlMessage::MaxRequestId(maximum) = message {
                raised.push(maximum);
            }
        }
    }
    assert_eq!(bench.session.open_requests(), (0, 0));
    assert!(raised.is_sorted() && raised.len() == 200, "{raised:?}");
}

#[test]
fn answers_that_never_come_are_bounded() {
    let mut bench = Bench::ready(Role::Client, config(), 1_000_000);
    for _ in 0..3000 {
        let id = bench.ask(Command::Subscribe(subscribe("a", SubscribeFilter::LargestObject)));
        bench.command(Command::Unsubscribe(id)).unwrap();
        bench.out();
    }
    assert_eq!(bench.session.open_requests().0, 1024);
    // Late answers to the oldest, to one that is still known, and twice to that one.
    bench.hear(&ControlMessage::SubscribeOk(RequestId(0), subscribe_ok(1, None)));
    bench.hear(&ControlMessage::SubscribeOk(
        RequestId(5998),
        subscribe_ok(1, None),
    ));
    assert_eq!(bench.out(), Out::default());
    bench.hear(&ControlMessage::SubscribeOk(
        RequestId(5998),
        subscribe_ok(1, None),
    ));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

#[test]
fn a_command_that_cannot_be_written_changes_nothing() {
    let mut bench = Bench::client();
    let mut request = announce(&["a"]);
    request.params.delivery_timeout_ms = Some(u64::MAX);
    let result = bench.command(Command::PublishNamespace(request));
    assert!(matches!(result, Err(CommandError::Encode(_))), "{result:?}");
    assert_eq!(
        bench.ask(Command::PublishNamespace(announce(&["a"]))),
        RequestId(0)
    );
}

#[test]
fn messages_are_traced_on_demand() {
    let mut bench = Bench::ready(
        Role::Client,
        Config {
            trace: true,
            ..config()
        },
        100,
    );
    bench.ask(Command::PublishNamespace(announce(&["a"])));
    bench.hear(&ControlMessage::PublishNamespaceOk(RequestId(0)));
    let mut traced = Vec::new();
    while let Some(output) = bench.session.poll_output() {
        if let Output::Trace(trace) = output {
            traced.push((trace.inbound, trace.message));
        }
    }
    assert_eq!(
        traced,
        [
            (
                false,
                ControlMessage::PublishNamespace(RequestId(0), announce(&["a"]))
            ),
            (true, ControlMessage::PublishNamespaceOk(RequestId(0))),
        ]
    );
}

/// D14-REQ-9: what comes for a PUBLISH that was refused finds no track, and neither does what its peer sends for a
/// SUBSCRIBE of ours that it refused.
#[test]
fn a_refused_request_has_no_objects() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Publish(RequestId(0), publish("a", 7)));
    assert_eq!(bench.session.peer_alias(7), Some(RequestId(0)));
    bench.command(Command::Reject(RequestId(0), error())).unwrap();
    assert_eq!(bench.session.peer_alias(7), None);

    // An alias that we gave to a subscription is not said for one that is refused, so nothing can be sent for it.
    bench.hear(&ControlMessage::Subscribe(
        RequestId(2),
        subscribe("b", SubscribeFilter::LargestObject),
    ));
    bench.command(Command::Reject(RequestId(2), error())).unwrap();
    let alias = bench.session.new_alias();
    let late = Command::AcceptSubscribe(RequestId(2), subscribe_ok(alias, None));
    assert_eq!(
        bench.command(late),
        Err(CommandError::NoSuchRequest(RequestId(2)))
    );
    assert!(
        bench
            .said()
            .iter()
            .all(|message| matches!(message, ControlMessage::RequestError(..)))
    );
}
