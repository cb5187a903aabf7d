//! What `moq-transport` publishes on streams reaches `moq-transport`, `laps sub` and a raw subscriber unchanged.

use crate::common::cli::Tool;
use crate::common::moq::MoqPeer;
use crate::common::payload;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::stream::Incoming;

const NAMESPACE: &str = "interop/streams";
const TRACK: &str = "video";
const GROUPS: u64 = 3;
const OBJECTS: u64 = 4;

async fn relay() -> Relay {
    Options::default().patient().start().await
}

/// D14-SUB-20
#[tokio::test]
async fn to_moq_transport() {
    let relay = relay().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = here.announce(NAMESPACE, TRACK);
    let mut subscription = there.subscribe(NAMESPACE, TRACK).await;
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            publisher.object(group, &payload(group, object));
            assert_eq!(subscription.next().await, (group, payload(group, object)));
        }
    }
    here.assert_alive().await;
    there.assert_alive().await;
    // MOQT-14 §9.12 [D14-SUB-20]: its PUBLISH_DONE says 0 streams whatever it sent; the end still comes through.
    publisher.end();
    subscription.closed().await;
}

#[tokio::test]
async fn to_our_client() {
    let relay = relay().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut subscriber = Tool::subscriber(&relay, NAMESPACE, TRACK, GROUPS * OBJECTS);
    let mut publisher = here.announce(NAMESPACE, TRACK);
    // The crate serves a late subscriber the current group from its first object: no need to wait for the subscription.
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            publisher.object(group, &payload(group, object));
            assert_eq!(subscriber.line().await, payload(group, object));
        }
    }
    subscriber.finish().await;
    here.assert_alive().await;
}

/// The relay keeps group, subgroup, priority, object ids and the empty extension blocks (V14-S6 is its header type).
#[tokio::test]
async fn to_a_raw_subscriber() {
    let relay = relay().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let mut publisher = here.announce(NAMESPACE, TRACK);
    let id = subscriber.send_subscribe(NAMESPACE, TRACK).await;
    let alias = subscriber.expect_subscribe_ok(id).await;
    let mut before: Option<Incoming> = None;
    for group in 0..GROUPS {
        publisher.object(group, &payload(group, 0));
        let mut stream = subscriber.incoming().await;
        let header = stream.header().await.expect("no reset");
        assert_eq!(
            (header.alias, header.group, header.subgroup, header.priority),
            (alias, group, Some(0), 127)
        );
        for object in 0..OBJECTS {
            if object > 0 {
                publisher.object(group, &payload(group, object));
            }
            let got = stream.object().await.expect("no reset").expect("an object");
            assert_eq!((got.id, got.extensions, got.status), (object, vec![], 0));
            assert_eq!(got.payload, payload(group, object).as_bytes());
        }
        // A new group ended the stream of the one before.
        if let Some(mut before) = before.replace(stream) {
            assert_eq!(before.object().await, Ok(None));
        }
    }
    here.assert_alive().await;
}
