//! What of the past goes first.

use super::*;
use crate::relay::track_log::WINDOW_BYTES;

/// Bytes are counted exactly, and all of them go in the end. D14-CACHE-6
#[test]
fn the_past_is_counted() {
    let mut log = log();
    log.fill_opened(KEY, range((0, 0), (9, 0)), GroupOrder::Ascending);
    assert_eq!(log.bytes(), FILL_OVERHEAD);
    fill(&mut log, [fobj(0, 0, 3), fpay("abc"), fobj(5, 1, 2), fpay("d")]).unwrap();
    let object = OBJECT_OVERHEAD + CHUNK_OVERHEAD;
    // Absent: the rest of group 0, groups 1 to 4, the start of group 5.
    let kept = 2 * GROUP_OVERHEAD + 3 * RANGE_OVERHEAD + 2 * object + 4;
    assert_eq!(log.bytes(), FILL_OVERHEAD + kept);
    assert_eq!(log.own_bytes(), FILL_OVERHEAD + kept - 4);
    log.fill_closed(KEY, FillEnd::Broken);
    assert_eq!(log.bytes(), kept - object - 1);
    let later = t0() + Duration::from_secs(61);
    assert!(log.next_eviction().is_some_and(|at| at < later));
    log.evict(later);
    assert_eq!((log.bytes(), log.own_bytes(), log.next_eviction()), (0, 0, None));
    assert_eq!(past(&log, up((0, 0), (9, 0))), "?0/0-9/0");
}

/// The group whose last object came longest ago goes first, and never the newest live one. D14-CACHE-6
#[test]
fn old_groups_go_first_live_or_past() {
    let group = GROUP_OVERHEAD + SUBGROUP_OVERHEAD + RANGE_OVERHEAD + OBJECT_OVERHEAD;
    let mut log = TrackLog::new(Limits {
        max_bytes: 3 * group,
        ..Limits::default()
    });
    let (now, s) = (t0(), Duration::from_secs(1));
    let live = |log: &mut TrackLog, at, stream, group| {
        for chunk in [open(stream, group, 0), obj(stream, 0, 0), fin(stream)] {
            log.append(at, chunk);
        }
    };
    live(&mut log, now, 1, 9);
    live(&mut log, now + s, 2, 3);
    log.fill_opened(KEY, range((1, 0), (1, 1)), GroupOrder::Ascending);
    log.fill(now + 2 * s, KEY, fobj(1, 0, 0)).unwrap();
    log.fill_closed(KEY, FillEnd::Broken);
    live(&mut log, now + 3 * s, 3, 4);
    live(&mut log, now + 4 * s, 4, 5);
    let kept = |log: &TrackLog| {
        let mut groups = [1, 3, 4, 5, 9].to_vec();
        groups.retain(|&group| past(log, up((group, 0), (group, 1))).ends_with("END"));
        groups
    };
    log.evict(now + 4 * s);
    assert_eq!(kept(&log), [4, 5, 9]);
    assert!(log.give_up(1) > 0);
    assert_eq!(kept(&log), [5, 9]);
    assert_eq!(
        log.give_up(usize::MAX),
        2 * group - GROUP_OVERHEAD - RANGE_OVERHEAD
    );
    assert!(kept(&log).is_empty());
}

/// What other logs need is not taken from open subgroups of the newest group. D14-LIM-7
#[test]
fn giving_up_spares_what_is_open() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 1),
            pay(1, "a"),
            open(2, 0, 1),
            obj(2, 1, 1),
            pay(2, "b"),
            fin(2),
        ],
    );
    log.give_up(usize::MAX);
    assert_eq!(contents(&log), ["0/1 a", "LAGGED 1"]);
    assert_eq!(past(&log, up((0, 0), (0, 2))), "0/0 a ..");
    feed(&mut log, [fin(1)]);
    assert_eq!(past(&log, up((0, 0), (0, 2))), "0/0 a ?0/1-0/2");
}

/// A fetch larger than the budget passes through it for a reader that keeps up, however groups are cut. D14-FETCH-20
#[test]
fn a_fetch_larger_than_the_budget_passes_through() {
    for (groups, objects, order) in [
        (1, 400, GroupOrder::Ascending),
        (40, 10, GroupOrder::Ascending),
        (40, 10, GroupOrder::Descending),
        (400, 1, GroupOrder::Descending),
    ] {
        let max_bytes = 64 * 1024;
        let mut log = TrackLog::new(Limits {
            max_bytes,
            ..Limits::default()
        });
        // The newest live group alone fills the log.
        feed(&mut log, [open(1, groups, 0)]);
        let live = |log: &mut TrackLog, id| {
            let bytes = Bytes::from(vec![0; 1000]);
            feed(log, [obj(1, id, 1000), Append::Payload { stream: 1, bytes }]);
        };
        (0..100).for_each(|id| live(&mut log, id));
        let asked = range((0, 0), (groups - 1, 0));
        let mut cursor = PastCursor::new(asked, order);
        log.fill_opened(KEY, asked, order);
        let mut next = 100;
        for step in 0..groups {
            let group = if order == GroupOrder::Ascending {
                step
            } else {
                groups - 1 - step
            };
            for id in 0..objects {
                let Fill::Object(header) = fobj(group, id, 2000) else {
                    panic!()
                };
                fill(&mut log, [Fill::Object(header)]).unwrap();
                for _ in 0..2 {
                    let bytes = Bytes::from(vec![1; 1000]);
                    fill(&mut log, [Fill::Payload(bytes)]).unwrap();
                    live(&mut log, next);
                    next += 1;
                    assert!(log.bytes() <= max_bytes + 4096, "{}", log.bytes());
                }
                let seen = past_at(&log, t0(), &mut cursor);
                assert!(
                    seen.starts_with(&format!("{group}/{id} ")) && seen.ends_with(".."),
                    "{group}/{id}: {} {seen}",
                    log.past.bytes
                );
            }
        }
        log.fill_closed(KEY, FillEnd::Complete { end: asked.end });
        assert_eq!(past_at(&log, t0(), &mut cursor), "END");
    }
}

/// Too large to keep: streamed through, and unknown when it is over. MOQT-14 §12. D14-LIM-8
#[test]
fn an_object_too_large_is_not_kept() {
    let len = 3 * WINDOW_BYTES;
    let mut log = TrackLog::new(Limits {
        max_object: len - 1,
        ..Limits::default()
    });
    let piece = |fill: u64| Bytes::from(vec![u8::try_from(fill).unwrap(); 1 << 19]);
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 1), pay(1, "a"), obj(1, 1, len)],
    );
    let mut cursor = up((0, 0), (0, 3));
    let (seq, mut pos) = (SubgroupSeq(0), Position::default());
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/0 a 0/1 ..");
    assert_eq!(read_all(&log, seq, &mut pos), format!("0/1 a 1/{len}"));
    let mut late = pos;
    for fill in 0..len >> 19 {
        let bytes = piece(fill);
        feed(
            &mut log,
            [Append::Payload {
                stream: 1,
                bytes: bytes.clone(),
            }],
        );
        assert_eq!(log.read_past(t0(), &mut cursor), Past::Payload(bytes));
        assert!(matches!(log.read(seq, &mut pos), Read::Payload(read) if u64::from(read[0]) == fill));
        assert!(log.bytes() < usize::try_from(WINDOW_BYTES).unwrap() + 8192);
    }
    feed(&mut log, [obj(1, 2, 1), pay(1, "z"), fin(1)]);
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/2 z END");
    assert_eq!(read_all(&log, seq, &mut pos), "2/1 z FIN");
    assert_eq!(read_all(&log, seq, &mut late), "EVICTED");
    assert_eq!(past(&log, up((0, 0), (0, 3))), "0/0 a ?0/1-0/2");
    // The same for one that is fetched.
    let mut cursor = up((0, 1), (0, 2));
    log.fill_opened(KEY, range((0, 1), (0, 2)), GroupOrder::Ascending);
    fill(&mut log, [fobj(0, 1, len)]).unwrap();
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/1 ..");
    for number in 0..len >> 19 {
        fill(&mut log, [Fill::Payload(piece(number))]).unwrap();
        assert_eq!(log.read_past(t0(), &mut cursor), Past::Payload(piece(number)));
    }
    assert_eq!(past_at(&log, t0(), &mut cursor), "END");
    assert_eq!(past(&log, up((0, 1), (0, 2))), "?0/1-0/2");
    let end = Location::new(0, 2);
    log.fill_closed(KEY, FillEnd::Complete { end });
    assert!(log.bytes() < 2 * usize::try_from(WINDOW_BYTES).unwrap() + 8192);
    log.evict(t0() + Duration::from_secs(200));
    assert_eq!((log.bytes(), log.own_bytes()), (0, 0));
}

/// Whoever falls behind the window of a large object that is fetched does not get the rest of it without its middle.
/// D14-FETCH-5 D14-DATA-18
#[test]
fn a_reader_that_falls_behind_the_window_is_told() {
    let mut log = TrackLog::new(Limits {
        max_object: 8,
        ..Limits::default()
    });
    let mut cursor = up((0, 1), (0, 3));
    log.fill_opened(KEY, range((0, 1), (0, 3)), GroupOrder::Ascending);
    fill(&mut log, [fobj(0, 1, 12), fpay("abcd")]).unwrap();
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/1 abcd ..");
    let mut late = up((0, 1), (0, 3));
    assert!(matches!(log.read_past(t0(), &mut late), Past::Object { .. }));
    fill(&mut log, [fpay("efgh"), fpay("ijkl"), fobj(0, 2, 1), fpay("z")]).unwrap();
    assert_eq!(past_at(&log, t0(), &mut cursor), "efgh ijkl 0/2 z END");
    assert_eq!(past_at(&log, t0(), &mut late), "BROKEN");
}

/// Groups of the past are bounded like live ones. D14-CACHE-6
#[test]
fn past_groups_are_bounded() {
    let mut log = TrackLog::new(Limits {
        max_groups: 3,
        ..Limits::default()
    });
    log.fill_opened(KEY, range((0, 0), (100, 0)), GroupOrder::Ascending);
    for group in 0..100 {
        fill(&mut log, [fobj(group, 0, 0)]).unwrap();
    }
    log.fill_closed(KEY, FillEnd::Broken);
    assert_eq!(past(&log, up((0, 0), (100, 0))), "?0/0-96/0");
    assert_eq!(past(&log, up((97, 0), (100, 0))), "97/0 98/0 99/0 ?99/1-100/0");
}
