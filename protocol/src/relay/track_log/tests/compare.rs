//! Whether bytes that come again are the same.

use super::*;

/// D14-MAL-3: as far as they are at hand, wherever a piece begins and ends.
#[test]
fn bytes_are_compared_where_they_are_at_hand() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), obj(1, 0, 2), pay(1, "xy"), obj(1, 1, 8)],
    );
    feed(&mut log, [pay(1, "ab"), pay(1, "cde"), pay(1, "f")]);
    let at = Location::new(0, 1);
    let whole = b"abcdefgh";
    for (from, to) in (0..=8).flat_map(|from| (from..=8).map(move |to| (from, to))) {
        let compare = |bytes: &[u8]| log.compare(at, from as u64, bytes, &mut CopyHint::default());
        let expected = (to <= 6 || from == to).then_some(true);
        assert_eq!(compare(&whole[from..to]), expected, "{from}..{to}");
        if from < to && to <= 6 {
            let mut other = whole[from..to].to_vec();
            *other.last_mut().unwrap() ^= 1;
            assert_eq!(compare(&other), Some(false), "{from}..{to}");
        }
    }
    // A hint leads on, and one that leads elsewhere does no harm.
    let mut hint = CopyHint::default();
    for (offset, bytes) in [(0, "a"), (1, "bc"), (3, "d"), (4, "ef"), (0, "abc")] {
        let same = log.compare(at, offset, bytes.as_bytes(), &mut hint);
        assert_eq!(same, Some(true), "{offset}");
    }
    assert_eq!(log.compare(Location::new(0, 0), 1, b"y", &mut hint), Some(true));
    assert_eq!(log.compare(Location::new(0, 2), 0, b"y", &mut hint), None);
    assert_eq!(log.compare(Location::new(1, 0), 0, b"y", &mut hint), None);
}

/// What is left of an object that is being evicted can still be compared, and what is gone cannot.
#[test]
fn what_is_evicted_is_not_at_hand() {
    let room = GROUP_OVERHEAD + SUBGROUP_OVERHEAD + OBJECT_OVERHEAD + RANGE_OVERHEAD;
    for max_object in [100, 4] {
        let mut log = TrackLog::new(Limits {
            max_bytes: room + 2 * (CHUNK_OVERHEAD + 3),
            max_object,
            ..Limits::default()
        });
        feed(&mut log, [open(1, 0, 0), obj(1, 1, 12)]);
        feed(
            &mut log,
            [pay(1, "abc"), pay(1, "def"), pay(1, "ghi"), pay(1, "jkl")],
        );
        let at = Location::new(0, 1);
        let compare =
            |offset, bytes: &str| log.compare(at, offset, bytes.as_bytes(), &mut CopyHint::default());
        assert_eq!(compare(0, "abc"), None);
        assert_eq!(compare(2, "cdefgh"), None);
        assert_eq!(compare(9, "jkl"), Some(true));
        assert_eq!(compare(10, "xl"), Some(false));
        assert_eq!(log.stream_tail(1).unwrap().received, 12);
    }
}
