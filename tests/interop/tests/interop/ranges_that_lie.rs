//! [D14-FETCH-20]: a FETCH may name any range; it costs what is there, not what it names.

use std::collections::BTreeMap;

use crate::common::bystander::Bystander;
use crate::common::fetch::{LARGEST, join, joining, order, places, refusal, standalone};
use crate::common::relay::Options;
use crate::common::stage::{ALIAS, Stage};
use crate::common::stream::header_bytes;
use crate::common::wire::{kind, put_varint};

const TRACK: (&str, &str) = ("live/cam1", "video");
/// FETCHes in one write. Half a window of request ids is 5,000.
const FLOOD: u64 = 4_000;
/// What a relay may grow by: state of the requests, windows of one connection, and room to spare.
const BOUND: u64 = 64 << 20;

/// Groups 0 to 3 of two objects, whose ends are marked.
async fn four_groups() -> Stage {
    let stage = Stage::publish(Options::default().patient().alone(), TRACK).await;
    for group in 0..4 {
        stage
            .stream("1c", &format!("0{group} 00 80  00 02 6161  00 02 6262"))
            .await;
    }
    stage
}

fn all() -> Vec<(u64, u64)> {
    (0..4).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

/// D14-FETCH-20 D14-FETCH-9 D14-FETCH-13
#[tokio::test]
async fn one_by_one() {
    let mut stage = four_groups().await;
    let before = stage.relay.resident_bytes();
    let mut bystander = Bystander::start(stage.relay.address).await;
    let mut client = stage.client().await;
    let attack = async {
        for asked in [order::ASCENDING, order::DESCENDING] {
            for end in [(LARGEST, 0), (LARGEST, LARGEST), (3, LARGEST), (4, 0)] {
                let id = client.send_fetch(TRACK, (0, 0), end, asked).await;
                client.expect_fetch_ok(id, asked, 0, (3, 2)).await;
                let mut got = places(&client.whole_stream().await.expect("no reset"));
                got.1.sort_unstable();
                assert_eq!(got, (id, all()), "{end:?}");
            }
            for start in [(LARGEST, 0), (LARGEST, LARGEST), (3, LARGEST), (3, 2)] {
                let id = client.send_fetch(TRACK, start, (LARGEST, LARGEST), asked).await;
                assert_eq!(client.fetch_error(id).await, refusal::INVALID_RANGE, "{start:?}");
            }
        }
        let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
        assert_eq!(client.expect_largest(subscription).await, (3, 1));
        let id = client.send_join(join::RELATIVE, subscription, LARGEST).await;
        client.expect_fetch_ok(id, order::ASCENDING, 0, (3, 2)).await;
        assert_eq!(
            places(&client.whole_stream().await.expect("no reset")),
            (id, all())
        );
        for (how, of, start, code) in [
            (join::ABSOLUTE, subscription, LARGEST, refusal::INVALID_RANGE),
            (
                join::ABSOLUTE,
                LARGEST,
                LARGEST,
                refusal::INVALID_JOINING_REQUEST_ID,
            ),
            (
                join::RELATIVE,
                LARGEST,
                LARGEST,
                refusal::INVALID_JOINING_REQUEST_ID,
            ),
        ] {
            let id = client.send_join(how, of, start).await;
            assert_eq!(client.fetch_error(id).await, code, "{of} {start}");
        }
        client.assert_served("still/here").await;
    };
    bystander.during(attack).await;
    let grown = stage.relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "grew by {grown} bytes");
    stage.relay.assert_running();
}

/// A track whose ids are far apart: the gap is one question to the publisher, whatever its size, and no memory.
/// D14-FETCH-6 D14-CACHE-7 D14-LIM-8
#[tokio::test]
async fn a_track_with_a_gap_of_2_to_the_61() {
    const FAR: u64 = 1 << 61;
    let mut stage = Stage::publish(Options::default().patient().alone(), TRACK).await;
    let before = stage.relay.resident_bytes();
    stage.stream("1c", "00 00 80  00 02 6161").await;
    let mut bytes = header_bytes(ALIAS, FAR, 0);
    put_varint(&mut bytes, FAR);
    bytes.extend_from_slice(&[2, 0x61, 0x61]);
    let mut stream = stage.publisher.open(&bytes).await;
    stream.finish().expect("an open stream");
    stage.watcher.incoming().await.subgroup().await.expect("no reset");
    let mut client = stage.client().await;
    for asked in [order::ASCENDING, order::DESCENDING] {
        let id = client.send_fetch(TRACK, (0, 0), (LARGEST, LARGEST), asked).await;
        if asked == order::ASCENDING {
            // Groups 1 to 2^61, of the last only what is before its one object.
            let hole = stage.publisher.fetch_asked(TRACK, (1, 0), (FAR, FAR)).await;
            stage.publisher.refuse_fetch(hole, refusal::NO_OBJECTS).await;
        }
        client.expect_fetch_ok(id, asked, 0, (FAR, FAR + 1)).await;
        let mut got = places(&client.whole_stream().await.expect("no reset"));
        got.1.sort_unstable();
        assert_eq!(got, (id, vec![(0, 0), (FAR, FAR)]));
    }
    let grown = stage.relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "grew by {grown} bytes");
}

/// Thousands of FETCHes in one write. Each has exactly one answer, an accepted one its stream, and nobody else waits.
/// D14-FETCH-20 D14-LIM-8
#[tokio::test]
async fn thousands_at_once() {
    let mut stage = four_groups().await;
    let mut bystander = Bystander::start(stage.relay.address).await;
    let mut client = stage.client().await;
    let subscription = client.send_subscribe(TRACK.0, TRACK.1).await;
    assert_eq!(client.expect_largest(subscription).await, (3, 1));
    let before = stage.relay.resident_bytes();
    let mut flood = Vec::new();
    // Whether objects may come of it.
    let mut open = BTreeMap::new();
    for n in 0..FLOOD {
        let id = client.request_id();
        let lie = match n % 5 {
            0 => standalone(id, TRACK, (0, 0), (LARGEST, 0), order::DESCENDING),
            1 => standalone(id, TRACK, (LARGEST, LARGEST), (LARGEST, 0), order::ASCENDING),
            2 => standalone(id, ("no/such", "track"), (0, 0), (LARGEST, LARGEST), 0),
            3 => joining(id, join::RELATIVE, LARGEST - 1, LARGEST),
            _ => joining(id, join::RELATIVE, subscription, LARGEST),
        };
        open.insert(id, matches!(n % 5, 0 | 4));
        flood.extend(lie);
    }
    let attack = async {
        let (mut accepted, mut refused) = (0_usize, 0_usize);
        client.control.send(&flood).await;
        while !open.is_empty() {
            let frame = client.control.frame().await;
            let id = frame.request_id();
            match frame.kind {
                kind::FETCH_OK => {
                    assert_eq!(open.remove(&id), Some(true), "FETCH_OK for {id}");
                    accepted += 1;
                }
                kind::FETCH_ERROR => {
                    assert!(open.remove(&id).is_some(), "a second answer to {id}");
                    refused += 1;
                }
                _ => assert_eq!(frame.kind, kind::MAX_REQUEST_ID, "{frame:x?}"),
            }
        }
        assert!(
            accepted >= 1,
            "of {FLOOD} FETCHes none was served, {refused} refused"
        );
        for _ in 0..accepted {
            let mut got = places(&client.whole_stream().await.expect("no reset"));
            got.1.sort_unstable();
            assert_eq!(got.1, all(), "{}", got.0);
        }
    };
    bystander.during(attack).await;
    client.assert_served("still/here").await;
    let grown = stage.relay.resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "grew by {grown} bytes");
    stage.relay.assert_running();
}
