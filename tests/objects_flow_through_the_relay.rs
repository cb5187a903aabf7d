//! What a publisher writes, a subscriber reads: by both flows, over one shard and over two.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::whole::{objects, read_to_the_end, subscribe, write};
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::Flow;
use laps_protocol::moqt::message::PublishDoneStatus;

async fn objects_flow(shards: usize, flow: Flow) {
    let relay = relay(settings(shards)).await;
    let mut publisher = publisher(&relay).await;
    let name = track("flow", "video");
    let mut subscribers = Vec::new();
    let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
    for _ in 0..4 {
        let mut subscriber = subscriber(&relay).await;
        subscribe(&mut subscriber, &name).await;
        subscribers.push(subscriber);
    }
    writer.wanted().await.unwrap();
    let sent = objects(5, 10);
    write(&mut writer, &sent).await;
    let finished = actix_rt::spawn(writer.finish());
    for subscriber in &mut subscribers {
        let (got, gone) = read_to_the_end(subscriber).await;
        assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
        assert!(got == sent, "each object once, and whole");
    }
    finished.await.unwrap().unwrap();
    relay.drain(std::time::Duration::from_secs(2));
}

#[test]
fn announced_one_shard() {
    run(|| objects_flow(1, Flow::Announce));
}

#[test]
fn announced_two_shards() {
    run(|| objects_flow(2, Flow::Announce));
}

#[test]
fn published_one_shard() {
    run(|| objects_flow(1, Flow::Publish));
}

#[test]
fn published_two_shards() {
    run(|| objects_flow(2, Flow::Publish));
}
