//! What is accepted, ignored or malformed.

use super::*;

/// D14-CLOSE-1 D14-DATA-22
#[test]
fn an_incomplete_object_never_ends_in_fin() {
    // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-DATA-22]
    for (end, seen) in [
        (fin(1), "0/6 abc RESET InternalError"),
        (reset(1), "0/6 abc RESET Cancelled"),
    ] {
        let mut log = log();
        feed(&mut log, [open(1, 0, 0), obj(1, 0, 6), pay(1, "abc"), end]);
        assert_eq!(contents(&log), [seen]);
    }
}

/// D14-PUB-1 D14-PUB-6
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

/// D14-PUB-1 D14-CLOSE-1
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

/// D14-CLOSE-1: an object that was begun and cut short is missing, also when it was the first of its subgroup.
#[test]
fn a_subgroup_whose_first_object_was_cut_short_has_a_gap() {
    for (next, end) in [(0, "FIN"), (1, "RESET InternalError")] {
        let mut log = log();
        feed(&mut log, [open(1, 0, 0), obj(1, 0, 2), pay(1, "a"), reset(1)]);
        feed(&mut log, [open(2, 0, 0), obj(2, next, 2), pay(2, "bc"), fin(2)]);
        assert_eq!(contents(&log)[1], format!("{next}/2 bc {end}"));
    }
}

/// D14-CLOSE-1: a subgroup that was evicted before it was finished has a beginning that is gone; another one of its
/// group has not.
#[test]
fn a_subgroup_that_was_evicted_unfinished_does_not_end_in_fin() {
    let mut log = TrackLog::new(Limits {
        max_groups: 2,
        ..Limits::default()
    });
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 2), pay(1, "a"), reset(1)]);
    feed(
        &mut log,
        [open(2, 1, 0), obj(2, 0, 0), open(3, 2, 0), obj(3, 0, 0)],
    );
    log.drop_group(2);
    feed(&mut log, [open(4, 0, 0), obj(4, 1, 0), fin(4)]);
    feed(&mut log, [open(5, 0, 1), obj(5, 2, 0), fin(5), fin(2)]);
    assert_eq!(
        contents(&log),
        [
            "LAGGED 1",
            "0/0 FIN",
            "LAGGED 1",
            "1/0 RESET InternalError",
            "2/0 FIN"
        ]
    );
}

/// D14-CLOSE-1 D14-PUB-1: what a second stream brought is lost unless the first brings it too.
#[test]
fn what_was_not_taken_in_keeps_a_subgroup_from_fin() {
    for (passed, end) in [(1, "FIN"), (2, "FIN"), (3, "RESET InternalError")] {
        let mut log = log();
        feed(&mut log, [open(1, 0, 0), obj(1, 1, 1), pay(1, "a")]);
        feed(&mut log, [open(2, 0, 0)]);
        assert_eq!(feed(&mut log, [obj(2, passed, 1)]), DUPLICATE);
        feed(&mut log, [obj(1, 2, 1), pay(1, "b"), fin(1)]);
        assert_eq!(contents(&log), [format!("1/1 a 2/1 b {end}")]);
    }
}

/// D14-CLOSE-1 D14-CLOSE-3 D14-PUB-1: what a stream has passed can come on another one, and neither ends with FIN.
#[test]
fn an_object_that_was_passed_comes_on_a_stream_of_its_own() {
    for end in [fin(2), reset(2)] {
        let mut log = log();
        feed(
            &mut log,
            [open(1, 0, 0), obj(1, 1, 1), pay(1, "a"), open(2, 0, 0)],
        );
        assert_eq!(feed(&mut log, [obj(2, 0, 1)]), Appended::Advanced);
        feed(&mut log, [pay(2, "z"), end.clone()]);
        feed(&mut log, [obj(1, 2, 1), pay(1, "b"), fin(1)]);
        let how = if end == fin(2) {
            "InternalError"
        } else {
            "Cancelled"
        };
        let aside = format!("0/1 z RESET {how}");
        assert_eq!(contents(&log), ["1/1 a 2/1 b RESET InternalError", &aside]);
    }
}

/// D14-DATA-7 D14-MAL-2 D14-DATA-6 D14-CACHE-2 D14-CACHE-3 D14-DATA-15 D14-PUB-1 D14-LIM-8
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
            Appended::Malformed(Malformed::Conflict),
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
            "known in another subgroup [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 1)],
            obj(2, 3, 0),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "known in another subgroup that both streams brought [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 1), obj(2, 2, 0)],
            obj(2, 3, 0),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "gone in another subgroup [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open(2, 0, 1)],
            obj_with(2, 3, DoesNotExist, 0),
            DUPLICATE,
        ),
        (
            "known with another priority [D14-CACHE-2]",
            vec![open(1, 0, 0), obj(1, 3, 0), open_prior(2, 0, 0, 7)],
            obj(2, 3, 0),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "a datagram known with another priority [D14-CACHE-2]",
            vec![dgram(0, 0)],
            Append::Datagram(LogDatagram {
                priority: 7,
                ..datagram(0, 0)
            }),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "a datagram known with another payload [D14-CACHE-2]",
            vec![dgram(0, 0)],
            Append::Datagram(LogDatagram {
                payload: Bytes::from_static(b"longer than the first"),
                ..datagram(0, 0)
            }),
            Appended::Malformed(Malformed::Conflict),
        ),
        (
            "a datagram known with another payload of that length [D14-CACHE-2] [D14-MAL-3]",
            vec![Append::Datagram(LogDatagram {
                payload: Bytes::from_static(b"this"),
                ..datagram(0, 0)
            })],
            Append::Datagram(LogDatagram {
                payload: Bytes::from_static(b"that"),
                ..datagram(0, 0)
            }),
            Appended::Malformed(Malformed::Payload),
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
    assert_eq!(log.open_streams().count(), 0);
}
