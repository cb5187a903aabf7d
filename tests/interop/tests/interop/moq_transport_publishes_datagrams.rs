//! What `moq-transport` publishes as datagrams reaches `moq-transport`, `laps sub` and a raw subscriber unchanged.

use crate::common::cli::Tool;
use crate::common::moq::MoqPeer;
use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::small_payload;

const NAMESPACE: &str = "interop/datagrams";
const TRACK: &str = "audio";
const GROUPS: u64 = 2;
const OBJECTS: u64 = 5;

#[tokio::test]
async fn to_moq_transport() {
    let relay = Options::default().patient().start().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = here.announce(NAMESPACE, TRACK);
    let mut subscription = there.subscribe(NAMESPACE, TRACK).await;
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            publisher.datagram(group, object, &small_payload(group, object));
            assert_eq!(subscription.next().await, (group, small_payload(group, object)));
        }
    }
    here.assert_alive().await;
    there.assert_alive().await;
}

#[tokio::test]
async fn to_our_client() {
    let relay = Options::default().patient().start().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut subscriber = Tool::subscriber(&relay, NAMESPACE, TRACK, GROUPS * OBJECTS);
    let mut publisher = here.announce(NAMESPACE, TRACK);
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            publisher.datagram(group, object, &small_payload(group, object));
            assert_eq!(subscriber.line().await, small_payload(group, object));
        }
    }
    subscriber.finish().await;
    here.assert_alive().await;
}

/// MOQT-14 §10.2.1 [D14-DATA-14]: a datagram stays a datagram, with its group, object id and priority.
#[tokio::test]
async fn to_a_raw_subscriber() {
    let relay = Options::default().patient().start().await;
    let mut here = MoqPeer::connect(relay.address).await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let mut publisher = here.announce(NAMESPACE, TRACK);
    let id = subscriber.send_subscribe(NAMESPACE, TRACK).await;
    let alias = subscriber.expect_subscribe_ok(id).await;
    for group in 0..GROUPS {
        for object in 0..OBJECTS {
            publisher.datagram(group, object, &small_payload(group, object));
            let got = subscriber.next_datagram().await;
            assert_eq!(
                (got.alias, got.group, got.object, got.priority),
                (alias, group, object, 127)
            );
            assert_eq!(
                (got.status, got.payload.as_slice()),
                (None, small_payload(group, object).as_bytes())
            );
        }
    }
    here.assert_alive().await;
}
