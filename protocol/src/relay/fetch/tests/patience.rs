//! Publishers that do not answer, or not with what is asked for.

use super::*;

/// D14-FETCH-6 D14-REQ-10
#[test]
fn a_publisher_that_says_nothing_is_given_up() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((9, 0), (9, 1)), UP);
    assert_eq!(stage.then(1), Some(Then::Done));
    stage.reads(2, Standing::Live, range((0, 0), (9, 1)), UP);
    let (fill, _) = stage.asks()[0];
    let deadline = stage.now + FetchLimits::default().upstream;
    while stage.then(2).is_none() {
        stage.next_timer(Duration::ZERO);
    }
    assert_eq!(stage.now, deadline);
    assert!(stage.has(&Output::Cancel(fill)));
    assert_eq!(stage.then(2), Some(Then::Failed(RequestErrorReason::Timeout)));
}

/// The relay is held up for so long before each of its timers runs: how long the publisher had in all.
fn waited(late: Duration) -> Duration {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    let wanted = range((0, 0), (9, 1));
    stage.reads(1, Standing::Live, wanted, UP);
    let begun = stage.now;
    while stage.then(1).is_none() {
        stage.next_timer(late);
    }
    assert_eq!(stage.then(1), Some(Then::Failed(RequestErrorReason::Timeout)));
    stage.now - begun
}

/// D14-REQ-10: what came while the relay was held up is not read yet, so the publisher is not blamed; and a relay that
/// is always late does not wait for ever.
#[test]
fn a_relay_that_was_held_up_blames_nobody() {
    let ms = Duration::from_millis;
    // 100 ms before the end there is a look. One that is a little late still comes in time.
    assert_eq!(waited(ms(50)), ms(5050));
    // The look comes when it is over, which gives another 100 ms; the timer after that is as late.
    assert_eq!(waited(ms(100)), ms(5000 + 100 + 100));
    // The look is 3 s late, 2.9 s after the end.
    assert_eq!(waited(ms(3000)), ms(7900 + 2900 + 100 + 3000));
    // No more than the same time again is given, and that once.
    assert_eq!(waited(ms(60_000)), ms(64_900 + 5000 + 60_000));
}

/// D14-REQ-10
#[test]
fn what_came_while_the_relay_was_held_up_is_taken() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    let wanted = range((0, 0), (9, 1));
    stage.reads(1, Standing::Live, wanted, UP);
    let (fill, _) = stage.asks()[0];
    stage.next_timer(Duration::from_secs(8));
    assert!(
        stage.desk.overdue(stage.now).is_empty(),
        "the owner asks nobody else"
    );
    assert_eq!(stage.then(1), None);
    // It was sent long ago, and is read behind the timer.
    stage.fill(fill, (8, 0));
    stage.read_on(1);
    stage.ok(fill, (8, 0));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(stage.got(1), [(8, 0), (9, 0)]);
    assert_eq!(stage.then(1), Some(Then::Done));
}

/// One that brings an object of a megabyte, so many bytes each second, to a reader that wants them at once. The value
/// is after how many seconds it was given up, if it was in the first minute.
fn given_up(bytes: usize, ask_late: bool) -> Option<u64> {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((0, 0), (9, 1)), UP);
    let (fill, _) = stage.asks()[0];
    let header = fetched(at(0, 0), 1_000_000);
    let mut chunks = vec![Fill::Object(header)];
    for second in 0..60 {
        if second > 0 {
            chunks.push(Fill::Payload(Bytes::from(vec![7; bytes])));
        }
        let brought = std::mem::take(&mut chunks);
        stage.brings(fill, brought);
        if ask_late {
            stage.now += Duration::from_millis(900);
            stage.read_on(1);
            stage.now += Duration::from_millis(100);
        } else {
            stage.read_on(1);
            stage.now += Duration::from_secs(1);
        }
        let end = stage.now;
        while stage.desk.poll_timeout().is_some_and(|at| at <= end) {
            stage.next_timer(Duration::ZERO);
        }
        stage.now = end;
        if stage.has(&Output::Cancel(fill)) {
            assert_eq!(stage.then(1), Some(Then::Failed(RequestErrorReason::Timeout)));
            return Some(second + 1);
        }
    }
    None
}

/// D14-LIM-6 D14-FETCH-20: what comes drop by drop is no sign of life, and the time in which nobody wants more does not
/// count against whoever brings it.
#[test]
fn a_publisher_that_trickles_is_given_up() {
    assert_eq!(given_up(1, false), Some(5));
    assert_eq!(given_up(255, false), Some(5));
    assert_eq!(given_up(256, false), None, "a kilobyte before the time is over");
    assert_eq!(given_up(10_000, false), None);
    assert_eq!(
        given_up(1, true),
        Some(50),
        "it was asked for a tenth of the time"
    );
}

/// D14-FETCH-6
#[test]
fn a_publisher_that_leaves_fetches_unanswered_is_asked_once() {
    let mut stage = Stage::new(FetchLimits::default());
    for group in 0..4 {
        let stream = stage.open(group, false);
        stage.object(stream, at(group, 0));
        stage.append(Append::SubgroupClosed {
            stream,
            end: StreamEnd::Fin,
        });
    }
    for (reader, order) in [(1, UP), (2, GroupOrder::Descending)] {
        stage.reads(reader, Standing::Live, range((0, 0), (3, 1)), order);
    }
    let asks = stage.asks();
    assert_eq!(asks.len(), 2);
    while stage.desk.poll_timeout().is_some() {
        stage.next_timer(Duration::ZERO);
    }
    for reader in [1, 2] {
        stage.read_on(reader);
        assert_eq!(stage.then(reader), Some(Then::Done));
        assert_eq!(stage.got(reader).len(), 4);
    }
    for (fill, range) in asks {
        assert!(stage.has(&Output::Cancel(fill)));
        assert!(stage.has(&Output::AssumedFinished(range)));
    }
    // The group that ends later is not asked for either, and a group that never came is.
    stage.group(5, 1);
    stage.reads(3, Standing::Live, range((3, 0), (5, 1)), UP);
    assert_eq!(stage.asks().len(), 3);
    let (fill, missing) = stage.asks()[2];
    assert_eq!(missing, range((4, 0), (4, 0)));
    // One that answers may be asked again.
    stage.ok(fill, (4, 0));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(3);
    assert_eq!(stage.got(3), [(3, 0), (5, 0)]);
    let stream = stage.open(6, false);
    stage.object(stream, at(6, 0));
    stage.append(Append::SubgroupClosed {
        stream,
        end: StreamEnd::Fin,
    });
    stage.group(7, 1);
    stage.reads(4, Standing::Live, range((6, 0), (7, 1)), UP);
    assert_eq!(stage.asks().len(), 4);
}

/// D14-FETCH-6 D14-FETCH-8
#[test]
fn a_place_that_stays_unknown_is_not_asked_for_ever() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage.reads(1, Standing::Live, range((0, 0), (9, 1)), UP);
    for attempt in 0..usize::from(ATTEMPTS) {
        let (fill, _) = stage.asks()[attempt];
        stage.end(
            fill,
            StreamEnd::Reset(crate::moqt::error::ResetCode::InternalError),
        );
    }
    assert_eq!(stage.asks().len(), usize::from(ATTEMPTS));
    assert_eq!(
        stage.then(1),
        Some(Then::Failed(RequestErrorReason::UnknownStatusInRange))
    );
}

/// D14-FETCH-20: what is evicted before anybody reads it is not asked for without end.
#[test]
fn what_the_log_cannot_hold_is_not_asked_for_ever() {
    let mut stage = Stage::new(FetchLimits {
        max_fills: 1,
        ..FetchLimits::default()
    });
    stage.log = TrackLog::new(Limits {
        max_bytes: 2_000,
        ..Limits::default()
    });
    stage.log.seed_largest(at(9, 0));
    stage.reads(1, Standing::Live, range((2, 0), (2, 4)), UP);
    for round in 0..10 {
        let Some(&(fill, hole)) = stage.asks().get(round) else {
            break;
        };
        let mut chunks = Vec::new();
        for object in hole.start.object..hole.end.object {
            chunks.push(Fill::Object(fetched(at(2, object), 1_500)));
            chunks.push(Fill::Payload(Bytes::from_static(&[0; 1_500])));
        }
        let taken = stage.desk.filled(stage.now, &mut stage.log, fill, chunks);
        assert_eq!(taken, Ok(()));
        stage.drain();
    }
    let reason = RequestErrorReason::UnknownStatusInRange;
    assert_eq!(stage.then(1), Some(Then::Failed(reason)));
    assert!(stage.asks().len() <= usize::from(ATTEMPTS) + 1);
}
