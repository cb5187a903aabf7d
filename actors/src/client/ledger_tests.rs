use super::*;
use crate::client::ReceivedObject;
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::object::ObjectStatus;
use std::time::Instant;

fn object(group: u64, id: u64) -> Item {
    Item::Object(ReceivedObject {
        location: Location::new(group, id),
        subgroup: Some(0),
        priority: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload: Vec::new(),
        at: Instant::now(),
    })
}

const fn opened(group: u64) -> Item {
    Item::Opened { group, subgroup: 0 }
}

const fn fin(group: u64) -> Item {
    Item::Closed {
        group,
        subgroup: 0,
        end: StreamEnd::Fin,
    }
}

const fn reset(group: u64) -> Item {
    Item::Closed {
        group,
        subgroup: 0,
        end: StreamEnd::Reset(ResetCode::Cancelled),
    }
}

/// What passes, as text.
fn pass(ledger: &mut Ledger, side: Side, item: Item) -> String {
    texts(ledger.pass(side, item))
}

fn texts(items: Vec<Item>) -> String {
    let text = |item: Item| match item {
        Item::Opened { group, .. } => format!("o{group}"),
        Item::Object(object) => format!("{}.{}", object.location.group, object.location.object),
        Item::Closed { group, end, .. } => match end {
            StreamEnd::Fin => format!("f{group}"),
            StreamEnd::Reset(_) => format!("r{group}"),
        },
        Item::Lost | Item::Done(_) => String::new(),
    };
    let texts: Vec<_> = items.into_iter().map(text).collect();
    texts.join(" ")
}

/// D14-GOAWAY-5
#[test]
fn a_stream_that_goes_on_in_the_next_session_is_one_stream() {
    let mut ledger = Ledger::default();
    for (item, seen) in [(opened(7), "o7"), (object(7, 0), "7.0"), (object(7, 1), "7.1")] {
        assert_eq!(pass(&mut ledger, Side::Old, item), seen);
    }
    ledger.leaving();
    assert!(!ledger.is_complete(Some(Location::new(7, 2))));
    assert!(ledger.is_complete(Some(Location::new(7, 1))));
    ledger.merging();
    for (side, item, seen) in [
        (Side::New, opened(7), ""),
        (Side::New, object(7, 1), ""),
        (Side::New, object(7, 2), "7.2"),
        (Side::Old, object(7, 2), ""),
        (Side::Old, object(7, 3), "7.3"),
        (Side::Old, fin(7), ""),
        (Side::New, object(7, 3), ""),
        (Side::New, fin(7), "f7"),
        (Side::Old, opened(8), "o8"),
        (Side::Old, object(8, 0), "8.0"),
        (Side::Old, fin(8), "f8"),
        (Side::New, opened(8), ""),
        (Side::New, object(8, 0), ""),
        (Side::New, fin(8), ""),
    ] {
        assert_eq!(pass(&mut ledger, side, item), seen);
    }
}

#[test]
fn what_the_old_session_cuts_is_cut_only_if_it_does_not_go_on() {
    for goes_on in [true, false] {
        let mut ledger = Ledger::default();
        pass(&mut ledger, Side::Old, opened(7));
        pass(&mut ledger, Side::Old, object(7, 0));
        ledger.leaving();
        assert_eq!(pass(&mut ledger, Side::Old, reset(7)), "");
        assert_eq!(ledger.resume_at(Location::ZERO), Location::new(7, 1));
        ledger.merging();
        if goes_on {
            assert_eq!(pass(&mut ledger, Side::New, opened(7)), "");
            assert_eq!(pass(&mut ledger, Side::New, object(7, 1)), "7.1");
            assert_eq!(pass(&mut ledger, Side::New, fin(7)), "f7");
        }
        assert_eq!(pass(&mut ledger, Side::New, object(8, 0)), "8.0");
        let late = pass(&mut ledger, Side::New, object(9, 0));
        assert_eq!(late, if goes_on { "9.0" } else { "r7 9.0" });
    }
}

/// What a fetched object brings, as text.
fn fill(ledger: &mut Ledger, group: u64, id: u64) -> String {
    let Item::Object(fetched) = object(group, id) else {
        panic!("an object");
    };
    texts(ledger.fill(fetched))
}

/// D14-GOAWAY-5 D14-FETCH-5
#[test]
fn what_is_fetched_joins_two_sessions() {
    for whole in [true, false] {
        let mut ledger = Ledger::default();
        pass(&mut ledger, Side::Old, opened(7));
        pass(&mut ledger, Side::Old, object(7, 0));
        ledger.leaving();
        assert_eq!(pass(&mut ledger, Side::Old, reset(7)), "");
        ledger.merging();
        ledger.old_is_over();
        for (group, id, seen) in [
            (7, 0, ""),
            (7, 1, "7.1"),
            (8, 0, "f7 o8 8.0"),
            (8, 1, "8.1"),
            (9, 0, "f8 o9 9.0"),
        ] {
            assert_eq!(fill(&mut ledger, group, id), seen);
        }
        if whole {
            assert_eq!(texts(ledger.filled(9)), "");
        } else {
            ledger.unfilled();
        }
        // The new session goes on with the group, or does not and it ends as what was fetched of it.
        if whole {
            assert_eq!(pass(&mut ledger, Side::New, opened(9)), "");
            assert_eq!(pass(&mut ledger, Side::New, object(9, 1)), "9.1");
            assert_eq!(pass(&mut ledger, Side::New, fin(9)), "f9");
        }
        assert_eq!(pass(&mut ledger, Side::New, opened(11)), "o11");
        let next = pass(&mut ledger, Side::New, object(11, 0));
        assert_eq!(next, if whole { "11.0" } else { "r9 11.0" });
    }
    let mut ledger = Ledger::default();
    pass(&mut ledger, Side::Old, opened(7));
    ledger.leaving();
    ledger.merging();
    ledger.old_is_over();
    assert_eq!(texts(ledger.filled(9)), "f7", "nothing of it is missing");
}

/// D14-FETCH-15: objects that were sent as datagrams are no streams when they are fetched.
#[test]
fn fetched_datagrams_open_no_streams() {
    let mut ledger = Ledger::default();
    let Item::Object(mut datagram) = object(7, 0) else {
        panic!("an object");
    };
    datagram.subgroup = None;
    ledger.pass(Side::Old, Item::Object(datagram));
    ledger.leaving();
    ledger.merging();
    assert_eq!(fill(&mut ledger, 8, 0), "8.0");
}

#[test]
fn alone_a_session_is_passed_as_it_is() {
    let mut ledger = Ledger::default();
    for (item, seen) in [
        (opened(1), "o1"),
        (object(1, 0), "1.0"),
        (object(1, 0), "1.0"),
        (reset(1), "r1"),
        (opened(1), "o1"),
        (fin(1), "f1"),
    ] {
        assert_eq!(pass(&mut ledger, Side::Old, item), seen);
    }
}

#[test]
fn ranges_join_and_are_bounded() {
    let mut ledger = Ledger::default();
    for id in [0, 2, 1, 5, 4] {
        ledger.note(Location::new(3, id));
    }
    assert_eq!(ledger.given[&3], BTreeMap::from([(0, 3), (4, 6)]));
    assert_eq!(ledger.ranges, 2);
    for (id, given) in [(0, true), (2, true), (3, false), (4, true), (5, true), (6, false)] {
        assert_eq!(ledger.has(Location::new(3, id)), given);
    }
    assert_eq!(ledger.resume_at(Location::ZERO), Location::new(3, 3));
    for group in 4..10_000 {
        ledger.note(Location::new(group, 0));
    }
    assert!(ledger.ranges <= MAX_RANGES && ledger.given.len() <= MAX_RANGES);
    assert!(ledger.has(Location::new(3, 3)), "forgotten is given");
    assert!(!ledger.has(Location::new(9_999, 1)));
}

/// A subscription that resets its streams may be about to end, and to be asked for again.
#[test]
fn what_is_cut_is_told_once_the_subscription_goes_on() {
    // It goes on: an object of the next group tells.
    let mut ledger = Ledger::new(true);
    for (item, passes) in [
        (opened(3), "o3"),
        (object(3, 0), "3.0"),
        (reset(3), ""),
        (opened(4), "o4"),
        (object(4, 0), "r3 4.0"),
    ] {
        assert_eq!(pass(&mut ledger, Side::New, item), passes);
    }
    // It is asked for again, and the stream goes on.
    let mut ledger = Ledger::new(true);
    for (item, passes) in [(opened(3), "o3"), (object(3, 0), "3.0"), (reset(3), "")] {
        assert_eq!(pass(&mut ledger, Side::New, item), passes);
    }
    ledger.leaving();
    ledger.merging();
    ledger.old_is_over();
    for (item, passes) in [
        (opened(3), ""),
        (object(3, 0), ""),
        (object(3, 1), "3.1"),
        (fin(3), "f3"),
    ] {
        assert_eq!(pass(&mut ledger, Side::New, item), passes);
    }
    // Who does not come back is told at once.
    let mut ledger = Ledger::new(false);
    for (item, passes) in [(opened(3), "o3"), (reset(3), "r3")] {
        assert_eq!(pass(&mut ledger, Side::New, item), passes);
    }
}

/// Where something may be missing after what was given; an object that ends its group leads on to the next one.
#[test]
fn what_comes_next_is_behind_all_that_was_given() {
    let ended = |group, id| {
        let Item::Object(mut last) = object(group, id) else {
            panic!("an object");
        };
        last.status = ObjectStatus::EndOfGroup;
        Item::Object(last)
    };
    let place = |(group, object)| Location::new(group, object);
    for (given, start, next) in [
        (vec![], (3, 0), (3, 0)),
        (vec![object(3, 0), object(3, 1)], (3, 0), (3, 2)),
        (vec![object(3, 1)], (3, 1), (3, 2)),
        (vec![object(3, 0), object(3, 2)], (3, 0), (3, 1)),
        (vec![object(3, 0), ended(3, 1)], (3, 0), (4, 0)),
        (vec![object(3, 0), ended(3, 2)], (3, 0), (3, 1)),
        (vec![ended(3, 2), object(4, 0)], (3, 2), (4, 1)),
        (vec![object(3, 0)], (5, 0), (5, 0)),
    ] {
        let mut ledger = Ledger::new(true);
        for item in given.clone() {
            ledger.pass(Side::New, item);
        }
        assert_eq!(ledger.next_place(place(start)), place(next), "{given:?}");
        let mut ledger = Ledger::new(true);
        for item in given.clone() {
            let Item::Object(fetched) = item else {
                panic!("an object");
            };
            ledger.fill(fetched);
        }
        assert_eq!(ledger.next_place(place(start)), place(next), "fetched: {given:?}");
    }
}

/// A relay that lost a part of a stream on its way gives what it fetched of it as a stream of its own, and resets that, as
/// it does not know the end: which another one has told.
#[test]
fn pieces_of_a_stream_that_came_to_its_end_are_not_cut() {
    let mut ledger = Ledger::new(true);
    for (item, seen) in [
        (opened(7), "o7"),
        (object(7, 0), "7.0"),
        (reset(7), ""),
        // It goes on behind what was lost.
        (opened(7), ""),
        (object(7, 5), "7.5"),
        (opened(7), "o7"),
        (fin(7), "f7"),
        (object(7, 1), "7.1"),
        (reset(7), "f7"),
        // Or the end is told before.
        (opened(8), "o8"),
        (fin(8), "f8"),
        (opened(8), "o8"),
        (object(8, 0), "8.0"),
        (reset(8), "f8"),
        (opened(9), "o9"),
        (reset(9), ""),
        (object(10, 0), "r9 10.0"),
    ] {
        assert_eq!(pass(&mut ledger, Side::New, item), seen);
    }
}

/// D14-FETCH-5: of a group that was fetched nothing is missing, whatever becomes of its stream afterwards.
#[test]
fn a_stream_of_a_group_that_was_fetched_is_not_cut() {
    let mut ledger = Ledger::new(true);
    ledger.merging();
    for group in [6, 7] {
        pass(&mut ledger, Side::New, opened(group));
        pass(&mut ledger, Side::New, object(group, 0));
    }
    assert_eq!(fill(&mut ledger, 7, 1), "7.1");
    assert_eq!(texts(ledger.filled(7)), "");
    ledger.came_whole(7, 8);
    for (item, seen) in [
        (object(8, 0), "8.0"),
        (reset(7), "f7"),
        (reset(6), ""),
        (object(8, 1), "r6 8.1"),
    ] {
        assert_eq!(pass(&mut ledger, Side::New, item), seen);
    }
}
