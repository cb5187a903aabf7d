//! MOQT-14 §9.16.2: a joining FETCH ends where its subscription begins.

use crate::common::fetch::{LARGEST, join, joining, object, order, refusal, stream_header};
use crate::common::raw::RawPeer;
use crate::common::stage::Stage;
use crate::common::stream::{Incoming, object_bytes};
use crate::common::wire::code::PROTOCOL_VIOLATION;
use crate::common::wire::{Message, kind};
use crate::common::within;

const TRACK: (&str, &str) = ("live/cam1", "video");

/// Groups 0 and 1 with marked ends; group 2 goes on after two objects.
async fn three_groups() -> (Stage, quinn::SendStream, Incoming) {
    let stage = Stage::start(TRACK).await;
    for group in 0..2 {
        stage
            .stream("1c", &format!("0{group} 00 80  00 02 6161  00 02 6262"))
            .await;
    }
    let (stream, seen) = stage.begin_group(2, &[b"aa", b"bb"]).await;
    (stage, stream, seen)
}

fn from(group: u64) -> Vec<u8> {
    let places = (group..3).flat_map(|group| [(group, 0), (group, 1)]);
    places
        .flat_map(|place| object(place, if place.1 == 0 { b"aa" } else { b"bb" }))
        .collect()
}

/// V14-C29 and V14-C30.
/// D14-FETCH-11 D14-FETCH-12 D14-FETCH-13
#[tokio::test]
async fn relative_and_absolute() {
    let (stage, mut stream, mut seen) = three_groups().await;
    let mut client = stage.client().await;
    let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
    assert_eq!(client.expect_largest(subscription).await, (2, 1));
    let cases = [
        (join::RELATIVE, 0, 2),
        (join::RELATIVE, 1, 1),
        (join::RELATIVE, 2, 0),
        // A track has no groups before group 0.
        (join::RELATIVE, LARGEST, 0),
        (join::ABSOLUTE, 1, 1),
        (join::ABSOLUTE, 2, 2),
    ];
    for (how, start, first) in cases {
        let id = client.send_join(how, subscription, start).await;
        client.expect_fetch_ok(id, order::ASCENDING, 0, (2, 2)).await;
        let wanted = [stream_header(id), from(first)].concat();
        assert_eq!(
            client.whole_stream().await,
            Ok(wanted),
            "type {how}, start {start}"
        );
    }
    for start in [3, LARGEST] {
        let id = client.send_join(join::ABSOLUTE, subscription, start).await;
        assert_eq!(
            client.fetch_error(id).await,
            refusal::INVALID_RANGE,
            "start {start}"
        );
    }
    // The subscription goes on with the very next object.
    let next = object_bytes(b"cc");
    within("room on a stream", stream.write_all(&next))
        .await
        .expect("an open stream");
    assert_eq!(seen.object().await.expect("no reset").expect("an object").id, 2);
    let mut live = client.incoming().await;
    let got = live.object().await.expect("no reset").expect("an object");
    assert_eq!((got.id, got.payload.as_slice()), (2, b"cc".as_slice()));
    // And what was fetched ends at what SUBSCRIBE_OK said, not at what is largest by now.
    let id = client.send_join(join::RELATIVE, subscription, 0).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (2, 2)).await;
    assert_eq!(
        client.whole_stream().await,
        Ok([stream_header(id), from(2)].concat())
    );
}

/// SUBSCRIBE and the FETCH that joins it in one write, as players do.
/// D14-FETCH-14
#[tokio::test]
async fn sent_before_subscribe_ok() {
    let (stage, _stream, _seen) = three_groups().await;
    let mut client = stage.client().await;
    let (subscription, fetch) = (client.request_id(), client.request_id());
    let both = [
        subscribe(subscription, 2, &[]),
        joining(fetch, join::RELATIVE, subscription, 1),
    ];
    client.control.send(&both.concat()).await;
    assert_eq!(client.expect_largest(subscription).await, (2, 1));
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (2, 2)).await;
    let wanted = [stream_header(fetch), from(1)].concat();
    assert_eq!(client.whole_stream().await, Ok(wanted));
}

/// SUBSCRIBE with a filter and its fields.
fn subscribe(id: u64, filter: u64, fields: &[u64]) -> Vec<u8> {
    let message = Message::new(kind::SUBSCRIBE)
        .varint(id)
        .namespace(TRACK.0)
        .prefixed(TRACK.1.as_bytes())
        .byte(128)
        .byte(0)
        .byte(1)
        .varint(filter);
    let message = fields
        .iter()
        .fold(message, |message, field| message.varint(*field));
    message.varint(0).bytes()
}

/// D14-FETCH-11: whether SUBSCRIBE is answered already or not.
#[tokio::test]
async fn joining_another_filter_closes_the_session() {
    let (stage, _stream, _seen) = three_groups().await;
    let filters: &[(u64, &[u64])] = &[(1, &[]), (3, &[2, 0]), (4, &[2, 0, 9])];
    for (filter, fields) in filters {
        for answered in [false, true] {
            let mut client: RawPeer = stage.client().await;
            let (subscription, fetch) = (client.request_id(), client.request_id());
            client
                .control
                .send(&subscribe(subscription, *filter, fields))
                .await;
            if answered {
                assert_eq!(client.expect_largest(subscription).await, (2, 1));
            }
            client
                .control
                .send(&joining(fetch, join::RELATIVE, subscription, 0))
                .await;
            let what = format!("a FETCH that joins filter {filter}");
            client.expect_closed(&what, &[PROTOCOL_VIOLATION]).await;
        }
    }
    // The others did not notice.
    let mut client = stage.client().await;
    let id = client.send_fetch(TRACK, (1, 0), (1, 0), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (1, 0)).await;
}
