//! Where a response ends, and what says so.

use super::*;

/// D14-FETCH-3 D14-FETCH-7 D14-FETCH-9
#[test]
fn the_end_of_a_response_follows_the_draft() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(3, 3);
    stage.group(4, 3);
    let open = stage.open(5, false);
    stage.object(open, at(5, 0));
    // MOQT-14 §9.17: (wanted end, End Location in FETCH_OK)
    for (end, told) in [
        ((3, 0), (3, 0)),
        ((3, 2), (3, 2)),
        ((4, 3), (4, 3)),
        ((4, 9), (4, 9)),
        ((5, 0), (5, 1)),
        ((5, 1), (5, 1)),
        ((5, 2), (5, 1)),
        ((6, 0), (5, 1)),
        ((9, 9), (5, 1)),
    ] {
        let resolved = resolve(&stage.log, Standing::Live, range((3, 0), end)).unwrap();
        let settled = resolved.settled.unwrap();
        assert_eq!(settled.end, at(told.0, told.1), "{end:?}");
        assert!(!settled.end_of_track);
    }
    let beyond = resolve(&stage.log, Standing::Live, range((5, 1), (6, 0)));
    assert_eq!(beyond, Err(RequestErrorReason::InvalidRange));
    let empty = TrackLog::new(Limits::default());
    let nothing = resolve(&empty, Standing::Live, range((0, 0), (6, 0)));
    assert_eq!(nothing, Err(RequestErrorReason::InvalidRange));
    // MOQT-14 §9.17 [D14-FETCH-10]: without a subscription only what is known is settled.
    let idle = resolve(&stage.log, Standing::Idle, range((3, 0), (4, 0))).unwrap();
    assert_eq!(idle.settled.unwrap().end, at(4, 0));
    assert_eq!(
        resolve(&stage.log, Standing::Idle, range((3, 0), (9, 0)))
            .unwrap()
            .settled,
        None
    );
    assert_eq!(
        resolve(&empty, Standing::Idle, range((3, 0), (9, 0)))
            .unwrap()
            .settled,
        None
    );
}

/// D14-FETCH-9
#[test]
fn the_end_of_the_track_is_said() {
    let mut stage = Stage::new(FetchLimits::default());
    let open = stage.open(2, false);
    stage.object(open, at(2, 0));
    let header = ObjectHeader {
        id: 1,
        status: ObjectStatus::EndOfTrack,
        extensions: Bytes::new(),
        payload_len: 0,
    };
    stage.append(Append::ObjectStarted { stream: open, header });
    let told = |end| {
        resolve(&stage.log, Standing::Live, range((2, 0), end))
            .unwrap()
            .settled
            .unwrap()
    };
    assert!(told((9, 0)).end_of_track);
    assert!(told((2, 2)).end_of_track);
    assert!(!told((2, 1)).end_of_track);
}

/// D14-FETCH-2 D14-FETCH-10
#[test]
fn without_a_subscription_the_publisher_says_where_it_ends() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.reads(1, Standing::Idle, range((0, 0), (9, 0)), UP);
    let (fill, hole) = stage.asks()[0];
    assert_eq!(hole, range((0, 0), (9, 0)));
    stage.fill(fill, (0, 0));
    // It is not known yet, so it is not said.
    assert_eq!(stage.settled.get(&ReaderKey(1)), None);
    stage.ok(fill, (2, 2));
    stage.read_on(1);
    stage.fill(fill, (2, 1));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(stage.got(1), [(0, 0), (2, 1)]);
    assert_eq!(stage.then(1), Some(Then::Done));
    let settled = stage.settled[&ReaderKey(1)];
    assert_eq!((settled.end, settled.end_of_track), (at(2, 2), false));
}

/// D14-FETCH-9: what the publisher says of the end of the track is passed on with its end.
#[test]
fn the_publisher_says_that_the_track_ends() {
    for end_of_track in [true, false] {
        let mut stage = Stage::new(FetchLimits::default());
        stage.reads(1, Standing::Idle, range((0, 0), (9, 0)), UP);
        let (fill, _) = stage.asks()[0];
        let ok = FetchOk {
            group_order: GroupOrder::Ascending,
            end_of_track,
            end: at(2, 2),
            params: MessageParams::default(),
        };
        stage.desk.answered(stage.now, &mut stage.log, fill, ok);
        stage.fill(fill, (2, 1));
        stage.end(fill, StreamEnd::Fin);
        stage.read_on(1);
        let end = at(2, 2);
        assert_eq!(stage.settled[&ReaderKey(1)], Settled { end, end_of_track });
    }
}

/// D14-FETCH-1
#[test]
fn the_answer_may_come_after_the_last_object() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((8, 0), (9, 1)), UP);
    let (fill, _) = stage.asks()[0];
    stage.fill(fill, (8, 0));
    stage.read_on(1);
    stage.end(fill, StreamEnd::Fin);
    assert_eq!(stage.then(1), None, "whether there is more is not known");
    stage.ok(fill, (8, 0));
    stage.read_on(1);
    assert_eq!(stage.got(1), [(8, 0), (9, 0)]);
    assert_eq!(stage.then(1), Some(Then::Done));
}

/// Without a subscription the end of the track may turn out while it is read. D14-FETCH-9 D14-FETCH-10
#[test]
fn a_response_past_the_end_of_the_track_ends_there() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.reads(1, Standing::Idle, range((2, 0), (7, 5)), UP);
    let open = stage.open(2, false);
    stage.object(open, at(2, 0));
    let header = ObjectHeader {
        id: 1,
        status: ObjectStatus::EndOfTrack,
        extensions: Bytes::new(),
        payload_len: 0,
    };
    stage.append(Append::ObjectStarted { stream: open, header });
    stage.read_on(1);
    assert_eq!(stage.then(1), Some(Then::Done));
    let settled = stage.settled[&ReaderKey(1)];
    assert_eq!((settled.end, settled.end_of_track), (at(2, 2), true));
}

/// The same, when only the group is over. D14-FETCH-9 D14-FETCH-10
#[test]
fn a_response_past_the_last_object_ends_there() {
    let mut stage = Stage::new(FetchLimits::default());
    for (reader, end) in [(1, (2, 9)), (2, (2, 0)), (3, (2, 2)), (4, (2, 3))] {
        stage.reads(reader, Standing::Idle, range((2, 0), end), UP);
    }
    stage.group(2, 3);
    for (reader, end) in [(1, (2, 3)), (2, (2, 0)), (3, (2, 2)), (4, (2, 3))] {
        stage.read_on(reader);
        assert_eq!(stage.then(reader), Some(Then::Done));
        let settled = stage.settled[&ReaderKey(reader)];
        assert_eq!((settled.end, settled.end_of_track), (at(end.0, end.1), false));
    }
}

/// What was given before FETCH_OK came lies before its End. D14-FETCH-9
#[test]
fn the_end_covers_what_came_live_meanwhile() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.reads(1, Standing::Idle, range((2, 0), (9, 0)), UP);
    let (fill, _) = stage.asks()[0];
    stage.fill(fill, (2, 0));
    let open = stage.open(2, false);
    stage.object(open, at(2, 1));
    stage.object(open, at(2, 2));
    stage.read_on(1);
    assert_eq!(stage.got(1), [(2, 0), (2, 1), (2, 2)]);
    stage.ok(fill, (2, 1));
    stage.read_on(1);
    assert_eq!(stage.then(1), Some(Then::Done));
    assert_eq!(stage.settled[&ReaderKey(1)].end, at(2, 3));
}

/// A refusal may be older than what is known. D14-FETCH-7
#[test]
fn a_range_that_was_invalid_is_asked_for_again() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.reads(1, Standing::Idle, range((2, 0), (2, 3)), UP);
    let (fill, _) = stage.asks()[0];
    stage.group(3, 1);
    let refused = RequestErrorReason::InvalidRange;
    stage.refuse(fill, refused);
    assert_eq!(stage.then(1), None);
    let (fill, hole) = stage.asks()[1];
    assert_eq!(hole, range((2, 0), (2, 3)));
    stage.fill(fill, (2, 0));
    stage.ok(fill, (2, 3));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(stage.then(1), Some(Then::Done));
}

/// D14-FETCH-5 D14-FETCH-10 D14-CACHE-7
#[test]
fn what_is_yet_to_come_is_not_taken_to_be_absent() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(3, 2);
    // Nobody subscribes, so the track may have gone on. It has not.
    stage
        .open_reader(1, Standing::Idle, range((3, 0), (5, 0)), UP)
        .unwrap();
    stage
        .open_reader(2, Standing::Idle, range((4, 0), (5, 0)), UP)
        .unwrap();
    stage.read_on(1);
    stage.read_on(2);
    let (fill, hole) = stage.asks()[0];
    assert_eq!(hole, range((4, 0), (5, 0)));
    stage.refuse(fill, RequestErrorReason::NoObjects);
    stage.read_on(1);
    stage.read_on(2);
    // MOQT-14 §9.17 [D14-FETCH-9]: the end is where the track is.
    assert_eq!(stage.got(1), [(3, 0), (3, 1)]);
    assert_eq!(stage.then(1), Some(Then::Done));
    assert_eq!(stage.settled[&ReaderKey(1)].end, at(3, 2));
    assert_eq!(stage.then(2), Some(Then::Failed(RequestErrorReason::NoObjects)));
    // Then group 4 comes, and its objects are lost to eviction: nobody may say that they never were.
    let open = stage.open(5, false);
    stage.object(open, at(5, 0));
    stage.reads(3, Standing::Live, range((4, 0), (4, 0)), UP);
    assert_eq!(stage.then(3), None);
    assert_eq!(stage.asks()[1].1, range((4, 0), (4, 0)));
}

/// D14-FETCH-4 D14-FETCH-9: new groups first, so it is the end that is found out first. Whoever waited behind it goes on
/// before it, whether the publisher refuses or says where it ends.
#[test]
fn an_end_that_is_found_out_takes_readers_along() {
    for refused in [true, false] {
        let mut stage = Stage::new(FetchLimits::default());
        stage.group(5, 2);
        let down = GroupOrder::Descending;
        stage.reads(1, Standing::Idle, range((5, 0), (7, 0)), down);
        let (fill, hole) = stage.asks()[0];
        assert!(hole.start >= at(5, 2), "{hole:?}");
        assert!(stage.got(1).is_empty());
        if refused {
            let reason = RequestErrorReason::NoObjects;
            stage.refuse(fill, reason);
        } else {
            stage.ok(fill, (5, 2));
        }
        assert_eq!(stage.got(1), [(5, 0), (5, 1)], "refused: {refused}");
        stage.read_on(1);
        assert_eq!(stage.then(1), Some(Then::Done));
    }
}
