//! Bytes leave before their object is complete, and an object that is never complete never looks whole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::counted::{counted, telling};
use common::raw::{News, Raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Relay;
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, RequestId, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const LEN: u64 = 1_000_000;
const PART: usize = 3000;

struct Scene {
    relay: Relay,
    publisher: Raw,
    upstream: RequestId,
    subscriber: Raw,
    id: RequestId,
    alias: u64,
}

/// A publisher on the first shard, a subscriber on the last.
async fn scene(shards: usize) -> Scene {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(telling(settings)).await;
    let name = track("cut", "video");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
    let upstream = publisher.serve(&name, ALIAS).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    Scene {
        relay,
        publisher,
        upstream,
        subscriber,
        id,
        alias,
    }
}

/// Waits until so many bytes of payload came.
async fn until_bytes(subscriber: &mut Raw, bytes: usize) {
    subscriber
        .wait(|log| {
            let seen: usize = log
                .iter()
                .map(|news| match news {
                    News::Payload(_, bytes) => bytes.len(),
                    _ => 0,
                })
                .sum();
            (seen >= bytes).then_some(())
        })
        .await;
}

/// MOQT-14 §8.5 [D14-DATA-22]
async fn first_bytes_arrive_first(shards: usize) {
    let mut scene = scene(shards).await;
    let mut stream = scene.publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
    stream.begin(0, LEN).await;
    stream.write(Bytes::from(vec![1; PART])).await;
    // The rest is written only when this much has arrived.
    until_bytes(&mut scene.subscriber, PART).await;
    stream.write(Bytes::from(vec![2; LEN as usize - PART])).await;
    stream.fin();
    scene.subscriber.until_object(scene.alias, (0, 0)).await;
    let got = &Raw::objects(&scene.subscriber.log)[0].payload;
    assert_eq!(got.len() as u64, LEN);
    assert!(got[..PART].iter().all(|byte| *byte == 1) && got[PART..].iter().all(|byte| *byte == 2));
    assert_eq!(scene.subscriber.ended(0).await, None);
}

/// D14-DATA-22
#[test]
fn first_bytes_arrive_before_the_last_are_written_one_shard() {
    run(|| first_bytes_arrive_first(1));
}

/// D14-DATA-22
#[test]
fn first_bytes_arrive_before_the_last_are_written_two_shards() {
    run(|| first_bytes_arrive_first(2));
}

/// MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-CLOSE-5]
async fn a_reset_stays_a_reset(shards: usize) {
    let mut scene = scene(shards).await;
    let mut stream = scene.publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
    stream.begin(0, LEN).await;
    stream.write(Bytes::from(vec![1; PART])).await;
    until_bytes(&mut scene.subscriber, PART).await;
    stream.reset(2);
    // MOQT-14 §10.4.3 [D14-CLOSE-8]: DELIVERY_TIMEOUT, as it came.
    assert_eq!(scene.subscriber.ended(0).await, Some(2));
    for direction in ["direction=\"in\"", "direction=\"out\""] {
        let why = [direction, "reason=\"delivery_timeout\""];
        assert_eq!(
            counted(&scene.relay, "laps_stream_resets_total", &why, 1).await,
            1
        );
    }
    // The subscription goes on.
    scene.publisher.group(ALIAS, 1, 1).await;
    scene.subscriber.until_object(scene.alias, (1, 0)).await;
}

/// D14-CLOSE-1 D14-CLOSE-5 D14-CLOSE-8
#[test]
fn a_reset_inside_an_object_is_passed_on_one_shard() {
    run(|| a_reset_stays_a_reset(1));
}

/// D14-CLOSE-1 D14-CLOSE-5 D14-CLOSE-8
#[test]
fn a_reset_inside_an_object_is_passed_on_two_shards() {
    run(|| a_reset_stays_a_reset(2));
}

/// D14-CLOSE-1 D14-CLOSE-5
#[test]
fn a_reset_between_objects_is_passed_on() {
    run(async || {
        let mut scene = scene(1).await;
        let mut stream = scene.publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.object(0, b"whole").await;
        scene.subscriber.until_object(scene.alias, (0, 0)).await;
        stream.reset(1);
        assert_eq!(scene.subscriber.ended(0).await, Some(1));
    });
}

/// MOQT-14 §9.12 [D14-SUB-19] [D14-NS-13]
async fn a_lost_publisher_resets(shards: usize) {
    let mut scene = scene(shards).await;
    scene.publisher.group(ALIAS, 0, 2).await;
    let mut stream = scene.publisher.open(ALIAS, 1, SubgroupIdMode::Zero).await;
    stream.begin(0, LEN).await;
    stream.write(Bytes::from(vec![1; PART])).await;
    scene.subscriber.until_objects(scene.alias, 2).await;
    until_bytes(&mut scene.subscriber, PART).await;
    drop(scene.publisher);
    let done = scene.subscriber.done(scene.id).await;
    assert_eq!(done.stream_count, Some(2));
    assert_eq!(done.status, PublishDoneStatus::InternalError);
    let headers = Raw::headers(&scene.subscriber.log, scene.alias);
    let of = |group| {
        headers
            .iter()
            .find(|(_, header)| header.group == group)
            .unwrap()
            .0
    };
    assert_eq!(scene.subscriber.ended(of(0)).await, None);
    assert!(scene.subscriber.ended(of(1)).await.is_some(), "never a FIN");
    drop(stream);
}

/// D14-SUB-19 D14-NS-13
#[test]
fn the_loss_of_the_publisher_resets_one_shard() {
    run(|| a_lost_publisher_resets(1));
}

/// D14-SUB-19 D14-NS-13
#[test]
fn the_loss_of_the_publisher_resets_two_shards() {
    run(|| a_lost_publisher_resets(2));
}

/// D14-DATA-18 D14-MAL-4
#[test]
fn a_fin_inside_an_object_ends_the_publishers_session_alone() {
    run(async || {
        let mut scene = scene(1).await;
        let mut stream = scene.publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.begin(0, LEN).await;
        stream.write(Bytes::from(vec![1; PART])).await;
        until_bytes(&mut scene.subscriber, PART).await;
        stream.fin();
        // MOQT-14 §10.4 [D14-DATA-18] [D14-MAL-4]: PROTOCOL_VIOLATION, and no FIN for anybody else.
        assert_eq!(scene.publisher.closed().await, 3);
        assert!(scene.subscriber.ended(0).await.is_some());
        scene.subscriber.done(scene.id).await;
        scene.subscriber.fence().await;
        let said = scene.publisher.log.iter().any(
            |news| matches!(news, News::Control(ControlMessage::Unsubscribe(id)) if *id == scene.upstream),
        );
        assert!(!said, "a session that is over is told nothing");
    });
}
