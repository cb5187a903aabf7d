//! A publisher sends while somebody wants its objects, and is told when that changes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{Raw, raw, subscribe};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, RequestId, SubscribeFilter};
use std::time::{Duration, Instant};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Waits for the `count`th SUBSCRIBE_UPDATE of a request; the value is its Forward.
async fn forward(publisher: &mut Raw, id: RequestId, count: usize) -> bool {
    publisher
        .wait(|log| Raw::updates(log, id).get(count - 1).map(|update| update.forward))
        .await
}

/// Sends SUBSCRIBE with Forward 0.
async fn paused(client: &mut Raw, name: &laps_protocol::moqt::name::FullTrackName) -> RequestId {
    let id = client.id();
    let mut subscribe = subscribe(name, NEWEST);
    subscribe.forward = false;
    client.say(ControlMessage::Subscribe(id, subscribe)).await;
    id
}

async fn announced(shards: usize) {
    let mut settings = settings(shards);
    settings.track.dampen = Duration::from_millis(20);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("forward", "announced");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut first = placement.raw_on(&relay, shards - 1).await;
    let id = paused(&mut first, &name).await;
    let (upstream, asked) = publisher.asked(&name, 0).await;
    // MOQT-14 §9.7 [D14-SUB-12]: whatever the subscriber says.
    assert!(asked.forward);
    publisher.accept(upstream, ALIAS, Some(Location::new(3, 3))).await;
    let alias = first.answer(id).await.unwrap().alias;
    assert!(!forward(&mut publisher, upstream, 1).await);
    // MOQT-14 §8.4 [D14-SUB-11]: the first with Forward 1 turns it on, for those on another shard too.
    let mut second = placement.raw_on(&relay, shards - 1).await;
    let (other, ok) = second.subscribed(&name, NEWEST).await;
    assert!(forward(&mut publisher, upstream, 2).await);
    publisher.group(ALIAS, 4, 2).await;
    assert_eq!(second.until_objects(ok.alias, 2).await, [(4, 0), (4, 1)]);
    let start = Location::new(3, 4);
    first.update(id, start, None, true).await;
    first.fence().await;
    second.say(ControlMessage::Unsubscribe(other)).await;
    second.fence().await;
    publisher.group(ALIAS, 5, 2).await;
    // MOQT-14 §9.10 [D14-SUB-17]: what came while it was paused is not delivered after it.
    assert_eq!(first.until_objects(alias, 2).await, [(5, 0), (5, 1)]);
    publisher.fence().await;
    assert_eq!(Raw::updates(&publisher.log, upstream).len(), 2);
    first.update(id, start, None, false).await;
    assert!(!forward(&mut publisher, upstream, 3).await);
    first.update(id, start, None, true).await;
    assert!(forward(&mut publisher, upstream, 4).await);
    publisher.group(ALIAS, 6, 1).await;
    first.until_object(alias, (6, 0)).await;
    let updates = Raw::updates(&publisher.log, upstream);
    // MOQT-14 §9.10 [D14-VAL-9]: nothing else changes with it.
    assert!(updates.iter().all(|update| {
        (update.start, update.end_group, update.priority) == (start, None, 128)
            && update.params == laps_protocol::moqt::message::MessageParams::default()
    }));
}

/// D14-SUB-2 D14-SUB-11 D14-SUB-12 D14-SUB-17
#[test]
fn an_announced_track_follows_its_subscribers_one_shard() {
    run(|| announced(1));
}

/// D14-SUB-2 D14-SUB-11 D14-SUB-12 D14-SUB-17
#[test]
fn an_announced_track_follows_its_subscribers_two_shards() {
    run(|| announced(2));
}

/// D14-SUB-2 D14-LIM-2: a subscriber that changes its mind all the time does not make the relay do so; the state that
/// holds at last arrives.
#[test]
fn a_fickle_subscriber_is_dampened() {
    run(async || {
        let mut settings = settings(1);
        let window = Duration::from_millis(300);
        settings.track.dampen = window;
        let relay = relay(settings).await;
        let name = track("forward", "fickle");
        let mut publisher = raw(&relay).await;
        let publish = publisher.publish(&name, ALIAS, false).await;
        assert!(!publisher.publish_ok(publish).await.forward);
        let mut client = raw(&relay).await;
        let begun = Instant::now();
        let (id, _) = client.subscribed(&name, NEWEST).await;
        for turn in 0..101 {
            client.update(id, Location::ZERO, None, turn % 2 == 1).await;
        }
        client.fence().await;
        // It ends with Forward 0, after an odd number of messages since the first said 1.
        publisher
            .wait(|log| {
                let updates = Raw::updates(log, publish);
                let last = updates.last()?;
                (!last.forward).then_some(())
            })
            .await;
        let told = Raw::updates(&publisher.log, publish);
        let windows = begun.elapsed().as_millis() / window.as_millis() + 1;
        assert!(
            told.len() as u128 <= windows + 1,
            "{} in {windows} windows",
            told.len()
        );
    });
}
