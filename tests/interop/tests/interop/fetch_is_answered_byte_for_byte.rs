//! MOQT-14 §9.16 to §9.18, §10.4.4: what a standalone FETCH is answered, byte by byte.

use crate::common::fetch::{Place, object, order, places, rest, stream_header};
use crate::common::stage::{ALIAS, Stage};
use crate::common::stream::Datagram;
use crate::common::wire::hex;
use crate::common::within;

const TRACK: (&str, &str) = ("live/cam1", "video");

/// V14-F1 to V14-F4 with the request id replaced by a blank to fill: start and end of the FETCH, the stream after its header.
const OBJECTS: &[(&str, Place, Place, &str)] = &[
    ("V14-F2", (3, 1), (3, 2), "0300018000026869"),
    ("V14-F3", (3, 2), (3, 3), "03000280070105010203040502796f"),
    ("V14-F4", (3, 3), (3, 4), "03000380000003"),
];

/// D14-FETCH-1 D14-FETCH-3 D14-DATA-19 D14-MSG-15 D14-MSG-16
#[tokio::test]
async fn the_vectors() {
    let stage = Stage::start(TRACK).await;
    // Objects 1 "hi", 2 "yo" with an extension of type 1, 3 END_OF_GROUP.
    stage
        .stream(
            "15",
            "03 00 80  01 00 02 6869  00 07 01050102030405 02 796f  00 00 00 03",
        )
        .await;
    let mut client = stage.client().await;
    for (vector, start, end, object) in OBJECTS {
        let id = client.send_fetch(TRACK, *start, *end, order::ASCENDING).await;
        client.expect_fetch_ok(id, order::ASCENDING, 0, *end).await;
        let wanted = [stream_header(id), hex(object)].concat();
        assert_eq!(client.whole_stream().await, Ok(wanted), "{vector}");
    }
    // The group is over: MOQT-14 §9.17 [D14-FETCH-9], its end is the group, and all three come on one stream.
    let id = client.send_fetch(TRACK, (3, 1), (3, 0), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (3, 0)).await;
    let all: Vec<u8> = OBJECTS.iter().flat_map(|(_, _, _, object)| hex(object)).collect();
    assert_eq!(client.whole_stream().await, Ok([stream_header(id), all].concat()));
}

/// V14-F5. MOQT-14 §10.4.4: what came as a datagram has its object id as subgroup id.
/// D14-FETCH-15
#[tokio::test]
async fn a_datagram_comes_on_the_stream() {
    let stage = Stage::start(TRACK).await;
    stage.publisher.datagram(&Datagram::bytes(ALIAS, 4, 7, &[0xee]));
    stage.watcher.next_datagram().await;
    let mut client = stage.client().await;
    let id = client.send_fetch(TRACK, (4, 7), (4, 8), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (4, 8)).await;
    let wanted = [stream_header(id), hex("04 07 07 80 00 01 ee")].concat();
    assert_eq!(client.whole_stream().await, Ok(wanted));
}

/// Groups 0 to 5 of two objects each, whose ends are marked; the last one ends the track if `last` says so.
async fn six_groups(last: bool) -> Stage {
    let stage = Stage::start(TRACK).await;
    for group in 0..5 {
        stage
            .stream("1c", &format!("0{group} 00 80  00 02 6161  00 02 6262"))
            .await;
    }
    let end = if last { "00 00 04" } else { "" };
    let kind = if last { "14" } else { "1c" };
    stage
        .stream(kind, &format!("05 00 80  00 02 6161  00 02 6262 {end}"))
        .await;
    stage
}

fn objects(places: &[(u64, u64)]) -> Vec<u8> {
    places
        .iter()
        .flat_map(|place| object(*place, if place.1 == 0 { b"aa" } else { b"bb" }))
        .collect()
}

/// What is asked for, the end that FETCH_OK says, and what comes.
type Case = (Place, Place, u8, Place, Vec<Place>);

/// MOQT-14 §9.16.1: {G, 0} is the whole group, {G, n} ends before object n. §9.16: whole groups in the order asked for,
/// objects always upwards.
/// D14-FETCH-3 D14-FETCH-4 D14-FETCH-9 D14-VAL-1
#[tokio::test]
async fn ranges_and_orders() {
    let stage = six_groups(false).await;
    let all: Vec<(u64, u64)> = (0..6).flat_map(|group| [(group, 0), (group, 1)]).collect();
    let down: Vec<(u64, u64)> = (0..6).rev().flat_map(|group| [(group, 0), (group, 1)]).collect();
    let (up, other, publisher) = (order::ASCENDING, order::DESCENDING, order::PUBLISHER);
    let cases: &[Case] = &[
        // V14-C28.
        ((0, 0), (5, 0), up, (5, 0), all.clone()),
        ((0, 0), (5, 0), publisher, (5, 0), all.clone()),
        ((0, 0), (5, 0), other, (5, 0), down),
        ((2, 0), (2, 0), up, (2, 0), vec![(2, 0), (2, 1)]),
        ((2, 0), (2, 1), up, (2, 1), vec![(2, 0)]),
        ((2, 1), (2, 2), up, (2, 2), vec![(2, 1)]),
        ((2, 1), (3, 1), up, (3, 1), vec![(2, 1), (3, 0)]),
        ((2, 1), (3, 1), other, (3, 1), vec![(3, 0), (2, 1)]),
        // Beyond the largest object: {Largest.Group, Largest.Object + 1}.
        ((5, 0), (9, 0), up, (5, 2), vec![(5, 0), (5, 1)]),
        ((5, 1), (5, 40), up, (5, 2), vec![(5, 1)]),
    ];
    let mut client = stage.client().await;
    for (start, end, asked, ends, wanted) in cases {
        let id = client.send_fetch(TRACK, *start, *end, *asked).await;
        // MOQT-14 §9.17 [D14-VAL-2]: the publisher's order is told as what it is.
        let said = if *asked == other { other } else { up };
        client.expect_fetch_ok(id, said, 0, *ends).await;
        let wanted = [stream_header(id), objects(wanted)].concat();
        assert_eq!(
            client.whole_stream().await,
            Ok(wanted),
            "{start:?} {end:?} order {asked}"
        );
    }
}

/// V14-C32's End Of Track: MOQT-14 §9.17, 1 only when the end is the last object of a track that is over.
/// D14-FETCH-9
#[tokio::test]
async fn the_end_of_the_track_is_said() {
    let stage = six_groups(true).await;
    let mut client = stage.client().await;
    let id = client.send_fetch(TRACK, (4, 0), (4, 0), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (4, 0)).await;
    let got = client.whole_stream().await.expect("no reset");
    assert_eq!(places(&got), (id, vec![(4, 0), (4, 1)]));

    let id = client.send_fetch(TRACK, (5, 0), (9, 0), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 1, (5, 3)).await;
    // {5, 2} is END_OF_TRACK itself: an object without payload of status 4.
    let end = hex("05 00 02 80 00 00 04");
    let wanted = [stream_header(id), objects(&[(5, 0), (5, 1)]), end].concat();
    assert_eq!(client.whole_stream().await, Ok(wanted));
}

/// MOQT-14 §9.19 (V14-C34): a FETCH_CANCEL in the middle of the objects resets the stream with CANCELLED.
/// D14-FETCH-16 D14-CLOSE-1
#[tokio::test]
async fn a_cancelled_fetch_is_reset() {
    let stage = Stage::start(TRACK).await;
    // More than the windows of a client that does not read.
    let big = vec![0x61; 1 << 20];
    let pieces: Vec<&[u8]> = std::iter::repeat_n(big.as_slice(), 16).collect();
    stage.group(0, &pieces).await;
    let mut client = stage.client().await;
    let id = client.send_fetch(TRACK, (0, 0), (0, 16), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (0, 16)).await;
    let accepted = within("the fetch stream", client.connection.accept_uni()).await;
    let mut stream = accepted.expect("an open connection");
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.expect("the header");
    assert_eq!(head[..], stream_header(id));
    client.cancel_fetch(id).await;
    assert_eq!(rest(stream).await, Err(1), "CANCELLED");
    // It is over for the relay too: another one of the same range is served as ever.
    let id = client.send_fetch(TRACK, (0, 0), (0, 1), order::ASCENDING).await;
    client.expect_fetch_ok(id, order::ASCENDING, 0, (0, 1)).await;
    let wanted = [stream_header(id), object((0, 0), &big)].concat();
    assert_eq!(client.whole_stream().await, Ok(wanted));
}
