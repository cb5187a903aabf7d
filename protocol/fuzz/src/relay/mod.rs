//! A relay in the middle: a good publisher, a good subscriber, and two who keep to no rule.
//!
//! Whatever those do, the good ones stay connected, and what the subscriber gets is what the publisher made. While the
//! others may not publish the track it gets all of it, each object once and whole. When they may, what it gets whole is
//! somebody's, never a mixture. And when all have left, nothing is left of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `core` | the relay: connections, and what their sessions tell |
//! | `subs`, `streams`, `fetches` | what it does with subscriptions, with streams and datagrams, and with fetches |
//! | `good` | the publisher and the subscriber |
//! | `hostile` | the others |

mod core;
mod fetches;
mod good;
mod hostile;
mod streams;
mod subs;

use crate::feed::Feed;
use crate::truth::Truth;
use crate::wire::{Got, Wire};
use core::Relay;
use good::{Client, Publisher};
use hostile::Hostile;
use laps_protocol::auth::{Grant, Rights, UnixSeconds, scopes};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::session::{Command, Config, Event, Role, Session};
use laps_protocol::moqt::version::Version;
use laps_protocol::relay::track_log::{Limits, PastRange, StreamEnd};
use std::collections::BTreeSet;
use std::time::Duration;

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;

fn rights(text: Option<&str>) -> Rights {
    let grant = match text {
        Some(text) => Grant::until(UnixSeconds(9), scopes(text).unwrap(), UnixSeconds(0)).unwrap(),
        None => Grant::everything(),
    };
    Rights::new(grant)
}

fn server(relay: &Relay) -> Session {
    let config = Config {
        max_request_id: 60,
        max_auth_token_cache_size: 100,
        max_queued_requests: 8,
        ..Config::default()
    };
    Session::new(Role::Server, Version::Draft14, config, relay.now)
}

/// A fetch of the good subscriber.
struct Fetched {
    range: PastRange,
    /// What was published whole when it was asked for.
    had: BTreeSet<Location>,
    order: GroupOrder,
    ok: Option<FetchOk>,
    refused: bool,
}

/// A relay between good and bad peers.
pub(crate) fn relay(data: &[u8]) {
    let mut feed = Feed::new(data);
    let shared = feed.u8() % 4 == 3;
    let max_bytes = [1 << 20, 12_000][feed.below(2)];
    let limits = Limits {
        max_bytes,
        max_groups: [100, 3][feed.below(2)],
        // As long as nothing is to be evicted, time evicts nothing either.
        max_age: Duration::from_secs(if max_bytes == 1 << 20 { 86_400 } else { 60 }),
        ..Limits::default()
    };
    let truth = Truth {
        version: 0,
        scale: [1, 10][feed.below(2)],
    };
    let lie = Truth { version: 5, ..truth };
    let mut relay = Relay::new(crate::base(), limits);
    let all = || Wire::new(usize::MAX, usize::MAX);
    for at in [PUBLISHER, SUBSCRIBER] {
        let session = server(&relay);
        relay.connect(at, session, rights(None), all());
    }
    let mut bad = Vec::new();
    for at in [2, 3] {
        join(&mut relay, &mut bad, at, shared, lie);
    }
    // Some of them are there first.
    for _ in 0..feed.below(4) {
        bad[0].act(&mut relay, &mut feed, ["evil", "evil"]);
    }
    let client = Client::new(PUBLISHER, &mut relay);
    let mut publisher = Publisher::new(client, &mut relay, truth);
    let mut subscriber = Client::new(SUBSCRIBER, &mut relay);
    let subscribe = Subscribe {
        track: good::track("good"),
        priority: 128,
        group_order: GroupOrderRequest::Publisher,
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params: MessageParams::default(),
    };
    subscriber.say(&mut relay, Command::Subscribe(subscribe));
    let (mut steps, mut next, mut fetches, mut events) = (0, 4, Vec::new(), Vec::new());
    // What those said who have left.
    let mut said: Vec<Got> = Vec::new();
    settle(&mut relay, &mut publisher, &mut subscriber, &mut bad, &mut events);
    while !feed.is_over() && steps < 300 {
        steps += 1;
        match feed.u8() {
            0..=69 => _ = publisher.publish(&mut relay, &mut feed),
            70..=229 => {
                let who = feed.below(bad.len());
                bad[who].act(&mut relay, &mut feed, ["good", "evil"]);
            }
            230..=237 => fetch(&mut relay, &mut subscriber, &publisher, &mut feed, &mut fetches),
            238..=243 => relay.wait(Duration::from_millis(u64::from(feed.u8()) * 20)),
            244..=249 if bad.len() > 1 => {
                let gone = bad.remove(feed.below(bad.len()));
                relay.lose(gone.at);
                relay.conns.remove(&gone.at);
                said.extend(gone.said);
            }
            _ if bad.len() < 3 => {
                join(&mut relay, &mut bad, next, shared, lie);
                next += 1;
            }
            _ => {}
        }
        settle(&mut relay, &mut publisher, &mut subscriber, &mut bad, &mut events);
    }
    // The good ones come to their end while the others stay silent, and then those leave.
    publisher.finish(&mut relay);
    for _ in 0..20 {
        settle(&mut relay, &mut publisher, &mut subscriber, &mut bad, &mut events);
    }
    // A publisher that does not answer a fetch is waited for, and not for ever.
    for _ in 0..3 {
        relay.wait(Duration::from_secs(6));
        settle(&mut relay, &mut publisher, &mut subscriber, &mut bad, &mut events);
    }
    said.extend(bad.iter_mut().flat_map(|bad| std::mem::take(&mut bad.said)));
    judge(&relay, &publisher, &events, &said, shared, limits);
    judge_fetches(&relay, &events, fetches, &publisher, shared);
    for gone in &bad {
        relay.lose(gone.at);
    }
    relay.lose(PUBLISHER);
    relay.lose(SUBSCRIBER);
    assert_eq!(relay.is_empty(), Ok(()));
}

fn join(relay: &mut Relay, bad: &mut Vec<Hostile>, at: usize, shared: bool, lie: Truth) {
    let may = if shared {
        "publisher subscriber"
    } else {
        "publisher:evil subscriber"
    };
    let session = server(relay);
    relay.connect(at, session, rights(Some(may)), Wire::new(300, 4));
    bad.push(Hostile::new(at, relay, lie));
}

fn settle(
    relay: &mut Relay,
    publisher: &mut Publisher,
    subscriber: &mut Client,
    bad: &mut [Hostile],
    events: &mut Vec<Event>,
) {
    for _ in 0..2 {
        publisher.answer(relay);
        relay.pump();
        events.extend(subscriber.hear(relay));
        bad.iter_mut().for_each(|bad| bad.listen(relay));
    }
    for at in [PUBLISHER, SUBSCRIBER] {
        let closed = relay.conns.get(&at).and_then(|conn| conn.closed.as_ref());
        assert_eq!(closed, None, "a good peer is sent away");
    }
}

fn fetch(
    relay: &mut Relay,
    subscriber: &mut Client,
    publisher: &Publisher,
    feed: &mut Feed<'_>,
    fetches: &mut Vec<(RequestId, Fetched)>,
) {
    let start = Location::new(feed.number() % 5, feed.number() % 4);
    let end = Location::new(start.group + feed.number() % 3, feed.number() % 5);
    let Some(range) = PastRange::new(start, end) else {
        return;
    };
    if fetches.len() > 6 || range.is_empty() {
        return;
    }
    let order = if feed.flag() {
        GroupOrder::Ascending
    } else {
        GroupOrder::Descending
    };
    let command = Command::Fetch(Fetch {
        priority: 1,
        group_order: GroupOrderRequest::Fixed(order),
        range: FetchRange::Standalone {
            track: good::track("good"),
            start,
            end,
        },
        params: MessageParams::default(),
    });
    let had = publisher
        .whole
        .keys()
        .copied()
        .filter(|at| range.contains(*at))
        .collect();
    let id = subscriber.say(relay, command);
    fetches.push((
        id,
        Fetched {
            range,
            had,
            order,
            ok: None,
            refused: false,
        },
    ));
}

/// What the good subscriber got.
fn judge(relay: &Relay, publisher: &Publisher, events: &[Event], said: &[Got], shared: bool, limits: Limits) {
    let malformed = relay
        .tracks
        .get(&good::track("good"))
        .is_some_and(|track| track.malformed);
    assert!(
        shared || !malformed,
        "the track of a good publisher is called malformed"
    );
    let accepted = events.iter().any(|event| matches!(event, Event::SubscribeOk(..)));
    let done = events.iter().find_map(|event| match event {
        Event::PublishDone(_, done) => Some(done),
        _ => None,
    });
    let Some(conn) = relay.conns.get(&SUBSCRIBER) else {
        return;
    };
    let wire = &conn.wire;
    let mut had = BTreeSet::new();
    for (_, got) in wire.whole() {
        let said = || {
            said.iter()
                .any(|said| said.at == got.at && said.payload == got.payload)
        };
        assert!(
            publisher.truth.made(got) || (shared && said()),
            "a mixture: {got:?}"
        );
        assert!(had.insert(got.at), "{} comes twice", got.at);
    }
    if shared || malformed {
        return;
    }
    assert!(accepted, "the good subscriber is not served");
    assert!(wire.datagrams.is_empty(), "datagrams of others");
    if limits.max_bytes == 1 << 20 && limits.max_groups == 100 {
        let whole: BTreeSet<Location> = publisher.whole.keys().copied().collect();
        assert_eq!(had, whole, "not what was published");
        assert!(
            wire.streams
                .values()
                .all(|came| came.fetch.is_some() || came.end == Some(StreamEnd::Fin))
        );
        let done = done.expect("the end of the track is told");
        let streams = wire.streams.values().filter(|came| came.header.is_some()).count() as u64;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(streams))
        );
    }
}

fn judge_fetches(
    relay: &Relay,
    events: &[Event],
    mut fetches: Vec<(RequestId, Fetched)>,
    publisher: &Publisher,
    shared: bool,
) {
    for event in events {
        let of = |id: &RequestId, fetches: &mut Vec<(RequestId, Fetched)>| {
            fetches.iter().position(|(of, _)| of == id)
        };
        match event {
            Event::FetchOk(id, ok) => {
                let at = of(id, &mut fetches).unwrap();
                assert!(fetches[at].1.ok.replace(ok.clone()).is_none());
            }
            Event::Rejected(id, RequestKind::Fetch, _) => {
                let at = of(id, &mut fetches).unwrap();
                fetches[at].1.refused = true;
            }
            _ => {}
        }
    }
    let Some(conn) = relay.conns.get(&SUBSCRIBER) else {
        return;
    };
    for (id, fetched) in fetches {
        assert!(fetched.ok.is_some() != fetched.refused, "{id} is answered once");
        let Some(came) = conn.wire.fetched(id) else {
            continue;
        };
        let places: Vec<Location> = came.objects.iter().map(|got| got.at).collect();
        let sorted = match fetched.order {
            GroupOrder::Ascending => places.is_sorted_by(|a, b| a < b),
            GroupOrder::Descending => {
                places.is_sorted_by(|a, b| b.group < a.group || (a.group == b.group && a < b))
            }
        };
        assert!(
            sorted && places.iter().all(|at| fetched.range.contains(*at)),
            "{places:?} for {:?}",
            fetched.range
        );
        if shared {
            continue;
        }
        for got in came.objects.iter().filter(|got| got.is_whole()) {
            assert!(publisher.truth.made(got), "a mixture: {got:?}");
        }
        if came.end == Some(StreamEnd::Fin) && fetched.ok.is_some() {
            let missing: Vec<_> = fetched.had.iter().filter(|at| !places.contains(at)).collect();
            assert!(
                missing.is_empty(),
                "{missing:?} missing of {:?}: {places:?} {:?}",
                fetched.range,
                fetched.ok
            );
        }
    }
}
