//! One upstream FETCH: which places it may still bring, and how it is paced.

use crate::moqt::location::Location;
use crate::moqt::message::{FetchOk, GroupOrder};
use crate::relay::track_log::{Fill, PastRange};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Filling {
    pub(super) range: PastRange,
    pub(super) order: GroupOrder,
    /// The last object that it began.
    pub(super) last: Option<Location>,
    /// FETCH_OK.
    pub(super) ok: Option<FetchOk>,
    /// Its stream has ended with FIN, and FETCH_OK has not come.
    pub(super) finished: bool,
    clock: Clock,
}

/// How much of an object is a sign of life, in bytes: less than a packet carries. What comes in smaller drops does not
/// buy time, or one byte a second would hold a place among the fills, and everybody who waits for it, for ever.
/// MOQT-14 §12.2 [D14-LIM-6]
const ENOUGH: u64 = 1024;

/// How long before its time is over the owner is to look once more. Whoever misses that look was held up itself: what
/// the publisher said meanwhile is there and not read, so it is no evidence against the publisher.
const LOOK: Duration = Duration::from_millis(100);

/// How long the publisher may still take; it does not run while nobody wants more.
#[derive(Debug)]
struct Clock {
    patience: Duration,
    state: Runs,
    /// The owner looked when the time was almost over.
    looked: bool,
    /// The owner was late, and the publisher has got more time: once for a sign of life, or an owner that is always late
    /// would wait for ever.
    excused: bool,
    /// Bytes of payload since the last sign of life, and those that the object still lacks.
    brought: u64,
    lacks: u64,
}

#[derive(Clone, Copy, Debug)]
enum Runs {
    /// Until then; none when that is too late to be told.
    Until(Option<Instant>),
    /// Held, with so much time left.
    Held(Duration),
}

impl Filling {
    pub(super) fn new(range: PastRange, order: GroupOrder, now: Instant, patience: Duration) -> Self {
        Self {
            range,
            order,
            last: None,
            ok: None,
            finished: false,
            clock: Clock {
                patience,
                state: Runs::Until(now.checked_add(patience)),
                looked: false,
                excused: false,
                brought: 0,
                lacks: 0,
            },
        }
    }

    /// It has shown a sign of life.
    pub(super) fn alive(&mut self, now: Instant) {
        let Clock { patience, state, .. } = self.clock;
        self.clock.brought = 0;
        (self.clock.looked, self.clock.excused) = (false, false);
        self.clock.state = match state {
            Runs::Until(_) => Runs::Until(now.checked_add(patience)),
            Runs::Held(_) => Runs::Held(patience),
        };
    }

    /// It brings this next.
    pub(super) fn brings_next(&mut self, now: Instant, chunk: &Fill) {
        match chunk {
            Fill::Object(header) => {
                self.last = Some(header.location);
                self.clock.lacks = header.payload_len;
                self.alive(now);
            }
            Fill::Payload(bytes) => {
                let clock = &mut self.clock;
                let len = bytes.len() as u64;
                clock.brought = clock.brought.saturating_add(len);
                clock.lacks = clock.lacks.saturating_sub(len);
                if clock.brought >= ENOUGH || clock.lacks == 0 {
                    self.alive(now);
                }
            }
        }
    }

    /// Nobody waits for more of it just now, so it is not taken.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self.clock.state, Runs::Held(_))
    }

    /// Nobody waits for more of it from here on.
    pub(super) fn hold(&mut self, now: Instant) {
        if let Runs::Until(until) = self.clock.state {
            let left = until.map_or(self.clock.patience, |until| until.saturating_duration_since(now));
            self.clock.state = Runs::Held(left);
        }
    }

    /// Somebody waits for more of it.
    pub(super) fn release(&mut self, now: Instant) {
        if let Runs::Held(left) = self.clock.state {
            self.clock.state = Runs::Until(now.checked_add(left));
            self.clock.looked = false;
        }
    }

    /// When it is to be looked at next. One that is held is not awaited.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let Clock { looked, excused, .. } = self.clock;
        match self.clock.state {
            Runs::Until(Some(until)) if looked || excused => Some(until),
            Runs::Until(Some(until)) => Some(until.checked_sub(LOOK).unwrap_or(until)),
            Runs::Until(None) | Runs::Held(_) => None,
        }
    }

    /// Looks at it: whether its publisher has shown no sign of life in time. Whoever looks late gives it as much more time
    /// as that was, and a look longer.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        let (next, clock) = (self.deadline(), &mut self.clock);
        let Runs::Until(Some(until)) = clock.state else {
            return false;
        };
        if now < until {
            clock.looked |= next.is_some_and(|next| now >= next);
            return false;
        }
        let late = now.saturating_duration_since(until);
        if clock.excused || (clock.looked && late < LOOK) {
            return true;
        }
        clock.excused = true;
        let more = late.saturating_add(LOOK).min(clock.patience);
        clock.state = Runs::Until(now.checked_add(more));
        false
    }

    /// Nothing at all has come of it.
    pub(super) const fn is_unheard(&self) -> bool {
        self.ok.is_none() && self.last.is_none() && !self.finished
    }

    /// It may still bring the object at `place`.
    pub(super) fn covers(&self, place: Location) -> bool {
        self.range.contains(place) && self.last.is_none_or(|last| follows(self.order, last, place))
    }

    /// It may still bring `place`, or is bringing it.
    pub(super) fn brings(&self, place: Location) -> bool {
        self.last == Some(place) || self.covers(place)
    }
}

/// Whether `place` comes after `last` on a stream of this order. MOQT-14 §9.16.3 [D14-FETCH-4]
fn follows(order: GroupOrder, last: Location, place: Location) -> bool {
    match order {
        GroupOrder::Ascending => place > last,
        GroupOrder::Descending => {
            place.group < last.group || (place.group == last.group && place.object > last.object)
        }
    }
}
