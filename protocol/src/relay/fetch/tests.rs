//! The desk over a real log, with a publisher that answers from a list, in virtual time.

use super::serve::ATTEMPTS;
use super::*;
use crate::moqt::location::Location;
use crate::moqt::message::{FetchOk, MessageParams};
use crate::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Append, Fill, Limits, StreamEnd};
use bytes::Bytes;
use std::collections::BTreeSet;

/// The crate may not ask the clock; tests need one arbitrary instant.
#[expect(
    clippy::disallowed_methods,
    reason = "any instant will do as the origin of test time"
)]
fn t0() -> Instant {
    Instant::now()
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn range(start: (u64, u64), end: (u64, u64)) -> PastRange {
    PastRange::new(at(start.0, start.1), at(end.0, end.1)).unwrap()
}

/// Four bytes that say which object they belong to.
fn payload(place: Location) -> Bytes {
    Bytes::from(vec![
        u8::try_from(place.group).unwrap(),
        u8::try_from(place.object).unwrap(),
        1,
        2,
    ])
}

struct Stage {
    desk: FetchDesk,
    log: TrackLog,
    now: Instant,
    outputs: Vec<Output>,
    got: BTreeMap<ReaderKey, Vec<(u64, u64)>>,
    settled: BTreeMap<ReaderKey, Settled>,
    over: BTreeMap<ReaderKey, Then>,
    streams: u64,
}

impl Stage {
    fn new(limits: FetchLimits) -> Self {
        Self {
            desk: FetchDesk::new(limits, false),
            log: TrackLog::new(Limits::default()),
            now: t0(),
            outputs: Vec::new(),
            got: BTreeMap::new(),
            settled: BTreeMap::new(),
            over: BTreeMap::new(),
            streams: 0,
        }
    }

    /// Writes a group on one stream that says where the group ends.
    fn group(&mut self, group: u64, objects: u64) {
        let stream = self.open(group, true);
        for id in 0..objects {
            self.object(stream, at(group, id));
        }
        self.append(Append::SubgroupClosed {
            stream,
            end: StreamEnd::Fin,
        });
    }

    fn open(&mut self, group: u64, end_of_group: bool) -> u64 {
        self.streams += 1;
        let stream = self.streams;
        self.append(Append::SubgroupOpened {
            stream,
            group,
            subgroup: stream,
            priority: 128,
            has_extensions: false,
            end_of_group,
        });
        stream
    }

    fn object(&mut self, stream: u64, place: Location) {
        let bytes = payload(place);
        let header = ObjectHeader {
            id: place.object,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: bytes.len() as u64,
        };
        self.append(Append::ObjectStarted { stream, header });
        self.append(Append::Payload { stream, bytes });
    }

    fn append(&mut self, chunk: Append) {
        self.log.append(self.now, chunk);
        self.desk.advanced(self.now, &mut self.log);
        self.drain();
    }

    fn open_reader(
        &mut self,
        reader: u64,
        standing: Standing,
        wanted: PastRange,
        order: GroupOrder,
    ) -> Result<(), RequestErrorReason> {
        let key = ReaderKey(reader);
        let opened = self.desk.open(self.now, &self.log, standing, key, wanted, order);
        self.drain();
        opened
    }

    fn read(&mut self, reader: u64) {
        self.desk.read(self.now, &mut self.log, ReaderKey(reader));
        self.drain();
    }

    /// Reads until the reader has to wait or is over.
    fn read_on(&mut self, reader: u64) {
        loop {
            let before = self.answers(reader);
            if self.over.contains_key(&ReaderKey(reader)) {
                return;
            }
            self.read(reader);
            if self.answers(reader) == before {
                return;
            }
        }
    }

    /// The desk's next timer runs, so much too late.
    fn next_timer(&mut self, late: Duration) {
        self.now = self.desk.poll_timeout().unwrap() + late;
        self.desk.timeout(self.now, &mut self.log);
        self.drain();
    }

    fn answers(&self, reader: u64) -> usize {
        let of_it = |output: &&Output| matches!(output, Output::Answer(key, _) if key.0 == reader);
        self.outputs.iter().filter(of_it).count()
    }

    fn drain(&mut self) {
        while let Some(output) = self.desk.poll_output() {
            if let Output::Answer(key, batch) = &output {
                let got = self.got.entry(*key).or_default();
                for chunk in &batch.chunks {
                    if let Chunk::Object { header, .. } = chunk {
                        got.push((header.location.group, header.location.object));
                    }
                }
                if let Some(settled) = batch.settled {
                    assert!(self.settled.insert(*key, settled).is_none(), "told once");
                }
                if batch.then != Then::More {
                    self.over.insert(*key, batch.then);
                }
            }
            self.outputs.push(output);
        }
    }

    fn asks(&self) -> Vec<(FillKey, PastRange)> {
        let mut asks = Vec::new();
        for output in &self.outputs {
            if let Output::Ask { fill, range, .. } = output {
                asks.push((*fill, *range));
            }
        }
        asks
    }

    fn has(&self, wanted: &Output) -> bool {
        self.outputs.contains(wanted)
    }

    fn fill(&mut self, key: FillKey, place: (u64, u64)) {
        let location = at(place.0, place.1);
        let bytes = payload(location);
        let header = FetchObjectHeader {
            location,
            subgroup: 0,
            priority: 128,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: bytes.len() as u64,
        };
        let chunks = vec![Fill::Object(header), Fill::Payload(bytes)];
        if self.desk.filled(self.now, &mut self.log, key, chunks).is_err() {
            self.desk.broken(self.now, &mut self.log, key);
        }
        self.drain();
    }

    fn ok(&mut self, key: FillKey, end: (u64, u64)) {
        let ok = FetchOk {
            group_order: GroupOrder::Ascending,
            end_of_track: false,
            end: at(end.0, end.1),
            params: MessageParams::default(),
        };
        self.desk.answered(self.now, &mut self.log, key, ok);
        self.drain();
    }

    fn end(&mut self, key: FillKey, end: StreamEnd) {
        self.desk.ended(self.now, &mut self.log, key, end);
        self.drain();
    }

    fn got(&self, reader: u64) -> &[(u64, u64)] {
        self.got.get(&ReaderKey(reader)).map_or(&[], Vec::as_slice)
    }

    fn then(&self, reader: u64) -> Option<Then> {
        self.over.get(&ReaderKey(reader)).copied()
    }
}

const UP: GroupOrder = GroupOrder::Ascending;

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

/// D14-FETCH-6 D14-FETCH-20
#[test]
fn readers_of_one_hole_share_one_fill_and_the_fastest_paces_it() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    for reader in 1..=200 {
        stage
            .open_reader(reader, Standing::Live, range((0, 0), (9, 1)), UP)
            .unwrap();
        stage.read_on(reader);
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
        stage
            .open_reader(reader, Standing::Live, range((group, 0), (group, 0)), UP)
            .unwrap();
        stage.read_on(reader);
    }
    let fourth = stage.open_reader(4, Standing::Live, range((40, 0), (40, 0)), UP);
    assert_eq!(fourth, Err(RequestErrorReason::InternalError));
    assert_eq!(stage.desk.stats().refused, 1);
    let asks = stage.asks();
    assert_eq!(asks.len(), 2);
    // The third gets its turn when one is over.
    stage.desk.refused(
        stage.now,
        &mut stage.log,
        asks[0].0,
        RequestErrorReason::NoObjects,
    );
    stage.drain();
    assert_eq!(stage.then(1), Some(Then::Done));
    assert_eq!(stage.asks().len(), 3);
    assert_eq!(stage.asks()[2].1, range((30, 0), (30, 0)));
}

/// D14-FETCH-6 D14-REQ-10
#[test]
fn a_publisher_that_says_nothing_is_given_up() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage
        .open_reader(1, Standing::Live, range((9, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
    assert_eq!(stage.then(1), Some(Then::Done));
    stage
        .open_reader(2, Standing::Live, range((0, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(2);
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
    stage.open_reader(1, Standing::Live, wanted, UP).unwrap();
    stage.read_on(1);
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
    stage.open_reader(1, Standing::Live, wanted, UP).unwrap();
    stage.read_on(1);
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
    stage
        .open_reader(1, Standing::Live, range((0, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
    let (fill, _) = stage.asks()[0];
    let header = FetchObjectHeader {
        location: at(0, 0),
        subgroup: 0,
        priority: 128,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: 1_000_000,
    };
    let mut chunks = vec![Fill::Object(header)];
    for second in 0..60 {
        if second > 0 {
            chunks.push(Fill::Payload(Bytes::from(vec![7; bytes])));
        }
        let brought = std::mem::take(&mut chunks);
        stage
            .desk
            .filled(stage.now, &mut stage.log, fill, brought)
            .unwrap();
        stage.drain();
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
        stage
            .open_reader(reader, Standing::Live, range((0, 0), (3, 1)), order)
            .unwrap();
        stage.read_on(reader);
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
    stage
        .open_reader(3, Standing::Live, range((3, 0), (5, 1)), UP)
        .unwrap();
    stage.read_on(3);
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
    stage
        .open_reader(4, Standing::Live, range((6, 0), (7, 1)), UP)
        .unwrap();
    stage.read_on(4);
    assert_eq!(stage.asks().len(), 4);
}

/// D14-FETCH-6 D14-FETCH-8
#[test]
fn a_place_that_stays_unknown_is_not_asked_for_ever() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.group(9, 1);
    stage
        .open_reader(1, Standing::Live, range((0, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
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

/// D14-FETCH-8
#[test]
fn an_origin_asks_nobody() {
    let mut stage = Stage::new(FetchLimits::default());
    stage.desk = FetchDesk::new(FetchLimits::default(), true);
    stage.group(9, 1);
    stage
        .open_reader(1, Standing::Live, range((0, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
    assert_eq!(
        stage.then(1),
        Some(Then::Failed(RequestErrorReason::UnknownStatusInRange))
    );
    assert_eq!(stage.asks(), []);
}

/// D14-FETCH-2 D14-FETCH-10
#[test]
fn without_a_subscription_the_publisher_says_where_it_ends() {
    let mut stage = Stage::new(FetchLimits::default());
    stage
        .open_reader(1, Standing::Idle, range((0, 0), (9, 0)), UP)
        .unwrap();
    stage.read_on(1);
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
        stage
            .open_reader(1, Standing::Idle, range((0, 0), (9, 0)), UP)
            .unwrap();
        stage.read_on(1);
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
    stage
        .open_reader(1, Standing::Live, range((8, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
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

/// D14-FETCH-6
#[test]
fn live_objects_are_waited_for_then_asked_for() {
    let mut stage = Stage::new(FetchLimits::default());
    let slow = stage.open(8, false);
    let fast = stage.open(8, false);
    stage.object(slow, at(8, 0));
    stage.object(fast, at(8, 2));
    stage
        .open_reader(1, Standing::Live, range((8, 0), (8, 3)), UP)
        .unwrap();
    stage.read_on(1);
    assert_eq!(stage.got(1), [(8, 0)]);
    assert_eq!(stage.asks(), []);
    let deadline = stage.desk.poll_timeout().unwrap();
    assert_eq!(deadline, stage.now + FetchLimits::default().wait);
    stage
        .open_reader(2, Standing::Live, range((8, 0), (8, 3)), UP)
        .unwrap();
    stage.read_on(2);
    stage.object(slow, at(8, 1));
    stage.read_on(1);
    stage.read_on(2);
    assert_eq!(stage.got(1), [(8, 0), (8, 1), (8, 2)]);
    assert_eq!(stage.got(2), [(8, 0), (8, 1), (8, 2)]);
    // This one never comes.
    stage.object(fast, at(8, 7));
    stage
        .open_reader(3, Standing::Live, range((8, 5), (8, 8)), UP)
        .unwrap();
    stage.read_on(3);
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
    stage
        .open_reader(1, Standing::Live, range((2, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(1);
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
    stage.desk.close(stage.now, &mut stage.log, ReaderKey(1));
    stage.drain();
    assert!(!stage.has(&Output::Cancel(fill)));
    stage.desk.close(stage.now, &mut stage.log, ReaderKey(2));
    stage.drain();
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
    stage
        .open_reader(2, Standing::Live, range((7, 0), (9, 1)), UP)
        .unwrap();
    stage.read_on(2);
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
    stage
        .open_reader(1, Standing::Live, range((2, 0), (4, 0)), UP)
        .unwrap();
    stage.read_on(1);
    let (fill, _) = stage.asks()[0];
    stage
        .desk
        .refused(stage.now, &mut stage.log, fill, RequestErrorReason::NoObjects);
    stage.drain();
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
    stage
        .open_reader(1, Standing::Live, range((2, 1), (5, 0)), down)
        .unwrap();
    stage.read_on(1);
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
        stage
            .open_reader(reader, Standing::Live, range((group, 0), (group, 3)), UP)
            .unwrap();
        stage.read_on(reader);
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
        stage
            .open_reader(reader, Standing::Live, range((group, 0), (group, 3)), UP)
            .unwrap();
        stage.read_on(reader);
    }
    let (fill, _) = stage.asks()[0];
    let header = FetchObjectHeader {
        location: at(3, 0),
        subgroup: 0,
        priority: 128,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len: 8,
    };
    let half = Bytes::from_static(b"half");
    let chunks = vec![Fill::Object(header), Fill::Payload(half.clone())];
    stage
        .desk
        .filled(stage.now, &mut stage.log, fill, chunks)
        .unwrap();
    stage.drain();
    assert_eq!(stage.got(1), [(3, 0)]);
    assert_eq!(stage.asks().len(), 1);
    stage.read_on(1);
    let rest = vec![Fill::Payload(half)];
    stage.desk.filled(stage.now, &mut stage.log, fill, rest).unwrap();
    stage.drain();
    assert_eq!(stage.asks()[1].1, range((5, 0), (5, 3)));
}

/// Without a subscription the end of the track may turn out while it is read. D14-FETCH-9 D14-FETCH-10
#[test]
fn a_response_past_the_end_of_the_track_ends_there() {
    let mut stage = Stage::new(FetchLimits::default());
    stage
        .open_reader(1, Standing::Idle, range((2, 0), (7, 5)), UP)
        .unwrap();
    stage.read_on(1);
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
        stage
            .open_reader(reader, Standing::Idle, range((2, 0), end), UP)
            .unwrap();
        stage.read_on(reader);
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
    stage
        .open_reader(1, Standing::Idle, range((2, 0), (9, 0)), UP)
        .unwrap();
    stage.read_on(1);
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
    stage
        .open_reader(1, Standing::Idle, range((2, 0), (2, 3)), UP)
        .unwrap();
    stage.read_on(1);
    let (fill, _) = stage.asks()[0];
    stage.group(3, 1);
    let refused = RequestErrorReason::InvalidRange;
    stage.desk.refused(stage.now, &mut stage.log, fill, refused);
    stage.drain();
    assert_eq!(stage.then(1), None);
    let (fill, hole) = stage.asks()[1];
    assert_eq!(hole, range((2, 0), (2, 3)));
    stage.fill(fill, (2, 0));
    stage.ok(fill, (2, 3));
    stage.end(fill, StreamEnd::Fin);
    stage.read_on(1);
    assert_eq!(stage.then(1), Some(Then::Done));
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
    stage.desk.close(stage.now, &mut stage.log, ReaderKey(1));
    stage.drain();
    let asks = stage.asks();
    assert_eq!(asks.len(), 3);
    assert_eq!(asks[2].1, range((5, 0), (5, 0)));
    // One that fails makes room as well.
    stage.desk.refused(
        stage.now,
        &mut stage.log,
        asks[1].0,
        RequestErrorReason::InternalError,
    );
    stage.drain();
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
    stage
        .open_reader(1, Standing::Live, range((0, 0), (0, 2)), UP)
        .unwrap();
    stage.read_on(1);
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
    stage
        .desk
        .refused(stage.now, &mut stage.log, fill, RequestErrorReason::NoObjects);
    stage.drain();
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
    stage
        .open_reader(3, Standing::Live, range((4, 0), (4, 0)), UP)
        .unwrap();
    stage.read_on(3);
    assert_eq!(stage.then(3), None);
    assert_eq!(stage.asks()[1].1, range((4, 0), (4, 0)));
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
    stage
        .open_reader(1, Standing::Live, range((8, 0), (8, 1)), UP)
        .unwrap();
    stage.read_on(1);
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
    stage
        .desk
        .filled(stage.now, &mut stage.log, fill, chunks)
        .unwrap();
    stage.drain();
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
    stage
        .open_reader(1, Standing::Live, range((8, 0), (8, 1)), UP)
        .unwrap();
    stage.read_on(1);
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

/// D14-FETCH-4 D14-FETCH-9: new groups first, so it is the end that is found out first. Whoever waited behind it goes on
/// before it, whether the publisher refuses or says where it ends.
#[test]
fn an_end_that_is_found_out_takes_readers_along() {
    for refused in [true, false] {
        let mut stage = Stage::new(FetchLimits::default());
        stage.group(5, 2);
        let down = GroupOrder::Descending;
        stage
            .open_reader(1, Standing::Idle, range((5, 0), (7, 0)), down)
            .unwrap();
        stage.read_on(1);
        let (fill, hole) = stage.asks()[0];
        assert!(hole.start >= at(5, 2), "{hole:?}");
        assert!(stage.got(1).is_empty());
        if refused {
            let reason = RequestErrorReason::NoObjects;
            stage.desk.refused(stage.now, &mut stage.log, fill, reason);
            stage.drain();
        } else {
            stage.ok(fill, (5, 2));
        }
        assert_eq!(stage.got(1), [(5, 0), (5, 1)], "refused: {refused}");
        stage.read_on(1);
        assert_eq!(stage.then(1), Some(Then::Done));
    }
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
    stage
        .open_reader(1, Standing::Live, range((2, 0), (2, 4)), UP)
        .unwrap();
    stage.read_on(1);
    for round in 0..10 {
        let Some(&(fill, hole)) = stage.asks().get(round) else {
            break;
        };
        let mut chunks = Vec::new();
        for object in hole.start.object..hole.end.object {
            chunks.push(Fill::Object(FetchObjectHeader {
                location: at(2, object),
                subgroup: 0,
                priority: 128,
                status: ObjectStatus::Normal,
                extensions: Bytes::new(),
                payload_len: 1_500,
            }));
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
