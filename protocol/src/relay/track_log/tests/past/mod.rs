//! How the past is read; the folder: what answers from upstream bring (`fill`), what is known not to exist
//! (`absence`), what goes first (`budget`).

mod absence;
mod budget;
mod fill;

use super::*;
use crate::moqt::message::subscribe::GroupOrder;
use crate::moqt::object::FetchObjectHeader;

const MAX: u64 = u64::MAX;

fn range(start: (u64, u64), end: (u64, u64)) -> PastRange {
    PastRange::new(Location::new(start.0, start.1), Location::new(end.0, end.1)).unwrap()
}

fn up(start: (u64, u64), end: (u64, u64)) -> PastCursor {
    PastCursor::new(range(start, end), GroupOrder::Ascending)
}

fn down(start: (u64, u64), end: (u64, u64)) -> PastCursor {
    PastCursor::new(range(start, end), GroupOrder::Descending)
}

/// Reads until nothing follows; one word per step.
fn past_at(log: &TrackLog, now: Instant, cursor: &mut PastCursor) -> String {
    let mut seen = Vec::new();
    loop {
        match log.read_past(now, cursor) {
            Past::Object { header, .. } => {
                let status = match header.status {
                    ObjectStatus::Normal => "",
                    ObjectStatus::DoesNotExist => "!",
                    ObjectStatus::EndOfGroup => "$",
                    ObjectStatus::EndOfTrack => "#",
                };
                seen.push(format!("{}{status}", header.location));
            }
            Past::Payload(bytes) => seen.push(String::from_utf8_lossy(&bytes).into_owned()),
            Past::Arriving => {
                seen.push("..".into());
                break;
            }
            Past::Unknown(hole) => {
                seen.push(format!("?{}-{}", hole.start, hole.end));
                break;
            }
            Past::Broken => {
                seen.push("BROKEN".into());
                break;
            }
            Past::End => {
                seen.push("END".into());
                break;
            }
        }
    }
    seen.join(" ")
}

fn past(log: &TrackLog, mut cursor: PastCursor) -> String {
    past_at(log, t0(), &mut cursor)
}

fn fobj_with(group: u64, id: u64, status: ObjectStatus, payload_len: u64) -> Fill {
    Fill::Object(FetchObjectHeader {
        location: Location::new(group, id),
        subgroup: 0,
        priority: 128,
        status,
        extensions: Bytes::new(),
        payload_len,
    })
}

fn fobj(group: u64, id: u64, payload_len: u64) -> Fill {
    fobj_with(group, id, ObjectStatus::Normal, payload_len)
}

fn fpay(bytes: &'static str) -> Fill {
    Fill::Payload(Bytes::from_static(bytes.as_bytes()))
}

const KEY: FillKey = FillKey(1);

fn fill(log: &mut TrackLog, chunks: impl IntoIterator<Item = Fill>) -> Result<(), FillError> {
    let now = t0();
    chunks.into_iter().try_for_each(|chunk| log.fill(now, KEY, chunk))
}

/// A whole answer to a fetch of `range`, complete up to `end`.
fn answer(log: &mut TrackLog, range: PastRange, order: GroupOrder, chunks: Vec<Fill>, end: (u64, u64)) {
    log.fill_opened(KEY, range, order);
    fill(log, chunks).unwrap();
    let end = Location::new(end.0, end.1);
    log.fill_closed(KEY, FillEnd::Complete { end });
}

/// MOQT-14 §9.16.1. D14-FETCH-3
#[test]
fn ranges_are_as_on_the_wire() {
    let new = |a: (u64, u64), b: (u64, u64)| PastRange::new(Location::new(a.0, a.1), Location::new(b.0, b.1));
    assert_eq!(new((5, 3), (4, 9)), None);
    assert_eq!(new((5, 3), (4, 0)), None);
    assert_eq!(new((5, 3), (5, 2)), None);
    assert!(range((5, 3), (5, 3)).is_empty());
    assert!(!range((5, 3), (5, 0)).is_empty());
    let part = range((5, 3), (7, 2));
    for (at, inside) in [
        ((5, 2), false),
        ((5, 3), true),
        ((5, MAX), true),
        ((6, 0), true),
        ((7, 1), true),
        ((7, 2), false),
        ((8, 0), false),
    ] {
        assert_eq!(part.contains(Location::new(at.0, at.1)), inside, "{at:?}");
    }
    assert!(range((5, 3), (5, 0)).contains(Location::new(5, MAX)));
    assert_eq!(past(&log(), up((5, 3), (5, 3))), "END");
}

/// MOQT-14 §9.16.3: by object id, whatever subgroup or datagram brought it. D14-FETCH-4 D14-CACHE-1
#[test]
fn subgroups_are_merged_by_object_id() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            open(2, 0, 1),
            obj(1, 0, 1),
            pay(1, "a"),
            obj(2, 1, 2),
            obj(1, 2, 0),
            pay(2, "b"),
            open(3, 1, 0),
            obj(3, 0, 1),
            pay(3, "z"),
            pay(2, "c"),
        ],
    );
    assert_eq!(past(&log, up((0, 0), (0, 3))), "0/0 a 0/1 b c 0/2 END");
    assert_eq!(past(&log, up((0, 1), (0, 2))), "0/1 b c END");
    assert_eq!(past(&log, up((1, 0), (1, 1))), "1/0 z END");
    // What comes later in either group may still come.
    assert_eq!(past(&log, up((0, 0), (1, 1))), "0/0 a 0/1 b c 0/2 ..");
    assert_eq!(past(&log, down((0, 0), (1, 1))), "1/0 z 0/0 a 0/1 b c 0/2 ..");
    let mut cursor = up((0, 1), (0, 0));
    let Past::Object { header, .. } = log.read_past(t0(), &mut cursor) else {
        panic!()
    };
    assert_eq!(
        (header.subgroup, header.priority, header.payload_len),
        (1, 128, 2)
    );
    assert!(cursor.inside_object());
    assert_eq!(cursor.at(), Location::new(0, 1));
}

/// Priority, subgroup, status, extensions and length come back as they came, by stream, by datagram and by FETCH.
/// D14-CACHE-1 D14-CACHE-5
#[test]
fn every_property_is_kept() {
    let extensions = Bytes::from_static(&[0x40, 0x7a, 1]);
    let header = |group, id, subgroup, status, payload_len| FetchObjectHeader {
        location: Location::new(group, id),
        subgroup,
        priority: 9,
        status,
        extensions: extensions.clone(),
        payload_len,
    };
    let kept = |log: &TrackLog, at: (u64, u64)| {
        let Past::Object { header, .. } = log.read_past(t0(), &mut up(at, (at.0, at.1 + 1))) else {
            panic!("{at:?}")
        };
        header
    };
    let mut streams = log();
    feed(&mut streams, [open_prior(1, 2, 5, 9)]);
    for (id, status, payload_len) in [(3, ObjectStatus::Normal, 2), (4, ObjectStatus::EndOfGroup, 0)] {
        let object = ObjectHeader {
            id,
            status,
            extensions: extensions.clone(),
            payload_len,
        };
        let begun = Append::ObjectStarted {
            stream: 1,
            header: object,
        };
        feed(&mut streams, [begun]);
        if payload_len > 0 {
            feed(&mut streams, [pay(1, "ab")]);
        }
        assert_eq!(kept(&streams, (2, id)), header(2, id, 5, status, payload_len));
    }
    let mut datagrams = log();
    let sent = LogDatagram {
        priority: 9,
        extensions: extensions.clone(),
        payload: Bytes::from_static(b"abc"),
        ..datagram(2, 3)
    };
    feed(&mut datagrams, [Append::Datagram(sent)]);
    assert_eq!(kept(&datagrams, (2, 3)), header(2, 3, 3, ObjectStatus::Normal, 3));
    let mut fetched = log();
    fetched.fill_opened(KEY, range((2, 0), (2, 0)), GroupOrder::Ascending);
    for (id, status) in [(3, ObjectStatus::Normal), (4, ObjectStatus::EndOfGroup)] {
        let came = header(2, id, 8, status, 0);
        fill(&mut fetched, [Fill::Object(came.clone())]).unwrap();
        assert_eq!(kept(&fetched, (2, id)), came);
    }
}

/// What a fetch brought without its preference is a datagram when it comes as one: the same object, with its id as
/// subgroup. D14-FETCH-15
#[test]
fn a_fetched_datagram_comes_live_after_all() {
    for (subgroup, appended) in [
        (3, Appended::Advanced),
        (0, Appended::Malformed(Malformed::Conflict)),
    ] {
        let mut log = log();
        let Fill::Object(mut fetched) = fobj(2, 3, 0) else {
            panic!()
        };
        fetched.subgroup = subgroup;
        answer(
            &mut log,
            range((2, 0), (2, 0)),
            GroupOrder::Ascending,
            vec![Fill::Object(fetched)],
            (2, 0),
        );
        assert_eq!(feed(&mut log, [dgram(2, 3)]), appended, "{subgroup}");
    }
}

/// MOQT-14 §10.4.4: a datagram has its object id as subgroup on a fetch stream. D14-FETCH-15
#[test]
fn datagrams_are_past_objects_too() {
    let mut log = log();
    feed(&mut log, [dgram(0, 4), dgram(0, 3), dgram(0, 5)]);
    let Append::Datagram(mut datagram) = dgram(0, 6) else {
        panic!()
    };
    datagram.payload = Bytes::from_static(b"six");
    feed(&mut log, [Append::Datagram(datagram)]);
    assert_eq!(past(&log, up((0, 3), (0, 7))), "0/3 0/4 0/5 0/6 six END");
    let Past::Object { header, .. } = log.read_past(t0(), &mut up((0, 6), (0, 7))) else {
        panic!()
    };
    assert_eq!((header.subgroup, header.payload_len), (6, 3));
}

/// D14-DATA-22 D14-FETCH-5
#[test]
fn an_object_is_read_while_it_comes() {
    let mut log = log();
    feed(&mut log, [open(1, 0, 0), obj(1, 0, 4)]);
    let (mut cut, mut whole) = (up((0, 0), (0, 2)), up((0, 0), (0, 1)));
    assert_eq!(past_at(&log, t0(), &mut cut), "0/0 ..");
    feed(&mut log, [pay(1, "ab")]);
    assert_eq!(past_at(&log, t0(), &mut whole), "0/0 ab ..");
    assert_eq!(past_at(&log, t0(), &mut cut), "ab ..");
    feed(&mut log, [pay(1, "cd")]);
    assert_eq!(past_at(&log, t0(), &mut whole), "cd END");
    assert_eq!(past_at(&log, t0(), &mut cut), "cd ..");
    // Nobody knows whether there is an object 1 once the stream is over.
    feed(&mut log, [fin(1)]);
    assert_eq!(past_at(&log, t0(), &mut cut), "?0/1-0/2");
    feed(&mut log, [open(2, 1, 0), obj(2, 0, 4), pay(2, "x")]);
    let mut reader = up((1, 0), (1, 1));
    assert_eq!(past_at(&log, t0(), &mut reader), "1/0 x ..");
    feed(&mut log, [reset(2)]);
    assert_eq!(past_at(&log, t0(), &mut reader), "BROKEN");
    assert_eq!(past(&log, up((1, 0), (1, 1))), "?1/0-1/1");
}

/// D14-CACHE-7
#[test]
fn what_an_open_stream_may_bring_is_waited_for() {
    let mut log = log();
    feed(
        &mut log,
        [open(1, 0, 0), open(2, 0, 1), obj(1, 4, 0), obj(2, 7, 0)],
    );
    // Stream 1 may bring 5 and later, stream 2 from 8 on; nothing below 4 can come.
    assert_eq!(past(&log, up((0, 4), (0, 8))), "0/4 ..");
    assert_eq!(past(&log, up((0, 0), (0, 8))), "?0/0-0/4");
    feed(&mut log, [fin(1)]);
    assert_eq!(past(&log, up((0, 4), (0, 8))), "0/4 ?0/5-0/7");
    assert_eq!(past(&log, up((0, 7), (0, 0))), "0/7 ..");
    feed(&mut log, [open(3, 0, 2)]);
    assert_eq!(past(&log, up((0, 0), (0, 8))), "..");
}

/// A hole is asked for once, not object by object, and not what is known or coming. D14-FETCH-6 D14-CACHE-7
#[test]
fn holes_are_as_large_as_can_be() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 5, 0),
            obj(1, 3, 0),
            obj(1, 4, 0),
            fin(1),
            open(2, 9, 0),
            obj(2, 0, 0),
            fin(2),
        ],
    );
    for (cursor, seen) in [
        (up((0, 0), (MAX, 0)), "?0/0-5/3".into()),
        (up((5, 4), (MAX, 0)), "5/4 ?5/5-8/0".into()),
        (up((9, 0), (MAX, 0)), format!("9/0 ?9/1-{MAX}/0")),
        (up((6, 2), (7, 3)), "?6/2-7/3".into()),
        (up((6, 2), (9, 0)), "?6/2-8/0".into()),
        (down((0, 0), (MAX, 0)), format!("?10/0-{MAX}/0")),
        (down((0, 0), (12, 5)), "?10/0-12/5".into()),
        (down((0, 0), (9, 1)), "9/0 ?6/0-8/0".into()),
        (down((6, 2), (9, 1)), "9/0 ?6/2-8/0".into()),
        (down((0, 0), (5, 0)), "?5/0-5/3".into()),
        (down((0, 2), (4, 0)), "?0/2-4/0".into()),
    ] {
        assert_eq!(past(&log, cursor.clone()), seen, "{cursor:?}");
    }
    // An open stream and an open answer bound it.
    feed(&mut log, [open(3, 7, 0)]);
    assert_eq!(past(&log, up((5, 4), (MAX, 0))), "5/4 ?5/5-6/0");
    log.fill_opened(KEY, range((6, 1), (6, 4)), GroupOrder::Ascending);
    assert_eq!(past(&log, up((5, 4), (MAX, 0))), "5/4 ?5/5-6/1");
    assert_eq!(past(&log, up((6, 1), (MAX, 0))), "..");
    assert_eq!(past(&log, up((6, 4), (MAX, 0))), "?6/4-6/0");
    assert_eq!(past(&log, down((0, 0), (6, 0))), "?6/0-6/1");
}

/// MOQT-14 §9.16.1: FETCH_OK may end a range earlier. D14-FETCH-9
#[test]
fn a_range_can_be_cut() {
    let mut log = log();
    feed(
        &mut log,
        [
            open(1, 0, 0),
            obj(1, 0, 2),
            pay(1, "a"),
            open(2, 2, 0),
            obj(2, 0, 0),
        ],
    );
    let mut cursor = up((0, 0), (9, 0));
    assert_eq!(past_at(&log, t0(), &mut cursor), "0/0 a ..");
    cursor.truncate(Location::new(0, 1));
    assert_eq!(cursor.range(), range((0, 0), (0, 1)));
    feed(&mut log, [pay(1, "b")]);
    assert_eq!(past_at(&log, t0(), &mut cursor), "b END");
    let mut cursor = down((0, 0), (9, 0));
    cursor.truncate(Location::new(2, 1));
    cursor.truncate(Location::new(5, 1));
    assert_eq!(past_at(&log, t0(), &mut cursor), "2/0 ?1/0-1/0");
    let mut cursor = down((1, 0), (9, 0));
    cursor.truncate(Location::new(0, 1));
    assert_eq!(past_at(&log, t0(), &mut cursor), "END");
}

/// MOQT-14 §9.7: a subscription never sees what came by FETCH. D14-SUB-6
#[test]
fn subscriptions_do_not_see_the_past() {
    let mut log = log();
    let edge = log.live_edge();
    answer(
        &mut log,
        range((0, 0), (3, 0)),
        GroupOrder::Ascending,
        vec![fobj(0, 0, 1), fpay("a"), fobj(2, 0, 0)],
        (3, 0),
    );
    assert!(contents(&log).is_empty());
    assert_eq!(log.live_edge(), edge);
    assert_eq!(log.largest(), None);
    assert!(log.snapshot().is_empty());
    assert_eq!(past(&log, up((0, 0), (3, 0))), "0/0 a 2/0 END");
}

/// MOQT-14 §9.2.1.3. D14-CACHE-4
#[test]
fn what_is_too_old_is_not_begun() {
    let mut log = log();
    let (now, ms) = (t0(), Duration::from_millis(1));
    log.append(now, open(1, 0, 0));
    log.append(now, obj(1, 0, 2));
    log.append(now + 900 * ms, pay(1, "ab"));
    log.append(now + 1000 * ms, obj(1, 1, 0));
    log.append(now + 1000 * ms, fin(1));
    let read = |log: &TrackLog, now| {
        let mut pos = Position::default();
        matches!(
            log.read_fresh(Some(now), SubgroupSeq(0), &mut pos),
            Read::Object(_)
        )
    };
    let later = now + 5000 * ms;
    assert_eq!(past_at(&log, later, &mut up((0, 0), (0, 2))), "0/0 ab 0/1 END");
    assert!(read(&log, later));
    log.set_max_cache(Some(1500 * ms));
    assert_eq!(log.max_cache(), Some(1500 * ms));
    assert!(read(&log, now + 1500 * ms) && !read(&log, now + 1501 * ms));
    assert_eq!(
        past_at(&log, now + 1500 * ms, &mut up((0, 0), (0, 2))),
        "0/0 ab 0/1 END"
    );
    assert_eq!(
        past_at(&log, now + 1501 * ms, &mut up((0, 0), (0, 2))),
        "?0/0-0/1"
    );
    assert_eq!(past_at(&log, later, &mut up((0, 0), (0, 2))), "?0/0-0/2");
    // One that was begun in time is read to its end.
    let mut cursor = up((0, 0), (0, 1));
    assert!(matches!(log.read_past(now, &mut cursor), Past::Object { .. }));
    assert_eq!(past_at(&log, later, &mut cursor), "ab END");
    // Fetched again, it is as good as new.
    log.fill_opened(KEY, range((0, 0), (0, 2)), GroupOrder::Ascending);
    for chunk in [fobj(0, 0, 2), fpay("ab"), fobj(0, 1, 0)] {
        log.fill(later, KEY, chunk).unwrap();
    }
    assert_eq!(past_at(&log, later, &mut up((0, 0), (0, 2))), "0/0 ab 0/1 END");
}

/// MOQT-14 §9.2.1.3. D14-CACHE-4
#[test]
fn datagrams_grow_old_too() {
    let mut log = log();
    let (now, ms) = (t0(), Duration::from_millis(1));
    log.append(now, dgram(0, 0));
    log.append(now + 10 * ms, dgram(0, 1));
    log.set_max_cache(Some(5 * ms));
    let mut cursor = Cursor::default();
    let now = Some(now + 12 * ms);
    assert_eq!(log.next_fresh_datagram(now, &mut cursor), Next::Lagged(1));
    assert!(matches!(log.next_fresh_datagram(now, &mut cursor), Next::Ready(d) if d.location.object == 1));
}

/// Ranges that lie cost what is known, not what they span. D14-LIM-8
#[test]
fn a_range_costs_what_is_known() {
    let mut log = log();
    log.absent(range((0, 0), (MAX, 0)));
    feed(&mut log, [open(1, MAX / 2, 0), obj(1, MAX / 2, 0), fin(1)]);
    let hole = format!("?{}/0-{0}/{0}", MAX / 2);
    assert_eq!(past(&log, up((0, 0), (MAX, 0))), hole);
    assert_eq!(past(&log, down((0, 0), (MAX, 0))), hole);
}
