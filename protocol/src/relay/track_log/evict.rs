//! The budget: what counts, and what goes first.
//!
//! Whole groups go first, live or past alike: the one whose last object came longest ago before the others, and never
//! the newest live one. When the newest alone fills the log it loses its objects in the order in which they began,
//! closed subgroups as they become empty, then the first payload chunks of objects in progress, and at last its open
//! subgroups. What is gone is unknown to readers of the past.

use super::append::datagram_cost;
use super::group::{Arrival, Place};
use super::subgroup::Subgroup;
use super::{SubgroupSeq, TrackLog, WINDOW_BYTES};
use crate::moqt::location::GroupId;
use std::collections::VecDeque;
use std::time::Instant;

/// What a group counts beside its contents, in bytes: its state and its place in the indexes.
pub const GROUP_OVERHEAD: usize = 512;
/// What a subgroup on one stream counts beside its objects, in bytes: its state and its place in the indexes.
pub const SUBGROUP_OVERHEAD: usize = 512;
/// What an object or a datagram counts beside its extensions and payload, in bytes: header, encoded head, its places
/// in the order of eviction and in the index.
pub const OBJECT_OVERHEAD: usize = 328;
/// What a chunk of payload counts beside its bytes: its handle and the allocator's share.
pub const CHUNK_OVERHEAD: usize = 64;
/// What one gap among the object ids of a group counts, in bytes.
pub const RANGE_OVERHEAD: usize = 32;

/// What an eviction freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Bytes, as [`TrackLog::bytes`] counts them.
    pub bytes: usize,
    /// Whole groups.
    pub groups: u64,
}

/// Most evicted subgroups of which it is known that they were not finished, the latest: 16 bytes each. An older one
/// that comes again counts as one that begins.
pub(super) const MAX_UNFINISHED: usize = 1024;

impl TrackLog {
    /// Bytes kept: extensions and payload, and a fixed cost for each group, subgroup, object, chunk and gap in ids.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those of [`TrackLog::bytes`] that no other log shares: all but the payload, which a replica has in common with
    /// the log that it follows.
    #[must_use]
    pub const fn own_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.payload_bytes)
    }

    /// When [`TrackLog::evict`] may next have something to do. May be early, never late.
    #[must_use]
    pub fn next_eviction(&self) -> Option<Instant> {
        let live = self.ages.first();
        let live = live.and_then(|(filed, _)| filed.checked_add(self.limits.max_age));
        live.into_iter().chain(self.next_old_past()).min()
    }

    /// Evicts what is too old, or too much.
    ///
    /// The newest live group stays, however old, while one of its streams is open, and a group that an answer from
    /// upstream is in the middle of.
    pub fn evict(&mut self, now: Instant) -> Evicted {
        let (bytes, groups) = (self.bytes, self.stats.evicted_groups);
        while let Some(&(filed, id)) = self.ages.first() {
            if now.saturating_duration_since(filed) < self.limits.max_age {
                break;
            }
            let newest = self.groups.keys().next_back() == Some(&id);
            let Some(group) = self.groups.get_mut(&id) else {
                self.ages.remove(&(filed, id));
                continue;
            };
            let again = if group.touched > filed {
                group.touched
            } else if newest && group.open > 0 {
                now
            } else {
                self.drop_group(id);
                continue;
            };
            group.filed = again;
            self.ages.remove(&(filed, id));
            self.ages.insert((again, id));
        }
        self.evict_old_past(now, self.limits.max_age);
        self.shrink();
        Evicted {
            bytes: bytes.saturating_sub(self.bytes),
            groups: self.stats.evicted_groups - groups,
        }
    }

    /// Evicts at least so many bytes for the sake of other logs, if it can without touching the open subgroups of the
    /// newest live group or what is just coming from upstream; says how many it evicted.
    pub fn give_up(&mut self, bytes: usize) -> usize {
        let before = self.bytes;
        let target = before.saturating_sub(bytes);
        while self.bytes > target && (self.drop_oldest() || self.shrink_filling(false)) {}
        if self.bytes > target
            && let Some(newest) = self.groups.keys().next_back().copied()
        {
            self.shrink_closed(newest, target);
        }
        before - self.bytes
    }

    /// Evicts at least so many bytes, if that much is in whole groups of which the last object came before `before`; says
    /// how many it evicted. Readers of what is newer, and the newest live group, lose nothing.
    pub fn give_up_old(&mut self, bytes: usize, before: Instant) -> usize {
        let begun = self.bytes;
        let target = begun.saturating_sub(bytes);
        while self.bytes > target && self.has_older_group(before) && self.drop_oldest() {}
        begun - self.bytes
    }

    /// Whether the group that [`TrackLog::drop_oldest`] evicts is as old as that.
    fn has_older_group(&mut self, before: Instant) -> bool {
        let live = self.oldest_group().map(|(at, _)| Some(at));
        let past = self.oldest_past_group().map(|(at, _)| at);
        // None is a past group that nobody has used: the oldest of all.
        let oldest = live.into_iter().chain(past).min();
        oldest.is_some_and(|at| at.is_none_or(|at| at < before))
    }

    /// Evicts until the log is within its byte budget.
    pub(super) fn shrink(&mut self) {
        while self.bytes > self.limits.max_bytes {
            let window = usize::try_from(WINDOW_BYTES).unwrap_or(usize::MAX);
            // What is fetched for a reader is not given up for a live group that fills the log, or it would have to be
            // fetched again and again: a window of it is enough for a reader that keeps up.
            let spared =
                !self.past.fills.is_empty() && self.past.bytes <= window.min(self.limits.max_bytes / 4);
            let evicted = if spared {
                self.drop_oldest_live() || self.shrink_newest()
            } else {
                self.drop_oldest() || self.shrink_filling(false) || self.shrink_newest()
            };
            if !evicted && !self.drop_oldest() && !self.shrink_filling(true) && !self.forget_absence() {
                break;
            }
        }
    }

    fn drop_oldest_live(&mut self) -> bool {
        let oldest = self.oldest_group();
        oldest.is_some_and(|(_, id)| {
            self.drop_group(id);
            true
        })
    }

    /// Evicts the least that is worth something from the newest live group.
    fn shrink_newest(&mut self) -> bool {
        let newest = self.groups.keys().next_back().copied();
        newest.is_some_and(|newest| self.shrink_group(newest))
    }

    /// Evicts the group of which the last object came longest ago, live or past; not the newest live group, and none
    /// that an answer from upstream is in the middle of.
    fn drop_oldest(&mut self) -> bool {
        match (self.oldest_group(), self.oldest_past_group()) {
            (Some((live, id)), Some((past, _))) if Some(live) <= past => self.drop_group(id),
            (_, Some((_, id))) => self.drop_past_group(id),
            (Some((_, id)), None) => self.drop_group(id),
            (None, None) => return false,
        }
        true
    }

    /// The live group of which the last object came longest ago, but for the newest.
    fn oldest_group(&mut self) -> Option<(Instant, GroupId)> {
        let newest = self.groups.keys().next_back().copied()?;
        loop {
            let &(filed, id) = self.ages.iter().find(|(_, id)| *id != newest)?;
            let Some(group) = self.groups.get_mut(&id).filter(|group| group.touched > filed) else {
                return Some((filed, id));
            };
            group.filed = group.touched;
            self.ages.remove(&(filed, id));
            self.ages.insert((group.filed, id));
        }
    }

    /// Forgets a whole group. Streams that feed it find their entry gone and are ignored from then on.
    pub(super) fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        for (&subgroup, record) in &group.subgroups {
            if !record.finished {
                self.unfinished.insert((id, subgroup));
            }
        }
        while self.unfinished.len() > MAX_UNFINISHED {
            self.unfinished.pop_first();
        }
        self.ages.remove(&(group.filed, id));
        self.bytes -= GROUP_OVERHEAD + group.known.len() * RANGE_OVERHEAD;
        for seq in &group.seqs {
            if let Some(entry) = self.entries.remove(seq) {
                self.uncount(&entry);
                self.open.remove(seq);
            }
        }
        for arrival in &group.arrivals {
            if let Arrival::Datagram(number) = arrival {
                self.drop_datagram(*number);
            }
        }
        if self.past.origin {
            self.past.gone.insert(id);
        }
        // MOQT-14 §8.2 [D14-PUB-1]: a publisher that lags behind a small log must not make readers see objects twice.
        self.gone.remember(id, group.known);
        self.stats.evicted_groups += 1;
    }

    /// Evicts the least that is worth something from a group; false when there is nothing left.
    fn shrink_group(&mut self, id: GroupId) -> bool {
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        match group.arrivals.pop_front() {
            Some(Arrival::Object(seq, number)) => self.shrink_object(id, seq, number),
            Some(Arrival::Closed(seq)) => self.drop_entry(id, seq),
            Some(Arrival::Datagram(number)) => self.forget_datagram(id, number),
            // Only objects in progress without payload are left, each in an open subgroup.
            None => match group.seqs.first() {
                Some(&seq) => self.drop_entry(id, seq),
                None => return false,
            },
        }
        true
    }

    /// Evicts an object that is over, or the first chunk of one in progress.
    fn shrink_object(&mut self, id: GroupId, seq: SubgroupSeq, number: u64) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        let over = entry.end.is_some();
        let Some(object) = entry.objects.front_mut() else {
            return;
        };
        if over || object.is_complete() {
            let Some((object, gone)) = entry.lose_first_object() else {
                return;
            };
            if let Some(group) = self.groups.get_mut(&id) {
                group.forget(object.header.id, Place::Object(seq, number));
            }
            let fixed = OBJECT_OVERHEAD + object.header.extensions.len() + gone.chunks * CHUNK_OVERHEAD;
            self.bytes -= fixed + gone.bytes;
            self.payload_bytes -= gone.bytes;
            self.stats.evicted_objects += 1;
            return;
        }
        let gone = entry.lose_first_chunk();
        self.bytes -= gone.chunks * CHUNK_OVERHEAD + gone.bytes;
        self.payload_bytes -= gone.bytes;
        let listed = entry.has_first_chunk();
        if let Some(object) = entry.objects.front_mut() {
            object.listed = listed;
        }
        if listed && let Some(group) = self.groups.get_mut(&id) {
            group.arrivals.push_front(Arrival::Object(seq, number));
        }
    }

    /// Evicts what closed subgroups and datagrams hold of a group, oldest first, until `target` is reached.
    fn shrink_closed(&mut self, id: GroupId, target: usize) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let arrivals = std::mem::take(&mut group.arrivals);
        let mut kept = VecDeque::with_capacity(arrivals.len());
        for arrival in arrivals {
            let is_open = match arrival {
                Arrival::Object(seq, _) | Arrival::Closed(seq) => self.open.contains(&seq),
                Arrival::Datagram(_) => false,
            };
            if is_open || self.bytes <= target {
                kept.push_back(arrival);
                continue;
            }
            match arrival {
                Arrival::Object(seq, number) => self.shrink_object(id, seq, number),
                Arrival::Closed(seq) => self.drop_entry(id, seq),
                Arrival::Datagram(number) => self.forget_datagram(id, number),
            }
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.arrivals = kept;
        }
    }

    fn drop_entry(&mut self, id: GroupId, seq: SubgroupSeq) {
        let Some(entry) = self.entries.remove(&seq) else {
            return;
        };
        self.uncount(&entry);
        let was_open = self.open.remove(&seq);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        for (object, number) in entry.objects.iter().zip(entry.first_object..) {
            group.forget(object.header.id, Place::Object(seq, number));
        }
        group.seqs.remove(&seq);
        if was_open {
            group.open = group.open.saturating_sub(1);
            group.cut = true;
        }
        // The ids stay known in the group, so that a copy is still recognised.
        let subgroup = entry.info.subgroup;
        if let Some(record) = group.subgroups.get(&subgroup).filter(|record| record.seq == seq) {
            if !record.finished {
                self.unfinished.insert((id, subgroup));
            }
            group.subgroups.remove(&subgroup);
        }
    }

    /// Takes a subgroup that is gone out of the count.
    fn uncount(&mut self, entry: &Subgroup) {
        let (bytes, payload) = cost(entry);
        self.bytes -= bytes;
        self.payload_bytes -= payload;
        self.stats.evicted_objects += entry.objects.len() as u64;
    }

    fn forget_datagram(&mut self, id: GroupId, number: u64) {
        if let Some((_, datagram)) = self.datagrams.get(&number)
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.forget(datagram.location.object, Place::Datagram(number));
        }
        self.drop_datagram(number);
    }

    fn drop_datagram(&mut self, number: u64) {
        if let Some((_, datagram)) = self.datagrams.remove(&number) {
            self.bytes -= datagram_cost(&datagram);
            self.payload_bytes -= datagram.payload.len();
            self.stats.evicted_objects += 1;
        }
    }
}

/// What a subgroup counts, and how much of that is payload.
fn cost(entry: &Subgroup) -> (usize, usize) {
    let objects = entry.objects.iter();
    let objects: usize = objects
        .map(|object| OBJECT_OVERHEAD + object.header.extensions.len())
        .sum();
    let chunks = entry
        .all_chunks()
        .fold((0, 0), |(chunks, bytes), chunk| (chunks + 1, bytes + chunk.len()));
    (
        SUBGROUP_OVERHEAD + objects + chunks.0 * CHUNK_OVERHEAD + chunks.1,
        chunks.1,
    )
}
