//! MOQT-14 §9.16.3: what the relay does not know it asks of the publisher, by a FETCH of its own.

use crate::common::fetch::{self, join, object, order, places, refusal, stream_header};
use crate::common::raw::RawPeer;
use crate::common::stage::Stage;
use crate::common::wire::code::PROTOCOL_VIOLATION;
use crate::common::wire::{Message, kind};
use crate::common::within;

const TRACK: (&str, &str) = ("live/cam1", "video");

/// A publisher whose objects up to {4, 1} were there before the relay; group 5 the relay has.
async fn late_relay() -> Stage {
    let stage = Stage::announce(TRACK, (4, 1)).await;
    stage.stream("1c", "05 00 80  00 02 6161  00 02 6262").await;
    stage
}

/// As a publisher: FETCH_OK, and a fetch stream with FIN.
async fn serve(publisher: &mut RawPeer, id: u64, end: (u64, u64), objects: &[u8]) {
    let ok = fetch::ok(id, order::ASCENDING, 0, end);
    publisher.control.send(&ok.bytes()).await;
    let bytes = [&stream_header(id)[..], objects].concat();
    let mut stream = publisher.open(&bytes).await;
    stream.finish().expect("an open stream");
}

/// The relay's FETCH is byte for byte what it should be, and what it brings comes merged with what was there.
/// D14-FETCH-6 D14-FETCH-17 D14-MSG-15 D14-DATA-19
#[tokio::test]
async fn for_what_was_before_it() {
    let mut stage = late_relay().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (3, 1), (5, 0), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (3, 1), (4, 0)).await;
    assert_eq!(asked % 2, 1, "a request of the server");
    // Groups 3 and 4, the latter without an object 1.
    let brought = [object((3, 1), b"bb"), object((4, 0), b"aa")].concat();
    serve(&mut stage.publisher, asked, (4, 0), &brought).await;
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (5, 0)).await;
    let had = [object((5, 0), b"aa"), object((5, 1), b"bb")].concat();
    let wanted = [stream_header(fetch), brought, had].concat();
    assert_eq!(client.whole_stream().await, Ok(wanted.clone()));
    // It is kept: the same again, though the publisher would not answer a second time.
    let fetch = client.send_fetch(TRACK, (3, 1), (5, 0), order::ASCENDING).await;
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (5, 0)).await;
    let got = client.whole_stream().await.expect("no reset");
    assert_eq!(got[2..], wanted[2..]);
}

/// D14-FETCH-7
#[tokio::test]
async fn the_publishers_no_objects_is_the_relays() {
    let mut stage = late_relay().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (2, 0), (3, 0), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (2, 0), (3, 0)).await;
    stage.publisher.refuse_fetch(asked, refusal::NO_OBJECTS).await;
    assert_eq!(client.fetch_error(fetch).await, refusal::NO_OBJECTS);
}

/// D14-FETCH-16: a FETCH_CANCEL travels on, when nobody else wants the objects.
#[tokio::test]
async fn until_nobody_wants_it() {
    let mut stage = late_relay().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (3, 0), (4, 0), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (3, 0), (4, 0)).await;
    let mut half = stage
        .publisher
        .open(&[stream_header(asked), object((3, 0), b"aa")].concat())
        .await;
    let incoming = within("the fetch stream", client.connection.accept_uni())
        .await
        .expect("an open connection");
    client.cancel_fetch(fetch).await;
    let cancelled = stage.publisher.control.expect(kind::FETCH_CANCEL).await;
    assert_eq!(cancelled.request_id(), asked);
    assert_eq!(fetch::rest(incoming).await, Err(1), "CANCELLED");
    drop(half.reset(1_u32.into()));
    client.assert_served("still/here").await;
    stage.publisher.assert_served("here/too").await;
}

/// D14-FETCH-5 D14-FETCH-6 D14-CLOSE-1: what stays unknown is never given out as not existing.
#[tokio::test]
async fn and_a_reset_is_no_end() {
    let mut stage = late_relay().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (4, 0), (5, 0), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (4, 0), (4, 0)).await;
    let bytes = [stream_header(asked), object((4, 0), b"aa")].concat();
    let mut half = stage.publisher.open(&bytes).await;
    let mut incoming = within("the fetch stream", client.connection.accept_uni())
        .await
        .expect("an open connection");
    // What came is passed on at once.
    let wanted = [stream_header(fetch), object((4, 0), b"aa")].concat();
    let mut got = vec![0; wanted.len()];
    within("objects", incoming.read_exact(&mut got))
        .await
        .expect("objects");
    assert_eq!(got, wanted);
    half.reset(0_u32.into()).expect("an open stream");
    stage.publisher.refuse_fetch(asked, refusal::INTERNAL_ERROR).await;
    let end = fetch::rest(incoming).await;
    assert!(end.is_err(), "a broken fetch ended with FIN: {end:x?}");
}

/// D14-VAL-12: a publisher that says an end before the start breaks the rules of the session.
#[tokio::test]
async fn an_end_before_the_start_closes_the_session() {
    let mut stage = late_relay().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (3, 1), (4, 0), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (3, 1), (4, 0)).await;
    let ok = fetch::ok(asked, order::ASCENDING, 0, (2, 5));
    stage.publisher.control.send(&ok.bytes()).await;
    stage
        .publisher
        .expect_closed("FETCH_OK before the start", &[PROTOCOL_VIOLATION])
        .await;
    client.fetch_error(fetch).await;
    client.assert_served("still/here").await;
}

/// Groups 0 and 1 of two objects whose ends are not marked, and group 2 that goes on.
async fn unmarked() -> (Stage, impl Sized) {
    let stage = Stage::start(TRACK).await;
    for group in 0..2 {
        stage.group(group, &[b"aa", b"bb"]).await;
    }
    let open = stage.begin_group(2, &[b"aa", b"bb"]).await;
    (stage, open)
}

fn all() -> Vec<u8> {
    let places = (0..3).flat_map(|group| [(group, 0), (group, 1)]);
    places
        .flat_map(|place| object(place, if place.1 == 0 { b"aa" } else { b"bb" }))
        .collect()
}

/// Compatibility rule `UpstreamCannotFetch`: a publisher that cannot answer FETCH has said where a group ends when all its
/// streams ended and a newer group began.
/// D14-FETCH-6 D14-FETCH-12
#[tokio::test]
async fn a_publisher_that_cannot_fetch() {
    let (mut stage, _open) = unmarked().await;
    let mut client = stage.client().await;
    let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
    assert_eq!(client.expect_largest(subscription).await, (2, 1));
    let fetch = client.send_join(join::RELATIVE, subscription, 2).await;
    for group in 0..2 {
        let asked = stage.publisher.fetch_asked(TRACK, (group, 2), (group, 0)).await;
        stage.publisher.refuse_fetch(asked, refusal::NOT_SUPPORTED).await;
    }
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (2, 2)).await;
    assert_eq!(
        client.whole_stream().await,
        Ok([stream_header(fetch), all()].concat())
    );
}

/// The rule ends no group that lacks an object: that response is an error, and its stream no FIN.
/// D14-FETCH-5 D14-FETCH-6
#[tokio::test]
async fn a_publisher_that_cannot_fetch_and_left_a_hole() {
    let stage = Stage::start(TRACK).await;
    let mut stage = stage;
    // Objects 0 and 2; object 1 may be on another subgroup.
    stage.stream("14", "00 00 80  00 02 6161  01 02 6363").await;
    let _open = stage.begin_group(1, &[b"aa"]).await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (0, 1), (0, 3), order::ASCENDING).await;
    let asked = stage.publisher.fetch_asked(TRACK, (0, 1), (0, 2)).await;
    stage.publisher.refuse_fetch(asked, refusal::NOT_SUPPORTED).await;
    let code = client.fetch_error(fetch).await;
    assert_eq!(code, refusal::UNKNOWN_STATUS_IN_RANGE);

    let fetch = client.send_fetch(TRACK, (0, 0), (0, 3), order::ASCENDING).await;
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (0, 3)).await;
    let asked = stage.publisher.fetch_asked(TRACK, (0, 1), (0, 2)).await;
    stage.publisher.refuse_fetch(asked, refusal::NOT_SUPPORTED).await;
    let end = client.whole_stream().await;
    assert!(
        end.is_err(),
        "a hole was given out as absent: {:?}",
        end.map(|got| places(&got))
    );
    let still = Message::new(kind::FETCH_CANCEL).varint(fetch);
    client.control.send(&still.bytes()).await;
    client.assert_served("still/here").await;
}

/// A publisher that does not even say that it cannot: silence is waited for, then taken for the same answer.
/// D14-FETCH-6
#[tokio::test]
async fn a_publisher_that_never_answers_a_fetch() {
    let (mut stage, _open) = unmarked().await;
    let mut client = stage.client().await;
    let fetch = client.send_fetch(TRACK, (0, 0), (2, 2), order::ASCENDING).await;
    client.expect_fetch_ok(fetch, order::ASCENDING, 0, (2, 2)).await;
    assert_eq!(
        client.whole_stream().await,
        Ok([stream_header(fetch), all()].concat())
    );
    // It was asked once, for group 0: whoever is silent is not waited for again while it stays so.
    let asked = stage.publisher.fetch_asked(TRACK, (0, 2), (0, 0)).await;
    let cancelled = stage.publisher.control.expect(kind::FETCH_CANCEL).await;
    assert_eq!(cancelled.request_id(), asked);
    stage.publisher.assert_served("still/here").await;
}
