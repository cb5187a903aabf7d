//! What a subscriber was given, so that a second session gives it nothing twice.

use super::item::{Item, ReceivedObject};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::{GroupId, Location, ObjectId, SubgroupId};
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::relay::track_log::StreamEnd;
use std::collections::{BTreeMap, BTreeSet};

/// Most ranges of object ids that are remembered: 4096 groups without holes, a minute of audio with a group a frame.
/// What is older counts as given.
const MAX_RANGES: usize = 4096;
/// Most ended streams that are remembered.
const MAX_ENDED: usize = 1024;

/// Which session something comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that is to be left.
    Old,
    /// The one that stays.
    New,
}

/// What becomes of streams and objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// There has been one session only: everything passes.
    #[default]
    Alone,
    /// It is to be left: what it resets may go on in the next one.
    Leaving,
    /// Two sessions, or one that took over: each stream and object passes once.
    Merging,
}

type StreamId = (GroupId, SubgroupId);

/// A subgroup's stream as the user sees it: it begins and ends once, on however many sessions it comes.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    old: usize,
    new: usize,
    /// The place after the last object.
    next: ObjectId,
    /// How it ends unless a session goes on with it: as the old one ended it too early, or because all of it was
    /// fetched.
    cut: Option<StreamEnd>,
    /// It was cut by a session that is not left, as it turns out once that one goes on.
    in_passing: bool,
    /// All of it came, or one of those that carry it came to its end: what is left of the others are pieces of the same.
    finished: bool,
}

/// Objects and streams that were handed out.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    mode: Mode,
    /// A subscription that fails comes back, so what it cuts off may go on.
    comes_back: bool,
    /// By group, ranges of object ids: first and one past the last.
    given: BTreeMap<GroupId, BTreeMap<ObjectId, ObjectId>>,
    ranges: usize,
    /// Groups below this are forgotten, and count as given.
    floor: GroupId,
    highest: Option<Location>,
    /// The last object that said that its group has no more.
    ended_at: Option<Location>,
    streams: BTreeMap<StreamId, Stream>,
    ended: BTreeSet<StreamId>,
    /// The track's objects come as datagrams.
    datagrams: bool,
}

impl Ledger {
    /// Nothing was handed out; `comes_back` says whether a subscription that fails is asked for again.
    pub(super) fn new(comes_back: bool) -> Self {
        Self {
            comes_back,
            ..Self::default()
        }
    }

    /// The session that gives is to be left, and is `Old` from now on; what it resets is held back.
    pub(super) fn leaving(&mut self) {
        if self.mode == Mode::Alone {
            self.mode = Mode::Leaving;
        }
        for stream in self.streams.values_mut() {
            stream.old += std::mem::take(&mut stream.new);
            stream.in_passing = false;
        }
    }

    /// Another session hands out objects too.
    pub(super) const fn merging(&mut self) {
        self.mode = Mode::Merging;
    }

    /// The old session gives nothing any more.
    pub(super) fn old_is_over(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.old = 0);
    }

    /// The largest place that was given.
    pub(super) const fn highest(&self) -> Option<Location> {
        self.highest
    }

    /// Takes note of an item; gives what of it the user is to see.
    pub(super) fn pass(&mut self, side: Side, item: Item) -> Vec<Item> {
        let passes = match &item {
            Item::Opened { group, subgroup } => self.opened(side, (*group, *subgroup)),
            Item::Closed { group, subgroup, end } => {
                let (group, subgroup) = (*group, *subgroup);
                let end = self.closed(side, (group, subgroup), *end);
                return end
                    .map(|end| Item::Closed { group, subgroup, end })
                    .into_iter()
                    .collect();
            }
            Item::Object(object) => {
                if self.mode == Mode::Merging && self.has(object.location) {
                    return Vec::new();
                }
                self.note(object.location);
                self.note_end(object);
                self.datagrams |= object.subgroup.is_none();
                if let Some(subgroup) = object.subgroup
                    && let Some(stream) = self.streams.get_mut(&(object.location.group, subgroup))
                {
                    stream.next = stream.next.max(object.location.object.saturating_add(1));
                }
                if side == Side::New {
                    let mut items = self.give_up(object.location.group);
                    items.push(item);
                    return items;
                }
                true
            }
            Item::Lost | Item::Done(_) => true,
        };
        if passes { vec![item] } else { Vec::new() }
    }

    /// Takes note of an object that was fetched because no session gave it, in the order of places; gives what the user
    /// is to see.
    pub(super) fn fill(&mut self, mut object: ReceivedObject) -> Vec<Item> {
        let at = object.location;
        if self.datagrams {
            // MOQT-14 §10.4.4 [D14-FETCH-15]: fetched, it comes with a subgroup all the same.
            object.subgroup = None;
        }
        let mut items = self.whole_below(at.group);
        if self.has(at) {
            return items;
        }
        if let Some(subgroup) = object
            .subgroup
            .filter(|subgroup| !self.ended.contains(&(at.group, *subgroup)))
        {
            let (known, group) = (self.streams.len(), at.group);
            let stream = self.streams.entry((group, subgroup)).or_default();
            stream.next = stream.next.max(at.object.saturating_add(1));
            if self.streams.len() > known {
                items.push(Item::Opened { group, subgroup });
            }
        }
        self.note(at);
        self.note_end(&object);
        items.push(Item::Object(object));
        items
    }

    /// All up to the group `last` was fetched; the new session may go on with that one.
    pub(super) fn filled(&mut self, last: GroupId) -> Vec<Item> {
        let items = self.whole_below(last);
        for (_, stream) in self.streams.range_mut(..=(last, SubgroupId::MAX)) {
            if stream.old + stream.new == 0 {
                stream.cut = Some(StreamEnd::Fin);
            }
        }
        items
    }

    /// Of this group streams came to their end, and no other one did not.
    pub(super) fn is_finished(&self, group: GroupId) -> bool {
        let of_group = (group, 0)..=(group, SubgroupId::MAX);
        self.streams.range(of_group.clone()).next().is_none() && self.ended.range(of_group).next().is_some()
    }

    /// Everything of the groups from `first` on came, up to those `behind`: whatever still ends a stream of theirs cuts off
    /// nothing.
    pub(super) fn came_whole(&mut self, first: GroupId, behind: GroupId) {
        if first < behind {
            let streams = self.streams.range_mut((first, 0)..(behind, 0));
            streams.for_each(|(_, stream)| stream.finished = true);
        }
    }

    /// Not all was fetched: the streams that no session carries lack something.
    pub(super) fn unfilled(&mut self) {
        for stream in self
            .streams
            .values_mut()
            .filter(|stream| stream.old + stream.new == 0)
        {
            stream
                .cut
                .get_or_insert(StreamEnd::Reset(ResetCode::SessionClosed));
        }
    }

    /// Ends the streams that no session carries in groups below `group`: nothing of them is missing any more.
    /// MOQT-14 §9.16.3 [D14-FETCH-5]
    fn whole_below(&mut self, group: GroupId) -> Vec<Item> {
        let over: Vec<_> = self
            .streams
            .range(..(group, 0))
            .filter(|(_, stream)| stream.old + stream.new == 0)
            .map(|(id, _)| *id)
            .collect();
        let end = StreamEnd::Fin;
        over.into_iter()
            .map(|(group, subgroup)| {
                self.end((group, subgroup));
                Item::Closed { group, subgroup, end }
            })
            .collect()
    }

    /// A stream is over for good.
    fn end(&mut self, id: StreamId) {
        self.streams.remove(&id);
        self.ended.insert(id);
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_first();
        }
    }

    fn opened(&mut self, side: Side, id: StreamId) -> bool {
        if self.mode == Mode::Merging && self.ended.contains(&id) {
            return false;
        }
        let known = self.streams.contains_key(&id);
        let stream = self.streams.entry(id).or_default();
        match side {
            Side::Old => stream.old += 1,
            Side::New => stream.new += 1,
        }
        let goes_on = stream.cut.take().is_some();
        !goes_on && (self.mode != Mode::Merging || !known)
    }

    /// How it ends for the user, if it does.
    fn closed(&mut self, side: Side, id: StreamId, end: StreamEnd) -> Option<StreamEnd> {
        let is_fin = end == StreamEnd::Fin;
        let Some(stream) = self.streams.get_mut(&id) else {
            // The other session's copy ended before.
            return (self.mode != Mode::Merging).then_some(end);
        };
        match side {
            Side::Old => stream.old = stream.old.saturating_sub(1),
            Side::New => stream.new = stream.new.saturating_sub(1),
        }
        let open = stream.old + stream.new > 0;
        let left = side == Side::Old && self.mode != Mode::Alone;
        stream.finished |= is_fin;
        // Of those that come back only FIN ends a stream for good.
        if (left || self.comes_back) && !is_fin && !stream.finished && !self.ended.contains(&id) {
            // Perhaps only because the session ends, or the subscription; the next one tells.
            stream.in_passing = !left;
            stream.cut = (!open).then_some(end);
            return None;
        }
        let end = if stream.finished || self.comes_back {
            StreamEnd::Fin
        } else {
            end
        };
        if open {
            return (self.mode == Mode::Alone).then_some(end);
        }
        self.end(id);
        Some(end)
    }

    /// The new session is in `group`: what was cut two groups before does not go on, nor what it has cut itself before
    /// this group. A stream that the old session left open is forgotten then too.
    fn give_up(&mut self, group: GroupId) -> Vec<Item> {
        let over = |(id, stream): (&StreamId, &Stream)| {
            let behind = if stream.in_passing { 0 } else { 1 };
            let over = id.0.saturating_add(behind) < group && stream.old + stream.new == 0;
            over.then_some((*id, stream.cut))
        };
        let over: Vec<_> = self.streams.range(..(group, 0)).filter_map(over).collect();
        over.into_iter()
            .filter_map(|((group, subgroup), cut)| {
                self.streams.remove(&(group, subgroup));
                cut.map(|end| Item::Closed { group, subgroup, end })
            })
            .collect()
    }

    /// Nothing goes on: the ends that were held back.
    pub(super) fn give_up_all(&mut self) -> Vec<Item> {
        let cut: Vec<_> = self
            .streams
            .iter()
            .filter_map(|(id, stream)| Some((*id, stream.cut?)))
            .collect();
        self.streams.retain(|_, stream| stream.cut.is_none());
        cut.into_iter()
            .map(|((group, subgroup), end)| Item::Closed { group, subgroup, end })
            .collect()
    }

    fn has(&self, at: Location) -> bool {
        at.group < self.floor
            || self
                .given
                .get(&at.group)
                .and_then(|ranges| ranges.range(..=at.object).next_back())
                .is_some_and(|(_, end)| at.object < *end)
    }

    fn note(&mut self, at: Location) {
        self.highest = self.highest.max(Some(at));
        if at.group < self.floor {
            return;
        }
        let ranges = self.given.entry(at.group).or_default();
        let before = ranges.len();
        let next = at.object.saturating_add(1);
        let joined = ranges.range(..=at.object).next_back();
        let (start, mut end) = match joined.map(|(start, end)| (*start, *end)) {
            Some((start, end)) if end >= at.object => (start, end.max(next)),
            Some(_) | None => (at.object, next),
        };
        if let Some(after) = ranges.remove(&end) {
            end = after;
        }
        ranges.insert(start, end);
        self.ranges = (self.ranges + ranges.len()).saturating_sub(before);
        while self.ranges > MAX_RANGES && self.given.len() > 1 {
            if let Some((group, forgotten)) = self.given.pop_first() {
                self.ranges = self.ranges.saturating_sub(forgotten.len());
                self.floor = group.saturating_add(1);
            }
        }
    }

    fn note_end(&mut self, object: &ReceivedObject) {
        if matches!(object.status, ObjectStatus::EndOfGroup | ObjectStatus::EndOfTrack) {
            self.ended_at = self.ended_at.max(Some(object.location));
        }
    }

    /// The first place in the group that was not given, beginning with the first one that was.
    fn first_hole(&self, group: GroupId) -> Option<ObjectId> {
        let (_, end) = self.given.get(&group)?.first_key_value()?;
        Some(*end)
    }

    /// Everything up to `largest` was given, as far as the streams of the old session tell.
    pub(super) fn is_complete(&self, largest: Option<Location>) -> bool {
        let Some(largest) = largest else {
            return true;
        };
        let whole = self
            .first_hole(largest.group)
            .is_some_and(|hole| hole > largest.object);
        self.streams.iter().all(|((group, _), stream)| {
            let behind = *group < largest.group || *group == largest.group && stream.next <= largest.object;
            stream.old == 0 || !behind || (*group == largest.group && whole)
        })
    }

    /// Streams that only the old session can end: those that the new one carries too are in its hands.
    pub(super) fn waits_for_old(&self) -> bool {
        self.streams
            .values()
            .any(|stream| stream.old > 0 && stream.new == 0)
    }

    /// The first place from which on something may be missing, `start` being where the subscription began.
    pub(super) fn resume_at(&self, start: Location) -> Location {
        let Some(highest) = self.highest else {
            return start;
        };
        let hole = self
            .first_hole(highest.group)
            .unwrap_or_else(|| highest.object.saturating_add(1));
        let begun = Location::new(highest.group, hole);
        let open = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.cut.is_some() || stream.old > 0)
            .map(|((group, _), stream)| Location::new(*group, stream.next));
        open.fold(begun, Location::min).max(start)
    }

    /// The place after the last group's first objects without a hole, `start` being where the subscription began: the next
    /// group when the last of them said that its group has no more. MOQT-14 §10.2.1.1
    pub(super) fn next_place(&self, start: Location) -> Location {
        let Some(highest) = self.highest else {
            return start;
        };
        let hole = self.first_hole(highest.group).unwrap_or(0);
        let last = hole.checked_sub(1).map(|last| Location::new(highest.group, last));
        let next = if last.is_some() && last == self.ended_at {
            Location::new(highest.group.saturating_add(1), 0)
        } else {
            Location::new(highest.group, hole)
        };
        next.max(start)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
