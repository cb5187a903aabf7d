//! What answers from upstream bring.

use super::*;
use ObjectStatus::{DoesNotExist, EndOfGroup, EndOfTrack, Normal};

/// MOQT-14 §9.16.3. D14-FETCH-5 D14-CACHE-7
#[test]
fn what_an_answer_leaves_out_does_not_exist() {
    let mut log = log();
    let all = || up((0, 2), (7, 9));
    log.fill_opened(KEY, range((0, 2), (7, 9)), GroupOrder::Ascending);
    assert_eq!(past(&log, all()), "..");
    fill(&mut log, [fobj(0, 4, 2), fpay("a")]).unwrap();
    assert_eq!(past(&log, all()), "0/4 a ..");
    fill(&mut log, [fpay("b"), fobj(3, 3, 0)]).unwrap();
    assert_eq!(past(&log, all()), "0/4 a b 3/3 ..");
    assert_eq!(past(&log, up((0, 0), (0, 3))), "?0/0-0/2");
    assert_eq!(past(&log, down((0, 2), (3, 0))), "3/3 ..");
    assert_eq!(past(&log, down((0, 2), (3, 4))), "3/3 0/4 a b END");
    let mut cut = log;
    cut.fill_closed(KEY, FillEnd::Broken);
    assert_eq!(past(&cut, all()), "0/4 a b 3/3 ?3/4-7/9");
    log = super::log();
    answer(
        &mut log,
        range((0, 2), (7, 9)),
        GroupOrder::Ascending,
        vec![fobj(0, 4, 1), fpay("a"), fobj(3, 3, 0)],
        (5, 2),
    );
    // FETCH_OK said how far it goes; what lies beyond may yet be published.
    assert_eq!(past(&log, all()), "0/4 a 3/3 ?5/2-7/9");
    assert_eq!(past(&log, down((0, 2), (5, 2))), "3/3 0/4 a END");
    assert_eq!(past(&log, down((0, 0), (5, 2))), "3/3 ?0/0-0/2");
}

/// MOQT-14 §9.16.3. D14-FETCH-4 D14-FETCH-5
#[test]
fn an_answer_in_descending_order() {
    let asked = range((1, 5), (9, 0));
    let mut log = log();
    log.fill_opened(KEY, asked, GroupOrder::Descending);
    fill(&mut log, [fobj(7, 2, 0)]).unwrap();
    // Above the first object there may be what is not published yet.
    assert_eq!(past(&log, up((7, 0), (7, 3))), "7/2 END");
    assert_eq!(past(&log, up((7, 3), (7, 0))), "..");
    assert_eq!(past(&log, up((8, 0), (8, 0))), "..");
    fill(&mut log, [fobj(7, 4, 0), fobj(4, 1, 0), fobj(2, 0, 0)]).unwrap();
    assert_eq!(past(&log, up((4, 0), (7, 5))), "4/1 7/2 7/4 END");
    assert_eq!(past(&log, up((7, 5), (7, 0))), "..");
    assert_eq!(past(&log, up((2, 0), (3, 0))), "2/0 ..");
    assert_eq!(past(&log, up((1, 5), (3, 0))), "..");
    log.fill_closed(
        KEY,
        FillEnd::Complete {
            end: Location::new(7, 9),
        },
    );
    assert_eq!(past(&log, down((1, 5), (7, 9))), "7/2 7/4 4/1 2/0 END");
    assert_eq!(past(&log, down((0, 0), (9, 0))), "?8/0-9/0");
    assert_eq!(past(&log, up((7, 9), (9, 0))), "?7/9-9/0");
    assert_eq!(past(&log, up((1, 0), (1, 0))), "?1/0-1/5");
}

/// What is published needs no FETCH_OK to be left out. D14-FETCH-5
#[test]
fn a_descending_answer_below_largest() {
    let mut log = log();
    log.seed_largest(Location::new(8, 3));
    log.fill_opened(KEY, range((0, 0), (9, 0)), GroupOrder::Descending);
    fill(&mut log, [fobj(7, 2, 0)]).unwrap();
    assert_eq!(past(&log, down((7, 2), (8, 4))), "7/2 ..");
    assert_eq!(past(&log, up((8, 4), (8, 0))), "..");
    fill(&mut log, [fobj(3, 2, 0)]).unwrap();
    assert_eq!(past(&log, down((3, 0), (8, 4))), "7/2 3/2 ..");
    log.fill_closed(KEY, FillEnd::Broken);
    assert_eq!(past(&log, up((8, 0), (9, 0))), "?8/4-9/0");
}

/// An answer without objects, and one that ends inside an object. D14-FETCH-5 D14-DATA-18
#[test]
fn empty_and_unfinished_answers() {
    let mut log = log();
    answer(
        &mut log,
        range((1, 0), (3, 4)),
        GroupOrder::Descending,
        vec![],
        (2, 2),
    );
    assert_eq!(past(&log, up((1, 0), (3, 4))), "?2/2-3/4");
    answer(
        &mut log,
        range((5, 0), (6, 0)),
        GroupOrder::Ascending,
        vec![fobj(5, 1, 9), fpay("x")],
        (6, 0),
    );
    assert_eq!(past(&log, up((5, 0), (6, 0))), "?5/1-6/0");
}

/// A reader of what is cut short is told, and what stays known is not lost. D14-FETCH-18
#[test]
fn a_broken_answer() {
    let mut log = log();
    log.fill_opened(KEY, range((0, 0), (0, 0)), GroupOrder::Ascending);
    fill(&mut log, [fobj(0, 0, 1), fpay("a"), fobj(0, 1, 4), fpay("b")]).unwrap();
    let mut cursor = up((0, 0), (0, 0));
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/0 a 0/1 b ..");
    log.fill_closed(KEY, FillEnd::Broken);
    assert_eq!(past_at(&log, t0(), &mut cursor), "BROKEN");
    assert_eq!(past(&log, up((0, 0), (0, 0))), "0/0 a ?0/1-0/0");
    assert_eq!(fill(&mut log, [fobj(0, 1, 0)]), Err(FillError::UnknownFill));
}

/// D14-MAL-2 D14-DATA-7 D14-CACHE-2 D14-CACHE-3 D14-FETCH-4
#[test]
fn answers_are_checked() {
    let malformed = |why| Err(FillError::Malformed(why));
    let up = GroupOrder::Ascending;
    let live = || {
        vec![
            open(1, 3, 0),
            obj(1, 3, 2),
            pay(1, "ab"),
            obj_with(1, 5, DoesNotExist, 0),
            obj_with(1, 9, EndOfGroup, 0),
            fin(1),
        ]
    };
    type Case = (&'static str, GroupOrder, Vec<Fill>, Fill, Result<(), FillError>);
    let cases: Vec<Case> = vec![
        ("another object", up, vec![fobj(2, 4, 0)], fobj(2, 5, 0), Ok(())),
        (
            "the same object",
            up,
            vec![fobj(2, 4, 0)],
            fobj(2, 4, 0),
            malformed(Malformed::NotAscending),
        ),
        (
            "a smaller id",
            up,
            vec![fobj(2, 4, 0)],
            fobj(2, 3, 0),
            malformed(Malformed::NotAscending),
        ),
        (
            "a lower group",
            up,
            vec![fobj(2, 4, 0)],
            fobj(1, 5, 0),
            malformed(Malformed::GroupOrder),
        ),
        (
            "a higher group",
            GroupOrder::Descending,
            vec![fobj(2, 4, 0)],
            fobj(4, 5, 0),
            malformed(Malformed::GroupOrder),
        ),
        (
            "a lower group, as asked",
            GroupOrder::Descending,
            vec![fobj(2, 4, 0)],
            fobj(1, 5, 0),
            Ok(()),
        ),
        (
            "before the range",
            up,
            vec![],
            fobj(1, 0, 0),
            Err(FillError::OutsideRange),
        ),
        (
            "behind the range",
            up,
            vec![],
            fobj(8, 9, 0),
            Err(FillError::OutsideRange),
        ),
        (
            "an object inside another",
            up,
            vec![fobj(2, 4, 1)],
            fobj(2, 5, 0),
            malformed(Malformed::ObjectUnfinished),
        ),
        (
            "too much payload",
            up,
            vec![fobj(2, 4, 1)],
            fpay("ab"),
            malformed(Malformed::PayloadTooLong),
        ),
        (
            "payload of nothing",
            up,
            vec![],
            fpay("ab"),
            malformed(Malformed::PayloadTooLong),
        ),
        (
            "payload with a status",
            up,
            vec![],
            fobj_with(2, 4, EndOfGroup, 1),
            malformed(Malformed::PayloadWithStatus),
        ),
        ("what is known", up, vec![], fobj(3, 3, 2), Ok(())),
        (
            "known with another length",
            up,
            vec![],
            fobj(3, 3, 3),
            malformed(Malformed::Conflict),
        ),
        (
            "known with another status",
            up,
            vec![],
            fobj_with(3, 3, EndOfGroup, 0),
            malformed(Malformed::Conflict),
        ),
        (
            "known, and gone upstream",
            up,
            vec![],
            fobj_with(3, 3, DoesNotExist, 0),
            Ok(()),
        ),
        ("gone, and here again", up, vec![], fobj(3, 5, 7), Ok(())),
        (
            "behind the end of its group",
            up,
            vec![],
            fobj(3, 10, 0),
            malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "the end of its group",
            up,
            vec![],
            fobj_with(3, 9, EndOfGroup, 0),
            Ok(()),
        ),
        (
            "another end of its group",
            up,
            vec![],
            fobj_with(3, 8, EndOfGroup, 0),
            malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "behind the end of a fetched group",
            up,
            vec![fobj_with(2, 3, EndOfGroup, 0)],
            fobj(2, 4, 0),
            malformed(Malformed::AfterEndOfGroup),
        ),
        (
            "behind the end of the track",
            up,
            vec![fobj_with(4, 0, EndOfTrack, 0)],
            fobj(5, 0, 0),
            malformed(Malformed::AfterEndOfTrack),
        ),
        (
            "the end of the track before an object",
            up,
            vec![],
            fobj_with(3, 0, EndOfTrack, 0),
            malformed(Malformed::AfterEndOfTrack),
        ),
        (
            "a length of 2^62-1 [D14-LIM-8]",
            up,
            vec![],
            fobj(2, 0, (1 << 62) - 1),
            Ok(()),
        ),
    ];
    for (name, order, before, chunk, expected) in cases {
        let mut log = log();
        feed(&mut log, live());
        log.fill_opened(KEY, range((1, 5), (8, 9)), order);
        fill(&mut log, before).unwrap();
        assert_eq!(fill(&mut log, [chunk]), expected, "{name}");
        let closed = fill(&mut log, [fpay("")]) == Err(FillError::UnknownFill);
        assert_eq!(closed, expected.is_err(), "{name}");
    }
}

/// D14-CACHE-2 D14-CACHE-3 D14-CACHE-5 D14-CACHE-6
#[test]
fn what_is_known_stays_as_it_is() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 2),
            pay(1, "ab"),
            obj_with(1, 2, DoesNotExist, 0),
            fin(1),
        ],
    );
    let chunks = vec![
        fobj(0, 0, 2),
        fpay("x"),
        fpay("y"),
        fobj_with(0, 1, DoesNotExist, 0),
        fobj(0, 2, 3),
        fpay("new"),
        fobj_with(0, 3, EndOfGroup, 0),
        fobj_with(1, 0, EndOfTrack, 0),
    ];
    let before = log.bytes();
    answer(
        &mut log,
        range((0, 0), (2, 0)),
        GroupOrder::Ascending,
        chunks,
        (1, 1),
    );
    assert_eq!(past(&log, up((0, 0), (9, 0))), "0/0 ab 0/1! 0/2! 0/3$ 1/0# END");
    assert_eq!(
        log.bytes(),
        before + 2 * GROUP_OVERHEAD + 3 * OBJECT_OVERHEAD + RANGE_OVERHEAD
    );
    // A live copy is judged by what was fetched.
    assert_eq!(
        feed(&mut log, [open(2, 0, 2), obj(2, 4, 0)]),
        Appended::Malformed(Malformed::AfterEndOfGroup)
    );
    assert_eq!(feed(&mut log, [open(3, 0, 1), obj(3, 1, 4)]), DUPLICATE);
    assert_eq!(
        feed(&mut log, [open(4, 2, 0), obj(4, 0, 0)]),
        Appended::Malformed(Malformed::AfterEndOfTrack)
    );
    assert_eq!(
        feed(&mut log, [open(5, 1, 0), obj_with(5, 0, EndOfTrack, 0)]),
        Appended::Advanced
    );
    assert_eq!(log.end_of_track(), Some(Location::new(1, 0)));
}

/// The same object by FETCH and then live. D14-CACHE-2 D14-SUB-6
#[test]
fn a_fetched_object_comes_live_after_all() {
    let mut log = log();
    answer(
        &mut log,
        range((0, 0), (0, 0)),
        GroupOrder::Ascending,
        vec![fobj(0, 0, 2), fpay("ab"), fobj(0, 3, 0)],
        (0, 4),
    );
    assert_eq!(
        feed(&mut log, [open(1, 0, 0), obj(1, 0, 2), pay(1, "a")]),
        Appended::Advanced
    );
    assert_eq!(past(&log, up((0, 0), (0, 4))), "0/0 ab 0/3 END");
    assert_eq!(contents(&log), ["0/2 a"]);
    // What an answer left out is there when it comes all the same.
    feed(&mut log, [pay(1, "b"), obj(1, 1, 0)]);
    assert_eq!(past(&log, up((0, 0), (0, 4))), "0/0 a b 0/1 0/3 END");
    assert_eq!(
        feed(&mut log, [obj(1, 3, 5)]),
        Appended::Malformed(Malformed::Conflict)
    );
    assert_eq!(Fill::Payload(Bytes::from_static(b"x")).settled(), fpay("x"));
    assert_eq!(Normal, ObjectStatus::default());
}

/// D14-FETCH-5 D14-CACHE-7
#[test]
fn what_is_published_while_an_answer_travels_is_not_left_out_by_it() {
    let mut log = log();
    feed(&mut log, [open(1, 3, 0), obj(1, 0, 1), pay(1, "a"), fin(1)]);
    log.fill_opened(KEY, range((1, 0), (6, 0)), GroupOrder::Descending);
    // The publisher answers what it has up to group 3, and goes on. Its live objects come first.
    feed(
        &mut log,
        [
            open(2, 4, 0),
            obj(2, 0, 1),
            pay(2, "b"),
            open(3, 5, 0),
            obj(3, 0, 1),
        ],
    );
    log.fill(t0(), KEY, fobj(3, 0, 1)).unwrap();
    log.fill_closed(KEY, FillEnd::Broken);
    feed(&mut log, [reset(2)]);
    // An object of group 4 may have been lost, so nobody may say that there was none.
    assert_eq!(past(&log, up((4, 1), (4, 3))), "?4/1-4/3");
}
