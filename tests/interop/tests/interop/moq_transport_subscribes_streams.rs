//! `moq-transport` receives, object by object, what `laps pub` and a raw publisher send on streams.
//! (From itself: `moq_transport_publishes_streams`.)

use crate::common::cli::Tool;
use crate::common::moq::MoqPeer;
use crate::common::payload;
use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::stream::{header_bytes, object_bytes};
use crate::common::within;

const NAMESPACE: &str = "interop/streams";
const TRACK: &str = "video";

#[tokio::test]
async fn from_our_client() {
    let relay = Options::default().patient().start().await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = Tool::publisher(&relay, NAMESPACE, TRACK, false);
    let mut subscription = there.subscribe(NAMESPACE, TRACK).await;
    for object in 0..12 {
        publisher.write_line(&payload(0, object)).await;
        let (_, got) = subscription.next().await;
        assert_eq!(got, payload(0, object));
    }
    publisher.finish().await;
    there.assert_alive().await;
}

/// D14-TERM-8
#[tokio::test]
async fn from_a_raw_publisher() {
    let relay = Options::default().patient().start().await;
    let mut there = MoqPeer::connect(relay.address).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace(NAMESPACE).await;
    let (mut subscription, id) = tokio::join!(
        there.subscribe(NAMESPACE, TRACK),
        publisher.accept_subscribe(NAMESPACE, TRACK, 40_000)
    );
    for group in 0..3 {
        let mut stream = publisher.open(&header_bytes(40_000, group, 0)).await;
        for object in 0..4 {
            let bytes = object_bytes(payload(group, object).as_bytes());
            within("room on a stream", stream.write_all(&bytes))
                .await
                .expect("a stream that takes bytes");
            assert_eq!(subscription.next().await, (group, payload(group, object)));
        }
        stream.finish().expect("an open stream");
    }
    there.assert_alive().await;
    // MOQT-14 §9.12 [D14-TERM-8]: the status of the end reaches it, and the UNSUBSCRIBE it then sends harms nobody.
    publisher.publish_done(id, 3).await;
    let end = subscription.closed().await;
    assert_eq!(end.code(), 2, "TRACK_ENDED arrived as {end}");
    drop(subscription);
    let (_again, _) = tokio::join!(
        there.subscribe(NAMESPACE, "other"),
        publisher.accept_subscribe(NAMESPACE, "other", 40_001)
    );
    there.assert_alive().await;
}
