//! A relay that runs out of memory or of time refuses what would come first, and harms nobody who keeps up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::counted::{counted, telling};
use common::race::{Race, small};
use common::raw::{Raw, Reading, publish, raw, subscribe};
use common::shards::Placement;
use common::watch::{ns, request};
use common::{options, relay, run, settings, target, track};
use laps::relay::Settings;
use laps_actors::client::{ClientError, Subscriber};
use laps_actors::limits::Gauge;
use laps_actors::transport::ConnectError;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, MessageParams, PublishDoneStatus, RequestErrorReason, RequestId, RequestKind,
    SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::relay::load::{OVERLOADED, Sample, Terms};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// A multiple of 100, so that a percent of it is one.
const BUDGET: u64 = 1000 << 20;

/// What the relay is made to measure.
#[derive(Clone, Default)]
struct Knobs {
    /// Percent of its memory.
    memory: Arc<AtomicU64>,
    lag_ms: Arc<AtomicU64>,
}

impl Knobs {
    /// A relay that believes them.
    fn turn(&self, settings: &mut Settings) {
        let knobs = self.clone();
        let gauge = Gauge::given(move |_| Sample {
            lag: Duration::from_millis(knobs.lag_ms.load(Relaxed)),
            memory: knobs.memory.load(Relaxed) * BUDGET / 100,
            budget: BUDGET,
        });
        let terms = Terms {
            late_for: Duration::ZERO,
            calm: Duration::from_millis(300),
            // Once and no more.
            halving: Duration::from_secs(3600),
        };
        settings.load = (gauge, terms);
    }
}

async fn is_let_in(addr: SocketAddr) -> bool {
    match Subscriber::connect(&target(addr), options()).await {
        Ok(_) => true,
        Err(ClientError::Connect(ConnectError::Refused { .. })) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The relay refuses the request for now, and says so.
async fn refused_for_now(client: &mut Raw, id: RequestId, kind: RequestKind) {
    let (of, error) = client.refused(id).await;
    assert_eq!((of, error.reason), (kind, RequestErrorReason::Timeout));
    assert_eq!(error.phrase, Bytes::from_static(OVERLOADED.as_bytes()));
}

/// D14-LIM-4 D14-LIM-7 D14-TERM-3: first newcomers, then new requests, then the slow; who is served keeps everything, and
/// all of it is over with the shortage.
#[test]
fn newcomers_are_refused_first_then_requests_and_the_served_lose_nothing() {
    run(async || {
        let mut settings = settings(2);
        settings.track.upstream_timeout = Duration::from_secs(60);
        let (knobs, placement) = (Knobs::default(), Placement::default());
        knobs.turn(&mut settings);
        placement.watch(&mut settings);
        let relay = relay(telling(settings)).await;
        let addr = relay.local_addr();
        let (live, late) = (track("live", "video"), track("live", "late"));
        let mut publisher = raw(&relay).await;
        publisher.announce(live.namespace()).await;
        let mut viewer = raw(&relay).await;
        let watching = viewer.subscribe(&live, NEWEST).await;
        publisher.serve(&live, ALIAS).await;
        let alias = viewer.answer(watching).await.unwrap().alias;
        let gone = track("live", "gone");
        let leaving = viewer.subscribe(&gone, NEWEST).await;
        publisher.serve(&gone, ALIAS + 2).await;
        viewer.answer(leaving).await.unwrap();
        // Asked for before the shortage, and not answered yet.
        let pending = viewer.subscribe(&late, NEWEST).await;
        let (upstream, _) = publisher.asked(&late, 0).await;
        let mut rises = 0;
        for (percent, lets_in, answers) in [
            (10, true, true),
            (80, false, true),
            (88, false, false),
            (95, false, false),
        ] {
            knobs.memory.store(percent, Relaxed);
            if percent > 10 {
                rises += 1;
                placement.until(&mut viewer, "load rises", "relay", rises).await;
            }
            assert_eq!(is_let_in(addr).await, lets_in, "{percent} %");
            let nowhere = track("live", &percent.to_string());
            let (subscribing, telling) = (viewer.subscribe(&nowhere, NEWEST).await, viewer.id());
            viewer
                .say(ControlMessage::TrackStatus(telling, subscribe(&nowhere, NEWEST)))
                .await;
            let (fetching, announcing) = (viewer.fetch_range(&live, (0, 0), (0, 1)).await, viewer.id());
            viewer
                .say(ControlMessage::PublishNamespace(
                    announcing,
                    request(&format!("n/{percent}")),
                ))
                .await;
            let (watching, publishing) = (viewer.id(), viewer.id());
            viewer
                .say(ControlMessage::SubscribeNamespace(
                    watching,
                    request(&format!("w/{percent}")),
                ))
                .await;
            let mine = track("mine", &percent.to_string());
            viewer
                .say(ControlMessage::Publish(
                    publishing,
                    publish(&mine, ALIAS + percent),
                ))
                .await;
            viewer.fence().await;
            if answers {
                viewer.publish_ok(publishing).await;
            } else {
                for (id, kind) in [
                    (subscribing, RequestKind::Subscribe),
                    (telling, RequestKind::TrackStatus),
                    (fetching, RequestKind::Fetch),
                    (announcing, RequestKind::PublishNamespace),
                    (watching, RequestKind::SubscribeNamespace),
                    (publishing, RequestKind::Publish),
                ] {
                    refused_for_now(&mut viewer, id, kind).await;
                }
            }
            publisher.group(ALIAS, percent, 5).await;
            viewer.until_object(alias, (percent, 4)).await;
        }
        // What belongs to something that is there already goes on.
        publisher.accept(upstream, ALIAS + 1, None).await;
        let late_alias = viewer.answer(pending).await.unwrap().alias;
        publisher.group(ALIAS + 1, 0, 2).await;
        viewer.until_objects(late_alias, 2).await;
        viewer.update(watching, Location::new(95, 0), None, true).await;
        viewer.say(ControlMessage::Unsubscribe(leaving)).await;
        publisher.announce(live.namespace()).await;
        viewer.fence().await;
        publisher.group(ALIAS, 96, 5).await;
        viewer.until_object(alias, (96, 4)).await;
        // And it ends: by steps, with the next request that is served and the next newcomer.
        knobs.memory.store(10, Relaxed);
        placement.until(&mut viewer, "load falls", "relay", 3).await;
        let said = placement.values("load falls", "relay");
        assert_eq!(said.last().unwrap(), "serves everybody", "{said:?}");
        assert!(is_let_in(addr).await);
        viewer.announce(&ns("n/again")).await;
        publisher.group(ALIAS, 97, 5).await;
        viewer.until_object(alias, (97, 4)).await;
        let groups = [10, 80, 88, 95, 96, 97];
        let all: Vec<_> = groups
            .iter()
            .flat_map(|group| (0..5).map(|id| (*group, id)))
            .collect();
        assert_eq!(Raw::places(&viewer.log, alias), all);
        let told_of = placement.until(
            &mut viewer,
            "newcomers are refused, the relay is overloaded",
            "refused",
            1,
        );
        assert!(!told_of.await.is_empty());
        let told = placement.values("a request is refused, the relay is overloaded", "refused");
        assert_eq!(told[0], "1", "one a second is told, and all are counted");
        // Six requests at each of two levels, and a newcomer at each of three.
        let requests = counted(&relay, "laps_overload_total", &["what=\"request\""], 12).await;
        assert_eq!(requests, 12);
        let why = ["reason=\"overload\""];
        assert_eq!(counted(&relay, "laps_newcomers_refused_total", &why, 3).await, 3);
    });
}

/// A race of subscribers whose relay holds little that they do not take, and may be told that it is short of something.
async fn uneven_race() -> (Knobs, Placement, Race) {
    let mut settings = settings(1);
    settings.session.max_behind = 6 << 20;
    settings.transport.send_buffer = 16 << 10;
    let (knobs, placement) = (Knobs::default(), Placement::default());
    knobs.turn(&mut settings);
    placement.watch(&mut settings);
    let race = Race::new(telling(settings)).await;
    (knobs, placement, race)
}

/// D14-LIM-7 D14-SUB-30 D14-SUB-20: of those who do not keep up the one that is farthest behind is let go first; one that
/// is nearer stays, and the one that keeps up has everything.
#[test]
fn the_farthest_behind_is_let_go_first() {
    run(async || {
        let (knobs, _placement, mut race) = uneven_race().await;
        for _ in 0..20 {
            race.send(100_000).await;
        }
        let mut nearer = Raw::connect_to(race.relay.local_addr(), Reading::Later, small()).await;
        let (_, ok) = nearer.subscribed(&track("slow", "video"), NEWEST).await;
        for _ in 0..20 {
            race.send(100_000).await;
        }
        assert!(!Race::is_over(&race.slow.log));
        knobs.memory.store(95, Relaxed);
        while !Race::is_over(&race.slow.log) {
            race.send(10).await;
            race.slow.catch_up();
        }
        let done = race.slow.done(race.slow_id).await;
        assert_eq!(done.status, PublishDoneStatus::TooFarBehind);
        let why = "the relay is short of memory, and the subscriber does not keep up";
        assert_eq!(done.phrase, Bytes::from_static(why.as_bytes()));
        let what = ["what=\"subscription\""];
        assert_eq!(counted(&race.relay, "laps_overload_total", &what, 1).await, 1);
        // Its session goes on, and nobody else has lost anything.
        race.slow.fence().await;
        nearer.fence().await;
        assert!(!Race::is_over(&nearer.log));
        nearer.read_held();
        let last = race.group - 1;
        nearer.until_object(ok.alias, (last, 0)).await;
        assert!(!Race::is_over(&nearer.log));
    });
}

/// D14-LIM-6 D14-LIM-7: a relay that is late all the time refuses newcomers and requests, and lets nobody go.
#[test]
fn a_late_relay_refuses_and_lets_nobody_go() {
    run(async || {
        let (knobs, placement, mut race) = uneven_race().await;
        for _ in 0..40 {
            race.send(100_000).await;
        }
        knobs.lag_ms.store(60_000, Relaxed);
        let told = placement.until(&mut race.publisher, "load rises", "of", 1).await;
        assert_eq!(told[0], "lag");
        assert!(!is_let_in(race.relay.local_addr()).await);
        let id = race.fast.subscribe(&track("slow", "more"), NEWEST).await;
        refused_for_now(&mut race.fast, id, RequestKind::Subscribe).await;
        for _ in 0..10 {
            race.send(10).await;
        }
        race.slow.fence().await;
        assert!(!Race::is_over(&race.slow.log));
        knobs.lag_ms.store(0, Relaxed);
        placement.until(&mut race.publisher, "load falls", "of", 2).await;
        assert!(is_let_in(race.relay.local_addr()).await);
    });
}

/// D14-LIM-6: one of the pauses that every machine has is no load.
#[test]
fn nobody_is_refused_for_one_pause() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let paused = Arc::new(AtomicU64::new(0));
        let (looks, count) = (Arc::clone(&paused), Duration::from_secs(3600));
        let gauge = Gauge::given(move |_| Sample {
            // Every other one.
            lag: count * u32::from(looks.fetch_add(1, Relaxed) % 2 == 0),
            ..Sample::default()
        });
        settings.load = (
            gauge,
            Terms {
                late_for: Duration::ZERO,
                ..Terms::default()
            },
        );
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        while paused.load(Relaxed) < 8 {
            client.fence().await;
        }
        assert!(is_let_in(relay.local_addr()).await);
        assert!(placement.values("load rises", "of").is_empty());
    });
}

/// D14-LIM-2 D14-LIM-4: whoever subscribes and unsubscribes, or changes its mind, as fast as it can is read no faster than
/// the relay can answer, and has its last word.
#[test]
fn a_peer_that_changes_its_mind_all_the_time_is_read_slowly() {
    run(async || {
        let mut settings = settings(2);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let live = track("live", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(live.namespace()).await;
        let mut storm = raw(&relay).await;
        let id = storm.subscribe(&live, NEWEST).await;
        publisher.serve(&live, ALIAS).await;
        let alias = storm.answer(id).await.unwrap().alias;
        for _ in 0..40 {
            let (mut messages, mut ends) = (Vec::new(), Vec::new());
            for n in 0..250 {
                let (fleeting, change) = (storm.id(), storm.id());
                let nowhere = track("nobody", &n.to_string());
                messages.push(ControlMessage::Subscribe(fleeting, subscribe(&nowhere, NEWEST)));
                ends.push(ControlMessage::Unsubscribe(fleeting));
                let update = SubscribeUpdate {
                    subscription: id,
                    start: Location::ZERO,
                    end_group: None,
                    priority: 128,
                    forward: n % 2 == 1,
                    params: MessageParams {
                        new_group_request: Some(0),
                        ..MessageParams::default()
                    },
                };
                messages.push(ControlMessage::SubscribeUpdate(change, update));
            }
            storm.say_all(messages).await;
            storm.say_all(ends).await;
        }
        storm.fence().await;
        publisher.group(ALIAS, 1, 5).await;
        storm.until_object(alias, (1, 4)).await;
        let mut bystander = raw(&relay).await;
        drop(storm);
        let peaks = placement
            .until(&mut bystander, "session ends", "registry_questions", 1)
            .await;
        let peak: usize = peaks[0].parse().unwrap();
        assert!(peak > 1 && peak < 5000, "{peak}");
    });
}
