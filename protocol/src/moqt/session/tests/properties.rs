//! Whatever a peer sends, a session goes on or closes; it never panics and never gets stuck.

use super::*;
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A message of any kind over few ids and few names, so that they meet.
fn message(kind: u8, id: u64, other: u64, name: u8) -> ControlMessage {
    let text = NAMES[usize::from(name) % NAMES.len()];
    let place = Location::new(other, id);
    let filter = match other % 4 {
        0 => SubscribeFilter::NextGroupStart,
        1 => SubscribeFilter::LargestObject,
        2 => SubscribeFilter::AbsoluteStart(place),
        _ => SubscribeFilter::AbsoluteRange {
            start: place,
            end_group: id,
        },
    };
    let joining = Fetch {
        range: FetchRange::AbsoluteJoining {
            subscription: RequestId(other),
            group: id,
        },
        ..standalone(place, place)
    };
    let id = RequestId(id);
    let kinds = [
        RequestKind::Subscribe,
        RequestKind::Publish,
        RequestKind::Fetch,
        RequestKind::TrackStatus,
        RequestKind::PublishNamespace,
        RequestKind::SubscribeNamespace,
    ];
    match kind {
        0 => ControlMessage::Subscribe(id, subscribe(text, filter)),
        1 => ControlMessage::SubscribeOk(id, subscribe_ok(other, Some(place))),
        2 => ControlMessage::SubscribeUpdate(id, update(RequestId(other), place, None)),
        3 => ControlMessage::Unsubscribe(id),
        4 => ControlMessage::PublishDone(id, done()),
        5 => ControlMessage::Publish(id, publish(text, other)),
        6 => ControlMessage::PublishOk(
            id,
            PublishOk {
                filter,
                ..publish_ok()
            },
        ),
        7 => ControlMessage::Fetch(id, standalone(place, Location::new(id.0, other))),
        8 => ControlMessage::Fetch(id, joining),
        9 => ControlMessage::FetchOk(id, fetch_ok(place)),
        10 => ControlMessage::FetchCancel(id),
        11 => ControlMessage::TrackStatus(id, subscribe(text, filter)),
        12 => ControlMessage::TrackStatusOk(id, subscribe_ok(0, None)),
        13 => ControlMessage::PublishNamespace(id, announce(&[text])),
        14 => ControlMessage::PublishNamespaceOk(id),
        15 => ControlMessage::PublishNamespaceDone(named(&[text])),
        16 => ControlMessage::PublishNamespaceCancel(NamespaceCancel {
            namespace: namespace(&[text]),
            reason: error().reason,
            phrase: error().phrase,
        }),
        17 => ControlMessage::SubscribeNamespace(id, announce(&[text])),
        18 => ControlMessage::SubscribeNamespaceOk(id),
        19 => ControlMessage::UnsubscribeNamespace(named(&[text])),
        20 => ControlMessage::MaxRequestId(100 + other),
        21 => ControlMessage::RequestsBlocked(other),
        22 => ControlMessage::Goaway(Bytes::new()),
        _ => {
            let kind = kinds[usize::from(name) % kinds.len()];
            let reason = RequestErrorReason::Unknown(other + 100);
            ControlMessage::RequestError(id, kind, RequestError::new(reason, "no"))
        }
    }
}

/// The id of a message that makes a request or an update.
fn new_id(kind: u8) -> bool {
    matches!(kind, 0 | 2 | 5 | 7 | 8 | 11 | 13 | 17)
}

/// A command of any kind on whatever ids there may be.
fn command(kind: u8, id: u64, name: u8, alias: TrackAlias) -> Command {
    let text = NAMES[usize::from(name) % NAMES.len()];
    let id = RequestId(id);
    match kind {
        0 => Command::Subscribe(subscribe(text, SubscribeFilter::LargestObject)),
        1 => Command::Publish(publish(text, alias)),
        2 => Command::PublishNamespace(announce(&[text])),
        3 => Command::SubscribeNamespace(announce(&[text])),
        4 => Command::Fetch(standalone(Location::ZERO, Location::ZERO)),
        5 => Command::TrackStatus(subscribe(text, SubscribeFilter::LargestObject)),
        6 => Command::Unsubscribe(id),
        7 => Command::PublishDone(id, done()),
        8 => Command::AcceptSubscribe(id, subscribe_ok(alias, None)),
        9 => Command::AcceptPublish(id, publish_ok()),
        10 => Command::AcceptFetch(id, fetch_ok(Location::ZERO)),
        11 => Command::AcceptTrackStatus(id, subscribe_ok(0, None)),
        12 => Command::AcceptNamespace(id),
        13 => Command::FetchDone(id),
        14 => Command::FetchCancel(id),
        15 => Command::PublishNamespaceDone(id),
        16 => Command::UnsubscribeNamespace(id),
        17 => Command::PublishNamespaceCancel(id, error()),
        18 => Command::SubscribeUpdate(update(id, Location::ZERO, None)),
        _ => Command::Reject(id, error()),
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// kind, id, other number, name; true: with the next id of the sequence, if it makes a request.
    Hear(u8, u64, u64, u8, bool),
    Say(u8, u64, u8),
    Forget(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // Requests that fit: without them every run would end at its first answer to nothing.
        8 => (0usize..8, 0u64..12, 0u8..8).prop_map(|(kind, other, name)| {
            Step::Hear([0, 0, 2, 5, 7, 11, 13, 17][kind], 0, other, name, true)
        }),
        3 => (prop::sample::select(vec![15u8, 16, 19, 21]), 0u8..8)
            .prop_map(|(kind, name)| Step::Hear(kind, 0, 0, name, false)),
        1 => (0u8..24, 0u64..12, 0u64..12, 0u8..8, prop::bool::weighted(0.95))
            .prop_map(|(kind, id, other, name, right)| Step::Hear(kind, id, other, name, right)),
        12 => (0u8..20, 0u64..12, 0u8..8).prop_map(|(kind, id, name)| Step::Say(kind, id, name)),
        1 => (0u64..12).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// D14-LIM-4, D14-ENC-12
    #[test]
    fn any_bytes_close_the_session_or_wait_for_more(
        client in any::<bool>(),
        ready in any::<bool>(),
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut bench = if ready { Bench::ready(role, config(), 100) } else { Bench::new(role, config()) };
        if !ready {
            bench.input(if client { Input::StreamOpened(STREAM) } else { Input::StreamAccepted(STREAM) });
        }
        bench.out();
        let mut closed = false;
        for piece in pieces {
            bench.input(Input::StreamBytes(STREAM, Bytes::from(piece)));
            let out = bench.out();
            prop_assert!(!closed || out == Out::default(), "nothing comes after Close");
            closed |= out.closed.is_some();
        }
        prop_assert_eq!(bench.session.is_closed(), closed);
        // What is neither read nor closed is the start of one message.
        prop_assert!(closed || bench.session.decoder.buffered() <= 65_535 + 16);
    }

    #[test]
    fn any_messages_and_commands_keep_the_session_going_or_close_it(
        client in any::<bool>(),
        steps in steps(),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut bench = Bench::ready(role, config(), 40);
        let mut next = u64::from(client);
        for step in steps {
            match step {
                Step::Hear(kind, id, other, name, right) => {
                    let right = right && new_id(kind);
                    let id = if right { next } else { id };
                    // An id that is right by chance counts too.
                    if new_id(kind) && id == next {
                        next += 2;
                    }
                    bench.hear(&message(kind, id, other, name));
                }
                Step::Say(kind, id, name) => {
                    let alias = bench.session.new_alias();
                    let before = (bench.session.open_requests(), bench.out());
                    let result = bench.command(command(kind, id, name, alias));
                    if result.is_err() {
                        // REQUESTS_BLOCKED may be said; nothing else changes.
                        prop_assert_eq!(before.0, bench.session.open_requests());
                    }
                }
                Step::Forget(id) => bench.session.forget_alias(RequestId(id)),
            }
            let out = bench.out();
            prop_assert_eq!(out.closed.is_some(), bench.session.is_closed());
            if bench.session.is_closed() {
                let late = bench.command(Command::PublishNamespace(announce(&["z"])));
                prop_assert_eq!(late, Err(CommandError::NotEstablished));
                prop_assert_eq!(bench.out(), Out::default());
                return Ok(());
            }
        }
        // It still listens.
        bench.hear(&ControlMessage::PublishNamespace(RequestId(next), announce(&["fresh"])));
        let out = bench.out();
        prop_assert_eq!(out.events, [Event::PeerPublishNamespace(RequestId(next), announce(&["fresh"]))]);
        // And everything that the peer asked can still be answered and leaves nothing.
        for id in (u64::from(client)..=next).step_by(2).map(RequestId) {
            for end in [
                Command::Reject(id, error()),
                Command::PublishDone(id, done()),
                Command::Unsubscribe(id),
                Command::FetchDone(id),
                Command::PublishNamespaceCancel(id, error()),
            ] {
                if let Err(error) = bench.command(end) {
                    prop_assert_eq!(error, CommandError::NoSuchRequest(id));
                }
            }
            bench.session.forget_alias(id);
        }
        for name in NAMES {
            bench.hear(&ControlMessage::UnsubscribeNamespace(named(&[name])));
        }
        prop_assert_eq!(bench.session.open_requests().1, 0);
        prop_assert!(bench.session.theirs.announced.is_empty() && bench.session.theirs.watched.is_empty());
    }
}
