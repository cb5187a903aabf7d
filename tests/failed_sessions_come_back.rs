//! A session of ours that fails comes back by itself: the publisher offers its tracks again, the subscriber goes on where
//! it was and gets every object once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::paced::Paced;
use common::{options, relay, run, settings, target, track};
use laps::relay::Settings;
use laps_actors::client::{Flow, Moving, Notice, Options, Step};
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_protocol::moqt::message::SubscribeFilter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Objects after which something fails, and how many come after that.
const BEFORE: usize = 55;
const AFTER: usize = 100;

/// What is told of the steps of a session: "lost", "track lost", "back".
type Steps = Arc<Mutex<Vec<&'static str>>>;

fn noted(steps: &Steps) -> Options {
    let steps = Arc::clone(steps);
    Options {
        moving: Moving {
            retry: Duration::from_secs(600),
            notice: Notice::new(move |step| {
                steps.lock().unwrap().push(match step {
                    Step::Moved(_) => "moved",
                    Step::Lost { .. } => "lost",
                    Step::TrackLost { .. } => "track lost",
                    Step::Back { .. } => "back",
                });
            }),
            ..Moving::default()
        },
        ..options()
    }
}

/// A relay that fails at `kind` when the trigger is pulled.
fn failing(kind: &str, shards: usize) -> (Settings, Trigger) {
    let mut plan = FaultPlan::new();
    let trigger = plan.point(kind);
    let mut settings = Settings {
        faults: plan.faults(),
        ..settings(shards)
    };
    // The publisher goes at the pace of the subscriber, so it is not to be stopped while that one is away.
    settings.track.dampen = Duration::from_secs(3600);
    (settings, trigger)
}

/// What fails, and how.
struct Scene {
    kind: &'static str,
    shards: usize,
    flow: Flow,
    /// Has the relay's session of the subscriber meet its fault; others meet it when an object comes.
    poke_subscriber: bool,
    /// Whether the publisher and the subscriber come back.
    fail: [bool; 2],
}

async fn comes_back(scene: Scene) {
    let (settings, trigger) = failing(scene.kind, scene.shards);
    let relay = relay(settings).await;
    let name = track("back", "video");
    let at = target(relay.local_addr());
    let (published, subscribed) = (Steps::default(), Steps::default());
    let terms = (scene.flow, SubscribeFilter::LargestObject);
    let (publisher, subscriber) = ((&at, noted(&published)), (&at, noted(&subscribed)));
    let mut track = Paced::begin(name, terms, publisher, subscriber).await;
    while let Some(count) = track.next().await {
        if count == BEFORE {
            trigger.arm(1);
            if scene.poke_subscriber {
                let nonsense = Bytes::from_static(&[0, 9, 9, 9, 9, 1]);
                track.subscriber.conn().send_datagram(nonsense).unwrap();
                trigger.wait_fired(1).await;
            }
        }
        if count == BEFORE + AFTER {
            track.ends();
        }
        track.goes_on();
    }
    track.came_once().await;
    trigger.wait_fired(1).await;
    for (steps, failed) in [(&published, scene.fail[0]), (&subscribed, scene.fail[1])] {
        let steps = steps.lock().unwrap();
        // A thread that is long at writing down its panic is suspected to be gone, so all may have come back.
        assert!(!failed || !steps.is_empty());
        for pair in steps.chunks(2) {
            assert!(matches!(pair, ["lost" | "track lost", "back"]), "{steps:?}");
        }
    }
}

/// D14-TERM-1 D14-FETCH-3
#[test]
fn of_a_subscriber_whose_session_fails_in_the_relay() {
    run(|| {
        comes_back(Scene {
            kind: "session",
            shards: 1,
            flow: Flow::Announce,
            poke_subscriber: true,
            fail: [false, true],
        })
    });
}

/// D14-TERM-1 D14-SUB-30
#[test]
fn of_a_publisher_whose_session_fails_in_the_relay() {
    for flow in [Flow::Announce, Flow::Publish] {
        run(move || {
            comes_back(Scene {
                kind: "session",
                shards: 1,
                flow,
                poke_subscriber: false,
                fail: [true, true],
            })
        });
    }
}

/// D14-SUB-30
#[test]
fn of_a_subscriber_whose_track_fails_in_the_relay() {
    run(|| {
        comes_back(Scene {
            kind: "track",
            shards: 2,
            flow: Flow::Announce,
            poke_subscriber: false,
            fail: [false, true],
        })
    });
}
