//! One upstream FETCH: which places it may still bring, and how it is paced.

use crate::moqt::location::Location;
use crate::moqt::message::{FetchOk, GroupOrder};
use crate::relay::track_log::PastRange;
use std::time::Instant;

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
    /// Nobody waits for more of it just now, so it is not taken.
    pub(super) held: bool,
    deadline: Option<Instant>,
}

impl Filling {
    pub(super) const fn new(range: PastRange, order: GroupOrder, deadline: Option<Instant>) -> Self {
        Self {
            range,
            order,
            last: None,
            ok: None,
            finished: false,
            held: false,
            deadline,
        }
    }

    /// It has shown a sign of life.
    pub(super) const fn alive(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// When it is given up unless it shows a sign of life. One that is held is not awaited.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.held)
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
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
