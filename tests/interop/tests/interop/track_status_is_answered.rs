//! MOQT-14 §9.20 to §9.22: TRACK_STATUS is answered with what is known, and begins nothing.

use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::stage::Stage;
use crate::common::wire::{Message, hex, kind};

/// V14-C35 with the next request id.
async fn ask(peer: &mut RawPeer) -> u64 {
    let id = peer.request_id();
    let message = [
        &hex("0d0017")[..],
        &Message::new(0).varint(id).bytes()[3..],
        &hex("02046c6976650463616d3105766964656f8000010200"),
    ];
    peer.control.send(&message.concat()).await;
    id
}

/// V14-C36 with the request id replaced.
/// D14-SUB-28 D14-MSG-19 D14-MSG-20
#[tokio::test]
async fn with_the_largest_object_and_alias_0() {
    let stage = Stage::start(("live/cam1", "video")).await;
    let mut client = stage.client().await;
    let id = ask(&mut client).await;
    // Nothing published yet.
    let ok = client.control.expect(kind::TRACK_STATUS_OK).await;
    assert_eq!(ok.payload, hex(&format!("{id:02x} 00 00 01 00 00")));
    stage
        .stream("14", "0a 00 80  00 02 6161  00 02 6262  00 02 6363  00 02 6464")
        .await;
    let id = ask(&mut client).await;
    let ok = client.control.expect(kind::TRACK_STATUS_OK).await;
    assert_eq!(ok.payload, hex(&format!("{id:02x} 00 00 01 01 0a03 00")));
    // It made no subscription: objects go on, and none come here.
    stage.group(11, &[b"aa"]).await;
    client.assert_served("still/here").await;
    let came = tokio::select! {
        biased;
        _ = client.connection.accept_uni() => true,
        () = std::future::ready(()) => false,
    };
    assert!(!came, "objects without a subscription");
}

/// V14-C37's form.
/// D14-MSG-21
#[tokio::test]
async fn with_an_error_for_a_track_that_nobody_publishes() {
    let relay = Relay::start().await;
    let mut client = RawPeer::connect(relay.address).await;
    let id = ask(&mut client).await;
    let error = client.control.expect(kind::TRACK_STATUS_ERROR).await;
    let mut fields = error.fields();
    assert_eq!(
        (fields.varint(), fields.varint()),
        (Some(id), Some(4)),
        "TRACK_DOES_NOT_EXIST: {error:x?}"
    );
    assert!(
        fields.prefixed().is_some() && fields.rest().is_empty(),
        "{error:x?}"
    );
    client.assert_served("still/here").await;
}
