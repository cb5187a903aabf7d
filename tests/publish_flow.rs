//! A publisher that PUBLISHes is asked for objects exactly while somebody wants them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{News, Raw, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Waits for the `count`th SUBSCRIBE_UPDATE of a PUBLISH; the value is its Forward.
async fn forward(publisher: &mut Raw, id: RequestId, count: usize) -> bool {
    publisher
        .wait(|log| Raw::updates(log, id).get(count - 1).map(|update| update.forward))
        .await
}

/// D14-SUB-24 D14-SUB-26
#[test]
fn objects_may_come_before_publish_ok() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = None;
        let relay = relay(settings).await;
        let name = track("publish", "early");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        subscriber.fence().await;
        let mut publisher = raw(&relay).await;
        // MOQT-14 §5.1 [D14-SUB-24]: the stream even overtakes the PUBLISH that names its alias.
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.object(0, b"before").await;
        let publish = publisher.publish(&name, ALIAS, true).await;
        stream.object(1, b"behind").await;
        stream.fin();
        // MOQT-14 §8.4 [D14-SUB-26]
        assert!(publisher.publish_ok(publish).await.forward);
        let alias = subscriber.answer(id).await.unwrap().alias;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    });
}

async fn forward_follows(shards: usize) {
    let mut settings = settings(shards);
    settings.track.linger = std::time::Duration::ZERO;
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("publish", "forward");
    let mut publisher = placement.raw_on(&relay, 0).await;
    let publish = publisher.publish(&name, ALIAS, true).await;
    // MOQT-14 §9.13 [D14-SUB-25]: taken, and not wanted yet.
    assert!(!publisher.publish_ok(publish).await.forward);
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let (id, ok) = subscriber.subscribed(&name, NEWEST).await;
    // MOQT-14 §8.4 [D14-SUB-11]
    assert!(forward(&mut publisher, publish, 1).await);
    publisher.group(ALIAS, 0, 2).await;
    assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(0, 0), (0, 1)]);
    let mut other = placement.raw_on(&relay, 0).await;
    let (other_id, other_ok) = other.subscribed(&name, NEWEST).await;
    other.fence().await;
    subscriber.say(ControlMessage::Unsubscribe(id)).await;
    subscriber.fence().await;
    // One is left, so nothing changes upstream.
    publisher.group(ALIAS, 1, 2).await;
    other.until_objects(other_ok.alias, 2).await;
    publisher.fence().await;
    assert_eq!(Raw::updates(&publisher.log, publish).len(), 1);
    other.say(ControlMessage::Unsubscribe(other_id)).await;
    assert!(!forward(&mut publisher, publish, 2).await);
    // It comes and goes by SUBSCRIBE_UPDATE as well.
    let (id, ok) = subscriber.subscribed(&name, NEWEST).await;
    assert!(forward(&mut publisher, publish, 3).await);
    let start = laps_protocol::moqt::location::Location::new(1, 2);
    subscriber.update(id, start, None, false).await;
    assert!(!forward(&mut publisher, publish, 4).await);
    subscriber.update(id, start, None, true).await;
    assert!(forward(&mut publisher, publish, 5).await);
    publisher.group(ALIAS, 2, 2).await;
    assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(2, 0), (2, 1)]);
    publisher
        .publish_done(publish, PublishDoneStatus::TrackEnded, Some(3))
        .await;
    assert_eq!(subscriber.done(id).await.status, PublishDoneStatus::TrackEnded);
}

/// D14-SUB-11 D14-SUB-25
#[test]
fn forward_follows_the_subscribers_one_shard() {
    run(|| forward_follows(1));
}

/// D14-SUB-11 D14-SUB-25
#[test]
fn forward_follows_the_subscribers_two_shards() {
    run(|| forward_follows(2));
}

/// D14-VAL-15
#[test]
fn a_session_that_serves_a_track_already_may_not_publish_it_as_well() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("publish", "twice");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        // MOQT-14 §9.7 [D14-VAL-15]: two subscriptions to one track, so it is refused, not ignored.
        let publish = publisher.publish(&name, ALIAS, true).await;
        let (kind, error) = publisher.refused(publish).await;
        assert_eq!(
            (kind, error.reason),
            (RequestKind::Publish, RequestErrorReason::InternalError)
        );
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
    });
}

/// D14-SUB-25: one that takes no tracks says so, and takes no stream of them, also not one that came before.
#[test]
fn who_wants_no_tracks_refuses_them_and_their_streams() {
    run(async || {
        let mut settings = settings(1);
        settings.session.accepts_publishers = false;
        let relay = relay(settings).await;
        let mut publisher = raw(&relay).await;
        let mut early = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        early.object(0, b"nobody asked").await;
        let publish = publisher
            .publish(&track("publish", "unwanted"), ALIAS, true)
            .await;
        let (kind, error) = publisher.refused(publish).await;
        assert_eq!(
            (kind, error.reason),
            (RequestKind::Publish, RequestErrorReason::Uninterested)
        );
        early.stopped().await;
        let late = publisher.open(ALIAS, 1, SubgroupIdMode::Zero).await;
        late.stopped().await;
        publisher.fence().await;
    });
}

/// D14-SUB-23: a track that is published goes to those who asked for it, and to nobody unasked.
#[test]
fn nobody_is_sent_a_publish_unasked() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut bystander = raw(&relay).await;
        let mut subscriber = raw(&relay).await;
        let mut publisher = raw(&relay).await;
        let name = track("publish", "unasked");
        let publish = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(publish).await;
        let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
        publisher.group(ALIAS, 0, 1).await;
        subscriber.until_objects(ok.alias, 1).await;
        bystander.fence().await;
        for client in [&bystander, &subscriber, &publisher] {
            let offered = |news: &News| matches!(news, News::Control(ControlMessage::Publish(..)));
            assert!(!client.log.iter().any(offered));
        }
    });
}
