//! What counts, and what goes first.

use super::*;

#[test]
fn bytes_are_counted_exactly() {
    let mut log = log();
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::from_static(&[0x21, 1, 0]),
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
    use crate::relay::track_log::group::{Arrival, Group, Place, Record};
    use crate::relay::track_log::subgroup::{Object, Subgroup};
    // An object's place in the order of eviction, and in the index.
    let places = size_of::<Arrival>() + size_of::<(u64, Place)>();
    assert!(OBJECT_OVERHEAD >= size_of::<Object>() + places + MAX_CACHED_HEAD_BYTES);
    assert!(OBJECT_OVERHEAD >= size_of::<(Instant, LogDatagram)>() + places + 16);
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
    // A group older than all that a full log keeps is not taken in, and what it had is known.
    assert_eq!(feed(&mut log, [open(4, 0, 0), obj(4, 0, 9)]), DUPLICATE);
    assert_eq!(feed(&mut log, [obj(4, 1, 0)]), EVICTED);
    assert_eq!(contents(&log), ["LAGGED 1", "0/0", "0/0"]);
}

/// D14-PUB-1: a publisher that lags behind a small log brings nothing that readers have had.
#[test]
fn what_is_sent_again_after_its_group_was_evicted_is_known() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 3, 0),
            obj(1, 0, 0),
            obj(1, 2, 0),
            open(2, 4, 0),
            obj(2, 0, 0),
        ],
    );
    log.drop_group(3);
    assert_eq!(feed(&mut log, [open(4, 3, 0), obj(4, 0, 0)]), DUPLICATE);
    // What was not there is new, and says nothing of the rest.
    assert_eq!(feed(&mut log, [obj(4, 1, 0)]), Appended::Advanced);
    assert_eq!(feed(&mut log, [obj(4, 2, 0)]), DUPLICATE);
    let end = StreamEnd::Reset(ResetCode::InternalError);
    assert_eq!(feed(&mut log, [fin(4)]), Appended::Closed(end));
}

/// A replica that still has what was evicted is given objects whole, also behind one that was a duplicate.
#[test]
fn what_follows_a_duplicate_on_a_stream_that_was_evicted_is_evicted() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 0), obj(1, 2, 0), open(2, 0, 0)],
    );
    feed(&mut log, [obj(2, 1, 0)]);
    assert_eq!(feed(&mut log, [obj(2, 2, 0)]), DUPLICATE);
    log.drop_group(0);
    assert_eq!(feed(&mut log, [obj(2, 3, 1)]), EVICTED);
    assert_eq!(feed(&mut log, [pay(2, "a")]), EVICTED);
}

/// D14-CLOSE-1 D14-DATA-6 D14-PUB-1: FIN says which object is the last, so it does not end a stream without that one.
#[test]
fn a_stream_that_does_not_carry_the_last_object_does_not_end_in_fin() {
    for (again, end) in [
        (obj(2, 8, 0), StreamEnd::Reset(ResetCode::InternalError)),
        (obj(2, 9, 0), StreamEnd::Fin),
    ] {
        let mut log = log();
        let opened = |stream| Append::SubgroupOpened {
            stream,
            group: 3,
            subgroup: 0,
            priority: 0,
            has_extensions: false,
            end_of_group: true,
        };
        feed(&mut log, [opened(1), obj(1, 8, 0), fin(1)]);
        log.drop_group(3);
        feed(&mut log, [open(3, 3, 1), obj(3, 7, 0), opened(2), obj(2, 2, 0)]);
        feed(&mut log, [again]);
        assert_eq!(feed(&mut log, [fin(2)]), Appended::Closed(end));
    }
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

/// D14-LIM-8
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
