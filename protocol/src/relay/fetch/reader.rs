//! One downstream FETCH: its place in the track, and what it waits for.

use super::range::{self, Settled};
use crate::moqt::location::Location;
use crate::moqt::message::{GroupOrder, RequestErrorReason};
use crate::moqt::object::FetchObjectHeader;
use crate::relay::track_log::{Past, PastCursor, PastRange, TrackLog};
use bytes::{Buf, Bytes};
use std::time::{Duration, Instant};

/// Objects of one batch, however small they are.
const BATCH_CHUNKS: usize = 256;

/// One piece of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// The next object begins.
    Object {
        /// What stands before its payload.
        header: FetchObjectHeader,
        /// It was here before the FETCH came.
        cached: bool,
    },
    /// The next bytes of its payload, shared with the log.
    Payload(Bytes),
}

/// What a reader gets at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What comes next, in order.
    pub chunks: Vec<Chunk>,
    /// What FETCH_OK says, in the first batch by which that is known.
    pub settled: Option<Settled>,
    /// What follows.
    pub then: Then,
}

/// What follows a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More, when it is asked for.
    More,
    /// Nothing: all that exists was given.
    Done,
    /// Nothing, though something may be missing. The reader is forgotten.
    Failed(RequestErrorReason),
}

impl Batch {
    pub(super) const fn failed(reason: RequestErrorReason) -> Self {
        Self {
            chunks: Vec::new(),
            settled: None,
            then: Then::Failed(reason),
        }
    }
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Full,
    Arriving,
    Unknown(PastRange),
    Broken,
    End,
}

/// Times that an object is begun again because it was lost while a part of it was given.
const AGAIN: u8 = 3;

/// The object that was begun last.
#[derive(Debug)]
struct Begun {
    header: FetchObjectHeader,
    /// Bytes of its payload that were given.
    given: u64,
    /// Bytes of its payload that come once more and are passed over.
    skip: u64,
    /// Its beginning is still to come once more.
    again: bool,
    /// How often it was lost.
    lost: u8,
}

/// A place that a reader does not get past.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    at: Location,
    since: Instant,
    /// Fills that ended without bringing it.
    attempts: u8,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) cursor: PastCursor,
    pub(super) order: GroupOrder,
    /// It waits for a batch.
    pub(super) hungry: bool,
    /// It waits for a live stream, within a bound.
    pub(super) live_wait: bool,
    /// It waits for an upstream FETCH that may not be made while so many others are open.
    pub(super) blocked: bool,
    begun: Option<Begun>,
    /// The largest place that was given.
    highest: Option<Location>,
    /// When the FETCH came.
    opened: Instant,
    settled: Option<Settled>,
    told: bool,
    stuck: Option<Stuck>,
    /// Its end came, and took it away from the place at which it waited.
    pub(super) moved: bool,
}

impl Reader {
    pub(super) const fn new(
        cursor: PastCursor,
        order: GroupOrder,
        settled: Option<Settled>,
        now: Instant,
    ) -> Self {
        Self {
            cursor,
            order,
            hungry: false,
            live_wait: false,
            blocked: false,
            begun: None,
            highest: None,
            opened: now,
            settled,
            told: false,
            stuck: None,
            moved: false,
        }
    }

    /// The next place it wants.
    pub(super) fn place(&self) -> Location {
        self.cursor.at()
    }

    /// Reads what the log has, up to about `max` bytes.
    pub(super) fn take(&mut self, now: Instant, log: &TrackLog, max: usize) -> (Vec<Chunk>, Stop) {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        let stop = loop {
            // Between two objects if it can be: an object of which a reader has a part costs more when it is evicted
            // meanwhile.
            let over = |times: usize| bytes >= times * max || chunks.len() >= times * BATCH_CHUNKS;
            if over(if self.cursor.inside_object() { 2 } else { 1 }) {
                break Stop::Full;
            }
            match log.read_past(now, &mut self.cursor) {
                Past::Object { header, at } => match self.begin(header) {
                    Some(header) => {
                        bytes += header.extensions.len();
                        let cached = at < self.opened;
                        chunks.push(Chunk::Object { header, cached });
                    }
                    None if self.resumes() => break Stop::Broken,
                    None => {}
                },
                Past::Payload(payload) => {
                    let payload = self.unread(payload);
                    if !payload.is_empty() {
                        bytes += payload.len();
                        chunks.push(Chunk::Payload(payload));
                    }
                }
                Past::Arriving => break Stop::Arriving,
                Past::Unknown(hole) => break Stop::Unknown(hole),
                Past::Broken if self.begin_again() => {}
                Past::Broken => break Stop::Broken,
                Past::End if self.resumes() => break Stop::Broken,
                Past::End => break Stop::End,
            }
        };
        if !chunks.is_empty() {
            self.stuck = None;
        }
        (chunks, stop)
    }

    /// An object begins. None when it is the one that was lost, whose beginning was given, and when that is not the
    /// same any more, which leaves [`Self::resumes`] true.
    fn begin(&mut self, header: FetchObjectHeader) -> Option<FetchObjectHeader> {
        if let Some(begun) = self.begun.as_mut().filter(|begun| begun.again) {
            if begun.header == header {
                begun.again = false;
                begun.skip = begun.given;
            }
            return None;
        }
        self.highest = self.highest.max(Some(header.location));
        self.begun = Some(Begun {
            header: header.clone(),
            given: 0,
            skip: 0,
            again: false,
            lost: 0,
        });
        Some(header)
    }

    /// What of a piece of payload was not given yet.
    fn unread(&mut self, mut payload: Bytes) -> Bytes {
        let Some(begun) = &mut self.begun else {
            return payload;
        };
        let skip = usize::try_from(begun.skip).map_or(payload.len(), |skip| skip.min(payload.len()));
        payload.advance(skip);
        begun.skip -= skip as u64;
        begun.given += payload.len() as u64;
        payload
    }

    /// The object at hand was cut short or evicted: it is had again, and goes on where it was. MOQT-14 §9.16.3
    /// [D14-FETCH-6]: what is missing of it is asked for as any other hole.
    fn begin_again(&mut self) -> bool {
        let Some(begun) = self.begun.as_mut().filter(|begun| begun.lost < AGAIN) else {
            return false;
        };
        begun.lost += 1;
        begun.again = true;
        self.cursor.begin_again();
        true
    }

    /// A part of an object was given, and it is still to be begun again.
    fn resumes(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.again)
    }

    /// It does not get past `at`.
    pub(super) fn stuck_at(&mut self, at: Location, now: Instant) {
        if self.stuck.is_none_or(|stuck| stuck.at != at) {
            self.stuck = Some(Stuck {
                at,
                since: now,
                attempts: 0,
            });
        }
    }

    /// A fill ended and did not bring what it is stuck at.
    pub(super) fn missed(&mut self, now: Instant) {
        let place = self.place();
        self.stuck_at(place, now);
        if let Some(stuck) = &mut self.stuck {
            stuck.attempts = stuck.attempts.saturating_add(1);
        }
    }

    pub(super) fn attempts(&self) -> u8 {
        self.stuck.map_or(0, |stuck| stuck.attempts)
    }

    /// Until when it waits for a live stream.
    pub(super) fn deadline(&self, wait: Duration) -> Option<Instant> {
        let stuck = self.stuck.filter(|_| self.live_wait)?;
        stuck.since.checked_add(wait)
    }

    /// Whether the end of its response is known.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// The response ends at `settled`, which is not behind what was asked for.
    ///
    /// MOQT-14 §9.17 [D14-FETCH-9]: what was given already is part of it. It may have come live after the publisher
    /// looked, and all before it is known.
    pub(super) fn settles(&mut self, mut settled: Settled) {
        if let Some(last) = self.highest
            && PastRange::new(Location::ZERO, settled.end).is_none_or(|range| !range.contains(last))
        {
            settled.end = Location::new(last.group, last.object.saturating_add(1));
        }
        let place = self.place();
        self.cursor.truncate(settled.end);
        self.moved = self.cursor.is_over() || self.place() != place;
        self.settled = Some(settled);
    }

    /// What is told with the next batch: once.
    pub(super) fn settle(&mut self, then: &Then, log: &TrackLog) -> Option<Settled> {
        if *then == Then::Done && self.settled.is_none() {
            // Everything up to the end that was asked for turned out to be known.
            self.settled = Some(range::settled_by(log, self.cursor.range()));
        }
        if self.told {
            return None;
        }
        self.told = self.settled.is_some();
        self.settled
    }
}
