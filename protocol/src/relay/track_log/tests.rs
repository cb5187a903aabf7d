//! What is accepted, ignored, malformed; what readers see; what goes first.

use super::*;
use crate::moqt::error::ResetCode;
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use bytes::Bytes;

/// The crate may not ask the clock; tests need one arbitrary instant.
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

fn log() -> TrackLog {
    TrackLog::new(Limits::default())
}

fn open_with(stream: u64, group: u64, subgroup: u64, end_of_group: bool) -> Append {
    Append::SubgroupOpened {
        stream,
        group,
        subgroup,
        priority: 128,
        has_extensions: false,
        end_of_group,
    }
}

fn open(stream: u64, group: u64, subgroup: u64) -> Append {
    open_with(stream, group, subgroup, false)
}

fn obj_with(stream: u64, id: u64, status: ObjectStatus, payload_len: u64) -> Append {
    Append::ObjectStarted {
        stream,
        header: ObjectHeader {
            id,
            status,
            extensions: Bytes::new(),
            payload_len,
        },
    }
}

fn obj(stream: u64, id: u64, payload_len: u64) -> Append {
    obj_with(stream, id, ObjectStatus::Normal, payload_len)
}

fn pay(stream: u64, bytes: &'static str) -> Append {
    Append::Payload {
        stream,
        bytes: Bytes::from_static(bytes.as_bytes()),
    }
}

fn fin(stream: u64) -> Append {
    Append::SubgroupClosed {
        stream,
        end: StreamEnd::Fin,
    }
}

fn reset(stream: u64) -> Append {
    Append::SubgroupClosed {
        stream,
        end: StreamEnd::Reset(ResetCode::Cancelled),
    }
}

fn dgram_with(group: u64, object: u64, status: ObjectStatus, end_of_group: bool) -> Append {
    Append::Datagram(LogDatagram {
        location: Location::new(group, object),
        priority: 128,
        extensions: Bytes::new(),
        end_of_group,
        status,
        payload: Bytes::new(),
    })
}

fn dgram(group: u64, object: u64) -> Append {
    dgram_with(group, object, ObjectStatus::Normal, false)
}

const DUPLICATE: Appended = Appended::Ignored(Ignored::Duplicate);
const EVICTED: Appended = Appended::Ignored(Ignored::Evicted);

fn feed(log: &mut TrackLog, chunks: impl IntoIterator<Item = Append>) -> Appended {
    let now = t0();
    chunks
        .into_iter()
        .fold(Appended::Noted, |_, chunk| log.append(now, chunk))
}

/// Reads until nothing follows; one letter-coded word per step.
fn read_all(log: &TrackLog, seq: SubgroupSeq, pos: &mut Position) -> String {
    let mut seen = Vec::new();
    loop {
        match log.read(seq, pos) {
            Read::Object(view) => seen.push(format!("{}/{}", view.header.id, view.header.payload_len)),
            Read::Payload(bytes) => seen.push(String::from_utf8_lossy(&bytes).into_owned()),
            Read::Pending => break,
            Read::Evicted => {
                seen.push("EVICTED".into());
                break;
            }
            Read::End(StreamEnd::Fin) => {
                seen.push("FIN".into());
                break;
            }
            Read::End(StreamEnd::Reset(code)) => {
                seen.push(format!("RESET {code:?}"));
                break;
            }
        }
    }
    seen.join(" ")
}

/// Everything that a reader without history finds, subgroup by subgroup.
fn contents(log: &TrackLog) -> Vec<String> {
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    loop {
        match log.next_subgroup(&mut cursor) {
            Next::Ready(seq) => seen.push(read_all(log, seq, &mut Position::default())),
            Next::Lagged(skipped) => seen.push(format!("LAGGED {skipped}")),
            Next::Pending => return seen,
        }
    }
}

#[test]
fn an_object_can_be_read_before_it_is_complete() {
    // MOQT-14 §8.5 [D14-DATA-22]
    let mut log = log();
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 6), pay(1, "abc")]);
    let mut cursor = Cursor::default();
    let Next::Ready(seq) = log.next_subgroup(&mut cursor) else {
        panic!()
    };
    let mut pos = Position::default();
    assert_eq!(read_all(&log, seq, &mut pos), "0/6 abc");
    feed(
        &mut log,
        [pay(1, "def"), obj(1, 1, 0), obj(1, 4, 1), pay(1, "x"), fin(1)],
    );
    assert_eq!(read_all(&log, seq, &mut pos), "def 1/0 4/1 x FIN");
    assert_eq!(read_all(&log, seq, &mut pos), "FIN");
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
}

#[test]
fn payload_is_shared_not_copied() {
    let mut log = log();
    let bytes = Bytes::from(vec![1; 3000]);
    let chunk = Append::Payload {
        stream: 1,
        bytes: bytes.clone(),
    };
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 3000), chunk]);
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    log.read(seq, &mut pos);
    let Read::Payload(read) = log.read(seq, &mut pos) else {
        panic!()
    };
    assert_eq!(read.as_ptr(), bytes.as_ptr());
    assert!(log.snapshot().iter().any(
        |chunk| matches!(chunk, Append::Payload { bytes: shared, .. } if shared.as_ptr() == bytes.as_ptr())
    ));
}

#[test]
fn skipping_passes_over_what_is_left_of_an_object() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 0), obj(1, 1, 6), pay(1, "ab")],
    );
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    // An empty object leaves nothing to skip: the next one must not be lost.
    assert!(matches!(log.read(seq, &mut pos), Read::Object(_)));
    log.skip_object(seq, &mut pos);
    assert!(
        matches!(log.read(seq, &mut pos), Read::Object(view) if view.header.id == 1 && view.previous == Some(0))
    );
    log.skip_object(seq, &mut pos);
    assert_eq!(read_all(&log, seq, &mut pos), "");
    feed(&mut log, [pay(1, "cdef"), obj(1, 2, 1), pay(1, "z"), fin(1)]);
    assert_eq!(read_all(&log, seq, &mut pos), "2/1 z FIN");
}

#[test]
fn the_live_edge_is_behind_the_object_in_progress() {
    // MOQT-14 §9.7 [D14-SUB-6]
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 2),
            pay(1, "a"),
            open(2, 0, 1),
            obj(2, 5, 0),
            fin(2),
        ],
    );
    let LiveEdge { mut cursor, open } = log.live_edge();
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
    let [(seq, mut pos)] = open[..] else {
        panic!("{open:?}")
    };
    feed(&mut log, [pay(1, "b"), obj(1, 1, 1), pay(1, "c")]);
    assert_eq!(read_all(&log, seq, &mut pos), "1/1 c");
}

#[test]
fn largest_moves_with_the_header() {
    // MOQT-14 §9.7 [D14-SUB-4]
    let mut log = log();
    assert_eq!(log.largest(), None);
    feed(&mut log, [open(1, 3, 0)]);
    assert_eq!(log.largest(), None);
    feed(&mut log, [obj(1, 2, 100)]);
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    feed(&mut log, [open(2, 2, 0), obj(2, 9, 0)]);
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    log.seed_largest(Location::new(3, 1));
    assert_eq!(log.largest(), Some(Location::new(3, 2)));
    log.seed_largest(Location::new(8, 0));
    assert_eq!(log.largest(), Some(Location::new(8, 0)));
}

#[test]
fn an_incomplete_object_never_ends_in_fin() {
    // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-DATA-18] [D14-DATA-22]
    for (end, seen) in [
        (fin(1), "0/6 abc RESET InternalError"),
        (reset(1), "0/6 abc RESET Cancelled"),
    ] {
        let mut log = log();
        feed(&mut log, [open(1, 0, 0), obj(1, 0, 6), pay(1, "abc"), end]);
        assert_eq!(contents(&log), [seen]);
    }
}

#[test]
fn a_subgroup_continues_on_another_stream() {
    // MOQT-14 §8.2 [D14-PUB-1] [D14-PUB-6]: what is known is ignored, what was cut short comes again.
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 7),
            obj(1, 0, 1),
            pay(1, "a"),
            obj(1, 1, 2),
            pay(1, "b"),
            reset(1),
        ],
    );
    assert_eq!(feed(&mut log, [open(2, 0, 7), obj(2, 0, 1)]), DUPLICATE);
    assert_eq!(feed(&mut log, [pay(2, "a")]), DUPLICATE);
    assert_eq!(feed(&mut log, [obj(2, 1, 2)]), Appended::Advanced);
    feed(&mut log, [pay(2, "bc"), fin(2)]);
    assert_eq!(contents(&log), ["0/1 a 1/2 b RESET Cancelled", "1/2 bc FIN"]);
    assert_eq!(log.stats().duplicate_objects, 1);
}

#[test]
fn one_source_at_a_time_and_the_second_takes_over() {
    // MOQT-14 §8.2 [D14-PUB-1]
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), open(2, 0, 0), obj(1, 0, 1), pay(1, "a")],
    );
    assert_eq!(feed(&mut log, [obj(2, 0, 1)]), DUPLICATE);
    assert_eq!(feed(&mut log, [pay(2, "a"), obj(2, 1, 1)]), DUPLICATE);
    feed(&mut log, [pay(2, "b"), reset(1)]);
    assert_eq!(feed(&mut log, [obj(2, 2, 1)]), Appended::Advanced);
    // MOQT-14 §10.4.3 [D14-CLOSE-1]: object 1 is lost, so the subgroup does not end in FIN.
    feed(&mut log, [pay(2, "c"), fin(2)]);
    assert_eq!(
        contents(&log),
        ["0/1 a RESET Cancelled", "2/1 c RESET InternalError"]
    );
}

#[test]
fn tracks_that_break_the_rules() {
    use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack};
    let cases: Vec<(&str, Vec<Append>, Append, Appended)> = vec![
        (
            "payload with a status [D14-DATA-7]",
            vec![open(1, 0, 0)],
            obj_with(1, 0, EndOfGroup, 1),
            Appended::Malformed(Malformed::PayloadWithStatus),
        ),
        (
            "too much payload",
            vec![open(1, 0, 0), obj(1, 0, 1)],
            pay(1, "ab"),
            Appended::Malformed(Malformed::PayloadTooLong),
        ),
        (
            "payload of nothing",
            vec![open(1, 0, 0)],
            pay(1, "a"),
            Appended::Malformed(Malformed::PayloadTooLong),
        ),
        (
            "payload after an object",
            vec![open(1, 0, 0), obj(1, 0, 1), pay(1, "a")],
            pay(1, "b"),
            Appended::Malformed(Malformed::PayloadTooLong),
        ),
        (
            "object in an object",
            vec![open(1, 0, 0), obj(1, 0, 1)],
            obj(1, 1, 1),
            Appended::Malformed(Malformed::ObjectUnfinished),
        ),
        (
            "ids do not ascend",
            vec![open(1, 0, 0), obj(1, 4, 0)],
            obj(1, 4, 0),
            Appended::Malformed(Malformed::NotAscending),
        ),
        (
            "object at the end of its group [D14-MAL-2]",
            vec![open(1, 0, 0), obj_with(1, 3, EndOfGroup, 0), open(2, 0, 1)],
            obj(2, 3, 0),
            DUPLICATE,
        ),
        (
            "object after the end of its group [D14-MAL-2]",
            vec![open(1, 0, 0), obj_with(1, 3, EndOfGroup, 0), open(2, 0, 1)],
            obj(2, 4, 0),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "object before the end of its group",
            vec![open(1, 0, 0), obj_with(1, 3, EndOfGroup, 0), open(2, 0, 1)],
            obj(2, 2, 0),
            Appended::Advanced,
        ),
        (
            "end of group before an object [D14-MAL-2]",
            vec![open(1, 0, 0), obj(1, 5, 0), open(2, 0, 1)],
            obj_with(2, 4, EndOfGroup, 0),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "two ends of a group [D14-MAL-2]",
            vec![open(1, 0, 0), obj_with(1, 5, EndOfGroup, 0), open(2, 0, 1)],
            obj_with(2, 4, EndOfGroup, 0),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "another group is not concerned",
            vec![open(1, 0, 0), obj_with(1, 3, EndOfGroup, 0), open(2, 1, 0)],
            obj(2, 9, 0),
            Appended::Advanced,
        ),
        (
            "object after the bit [D14-DATA-6]",
            vec![open_with(1, 0, 0, true), obj(1, 3, 0), fin(1), open(2, 0, 1)],
            obj(2, 4, 0),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "the bit is void on reset [D14-DATA-6]",
            vec![open_with(1, 0, 0, true), obj(1, 3, 0), reset(1), open(2, 0, 1)],
            obj(2, 4, 0),
            Appended::Advanced,
        ),
        (
            "the bit, then the object that says the same",
            vec![open_with(1, 0, 0, true), obj(1, 3, 0), fin(1), open(2, 0, 1)],
            obj_with(2, 4, EndOfGroup, 0),
            Appended::Advanced,
        ),
        (
            "the bit behind the object that says the same",
            vec![open_with(1, 0, 0, true), obj_with(1, 3, EndOfGroup, 0)],
            fin(1),
            Appended::Closed(StreamEnd::Fin),
        ),
        (
            "the bit before an object [D14-MAL-2]",
            vec![
                open_with(1, 0, 0, true),
                obj(1, 3, 0),
                open(2, 0, 1),
                obj(2, 4, 0),
            ],
            fin(1),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "object after the end of the track [D14-MAL-2]",
            vec![open(1, 4, 0), obj_with(1, 2, EndOfTrack, 0), open(2, 5, 0)],
            obj(2, 0, 0),
            Appended::Malformed(Malformed::AfterEndOfTrack),
        ),
        (
            "object before the end of the track",
            vec![open(1, 4, 0), obj_with(1, 2, EndOfTrack, 0), open(2, 4, 1)],
            obj(2, 1, 0),
            Appended::Advanced,
        ),
        (
            "end of track before an object [D14-MAL-2]",
            vec![open(1, 4, 0), obj(1, 2, 0), open(2, 3, 0)],
            obj_with(2, 0, EndOfTrack, 0),
            Appended::Malformed(Malformed::AfterEndOfTrack),
        ),
        (
            "object after the last of its subgroup [D14-MAL-2]",
            vec![open(1, 0, 0), obj(1, 0, 0), fin(1), open(2, 0, 0)],
            obj(2, 1, 0),
            Appended::Malformed(Malformed::AfterEndOfSubgroup),
        ),
        (
            "known with another status [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 0)],
            obj_with(2, 3, EndOfGroup, 0),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "known with another length [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 4), open(2, 0, 0)],
            obj(2, 3, 5),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "an object that goes away [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 0)],
            obj_with(2, 3, DoesNotExist, 0),
            DUPLICATE,
        ),
        (
            "an object that comes after all [D14-CACHE-3]",
            vec![open(1, 0, 0), obj_with(1, 3, DoesNotExist, 0), open(2, 0, 0)],
            obj(2, 3, 4),
            DUPLICATE,
        ),
        (
            "known in another subgroup",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 1)],
            obj(2, 3, 0),
            DUPLICATE,
        ),
        (
            "datagrams in a track of streams [D14-DATA-15]",
            vec![open(1, 0, 0)],
            dgram(0, 0),
            Appended::Malformed(Malformed::MixedPreference),
        ),
        (
            "streams in a track of datagrams [D14-DATA-15]",
            vec![dgram(0, 0)],
            open(1, 0, 0),
            Appended::Malformed(Malformed::MixedPreference),
        ),
        (
            "a datagram twice [D14-PUB-1]",
            vec![dgram(0, 0)],
            dgram(0, 0),
            DUPLICATE,
        ),
        (
            "a datagram after the bit [D14-DATA-6]",
            vec![dgram_with(0, 3, ObjectStatus::Normal, true)],
            dgram(0, 4),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "the bit before a datagram [D14-MAL-2]",
            vec![dgram(0, 4)],
            dgram_with(0, 3, ObjectStatus::Normal, true),
            Appended::Malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "a stream nobody opened",
            vec![],
            obj(1, 0, 0),
            Appended::Ignored(Ignored::UnknownStream),
        ),
        (
            "a stream that is closed",
            vec![open(1, 0, 0), fin(1)],
            fin(1),
            Appended::Ignored(Ignored::UnknownStream),
        ),
        (
            "a key twice",
            vec![open(1, 0, 0)],
            open(1, 0, 0),
            Appended::Ignored(Ignored::StreamKeyInUse),
        ),
        (
            "no bytes",
            vec![open(1, 0, 0), obj(1, 0, 1)],
            pay(1, ""),
            Appended::Ignored(Ignored::Empty),
        ),
        (
            "a length of 2^62-1 [D14-LIM-8]",
            vec![open(1, 0, 0)],
            obj(1, 0, (1 << 62) - 1),
            Appended::Advanced,
        ),
    ];
    for (name, before, chunk, expected) in cases {
        let mut log = log();
        feed(&mut log, before);
        assert_eq!(feed(&mut log, [chunk]), expected, "{name}");
    }
}

#[test]
fn a_malformed_stream_is_over() {
    let mut log = log();
    let verdict = feed(&mut log, [open(1, 0, 0), obj(1, 0, 1), pay(1, "a"), obj(1, 0, 1)]);
    assert_eq!(verdict, Appended::Malformed(Malformed::NotAscending));
    assert_eq!(
        verdict.for_replica(obj(1, 0, 1)),
        Some(Append::SubgroupClosed {
            stream: 1,
            end: StreamEnd::Reset(ResetCode::InternalError)
        })
    );
    assert_eq!(
        feed(&mut log, [fin(1)]),
        Appended::Ignored(Ignored::UnknownStream)
    );
    assert_eq!(contents(&log), ["0/1 a RESET InternalError"]);
}

#[test]
fn an_empty_subgroup_shows_readers_nothing() {
    let mut log = log();
    assert_eq!(feed(&mut log, [open(1, 0, 0), fin(1)]), Appended::Noted);
    assert!(contents(&log).is_empty());
    assert_eq!(log.bytes(), 0);
    assert!(!log.has_open_streams());
}

#[test]
fn bytes_are_counted_exactly() {
    let mut log = log();
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::from_static(b"ext"),
        payload_len: 5,
    };
    feed(
        &mut log,
        [open(1, 0, 0), Append::ObjectStarted { stream: 1, header }],
    );
    let fixed = GROUP_OVERHEAD + SUBGROUP_OVERHEAD + RANGE_OVERHEAD;
    assert_eq!(log.bytes(), fixed + OBJECT_OVERHEAD + 3);
    feed(&mut log, [pay(1, "ab"), pay(1, "cde")]);
    assert_eq!(log.bytes(), fixed + OBJECT_OVERHEAD + 3 + 2 * CHUNK_OVERHEAD + 5);
    feed(&mut log, [obj(1, 2, 0)]);
    assert_eq!(
        log.bytes(),
        fixed + RANGE_OVERHEAD + 2 * OBJECT_OVERHEAD + 3 + 2 * CHUNK_OVERHEAD + 5
    );
    let all = log.bytes();
    feed(&mut log, [fin(1)]);
    assert_eq!(
        log.evict(t0() + Duration::from_secs(61)),
        Evicted {
            bytes: all,
            groups: 1
        }
    );
    assert_eq!((log.bytes(), log.next_eviction()), (0, None));
    assert_eq!(contents(&log), ["LAGGED 1"]);
}

#[test]
fn the_fixed_costs_cover_what_is_fixed() {
    use super::group::{Arrival, Group, Record};
    use super::subgroup::{Object, Subgroup};
    assert!(OBJECT_OVERHEAD >= size_of::<Object>() + size_of::<Arrival>() + MAX_CACHED_HEAD_BYTES);
    assert!(OBJECT_OVERHEAD >= size_of::<LogDatagram>() + size_of::<Arrival>() + 16);
    assert!(SUBGROUP_OVERHEAD >= size_of::<Subgroup>() + size_of::<Record>() + size_of::<Ingress>() + 64);
    assert!(CHUNK_OVERHEAD >= size_of::<Bytes>() + 16);
    assert!(GROUP_OVERHEAD >= size_of::<Group>() + 64);
    assert!(RANGE_OVERHEAD >= size_of::<(u64, u64)>());
}

#[test]
fn old_groups_go_first_and_their_streams_are_ignored() {
    let mut log = TrackLog::new(Limits {
        max_groups: 2,
        ..Limits::default()
    });
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 9),
            open(2, 1, 0),
            obj(2, 0, 0),
            open(3, 2, 0),
            obj(3, 0, 0),
        ],
    );
    assert_eq!(log.stats().evicted_groups, 1);
    assert_eq!(feed(&mut log, [pay(1, "a")]), EVICTED);
    assert_eq!(EVICTED.for_replica(pay(1, "a")), Some(pay(1, "a")));
    assert_eq!(feed(&mut log, [fin(1)]), EVICTED);
    // A group older than all that a full log keeps is not taken in.
    assert_eq!(feed(&mut log, [open(4, 0, 0), obj(4, 0, 0)]), EVICTED);
    assert_eq!(contents(&log), ["LAGGED 1", "0/0", "0/0"]);
}

#[test]
fn the_newest_group_stays_while_it_is_open() {
    let mut log = log();
    let now = t0();
    for chunk in [open(1, 0, 0), obj(1, 0, 0)] {
        log.append(now, chunk);
    }
    let age = Limits::default().max_age;
    assert_eq!(log.next_eviction(), Some(now + age));
    assert_eq!(log.evict(now + age).groups, 0);
    assert_eq!(log.next_eviction(), Some(now + 2 * age));
    log.append(now + age, fin(1));
    assert_eq!(log.evict(now + 2 * age).groups, 1);
}

#[test]
fn a_group_is_as_old_as_its_last_object() {
    let mut log = log();
    let (now, second) = (t0(), Duration::from_secs(1));
    for chunk in [open(1, 0, 0), obj(1, 0, 0), open(2, 1, 0), obj(2, 0, 0)] {
        log.append(now, chunk);
    }
    log.append(now + 50 * second, obj(1, 1, 0));
    assert_eq!(log.evict(now + 60 * second).groups, 0);
    assert_eq!(log.evict(now + 110 * second).groups, 1);
    assert_eq!(contents(&log), ["LAGGED 1", "0/0"]);
}

#[test]
fn a_live_group_over_budget_loses_its_oldest_objects() {
    let one = OBJECT_OVERHEAD + CHUNK_OVERHEAD + 4;
    let mut log = TrackLog::new(Limits {
        max_bytes: GROUP_OVERHEAD + SUBGROUP_OVERHEAD + RANGE_OVERHEAD + 2 * one,
        ..Limits::default()
    });
    feed(&mut log, [open(1, 0, 0)]);
    let keep_up = log.live_edge().cursor;
    for id in 0..4 {
        feed(&mut log, [obj(1, id, 4), pay(1, "abcd")]);
    }
    let mut cursor = keep_up;
    let Next::Ready(seq) = log.next_subgroup(&mut cursor) else {
        panic!()
    };
    assert_eq!(read_all(&log, seq, &mut Position::default()), "EVICTED");
    let LiveEdge { open, .. } = log.live_edge();
    let mut pos = open[0].1;
    for id in 4..9 {
        feed(&mut log, [obj(1, id, 4), pay(1, "abcd")]);
        assert_eq!(
            read_all(&log, seq, &mut pos),
            format!("{id}/4 abcd"),
            "a reader that keeps up loses nothing"
        );
    }
}

#[test]
fn an_object_larger_than_the_budget_passes_through() {
    // MOQT-14 §12 [D14-LIM-8]
    let mut log = TrackLog::new(Limits {
        max_bytes: 2000,
        ..Limits::default()
    });
    let chunk = |fill: u8| Append::Payload {
        stream: 1,
        bytes: Bytes::from(vec![fill; 400]),
    };
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 400 * 100), chunk(0)]);
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    assert!(matches!(log.read(seq, &mut pos), Read::Object(_)));
    assert!(matches!(log.read(seq, &mut pos), Read::Payload(bytes) if bytes[0] == 0));
    let mut late = pos;
    for fill in 1..100 {
        feed(&mut log, [chunk(fill)]);
        assert!(log.bytes() <= 2000 + 400 + CHUNK_OVERHEAD);
        assert!(matches!(log.read(seq, &mut pos), Read::Payload(bytes) if bytes[0] == fill));
    }
    feed(&mut log, [obj(1, 1, 0)]);
    assert!(matches!(log.read(seq, &mut pos), Read::Object(view) if view.header.id == 1));
    assert!(matches!(log.read(seq, &mut late), Read::Evicted));
    assert!(matches!(log.read(seq, &mut Position::default()), Read::Evicted));
}

#[test]
fn a_snapshot_tells_what_is_missing() {
    let mut log = TrackLog::new(Limits {
        max_bytes: 2000,
        ..Limits::default()
    });
    let chunk = || Append::Payload {
        stream: 1,
        bytes: Bytes::from(vec![0; 600]),
    };
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 3600), chunk(), chunk(), chunk(), chunk()],
    );
    let mut replica = TrackLog::replica(Limits::default());
    feed(&mut replica, log.snapshot());
    let LiveEdge { open, .. } = replica.live_edge();
    // Two more chunks finish the object in both.
    let rest = [chunk(), chunk(), obj(1, 1, 0), fin(1)];
    assert_eq!(feed(&mut log, rest.clone()), Appended::Closed(StreamEnd::Fin));
    assert_eq!(feed(&mut replica, rest), Appended::Closed(StreamEnd::Fin));
    let (seq, mut pos) = open[0];
    assert_eq!(read_all(&replica, seq, &mut pos), "1/0 FIN");
}

#[test]
fn datagrams_come_in_order_and_tell_what_was_skipped() {
    let mut log = log();
    let mut cursor = Cursor::default();
    feed(&mut log, [dgram(0, 0), dgram(0, 1), dgram(1, 0)]);
    assert!(matches!(log.next_datagram(&mut cursor), Next::Ready(d) if d.location == Location::new(0, 0)));
    log.drop_group(0);
    assert_eq!(log.next_datagram(&mut cursor), Next::Lagged(1));
    assert!(matches!(log.next_datagram(&mut cursor), Next::Ready(d) if d.location == Location::new(1, 0)));
    assert_eq!(log.next_datagram(&mut cursor), Next::Pending);
    assert_eq!(log.next_subgroup(&mut cursor), Next::Pending);
}
