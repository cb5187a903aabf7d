//! MOQT-14 §6, §9.23 to §9.31: what a watcher of a prefix is told, and what it is no longer told, byte by byte.

use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::stream::Subgroup;
use crate::common::wire::{Frame, Message, hex, kind};

/// V14-C41.
const DONE: &str = "09000b02046c6976650463616d31";
/// V14-C46.
const UNSUBSCRIBE: &str = "14000601046c697665";
/// ("live", "cam1"), as V14-C41 has it.
const LIVE_CAM1: &str = "02046c6976650463616d31";

fn frame(bytes: &[u8]) -> Frame {
    Frame::take(&mut bytes.into()).expect("a whole message")
}

/// V14-C43 with this prefix, and V14-C44.
async fn watch(peer: &mut RawPeer, prefix: &str) {
    let id = send_watch(peer, prefix).await;
    let ok = peer.control.expect(kind::SUBSCRIBE_NAMESPACE_OK).await;
    assert_eq!(
        ok.payload,
        Message::new(0).varint(id).bytes()[3..],
        "SUBSCRIBE_NAMESPACE_OK"
    );
}

async fn send_watch(peer: &mut RawPeer, prefix: &str) -> u64 {
    let id = peer.request_id();
    let message = Message::new(kind::SUBSCRIBE_NAMESPACE)
        .varint(id)
        .namespace(prefix)
        .varint(0);
    peer.control.send(&message.bytes()).await;
    id
}

/// V14-C38's form for ("live", "cam1") by the relay; it is accepted (V14-C39).
async fn hear_live_cam1(watcher: &mut RawPeer) {
    let told = watcher.control.expect(kind::PUBLISH_NAMESPACE).await;
    let id = told.request_id();
    assert_eq!(id % 2, 1, "a request of the server");
    let wanted = [&Message::new(0).varint(id).bytes()[3..], &hex(LIVE_CAM1), &[0]].concat();
    assert_eq!(told.payload, wanted, "PUBLISH_NAMESPACE");
    let ok = Message::new(kind::PUBLISH_NAMESPACE_OK).varint(id);
    watcher.control.send(&ok.bytes()).await;
}

/// D14-NS-1 D14-NS-2 D14-NS-9 D14-NS-15 D14-MSG-6 D14-MSG-9
#[tokio::test]
async fn announcements_come_and_go() {
    let relay = Relay::start().await;
    let mut early = RawPeer::connect(relay.address).await;
    watch(&mut early, "live").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace("live/cam1").await;
    hear_live_cam1(&mut early).await;
    // MOQT-14 §9.28: who comes later is told what there is.
    let mut late = RawPeer::connect(relay.address).await;
    watch(&mut late, "live/cam1").await;
    hear_live_cam1(&mut late).await;
    publisher.control.send(&hex(DONE)).await;
    for watcher in [&mut early, &mut late] {
        let done = watcher.control.expect(kind::PUBLISH_NAMESPACE_DONE).await;
        assert_eq!(done, frame(&hex(DONE)));
    }
    // And once more, by a publisher that says nothing when it leaves. D14-NS-13
    let leaver = {
        let mut leaver = RawPeer::connect(relay.address).await;
        leaver.publish_namespace("live/cam1").await;
        leaver
    };
    for watcher in [&mut early, &mut late] {
        hear_live_cam1(watcher).await;
    }
    leaver.connection.close(0_u32.into(), b"");
    for watcher in [&mut early, &mut late] {
        let done = watcher.control.expect(kind::PUBLISH_NAMESPACE_DONE).await;
        assert_eq!(done, frame(&hex(DONE)));
    }
}

/// D14-NS-5: by whole fields. ("live", "cam1") is not below ("liv"), nor below ("live", "cam").
#[tokio::test]
async fn only_below_the_prefix() {
    let relay = Relay::start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    let mut other = RawPeer::connect(relay.address).await;
    for prefix in ["liv", "live/cam", "live/cam1/x", "cam1"] {
        watch(&mut other, prefix).await;
    }
    watch(&mut watcher, "live").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace("live/cam1").await;
    hear_live_cam1(&mut watcher).await;
    publisher.publish_namespace("cam1").await;
    // The first that the other hears is what is below its prefix.
    let told = other.control.expect(kind::PUBLISH_NAMESPACE).await;
    let mut fields = told.fields();
    fields.varint().expect("Request ID");
    assert_eq!(fields.tuple(), Some(vec![b"cam1".to_vec()]));
}

/// V14-C45: equal to, a prefix of, and below an active one; another session may watch what it likes.
/// D14-NS-4 D14-MSG-28
#[tokio::test]
async fn overlapping_prefixes_are_refused() {
    let relay = Relay::start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    watch(&mut watcher, "live/cam1").await;
    for prefix in ["live/cam1", "live", "live/cam1/video"] {
        let id = send_watch(&mut watcher, prefix).await;
        let error = watcher.control.expect(kind::SUBSCRIBE_NAMESPACE_ERROR).await;
        let mut fields = error.fields();
        assert_eq!(
            (fields.varint(), fields.varint()),
            (Some(id), Some(5)),
            "{prefix}: {error:x?}"
        );
        assert!(
            fields.prefixed().is_some() && fields.rest().is_empty(),
            "{error:x?}"
        );
    }
    watch(&mut watcher, "live/cam2").await;
    watch(&mut RawPeer::connect(relay.address).await, "live").await;
    // An ended one is no longer in the way.
    watcher.control.send(&hex("14000b 02046c6976650463616d31")).await;
    watch(&mut watcher, "live/cam1/video").await;
}

/// D14-NS-10 D14-MSG-29
#[tokio::test]
async fn who_unsubscribes_hears_no_more() {
    let relay = Relay::start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    let mut witness = RawPeer::connect(relay.address).await;
    watch(&mut watcher, "live").await;
    watch(&mut witness, "live").await;
    watcher.control.send(&hex(UNSUBSCRIBE)).await;
    // Its answer comes after UNSUBSCRIBE_NAMESPACE was read.
    watcher.publish_namespace("elsewhere").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.publish_namespace("live/cam1").await;
    publisher.send_publish("live/cam1", "video", 7).await;
    hear_live_cam1(&mut witness).await;
    witness.control.expect(kind::PUBLISH).await;
    // Nothing but this answer.
    watcher.publish_namespace("elsewhere/too").await;
}

/// V14-C23 and V14-C25: PUBLISH is passed on, and objects flow when it is accepted.
/// D14-NS-8 D14-SUB-27 D14-MSG-12
#[tokio::test]
async fn tracks_are_offered() {
    let relay = Options::default()
        .env("LAPS_SUBSCRIBE__DAMPEN_MS", 10)
        .start()
        .await;
    let mut watcher = RawPeer::connect(relay.address).await;
    watch(&mut watcher, "live").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    let upstream = publisher.send_publish("live/cam1", "video", 7).await;
    // Nobody has accepted it yet.
    assert_eq!(publisher.expect_publish_ok(upstream).await, 0);
    let offer = watcher.control.expect(kind::PUBLISH).await;
    let mut fields = offer.fields();
    let id = fields.varint().expect("Request ID");
    assert_eq!(id % 2, 1, "a request of the server");
    let name = hex(&format!("{LIVE_CAM1} 05766964656f"));
    assert_eq!(fields.take(name.len()), Some(name.as_slice()));
    let alias = fields.varint().expect("Track Alias");
    // Ascending, no content, Forward 1, no parameters.
    assert_eq!(fields.rest(), hex("01 00 01 00"));
    // V14-C25: Forward 1, priority 128, ascending, Largest Object.
    let accept = Message::new(kind::PUBLISH_OK)
        .varint(id)
        .byte(1)
        .byte(128)
        .byte(1)
        .varint(2)
        .varint(0);
    watcher.control.send(&accept.bytes()).await;
    let update = publisher.control.expect(kind::SUBSCRIBE_UPDATE).await;
    assert_eq!(update.payload.len(), 8, "{update:x?}");
    assert_eq!(update.payload[1], u8::try_from(upstream).expect("a small id"));
    assert_eq!(update.payload[6..], [1, 0], "Forward 1, no parameters");
    let sent = hex("1c 07 02 00 80  00 02 6161  00 02 6262");
    publisher.open(&sent).await.finish().expect("an open stream");
    let mut incoming = watcher.incoming().await;
    assert_eq!(incoming.header().await.expect("no reset").alias, alias);
    assert_eq!(
        incoming.subgroup().await.expect("no reset"),
        Subgroup::parse(&sent)
    );
    publisher.publish_done(upstream, 1).await;
    let done = watcher.control.expect(kind::PUBLISH_DONE).await;
    let mut fields = done.fields();
    assert_eq!(
        (fields.varint(), fields.varint(), fields.varint()),
        (Some(id), Some(2), Some(1)),
        "{done:x?}"
    );
}

/// V14-C27: a watcher that does not want a track loses nothing else.
/// D14-SUB-27
#[tokio::test]
async fn an_offer_may_be_refused() {
    let relay = Relay::start().await;
    let mut watcher = RawPeer::connect(relay.address).await;
    watch(&mut watcher, "live").await;
    let mut publisher = RawPeer::connect(relay.address).await;
    publisher.send_publish("live/cam1", "video", 7).await;
    let offer = watcher.control.expect(kind::PUBLISH).await.request_id();
    let refuse = Message::new(0x1f).varint(offer).varint(4).prefixed(b"no subs");
    watcher.control.send(&refuse.bytes()).await;
    publisher.send_publish("live/cam1", "audio", 8).await;
    let offer = watcher.control.expect(kind::PUBLISH).await;
    let mut fields = offer.fields();
    fields.varint().expect("Request ID");
    fields.tuple().expect("Track Namespace");
    assert_eq!(fields.prefixed(), Some(b"audio".as_slice()));
    watcher.assert_served("still/here").await;
}
