//! MOQT-14 §9.18: each reason to refuse a FETCH has its code on the wire, and costs nothing but the request.

use crate::common::fetch::{LARGEST, join, order, refusal};
use crate::common::raw::RawPeer;
use crate::common::relay::Relay;
use crate::common::stage::Stage;
use crate::common::wire::{Message, kind};

const TRACK: (&str, &str) = ("live/cam1", "video");

async fn refused(client: &mut RawPeer, start: (u64, u64), end: (u64, u64)) -> u64 {
    let id = client.send_fetch(TRACK, start, end, order::ASCENDING).await;
    client.fetch_error(id).await
}

/// D14-TERM-6 D14-MSG-17
#[tokio::test]
async fn a_track_that_nobody_publishes() {
    let relay = Relay::start().await;
    let mut client = RawPeer::connect(relay.address).await;
    assert_eq!(
        refused(&mut client, (0, 0), (0, 0)).await,
        refusal::TRACK_DOES_NOT_EXIST
    );
    client.assert_served("still/here").await;
}

/// D14-FETCH-7 D14-VAL-8
#[tokio::test]
async fn a_range_that_cannot_be() {
    let stage = Stage::start(TRACK).await;
    let mut client = stage.client().await;
    // Nothing published yet.
    assert_eq!(refused(&mut client, (0, 0), (0, 0)).await, refusal::INVALID_RANGE);
    stage.stream("1c", "05 00 80  00 02 6161  00 02 6262").await;
    let cases = [
        // The end before the start.
        ((5, 1), (4, 0)),
        ((5, 2), (5, 1)),
        // The start behind the largest object.
        ((5, 2), (5, 3)),
        ((6, 0), (6, 0)),
    ];
    for (start, end) in cases {
        let code = refused(&mut client, start, end).await;
        assert_eq!(code, refusal::INVALID_RANGE, "{start:?} {end:?}");
    }
    client.assert_served("still/here").await;
}

/// V14-D6: object {10, 10} says that groups 8 and 9, and objects 8 and 9 of its group, do not exist. The last range ends
/// where it starts: MOQT-14 §9.16.1, the end is one past the last object wanted.
/// D14-FETCH-7
#[tokio::test]
async fn a_range_without_objects() {
    let stage = Stage::start(TRACK).await;
    stage.stream("11", "0a80 0a 04 3c02 3e02 01 cc").await;
    let mut client = stage.client().await;
    for (start, end) in [((8, 0), (9, 0)), ((10, 8), (10, 10)), ((10, 10), (10, 10))] {
        let code = refused(&mut client, start, end).await;
        assert_eq!(code, refusal::NO_OBJECTS, "{start:?} {end:?}");
    }
}

/// D14-FETCH-11
#[tokio::test]
async fn a_subscription_that_is_not_there() {
    let stage = Stage::start(TRACK).await;
    stage.stream("1c", "05 00 80  00 02 6161").await;
    let mut client = stage.client().await;
    client.publish_namespace("request/zero").await;
    // An id of another request, one that was never used, one of the relay's parity, the watcher's in its own session.
    for (how, id) in [
        (join::RELATIVE, 0),
        (join::ABSOLUTE, 4242),
        (join::RELATIVE, 1),
        (join::ABSOLUTE, LARGEST),
    ] {
        let fetch = client.send_join(how, id, 0).await;
        let code = client.fetch_error(fetch).await;
        assert_eq!(code, refusal::INVALID_JOINING_REQUEST_ID, "{id}");
    }
    // One that is over.
    let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
    client.expect_subscribe_ok(subscription).await;
    let unsubscribe = Message::new(kind::UNSUBSCRIBE).varint(subscription);
    client.control.send(&unsubscribe.bytes()).await;
    let fetch = client.send_join(join::RELATIVE, subscription, 0).await;
    assert_eq!(
        client.fetch_error(fetch).await,
        refusal::INVALID_JOINING_REQUEST_ID
    );
    client.assert_served("still/here").await;
}

/// D14-FETCH-11
#[tokio::test]
async fn a_subscription_without_content() {
    let stage = Stage::start(TRACK).await;
    let mut client = stage.client().await;
    let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
    client.expect_subscribe_ok(subscription).await;
    // What comes later changes nothing: SUBSCRIBE_OK said that there was nothing.
    stage.stream("1c", "05 00 80  00 02 6161").await;
    for how in [join::RELATIVE, join::ABSOLUTE] {
        let fetch = client.send_join(how, subscription, 0).await;
        assert_eq!(client.fetch_error(fetch).await, refusal::INVALID_RANGE);
    }
}
