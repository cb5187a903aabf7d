//! What a client and a relay do with each other, one promise a test.

use super::common::*;
use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::session::{Command, CommandError, Config, Event};
use laps_protocol::sim::SessionPair;
use std::time::Duration;

const LARGEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// D14-SETUP-6, D14-SETUP-9
#[test]
fn both_sides_establish() {
    seeds(200, |seed| {
        let mut pair = SessionPair::new(seed, base(), config(), config());
        let mut seen = Vec::new();
        pair.run(|_, role, event| seen.push((role, event)));
        never_closed(&pair);
        seen.sort_by_key(|(role, _)| *role == C);
        let [
            (S, Event::Established(at_server)),
            (C, Event::Established(at_client)),
        ] = &seen[..]
        else {
            panic!("{seen:?}");
        };
        assert_eq!(at_server.path.as_deref(), Some(&b"/"[..]));
        assert_eq!(at_server.authority.as_deref(), Some(&b"localhost:4433"[..]));
        assert_eq!(at_client.implementation.as_deref(), Some(&b"laps sim"[..]));
        assert!(pair.elapsed() < Duration::from_secs(5));
    });
}

/// D14-SETUP-23
#[test]
fn a_silent_peer_is_given_up() {
    seeds(200, |seed| {
        let mut pair = SessionPair::new(seed, base(), config(), config());
        for _ in 0..pair.rng().below(3) {
            pair.step();
        }
        pair.cut();
        let mut established = 0;
        pair.run(|_, _, event| established += u32::from(matches!(event, Event::Established(_))));
        assert!(established < 2);
        assert_eq!(pair.elapsed(), Duration::from_secs(5));
        let closed = pair.closed(C).or_else(|| pair.closed(S)).map(|(code, _)| code);
        assert_eq!(closed, Some(CloseCode::ControlMessageTimeout));
    });
}

/// D14-SUB-1, D14-NS-1
#[test]
fn an_announced_track_is_subscribed_and_ends() {
    seeds(200, |seed| {
        let mut pair = established(seed);
        pair.command(C, Command::PublishNamespace(announce(1))).unwrap();
        let mut seen = Vec::new();
        pair.run(|pair, role, event| {
            match (role, &event) {
                (S, Event::PeerPublishNamespace(id, _)) => {
                    pair.command(S, Command::AcceptNamespace(*id)).unwrap();
                    pair.command(S, Command::Subscribe(subscribe(1, LARGEST)))
                        .unwrap();
                }
                (C, Event::PeerSubscribe(id, _)) => {
                    let alias = pair.with(C, |session| session.new_alias());
                    let ok = subscribe_ok(alias, Some(Location::new(4, 2)));
                    pair.command(C, Command::AcceptSubscribe(*id, ok)).unwrap();
                }
                (S, Event::SubscribeOk(id, ok)) => {
                    assert_eq!(pair.session(S).peer_alias(ok.alias), Some(*id));
                    let narrow = update(*id, Location::new(5, 0));
                    pair.command(S, Command::SubscribeUpdate(narrow)).unwrap();
                }
                (C, Event::PeerSubscribeUpdate(id, _)) => {
                    pair.command(C, Command::PublishDone(*id, done())).unwrap();
                    let withdrawn = pair.command(C, Command::PublishNamespaceDone(RequestId(0)));
                    assert_eq!(withdrawn, Ok(None));
                }
                (S, Event::PublishDone(id, _)) => pair.with(S, |session| session.forget_alias(*id)),
                _ => {}
            }
            seen.push((role, event));
        });
        never_closed(&pair);
        let at = |wanted| {
            seen.iter()
                .filter(move |(role, _)| *role == wanted)
                .map(|(_, event)| event)
        };
        assert!(matches!(
            at(S).collect::<Vec<_>>()[..],
            [
                Event::PeerPublishNamespace(..),
                Event::SubscribeOk(..),
                Event::PublishDone(..),
                Event::PeerPublishNamespaceDone(_),
            ]
        ));
        assert!(matches!(
            at(C).collect::<Vec<_>>()[..],
            [
                Event::NamespaceOk(..),
                Event::PeerSubscribe(..),
                Event::PeerSubscribeUpdate(..)
            ]
        ));
        assert_eq!(pair.session(C).open_requests(), (0, 0));
        assert_eq!(pair.session(S).open_requests(), (0, 0));
    });
}

/// D14-SUB-1, D14-SUB-24
#[test]
fn a_published_track_is_accepted_and_ends() {
    seeds(200, |seed| {
        let mut pair = established(seed);
        let alias = pair.with(C, |session| session.new_alias());
        let id = pair
            .command(C, Command::Publish(publish(1, alias)))
            .unwrap()
            .unwrap();
        let mut ends = 0;
        let by_subscriber = pair.rng().one_in(2);
        pair.run(|pair, role, event| match (role, event) {
            (S, Event::PeerPublish(id, publish)) => {
                assert_eq!(pair.session(S).peer_alias(publish.alias), Some(id));
                pair.command(S, Command::AcceptPublish(id, publish_ok())).unwrap();
                pair.command(S, Command::SubscribeUpdate(update(id, Location::new(3, 2))))
                    .unwrap();
            }
            (C, Event::PeerSubscribeUpdate(id, _)) if !by_subscriber => {
                pair.command(C, Command::PublishDone(id, done())).unwrap();
            }
            (C, Event::PublishOk(id, _)) if by_subscriber => {
                pair.command(S, Command::Unsubscribe(id)).unwrap();
                pair.with(S, |session| session.forget_alias(id));
            }
            (S, Event::PublishDone(id, _)) => {
                pair.with(S, |session| session.forget_alias(id));
                ends += 1;
            }
            (C, Event::PeerUnsubscribe(_)) => ends += 1,
            _ => {}
        });
        never_closed(&pair);
        assert_eq!((ends, id), (1, RequestId(0)));
        assert_eq!(pair.session(S).peer_alias(alias), None);
        assert_eq!(pair.session(C).open_requests(), (0, 0));
        assert_eq!(pair.session(S).open_requests(), (0, 0));
    });
}

/// Makes `total` requests through a window of `ids` ids, answered at once or a little later.
fn many_requests(seed: u64, total: u64, ids: u64) {
    let server = Config {
        max_request_id: ids,
        ..config()
    };
    let client = Config {
        max_queued_requests: 16,
        ..config()
    };
    let mut pair = SessionPair::established(seed, base(), client, server);
    let (mut made, mut answered, mut blocked) = (0, 0, 0u64);
    let mut held = Vec::new();
    let ask = |pair: &mut SessionPair, made: &mut u64, blocked: &mut u64| {
        while *made < total {
            match pair.command(C, Command::Subscribe(subscribe(*made, LARGEST))) {
                Ok(id) => assert_eq!(id, Some(RequestId(*made * 2))),
                Err(CommandError::Blocked(16)) => {
                    *blocked += 1;
                    return;
                }
                Err(error) => panic!("{error}"),
            }
            *made += 1;
        }
    };
    ask(&mut pair, &mut made, &mut blocked);
    pair.run(|pair, role, event| match (role, event) {
        (S, Event::PeerSubscribe(id, _)) => {
            held.push(id);
            assert!(
                pair.session(S).open_requests().1 as u64 <= ids / 2,
                "the window is a bound"
            );
            if held.len() as u64 >= pair.rng().below(ids / 2) || id.0 >= (total - ids) * 2 {
                for id in held.drain(..) {
                    pair.command(S, Command::Reject(id, error())).unwrap();
                }
            }
        }
        (C, Event::Rejected(..)) => {
            answered += 1;
            ask(pair, &mut made, &mut blocked);
        }
        _ => {}
    });
    never_closed(&pair);
    assert_eq!((made, answered), (total, total));
    assert!(blocked > 0, "the window was never full");
    assert_eq!(
        (pair.session(C).open_requests(), pair.session(C).queued_requests()),
        ((0, 0), 0)
    );
    assert_eq!(pair.session(S).open_requests(), (0, 0));
}

/// D14-REQ-3, D14-REQ-5, D14-REQ-6, D14-LIB-2
#[test]
fn a_small_window_is_refilled() {
    seeds(200, |seed| many_requests(seed, 300, 20 + seed % 7 * 2));
}

/// D14-REQ-5
#[test]
fn twenty_thousand_requests_pass_a_small_window() {
    seeds(10, |seed| many_requests(seed, 20_000, 64));
}

/// D14-SUB-18, D14-DATA-20
#[test]
fn unsubscribe_crosses_any_answer() {
    seeds(200, |seed| {
        let mut pair = established(seed);
        let id = pair
            .command(C, Command::Subscribe(subscribe(1, LARGEST)))
            .unwrap()
            .unwrap();
        let steps = pair.rng().below(12);
        let choice = pair.rng().below(3);
        let mut accepted = None;
        let mut react = |pair: &mut SessionPair, role, event| {
            if let (S, Event::PeerSubscribe(id, _)) = (role, event) {
                let alias = pair.with(S, |session| session.new_alias());
                match choice {
                    0 => _ = pair.command(S, Command::Reject(id, error())),
                    more => {
                        let ok = Command::AcceptSubscribe(id, subscribe_ok(alias, None));
                        // The UNSUBSCRIBE may stand behind the SUBSCRIBE in one read.
                        if pair.command(S, ok) == Err(CommandError::NoSuchRequest(id)) {
                            return;
                        }
                        if more == 2 {
                            pair.command(S, Command::PublishDone(id, done())).unwrap();
                        }
                        accepted = Some(alias);
                    }
                }
            }
        };
        for _ in 0..steps {
            pair.step();
            while let Some((role, event)) = pair.next_event() {
                react(&mut pair, role, event);
            }
        }
        // By now the request may be anywhere: unsent bytes, answered, or over.
        match pair.command(C, Command::Unsubscribe(id)) {
            Ok(None) | Err(CommandError::NoSuchRequest(_)) => {}
            other => panic!("{other:?}"),
        }
        pair.run(|pair, role, event| {
            // What comes after our UNSUBSCRIBE is no news; what came before it was.
            let news = matches!(
                event,
                Event::SubscribeOk(..) | Event::Rejected(..) | Event::PublishDone(..)
            );
            assert!(role == S || !news, "{event:?}");
            react(pair, role, event);
        });
        never_closed(&pair);
        pair.with(C, |session| session.forget_alias(id));
        if let Some(alias) = accepted {
            assert_eq!(pair.session(C).peer_alias(alias), None);
        }
        assert_eq!(pair.session(C).open_requests(), (0, 0));
        assert_eq!(pair.session(S).open_requests(), (0, 0));
        // The track can be asked for again.
        pair.command(C, Command::Subscribe(subscribe(1, LARGEST)))
            .unwrap();
        let mut again = 0;
        pair.run(|_, role, event| again += u32::from(role == S && matches!(event, Event::PeerSubscribe(..))));
        assert_eq!(again, 1);
    });
}

/// D14-GOAWAY-1
#[test]
fn goaway_stops_new_requests_and_keeps_old_ones() {
    seeds(200, |seed| {
        let mut pair = established(seed);
        let mut open = 0;
        let (mut told, mut answered) = (false, 0);
        let mut react = |pair: &mut SessionPair, role, event: Event| match (role, event) {
            (S, Event::PeerPublishNamespace(id, _)) => {
                pair.command(S, Command::AcceptNamespace(id)).unwrap();
            }
            (C, Event::Goaway(uri)) => {
                assert_eq!(&uri[..], b"moqt://next:4433");
                assert!(!told);
                told = true;
            }
            (C, Event::NamespaceOk(..)) => answered += 1,
            _ => {}
        };
        let goaway_at = pair.rng().below(20);
        for n in 0..20 {
            if n == goaway_at {
                let uri = Bytes::from_static(b"moqt://next:4433");
                pair.command(S, Command::Goaway(uri)).unwrap();
            }
            match pair.command(C, Command::PublishNamespace(announce(n))) {
                Ok(_) => open += 1,
                Err(error) => assert_eq!(error, CommandError::GoingAway),
            }
            pair.step();
            while let Some((role, event)) = pair.next_event() {
                react(&mut pair, role, event);
            }
        }
        pair.run(&mut react);
        never_closed(&pair);
        assert!(told);
        assert_eq!(answered, open, "what was asked before is still answered");
        let late = pair.command(C, Command::PublishNamespace(announce(99)));
        assert_eq!(late, Err(CommandError::GoingAway));
        pair.command(C, Command::Close(CloseCode::NoError, "moved".into()))
            .unwrap();
        assert_eq!(pair.closed(C), Some((CloseCode::NoError, "moved")));
    });
}

#[test]
fn a_run_repeats_with_its_seed() {
    let run = |seed| {
        let mut pair = established(seed);
        let mut seen = Vec::new();
        for n in 0..10 {
            pair.command(C, Command::PublishNamespace(announce(n))).unwrap();
            pair.command(S, Command::PublishNamespace(announce(n))).unwrap();
        }
        pair.run(|pair, role, event| seen.push((pair.elapsed(), role, event)));
        seen
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
