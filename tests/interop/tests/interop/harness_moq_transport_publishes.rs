//! The `moq-transport` publisher works against a scripted server, and puts on the wire what we believe it does.

use crate::common::moq::MoqPeer;
use crate::common::raw::RawPeer;
use crate::common::scripted::Scripted;
use crate::common::wire::{Message, hex, kind};
use crate::common::{payload, small_payload};

/// Accepts the announcement and subscribes as a relay would; returns the alias the crate chose.
async fn subscribe_to(server: &mut RawPeer) -> u64 {
    let announced = server.control.expect(kind::PUBLISH_NAMESPACE).await;
    let ok = Message::new(kind::PUBLISH_NAMESPACE_OK).varint(announced.request_id());
    server.control.send(&ok.bytes()).await;
    let id = server.send_subscribe("live/cam", "video").await;
    server.expect_subscribe_ok(id).await
}

/// D14-SETUP-17
#[tokio::test]
async fn streams() {
    let scripted = Scripted::bind();
    let (mut peer, (mut server, setup)) =
        tokio::join!(MoqPeer::connect(scripted.address), scripted.session());
    // One version, one parameter: MAX_REQUEST_ID 100. No PATH, no AUTHORITY ([D14-SETUP-17]).
    assert_eq!(setup.payload, hex("01c0000000ff00000e 01 024064"));
    let mut publisher = peer.announce("live/cam", "video");
    let alias = subscribe_to(&mut server).await;

    for group in 0..3 {
        publisher.object(group, &payload(group, 0));
        let mut stream = server.incoming().await;
        let header = stream.header().await.expect("no reset");
        assert_eq!(
            (header.kind, header.alias, header.group, header.subgroup),
            (0x15, alias, group, Some(0))
        );
        for object in 0..3 {
            if object > 0 {
                publisher.object(group, &payload(group, object));
            }
            let got = stream.object().await.expect("no reset").expect("an object");
            assert_eq!((got.id, got.extensions.len(), got.status), (object, 0, 0));
            assert_eq!(got.payload, payload(group, object).as_bytes());
        }
    }
    publisher.end();
    let done = server.control.expect(kind::PUBLISH_DONE).await;
    let mut fields = done.fields();
    // Request id, then status 0 and stream count 0 although three streams were opened.
    assert_eq!(
        (fields.varint(), fields.varint(), fields.varint()),
        (Some(1), Some(0), Some(0))
    );
    peer.assert_alive().await;
}

#[tokio::test]
async fn datagrams() {
    let scripted = Scripted::bind();
    let (mut peer, (mut server, _)) = tokio::join!(MoqPeer::connect(scripted.address), scripted.session());
    let mut publisher = peer.announce("live/cam", "video");
    let alias = subscribe_to(&mut server).await;
    for object in 0..5 {
        publisher.datagram(3, object, &small_payload(3, object));
        let got = server.next_datagram().await;
        assert_eq!(
            (got.alias, got.group, got.object, got.status),
            (alias, 3, object, None)
        );
        assert_eq!(got.payload, small_payload(3, object).as_bytes());
    }
    peer.assert_alive().await;
}

/// What the issue says of this crate: credit ends its session, so the relay must not send any while it can do without.
#[tokio::test]
async fn credit_ends_its_session() {
    let scripted = Scripted::bind();
    let (peer, (mut server, _)) = tokio::join!(MoqPeer::connect(scripted.address), scripted.session());
    // V14-C9.
    server.control.send(&hex("1500024100")).await;
    let end = peer.session_end().await;
    assert!(end.is_err(), "the session survived MAX_REQUEST_ID: {end:?}");
}

/// Nor may the relay ever use up the 50 requests that this crate grants a session: it does not bear being told so.
#[tokio::test]
async fn being_told_that_its_credit_is_used_up_ends_its_session() {
    let scripted = Scripted::bind();
    let (peer, (mut server, _)) = tokio::join!(MoqPeer::connect(scripted.address), scripted.session());
    // V14-C10.
    server.control.send(&hex("1a00024064")).await;
    let end = peer.session_end().await;
    assert!(end.is_err(), "the session survived REQUESTS_BLOCKED: {end:?}");
}
