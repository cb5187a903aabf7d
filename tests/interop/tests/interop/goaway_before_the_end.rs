//! MOQT-14 §3.5, §9.4: a relay that is to end says GOAWAY, serves on, and closes with GOAWAY_TIMEOUT whoever stayed.

use crate::common::bystander::Bystander;
use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::wire::code::GOAWAY_TIMEOUT;
use crate::common::wire::{hex, kind};

/// Seconds.
const GRACE: &str = "LAPS_DRAIN__GRACE";
const URI: &str = "LAPS_DRAIN__URI";

/// V14-C7, and the code after the grace period.
/// D14-GOAWAY-1 D14-GOAWAY-3 D14-MSG-3
#[tokio::test]
async fn who_stays_is_closed() {
    let mut relay = Options::default().env(GRACE, 2).start().await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace("live/cam1").await;
    let mut subscriber = RawPeer::connect(relay.address).await;
    let mut bystander = Bystander::start(relay.address).await;
    relay.terminate();
    for peer in [&mut publisher, &mut subscriber] {
        let goaway = peer.control.expect(kind::GOAWAY).await;
        assert_eq!(goaway.payload, hex("00"), "no URI");
    }
    // GOAWAY changes nothing of what there is, and a request that crosses it is served.
    bystander.exchange().await;
    let id = subscriber.send_subscribe("live/cam1", "video").await;
    publisher.accept_subscribe("live/cam1", "video", 3).await;
    subscriber.expect_subscribe_ok(id).await;
    for peer in [&publisher, &subscriber] {
        peer.expect_closed("a session that stays", &[GOAWAY_TIMEOUT])
            .await;
    }
    relay.ended().await;
}

/// V14-C8, and an end before the grace period when everybody has left.
/// D14-GOAWAY-2 D14-GOAWAY-3
#[tokio::test]
async fn who_leaves_is_not_waited_for() {
    let options = Options::default().env(GRACE, 3_600);
    let mut relay = options.env(URI, "moqt://relay2.example").start().await;
    let mut peers = [
        RawPeer::connect(relay.address).await,
        RawPeer::connect(relay.address).await,
    ];
    peers[0].publish_namespace("live/cam1").await;
    relay.terminate();
    for peer in &mut peers {
        let goaway = peer.control.expect(kind::GOAWAY).await;
        // V14-C8 after Type and Length.
        assert_eq!(
            goaway.payload,
            hex("156d6f71743a2f2f72656c6179322e6578616d706c65")
        );
        peer.connection.close(0_u32.into(), b"");
    }
    relay.ended().await;
}
