//! The desk over a real log, with a publisher that answers from a list, in virtual time.

mod crowds;
mod ends;
mod fills;
mod patience;

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

/// The head of an object as FETCH brings it.
fn fetched(location: Location, payload_len: u64) -> FetchObjectHeader {
    FetchObjectHeader {
        location,
        subgroup: 0,
        priority: 128,
        status: ObjectStatus::Normal,
        extensions: Bytes::new(),
        payload_len,
    }
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

    /// A reader is let in, and reads until it has to wait or is over.
    fn reads(&mut self, reader: u64, standing: Standing, wanted: PastRange, order: GroupOrder) {
        self.open_reader(reader, standing, wanted, order).unwrap();
        self.read_on(reader);
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
        let header = fetched(location, bytes.len() as u64);
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

    /// The publisher refuses.
    fn refuse(&mut self, key: FillKey, reason: RequestErrorReason) {
        self.desk.refused(self.now, &mut self.log, key, reason);
        self.drain();
    }

    /// A reader wants no more.
    fn leaves(&mut self, reader: u64) {
        self.desk.close(self.now, &mut self.log, ReaderKey(reader));
        self.drain();
    }

    /// What the publisher sends, which is as it should be.
    fn brings(&mut self, key: FillKey, chunks: Vec<Fill>) {
        self.desk.filled(self.now, &mut self.log, key, chunks).unwrap();
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
