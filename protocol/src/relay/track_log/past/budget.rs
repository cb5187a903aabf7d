//! What of the past goes first.
//!
//! Groups go whole, the one whose last object came longest ago first (`evict` weighs them against live groups). A
//! group that a reader of an open answer is in the middle of stays, or a reader that keeps up with the answer would lose what was
//! fetched for it: such a group loses its oldest whole objects, then the first bytes of those that are coming in.

use super::PastObject;
use crate::moqt::location::{GroupId, Location};
use crate::relay::track_log::{CHUNK_OVERHEAD, GROUP_OVERHEAD, OBJECT_OVERHEAD, TrackLog};
use std::time::{Duration, Instant};

impl TrackLog {
    /// Makes room for one more group, within the limit of groups.
    pub(super) fn make_room_for_a_past_group(&mut self) {
        while self.past.groups.len() >= self.limits.max_groups {
            // All of them are being filled: open answers are bounded by their owner.
            let Some((_, oldest)) = self.oldest_past_group() else {
                break;
            };
            self.drop_past_group(oldest);
        }
    }

    /// The group whose last object came longest ago, of those that no open answer is in the middle of.
    pub(in crate::relay::track_log) fn oldest_past_group(&mut self) -> Option<(Option<Instant>, GroupId)> {
        loop {
            let &(filed, id) = self.past.ages.iter().find(|&&(_, id)| !self.is_filling(id))?;
            let Some(group) = self
                .past
                .groups
                .get_mut(&id)
                .filter(|group| group.touched > filed)
            else {
                return Some((filed, id));
            };
            group.filed = group.touched;
            self.past.ages.remove(&(filed, id));
            self.past.ages.insert((group.filed, id));
        }
    }

    fn is_filling(&self, group: GroupId) -> bool {
        self.past
            .fills
            .values()
            .flat_map(super::Filling::groups)
            .any(|id| id == group)
    }

    /// Forgets a whole group: its objects, and what of it does not exist.
    pub(in crate::relay::track_log) fn drop_past_group(&mut self, id: GroupId) {
        let Some(group) = self.past.groups.remove(&id) else {
            return;
        };
        self.past.ages.remove(&(group.filed, id));
        let (mut bytes, mut payload) = (GROUP_OVERHEAD + group.facts(), 0);
        for object in group.objects.values() {
            let cost = object.cost();
            bytes += cost.0;
            payload += cost.1;
        }
        self.recount(bytes, 0);
        self.payload_bytes -= payload;
        self.stats.evicted_groups += 1;
        self.stats.evicted_objects += group.objects.len() as u64;
    }

    /// Takes out the object with this serial number, if it is there.
    pub(super) fn drop_past_object(&mut self, at: Location, serial: u64) {
        let Some(group) = self.past.groups.get_mut(&at.group) else {
            return;
        };
        if group
            .objects
            .get(&at.object)
            .is_none_or(|object| object.serial != serial)
        {
            return;
        }
        let Some(object) = group.objects.remove(&at.object) else {
            return;
        };
        if group.arrivals.back() == Some(&(at.object, serial)) {
            group.arrivals.pop_back();
        } else if group.arrivals.len() > 2 * group.objects.len() + 16 {
            let objects = &group.objects;
            let stands =
                |(id, serial): &(u64, u64)| objects.get(id).is_some_and(|object| object.serial == *serial);
            group.arrivals.retain(stands);
        }
        let (bytes, payload) = object.cost();
        self.recount(bytes, 0);
        self.payload_bytes -= payload;
    }

    /// Frees the least that is worth something in the groups that answers are in the middle of; false when nothing
    /// is left there but what is coming in and, unless `also_arriving`, that too.
    pub(in crate::relay::track_log) fn shrink_filling(&mut self, also_arriving: bool) -> bool {
        let mut ids: Vec<_> = self
            .past
            .fills
            .values()
            .flat_map(super::Filling::groups)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.sort_by_key(|id| self.past.groups.get(id).and_then(|group| group.touched));
        ids.iter().any(|&id| self.drop_oldest_whole(id))
            || (also_arriving && ids.iter().any(|&id| self.lose_first_chunk(id)))
    }

    /// Evicts the object of a group that came first, of those that are whole.
    fn drop_oldest_whole(&mut self, id: GroupId) -> bool {
        let Some(group) = self.past.groups.get_mut(&id) else {
            return false;
        };
        // Objects that are coming in are as few as open answers; they keep their place behind the others.
        for _ in 0..group.arrivals.len() {
            let Some((object, serial)) = group.arrivals.pop_front() else {
                return false;
            };
            match group
                .objects
                .get(&object)
                .filter(|object| object.serial == serial)
            {
                None => {}
                Some(kept) if kept.is_complete() => {
                    self.stats.evicted_objects += 1;
                    self.drop_past_object(Location::new(id, object), serial);
                    return true;
                }
                Some(_) => group.arrivals.push_back((object, serial)),
            }
        }
        false
    }

    /// Evicts the first bytes of an object that is coming in.
    fn lose_first_chunk(&mut self, id: GroupId) -> bool {
        let Some(group) = self.past.groups.get_mut(&id) else {
            return false;
        };
        let Some(len) = group.objects.values_mut().find_map(PastObject::lose_chunk) else {
            return false;
        };
        self.recount(CHUNK_OVERHEAD + len, 0);
        self.payload_bytes -= len;
        true
    }

    /// Evicts groups, and what is known of groups that are not kept, that are older than `most`.
    pub(in crate::relay::track_log) fn evict_old_past(&mut self, now: Instant, most: Duration) {
        self.past.now = self.past.now.max(Some(now));
        while let Some(&(filed, id)) = self.past.ages.first() {
            if filed.is_some_and(|filed| now.saturating_duration_since(filed) < most) {
                break;
            }
            let filling = self.is_filling(id);
            let Some(group) = self.past.groups.get_mut(&id) else {
                self.past.ages.remove(&(filed, id));
                continue;
            };
            let again = if group.touched > filed {
                group.touched
            } else if filling || filed.is_none() {
                Some(now)
            } else {
                self.drop_past_group(id);
                continue;
            };
            group.filed = again;
            self.past.ages.remove(&(filed, id));
            self.past.ages.insert((again, id));
        }
        if self.past.knows_absent_groups() {
            let at = *self.past.absence_at.get_or_insert(now);
            if now.saturating_duration_since(at) >= most {
                self.forget_absence();
            }
        }
    }

    /// When there may next be something too old.
    pub(in crate::relay::track_log) fn next_old_past(&self) -> Option<Instant> {
        let group = self.past.ages.first().map(|&(filed, _)| filed.or(self.past.now));
        let group = group.flatten().and_then(|at| at.checked_add(self.limits.max_age));
        // What was learnt before any time was known is as old as the first time that is.
        let absence = self.past.absence_at.or(self.past.now);
        let absence = absence.filter(|_| self.past.knows_absent_groups());
        let absence = absence.and_then(|at| at.checked_add(self.limits.max_age));
        group.into_iter().chain(absence).min()
    }
}

impl PastObject {
    /// Drops the first chunk and says how long it was.
    pub(super) fn lose_chunk(&mut self) -> Option<usize> {
        let chunk = self.chunks.pop_front()?;
        self.first_chunk += 1;
        self.lost += chunk.len() as u64;
        Some(chunk.len())
    }
}

const _: () = assert!(OBJECT_OVERHEAD >= size_of::<PastObject>() + 4 * size_of::<u64>());
