//! A relay that names no other place is come back to: when the next one serves its address, the clients are there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::apart::apart;
use common::raw::raw_at;
use common::{options, run, settings, target, track};
use laps_actors::client::{Flow, Item, Publisher, Subscriber, TrackWriter, Wanted};
use laps_actors::root::{Outcome, Retire};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use std::time::Duration;

fn retire(grace: Duration) -> Retire {
    Retire {
        uri: Bytes::new(),
        grace,
        deadline: Duration::from_secs(2),
    }
}

async fn object(writer: &mut TrackWriter, group: u64) {
    writer.wanted().await.unwrap();
    let place = Location::new(group, 0);
    writer
        .object(place, vec![Bytes::from_static(b"x")])
        .await
        .unwrap();
    writer.end_group().await.unwrap();
}

async fn next_object(subscriber: &mut Subscriber) -> Location {
    loop {
        if let Item::Object(object) = subscriber.next().await.unwrap() {
            return object.location;
        }
    }
}

/// D14-GOAWAY-2 D14-GOAWAY-6: without a URI it is the current one. It is tried again and again while the old relay has
/// the address, which still delivers, and the subscription goes on as soon as there is a new one.
#[test]
fn clients_come_back_to_the_address_of_now() {
    run(|| async {
        let first = apart(settings(1)).await;
        let mut here = settings(1);
        here.port = first.addr.port();
        let (name, at) = (track("back", "video"), target(first.addr));
        let mut publisher = Publisher::connect(&at, options()).await.unwrap();
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = Subscriber::connect(&at, options()).await.unwrap();
        let wanted = Wanted {
            track: name,
            filter: SubscribeFilter::LargestObject,
            priority: 128,
            new_group: false,
        };
        subscriber.subscribe(wanted).await.unwrap();
        object(&mut writer, 0).await;
        assert_eq!(next_object(&mut subscriber).await.group, 0);
        first.root.retire(retire(Duration::from_millis(1500))).unwrap();
        // Refused, and served where they are.
        object(&mut writer, 1).await;
        assert_eq!(next_object(&mut subscriber).await.group, 1);
        assert!(matches!(first.ended().await, Outcome::Drained));
        let second = apart(here).await;
        // Objects are wanted again when both are back.
        let written = actix_rt::spawn(async move {
            // The old relay's wish goes with its session.
            while writer.is_wanted() {
                tokio::task::yield_now().await;
            }
            object(&mut writer, 2).await;
            writer
        });
        assert_eq!(next_object(&mut subscriber).await.group, 2);
        let writer = written.await.unwrap();
        drop(writer);
        subscriber.close().await;
        publisher.close().await;
        raw_at(second.addr).await.fence().await;
        second.root.retire(retire(Duration::ZERO)).unwrap();
        second.ended().await;
    });
}
