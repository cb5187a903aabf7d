//! What is asked of a publisher, and what becomes of that.

use super::*;

/// D14-FETCH-8
#[test]
fn an_origin_asks_nobody() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.desk = FetchDesk::new(FetchLimits::default(), true);
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((0, 0), (9, 1)), UP);
    assert_eq!(
        stage.then(1),
        Some(Then::Failed(RequestErrorReason::UnknownStatusInRange))
    );
    assert_eq!(stage.asks(), []);
}

/// D14-FETCH-6
#[test]
fn live_objects_are_waited_for_then_asked_for() {
    let mut stage = Stage::new(FetchLimits::default());
    let slow = stage.open(8, false);
    let fast = stage.open(8, false);
    stage.object(slow, at(8, 0));
    stage.object(fast, at(8, 2));
    stage.reads(1, Standing::Live, range((8, 0), (8, 3)), UP);
    assert_eq!(stage.got(1), [(8, 0)]);
    assert_eq!(stage.asks(), []);
    let deadline = stage.desk.poll_timeout().unwrap();
    assert_eq!(deadline, stage.now + FetchLimits::default().wait);
    stage.reads(2, Standing::Live, range((8, 0), (8, 3)), UP);
    stage.object(slow, at(8, 1));
    stage.read_on(1);
    stage.read_on(2);
    assert_eq!(stage.got(1), [(8, 0), (8, 1), (8, 2)]);
    assert_eq!(stage.got(2), [(8, 0), (8, 1), (8, 2)]);
    // This one never comes.
    stage.object(fast, at(8, 7));
    stage.reads(3, Standing::Live, range((8, 5), (8, 8)), UP);
    assert_eq!(stage.asks(), []);
    stage.now += FetchLimits::default().wait;
    stage.desk.timeout(stage.now, &mut stage.log);
    stage.drain();
    assert_eq!(stage.asks().len(), 1);
    assert_eq!(stage.asks()[0].1.start, at(8, 5));
}

/// D14-MAL-1 D14-MAL-2
#[test]
fn a_fill_that_breaks_the_rules_fails_its_readers() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((2, 0), (9, 1)), UP);
    let (fill, _) = stage.asks()[0];
    stage.fill(fill, (3, 1));
    stage.read_on(1);
    stage.fill(fill, (3, 0));
    assert!(stage.has(&Output::Cancel(fill)));
    assert_eq!(
        stage.then(1),
        Some(Then::Failed(RequestErrorReason::MalformedTrack))
    );
    assert_eq!(stage.desk.stats().malformed, 1);
}

/// D14-MAL-1: a track that breaks the rules is given to nobody any more, whether a fetch waits just now or not.
#[test]
fn a_condemned_track_fails_every_fetch() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    for reader in [1, 2] {
        stage
            .open_reader(reader, Standing::Live, range((2, 0), (9, 1)), UP)
            .unwrap();
    }
    stage.read_on(1);
    let (fill, _) = stage.asks()[0];
    stage.desk.condemn(stage.now, &mut stage.log);
    stage.drain();
    assert!(stage.has(&Output::Cancel(fill)) && stage.desk.is_empty());
    stage.read_on(2);
    for reader in [1, 2] {
        let failed = Then::Failed(RequestErrorReason::MalformedTrack);
        assert_eq!(stage.then(reader), Some(failed));
    }
}

/// D14-FETCH-16
#[test]
fn a_fill_that_nobody_wants_is_cancelled() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage
        .open_reader(1, Standing::Live, range((2, 0), (9, 1)), UP)
        .unwrap();
    stage
        .open_reader(2, Standing::Live, range((2, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
    stage.read_on(2);
    let (fill, _) = stage.asks()[0];
    stage.leaves(1);
    assert!(!stage.has(&Output::Cancel(fill)));
    stage.leaves(2);
    assert!(stage.has(&Output::Cancel(fill)));
    // What still comes of it is dropped.
    stage.fill(fill, (2, 0));
    assert!(!stage.has(&Output::Take(fill)));
}

/// D14-FETCH-6
#[test]
fn the_end_of_the_track_leaves_what_is_cached() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(8, 2);
    stage.group(9, 1);
    stage
        .open_reader(1, Standing::Live, range((8, 0), (9, 1)), UP)
        .unwrap();
    stage.reads(2, Standing::Live, range((7, 0), (9, 1)), UP);
    stage.desk.detach(stage.now, &mut stage.log);
    stage.drain();
    assert_eq!(
        stage.then(2),
        Some(Then::Failed(RequestErrorReason::UnknownStatusInRange))
    );
    stage.read_on(1);
    assert_eq!(stage.got(1), [(8, 0), (8, 1), (9, 0)]);
    assert_eq!(stage.then(1), Some(Then::Done));
}

/// D14-FETCH-6: whoever asked in time gets what was delivered whole, although nobody is left to say where groups end.
/// A hole between objects, or a group that was cut short, stays unknown.
#[test]
fn groups_that_came_whole_survive_the_end_of_the_track() {
    for (end, outcome) in [
        (StreamEnd::Fin, Then::Done),
        (
            StreamEnd::Reset(crate::moqt::error::ResetCode::Cancelled),
            Then::Failed(RequestErrorReason::UnknownStatusInRange),
        ),
    ] {
        let mut stage = Stage::new(FetchLimits::default());
        for group in 0..3 {
            let stream = stage.open(group, false);
            stage.object(stream, at(group, 0));
            stage.append(Append::SubgroupClosed { stream, end });
        }
        // One is asked upstream for it when the track ends, the other has not read yet.
        for reader in [1, 2] {
            stage
                .open_reader(reader, Standing::Live, range((0, 0), (2, 1)), UP)
                .unwrap();
        }
        stage.read_on(1);
        let asks = stage.asks();
        assert_eq!(asks.len(), 1);
        stage.desk.detach(stage.now, &mut stage.log);
        stage.drain();
        assert!(stage.has(&Output::Cancel(asks[0].0)));
        for reader in [1, 2] {
            stage.read_on(reader);
            assert_eq!(stage.then(reader), Some(outcome), "{end:?}");
        }
        assert_eq!(stage.asks().len(), 1);
    }
}

/// D14-FETCH-5 D14-FETCH-7
#[test]
fn nothing_upstream_is_nothing_downstream() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((2, 0), (4, 0)), UP);
    let (fill, _) = stage.asks()[0];
    stage.refuse(fill, RequestErrorReason::NoObjects);
    assert_eq!(stage.then(1), Some(Then::Done));
    let distinct: BTreeSet<_> = stage.got(1).iter().collect();
    assert!(distinct.is_empty());
}

/// D14-FETCH-4 D14-FETCH-6
#[test]
fn descending_holes_are_filled_in_that_order() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(5, 2);
    stage.group(7, 2);
    let down = GroupOrder::Descending;
    stage.reads(1, Standing::Live, range((2, 1), (5, 0)), down);
    assert_eq!(stage.got(1), [(5, 0), (5, 1)]);
    let (fill, hole) = stage.asks()[0];
    assert_eq!(hole, range((2, 1), (4, 0)));
    stage.ok(fill, (4, 0));
    for place in [(4, 0), (4, 1), (2, 1)] {
        stage.fill(fill, place);
        stage.read_on(1);
    }
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(
        stage.got(1),
        [(5, 0), (5, 1), (4, 0), (4, 1), (2, 1)],
        "{:?}",
        stage.outputs
    );
    assert_eq!(stage.then(1), Some(Then::Done));
}

/// D14-FETCH-6
#[test]
fn an_object_that_is_cut_short_goes_on_from_upstream() {
    let mut stage = Stage::new(FetchLimits::default());
    let stream = stage.open(8, false);
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: 4,
    };
    stage.append(Append::ObjectStarted { stream, header });
    let first = payload(at(8, 0)).slice(..3);
    stage.append(Append::Payload { stream, bytes: first });
    stage.reads(1, Standing::Live, range((8, 0), (8, 1)), UP);
    stage.append(Append::SubgroupClosed {
        stream,
        end: StreamEnd::Reset(crate::moqt::error::ResetCode::InternalError),
    });
    let (fill, hole) = stage.asks()[0];
    assert_eq!(hole, range((8, 0), (8, 1)));
    // What comes again is passed over, and the rest is given.
    let subgroup = stream;
    let location = at(8, 0);
    let header = FetchObjectHeader {
        location,
        subgroup,
        priority: 128,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: 4,
    };
    let bytes = payload(location);
    let chunks = vec![
        Fill::Object(header),
        Fill::Payload(bytes.slice(..2)),
        Fill::Payload(bytes.slice(2..)),
    ];
    stage.brings(fill, chunks);
    stage.read_on(1);
    stage.ok(fill, (8, 1));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(stage.got(1), [(8, 0)], "it begins once");
    assert_eq!(stage.then(1), Some(Then::Done));
    let mut given = Vec::new();
    for output in &stage.outputs {
        if let Output::Answer(_, batch) = output {
            for chunk in &batch.chunks {
                if let Chunk::Payload(bytes) = chunk {
                    given.extend_from_slice(bytes);
                }
            }
        }
    }
    assert_eq!(given, payload(location), "each byte once");
}

/// D14-FETCH-6
#[test]
fn an_object_that_changed_is_not_gone_on_with() {
    let mut stage = Stage::new(FetchLimits::default());
    let stream = stage.open(8, false);
    let header = ObjectHeader {
        id: 0,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: 40,
    };
    stage.append(Append::ObjectStarted { stream, header });
    stage.append(Append::Payload {
        stream,
        bytes: payload(at(8, 0)),
    });
    stage.reads(1, Standing::Live, range((8, 0), (8, 1)), UP);
    stage.append(Append::SubgroupClosed {
        stream,
        end: StreamEnd::Reset(crate::moqt::error::ResetCode::InternalError),
    });
    let (fill, _) = stage.asks()[0];
    // Another length: what was given belongs to no such object.
    stage.fill(fill, (8, 0));
    stage.read_on(1);
    assert!(
        matches!(stage.then(1), Some(Then::Failed(_))),
        "{:?}",
        stage.then(1)
    );
}
