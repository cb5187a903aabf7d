//! A session that watches and fails comes back by itself, and tells what has changed meanwhile, and only that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::raw::raw;
use common::{options, relay, run, settings, target, track};
use laps::relay::Settings;
use laps_actors::client::{Change, Moving, Notice, Step, Watcher};
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::message::{ControlMessage, Namespace};
use laps_protocol::moqt::name::TrackNamespace;
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn comes_back() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point("session");
    let relay = relay(Settings {
        faults: plan.faults(),
        ..settings(1)
    })
    .await;
    let [stays, goes, comes, later] =
        ["stays", "goes", "comes", "later"].map(|name| track(name, "").namespace().clone());
    let mut staying = raw(&relay).await;
    staying.announce(&stays).await;
    let mut changing = raw(&relay).await;
    changing.announce(&goes).await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&steps);
    let moving = Moving {
        retry: Duration::from_secs(600),
        notice: Notice::new(move |step| {
            noted.lock().unwrap().push(match step {
                Step::Lost { .. } => "lost",
                Step::Back { .. } => "back",
                Step::Moved(_) | Step::TrackLost { .. } => "something else",
            });
        }),
        ..Moving::default()
    };
    let at = target(relay.local_addr());
    let mut watcher = Watcher::connect(&at, laps_actors::client::Options { moving, ..options() })
        .await
        .unwrap();
    watcher
        .watch(TrackNamespace::new([Bytes::from_static(b"test")]).unwrap())
        .await
        .unwrap();
    let mut there = [watcher.next().await.unwrap(), watcher.next().await.unwrap()];
    there.sort_by_key(|change| *change != Change::Namespace(stays.clone()));
    assert_eq!(there, [Change::Namespace(stays), Change::Namespace(goes.clone())]);
    // Only the session that something arrives for fails; nobody waits for the watcher's next one yet.
    trigger.arm(1);
    let nonsense = Bytes::from_static(&[0, 9, 9, 9, 9, 1]);
    watcher.conn().send_datagram(nonsense).unwrap();
    trigger.wait_fired(1).await;
    changing
        .say(ControlMessage::PublishNamespaceDone(Namespace {
            namespace: goes.clone(),
        }))
        .await;
    changing.announce(&comes).await;
    assert_eq!(watcher.next().await.unwrap(), Change::NamespaceGone(goes));
    assert_eq!(watcher.next().await.unwrap(), Change::Namespace(comes));
    changing.announce(&later).await;
    assert_eq!(watcher.next().await.unwrap(), Change::Namespace(later));
    assert_eq!(*steps.lock().unwrap(), ["lost", "back"]);
    watcher.close().await;
}

/// D14-TERM-1 D14-NS-2
#[test]
fn a_watcher_tells_what_has_changed_while_it_was_away() {
    run(comes_back);
}
