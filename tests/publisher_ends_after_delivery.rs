//! A publisher that has finished its track and closes at once has lost nothing: all objects and PUBLISH_DONE arrive.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::{Flow, Item, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};

const GROUPS: u64 = 20;
const OBJECTS: u64 = 10;

async fn ends_after_delivery(flow: Flow) {
    // MOQT-14 §9.12 [D14-SUB-19], [D14-SUB-20]
    let relay = relay(settings(1)).await;
    let mut publisher = publisher(&relay).await;
    let name = track("ends", "video");
    let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
    let mut subscriber = subscriber(&relay).await;
    let wanted = Wanted {
        track: name,
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    };
    subscriber.subscribe(wanted).await.unwrap();
    writer.wanted().await.unwrap();
    let sending = actix_rt::spawn(async move {
        for group in 0..GROUPS {
            for object in 0..OBJECTS {
                let payload = vec![Bytes::from(vec![7; 20_000])];
                writer
                    .object(Location::new(group, object), payload)
                    .await
                    .unwrap();
            }
        }
        writer.finish().await.unwrap();
        publisher.close().await;
    });
    let mut got = 0;
    let gone = loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                assert_eq!(object.len(), 20_000);
                got += 1;
            }
            Item::Done(gone) => break gone,
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Lost => panic!("objects were lost"),
        }
    };
    assert_eq!(
        (got, gone.status),
        (GROUPS * OBJECTS, PublishDoneStatus::TrackEnded)
    );
    sending.await.unwrap();
    relay.drain(std::time::Duration::from_secs(2));
}

/// D14-SUB-19
#[test]
fn announced() {
    run(|| ends_after_delivery(Flow::Announce));
}

/// D14-SUB-19
#[test]
fn published() {
    run(|| ends_after_delivery(Flow::Publish));
}
