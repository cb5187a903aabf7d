//! How a track ends for who reads it at another relay: as it does at the relay of its publisher.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::feeding::Flow;
use common::mesh::{feeder, two};
use common::raw::{News, Raw, raw};
use common::{run, track};
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// PUBLISH_DONE comes after the last object and counts the streams, though the namespace is withdrawn as well.
async fn told(flow: Flow, shards: usize) {
    let [near, far] = two(shards).await;
    let name = track("ends", "video");
    let mut reader = raw(&far).await;
    let id = reader.subscribe(&name, NEWEST).await;
    let mut feeder = feeder(&near, flow, &name, ALIAS).await;
    let alias = reader.answer(id).await.unwrap().alias;
    feeder.group(0, 3).await;
    let mut first = feeder.raw.open(ALIAS, 1, SubgroupIdMode::Zero).await;
    let mut second = feeder.raw.open(ALIAS, 1, SubgroupIdMode::Explicit(1)).await;
    first.object(0, b"zero").await;
    second.object(1, b"one").await;
    first.object(2, &[2; 100_000]).await;
    second.fin();
    let request = feeder.request;
    feeder
        .raw
        .publish_done(request, PublishDoneStatus::TrackEnded, Some(3))
        .await;
    // What it announced may come after it. MOQT-14 §9.12 [D14-SUB-21]
    first.object(3, b"three").await;
    first.fin();
    let done = reader.done(id).await;
    assert_eq!(
        (done.status, done.stream_count),
        (PublishDoneStatus::TrackEnded, Some(3))
    );
    let places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)];
    assert_eq!(Raw::places(&reader.log, alias), places);
    let is_done = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    let is_end = |news: &News| matches!(news, News::Fin(_) | News::Reset(..));
    assert!(
        reader.log.iter().position(is_done) > reader.log.iter().rposition(is_end),
        "PUBLISH_DONE overtook a stream"
    );
}

/// D14-SUB-19 D14-SUB-20 D14-SUB-21: announced, and published on two shards.
#[test]
fn a_publisher_that_ends() {
    run(|| told(Flow::Announce, 1));
    run(|| told(Flow::Publish, 2));
}

/// D14-NS-13 D14-PUB-4 D14-CLOSE-1: a publisher that vanishes ends the track, and what is open is not finished.
#[test]
fn a_publisher_that_vanishes() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("ends", "lost");
        let mut reader = raw(&far).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        let mut open = feeder.raw.open(ALIAS, 5, SubgroupIdMode::Zero).await;
        open.object(0, b"zero").await;
        reader.until_object(alias, (5, 0)).await;
        drop((open, feeder));
        let done = reader.done(id).await;
        assert_eq!(done.status, PublishDoneStatus::InternalError);
        let fins = reader.log.iter().filter(|news| matches!(news, News::Fin(_)));
        assert_eq!(fins.count(), 0);
    });
}

/// D14-DATA-6 D14-CLOSE-6: the end of a group and a reset are what they were.
#[test]
fn groups_end_as_they_did() {
    run(async || {
        let [near, far] = two(1).await;
        let name = track("ends", "groups");
        let mut reader = raw(&far).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        feeder.raw.whole_group(ALIAS, 0, 2).await;
        feeder.group(1, 2).await;
        let mut cut = feeder.raw.open(ALIAS, 2, SubgroupIdMode::Zero).await;
        cut.object(0, b"zero").await;
        reader.until_objects(alias, 5).await;
        // CANCELLED
        cut.reset(1);
        let headers = Raw::headers(&reader.log, alias);
        for (number, header) in headers {
            assert_eq!(header.end_of_group, header.group == 0);
            let reset = reader.ended(number).await;
            assert_eq!(reset.is_some(), header.group == 2);
        }
    });
}
