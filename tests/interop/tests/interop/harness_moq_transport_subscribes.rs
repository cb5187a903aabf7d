//! The `moq-transport` subscriber works against a scripted server.

use crate::common::moq::{MoqPeer, MoqSubscription};
use crate::common::raw::RawPeer;
use crate::common::scripted::Scripted;
use crate::common::stream::{Datagram, header_bytes, object_bytes};
use crate::common::wire::{Message, hex, kind};
use crate::common::{payload, small_payload, within};

const ALIAS: u64 = 300;

async fn subscribed(scripted: &Scripted) -> (MoqPeer, RawPeer, MoqSubscription) {
    let (mut peer, (mut server, _)) = tokio::join!(MoqPeer::connect(scripted.address), scripted.session());
    let serve = async {
        let subscribe = server.control.expect(kind::SUBSCRIBE).await;
        // Priority 127, publisher's order, Forward 1, Largest Object, no parameters.
        assert_eq!(
            subscribe.payload,
            hex("00 02 046c697665 0363616d 05766964656f 7f 00 01 02 00")
        );
        let ok = Message::new(kind::SUBSCRIBE_OK)
            .varint(0)
            .varint(ALIAS)
            .varint(0)
            .byte(1)
            .byte(0)
            .varint(0);
        server.control.send(&ok.bytes()).await;
    };
    let (subscription, ()) = tokio::join!(peer.subscribe("live/cam", "video"), serve);
    (peer, server, subscription)
}

#[tokio::test]
async fn streams() {
    let scripted = Scripted::bind();
    let (mut peer, server, mut subscription) = subscribed(&scripted).await;
    for group in 0..3 {
        let mut stream = server.open(&header_bytes(ALIAS, group, 0)).await;
        for object in 0..3 {
            let sent = payload(group, object);
            within("room", stream.write_all(&object_bytes(sent.as_bytes())))
                .await
                .expect("a stream");
            assert_eq!(subscription.next().await, (group, sent));
        }
        stream.finish().expect("an open stream");
    }
    peer.assert_alive().await;
}

#[tokio::test]
async fn datagrams() {
    let scripted = Scripted::bind();
    let (mut peer, server, mut subscription) = subscribed(&scripted).await;
    for object in 0..5 {
        let sent = small_payload(1, object);
        server.datagram(&Datagram::bytes(ALIAS, 1, object, sent.as_bytes()));
        assert_eq!(subscription.next().await, (1, sent));
    }
    peer.assert_alive().await;
}

/// It sends UNSUBSCRIBE whenever it drops a subscription, even one that PUBLISH_DONE ended: a relay has to bear that.
#[tokio::test]
async fn unsubscribes_after_the_end() {
    let scripted = Scripted::bind();
    let (_peer, mut server, subscription) = subscribed(&scripted).await;
    server.publish_done(0, 0).await;
    subscription.closed().await;
    drop(subscription);
    let unsubscribe = server.control.expect(kind::UNSUBSCRIBE).await;
    assert_eq!(unsubscribe.request_id(), 0);
}
