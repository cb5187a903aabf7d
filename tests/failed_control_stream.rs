//! A session that can no longer hear or speak ends, and ends alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::raw::{Raw, payload, raw, subscribe};
use common::{relay, run, settings, track};
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};

/// MOQT-14 §3.4 [D14-TERM-1]
const CLOSE_INTERNAL_ERROR: u64 = 1;
const ALIAS: u64 = 7;

async fn ends(kind: &'static str) {
    let mut plan = FaultPlan::new();
    let trigger = plan.point(kind);
    let mut settings = settings(1);
    settings.faults = plan.faults();
    let relay = relay(settings).await;
    let name = track("deaf", "video");
    let mut publisher = raw(&relay).await;
    publisher.announce(name.namespace()).await;
    let (mut one, mut other) = (raw(&relay).await, raw(&relay).await);
    let id = other.subscribe(&name, SubscribeFilter::LargestObject).await;
    publisher.serve(&name, ALIAS).await;
    let alias = other.answer(id).await.unwrap().alias;
    trigger.arm(1);
    let id = one.id();
    let status = subscribe(&name, SubscribeFilter::LargestObject);
    one.say(ControlMessage::TrackStatus(id, status)).await;
    // Not a protocol violation of anybody: the close is there before the control stream is given up.
    assert_eq!(one.closed().await, CLOSE_INTERNAL_ERROR);
    assert_eq!(trigger.fired(), 1);
    publisher.group(ALIAS, 0, 2).await;
    assert_eq!(other.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    let objects = Raw::objects(&other.log);
    assert!(
        objects
            .iter()
            .all(|object| object.payload == payload(object.location.group, object.location.object))
    );
    other.fence().await;
}

/// D14-SETUP-8 D14-TERM-1
#[test]
fn a_session_whose_writer_of_control_messages_fails_ends_alone() {
    run(|| ends("control_write"));
}

/// D14-SETUP-8 D14-TERM-1
#[test]
fn a_session_whose_reader_of_control_messages_fails_ends_alone() {
    run(|| ends("control_read"));
}
