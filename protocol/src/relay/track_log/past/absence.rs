//! What is known not to exist. MOQT-14 §9.16.3 [D14-FETCH-5] [D14-CACHE-7].
//!
//! Absence is kept as ranges: of groups for the track, of object ids for each group. There are two kinds. *Told*: a
//! publisher said so with an object, and an object inside makes the track malformed. *Shown*: an answer to FETCH left
//! it out; an object that comes all the same is taken, since somebody who has one knows more than somebody who has
//! none. Either kind is bounded, and what is forgotten is unknown again. Ends of groups and of the track are not
//! stored as ranges but looked up where they are kept.

use super::{PastGroup, PastRange};
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::relay::track_log::ranges::Ranges;
use crate::relay::track_log::{GROUP_OVERHEAD, RANGE_OVERHEAD, TrackLog};

impl TrackLog {
    /// Upstream said that nothing stands in `range` (FETCH_ERROR with NO_OBJECTS). What is known here stays known.
    ///
    /// The range must end below what upstream has published: what is yet to come is not absent.
    pub fn absent(&mut self, range: PastRange) {
        if !range.is_empty() {
            self.mark_absent(range);
        }
    }

    /// This process makes the objects of the track: from now on, what was never written below
    /// [`TrackLog::largest`] is absent, and what was evicted stays unknown.
    pub const fn set_origin(&mut self) {
        self.past.origin = true;
    }

    /// The compatibility rule for publishers that cannot answer FETCH: whether the start of `hole` is absent after
    /// all, because a live group is over.
    ///
    /// MOQT-14 §9.16.3 DEVIATION: the draft wants the status confirmed upstream, which such a publisher never does,
    /// so that no joining FETCH over a finished group could ever end. A live group counts as over when at least one
    /// stream brought it, all of them ended with FIN, none is open, and a newer group has begun; then nothing is
    /// taken to stand behind its last object. Nothing else is: not between two objects, not in groups that never came,
    /// and not in one that was evicted before and of which more came since: what is gone may have been the rest.
    pub fn assume_finished(&mut self, hole: PastRange) -> bool {
        let groups = hole.start.group..=hole.end.group;
        let newest = self.groups.keys().next_back().copied();
        let tails: Vec<_> = self
            .groups
            .range(groups)
            .filter(|&(&id, group)| {
                let whole = group.fins > 0 && !group.cut && !self.gone.may_hold(id);
                Some(id) != newest && whole && !self.has_open_stream(id)
            })
            .filter_map(|(&id, group)| {
                let behind = group.known.ranges().last()?.checked_add(1)?;
                let tail = PastRange {
                    start: Location::new(id, behind),
                    end: Location::new(id, 0),
                };
                tail.intersect(hole)
            })
            .collect();
        for tail in tails {
            self.mark_absent(tail);
        }
        self.absent_until(hole.start).is_some()
    }

    /// The last place that is known to be published, whether it came live, by FETCH, or is only known of.
    pub(in crate::relay) fn last_published(&self) -> Option<Location> {
        self.largest.max(self.top).max(self.track_end())
    }

    /// What of `range` is known to be published, and what may still come. Either may be empty.
    pub(in crate::relay) fn split_at_published(
        &self,
        range: PastRange,
    ) -> (Option<PastRange>, Option<PastRange>) {
        let Some(last) = self.last_published() else {
            return (None, Some(range));
        };
        let after = Location::new(last.group, last.object.saturating_add(1));
        let published = PastRange {
            start: Location::ZERO,
            end: after,
        };
        let to_come = PastRange {
            start: after,
            end: Location::new(GroupId::MAX, 0),
        };
        (published.intersect(range), to_come.intersect(range))
    }

    /// The first place at which nothing may stand any more, whoever said so.
    pub(in crate::relay) fn track_end(&self) -> Option<Location> {
        match (self.end, self.past.end) {
            (Some(live), Some(past)) => Some(live.min(past)),
            (live, past) => live.or(past),
        }
    }

    /// The groups around `group` that do not exist and hold nothing, first and last, if it is such a group.
    pub(super) fn empty_groups(&self, group: GroupId) -> Option<(GroupId, GroupId)> {
        let (first, last) = self.absent_groups(group)?;
        let above = self.held_group_from(group);
        if above == Some(group) {
            return None;
        }
        let below = group
            .checked_sub(1)
            .and_then(|below| self.held_group_up_to(below));
        Some((
            below.map_or(first, |below| first.max(below + 1)),
            above.map_or(last, |above| last.min(above - 1)),
        ))
    }

    /// The next group from `group` on that holds objects, or held some.
    fn held_group_from(&self, group: GroupId) -> Option<GroupId> {
        let live = self.groups.range(group..).next().map(|(&id, _)| id);
        let mut past = self.past.groups.range(group..);
        let past = past
            .find(|(_, group)| !group.objects.is_empty())
            .map(|(&id, _)| id);
        live.into_iter().chain(past).min()
    }

    fn held_group_up_to(&self, group: GroupId) -> Option<GroupId> {
        let live = self.groups.range(..=group).next_back().map(|(&id, _)| id);
        let mut past = self.past.groups.range(..=group).rev();
        let past = past
            .find(|(_, group)| !group.objects.is_empty())
            .map(|(&id, _)| id);
        live.max(past)
    }

    /// The groups around `group` that do not exist, first and last, if it does not.
    pub(super) fn absent_groups(&self, group: GroupId) -> Option<(GroupId, GroupId)> {
        let past = &self.past;
        past.told_groups
            .cover(group)
            .or_else(|| past.absent_groups.cover(group))
            .or_else(|| {
                let beyond = self.track_end()?.group.checked_add(1)?;
                (group >= beyond).then_some((beyond, GroupId::MAX))
            })
            .or_else(|| self.never_made(group))
    }

    /// For an origin: the groups around `group` of which nothing was ever made.
    fn never_made(&self, group: GroupId) -> Option<(GroupId, GroupId)> {
        let largest = self.largest.filter(|_| self.past.origin)?.group;
        let gone = self.past.gone.ranges();
        if group >= largest
            || gone.contains(group)
            || self.groups.contains_key(&group)
            || self.has_open_stream(group)
        {
            return None;
        }
        let below = [
            self.groups.range(..group).next_back().map(|(&id, _)| id),
            gone.at_or_before(group),
            self.last_open_group_before(group),
        ];
        let above = [
            self.groups.range(group..).next().map(|(&id, _)| id),
            gone.at_or_after(group),
            self.next_open_group(group),
        ];
        let first = below.into_iter().flatten().max().map_or(0, |below| below + 1);
        let above = above.into_iter().flatten().fold(largest, GroupId::min);
        Some((first, above - 1))
    }

    /// The last of the ids from `at` on that do not exist, if nothing that is not kept stands at `at`;
    /// [`ObjectId::MAX`] for all the rest of the group. What is kept may stand among them: an object that says that it
    /// does not exist.
    pub(super) fn absent_until(&self, at: Location) -> Option<ObjectId> {
        let id = at.object;
        let mut until = self.absent_groups(at.group).map(|_| ObjectId::MAX);
        if let Some(group) = self.past.groups.get(&at.group) {
            until = until.max(group.told.cover(id).map(|(_, last)| last));
            until = until.max(group.absent.cover(id).map(|(_, last)| last));
            until = until.max(group.end.filter(|&end| id > end).map(|_| ObjectId::MAX));
        }
        if let Some(group) = self.groups.get(&at.group) {
            // The object that says the end stands at the end and may have been evicted; the bit says only that
            // nothing does.
            let ended = |&end: &ObjectId| id > end || (id == end && !group.known.contains(end));
            until = until.max(group.end.filter(ended).map(|_| ObjectId::MAX));
        }
        until.max(self.track_end().filter(|&end| at > end).map(|_| ObjectId::MAX))
    }

    /// For an origin: as [`TrackLog::absent_until`], for what was never made.
    pub(super) fn never_made_until(&self, at: Location) -> Option<ObjectId> {
        let largest = self.largest.filter(|_| self.past.origin)?;
        let group = self.groups.get(&at.group)?;
        if at > largest || self.past.gone.contains(at.group) {
            return None;
        }
        let (known, cut) = (group.known.ranges(), group.cut_ids.ranges());
        if known.contains(at.object) || cut.contains(at.object) {
            return None;
        }
        let made = [known.at_or_after(at.object), cut.at_or_after(at.object)];
        match made.into_iter().flatten().min() {
            Some(next) => Some(next - 1),
            None if at.group == largest.group => Some(largest.object),
            None => Some(ObjectId::MAX),
        }
    }

    /// Takes note that nothing stands in `range`, but for what is known.
    pub(super) fn mark_absent(&mut self, range: PastRange) {
        let (mut low, mut high) = (range.start.group, range.end.group);
        if low == high {
            return self.mark_ids(low, range.start.object, range.last(low).unwrap_or(ObjectId::MAX));
        }
        if range.start.object > 0 {
            self.mark_ids(low, range.start.object, ObjectId::MAX);
            low += 1;
        }
        if range.end.object > 0 {
            self.mark_ids(high, 0, range.end.object - 1);
            high -= 1;
        }
        self.mark_groups(low, high);
    }

    fn mark_groups(&mut self, low: GroupId, high: GroupId) {
        if high < low {
            return;
        }
        let live = self.groups.range(low..=high).map(|(&id, _)| id);
        let past = self.past.groups.range(low..=high);
        let mut held: Vec<_> = live
            .chain(
                past.filter(|(_, group)| !group.objects.is_empty())
                    .map(|(&id, _)| id),
            )
            .collect();
        held.sort_unstable();
        held.dedup();
        let before = self.past.absent_groups.len();
        let mut next = Some(low);
        for &group in &held {
            if let (Some(from), Some(to)) = (next, group.checked_sub(1)) {
                self.past.absent_groups.insert_range(from, to);
            }
            next = group.checked_add(1);
        }
        if let Some(from) = next {
            self.past.absent_groups.insert_range(from, high);
        }
        self.past.absent_groups.forget_far_from(high);
        self.past.absence_at = self.past.now.or(self.past.absence_at);
        self.recount(
            before * RANGE_OVERHEAD,
            self.past.absent_groups.len() * RANGE_OVERHEAD,
        );
        for group in held {
            self.mark_held_ids(group, 0, ObjectId::MAX);
        }
    }

    fn mark_ids(&mut self, group: GroupId, first: ObjectId, last: ObjectId) {
        if first == 0 && last == ObjectId::MAX {
            self.mark_groups(group, group);
        } else {
            self.mark_held_ids(group, first, last);
        }
    }

    /// Takes note that nothing stands from `first` to `last` in `group`, but for what is known there.
    fn mark_held_ids(&mut self, id: GroupId, first: ObjectId, last: ObjectId) {
        if last < first {
            return;
        }
        let live = self.groups.get(&id).map(|group| group.known.ranges());
        let past = self.past.groups.get(&id);
        let mut free = Vec::new();
        let mut at = first;
        loop {
            let kept = past.and_then(|group| group.objects.range(at..).next().map(|(&id, _)| id));
            let began = live.and_then(|known| known.at_or_after(at));
            let Some(taken) = [kept, began].into_iter().flatten().min().filter(|&id| id <= last) else {
                free.push((at, last));
                break;
            };
            if taken > at {
                free.push((at, taken - 1));
            }
            let run = live
                .and_then(|known| known.cover(taken))
                .map_or(taken, |(_, end)| end);
            if run >= last {
                break;
            }
            at = run + 1;
        }
        if free.is_empty() {
            return;
        }
        self.with_group(id, |group| {
            for (first, last) in free {
                group.absent.insert_range(first, last);
            }
            group.absent.forget_far_from(last);
        });
    }

    /// An object began at `at`, so it exists whatever was concluded before.
    pub(in crate::relay::track_log) fn shown_to_exist(&mut self, at: Location) {
        let past = &mut self.past;
        if past.absent_groups.contains(at.group) {
            let before = past.absent_groups.len() * RANGE_OVERHEAD;
            past.absent_groups.remove(at.group);
            past.absent_groups.forget_far_from(at.group);
            let after = past.absent_groups.len() * RANGE_OVERHEAD;
            self.recount(before, after);
        }
        if let Some(group) = self.past.groups.get_mut(&at.group)
            && group.absent.contains(at.object)
        {
            let before = group.facts();
            group.absent.remove(at.object);
            let after = group.facts();
            self.recount(before, after);
        }
    }

    /// Forgets which groups do not exist; false when it knows none.
    pub(in crate::relay::track_log) fn forget_absence(&mut self) -> bool {
        let ranges = self.past.told_groups.len() + self.past.absent_groups.len();
        self.past.told_groups = Ranges::default();
        self.past.absent_groups = Ranges::default();
        self.past.absence_at = None;
        self.recount(ranges * RANGE_OVERHEAD, 0);
        ranges > 0
    }

    /// Changes the group of the past with this id, which is made if there is none, and counts its ranges anew.
    pub(super) fn with_group<R>(&mut self, id: GroupId, change: impl FnOnce(&mut PastGroup) -> R) -> R {
        if !self.past.groups.contains_key(&id) {
            self.make_room_for_a_past_group();
            let filed = self.past.now;
            self.past.ages.insert((filed, id));
            self.past.groups.insert(
                id,
                PastGroup {
                    touched: filed,
                    filed,
                    ..PastGroup::default()
                },
            );
            self.recount(0, GROUP_OVERHEAD);
        }
        let group = self.past.groups.entry(id).or_default();
        let before = group.facts();
        let result = change(group);
        let after = group.facts();
        self.recount(before, after);
        result
    }

    /// Something of the past counted `before` and counts `after`.
    pub(super) const fn recount(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.past.bytes = self.past.bytes + after - before;
    }
}

impl PastGroup {
    /// What its ranges count.
    pub(super) fn facts(&self) -> usize {
        (self.told.len() + self.absent.len()) * RANGE_OVERHEAD
    }
}
