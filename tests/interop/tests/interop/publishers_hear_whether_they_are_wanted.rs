//! MOQT-14 §5.1, §8.4: Forward tells a publisher whether anybody wants its objects, and a subscriber pauses with it.

use crate::common::raw::RawPeer;
use crate::common::relay::Options;
use crate::common::wire::{Message, kind};
use crate::common::within;

const NAMESPACE: &str = "live/cam1";

/// SUBSCRIBE_UPDATE of `subscription` from {0, 0} on without end, as V14-C18 has it; only Forward matters here.
async fn update(peer: &mut RawPeer, subscription: u64, forward: u8) {
    let id = peer.request_id();
    let message = Message::new(kind::SUBSCRIBE_UPDATE)
        .varint(id)
        .varint(subscription)
        .varint(0)
        .varint(0)
        .varint(0)
        .byte(128)
        .byte(forward)
        .varint(0);
    peer.control.send(&message.bytes()).await;
}

/// The relay's SUBSCRIBE_UPDATE of `subscription`; returns its Forward.
async fn told(publisher: &mut RawPeer, subscription: u64) -> Option<u8> {
    let update = publisher.control.expect(kind::SUBSCRIBE_UPDATE).await;
    let mut fields = update.fields();
    assert_eq!(fields.varint().map(|id| id % 2), Some(1), "{update:x?}");
    assert_eq!(fields.varint(), Some(subscription), "{update:x?}");
    // Start Location, and no end.
    fields.varint().and_then(|_| fields.varint()).expect("Start");
    assert_eq!(fields.varint(), Some(0), "End Group: {update:x?}");
    fields.byte().expect("Subscriber Priority");
    let forward = fields.byte();
    assert_eq!(fields.rest(), [0], "no parameters: {update:x?}");
    forward
}

/// Asks by TRACK_STATUS until the relay has an object of `group`.
async fn until_there(peer: &mut RawPeer, group: u64) {
    let asking = async {
        loop {
            let id = peer.request_id();
            let status = Message::new(kind::TRACK_STATUS)
                .varint(id)
                .namespace(NAMESPACE)
                .prefixed(b"video")
                .byte(128)
                .byte(0)
                .byte(1)
                .varint(2)
                .varint(0);
            peer.control.send(&status.bytes()).await;
            let ok = peer.control.expect(kind::TRACK_STATUS_OK).await;
            // Behind the id: alias, Expires, Group Order, Content Exists, Largest.
            let largest = &ok.payload[ok.payload.len() - 4..];
            if *largest == [1, u8::try_from(group).expect("a small group"), 0, 0] {
                return;
            }
        }
    };
    within("an object at the relay", asking).await;
}

/// D14-SUB-11 D14-SUB-16 D14-SUB-17 D14-SUB-26 D14-MSG-8
#[tokio::test]
async fn by_publish_ok_and_subscribe_update() {
    let options = Options::default().patient();
    let relay = options.env("LAPS_SUBSCRIBE__DAMPEN_MS", 10).start().await;
    let mut publisher = RawPeer::connect(relay.address).await;
    let track = publisher.send_publish(NAMESPACE, "video", 7).await;
    assert_eq!(publisher.expect_publish_ok(track).await, 0, "nobody is there");
    let mut subscriber = RawPeer::connect(relay.address).await;
    let id = subscriber.send_subscribe(NAMESPACE, "video").await;
    subscriber.expect_subscribe_ok(id).await;
    assert_eq!(told(&mut publisher, track).await, Some(1));
    publisher.send_group(7, 0, &[b"aa", b"bb"]).await;
    let got = subscriber.incoming().await.subgroup().await.expect("no reset");
    assert_eq!((got.group, got.objects.len()), (0, 2));

    update(&mut subscriber, id, 0).await;
    assert_eq!(told(&mut publisher, track).await, Some(0));
    // A publisher that sends all the same sends in vain.
    publisher.send_group(7, 1, &[b"aa"]).await;
    until_there(&mut RawPeer::connect(relay.address).await, 1).await;
    update(&mut subscriber, id, 1).await;
    assert_eq!(told(&mut publisher, track).await, Some(1));
    publisher.send_group(7, 2, &[b"aa"]).await;
    let got = subscriber.incoming().await.subgroup().await.expect("no reset");
    assert_eq!(got.group, 2, "the next that comes");

    // MOQT-14 §8.4: the last one that leaves.
    let unsubscribe = Message::new(kind::UNSUBSCRIBE).varint(id);
    subscriber.control.send(&unsubscribe.bytes()).await;
    assert_eq!(told(&mut publisher, track).await, Some(0));
}

/// A watcher that accepts an offered track with Forward 0 costs the publisher nothing until it wants objects.
/// D14-SUB-26 D14-SUB-27
#[tokio::test]
async fn by_a_watcher_that_accepts_with_forward_0() {
    let options = Options::default().patient();
    let relay = options.env("LAPS_SUBSCRIBE__DAMPEN_MS", 10).start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    let id = watcher.request_id();
    let watch = Message::new(kind::SUBSCRIBE_NAMESPACE)
        .varint(id)
        .namespace("live")
        .varint(0);
    watcher.control.send(&watch.bytes()).await;
    watcher.control.expect(kind::SUBSCRIBE_NAMESPACE_OK).await;
    let mut publisher = RawPeer::connect(relay.address).await;
    let track = publisher.send_publish(NAMESPACE, "video", 7).await;
    assert_eq!(publisher.expect_publish_ok(track).await, 0, "nobody accepted it");
    let offer = watcher.control.expect(kind::PUBLISH).await.request_id();
    let accept = Message::new(kind::PUBLISH_OK)
        .varint(offer)
        .byte(0)
        .byte(128)
        .byte(1)
        .varint(2)
        .varint(0);
    watcher.control.send(&accept.bytes()).await;
    watcher.publish_namespace("read/up/to/here").await;
    publisher.send_group(7, 0, &[b"aa"]).await;
    until_there(&mut RawPeer::connect(relay.address).await, 0).await;
    // The next the publisher hears is that it is wanted, not that it is not.
    update(&mut watcher, offer, 1).await;
    assert_eq!(told(&mut publisher, track).await, Some(1));
    publisher.send_group(7, 1, &[b"aa"]).await;
    let got = watcher.incoming().await.subgroup().await.expect("no reset");
    assert_eq!(got.group, 1, "what came before was not wanted");
}
