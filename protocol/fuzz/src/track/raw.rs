//! Chunks of any kind in any order, as streams and datagrams of a publisher that keeps to no rule come to a log.

use crate::downstream::{Begin, Subscription};
use crate::feed::Feed;
use crate::wire::Wire;
use bytes::Bytes;
use laps_protocol::moqt::data::StreamItem;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::moqt::object::{
    FetchObjectHeader, ObjectHeader, ObjectStatus, SubgroupHeader, SubgroupIdMode,
};
use laps_protocol::relay::behind::{Policy, SkipRules};
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::merge::{Merge, MergeLimits, PublisherKey};
use laps_protocol::relay::track_log::{
    Append, Appended, Fill, FillEnd, FillKey, Limits, LogDatagram, Past, PastCursor, PastRange, StreamEnd,
    TrackLog,
};
use std::time::Duration;

const STATUSES: [ObjectStatus; 4] = [
    ObjectStatus::Normal,
    ObjectStatus::DoesNotExist,
    ObjectStatus::EndOfGroup,
    ObjectStatus::EndOfTrack,
];

/// Extension blocks that say something, and some that must not be.
const BLOCKS: [&[u8]; 8] = [
    &[],
    &[],
    &[0x3c, 1],
    &[0x3e, 1],
    &[0x3e, 2, 0x3c, 0],
    &[0x0b, 2, 0x3e, 1],
    &[0x20, 9],
    &[0x3c, 1, 0x3c, 1],
];

fn header(feed: &mut Feed<'_>) -> ObjectHeader {
    let status = if feed.u8() < 200 {
        ObjectStatus::Normal
    } else {
        STATUSES[feed.below(4)]
    };
    let payload_len = match (status, feed.u8()) {
        (ObjectStatus::Normal, len @ 0..=253) => u64::from(len % 32),
        (ObjectStatus::Normal, _) => feed.number(),
        _ => 0,
    };
    let block = if status == ObjectStatus::DoesNotExist {
        &[]
    } else {
        BLOCKS[feed.below(BLOCKS.len())]
    };
    let id = match feed.u8() {
        small @ 0..=247 => u64::from(small % 9),
        _ => feed.number(),
    };
    ObjectHeader {
        id,
        status,
        extensions: Bytes::from_static(block),
        payload_len,
    }
}

fn group(feed: &mut Feed<'_>) -> u64 {
    match feed.u8() {
        small @ 0..=249 => u64::from(small % 5),
        _ => feed.number(),
    }
}

/// A log that is fed whatever comes.
pub(crate) fn chunks(data: &[u8]) {
    let mut feed = Feed::new(data);
    let limits = Limits {
        max_bytes: [1 << 20, 0, 1_000, 3_000][feed.below(4)],
        max_age: Duration::from_secs([60, 1][feed.below(2)]),
        max_groups: [100, 1, 3][feed.below(3)],
        max_object: [1 << 20, 10][feed.below(2)],
    };
    let mut log = TrackLog::new(limits);
    if feed.u8() % 4 == 3 {
        log.set_max_cache(Some(Duration::from_millis(u64::from(feed.u8()) * 20)));
        assert!(log.max_cache().is_some());
    }
    let mut merge = Merge::new(MergeLimits {
        max_stream_bytes: 500,
        max_bytes: 900,
    });
    let mut now = crate::base();
    let rules = SkipRules {
        all: feed.flag(),
        below: Vec::new(),
        max_wait: Some(Duration::from_millis(200)),
    };
    let name = crate::messages::track(&mut Feed::new(&[]));
    let timeout = feed.flag().then_some(Duration::from_millis(500));
    let policy = rules.policy(name.namespace(), timeout.is_some());
    assert_eq!(policy == Policy::NewestGroup, rules.all || timeout.is_some());
    let begin = |start, max_behind, policy, timeout| Begin {
        request: RequestId(start),
        alias: start,
        filter: ResolvedFilter {
            start: Location::new(start, 0),
            end_group: (start > 0).then_some(start + 1),
        },
        forward: true,
        priority: 1,
        policy,
        max_behind,
        max_wait: rules.max_wait(name.namespace()),
        timeout,
    };
    let mut readers = [
        (
            Subscription::new(begin(0, u64::MAX, Policy::NewestGroup, None), &log),
            Wire::new(usize::MAX, usize::MAX),
        ),
        (
            Subscription::new(begin(0, 60, policy, timeout), &log),
            Wire::new(40, 2),
        ),
        (
            Subscription::new(begin(2, 60, Policy::End, None), &log),
            Wire::new(40, 2),
        ),
    ];
    let mut open: Vec<(u64, SubgroupHeader, u64)> = Vec::new();
    let mut next_key = 0;
    let mut fills: Vec<(FillKey, u64)> = Vec::new();
    let mut cursor: Option<PastCursor> = None;
    let mut steps = 0;
    while !feed.is_over() && steps < 300 {
        steps += 1;
        let from = PublisherKey(u64::from(feed.u8() % 3));
        let mut batch = Vec::new();
        match feed.u8() {
            0..=40 => {
                let mode = [
                    SubgroupIdMode::Zero,
                    SubgroupIdMode::FirstObject,
                    SubgroupIdMode::Explicit(1),
                ];
                let stream = SubgroupHeader {
                    alias: 0,
                    group: group(&mut feed),
                    subgroup: mode[feed.below(3)],
                    priority: 100 + feed.u8() / 250,
                    has_extensions: true,
                    end_of_group: feed.u8() % 4 == 3,
                };
                open.push((next_key, stream, 0));
                let mut chunks = SubgroupChunks::new(next_key, stream);
                next_key += 1;
                let first = header(&mut feed);
                open.last_mut().unwrap().2 = first.payload_len;
                chunks.push(StreamItem::Object(first), &mut batch);
            }
            41..=110 if !open.is_empty() => {
                let at = feed.below(open.len());
                let next = header(&mut feed);
                open[at].2 = next.payload_len;
                batch.push(Append::ObjectStarted {
                    stream: open[at].0,
                    header: next,
                });
            }
            111..=180 if !open.is_empty() => {
                let at = feed.below(open.len());
                let len = usize::from(feed.u8() % 33);
                let bytes = Bytes::from(vec![feed.u8() % 3; len]);
                batch.push(Append::Payload {
                    stream: open[at].0,
                    bytes,
                });
            }
            181..=205 if !open.is_empty() => {
                let at = feed.below(open.len());
                let end = if feed.flag() {
                    StreamEnd::Fin
                } else {
                    StreamEnd::Reset(ResetCode::Cancelled)
                };
                batch.push(Append::SubgroupClosed {
                    stream: open.remove(at).0,
                    end,
                });
            }
            206..=217 => {
                let header = header(&mut feed);
                batch.push(Append::Datagram(LogDatagram {
                    location: Location::new(group(&mut feed), header.id),
                    priority: 3,
                    extensions: header.extensions,
                    end_of_group: feed.u8() % 8 == 7 && header.status == ObjectStatus::Normal,
                    status: header.status,
                    payload: if header.status == ObjectStatus::Normal {
                        feed.bytes(20)
                    } else {
                        Bytes::new()
                    },
                }));
            }
            218..=221 => {
                now += Duration::from_millis(u64::from(feed.u8()) * 20);
                let mut told = |_: Appended, _: Append| {};
                merge.handle_timeout(&mut log, now, &mut told);
                log.evict(now);
                assert!(
                    log.next_eviction().is_none_or(|at| at > now),
                    "an eviction that stays due"
                );
            }
            222..=225 => {
                let gone = log.give_up(usize::from(feed.u8()) * 20);
                assert!(gone <= 1 << 21);
            }
            226..=229 => merge.lost(&mut log, now, from, &mut |_, _| {}),
            230..=239 => fill(&mut feed, &mut log, now, &mut fills),
            240..=244 => {
                let (a, b) = (
                    Location::new(group(&mut feed), feed.number() % 9),
                    Location::new(group(&mut feed), feed.number() % 9),
                );
                if let Some(range) = PastRange::new(a.min(b), a.max(b)) {
                    match feed.below(4) {
                        0 => log.absent(range),
                        1 => _ = log.assume_finished(range),
                        2 if feed.u8() > 200 => log.set_origin(),
                        _ => {
                            let order = if feed.flag() {
                                GroupOrder::Ascending
                            } else {
                                GroupOrder::Descending
                            };
                            cursor = Some(PastCursor::new(range, order));
                        }
                    }
                }
            }
            _ => {
                for (_, wire) in &mut readers {
                    wire.room = wire.room.saturating_add(usize::from(feed.u8()));
                }
            }
        }
        for chunk in batch {
            let size = match &chunk {
                Append::Payload { bytes, .. } => bytes.len(),
                _ => 0,
            };
            merge.append(&mut log, now, from, chunk, &mut |appended, _| {
                // What is malformed is said in words.
                if let Appended::Malformed(why) = appended {
                    assert!(!why.to_string().is_empty());
                }
            });
            assert!(
                log.bytes() <= limits.max_bytes + size + 8 * 1024,
                "the log holds {}",
                log.bytes()
            );
            assert!(log.own_bytes() <= log.bytes());
        }
        for (reader, wire) in &mut readers {
            reader.pump(now, &log, wire);
        }
        if let Some(cursor) = &mut cursor {
            read_past(&log, now, cursor);
        }
    }
    for key in 0..3 {
        merge.lost(&mut log, now, PublisherKey(key), &mut |_, _| {});
    }
    assert_eq!((merge.poll_timeout(), merge.stats().waiting_bytes), (None, 0));
    for (key, _) in fills {
        log.fill_closed(key, FillEnd::Broken);
    }
    for (reader, wire) in &mut readers {
        wire.room = usize::MAX;
        wire.max_open = usize::MAX;
        for _ in 0..20 {
            reader.pump(now, &log, wire);
        }
        for (came, got) in wire.whole() {
            assert!(reader.filter.start <= got.at || came.end.is_some() || reader.lagged);
        }
    }
    // A copy of what is left is the same, and can be given away to the last byte that nobody is in the middle of.
    let mut copy = TrackLog::replica(limits);
    for chunk in log.snapshot() {
        copy.append(now, chunk);
    }
    log.give_up(usize::MAX);
    log.evict(now + Duration::from_secs(1000));
    assert!(
        log.bytes() <= 4 * 8 * 1024,
        "{} bytes that nothing makes go",
        log.bytes()
    );
}

/// Steps of an upstream answer that keeps to no rule either.
fn fill(feed: &mut Feed<'_>, log: &mut TrackLog, now: std::time::Instant, fills: &mut Vec<(FillKey, u64)>) {
    let key = FillKey(u64::from(feed.u8() % 3));
    match feed.below(4) {
        0 if fills.len() < 3 => {
            let start = Location::new(group(feed), feed.number() % 9);
            let order = if feed.flag() {
                GroupOrder::Ascending
            } else {
                GroupOrder::Descending
            };
            if let Some(range) = PastRange::new(start, Location::new(start.group.saturating_add(3), 0)) {
                log.fill_opened(key, range, order);
                fills.retain(|(open, _)| *open != key);
                fills.push((key, 0));
            }
        }
        1 => {
            log.fill_closed(
                key,
                if feed.flag() {
                    FillEnd::Complete {
                        end: Location::new(group(feed), feed.number() % 9),
                    }
                } else {
                    FillEnd::Broken
                },
            );
            fills.retain(|(open, _)| *open != key);
        }
        2 => {
            let object = header(feed);
            let object = FetchObjectHeader {
                location: Location::new(group(feed), object.id),
                subgroup: u64::from(feed.u8() % 2),
                priority: 100,
                status: object.status,
                extensions: object.extensions,
                payload_len: object.payload_len,
            };
            if log.fill(now, key, Fill::Object(object).settled()).is_err() {
                fills.retain(|(open, _)| *open != key);
            }
        }
        _ => {
            let bytes = Bytes::from(vec![feed.u8() % 3; usize::from(feed.u8() % 33)]);
            if log.fill(now, key, Fill::Payload(bytes).settled()).is_err() {
                fills.retain(|(open, _)| *open != key);
            }
        }
    }
}

/// Reads as far as it goes: in the order asked for, never outside the range, never more than an object has.
fn read_past(log: &TrackLog, now: std::time::Instant, cursor: &mut PastCursor) {
    let range = cursor.range();
    let (mut left, mut last): (u64, Option<Location>) = (0, None);
    if cursor.inside_object() {
        left = u64::MAX;
    }
    for _ in 0..100 {
        match log.read_past(now, cursor) {
            Past::Object { header, .. } => {
                assert!(left == 0 || left > 1 << 62, "an object inside another");
                assert!(
                    range.contains(header.location),
                    "{} is outside {range:?}",
                    header.location
                );
                if let Some(last) = last {
                    let rises = match cursor.order() {
                        GroupOrder::Ascending => header.location > last,
                        GroupOrder::Descending => {
                            header.location.group < last.group
                                || (header.location.group == last.group && header.location > last)
                        }
                    };
                    assert!(rises, "{} after {last}", header.location);
                }
                last = Some(header.location);
                left = header.payload_len;
            }
            Past::Payload(bytes) => left -= bytes.len() as u64,
            Past::Broken => return cursor.begin_again(),
            Past::Unknown(hole) => {
                assert!(!hole.is_empty());
                return;
            }
            Past::Arriving | Past::End => return,
        }
    }
}
