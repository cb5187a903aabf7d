//! What a publisher of one relay writes, a subscriber of another reads, with a third relay between them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::mesh::Member;
use common::{publisher, run, subscriber, track};
use laps_actors::client::{Flow, Item, Wanted};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::peering::node::NodeType;

async fn carries(middle: NodeType, shards: usize, flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let far = Member {
        shards,
        ..Member::edge(&ca, 3, &[])
    };
    let far = far.start().await;
    let middle = Member {
        role: middle,
        ..Member::edge(&ca, 2, &[&far])
    };
    let middle = middle.start().await;
    let near = Member {
        shards,
        ..Member::edge(&ca, 1, &[&middle])
    };
    let near = near.start().await;
    let mut publisher = publisher(&near).await;
    let name = track("mesh", "video");
    let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
    let mut subscriber = subscriber(&far).await;
    let wanted = Wanted {
        track: name.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    };
    // A subscription waits for its publisher, and news of one reach the other end in a moment.
    subscriber.subscribe(wanted).await.unwrap();
    writer.wanted().await.unwrap();
    let mut sent = Vec::new();
    for group in 0..3_u64 {
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
    finished.await.unwrap().unwrap();
    for relay in [near, middle, far] {
        relay.drain(std::time::Duration::from_secs(2));
    }
}

#[test]
fn announced_through_an_edge() {
    run(|| carries(NodeType::Edge, 1, Flow::Announce));
}

#[test]
fn announced_through_a_via() {
    run(|| carries(NodeType::Via, 1, Flow::Announce));
}

#[test]
fn published_through_a_via_on_two_shards() {
    run(|| carries(NodeType::Via, 2, Flow::Publish));
}
