//! What an answer from upstream brings, and how it is checked. MOQT-14 §9.16.3.

use super::range::after;
use super::{FILL_OVERHEAD, PastObject, PastRange};
use crate::moqt::location::{GroupId, Location};
use crate::moqt::message::subscribe::GroupOrder;
use crate::moqt::object::{FetchObjectHeader, ObjectStatus};
use crate::relay::track_log::chunk::settle;
use crate::relay::track_log::evict::{CHUNK_OVERHEAD, OBJECT_OVERHEAD};
use crate::relay::track_log::{Malformed, TrackLog};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// An answer to one upstream FETCH, by a number that its owner chose; unique among those that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FillKey(pub u64);

/// What a fetch stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The next object.
    Object(FetchObjectHeader),
    /// The next bytes of the object that began last.
    Payload(Bytes),
}

impl Fill {
    /// As [`super::super::Append::settled`]: moves small pieces out of the receive buffer that they pin.
    #[must_use]
    pub fn settled(mut self) -> Self {
        match &mut self {
            Self::Object(header) => settle(&mut header.extensions),
            Self::Payload(bytes) => settle(bytes),
        }
        self
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FillEnd {
    /// With FIN, and FETCH_OK came.
    Complete {
        /// End Location of FETCH_OK, as [`PastRange::end`] says it.
        end: Location,
    },
    /// Any other way: what it brought whole stays, and what it did not bring is as unknown as before.
    Broken,
}

/// Why a piece of an answer was not taken. The answer is over with it, as if closed with [`FillEnd::Broken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// No answer with this key is open.
    #[error("an answer that is not open")]
    UnknownFill,
    /// The track breaks the rules for tracks. MOQT-14 §2.5 [D14-MAL-1] [D14-MAL-2].
    #[error("malformed track: {0}")]
    Malformed(#[from] Malformed),
    /// An object that was not asked for.
    #[error("an object outside the range that was asked for")]
    OutsideRange,
}

/// An answer that is coming in.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay::track_log) struct Filling {
    range: PastRange,
    order: GroupOrder,
    /// Largest place of the track when it was asked: an answer is made after that, but perhaps long before it comes.
    largest: Option<Location>,
    /// The object that began last.
    last: Option<Location>,
    /// The group before that of `last`.
    before: Option<GroupId>,
    /// The last object of the group that came first.
    top: Option<Location>,
    /// The object that is not whole yet: bytes that are still to come, and its serial number if it is kept.
    remaining: u64,
    serial: Option<u64>,
}

impl Filling {
    /// The groups that a reader who keeps up is in the middle of: the one that is coming in, and the one before it,
    /// of which the end was known only when this one began.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.before.into_iter().chain(self.last.map(|last| last.group))
    }

    /// What it may still bring, or show not to exist.
    pub(super) fn rest(&self) -> [Option<PastRange>; 3] {
        let (Some(last), Some(top)) = (self.last, self.top) else {
            return [Some(self.range).filter(|range| !range.is_empty()), None, None];
        };
        let within = |part: PastRange| part.intersect(self.range);
        match self.order {
            GroupOrder::Ascending => [within(up_to(after(last), self.range.end)), None, None],
            GroupOrder::Descending => [
                PastRange::before(self.range.start, Location::new(last.group, 0)),
                tail(last).and_then(within),
                within(up_to(after(top), self.range.end)),
            ],
        }
    }

    /// MOQT-14 §2.5 [D14-MAL-2], §9.16.3 [D14-FETCH-4]: whether the next object may be this one.
    fn check_place(&self, header: &FetchObjectHeader) -> Result<(), FillError> {
        if self.remaining > 0 {
            return Err(Malformed::ObjectUnfinished.into());
        }
        if header.status != ObjectStatus::Normal && header.payload_len > 0 {
            return Err(Malformed::PayloadWithStatus.into());
        }
        let at = header.location;
        if let Some(last) = self.last {
            let against = match self.order {
                GroupOrder::Ascending => at.group < last.group,
                GroupOrder::Descending => at.group > last.group,
            };
            if against {
                return Err(Malformed::GroupOrder.into());
            }
            if at.group == last.group && at.object <= last.object {
                return Err(Malformed::NotAscending.into());
            }
        }
        if !self.range.contains(at) {
            return Err(FillError::OutsideRange);
        }
        Ok(())
    }

    /// What does not exist because `at` follows on the object before: a publisher pauses at what it does not know.
    fn passed_over(&self, at: Location) -> [Option<PastRange>; 3] {
        // What lies above the first object, in descending order, may not have been published when this was answered;
        // FETCH_OK says how far that goes, unless it was known when this was asked.
        let published = up_to(Location::ZERO, self.largest.map_or(Location::new(0, 1), after));
        let group_start = Location::new(at.group, self.range.first(at.group));
        match (self.last, self.order) {
            (None, GroupOrder::Ascending) => [PastRange::before(self.range.start, at), None, None],
            (Some(last), GroupOrder::Ascending) => [PastRange::before(after(last), at), None, None],
            (Some(last), GroupOrder::Descending) if last.group == at.group => {
                [PastRange::before(after(last), at), None, None]
            }
            (None, GroupOrder::Descending) => [
                PastRange::before(group_start, at),
                up_to(Location::new(at.group.saturating_add(1), 0), self.range.end).intersect(published),
                None,
            ],
            (Some(last), GroupOrder::Descending) => [
                PastRange::before(group_start, at),
                PastRange::before(Location::new(at.group + 1, 0), Location::new(last.group, 0)),
                if self.top.is_some_and(|top| top.group == last.group) {
                    tail(last).and_then(|tail| tail.intersect(self.range)?.intersect(published))
                } else {
                    tail(last)
                },
            ],
        }
    }

    /// What does not exist because the answer is over and covered everything up to `end`. MOQT-14 §9.16.3, §9.17
    /// [D14-FETCH-5].
    fn left_out(&self, end: Location) -> [Option<PastRange>; 3] {
        let (Some(last), Some(top)) = (self.last, self.top) else {
            return [Some(up_to(self.range.start, end)), None, None];
        };
        match self.order {
            GroupOrder::Ascending => [Some(up_to(after(last), end)), None, None],
            GroupOrder::Descending => [
                Some(up_to(after(top), end)),
                tail(last).filter(|_| last.group != top.group),
                PastRange::before(self.range.start, Location::new(last.group, 0)),
            ],
        }
    }
}

/// From `start` to `end`, which may lie before it: then it has nothing in common with any range.
const fn up_to(start: Location, end: Location) -> PastRange {
    PastRange { start, end }
}

/// What lies behind `last` in its group.
fn tail(last: Location) -> Option<PastRange> {
    let start = Location::new(last.group, last.object.checked_add(1)?);
    Some(up_to(start, Location::new(last.group, 0)))
}

impl TrackLog {
    /// An upstream FETCH for `range` was sent; what comes of it is told by [`TrackLog::fill`]. Until it is closed,
    /// readers wait for what it may still bring ([`super::Past::Arriving`]).
    ///
    /// Counts [`FILL_OVERHEAD`] bytes while it is open; the caller bounds how many are.
    pub fn fill_opened(&mut self, key: FillKey, range: PastRange, order: GroupOrder) {
        let filling = Filling {
            range,
            order,
            largest: self.largest,
            last: None,
            before: None,
            top: None,
            remaining: 0,
            serial: None,
        };
        self.close_fill(key);
        self.past.fills.insert(key, filling);
        self.recount(0, FILL_OVERHEAD);
    }

    /// Takes in the next piece of an answer.
    ///
    /// What lies between two objects that follow each other is absent from then on. MOQT-14 §9.16.3 [D14-FETCH-5]
    /// [D14-FETCH-6] [D14-CACHE-7].
    ///
    /// # Errors
    /// When the answer or the track breaks a rule; the answer is closed then.
    pub fn fill(&mut self, now: Instant, key: FillKey, chunk: Fill) -> Result<(), FillError> {
        self.past.now = self.past.now.max(Some(now));
        // As for live chunks: before it is stored, so that readers get to see what just came.
        self.shrink();
        let outcome = match chunk {
            Fill::Object(header) => self.fill_object(now, key, header),
            Fill::Payload(bytes) => self.fill_payload(key, bytes),
        };
        if let Err(why) = outcome {
            if matches!(why, FillError::Malformed(_)) {
                self.stats.malformed += 1;
            }
            self.fill_closed(key, FillEnd::Broken);
        }
        outcome
    }

    /// An answer is over. An object that is not whole by then is taken back.
    pub fn fill_closed(&mut self, key: FillKey, end: FillEnd) {
        let Some(filling) = self.close_fill(key) else {
            return;
        };
        // A stream that ended inside an object proves nothing about what follows. [D14-DATA-18]
        if let FillEnd::Complete { end } = end
            && filling.remaining == 0
        {
            for part in filling.left_out(end).into_iter().flatten() {
                // Never beyond End: what lies there may yet be published.
                let part = part.intersect(filling.range);
                if let Some(part) = part.and_then(|part| part.intersect(up_to(Location::ZERO, end))) {
                    self.mark_absent(part);
                }
            }
        }
    }

    /// Takes the answer `key` out, and the object that it was in the middle of.
    fn close_fill(&mut self, key: FillKey) -> Option<Filling> {
        let filling = self.past.fills.remove(&key)?;
        self.recount(FILL_OVERHEAD, 0);
        if filling.remaining > 0
            && let (Some(at), Some(serial)) = (filling.last, filling.serial)
        {
            self.drop_past_object(at, serial);
        }
        Some(filling)
    }

    fn fill_object(
        &mut self,
        now: Instant,
        key: FillKey,
        header: FetchObjectHeader,
    ) -> Result<(), FillError> {
        let filling = self.past.fills.get(&key).ok_or(FillError::UnknownFill)?;
        filling.check_place(&header)?;
        let passed = filling.passed_over(header.location);
        let (at, remaining) = (header.location, header.payload_len);
        let serial = if self.check_known(now, &header)? {
            None
        } else {
            self.check_past_ends(&header)?;
            self.check_gaps(at, header.status)?;
            let gaps = self.read_gaps(at, &header.extensions)?;
            let serial = self.store_past(now, header);
            self.note_gaps(at, gaps);
            Some(serial)
        };
        for part in passed.into_iter().flatten() {
            self.mark_absent(part);
        }
        if let Some(filling) = self.past.fills.get_mut(&key) {
            let last = filling.last.replace(at).map(|last| last.group);
            if last != Some(at.group) {
                filling.before = last;
            }
            if filling.top.is_none_or(|top| top.group == at.group) {
                filling.top = Some(at);
            }
            filling.remaining = remaining;
            filling.serial = serial;
        }
        Ok(())
    }

    /// Whether a copy is at hand that readers may have; malformed when that is another object. MOQT-14 §8.1
    /// [D14-CACHE-2] [D14-CACHE-3] [D14-CACHE-6]: the first copy stands.
    fn check_known(&self, now: Instant, header: &FetchObjectHeader) -> Result<bool, Malformed> {
        let at = header.location;
        let group = self.past.groups.get(&at.group);
        let past = group.and_then(|group| group.objects.get(&at.object));
        if let Some(past) = past {
            conflicts(&past.header, header)?;
        }
        if let Some(live) = self.live_at(at) {
            conflicts(&live.header(), header)?;
        }
        let has_past = past.is_some_and(|object| !object.is_complete() || self.can_begin(now, object));
        Ok(has_past || self.find_live(now, at).is_some())
    }

    /// As [`TrackLog::check_ends`], for an object that comes by FETCH and may have been here before. [D14-MAL-2]
    fn check_past_ends(&self, header: &FetchObjectHeader) -> Result<(), Malformed> {
        let (at, status) = (header.location, header.status);
        if status == ObjectStatus::DoesNotExist {
            return Ok(());
        }
        let ends_track = status == ObjectStatus::EndOfTrack;
        if self
            .track_end()
            .is_some_and(|end| at > end || (at == end && !ends_track))
            || (ends_track && self.top.is_some_and(|top| top > at))
        {
            return Err(Malformed::AfterEndOfTrack);
        }
        let past = self
            .past
            .groups
            .get(&at.group)
            .map(|group| (group.end, group.largest));
        let live = self.groups.get(&at.group).map(|group| (group.end, group.largest));
        for (end, largest) in past.into_iter().chain(live) {
            let after = end
                .is_some_and(|end| at.object > end || (at.object == end && status == ObjectStatus::Normal));
            let contradicts = status == ObjectStatus::EndOfGroup
                && (end.is_some_and(|end| end != at.object)
                    || largest.is_some_and(|largest| largest > at.object));
            if after || contradicts {
                return Err(Malformed::AfterEndOfGroup);
            }
        }
        Ok(())
    }

    fn fill_payload(&mut self, key: FillKey, bytes: Bytes) -> Result<(), FillError> {
        let filling = self.past.fills.get_mut(&key).ok_or(FillError::UnknownFill)?;
        let len = bytes.len();
        if len as u64 > filling.remaining {
            return Err(Malformed::PayloadTooLong.into());
        }
        filling.remaining -= len as u64;
        let (Some(at), Some(serial)) = (filling.last, filling.serial) else {
            return Ok(());
        };
        let limits = self.limits;
        // None when it was evicted on the way.
        let Some(object) = self.past_object_mut(at, serial).filter(|_| len > 0) else {
            return Ok(());
        };
        object.received += len as u64;
        object.chunks.push_back(bytes);
        let window = limits.window_of(object.header.payload_len);
        let mut gone = (0, 0);
        while object.received - object.lost > window
            && object.chunks.len() > 1
            && let Some(chunk) = object.lose_chunk()
        {
            gone.0 += CHUNK_OVERHEAD + chunk;
            gone.1 += chunk;
        }
        self.recount(gone.0, CHUNK_OVERHEAD + len);
        self.payload_bytes = self.payload_bytes + len - gone.1;
        Ok(())
    }

    /// Keeps an object, in place of one that nobody may begin any more.
    fn store_past(&mut self, now: Instant, header: FetchObjectHeader) -> u64 {
        let at = header.location;
        let old = self.past.groups.get(&at.group);
        if let Some(old) = old
            .and_then(|group| group.objects.get(&at.object))
            .map(|old| old.serial)
        {
            self.drop_past_object(at, old);
        }
        self.shown_to_exist(at);
        let serial = self.past.next_serial;
        self.past.next_serial += 1;
        match header.status {
            ObjectStatus::Normal | ObjectStatus::EndOfGroup => self.top = self.top.max(Some(at)),
            ObjectStatus::EndOfTrack => self.past.end = Some(at),
            ObjectStatus::DoesNotExist => {}
        }
        let cost = OBJECT_OVERHEAD + header.extensions.len();
        self.with_group(at.group, |group| {
            group.touched = group.touched.max(Some(now));
            if header.status != ObjectStatus::DoesNotExist {
                group.largest = group.largest.max(Some(at.object));
            }
            if header.status == ObjectStatus::EndOfGroup {
                group.end = Some(at.object);
            }
            group.arrivals.push_back((at.object, serial));
            let object = PastObject {
                header,
                at: now,
                serial,
                chunks: VecDeque::new(),
                first_chunk: 0,
                received: 0,
                lost: 0,
            };
            group.objects.insert(at.object, object);
        });
        self.recount(0, cost);
        serial
    }

    fn past_object_mut(&mut self, at: Location, serial: u64) -> Option<&mut PastObject> {
        let object = self.past.groups.get_mut(&at.group)?.objects.get_mut(&at.object)?;
        (object.serial == serial).then_some(object)
    }
}

/// Malformed when the same place holds two different objects, as far as that can be told without comparing payload.
/// MOQT-14 §8.1 [D14-CACHE-2] [D14-MAL-3].
pub(in crate::relay::track_log) fn conflicts(
    kept: &FetchObjectHeader,
    new: &FetchObjectHeader,
) -> Result<(), Malformed> {
    // An object may turn into one that does not exist, and a copy may come late. [D14-CACHE-3]
    let absent = kept.status == ObjectStatus::DoesNotExist || new.status == ObjectStatus::DoesNotExist;
    let same = (kept.status, kept.payload_len, kept.subgroup, kept.priority)
        == (new.status, new.payload_len, new.subgroup, new.priority);
    if same || absent {
        Ok(())
    } else {
        Err(Malformed::Conflict)
    }
}
