//! What a publisher writes, a subscriber reads: by both flows, over one shard and over two.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::{Flow, Item, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};

async fn objects_flow(shards: usize, flow: Flow) {
    let relay = relay(settings(shards)).await;
    let mut publisher = publisher(&relay).await;
    let name = track("flow", "video");
    let mut subscribers = Vec::new();
    let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
    for _ in 0..4 {
        let mut subscriber = subscriber(&relay).await;
        let wanted = Wanted {
            track: name.clone(),
            filter: SubscribeFilter::LargestObject,
            priority: 128,
            new_group: false,
        };
        subscriber.subscribe(wanted).await.unwrap();
        subscribers.push(subscriber);
    }
    writer.wanted().await.unwrap();
    let mut sent = Vec::new();
    for group in 0..5_u64 {
        for object in 0..10_u64 {
            let payload = Bytes::from(vec![u8::try_from(group * 10 + object).unwrap(); 3000]);
            sent.push((Location::new(group, object), payload.clone()));
            writer
                .object(Location::new(group, object), vec![payload])
                .await
                .unwrap();
        }
    }
    let finished = actix_rt::spawn(writer.finish());
    for subscriber in &mut subscribers {
        let mut got = Vec::new();
        loop {
            match subscriber.next().await.unwrap() {
                Item::Object(object) => got.push((object.location, object.payload.concat())),
                Item::Done(gone) => {
                    assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                    break;
                }
                Item::Opened { .. } | Item::Closed { .. } => {}
                Item::Lost => panic!("objects were lost"),
            }
        }
        got.sort_by_key(|(place, _)| *place);
        assert_eq!(got.len(), sent.len());
        for ((place, payload), (sent_place, sent_payload)) in got.iter().zip(&sent) {
            assert_eq!((place, payload.as_slice()), (sent_place, &sent_payload[..]));
        }
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
