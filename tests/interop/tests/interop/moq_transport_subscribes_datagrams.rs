//! `moq-transport` receives what `laps pub --datagram` and a raw publisher send as datagrams.
//! (From itself: `moq_transport_publishes_datagrams`.)

use crate::common::cli::Tool;
use crate::common::moq::MoqPeer;
use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::small_payload;
use crate::common::stream::Datagram;

const NAMESPACE: &str = "interop/datagrams";
const TRACK: &str = "audio";

#[tokio::test]
async fn from_our_client() {
    let relay = Options::default().patient().start().await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = Tool::publisher(&relay, NAMESPACE, TRACK, true);
    let mut subscription = there.subscribe(NAMESPACE, TRACK).await;
    for object in 0..10 {
        publisher.write_line(&small_payload(0, object)).await;
        let (_, got) = subscription.next().await;
        assert_eq!(got, small_payload(0, object));
    }
    publisher.finish().await;
    there.assert_alive().await;
}

#[tokio::test]
async fn from_a_raw_publisher() {
    let relay = Options::default().patient().start().await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace(NAMESPACE).await;
    let (mut subscription, _) = tokio::join!(
        there.subscribe(NAMESPACE, TRACK),
        publisher.accept_subscribe(NAMESPACE, TRACK, 9)
    );
    for group in 0..2 {
        for object in 0..5 {
            publisher.datagram(&Datagram::bytes(
                9,
                group,
                object,
                small_payload(group, object).as_bytes(),
            ));
            assert_eq!(subscription.next().await, (group, small_payload(group, object)));
        }
    }
    there.assert_alive().await;
}
