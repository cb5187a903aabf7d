//! Publishers of one track that break the rules for tracks: alone, and against each other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::feeding::{Feeder, Flow};
use common::raw::{CODEC, News, Raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, RequestKind, SubscribeFilter};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode};
use std::sync::Arc;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Writes one object that says a thing twice, which no object may. MOQT-14 §11.1 [D14-DATA-10]
async fn breaks_alone(feeder: &mut Feeder, group: u64) {
    let header = SubgroupHeader {
        alias: feeder.alias,
        group,
        subgroup: SubgroupIdMode::Zero,
        priority: 128,
        has_extensions: true,
        end_of_group: false,
    };
    let mut stream = feeder.raw.open_with(header).await;
    let object = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        // codepoint-free: a block as a publisher writes it. MOQT-14 §11
        extensions: Bytes::from_static(&[0x3e, 1, 0x3e, 1]),
        payload_len: 0,
    };
    let mut bytes = BytesMut::new();
    CODEC
        .encode_object_header(true, None, &object, &mut bytes)
        .unwrap();
    stream.write(bytes.freeze()).await;
    stream.fin();
}

fn asked(log: &[News]) -> usize {
    let subscribe = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
    log.iter().filter(subscribe).count()
}

async fn one_is_at_fault(shards: usize, flow: Flow) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("fault", "video");
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let id = subscriber.subscribe(&name, NEWEST).await;
    let mut good = Feeder::join(
        placement.raw_on(&relay, 0).await,
        Flow::Announce,
        &name,
        ALIAS,
        None,
    )
    .await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut bad = Feeder::join(
        placement.raw_on(&relay, shards - 1).await,
        flow,
        &name,
        ALIAS,
        None,
    )
    .await;
    bad.group(0, 1).await;
    subscriber.until_objects(alias, 1).await;
    breaks_alone(&mut bad, 1).await;
    // MOQT-14 §2.5 [D14-MAL-1]: it is let go of, its session lives, and nobody else hears of it.
    bad.released().await;
    good.group(2, 2).await;
    assert_eq!(subscriber.until_objects(alias, 3).await, [(0, 0), (2, 0), (2, 1)]);
    // However it comes back, it is not asked again, as long as its session lasts.
    let before = asked(&bad.raw.log);
    bad.raw.announce(name.namespace()).await;
    bad.raw.withdraw("test/fault").await;
    bad.raw.announce(name.namespace()).await;
    bad.raw.settled().await;
    assert_eq!(asked(&bad.raw.log), before);
    let publish = bad.raw.publish(&name, ALIAS + 1, true).await;
    assert_eq!(bad.raw.refused(publish).await.0, RequestKind::Publish);
    good.group(3, 1).await;
    subscriber.until_objects(alias, 4).await;
    let over = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    assert!(!subscriber.log.iter().any(over));
}

/// D14-MAL-1 D14-MAL-2 D14-MAL-4
#[test]
fn one_at_fault_is_dropped_announced() {
    run(|| one_is_at_fault(1, Flow::Announce));
}

/// D14-MAL-1 D14-MAL-2 D14-MAL-4
#[test]
fn one_at_fault_is_dropped_published_two_shards() {
    run(|| one_is_at_fault(2, Flow::Publish));
}

/// D14-MAL-1: one that sent PUBLISH and announces the namespace too is one publisher, and not asked instead of itself.
#[test]
fn one_at_fault_is_not_asked_under_its_other_name() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("fault", "twice");
        let mut subscriber = common::raw::raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut good = Feeder::join(common::raw::raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut bad = Feeder::join(common::raw::raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        bad.raw.announce(name.namespace()).await;
        bad.raw.settled().await;
        breaks_alone(&mut bad, 1).await;
        bad.released().await;
        good.group(2, 1).await;
        assert_eq!(subscriber.until_objects(alias, 1).await, [(2, 0)]);
        bad.raw.settled().await;
        assert_eq!(asked(&bad.raw.log), 0);
        // Nor when there is nobody else any more.
        drop(good);
        subscriber.done(id).await;
        bad.raw.settled().await;
        assert_eq!(asked(&bad.raw.log), 0);
    });
}

async fn they_disagree(shards: usize) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let budget = Arc::clone(&settings.track.budget);
    let relay = relay(settings).await;
    let mut publishers = Vec::new();
    for number in 0..2 {
        publishers.push(placement.raw_on(&relay, number % shards).await);
    }
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    publishers[0].announce(track("disagree", "any").namespace()).await;
    publishers[1].announce(track("disagree", "any").namespace()).await;
    for round in 0..10_u64 {
        let name = track("disagree", &round.to_string());
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut upstream = Vec::new();
        for publisher in &mut publishers {
            upstream.push(publisher.serve(&name, ALIAS + round).await);
        }
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut first = publishers[0].open(ALIAS + round, 5, SubgroupIdMode::Zero).await;
        first.object(0, &[1; 60_000]).await;
        subscriber.until_object(alias, (5, 0)).await;
        let mut other = publishers[1].open(ALIAS + round, 5, SubgroupIdMode::Zero).await;
        other.begin(0, 60_001).await;
        // MOQT-14 §2.5 [D14-MAL-1]: nobody can tell who is right, so the track is over for all.
        assert_eq!(
            subscriber.done(id).await.status,
            PublishDoneStatus::MalformedTrack
        );
        for (publisher, upstream) in publishers.iter_mut().zip(upstream) {
            publisher
                .control(|message| {
                    matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
                })
                .await;
        }
    }
    // The sessions live.
    for publisher in &mut publishers {
        publisher.fence().await;
    }
    subscriber.fence().await;
    // Nothing of these tracks is kept.
    while budget.used() > 0 {
        subscriber.fence().await;
    }
}

/// D14-MAL-1 D14-MAL-2 D14-CACHE-2
#[test]
fn their_track_is_malformed_one_shard() {
    run(|| they_disagree(1));
}

/// D14-MAL-1 D14-MAL-2 D14-CACHE-2
#[test]
fn their_track_is_malformed_two_shards() {
    run(|| they_disagree(2));
}

/// What waits behind a gap turns out, as its publisher goes, to be behind the end that the publisher gave the group.
async fn one_is_at_fault_as_it_goes() {
    let relay = relay(settings(1)).await;
    let name = track("leaves", "video");
    let mut subscriber = common::raw::raw(&relay).await;
    let id = subscriber.subscribe(&name, NEWEST).await;
    let join =
        async |alias| Feeder::join(common::raw::raw(&relay).await, Flow::Announce, &name, alias, None).await;
    let (mut good, mut bad) = (join(ALIAS).await, join(ALIAS).await);
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut first = bad.raw.open(ALIAS, 0, SubgroupIdMode::Zero).await;
    first.begin(0, 2).await;
    first.write(Bytes::from_static(b"a")).await;
    subscriber
        .wait(|log| (Raw::headers(log, alias).len() == 1).then_some(()))
        .await;
    let mut beyond = bad.raw.open(ALIAS, 0, SubgroupIdMode::Zero).await;
    beyond.object(3, b"d").await;
    let mut last = bad.raw.open(ALIAS, 0, SubgroupIdMode::Explicit(9)).await;
    let end = ObjectHeader {
        id: 2,
        status: ObjectStatus::EndOfGroup,
        extensions: Bytes::new(),
        payload_len: 0,
    };
    let mut bytes = BytesMut::new();
    CODEC.encode_object_header(false, None, &end, &mut bytes).unwrap();
    last.write(bytes.freeze()).await;
    subscriber
        .wait(|log| (Raw::headers(log, alias).len() == 2).then_some(()))
        .await;
    bad.raw.conn.close(0, "gone");
    // What it began is reset; the track goes on with the other.
    let number = Raw::headers(&subscriber.log, alias)[0].0;
    assert!(subscriber.ended(number).await.is_some());
    good.group(1, 2).await;
    subscriber.until_object(alias, (1, 1)).await;
    subscriber.fence().await;
    let done = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    assert!(!subscriber.log.iter().any(done));
}

/// D14-MAL-1 D14-PUB-4
#[test]
fn one_at_fault_as_it_goes_is_no_end_for_the_others() {
    run(one_is_at_fault_as_it_goes);
}
