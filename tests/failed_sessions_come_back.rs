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
use common::{options, relay, run, settings, target, track};
use laps::relay::Settings;
use laps_actors::client::{
    Flow, Item, Moving, Notice, Options, Publisher, Step, Subscriber, TrackWriter, Wanted,
};
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::relay::track_log::StreamEnd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Objects a group.
const GOP: u64 = 10;
/// Objects that are on their way at most: the publisher goes at the pace of the subscriber.
const AHEAD: usize = 15;
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

const fn place(number: u64) -> Location {
    Location::new(number / GOP, number % GOP)
}

/// Writes an object for each permit, and ends the track when there are no more.
async fn write(mut writer: TrackWriter, mut permits: mpsc::UnboundedReceiver<()>) -> u64 {
    writer.wanted().await.unwrap();
    let mut number = 0;
    while permits.recv().await.is_some() {
        let payload = Bytes::from(vec![number as u8; 100]);
        writer.object(place(number), vec![payload]).await.unwrap();
        number += 1;
    }
    writer.finish().await.unwrap();
    number
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
    let mut publisher = Publisher::connect(&at, noted(&published)).await.unwrap();
    let writer = publisher.publish(name.clone(), scene.flow).await.unwrap();
    let mut subscriber = Subscriber::connect(&at, noted(&subscribed)).await.unwrap();
    let wanted = Wanted {
        track: name,
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    };
    subscriber.subscribe(wanted).await.unwrap();
    let (permit, permits) = mpsc::unbounded_channel();
    let written = actix_rt::spawn(write(writer, permits));
    for _ in 0..AHEAD {
        permit.send(()).unwrap();
    }
    let mut permit = Some(permit);
    let (mut got, mut opened, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let number = object.location.group * GOP + object.location.object;
                assert_eq!(object.payload.concat(), vec![number as u8; 100]);
                got.push(object.location);
                if got.len() == BEFORE {
                    trigger.arm(1);
                    if scene.poke_subscriber {
                        let nonsense = Bytes::from_static(&[0, 9, 9, 9, 9, 1]);
                        subscriber.conn().send_datagram(nonsense).unwrap();
                        trigger.wait_fired(1).await;
                    }
                }
                if got.len() == BEFORE + AFTER {
                    permit = None;
                }
                if let Some(permit) = &permit {
                    permit.send(()).unwrap();
                }
            }
            Item::Opened { group, .. } => opened.push(group),
            Item::Closed { group, end, .. } => {
                assert_eq!(end, StreamEnd::Fin, "group {group}");
                closed.push(group);
            }
            Item::Lost => panic!("objects were lost"),
            Item::Done(gone) => {
                assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                break;
            }
        }
    }
    let expected: Vec<_> = (0..written.await.unwrap()).map(place).collect();
    got.sort();
    assert_eq!(got, expected, "each object once");
    for mut groups in [opened, closed] {
        groups.sort_unstable();
        let all: Vec<_> = (0..=expected.last().unwrap().group).collect();
        assert_eq!(groups, all, "each stream once");
    }
    trigger.wait_fired(1).await;
    for (steps, failed) in [(&published, scene.fail[0]), (&subscribed, scene.fail[1])] {
        let steps = steps.lock().unwrap();
        // A thread that is long at writing down its panic is suspected to be gone, so all may have come back.
        assert!(!failed || !steps.is_empty());
        for pair in steps.chunks(2) {
            assert!(matches!(pair, ["lost" | "track lost", "back"]), "{steps:?}");
        }
    }
    subscriber.close().await;
    publisher.close().await;
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
