//! Several readers, who share fills and wait for each other or do not.

use super::*;

/// D14-FETCH-6 D14-FETCH-20
#[test]
fn readers_of_one_hole_share_one_fill_and_the_fastest_paces_it() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    for reader in 1..=200 {
        stage.reads(reader, Standing::Live, range((0, 0), (9, 1)), UP);
    }
    let asks = stage.asks();
    assert_eq!(asks.len(), 1);
    let (fill, hole) = asks[0];
    assert_eq!(hole, range((0, 0), (8, 0)));
    stage.fill(fill, (0, 0));
    assert!(stage.desk.is_open(fill));
    // All had waited, so all got it; none has asked for more, so no more is taken.
    assert!(!stage.has(&Output::Take(fill)));
    stage.read_on(7);
    assert!(stage.has(&Output::Take(fill)));
    stage.fill(fill, (8, 1));
    stage.ok(fill, (8, 0));
    stage.end(fill, StreamEnd::Fin);
    assert!(!stage.desk.is_open(fill));
    for reader in 1..=200 {
        stage.read_on(reader);
        assert_eq!(stage.got(reader), [(0, 0), (8, 1), (9, 0)], "{reader}");
        assert_eq!(stage.then(reader), Some(Then::Done));
    }
    assert_eq!(stage.asks().len(), 1);
    assert!(stage.desk.is_empty());
    assert_eq!(stage.desk.poll_timeout(), None);
}

/// D14-FETCH-20
#[test]
fn fills_and_readers_are_bounded() {
    let limits = FetchLimits {
        max_fills: 2,
        max_readers: 3,
        ..FetchLimits::default()
    };
    let mut stage = Stage::new(limits);
    stage.group(90, 1);
    for (reader, group) in [(1, 10), (2, 20), (3, 30)] {
        stage.reads(reader, Standing::Live, range((group, 0), (group, 0)), UP);
    }
    let fourth = stage.open_reader(4, Standing::Live, range((40, 0), (40, 0)), UP);
    assert_eq!(fourth, Err(RequestErrorReason::InternalError));
    assert_eq!(stage.desk.stats().refused, 1);
    let asks = stage.asks();
    assert_eq!(asks.len(), 2);
    // The third gets its turn when one is over.
    stage.refuse(asks[0].0, RequestErrorReason::NoObjects);
    assert_eq!(stage.then(1), Some(Then::Done));
    assert_eq!(stage.asks().len(), 3);
    assert_eq!(stage.asks()[2].1, range((30, 0), (30, 0)));
}

/// A reader that takes its time holds up nobody but itself: what it would have next makes room for what somebody waits
/// for, and is asked for again. D14-FETCH-20
#[test]
fn a_slow_reader_does_not_keep_others_from_asking() {
    let mut stage = Stage::new(FetchLimits {
        max_fills: 1,
        ..FetchLimits::default()
    });
    stage.group(9, 1);
    for (reader, group) in [(1, 3), (2, 5)] {
        stage.reads(reader, Standing::Live, range((group, 0), (group, 3)), UP);
    }
    let first = stage.asks()[0].0;
    // As long as somebody waits for it, it is not given up.
    assert_eq!(stage.asks().len(), 1);
    assert!(!stage.has(&Output::Cancel(first)));
    stage.fill(first, (3, 0));
    assert_eq!(stage.got(1), [(3, 0)]);
    assert!(stage.has(&Output::Cancel(first)));
    let (second, hole) = stage.asks()[1];
    assert_eq!(hole, range((5, 0), (5, 3)));
    stage.read_on(1);
    assert_eq!(stage.asks().len(), 2);
    stage.fill(second, (5, 0));
    // Both go on, in turn.
    let (third, hole) = stage.asks()[2];
    assert_eq!(hole, range((3, 1), (3, 3)));
    assert!(stage.has(&Output::Cancel(second)));
    stage.ok(third, (3, 3));
    stage.end(third, StreamEnd::Fin);
    assert_eq!(stage.then(1), Some(Then::Done));
    stage.read_on(2);
    assert_eq!(stage.asks()[3].1, range((5, 1), (5, 3)));
}

/// What somebody is in the middle of an object of cannot be made again. D14-FETCH-20
#[test]
fn a_fill_is_not_given_up_inside_an_object_that_somebody_reads() {
    let mut stage = Stage::new(FetchLimits {
        max_fills: 1,
        ..FetchLimits::default()
    });
    stage.group(9, 1);
    for (reader, group) in [(1, 3), (2, 5)] {
        stage.reads(reader, Standing::Live, range((group, 0), (group, 3)), UP);
    }
    let (fill, _) = stage.asks()[0];
    let header = fetched(at(3, 0), 8);
    let half = Bytes::from_static(b"half");
    let chunks = vec![Fill::Object(header), Fill::Payload(half.clone())];
    stage.brings(fill, chunks);
    assert_eq!(stage.got(1), [(3, 0)]);
    assert_eq!(stage.asks().len(), 1);
    stage.read_on(1);
    let rest = vec![Fill::Payload(half)];
    stage.brings(fill, rest);
    assert_eq!(stage.asks()[1].1, range((5, 0), (5, 3)));
}

/// Four readers that wait at holes of their own, the first two of which are being filled.
fn crowd() -> Stage {
    let mut stage = Stage::new(FetchLimits {
        max_fills: 2,
        ..FetchLimits::default()
    });
    (2..=8).step_by(2).for_each(|group| stage.group(group, 1));
    for (reader, group) in [(1, 1), (2, 3), (3, 5), (4, 7)] {
        stage
            .open_reader(reader, Standing::Live, range((group, 0), (group, 0)), UP)
            .unwrap();
        stage.read(reader);
    }
    assert_eq!(stage.asks().len(), 2);
    stage
}

/// D14-FETCH-20
#[test]
fn who_waits_for_room_goes_on_when_somebody_leaves() {
    let mut stage = crowd();
    stage.leaves(1);
    let asks = stage.asks();
    assert_eq!(asks.len(), 3);
    assert_eq!(asks[2].1, range((5, 0), (5, 0)));
    // One that fails makes room as well.
    stage.refuse(asks[1].0, RequestErrorReason::InternalError);
    assert_eq!(stage.asks()[3].1, range((7, 0), (7, 0)));
}

/// A crowd that waits for what is live is not looked at with each object, and misses nothing. D14-FETCH-20
#[test]
fn a_crowd_that_waits_does_not_slow_down_what_is_live() {
    let mut stage = Stage::new(FetchLimits::default());
    let open = stage.open(0, true);
    for id in 1..=100 {
        stage.object(open, at(0, id));
    }
    let other = stage.open(0, false);
    let readers = 1000;
    for reader in 0..readers {
        stage
            .open_reader(reader, Standing::Live, range((0, 0), (0, 2)), UP)
            .unwrap();
        stage.read(reader);
    }
    stage.object(open, at(0, 101));
    assert_eq!(stage.outputs.len(), 0);
    stage.object(other, at(0, 0));
    assert_eq!(stage.outputs.len(), 0, "looked at a moment ago");
    let look = stage.desk.poll_timeout().unwrap();
    assert!(look > stage.now && look <= stage.now + Duration::from_millis(20));
    stage.now = look;
    stage.desk.timeout(stage.now, &mut stage.log);
    stage.drain();
    for reader in 0..readers {
        stage.read_on(reader);
        assert_eq!(stage.got(reader), [(0, 0), (0, 1)]);
        assert_eq!(stage.then(reader), Some(Then::Done));
    }
    // A few are served at once.
    assert_eq!(stage.desk.poll_timeout(), None);
}

/// An object of which a reader has a part could not be had again if it were evicted meanwhile. D14-FETCH-20
#[test]
fn a_batch_ends_between_objects_if_it_can() {
    let mut stage = Stage::new(FetchLimits {
        batch_bytes: 10,
        ..FetchLimits::default()
    });
    let stream = stage.open(0, true);
    for id in 0..2 {
        let header = ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 12 + 28 * id,
        };
        let pieces = header.payload_len / 4;
        stage.append(Append::ObjectStarted { stream, header });
        for _ in 0..pieces {
            let bytes = Bytes::from_static(&[0; 4]);
            stage.append(Append::Payload { stream, bytes });
        }
    }
    stage.reads(1, Standing::Live, range((0, 0), (0, 2)), UP);
    let batches: Vec<_> = stage.outputs.iter().map(payload_of).collect();
    assert_eq!(batches, [12, 20, 20, 0]);
}

fn payload_of(output: &Output) -> usize {
    let Output::Answer(_, batch) = output else {
        return 0;
    };
    let pieces = batch.chunks.iter().map(|chunk| match chunk {
        Chunk::Payload(bytes) => bytes.len(),
        Chunk::Object { .. } => 0,
    });
    pieces.sum()
}
