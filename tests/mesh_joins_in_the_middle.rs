//! Who subscribes at another relay in the middle of a group gets the rest of it, as at the relay of the publisher.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::mesh::{Member, wanted};
use common::{publisher, run, subscriber, track};
use laps_actors::client::{Flow, Item, Subscriber};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::peering::node::NodeType;

/// The places of the next objects.
async fn read(subscriber: &mut Subscriber, objects: usize) -> Vec<Location> {
    let mut got = Vec::new();
    while got.len() < objects {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => got.push(object.location),
            Item::Opened { .. } | Item::Closed { .. } => {}
            other @ (Item::Lost | Item::Done(_)) => panic!("{other:?}"),
        }
    }
    got
}

fn places(group: u64, objects: std::ops::Range<u64>) -> Vec<Location> {
    objects.map(|object| Location::new(group, object)).collect()
}

/// The relays of two subscribers stand behind one link, which has the track already when the second one comes.
async fn the_rest_of_the_group_comes() {
    let ca = PeerCa::generate().unwrap();
    let [first, second] = [3, 4].map(|low| Member::edge(&ca, low, &[]).start());
    let (first, second) = futures::join!(first, second);
    let middle = Member {
        role: NodeType::Via,
        ..Member::edge(&ca, 2, &[&first, &second])
    };
    let middle = middle.start().await;
    let near = Member::edge(&ca, 1, &[&middle]).start().await;
    let name = track("mesh", "endless");
    let mut publisher = publisher(&near).await;
    let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let mut early = subscriber(&first).await;
    early.subscribe(wanted(&name)).await.unwrap();
    let mut write = async |group, objects: std::ops::Range<u64>| {
        for object in objects {
            let payload = Bytes::from_static(b"payload");
            let place = Location::new(group, object);
            writer.object(place, vec![payload]).await.unwrap();
        }
    };
    write(0, 0..5).await;
    assert_eq!(read(&mut early, 5).await, places(0, 0..5));

    let mut late = subscriber(&second).await;
    let (largest, _) = late.subscribe(wanted(&name)).await.unwrap();
    assert_eq!(largest, Some(Location::new(0, 4)));
    write(0, 5..10).await;
    assert_eq!(read(&mut late, 5).await, places(0, 5..10));
    assert_eq!(read(&mut early, 5).await, places(0, 5..10));

    // And from then on what everybody gets, once.
    write(1, 0..3).await;
    write(2, 0..3).await;
    for subscriber in [&mut early, &mut late] {
        let mut got = read(subscriber, 6).await;
        got.sort_unstable();
        assert_eq!(got, [places(1, 0..3), places(2, 0..3)].concat());
    }
    for relay in [near, middle, first, second] {
        relay.drain(std::time::Duration::from_secs(2));
    }
}

#[test]
fn of_a_group_that_does_not_end() {
    run(the_rest_of_the_group_comes);
}
