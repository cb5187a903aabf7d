//! One downstream FETCH: its place in the track, and what it waits for.

use super::range::{self, Settled};
use crate::moqt::location::Location;
use crate::moqt::message::{GroupOrder, RequestErrorReason};
use crate::moqt::object::FetchObjectHeader;
use crate::relay::track_log::{Past, PastCursor, PastRange, TrackLog};
use bytes::Bytes;
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
    /// The largest place that was given.
    highest: Option<Location>,
    /// When the FETCH came.
    opened: Instant,
    settled: Option<Settled>,
    told: bool,
    stuck: Option<Stuck>,
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
            highest: None,
            opened: now,
            settled,
            told: false,
            stuck: None,
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
            // Between two objects if it can be: an object of which a reader has a part cannot be had again when it is
            // evicted meanwhile.
            let over = |times: usize| bytes >= times * max || chunks.len() >= times * BATCH_CHUNKS;
            if over(if self.cursor.inside_object() { 2 } else { 1 }) {
                break Stop::Full;
            }
            match log.read_past(now, &mut self.cursor) {
                Past::Object { header, at } => {
                    bytes += header.extensions.len();
                    let cached = at < self.opened;
                    self.highest = self.highest.max(Some(header.location));
                    chunks.push(Chunk::Object { header, cached });
                }
                Past::Payload(payload) => {
                    bytes += payload.len();
                    chunks.push(Chunk::Payload(payload));
                }
                Past::Arriving => break Stop::Arriving,
                Past::Unknown(hole) => break Stop::Unknown(hole),
                Past::Broken => break Stop::Broken,
                Past::End => break Stop::End,
            }
        };
        if !chunks.is_empty() {
            self.stuck = None;
        }
        (chunks, stop)
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
        self.cursor.truncate(settled.end);
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
