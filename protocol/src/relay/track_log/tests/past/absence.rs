//! What is known not to exist.

use super::*;
use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack};

/// Extension blocks with a gap. MOQT-14 §11.1, §11.3.
fn gap(kind: u8, gap: u8) -> Bytes {
    Bytes::from(vec![kind, gap])
}

/// codepoint-free: written out as bytes, so that the test does not lean on what it tests.
const GROUPS: u8 = 0x3c;
const OBJECTS: u8 = 0x3e;

fn gapped(stream: u64, id: u64, extensions: Bytes) -> Append {
    Append::ObjectStarted {
        stream,
        header: ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions,
            payload_len: 0,
        },
    }
}

/// D14-CACHE-5 D14-CACHE-7
#[test]
fn statuses_say_what_does_not_exist() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 0),
            obj_with(1, 1, DoesNotExist, 0),
            obj_with(1, 2, EndOfGroup, 0),
            fin(1),
            open_with(2, 1, 0, true),
            obj(2, 0, 0),
            fin(2),
            open(3, 2, 0),
            obj_with(3, 0, EndOfTrack, 0),
        ],
    );
    assert_eq!(past(&log, up((0, 0), (MAX, 0))), "0/0 0/1! 0/2$ 1/0 2/0# END");
    assert_eq!(past(&log, down((0, 0), (MAX, 0))), "2/0# 1/0 0/0 0/1! 0/2$ END");
}

/// MOQT-14 §11.1, §11.3. D14-DATA-10 D14-CACHE-7
#[test]
fn gaps_say_what_does_not_exist() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 3, 0),
            gapped(1, 2, gap(OBJECTS, 2)),
            obj_with(1, 3, EndOfGroup, 0),
            fin(1),
            open(2, 7, 0),
            gapped(2, 0, gap(GROUPS, 3)),
        ],
    );
    assert_eq!(past(&log, up((3, 0), (7, 1))), "3/2 3/3$ 7/0 END");
    assert_eq!(past(&log, down((3, 0), (7, 1))), "7/0 3/2 3/3$ END");
}

/// MOQT-14 §11. D14-DATA-10 D14-DATA-11 D14-MAL-2
#[test]
fn gaps_that_contradict() {
    let malformed = |why| Appended::Malformed(why);
    let cases: Vec<(&str, Vec<Append>, Append, Appended)> = vec![
        (
            "larger than the id",
            vec![open(1, 9, 0)],
            gapped(1, 2, gap(OBJECTS, 3)),
            malformed(Malformed::GapTooLarge),
        ),
        (
            "larger than the group",
            vec![open(1, 2, 0)],
            gapped(1, 9, gap(GROUPS, 3)),
            malformed(Malformed::GapTooLarge),
        ),
        (
            "as large as the id",
            vec![open(1, 9, 0)],
            gapped(1, 2, gap(OBJECTS, 2)),
            Appended::Advanced,
        ),
        (
            "twice",
            vec![open(1, 9, 0)],
            gapped(1, 5, Bytes::from_static(&[OBJECTS, 1, OBJECTS, 1])),
            malformed(Malformed::Extensions),
        ),
        (
            "no pairs",
            vec![open(1, 9, 0)],
            gapped(1, 5, Bytes::from_static(&[0x21, 9])),
            malformed(Malformed::Extensions),
        ),
        (
            "over an object",
            vec![open(1, 9, 0), open(2, 9, 1), obj(2, 4, 0)],
            gapped(1, 5, gap(OBJECTS, 1)),
            malformed(Malformed::GapOverObject),
        ),
        (
            "over an object that does not exist",
            vec![open(1, 9, 0), open(2, 9, 1), obj_with(2, 4, DoesNotExist, 0)],
            gapped(1, 5, gap(OBJECTS, 1)),
            Appended::Advanced,
        ),
        (
            "over a group",
            vec![open(1, 9, 0), open(2, 8, 1), obj(2, 0, 0)],
            gapped(1, 5, gap(GROUPS, 1)),
            malformed(Malformed::GapOverObject),
        ),
        (
            "over an empty group",
            vec![open(1, 9, 0), open(2, 8, 1), obj_with(2, 0, EndOfGroup, 0)],
            gapped(1, 5, gap(GROUPS, 1)),
            Appended::Advanced,
        ),
        (
            "two in one group",
            vec![open(1, 9, 0), gapped(1, 5, gap(GROUPS, 1)), open(2, 9, 1)],
            gapped(2, 6, gap(GROUPS, 2)),
            malformed(Malformed::TwoGaps),
        ),
        (
            "the same in one group",
            vec![open(1, 9, 0), gapped(1, 5, gap(GROUPS, 1)), open(2, 9, 1)],
            gapped(2, 6, gap(GROUPS, 1)),
            Appended::Advanced,
        ),
        (
            "an object inside",
            vec![open(1, 9, 0), gapped(1, 5, gap(OBJECTS, 2)), open(2, 9, 1)],
            obj(2, 4, 0),
            malformed(Malformed::InsideGap),
        ),
        (
            "an object before",
            vec![open(1, 9, 0), gapped(1, 5, gap(OBJECTS, 2)), open(2, 9, 1)],
            obj(2, 2, 0),
            Appended::Advanced,
        ),
        (
            "a group inside",
            vec![open(1, 9, 0), gapped(1, 5, gap(GROUPS, 2)), open(2, 7, 0)],
            obj(2, 0, 0),
            malformed(Malformed::InsideGap),
        ),
    ];
    for (name, before, chunk, expected) in cases {
        let mut log = log();
        feed(&mut log, before);
        assert_eq!(feed(&mut log, [chunk]), expected, "{name}");
    }
}

/// Gaps count for datagrams and fetched objects too. D14-DATA-10
#[test]
fn gaps_by_datagram_and_by_fetch() {
    let mut log = log();
    let Append::Datagram(mut datagram) = dgram(4, 6) else {
        panic!()
    };
    datagram.extensions = gap(OBJECTS, 2);
    feed(&mut log, [Append::Datagram(datagram)]);
    assert_eq!(past(&log, up((4, 4), (4, 7))), "4/6 END");
    assert_eq!(
        feed(&mut log, [dgram(4, 5)]),
        Appended::Malformed(Malformed::InsideGap)
    );
    let Fill::Object(mut header) = fobj(2, 6, 0) else {
        panic!()
    };
    header.extensions = gap(GROUPS, 1);
    log.fill_opened(KEY, range((2, 6), (2, 0)), GroupOrder::Ascending);
    fill(&mut log, [Fill::Object(header)]).unwrap();
    assert_eq!(past(&log, up((1, 0), (1, 0))), "END");
    log.fill_opened(KEY, range((1, 0), (4, 0)), GroupOrder::Ascending);
    assert_eq!(fill(&mut log, [fobj(1, 0, 0)]), Err(Malformed::InsideGap.into()));
    log.fill_opened(KEY, range((1, 0), (4, 0)), GroupOrder::Ascending);
    assert_eq!(fill(&mut log, [fobj(4, 4, 0)]), Err(Malformed::InsideGap.into()));
}

/// FETCH_ERROR with NO_OBJECTS. D14-CACHE-7
#[test]
fn an_upstream_without_objects() {
    let mut log = log();
    feed(&mut log, [open(1, 3, 0), obj(1, 4, 0), fin(1)]);
    log.absent(range((2, 5), (4, 3)));
    assert_eq!(past(&log, up((2, 5), (4, 3))), "3/4 END");
    assert_eq!(past(&log, down((2, 5), (4, 3))), "3/4 END");
    assert_eq!(past(&log, up((2, 0), (5, 0))), "?2/0-2/5");
    assert_eq!(past(&log, up((4, 0), (5, 0))), "?4/3-5/0");
}

/// An origin need not ask anybody. D14-CACHE-7 D14-FETCH-8
#[test]
fn an_origin_knows_what_it_never_made() {
    let one = OBJECT_OVERHEAD;
    let mut log = TrackLog::new(Limits {
        max_groups: 2,
        max_bytes: 2 * (GROUP_OVERHEAD + SUBGROUP_OVERHEAD) + 4 * RANGE_OVERHEAD + 4 * one,
        ..Limits::default()
    });
    log.set_origin();
    feed(
        &mut log,
        [
            open(1, 2, 0),
            obj(1, 0, 0),
            fin(1),
            open(2, 5, 0),
            obj(2, 1, 0),
            obj(2, 3, 0),
            open(3, 7, 0),
            obj(3, 2, 0),
        ],
    );
    // Group 2 is evicted, and unknown.
    assert_eq!(past(&log, up((0, 0), (7, 3))), "?2/0-2/0");
    assert_eq!(past(&log, up((3, 0), (5, 0))), "5/1 5/3 ..");
    feed(&mut log, [fin(2)]);
    assert_eq!(past(&log, up((3, 0), (7, 3))), "5/1 5/3 7/2 END");
    assert_eq!(past(&log, down((3, 0), (7, 3))), "7/2 5/1 5/3 END");
    // Beyond Largest nothing is known.
    assert_eq!(past(&log, up((7, 2), (8, 0))), "7/2 ..");
    feed(&mut log, [obj(3, 3, 9), pay(3, "x"), reset(3)]);
    assert_eq!(past(&log, up((7, 2), (7, 4))), "7/2 ?7/3-7/4");
}

/// The rule for publishers that cannot answer FETCH. D14-CACHE-7
#[test]
fn finished_groups_have_no_more() {
    let script = || {
        vec![
            open(1, 4, 0),
            obj(1, 0, 0),
            obj(1, 2, 0),
            open(2, 4, 1),
            obj(2, 3, 0),
            fin(1),
        ]
    };
    let newer = || vec![open(9, 5, 0), obj(9, 0, 0)];
    let settled = |chunks: Vec<Append>, hole: PastRange| {
        let mut log = log();
        feed(&mut log, chunks);
        let settled = log.assume_finished(hole);
        (settled, past(&log, up((4, 2), (5, 1))))
    };
    let tail = range((4, 4), (4, 0));
    let with = |more: Vec<Append>| script().into_iter().chain(more).collect::<Vec<_>>();
    assert_eq!(
        settled(with([vec![fin(2)], newer()].concat()), tail),
        (true, "4/2 4/3 5/0 END".into())
    );
    // A stream is open, or was reset; no newer group has begun.
    assert_eq!(settled(with(newer()), tail), (false, "4/2 4/3 ..".into()));
    assert_eq!(
        settled(with([vec![reset(2)], newer()].concat()), tail),
        (false, "4/2 4/3 ?4/4-4/0".into())
    );
    assert_eq!(
        settled(with(vec![fin(2)]), tail),
        (false, "4/2 4/3 ?4/4-5/1".into())
    );
    // Holes between objects stay holes.
    let inner = range((4, 1), (4, 2));
    assert!(!settled(with([vec![fin(2)], newer()].concat()), inner).0);
    let mut log = log();
    feed(&mut log, with([vec![fin(2)], newer()].concat()));
    assert!(!log.assume_finished(range((0, 0), (4, 0))));
    assert_eq!(past(&log, up((4, 1), (4, 0))), "?4/1-4/2");
}

/// What was evicted of a group may have been the rest of it, whatever comes of it later. D14-CACHE-7
#[test]
fn a_group_that_was_evicted_is_never_taken_to_be_finished() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 4, 0), obj(1, 0, 0), open(2, 5, 0), obj(2, 0, 0)],
    );
    log.give_up(usize::MAX);
    // The stream goes on, and is not listened to. Another one of the group comes whole.
    feed(
        &mut log,
        [obj(1, 2, 0), fin(1), open(3, 4, 1), obj(3, 1, 0), fin(3)],
    );
    let tail = range((4, 2), (4, 0));
    assert!(!log.assume_finished(tail));
    assert_eq!(past(&log, up((4, 1), (4, 0))), "4/1 ?4/2-4/0");
    // Nor when so many more were evicted that nobody knows any more that it was.
    for group in 6..600 {
        feed(&mut log, [open(group, group, 0), obj(group, 0, 0), fin(group)]);
        log.give_up(usize::MAX);
    }
    feed(&mut log, [open(4, 4, 2), obj(4, 3, 0), fin(4)]);
    assert!(!log.assume_finished(range((4, 4), (4, 0))));
}
