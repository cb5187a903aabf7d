//! What nobody here knows: what is still arriving, and what should be asked upstream.

use super::{PastCursor, PastRange};
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::message::subscribe::GroupOrder;
use crate::relay::track_log::TrackLog;
use std::time::Instant;

impl TrackLog {
    /// Whether an open live stream or an open answer may still bring an unknown object.
    pub(super) fn is_arriving(&self, at: Location) -> bool {
        // One that lost its first bytes because it is too large to keep: it may be asked for when it is over.
        let comes =
            |group: &super::PastGroup| group.objects.get(&at.object).is_some_and(|o| !o.is_complete());
        self.past.groups.get(&at.group).is_some_and(comes)
            || self.streams_of(at.group).any(|next| next <= at.object)
            || self.rests().any(|rest| rest.contains(at))
    }

    /// For each open stream of `group` that feeds the log: the lowest id that it may bring next.
    fn streams_of(&self, group: GroupId) -> impl Iterator<Item = ObjectId> {
        let keys = self.open_streams.range((group, u64::MIN)..=(group, u64::MAX));
        keys.filter_map(|(_, key)| {
            let ingress = self.streams.get(key)?;
            let last = match ingress.seq {
                // What comes for an entry that was evicted is not taken in.
                Some(seq) => self.entries.get(&seq)?.last_id.max(ingress.ignored),
                None => ingress.ignored,
            };
            last.map_or(Some(0), |last| last.checked_add(1))
        })
    }

    /// What open answers may still bring.
    fn rests(&self) -> impl Iterator<Item = PastRange> {
        self.past.fills.values().flat_map(|fill| fill.rest()).flatten()
    }

    pub(in crate::relay::track_log) fn has_open_stream(&self, group: GroupId) -> bool {
        self.next_open_group(group) == Some(group)
    }

    pub(super) fn next_open_group(&self, from: GroupId) -> Option<GroupId> {
        let mut open = self.open_streams.range((from, u64::MIN)..);
        open.next().map(|&(group, _)| group)
    }

    pub(super) fn last_open_group_before(&self, group: GroupId) -> Option<GroupId> {
        let mut open = self.open_streams.range(..(group, u64::MIN));
        open.next_back().map(|&(group, _)| group)
    }

    /// What should be asked upstream for the reader that stands before an unknown place.
    pub(super) fn hole(&self, now: Instant, cursor: &PastCursor) -> PastRange {
        self.hole_up_to(now, cursor, |at| self.next_arriving(at))
    }

    /// What should be asked upstream for a reader that has waited long enough for what open streams may still bring.
    #[must_use]
    pub fn overdue(&self, now: Instant, cursor: &PastCursor) -> PastRange {
        self.hole_up_to(now, cursor, |_| None)
    }

    /// The first id of `group` at which no further object stands, once that is known. An END_OF_GROUP object may stand
    /// there itself.
    #[must_use]
    pub fn group_end(&self, group: GroupId) -> Option<ObjectId> {
        let live = self.groups.get(&group).and_then(|group| group.end);
        live.or_else(|| self.past.groups.get(&group)?.end)
    }

    /// The unknown range at the cursor, up to what is settled and to what `arriving` names.
    fn hole_up_to(
        &self,
        now: Instant,
        cursor: &PastCursor,
        arriving: impl Fn(Location) -> Option<Location>,
    ) -> PastRange {
        let (at, range) = (cursor.at(), cursor.range());
        if cursor.order() == GroupOrder::Ascending {
            let stop = [self.next_settled(now, at, range.end.group), arriving(at)];
            let rest = PastRange {
                start: at,
                end: range.end,
            };
            return match stop.into_iter().flatten().min() {
                Some(stop) if range.contains(stop) => PastRange::before(at, stop).unwrap_or(rest),
                _ => rest,
            };
        }
        // Inside a group ids ascend in either order, so a hole that begins or ends inside a group is all of it.
        let here = Location::new(at.group, 0);
        let group_end = if at.group == range.end.group {
            range.end
        } else {
            here
        };
        let rest = PastRange {
            start: at,
            end: group_end,
        };
        let settled = self
            .next_settled_in(now, at)
            .map(|id| Location::new(at.group, id));
        let arriving = arriving(at).filter(|next| next.group == at.group);
        if let Some(stop) = settled.into_iter().chain(arriving).min()
            && rest.contains(stop)
        {
            return PastRange::before(at, stop).unwrap_or(rest);
        }
        if at.object > range.first(at.group) || at.group == range.start.group {
            return rest;
        }
        let below = at
            .group
            .checked_sub(1)
            .and_then(|below| self.noted_group_up_to(below));
        match below.filter(|&below| below >= range.start.group) {
            Some(below) => PastRange {
                start: Location::new(below + 1, 0),
                end: group_end,
            },
            None => PastRange {
                start: range.start,
                end: group_end,
            },
        }
    }

    /// The first place behind `at`, in groups up to `last`, at which it is known what stands there, or that nothing
    /// does.
    fn next_settled(&self, now: Instant, at: Location, last: GroupId) -> Option<Location> {
        let mut from = at;
        loop {
            if let Some(id) = self.next_settled_in(now, from) {
                return Some(Location::new(from.group, id));
            }
            let next = self.noted_group_from(from.group.checked_add(1)?)?;
            if next > last {
                return None;
            }
            from = Location::new(next, 0);
            if self.absent_groups(next).is_some() {
                return Some(from);
            }
        }
    }

    /// As [`TrackLog::next_settled`], in the group of `from`, and from there on.
    fn next_settled_in(&self, now: Instant, from: Location) -> Option<ObjectId> {
        let mut next = self.next_kept(now, from);
        let mut note = |id: Option<ObjectId>| {
            if let Some(id) = id.map(|id| id.max(from.object)) {
                next = Some(next.map_or(id, |next| next.min(id)));
            }
        };
        if let Some(group) = self.past.groups.get(&from.group) {
            note(group.told.at_or_after(from.object));
            note(group.absent.at_or_after(from.object));
            note(group.end.and_then(|end| end.checked_add(1)));
        }
        if let Some(group) = self.groups.get(&from.group) {
            note(group.end.and_then(|end| {
                if group.known.contains(end) {
                    end.checked_add(1)
                } else {
                    Some(end)
                }
            }));
        }
        let track_end = self.track_end().filter(|end| end.group == from.group);
        note(track_end.and_then(|end| end.object.checked_add(1)));
        note(self.next_never_made(from));
        next
    }

    /// For an origin: the next id from `from` on in its group of which nothing was ever made.
    fn next_never_made(&self, from: Location) -> Option<ObjectId> {
        let group = self.groups.get(&from.group).filter(|_| self.past.origin)?;
        let mut id = from.object;
        let made = [group.known.ranges(), group.cut_ids.ranges()];
        while let Some((_, last)) = made.iter().find_map(|made| made.cover(id)) {
            id = last.checked_add(1)?;
        }
        self.never_made_until(Location::new(from.group, id)).map(|_| id)
    }

    /// The next object from `from` on in its group that a reader may begin.
    fn next_kept(&self, now: Instant, from: Location) -> Option<ObjectId> {
        let live = self.groups.get(&from.group).and_then(|group| {
            // If the last object that began may not be read any more, neither may those before it.
            if self.is_expired(now, group.touched) {
                return None;
            }
            let mut ids = group.index.range(from.object..).map(|(&id, _)| id);
            ids.find(|&id| self.find_live(now, Location::new(from.group, id)).is_some())
        });
        let past = self.past.groups.get(&from.group).and_then(|group| {
            if group.touched.is_some_and(|touched| self.is_expired(now, touched)) {
                return None;
            }
            let mut objects = group.objects.range(from.object..);
            let found = objects.find(|(_, object)| !object.is_complete() || self.can_begin(now, object));
            found.map(|(&id, _)| id)
        });
        live.into_iter().chain(past).min()
    }

    /// `last`, or what comes before the next object from `at` to there that a reader may begin.
    pub(super) fn before_next_kept(&self, now: Instant, at: Location, last: ObjectId) -> ObjectId {
        match self.next_kept(now, at) {
            Some(next) if next > at.object => last.min(next - 1),
            _ => last,
        }
    }

    /// The first place behind `at`, which is not arriving, that an open stream or answer may still bring.
    fn next_arriving(&self, at: Location) -> Option<Location> {
        let here = self
            .streams_of(at.group)
            .min()
            .map(|id| Location::new(at.group, id));
        let mut open = at
            .group
            .checked_add(1)
            .and_then(|next| self.next_open_group(next));
        let mut above = None;
        while let Some(group) = open {
            above = self.streams_of(group).min().map(|id| Location::new(group, id));
            if above.is_some() {
                break;
            }
            open = group.checked_add(1).and_then(|next| self.next_open_group(next));
        }
        let fills = self.rests().filter(|rest| rest.end.group >= at.group);
        let fills = fills.map(|rest| rest.start).filter(|&start| start > at);
        here.into_iter().chain(above).chain(fills).min()
    }

    /// The next group from `group` on of which something is known.
    fn noted_group_from(&self, group: GroupId) -> Option<GroupId> {
        let past = &self.past;
        let end = self.track_end().map(|end| end.group);
        [
            self.groups.range(group..).next().map(|(&id, _)| id),
            past.groups.range(group..).next().map(|(&id, _)| id),
            past.told_groups.at_or_after(group),
            past.absent_groups.at_or_after(group),
            end.filter(|&end| end >= group),
            end.and_then(|end| end.checked_add(1))
                .map(|beyond| beyond.max(group)),
            self.next_group_never_made(group),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// For an origin: the next group from `group` on of which it may be known that nothing was ever made.
    fn next_group_never_made(&self, group: GroupId) -> Option<GroupId> {
        let largest = self.largest.filter(|_| self.past.origin)?;
        let gone = self.past.gone.ranges().cover(group);
        let next = gone.map_or(Some(group), |(_, last)| last.checked_add(1))?;
        (next <= largest.group).then_some(next)
    }

    /// The last group up to `group` of which something is known, or may still come.
    fn noted_group_up_to(&self, group: GroupId) -> Option<GroupId> {
        let past = &self.past;
        let end = self.track_end().map(|end| end.group);
        let arriving = self.rests().filter(|rest| rest.start.group <= group);
        [
            self.groups.range(..=group).next_back().map(|(&id, _)| id),
            past.groups.range(..=group).next_back().map(|(&id, _)| id),
            past.told_groups.at_or_before(group),
            past.absent_groups.at_or_before(group),
            end.filter(|&end| end <= group),
            group
                .checked_add(1)
                .and_then(|above| self.last_open_group_before(above)),
        ]
        .into_iter()
        .flatten()
        .chain(arriving.map(|rest| rest.end.group.min(group)))
        .max()
    }
}
