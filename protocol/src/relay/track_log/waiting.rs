//! What a reader has not read, and since when.

use super::read::{Cursor, Position, Read};
use super::subgroup::Object;
use super::{SubgroupInfo, SubgroupSeq, TrackLog};
use crate::moqt::location::GroupId;
use std::time::Instant;

impl TrackLog {
    /// Bytes of payload that came in subgroups since the log was made, evicted ones included. It never falls, so a
    /// reader knows by two of these how much came in between.
    #[must_use]
    pub const fn offered(&self) -> u64 {
        self.offered
    }

    /// Bytes of payload that came for the subgroup at `seq` and that a reader at `pos` has not read; 0 when what it
    /// would read is evicted, or lies behind an object that is passed over.
    #[must_use]
    pub fn unread(&self, seq: SubgroupSeq, pos: &Position) -> u64 {
        let Some(entry) = self.entries.get(&seq) else {
            return 0;
        };
        match (entry.object(pos.object_number()), pos.read_until()) {
            (Some(_), Some(offset)) => entry.received.saturating_sub(offset),
            (Some(object), None) => entry.received.saturating_sub(object.offset),
            (None, _) => 0,
        }
    }

    /// Bytes of payload of the subgroups that follow at `cursor` and that `counts` lets through. Costs a look at each of
    /// them.
    #[must_use]
    pub fn ahead_of(&self, cursor: &Cursor, counts: impl Fn(&SubgroupInfo) -> bool) -> u64 {
        let ahead = self.entries.range(cursor.next_seq()..).map(|(_, entry)| entry);
        ahead
            .filter(|entry| counts(&entry.info))
            .map(|entry| entry.received)
            .sum()
    }

    /// When the first byte came of the object that a reader at `pos` is in the middle of, or that it reads next; none
    /// while there is no such object, or when it is evicted.
    #[must_use]
    pub fn waiting_since(&self, seq: SubgroupSeq, pos: &Position) -> Option<Instant> {
        self.waiting(seq, pos).map(|object| object.at)
    }

    /// When the first byte came of the object of which a reader at `pos` reads something next; none while there is nothing
    /// to be read.
    #[must_use]
    pub fn unread_since(&self, seq: SubgroupSeq, pos: &Position) -> Option<Instant> {
        match self.read(seq, &mut pos.clone()) {
            Read::Object(object) => Some(object.at),
            Read::Payload(_) => self.waiting_since(seq, pos),
            Read::Pending | Read::End(_) | Read::Evicted => None,
        }
    }

    /// When the first byte came of what is kept of the first subgroup that follows at `cursor` and that `counts` lets
    /// through. Costs a look at those before it.
    #[must_use]
    pub fn ahead_since(&self, cursor: &Cursor, counts: impl Fn(&SubgroupInfo) -> bool) -> Option<Instant> {
        let mut ahead = self.entries.range(cursor.next_seq()..).map(|(_, entry)| entry);
        let first = ahead.find(|entry| counts(&entry.info))?;
        first.objects.front().map(|object| object.at)
    }

    /// At the time `now`, the object that a reader at `pos` reads next is there, and too old to be begun.
    /// MOQT-14 §9.2.1.3 [D14-CACHE-4].
    #[must_use]
    pub fn is_too_old(&self, now: Instant, seq: SubgroupSeq, pos: &Position) -> bool {
        let next = self.waiting(seq, pos).filter(|_| pos.read_until().is_none());
        next.is_some_and(|object| object.lost == 0 && self.is_expired(now, object.at))
    }

    /// When the datagram came that follows at `cursor`; none when there is none, or it is evicted.
    #[must_use]
    pub fn datagram_at(&self, cursor: &Cursor) -> Option<Instant> {
        self.datagrams.get(&cursor.next_datagram()).map(|(at, _)| *at)
    }

    /// The largest group of which something live is kept.
    #[must_use]
    pub fn newest_group(&self) -> Option<GroupId> {
        self.groups.keys().next_back().copied()
    }

    fn waiting(&self, seq: SubgroupSeq, pos: &Position) -> Option<&Object> {
        self.entries.get(&seq)?.object(pos.object_number())
    }
}
