//! SUBSCRIBE and a joining FETCH of the current group, at every byte of it: between them they bring each object of the
//! group once and whole. MOQT-14 §9.16.2.

use crate::live_edge::origin;
use crate::reader::Reader;
use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::subscribe::GroupOrder;
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
use laps_protocol::relay::track_log::{Append, Limits, Past, PastCursor, PastRange, StreamEnd, TrackLog};
use proptest::prelude::*;
use std::collections::BTreeMap;

const GROUP: u64 = 8;

/// A group whose ids go round its subgroups, each object with the payload length given; payload comes byte by byte.
fn streams(lens: &[usize], subgroups: usize) -> Vec<Vec<Append>> {
    (0..subgroups)
        .map(|subgroup| {
            let stream = subgroup as u64;
            let mut chunks = vec![Append::SubgroupOpened {
                stream,
                group: GROUP,
                subgroup: stream,
                priority: 128,
                has_extensions: false,
                end_of_group: false,
            }];
            for (id, &len) in lens.iter().enumerate().skip(subgroup).step_by(subgroups) {
                chunks.push(Append::ObjectStarted {
                    stream,
                    header: ObjectHeader {
                        id: id as u64,
                        status: ObjectStatus::Normal,
                        extensions: Bytes::new(),
                        payload_len: len as u64,
                    },
                });
                let byte = |i| Bytes::from(vec![u8::try_from((id * 16 + i) % 256).unwrap()]);
                chunks.extend((0..len).map(|i| Append::Payload {
                    stream,
                    bytes: byte(i),
                }));
            }
            chunks.push(Append::SubgroupClosed {
                stream,
                end: StreamEnd::Fin,
            });
            chunks
        })
        .collect()
}

/// All streams open first, then in any order that keeps each stream's own.
fn interleave(streams: Vec<Vec<Append>>, picks: &[usize]) -> Vec<Append> {
    let mut streams: Vec<_> = streams.into_iter().map(Vec::into_iter).collect();
    let mut script: Vec<_> = streams.iter_mut().filter_map(Iterator::next).collect();
    let mut picks = picks.iter().cycle();
    while !streams.is_empty() {
        let pick = picks.next().unwrap() % streams.len();
        match streams[pick].next() {
            Some(chunk) => script.push(chunk),
            None => drop(streams.remove(pick)),
        }
    }
    script
}

fn joined(script: &[Append], join: usize, lens: &[usize], budgets: &mut impl Iterator<Item = usize>) {
    let now = origin();
    let mut log = TrackLog::new(Limits::default());
    for chunk in &script[..join] {
        log.append(now, chunk.clone());
    }
    let Some(largest) = log.largest() else { return };
    // MOQT-14 §9.16.2.1 [D14-FETCH-12] [D14-FETCH-13]
    let range = PastRange::new(
        Location::new(largest.group, 0),
        Location::new(largest.group, largest.object + 1),
    );
    let mut fetch = PastCursor::new(range.unwrap(), GroupOrder::Ascending);
    let mut subscription = Reader::attach(&log, join);
    let mut fetched: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut over = false;
    let mut read = |log: &TrackLog, steps: usize| {
        for _ in 0..steps {
            match log.read_past(now, &mut fetch) {
                Past::Object { header, .. } => fetched.push((header.location.object, Vec::new())),
                Past::Payload(bytes) => fetched.last_mut().unwrap().1.extend_from_slice(&bytes),
                Past::Arriving => break,
                Past::End => {
                    over = true;
                    break;
                }
                // The publisher keeps everything, so there is nothing that upstream could tell.
                end @ (Past::Unknown(_) | Past::Broken) => panic!("{end:?} at join {join}"),
            }
        }
    };
    for chunk in &script[join..] {
        read(&log, budgets.next().unwrap());
        subscription.poll(&log, budgets.next().unwrap());
        log.append(now, chunk.clone());
    }
    read(&log, usize::MAX);
    subscription.drain(&log);
    assert!(over, "join {join}: the fetch does not end");
    assert!(fetched.is_sorted_by_key(|(id, _)| *id));
    let mut all: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let live = subscription.seen().into_iter().flat_map(|seen| seen.objects);
    // MOQT-14 §9.7 [D14-SUB-6]: the subscription begins behind Largest.
    let live = live
        .map(|got| (got.id, got.payload))
        .filter(|(id, _)| *id > largest.object);
    for (id, payload) in fetched.into_iter().chain(live) {
        assert!(
            all.insert(id, payload).is_none(),
            "join {join}: object {id} twice"
        );
    }
    let expected: BTreeMap<_, _> = lens
        .iter()
        .enumerate()
        .map(|(id, &len)| {
            (
                id as u64,
                (0..len)
                    .map(|i| u8::try_from((id * 16 + i) % 256).unwrap())
                    .collect(),
            )
        })
        .collect();
    assert_eq!(all, expected, "join {join}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// D14-FETCH-5 D14-FETCH-12 D14-FETCH-13 D14-SUB-6 D14-DATA-22
    #[test]
    fn a_late_joiner_gets_every_object_once(
        lens in prop::collection::vec(0usize..7, 1..12),
        subgroups in prop_oneof![Just(1usize), Just(3)],
        picks in prop::collection::vec(any::<usize>(), 1..40),
        budgets in prop::collection::vec(0usize..4, 1..20),
    ) {
        let script = interleave(streams(&lens, subgroups), &picks);
        let mut budgets = budgets.into_iter().cycle();
        for join in 0..=script.len() {
            joined(&script, join, &lens, &mut budgets);
        }
    }
}
