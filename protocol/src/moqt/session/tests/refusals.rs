//! What one request does wrong is not paid for by the others.

use super::*;

/// What a peer may ask that cannot be had, on a session that has an open subscription to the track "a" (request 0) and
/// a watched prefix "live" (request 2).
fn hopeless(id: RequestId) -> Vec<(&'static str, RequestKind, ControlMessage)> {
    let inverted = SubscribeFilter::AbsoluteRange {
        start: Location::new(5, 0),
        end_group: 4,
    };
    let joining = |subscription| Fetch {
        range: FetchRange::RelativeJoining {
            subscription,
            groups: 1,
        },
        ..standalone(Location::ZERO, Location::ZERO)
    };
    let newest = SubscribeFilter::LargestObject;
    vec![
        (
            "a range that ends before it starts",
            RequestKind::Subscribe,
            ControlMessage::Subscribe(id, subscribe("b", inverted)),
        ),
        (
            "a second subscription to a track",
            RequestKind::Subscribe,
            ControlMessage::Subscribe(id, subscribe("a", newest)),
        ),
        (
            "the status of such a range",
            RequestKind::TrackStatus,
            ControlMessage::TrackStatus(id, subscribe("b", inverted)),
        ),
        (
            "past objects of such a range",
            RequestKind::Fetch,
            ControlMessage::Fetch(id, standalone(Location::new(5, 0), Location::new(4, 0))),
        ),
        (
            "a fetch that joins a prefix",
            RequestKind::Fetch,
            ControlMessage::Fetch(id, joining(RequestId(2))),
        ),
        (
            "a fetch that joins itself",
            RequestKind::Fetch,
            ControlMessage::Fetch(id, joining(id)),
        ),
        (
            "a prefix within a watched one",
            RequestKind::SubscribeNamespace,
            ControlMessage::SubscribeNamespace(id, announce(&["live", "x"])),
        ),
    ]
}

/// D14-TERM-3
#[test]
fn a_request_that_cannot_be_had_costs_nothing_but_itself() {
    for (what, kind, message) in hopeless(RequestId(4)) {
        let mut bench = Bench::server();
        let newest = SubscribeFilter::LargestObject;
        bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", newest)));
        let alias = bench.session.new_alias();
        let ok = subscribe_ok(alias, None);
        bench.command(Command::AcceptSubscribe(RequestId(0), ok)).unwrap();
        bench.hear(&ControlMessage::SubscribeNamespace(
            RequestId(2),
            announce(&["live"]),
        ));
        bench.command(Command::AcceptNamespace(RequestId(2))).unwrap();
        bench.out();
        bench.hear(&message);
        let out = bench.out();
        assert_eq!(out.closed, None, "{what}");
        assert!(
            matches!(&out.said[..], [ControlMessage::RequestError(RequestId(4), of, _)] if *of == kind),
            "{what}: {out:?}"
        );
        assert_eq!(out.events, [], "{what}");
        // The others go on.
        assert_eq!(bench.session.open_requests(), (0, 2), "{what}");
        bench.command(Command::PublishDone(RequestId(0), done())).unwrap();
        bench.hear(&ControlMessage::Subscribe(RequestId(6), subscribe("c", newest)));
        assert!(matches!(bench.events()[..], [Event::PeerSubscribe(..)]), "{what}");
    }
}

/// D14-TERM-3: whatever the relay does not want to serve, it can say so of each kind of request.
#[test]
fn every_kind_of_request_can_be_refused() {
    let newest = SubscribeFilter::LargestObject;
    let id = RequestId(2);
    let requests = [
        ControlMessage::Subscribe(id, subscribe("b", newest)),
        ControlMessage::Publish(id, publish("b", 7)),
        ControlMessage::Fetch(id, standalone(Location::ZERO, Location::new(9, 0))),
        ControlMessage::TrackStatus(id, subscribe("b", newest)),
        ControlMessage::PublishNamespace(id, announce(&["b"])),
        ControlMessage::SubscribeNamespace(id, announce(&["b"])),
    ];
    for request in requests {
        let mut bench = Bench::server();
        bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", newest)));
        bench.hear(&request);
        bench.out();
        let full = RequestError::new(RequestErrorReason::InternalError, "too many");
        bench.command(Command::Reject(id, full.clone())).unwrap();
        let out = bench.out();
        assert_eq!((out.closed, out.events), (None, vec![]), "{request:?}");
        assert!(
            matches!(&out.said[..], [ControlMessage::RequestError(refused, _, error)] if (*refused, error) == (id, &full)),
            "{request:?}"
        );
        assert_eq!(bench.session.open_requests(), (0, 1), "{request:?}");
    }
}
