//! Ranges of past objects, and the place of a reader in one.

use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::message::subscribe::GroupOrder;
use crate::relay::track_log::SubgroupSeq;
use bytes::Bytes;

/// A range of objects as FETCH says it. MOQT-14 §9.16.1 [D14-FETCH-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PastRange {
    /// The first place wanted.
    pub start: Location,
    /// `end.object` is one past the last object wanted; 0 means all of `end.group`.
    pub end: Location,
}

impl PastRange {
    /// The range from `start` to `end`; none when `end` lies before `start`. Both may be the same place: then the
    /// range [is empty](Self::is_empty).
    #[must_use]
    pub fn new(start: Location, end: Location) -> Option<Self> {
        let whole_group = end.object == 0 && end.group >= start.group;
        (whole_group || end >= start).then_some(Self { start, end })
    }

    /// Nothing can stand in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start.group == self.end.group && self.end.object != 0 && self.end.object <= self.start.object
    }

    /// Whether `location` is in it.
    #[must_use]
    pub fn contains(&self, location: Location) -> bool {
        location >= self.start
            && self
                .last(location.group)
                .is_some_and(|last| location.object <= last)
    }

    /// The first id wanted of a group that is in the range.
    pub(super) const fn first(&self, group: GroupId) -> ObjectId {
        if group == self.start.group {
            self.start.object
        } else {
            0
        }
    }

    /// The last id wanted of `group`; none when the group lies beyond the range.
    pub(super) const fn last(&self, group: GroupId) -> Option<ObjectId> {
        if group > self.end.group {
            None
        } else if group < self.end.group || self.end.object == 0 {
            Some(ObjectId::MAX)
        } else {
            Some(self.end.object - 1)
        }
    }

    /// From `start` to the place before `next`; none when that is nothing.
    pub(super) fn before(start: Location, next: Location) -> Option<Self> {
        if next <= start {
            return None;
        }
        // The wire has no other way to say "up to the start of a group" than all of the one before.
        let end = match next.object {
            0 => Location::new(next.group.checked_sub(1)?, 0),
            _ => next,
        };
        Some(Self { start, end })
    }

    /// What both have in common.
    pub(super) fn intersect(self, other: Self) -> Option<Self> {
        let end = if end_key(self.end) <= end_key(other.end) {
            self.end
        } else {
            other.end
        };
        Self::new(self.start.max(other.start), end).filter(|range| !range.is_empty())
    }
}

/// Orders ends of ranges: all of a group ends after every part of it.
const fn end_key(end: Location) -> (GroupId, ObjectId) {
    (end.group, end.object.wrapping_sub(1))
}

/// The place right after `location`, in ascending order.
pub(super) const fn after(location: Location) -> Location {
    match location.object.checked_add(1) {
        Some(object) => Location::new(location.group, object),
        None => Location::new(location.group.saturating_add(1), 0),
    }
}

/// A reader's place in a range of past objects. It owns nothing of the log but, for a moment, one datagram.
#[derive(Clone, Debug)]
pub struct PastCursor {
    range: PastRange,
    order: GroupOrder,
    at: Location,
    over: bool,
    pub(super) inside: Option<Inside>,
}

/// The object that a reader is in the middle of.
#[derive(Clone, Debug)]
pub(super) enum Inside {
    /// Of a live subgroup: the object's and the next chunk's number there.
    Live {
        seq: SubgroupSeq,
        object: u64,
        chunk: u64,
    },
    /// Of a datagram: what was not given out.
    Datagram(Bytes),
    /// Fetched from upstream.
    Past { serial: u64, chunk: u64 },
}

impl PastCursor {
    /// At the beginning of `range`: groups in `order`, objects by ascending id in each. MOQT-14 §9.16.3
    /// [D14-FETCH-4].
    #[must_use]
    pub const fn new(range: PastRange, order: GroupOrder) -> Self {
        let at = match order {
            GroupOrder::Ascending => range.start,
            GroupOrder::Descending => Location::new(range.end.group, range.first(range.end.group)),
        };
        Self {
            range,
            order,
            at,
            over: range.is_empty(),
            inside: None,
        }
    }

    /// The next place wanted; while inside an object, that object's place.
    #[must_use]
    pub const fn at(&self) -> Location {
        self.at
    }

    /// An object was begun of which payload is still to be read.
    #[must_use]
    pub const fn inside_object(&self) -> bool {
        self.inside.is_some()
    }

    /// The object that was begun is to be begun again.
    pub fn begin_again(&mut self) {
        self.inside = None;
    }

    /// The range, as cut by [`PastCursor::truncate`].
    #[must_use]
    pub const fn range(&self) -> PastRange {
        self.range
    }

    /// The order of groups.
    #[must_use]
    pub const fn order(&self) -> GroupOrder {
        self.order
    }

    /// Nothing of the range is left to read.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over && self.inside.is_none()
    }

    /// Ends the range at `end`, as [`PastRange::end`] says it, unless it ends before. An object that was begun is
    /// still given whole.
    pub fn truncate(&mut self, end: Location) {
        if end_key(end) >= end_key(self.range.end) {
            return;
        }
        self.range.end = end;
        if PastRange::new(self.range.start, end).is_none_or(|range| range.is_empty()) {
            self.over = true;
            return;
        }
        match self.order {
            GroupOrder::Ascending => self.settle(),
            GroupOrder::Descending if self.at.group > end.group => {
                // What lies above the new end is skipped; an object that was begun keeps its place until it is read.
                if self.inside.is_none() {
                    self.at = Location::new(end.group, self.range.first(end.group));
                }
            }
            GroupOrder::Descending => self.settle(),
        }
    }

    pub(super) const fn ended(&self) -> bool {
        self.over
    }

    /// Goes on behind `id` of the group at hand.
    pub(super) fn pass(&mut self, id: ObjectId) {
        match id.checked_add(1) {
            Some(next) => {
                self.at.object = next;
                self.settle();
            }
            None => self.leave_group(),
        }
    }

    /// Goes on behind all groups from `first` to `last`, the group at hand among them.
    pub(super) fn pass_groups(&mut self, first: GroupId, last: GroupId) {
        self.at.group = match self.order {
            GroupOrder::Ascending => last,
            GroupOrder::Descending => first,
        };
        self.leave_group();
    }

    /// Leaves the group at hand if nothing of it is left.
    fn settle(&mut self) {
        if self
            .range
            .last(self.at.group)
            .is_none_or(|last| self.at.object > last)
            && self.inside.is_none()
        {
            self.leave_group();
        }
    }

    fn leave_group(&mut self) {
        let group = self.at.group;
        let next = match self.order {
            GroupOrder::Ascending if group < self.range.end.group => group.checked_add(1),
            GroupOrder::Descending if group > self.range.start.group => {
                // The range may have been cut below the group at hand.
                group.checked_sub(1).map(|next| next.min(self.range.end.group))
            }
            GroupOrder::Ascending | GroupOrder::Descending => None,
        };
        match next {
            Some(next) => self.at = Location::new(next, self.range.first(next)),
            None => self.over = true,
        }
    }
}
