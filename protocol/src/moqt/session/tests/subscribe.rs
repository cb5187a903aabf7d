//! SUBSCRIBE and SUBSCRIBE_UPDATE.

use super::*;

const LARGEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn subscribed(bench: &mut Bench, filter: SubscribeFilter, largest: Option<Location>) {
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", filter)));
    let alias = bench.session.new_alias();
    let accept = Command::AcceptSubscribe(RequestId(0), subscribe_ok(alias, largest));
    bench.command(accept).unwrap();
    bench.out();
}

/// D14-VAL-15
#[test]
fn a_second_subscription_to_a_track_is_refused_by_itself() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", LARGEST)));
    assert_eq!(bench.events().len(), 1);
    bench.hear(&ControlMessage::Subscribe(RequestId(2), subscribe("a", LARGEST)));
    let out = bench.out();
    assert!(out.events.is_empty());
    let [ControlMessage::RequestError(RequestId(2), RequestKind::Subscribe, error)] = &out.said[..] else {
        panic!("{out:?}");
    };
    assert_eq!(error.reason, RequestErrorReason::InternalError);
    // Another track, and the same one once it is free, are fine.
    bench.hear(&ControlMessage::Subscribe(RequestId(4), subscribe("b", LARGEST)));
    bench.hear(&ControlMessage::Unsubscribe(RequestId(0)));
    bench.hear(&ControlMessage::Subscribe(RequestId(6), subscribe("a", LARGEST)));
    let events = bench.events();
    assert_eq!(events.len(), 3, "{events:?}");
}

/// D14-VAL-15
#[test]
fn a_subscription_beside_an_accepted_publish_is_refused() {
    let mut bench = Bench::server();
    let alias = bench.session.new_alias();
    let id = bench.ask(Command::Publish(publish("a", alias)));
    bench.hear(&ControlMessage::PublishOk(id, publish_ok()));
    bench.out();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", LARGEST)));
    let out = bench.out();
    assert!(out.events.is_empty());
    assert!(matches!(
        out.said[..],
        [ControlMessage::RequestError(
            RequestId(0),
            RequestKind::Subscribe,
            _
        )]
    ));
    bench.command(Command::PublishDone(id, done())).unwrap();
    bench.hear(&ControlMessage::Subscribe(RequestId(2), subscribe("a", LARGEST)));
    assert_eq!(bench.events().len(), 1);
}

/// D14-VAL-15
#[test]
fn we_subscribe_once_to_a_track() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    let again = bench.command(Command::Subscribe(subscribe("a", LARGEST)));
    assert_eq!(again, Err(CommandError::Duplicate(id)));
    bench.hear(&ControlMessage::Publish(RequestId(1), publish("a", 9)));
    let accept = bench.command(Command::AcceptPublish(RequestId(1), publish_ok()));
    assert_eq!(accept, Err(CommandError::Duplicate(id)));
    bench.command(Command::Reject(RequestId(1), error())).unwrap();
    bench.command(Command::Unsubscribe(id)).unwrap();
    bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
}

/// D14-VAL-6
#[test]
fn an_inverted_range_is_refused_by_itself() {
    let filter = SubscribeFilter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", filter)));
    bench.hear(&ControlMessage::TrackStatus(RequestId(2), subscribe("a", filter)));
    let out = bench.out();
    assert_eq!((out.closed, out.events), (None, vec![]));
    for (n, message) in out.said.iter().enumerate() {
        let ControlMessage::RequestError(id, _, error) = message else {
            panic!("{message:?}");
        };
        assert_eq!(
            (id.0, error.reason),
            (n as u64 * 2, RequestErrorReason::InvalidRange)
        );
    }
    assert_eq!(bench.session.open_requests(), (0, 0));
    let ours = bench.command(Command::Subscribe(subscribe("a", filter)));
    assert!(matches!(ours, Err(CommandError::NotAllowed(_))));
    // The group of the start itself may be the last one.
    let filter = SubscribeFilter::AbsoluteRange {
        start: Location::new(5, 9),
        end_group: 5,
    };
    bench.hear(&ControlMessage::Subscribe(RequestId(4), subscribe("a", filter)));
    assert_eq!(bench.events().len(), 1);
}

/// D14-VAL-9
#[test]
fn updates_only_narrow() {
    let at = Some(Location::new(7, 3));
    let range = SubscribeFilter::AbsoluteRange {
        start: Location::new(2, 0),
        end_group: 9,
    };
    let cases = [
        (LARGEST, at, Location::new(7, 4), None, true),
        (LARGEST, at, Location::new(7, 3), None, false),
        (LARGEST, None, Location::ZERO, Some(3), true),
        (
            SubscribeFilter::NextGroupStart,
            at,
            Location::new(8, 0),
            None,
            true,
        ),
        (
            SubscribeFilter::NextGroupStart,
            at,
            Location::new(7, 4),
            None,
            false,
        ),
        (range, at, Location::new(2, 0), Some(9), true),
        (range, at, Location::new(2, 0), Some(10), false),
        (range, at, Location::new(2, 0), None, false),
        (range, at, Location::new(8, 0), Some(7), false),
    ];
    for (filter, largest, start, end_group, allowed) in cases {
        let mut bench = Bench::server();
        subscribed(&mut bench, filter, largest);
        let update = update(RequestId(0), start, end_group);
        bench.hear(&ControlMessage::SubscribeUpdate(RequestId(2), update.clone()));
        let out = bench.out();
        if allowed {
            assert_eq!(out.events, [Event::PeerSubscribeUpdate(RequestId(0), update)]);
        } else {
            assert_eq!(
                out.closed.map(|(code, _)| code),
                Some(CloseCode::ProtocolViolation),
                "{update:?}"
            );
        }
    }
}

/// D14-SUB-27, D14-VAL-9
#[test]
fn an_update_of_our_publish_is_measured_by_its_answer() {
    let mut bench = Bench::server();
    let alias = bench.session.new_alias();
    let offer = Publish {
        largest: Some(Location::new(4, 4)),
        ..publish("a", alias)
    };
    let id = bench.ask(Command::Publish(offer));
    bench.hear(&ControlMessage::PublishOk(id, publish_ok()));
    bench.out();
    let fine = update(id, Location::new(4, 5), None);
    bench.hear(&ControlMessage::SubscribeUpdate(RequestId(0), fine.clone()));
    assert_eq!(bench.events(), [Event::PeerSubscribeUpdate(id, fine)]);
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(2),
        update(id, Location::new(4, 4), None),
    ));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-VAL-9
#[test]
fn an_update_names_a_subscription_that_existed() {
    // One that is over may still be named: the update crossed its end.
    let mut bench = Bench::server();
    subscribed(&mut bench, LARGEST, None);
    bench.command(Command::PublishDone(RequestId(0), done())).unwrap();
    bench.out();
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(2),
        update(RequestId(0), Location::ZERO, None),
    ));
    assert_eq!(bench.out(), Out::default());
    // A request of another kind never was a subscription.
    bench.hear(&ControlMessage::PublishNamespace(RequestId(4), announce(&["x"])));
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(6),
        update(RequestId(4), Location::ZERO, None),
    ));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-FETCH-19
#[test]
fn the_priority_of_a_fetch_cannot_be_changed() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Fetch(
        RequestId(0),
        standalone(Location::ZERO, Location::new(1, 0)),
    ));
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(2),
        update(RequestId(0), Location::ZERO, None),
    ));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-VAL-9, D14-REQ-1
#[test]
fn our_updates_narrow_too() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    let early = bench.command(Command::SubscribeUpdate(update(id, Location::new(9, 0), None)));
    assert!(
        matches!(early, Err(CommandError::NotAllowed(_))),
        "the start is not known yet"
    );
    bench.hear(&ControlMessage::SubscribeOk(
        id,
        subscribe_ok(9, Some(Location::new(7, 3))),
    ));
    bench.out();
    let wide = bench.command(Command::SubscribeUpdate(update(id, Location::new(7, 3), None)));
    assert!(matches!(wide, Err(CommandError::NotAllowed(_))));
    let narrow = update(id, Location::new(8, 0), Some(9));
    assert_eq!(bench.command(Command::SubscribeUpdate(narrow.clone())), Ok(None));
    assert_eq!(
        bench.said(),
        [ControlMessage::SubscribeUpdate(RequestId(2), narrow)]
    );
    // The update used up an id.
    assert_eq!(
        bench.ask(Command::PublishNamespace(announce(&["x"]))),
        RequestId(4)
    );
}

/// D14-VAL-14
#[test]
fn aliases_map_to_requests() {
    let mut bench = Bench::client();
    let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    let b = bench.ask(Command::Subscribe(subscribe("b", LARGEST)));
    assert_eq!(bench.session.peer_alias(9), None);
    bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(9, None)));
    assert_eq!(bench.session.peer_alias(9), Some(a));
    bench.hear(&ControlMessage::SubscribeOk(b, subscribe_ok(9, None)));
    assert_eq!(bench.code(), Some(CloseCode::DuplicateTrackAlias));
}

/// D14-VAL-14
#[test]
fn subscribe_ok_and_publish_share_the_aliases() {
    let mut bench = Bench::client();
    let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(9, None)));
    bench.hear(&ControlMessage::Publish(RequestId(1), publish("b", 9)));
    assert_eq!(bench.code(), Some(CloseCode::DuplicateTrackAlias));

    let mut bench = Bench::client();
    bench.hear(&ControlMessage::Publish(RequestId(1), publish("b", 9)));
    let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(9, None)));
    assert_eq!(bench.code(), Some(CloseCode::DuplicateTrackAlias));
}

/// D14-VAL-14, D14-SUB-28
#[test]
fn the_alias_of_a_track_status_stands_for_nothing() {
    let mut bench = Bench::client();
    let a = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    bench.hear(&ControlMessage::SubscribeOk(a, subscribe_ok(0, None)));
    let status = bench.ask(Command::TrackStatus(subscribe("b", LARGEST)));
    bench.hear(&ControlMessage::TrackStatusOk(status, subscribe_ok(0, None)));
    let events = bench.events();
    assert!(matches!(
        events[..],
        [Event::SubscribeOk(..), Event::TrackStatusOk(..)]
    ));
    assert_eq!(bench.session.peer_alias(0), Some(a));
    assert_eq!(bench.session.open_requests(), (1, 0));
}

/// D14-DATA-20
#[test]
fn our_aliases_come_from_the_session() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", LARGEST)));
    let made_up = bench.command(Command::AcceptSubscribe(RequestId(0), subscribe_ok(5, None)));
    assert!(matches!(made_up, Err(CommandError::NotAllowed(_))));
    let made_up = bench.command(Command::Publish(publish("a", 0)));
    assert!(matches!(made_up, Err(CommandError::NotAllowed(_))));
}

/// D14-PARAM-6: a parameter that an update leaves out keeps its value, whichever message set it; nothing removes it.
#[test]
fn an_update_keeps_the_parameters_it_leaves_out() {
    let timeout = |delivery_timeout_ms| MessageParams {
        delivery_timeout_ms,
        ..MessageParams::default()
    };
    let said = |params| SubscribeUpdate {
        params,
        ..update(RequestId(0), Location::ZERO, None)
    };
    let heard = |bench: &mut Bench| match &bench.events()[..] {
        [Event::PeerSubscribeUpdate(_, update)] => update.params.delivery_timeout_ms,
        other => panic!("{other:?}"),
    };
    for first in [None, Some(500)] {
        let mut bench = Bench::server();
        bench.hear(&ControlMessage::Subscribe(
            RequestId(0),
            Subscribe {
                params: timeout(first),
                ..subscribe("a", SubscribeFilter::LargestObject)
            },
        ));
        bench.events();
        for (id, timeout_ms, expected) in [
            (2, None, first),
            (4, Some(200), Some(200)),
            (6, None, Some(200)),
            (8, Some(900), Some(900)),
        ] {
            let update = said(timeout(timeout_ms));
            bench.hear(&ControlMessage::SubscribeUpdate(RequestId(id), update));
            assert_eq!(heard(&mut bench), expected, "{first:?} {id}");
        }
    }
    // A subscription that our PUBLISH made starts with what PUBLISH_OK said.
    let mut bench = Bench::client();
    let alias = bench.session.new_alias();
    let id = bench.ask(Command::Publish(publish("a", alias)));
    let ok = PublishOk {
        params: timeout(Some(300)),
        ..publish_ok()
    };
    bench.hear(&ControlMessage::PublishOk(id, ok));
    bench.events();
    bench.hear(&ControlMessage::SubscribeUpdate(
        RequestId(1),
        said(timeout(None)),
    ));
    assert_eq!(heard(&mut bench), Some(300));
}
