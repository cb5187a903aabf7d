//! Namespaces and prefixes.

use super::*;

/// D14-NS-9, D14-MSG-25
#[test]
fn an_announcement_is_withdrawn_by_name() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(
        RequestId(0),
        announce(&["a", "b"]),
    ));
    bench.command(Command::AcceptNamespace(RequestId(0))).unwrap();
    assert_eq!(bench.said(), [ControlMessage::PublishNamespaceOk(RequestId(0))]);
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a"])));
    assert_eq!(
        bench.events(),
        [Event::Note(Note::UnknownNamespace)],
        "a prefix is another name"
    );
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a", "b"])));
    assert_eq!(bench.events(), [Event::PeerPublishNamespaceDone(RequestId(0))]);
    assert_eq!(bench.session.open_requests(), (0, 0));
    let late = bench.command(Command::PublishNamespaceCancel(RequestId(0), error()));
    assert_eq!(late, Err(CommandError::NoSuchRequest(RequestId(0))));
}

/// D14-NS-14
#[test]
fn announcing_again_refreshes() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    bench.command(Command::AcceptNamespace(RequestId(0))).unwrap();
    bench.out();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(2), announce(&["a"])));
    assert_eq!(
        bench.events(),
        [
            Event::PeerPublishNamespace(RequestId(2), announce(&["a"])),
            Event::PeerPublishNamespaceDone(RequestId(0)),
        ]
    );
    // Unanswered ones get their answer all the same, and end with it.
    bench.hear(&ControlMessage::PublishNamespace(RequestId(4), announce(&["a"])));
    assert_eq!(bench.events().len(), 1);
    bench.command(Command::AcceptNamespace(RequestId(2))).unwrap();
    let out = bench.out();
    assert_eq!(out.said, [ControlMessage::PublishNamespaceOk(RequestId(2))]);
    assert_eq!(out.events, [Event::PeerPublishNamespaceDone(RequestId(2))]);
    bench.command(Command::AcceptNamespace(RequestId(4))).unwrap();
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a"])));
    assert_eq!(bench.events(), [Event::PeerPublishNamespaceDone(RequestId(4))]);
    assert_eq!(bench.session.open_requests(), (0, 0));
}

/// D14-REQ-8
#[test]
fn a_withdrawn_announcement_still_gets_its_one_answer() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a"])));
    let out = bench.out();
    assert!(matches!(
        out.said[..],
        [ControlMessage::RequestError(
            RequestId(0),
            RequestKind::PublishNamespace,
            _
        )]
    ));
    assert_eq!(out.events[1..], [Event::PeerPublishNamespaceDone(RequestId(0))]);
}

/// D14-MSG-26
#[test]
fn we_cancel_an_announcement_by_name() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    let early = bench.command(Command::PublishNamespaceCancel(RequestId(0), error()));
    assert_eq!(
        early,
        Err(CommandError::NoSuchRequest(RequestId(0))),
        "refuse it instead"
    );
    bench.command(Command::AcceptNamespace(RequestId(0))).unwrap();
    bench.out();
    bench
        .command(Command::PublishNamespaceCancel(RequestId(0), error()))
        .unwrap();
    let cancel = NamespaceCancel {
        namespace: namespace(&["a"]),
        reason: error().reason,
        phrase: error().phrase,
    };
    assert_eq!(bench.said(), [ControlMessage::PublishNamespaceCancel(cancel)]);
    // A DONE that crossed it.
    bench.hear(&ControlMessage::PublishNamespaceDone(named(&["a"])));
    assert_eq!(bench.events(), [Event::Note(Note::UnknownNamespace)]);
}

/// D14-NS-9
#[test]
fn our_announcement_ends_on_either_side() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::PublishNamespace(announce(&["a"])));
    let again = bench.command(Command::PublishNamespace(announce(&["a"])));
    assert_eq!(again, Err(CommandError::Duplicate(id)));
    bench.hear(&ControlMessage::PublishNamespaceOk(id));
    assert_eq!(
        bench.events(),
        [Event::NamespaceOk(id, RequestKind::PublishNamespace)]
    );
    bench.command(Command::PublishNamespaceDone(id)).unwrap();
    assert_eq!(
        bench.said(),
        [ControlMessage::PublishNamespaceDone(named(&["a"]))]
    );
    let cancel = ControlMessage::PublishNamespaceCancel(NamespaceCancel {
        namespace: namespace(&["a"]),
        reason: error().reason,
        phrase: error().phrase,
    });
    // The peer's CANCEL crossed our DONE.
    bench.hear(&cancel);
    assert_eq!(bench.events(), [Event::Note(Note::UnknownNamespace)]);
    let id = bench.ask(Command::PublishNamespace(announce(&["a"])));
    bench.hear(&ControlMessage::PublishNamespaceOk(id));
    bench.out();
    bench.hear(&cancel);
    assert_eq!(
        bench.events(),
        [Event::Rejected(id, RequestKind::PublishNamespace, error())]
    );
    let done = bench.command(Command::PublishNamespaceDone(id));
    assert_eq!(done, Err(CommandError::NoSuchRequest(id)), "no DONE after CANCEL");
    bench.ask(Command::PublishNamespace(announce(&["a"])));
}

/// D14-NS-4
#[test]
fn overlapping_prefixes_are_refused_by_themselves() {
    let cases: &[(&[&'static str], bool)] = &[
        (&["a", "b"], true),
        (&["a"], true),
        (&["a", "b", "c"], true),
        (&["a", "bb"], false),
        (&["b"], false),
    ];
    for (prefix, overlaps) in cases {
        let mut bench = Bench::server();
        bench.hear(&ControlMessage::SubscribeNamespace(
            RequestId(0),
            announce(&["a", "b"]),
        ));
        bench.out();
        bench.hear(&ControlMessage::SubscribeNamespace(
            RequestId(2),
            announce(prefix),
        ));
        let out = bench.out();
        assert_eq!(out.events.is_empty(), *overlaps, "{prefix:?}");
        if let [ControlMessage::RequestError(RequestId(2), RequestKind::SubscribeNamespace, error)] =
            &out.said[..]
        {
            assert_eq!(error.reason, RequestErrorReason::NamespacePrefixOverlap);
        } else {
            assert!(!overlaps && out.said.is_empty());
        }
        // Ours are refused before they are sent.
        let id = bench.ask(Command::SubscribeNamespace(announce(&["a", "b"])));
        let ours = bench.command(Command::SubscribeNamespace(announce(prefix)));
        assert_eq!(ours == Err(CommandError::Duplicate(id)), *overlaps, "{prefix:?}");
    }
}

/// D14-MSG-30
#[test]
fn a_prefix_is_unwatched_by_name_or_by_id() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::SubscribeNamespace(
        RequestId(0),
        announce(&["a"]),
    ));
    bench.command(Command::AcceptNamespace(RequestId(0))).unwrap();
    assert_eq!(bench.said(), [ControlMessage::SubscribeNamespaceOk(RequestId(0))]);
    bench.hear(&ControlMessage::UnsubscribeNamespace(named(&["b"])));
    assert_eq!(bench.events(), [Event::Note(Note::UnknownNamespace)]);
    bench.hear(&ControlMessage::UnsubscribeNamespace(named(&["a"])));
    assert_eq!(bench.events(), [Event::PeerUnsubscribeNamespace(RequestId(0))]);

    bench.hear(&ControlMessage::SubscribeNamespace(
        RequestId(2),
        announce(&["a"]),
    ));
    bench.command(Command::AcceptNamespace(RequestId(2))).unwrap();
    bench.out();
    // Type, length and the id alone: what some peers send.
    let by_id = Input::StreamBytes(STREAM, Bytes::from_static(&[0x14, 0, 1, 2]));
    bench.input(by_id.clone());
    assert_eq!(
        bench.events(),
        [
            Event::Note(Note::UnsubscribeNamespaceById),
            Event::PeerUnsubscribeNamespace(RequestId(2))
        ]
    );
    bench.input(by_id);
    assert_eq!(
        bench.events(),
        [Event::Note(Note::UnsubscribeNamespaceById)],
        "it is over already"
    );
    bench.hear(&ControlMessage::PublishNamespace(RequestId(4), announce(&["a"])));
    bench.input(Input::StreamBytes(STREAM, Bytes::from_static(&[0x14, 0, 1, 4])));
    assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation));
}

/// D14-MSG-30
#[test]
fn we_stop_watching_by_name() {
    let mut bench = Bench::client();
    let id = bench.ask(Command::SubscribeNamespace(announce(&["a"])));
    bench.command(Command::UnsubscribeNamespace(id)).unwrap();
    assert_eq!(
        bench.said()[1..],
        [ControlMessage::UnsubscribeNamespace(named(&["a"]))]
    );
    // The answer crossed it.
    bench.hear(&ControlMessage::SubscribeNamespaceOk(id));
    assert_eq!(bench.out(), Out::default());
    assert_eq!(bench.session.open_requests(), (0, 0));
}
