//! Joining fetches: what they join, what they get, and how long they wait.

use super::*;
use proptest::prelude::*;

const LARGEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn joining(range: FetchRange) -> Fetch {
    Fetch {
        range,
        ..standalone(Location::ZERO, Location::ZERO)
    }
}

fn back(subscription: u64, groups: u64) -> Fetch {
    joining(FetchRange::RelativeJoining {
        subscription: RequestId(subscription),
        groups,
    })
}

fn from(subscription: u64, group: u64) -> Fetch {
    joining(FetchRange::AbsoluteJoining {
        subscription: RequestId(subscription),
        group,
    })
}

fn joined(start: (u64, u64), end: (u64, u64)) -> PeerFetch {
    let fetch = back(0, 0);
    PeerFetch {
        track: track("a"),
        start: Location::new(start.0, start.1),
        end: Location::new(end.0, end.1),
        joining: true,
        priority: fetch.priority,
        group_order: fetch.group_order,
        params: fetch.params,
    }
}

/// A server whose peer made SUBSCRIBE 0 for track "a".
fn subscribed() -> Bench {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", LARGEST)));
    assert_eq!(bench.events().len(), 1);
    bench
}

fn accept(bench: &mut Bench, id: u64, largest: Option<Location>) {
    let alias = bench.session.new_alias();
    bench
        .command(Command::AcceptSubscribe(
            RequestId(id),
            subscribe_ok(alias, largest),
        ))
        .unwrap();
}

/// The fetches that were refused, in order.
fn refused(out: &Out) -> Vec<(u64, RequestErrorReason)> {
    let refusal = |message: &ControlMessage| {
        let ControlMessage::RequestError(id, RequestKind::Fetch, error) = message else {
            return None;
        };
        Some((id.0, error.reason))
    };
    out.said.iter().filter_map(refusal).collect()
}

/// D14-FETCH-12, D14-FETCH-13: the range counts from the place that SUBSCRIBE_OK reported, whatever came since.
#[test]
fn the_range_counts_from_the_reported_place() {
    let mut bench = subscribed();
    accept(&mut bench, 0, Some(Location::new(7, 3)));
    // A narrowing update does not move it.
    let narrower = update(RequestId(0), Location::new(9, 0), None);
    bench.hear(&ControlMessage::SubscribeUpdate(RequestId(2), narrower));
    bench.out();
    let cases = [
        (back(0, 0), joined((7, 0), (7, 4))),
        (back(0, 2), joined((5, 0), (7, 4))),
        (back(0, 100), joined((0, 0), (7, 4))),
        (from(0, 0), joined((0, 0), (7, 4))),
        (from(0, 7), joined((7, 0), (7, 4))),
    ];
    for (n, (fetch, expected)) in cases.into_iter().enumerate() {
        let id = RequestId(4 + 2 * n as u64);
        bench.hear(&ControlMessage::Fetch(id, fetch));
        assert_eq!(bench.events(), [Event::PeerFetch(id, expected)]);
    }
}

/// D14-FETCH-7, D14-FETCH-11: nothing to fetch yet, or a start after the largest place.
#[test]
fn a_range_without_a_place_is_refused() {
    for (largest, fetch) in [
        (None, back(0, 2)),
        (None, from(0, 0)),
        (Some(Location::new(7, 3)), from(0, 8)),
        (Some(Location::new(7, 0)), from(0, u64::MAX >> 2)),
    ] {
        // Held or not, the answer is the same.
        for held in [false, true] {
            let mut bench = subscribed();
            if !held {
                accept(&mut bench, 0, largest);
                bench.out();
            }
            bench.hear(&ControlMessage::Fetch(RequestId(2), fetch.clone()));
            if held {
                assert_eq!(bench.out(), Out::default());
                accept(&mut bench, 0, largest);
            }
            let out = bench.out();
            assert_eq!(
                refused(&out),
                [(2, RequestErrorReason::InvalidRange)],
                "{fetch:?}"
            );
            assert_eq!((out.events.len(), out.closed), (0, None));
            assert_eq!(bench.session.open_requests().1, 1, "only the subscription");
        }
    }
}

/// D14-FETCH-11
#[test]
fn only_an_active_subscription_can_be_joined() {
    let mut bench = Bench::server();
    bench.hear(&ControlMessage::PublishNamespace(RequestId(0), announce(&["a"])));
    bench.hear(&ControlMessage::Publish(RequestId(2), publish("b", 7)));
    bench.hear(&ControlMessage::Subscribe(RequestId(4), subscribe("a", LARGEST)));
    accept(&mut bench, 4, Some(Location::ZERO));
    bench.command(Command::PublishDone(RequestId(4), done())).unwrap();
    bench.hear(&ControlMessage::Subscribe(RequestId(6), subscribe("a", LARGEST)));
    accept(&mut bench, 6, Some(Location::ZERO));
    bench.hear(&ControlMessage::Unsubscribe(RequestId(6)));
    bench.hear(&ControlMessage::Subscribe(RequestId(8), subscribe("a", LARGEST)));
    bench.command(Command::Reject(RequestId(8), error())).unwrap();
    bench.out();
    // Another kind, ended by us, by the peer, refused, itself, not made yet, never ours.
    for (n, target) in [0, 2, 4, 6, 8, 20, 90, 1].into_iter().enumerate() {
        let id = 10 + 2 * n as u64;
        bench.hear(&ControlMessage::Fetch(RequestId(id), back(target, 0)));
        let out = bench.out();
        assert_eq!(
            refused(&out),
            [(id, RequestErrorReason::InvalidJoiningRequestId)],
            "{target}"
        );
        assert_eq!((out.events.len(), out.closed), (0, None));
    }
}

/// D14-FETCH-11: also while the SUBSCRIBE is not answered, and before it could be held.
#[test]
fn only_the_filter_largest_object_can_be_joined() {
    for filter in [
        SubscribeFilter::NextGroupStart,
        SubscribeFilter::AbsoluteStart(Location::ZERO),
        SubscribeFilter::AbsoluteRange {
            start: Location::ZERO,
            end_group: 9,
        },
    ] {
        for answered in [false, true] {
            let mut bench = Bench::server();
            bench.hear(&ControlMessage::Subscribe(RequestId(0), subscribe("a", filter)));
            if answered {
                accept(&mut bench, 0, Some(Location::ZERO));
            }
            bench.hear(&ControlMessage::Fetch(RequestId(2), back(0, 0)));
            assert_eq!(bench.code(), Some(CloseCode::ProtocolViolation), "{filter:?}");
        }
    }
}

/// D14-FETCH-11: a subscription that our PUBLISH made can be joined once it is accepted; its largest place is the one
/// that PUBLISH reported.
#[test]
fn a_subscription_made_by_our_publish_can_be_joined() {
    let published = |filter| {
        let mut bench = Bench::server();
        let alias = bench.session.new_alias();
        let id = bench.ask(Command::Publish(Publish {
            largest: Some(Location::new(3, 1)),
            ..publish("a", alias)
        }));
        assert_eq!(id, RequestId(1));
        if let Some(filter) = filter {
            let ok = PublishOk {
                filter,
                ..publish_ok()
            };
            bench.hear(&ControlMessage::PublishOk(id, ok));
        }
        bench.out();
        bench.hear(&ControlMessage::Fetch(RequestId(0), back(1, 1)));
        bench
    };
    let mut bench = published(Some(LARGEST));
    let expected = Event::PeerFetch(RequestId(0), joined((2, 0), (3, 2)));
    assert_eq!(bench.events(), [expected]);
    bench.command(Command::PublishDone(RequestId(1), done())).unwrap();
    bench.hear(&ControlMessage::Fetch(RequestId(2), back(1, 1)));
    let gone = (2, RequestErrorReason::InvalidJoiningRequestId);
    assert_eq!(refused(&bench.out()), [gone]);
    // Not accepted yet, or with another filter.
    for filter in [None, Some(SubscribeFilter::NextGroupStart)] {
        let out = published(filter).out();
        assert_eq!(refused(&out), [(0, RequestErrorReason::InvalidJoiningRequestId)]);
        assert_eq!(out.closed, None);
    }
}

/// D14-FETCH-14: nobody hears of it before SUBSCRIBE_OK; then it follows at once, after that.
#[test]
fn it_waits_for_the_answer_to_its_subscribe() {
    let mut bench = subscribed();
    bench.hear(&ControlMessage::Subscribe(RequestId(2), subscribe("b", LARGEST)));
    bench.hear(&ControlMessage::Fetch(RequestId(4), back(0, 1)));
    bench.hear(&ControlMessage::Fetch(RequestId(6), back(2, 1)));
    bench.hear(&ControlMessage::Fetch(RequestId(8), from(0, 0)));
    assert_eq!(bench.out().events.len(), 1, "the SUBSCRIBE for b");
    for command in [
        Command::AcceptFetch(RequestId(4), fetch_ok(Location::new(7, 4))),
        Command::Reject(RequestId(4), error()),
        Command::FetchDone(RequestId(4)),
    ] {
        assert_eq!(
            bench.command(command),
            Err(CommandError::NoSuchRequest(RequestId(4)))
        );
    }
    accept(&mut bench, 0, Some(Location::new(7, 3)));
    let out = bench.out();
    assert!(matches!(
        out.said[..],
        [ControlMessage::SubscribeOk(RequestId(0), _)]
    ));
    assert_eq!(
        out.events,
        [
            Event::PeerFetch(RequestId(4), joined((6, 0), (7, 4))),
            Event::PeerFetch(RequestId(8), joined((0, 0), (7, 4))),
        ]
    );
    bench
        .command(Command::AcceptFetch(RequestId(4), fetch_ok(Location::new(7, 4))))
        .unwrap();
    bench.command(Command::FetchDone(RequestId(4))).unwrap();
    bench.command(Command::Reject(RequestId(8), error())).unwrap();
    assert_eq!(bench.session.open_requests().1, 3);
}

/// D14-FETCH-14: with nothing left to join it is refused, and its id goes back to the peer.
#[test]
fn it_ends_with_its_subscribe() {
    for withdrawn in [false, true] {
        let mut bench = subscribed();
        bench.hear(&ControlMessage::Fetch(RequestId(2), back(0, 1)));
        bench.hear(&ControlMessage::Fetch(RequestId(4), from(0, 1)));
        if withdrawn {
            bench.hear(&ControlMessage::Unsubscribe(RequestId(0)));
        } else {
            bench.command(Command::Reject(RequestId(0), error())).unwrap();
        }
        let out = bench.out();
        let answer = |message: &ControlMessage| {
            let ControlMessage::RequestError(id, kind, error) = message else {
                return None;
            };
            Some((id.0, *kind, error.reason))
        };
        let answers: Vec<_> = out.said.iter().filter_map(answer).collect();
        assert_eq!(answers.len(), out.said.len());
        assert_eq!(answers[0].1, RequestKind::Subscribe);
        assert_eq!(
            answers[1..],
            [2, 4].map(|id| (
                id,
                RequestKind::Fetch,
                RequestErrorReason::InvalidJoiningRequestId
            ))
        );
        assert_eq!((bench.session.open_requests().1, out.closed), (0, None));
        assert!(bench.session.joining.is_empty());
    }
}

/// D14-FETCH-14, D14-FETCH-16: cancelled before anybody heard of it, it gets its one answer and no event.
#[test]
fn it_can_be_cancelled_while_it_waits() {
    let mut bench = subscribed();
    bench.hear(&ControlMessage::Fetch(RequestId(2), back(0, 1)));
    bench.hear(&ControlMessage::FetchCancel(RequestId(2)));
    let out = bench.out();
    assert_eq!(refused(&out), [(2, RequestErrorReason::InternalError)]);
    assert!(out.events.is_empty());
    assert!(bench.session.joining.is_empty());
    accept(&mut bench, 0, Some(Location::new(7, 3)));
    assert!(bench.events().is_empty());
    assert_eq!(bench.session.open_requests().1, 1);
}

/// D14-FETCH-14, D14-FETCH-20: what waits keeps no more tokens than one message can hold.
#[test]
fn what_waits_is_bounded() {
    let mut bench = subscribed();
    let mut token = vec![3, 0];
    token.resize(30_000, b't');
    let fetch = Fetch {
        params: MessageParams {
            authorization_tokens: vec![Bytes::from(token)],
            unknown: vec![KeyValue {
                key: 0x7f,
                value: Value::Bytes(Bytes::from(vec![0; 30_000])),
            }],
            ..MessageParams::default()
        },
        ..back(0, 1)
    };
    for id in [2, 4, 6, 8] {
        bench.hear(&ControlMessage::Fetch(RequestId(id), fetch.clone()));
    }
    let too_many = [6, 8].map(|id| (id, RequestErrorReason::InternalError));
    assert_eq!(refused(&bench.out()), too_many);
    accept(&mut bench, 0, Some(Location::ZERO));
    let events = bench.events();
    let [Event::PeerFetch(_, first), Event::PeerFetch(..)] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        first.params.authorization_tokens,
        fetch.params.authorization_tokens
    );
    assert!(first.params.unknown.is_empty());
    assert!(bench.session.joining.is_empty());
}

/// D14-FETCH-11: what the peer would refuse or close the session for is not said.
#[test]
fn we_join_only_what_can_be_joined() {
    let mut bench = Bench::client();
    let largest = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
    let next = bench.ask(Command::Subscribe(subscribe(
        "b",
        SubscribeFilter::NextGroupStart,
    )));
    assert!(matches!(
        bench.command(Command::Fetch(back(next.0, 0))),
        Err(CommandError::NotAllowed(_))
    ));
    for other in [1, 90] {
        assert_eq!(
            bench.command(Command::Fetch(back(other, 0))),
            Err(CommandError::NoSuchRequest(RequestId(other)))
        );
    }
    bench.ask(Command::Fetch(back(largest.0, 0)));
}

/// D14-VAL-12: the start of a fetch that joins counts too, from SUBSCRIBE_OK on.
#[test]
fn the_end_of_our_joining_fetch_is_checked() {
    for (fetch, end, closed) in [
        (back(0, 2), (5, 0), false),
        (back(0, 2), (7, 4), false),
        (back(0, 2), (4, 9), true),
        (from(0, 6), (6, 0), false),
        (from(0, 6), (5, 0), true),
    ] {
        let mut bench = Bench::client();
        let subscription = bench.ask(Command::Subscribe(subscribe("a", LARGEST)));
        let id = bench.ask(Command::Fetch(fetch.clone()));
        let ok = subscribe_ok(9, Some(Location::new(7, 3)));
        bench.hear(&ControlMessage::SubscribeOk(subscription, ok));
        bench.hear(&ControlMessage::FetchOk(
            id,
            fetch_ok(Location::new(end.0, end.1)),
        ));
        let code = closed.then_some(CloseCode::ProtocolViolation);
        assert_eq!(bench.code(), code, "{fetch:?} {end:?}");
    }
}

/// D14-VAL-12: nor do we send an end that would make the peer close.
#[test]
fn an_answer_that_ends_before_the_start_is_not_sent() {
    let mut bench = subscribed();
    accept(&mut bench, 0, Some(Location::new(7, 3)));
    bench.hear(&ControlMessage::Fetch(RequestId(2), back(0, 2)));
    bench.out();
    let wrong = Command::AcceptFetch(RequestId(2), fetch_ok(Location::new(4, 9)));
    assert!(matches!(bench.command(wrong), Err(CommandError::NotAllowed(_))));
    assert!(bench.said().is_empty());
    let right = Command::AcceptFetch(RequestId(2), fetch_ok(Location::new(7, 4)));
    bench.command(right).unwrap();
}

/// One thing that happens around three subscriptions and the fetches that join them.
#[derive(Clone, Debug)]
enum Step {
    Subscribe(u8),
    Join {
        subscription: u8,
        relative: bool,
        group: u64,
    },
    Accept(u8, Option<(u64, u64)>),
    Reject(u8),
    Unsubscribe(u8),
    Done(u8),
    Cancel(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let largest = prop::option::weighted(0.8, (0u64..6, 0u64..4));
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Subscribe),
        6 => (0u8..3, any::<bool>(), 0u64..8)
            .prop_map(|(subscription, relative, group)| Step::Join { subscription, relative, group }),
        2 => (0u8..3, largest).prop_map(|(n, largest)| Step::Accept(n, largest)),
        1 => (0u8..3).prop_map(Step::Reject),
        1 => (0u8..3).prop_map(Step::Unsubscribe),
        1 => (0u8..3).prop_map(Step::Done),
        2 => (0u8..20).prop_map(Step::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// D14-FETCH-12, D14-FETCH-13, D14-FETCH-14: whatever happens around it, a fetch is told or refused once, the
    /// range is the one of the place that its own SUBSCRIBE_OK reported, and nothing stays behind.
    #[test]
    fn each_fetch_is_told_or_refused_once(steps in prop::collection::vec(step(), 0..40)) {
        let mut bench = Bench::server();
        let mut next = 0;
        let mut subscriptions: [Option<(u64, Option<Location>)>; 3] = [None; 3];
        // By fetch: the subscription, relative, group.
        let mut asked = std::collections::BTreeMap::new();
        let mut reported = std::collections::BTreeMap::new();
        let mut settled = std::collections::BTreeSet::new();
        let mut fetches = Vec::new();
        for step in steps {
            match step {
                Step::Subscribe(n) if subscriptions[usize::from(n)].is_none() => {
                    let name = ["a", "b", "c"][usize::from(n)];
                    bench.hear(&ControlMessage::Subscribe(RequestId(next), subscribe(name, LARGEST)));
                    subscriptions[usize::from(n)] = Some((next, None));
                    next += 2;
                }
                Step::Join { subscription, relative, group } => {
                    let target = subscriptions[usize::from(subscription)].map_or(999, |(id, _)| id);
                    let fetch = if relative { back(target, group) } else { from(target, group) };
                    asked.insert(next, (target, relative, group));
                    fetches.push(next);
                    bench.hear(&ControlMessage::Fetch(RequestId(next), fetch));
                    next += 2;
                }
                Step::Accept(n, largest) => if let Some((id, _)) = subscriptions[usize::from(n)] {
                    let largest = largest.map(|(group, object)| Location::new(group, object));
                    let alias = bench.session.new_alias();
                    let ok = Command::AcceptSubscribe(RequestId(id), subscribe_ok(alias, largest));
                    if bench.command(ok).is_ok() {
                        reported.insert(id, largest);
                    }
                },
                Step::Reject(n) | Step::Unsubscribe(n) | Step::Done(n) => if let Some((id, _)) = subscriptions[usize::from(n)] {
                    let mut over = true;
                    if let Step::Reject(_) = step {
                        over = bench.command(Command::Reject(RequestId(id), error())).is_ok();
                    } else if let Step::Done(_) = step {
                        over = bench.command(Command::PublishDone(RequestId(id), done())).is_ok();
                    } else {
                        bench.hear(&ControlMessage::Unsubscribe(RequestId(id)));
                    }
                    if over {
                        subscriptions[usize::from(n)] = None;
                    }
                },
                Step::Cancel(n) => if let Some(&id) = fetches.get(usize::from(n)) {
                    bench.hear(&ControlMessage::FetchCancel(RequestId(id)));
                },
                Step::Subscribe(_) => {}
            }
            let out = bench.out();
            prop_assert_eq!(&out.closed, &None);
            for event in &out.events {
                let Event::PeerFetch(id, fetch) = event else { continue };
                prop_assert!(settled.insert(id.0), "told once");
                let (target, relative, group) = asked[&id.0];
                let largest: Location = reported[&target].unwrap();
                let first = if relative { largest.group.saturating_sub(group) } else { group };
                prop_assert!(first <= largest.group);
                prop_assert_eq!(fetch.start, Location::new(first, 0));
                prop_assert_eq!(fetch.end, Location::new(largest.group, largest.object + 1));
            }
            for message in &out.said {
                if let ControlMessage::RequestError(id, RequestKind::Fetch, _) = message {
                    // A cancel of one that was told is answered with an error too.
                    let new = settled.insert(id.0);
                    prop_assert!(new || !bench.session.theirs.open.contains_key(id));
                }
            }
        }
        for (id, _) in subscriptions.into_iter().flatten() {
            bench.hear(&ControlMessage::Unsubscribe(RequestId(id)));
        }
        for message in bench.said() {
            if let ControlMessage::RequestError(id, RequestKind::Fetch, _) = message {
                settled.insert(id.0);
            }
        }
        prop_assert_eq!(settled.len(), asked.len(), "each got something");
        prop_assert!(bench.session.joining.is_empty());
        for id in fetches {
            bench.hear(&ControlMessage::FetchCancel(RequestId(id)));
        }
        prop_assert_eq!(bench.session.open_requests().1, 0);
    }
}
