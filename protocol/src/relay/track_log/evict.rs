//! The budget: what counts, and what goes first.
//!
//! Whole groups go first, the oldest (the lowest id) before the others, and never the newest. When the newest alone
//! fills the log it loses its objects in the order in which they began, closed subgroups as they become empty, then
//! the first payload chunks of objects in progress, and at last its open subgroups.

use super::append::datagram_cost;
use super::group::{Arrival, Group};
use super::subgroup::Subgroup;
use super::{SubgroupSeq, TrackLog};
use crate::moqt::location::GroupId;
use std::time::Instant;

/// What a group counts beside its contents, in bytes: its state and its place in the indexes.
pub const GROUP_OVERHEAD: usize = 512;
/// What a subgroup on one stream counts beside its objects, in bytes: its state and its place in the indexes.
pub const SUBGROUP_OVERHEAD: usize = 512;
/// What an object or a datagram counts beside its extensions and payload, in bytes: header, encoded head, its place
/// in the order of eviction.
pub const OBJECT_OVERHEAD: usize = 256;
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

impl TrackLog {
    /// Bytes kept: extensions and payload, and a fixed cost for each group, subgroup, object, chunk and gap in ids.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// When [`TrackLog::evict`] may next have something to do. May be early, never late.
    #[must_use]
    pub fn next_eviction(&self) -> Option<Instant> {
        let (filed, _) = self.ages.first()?;
        filed.checked_add(self.limits.max_age)
    }

    /// Evicts what is too old, or too much.
    ///
    /// The newest group stays, however old, while one of its streams is open.
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
        self.shrink();
        Evicted {
            bytes: bytes.saturating_sub(self.bytes),
            groups: self.stats.evicted_groups - groups,
        }
    }

    /// Evicts until the log is within its byte budget.
    pub(super) fn shrink(&mut self) {
        while self.bytes > self.limits.max_bytes {
            let more = match (self.groups.len(), self.groups.keys().next().copied()) {
                (_, None) => false,
                (1, Some(only)) => self.shrink_group(only),
                (_, Some(oldest)) => {
                    self.drop_group(oldest);
                    true
                }
            };
            if !more {
                break;
            }
        }
    }

    /// Forgets a whole group. Streams that feed it find their entry gone and are ignored from then on.
    pub(super) fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        self.ages.remove(&(group.filed, id));
        self.bytes -= GROUP_OVERHEAD + group.known.len() * RANGE_OVERHEAD;
        for seq in &group.seqs {
            if let Some(entry) = self.entries.remove(seq) {
                self.bytes -= cost(&entry);
                self.stats.evicted_objects += entry.objects.len() as u64;
                self.open.remove(seq);
            }
        }
        for arrival in &group.arrivals {
            if let Arrival::Datagram(number) = arrival {
                self.drop_datagram(*number);
            }
        }
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
            Some(Arrival::Datagram(number)) => self.drop_datagram(number),
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
            while entry.first_chunk < object.end_chunk() {
                let Some(bytes) = entry.chunks.pop_front() else {
                    break;
                };
                entry.first_chunk += 1;
                self.bytes -= CHUNK_OVERHEAD + bytes.len();
            }
            self.bytes -= OBJECT_OVERHEAD + object.header.extensions.len();
            entry.objects.pop_front();
            entry.first_object += 1;
            self.stats.evicted_objects += 1;
            return;
        }
        if let Some(bytes) = entry.chunks.pop_front() {
            entry.first_chunk += 1;
            object.lost += bytes.len() as u64;
            self.bytes -= CHUNK_OVERHEAD + bytes.len();
        }
        object.listed = !entry.chunks.is_empty();
        if object.listed
            && let Some(group) = self.groups.get_mut(&id)
        {
            group.arrivals.push_front(Arrival::Object(seq, number));
        }
    }

    fn drop_entry(&mut self, id: GroupId, seq: SubgroupSeq) {
        let Some(entry) = self.entries.remove(&seq) else {
            return;
        };
        self.bytes -= cost(&entry);
        self.stats.evicted_objects += entry.objects.len() as u64;
        let was_open = self.open.remove(&seq);
        let Some(Group {
            seqs,
            subgroups,
            open,
            ..
        }) = self.groups.get_mut(&id)
        else {
            return;
        };
        seqs.remove(&seq);
        if was_open {
            *open = open.saturating_sub(1);
        }
        // The ids stay known in the group, so that a copy is still recognised.
        if subgroups
            .get(&entry.info.subgroup)
            .is_some_and(|record| record.seq == seq)
        {
            subgroups.remove(&entry.info.subgroup);
        }
    }

    fn drop_datagram(&mut self, number: u64) {
        if let Some(datagram) = self.datagrams.remove(&number) {
            self.bytes -= datagram_cost(&datagram);
            self.stats.evicted_objects += 1;
        }
    }
}

/// What a subgroup counts.
fn cost(entry: &Subgroup) -> usize {
    let objects: usize = entry
        .objects
        .iter()
        .map(|object| OBJECT_OVERHEAD + object.header.extensions.len())
        .sum();
    let chunks: usize = entry
        .chunks
        .iter()
        .map(|bytes| CHUNK_OVERHEAD + bytes.len())
        .sum();
    SUBGROUP_OVERHEAD + objects + chunks
}
