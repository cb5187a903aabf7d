//! What is accepted, ignored or malformed.

use super::chunk::{Ignored, LogDatagram, Malformed};
use super::past::Live;
use super::past::fill::conflicts;
use super::ranges::IdRanges;
use super::subgroup::SubgroupInfo;
use super::{Ingress, Preference, TrackLog};
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus};
use bytes::Bytes;

/// Why a chunk was not stored.
pub(super) enum Refusal {
    Ignored(Ignored),
    Malformed(Malformed),
}

impl From<Ignored> for Refusal {
    fn from(why: Ignored) -> Self {
        Self::Ignored(why)
    }
}

impl From<Malformed> for Refusal {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

impl TrackLog {
    /// Whether an object on a stream that feeds no entry is known already; malformed when it is known otherwise.
    pub(super) fn is_duplicate(&self, info: &SubgroupInfo, header: &ObjectHeader) -> Result<bool, Refusal> {
        let known = self.knows(Location::new(info.group, header.id));
        let Some(record) = self.record(info.group, info.subgroup) else {
            return Ok(known);
        };
        let entry = self.entries.get(&record.seq);
        if let Some(kept) = entry.and_then(|entry| entry.find(header.id)) {
            let same = kept.header.status == header.status && kept.header.payload_len == header.payload_len;
            // MOQT-14 §8.1 [D14-CACHE-2] [D14-CACHE-3]: an object may turn into one that does not exist, and one
            // that does not exist stays so; both are left as they are here. [D14-MAL-3]: lengths are at hand.
            let absent = kept.header.status == ObjectStatus::DoesNotExist
                || header.status == ObjectStatus::DoesNotExist;
            if !same && !absent {
                return Err(Malformed::Conflict.into());
            }
        }
        // A replica gets what its original took in.
        if known || self.is_replica {
            return Ok(known);
        }
        if record.end.is_some_and(|end| header.id > end) {
            // MOQT-14 §2.5 [D14-MAL-2].
            return Err(Malformed::AfterEndOfSubgroup.into());
        }
        // What the active stream has passed is taken; what it may yet bring is not.
        let ahead = |last| header.id > last;
        Ok(record.active.is_some() && entry.and_then(|entry| entry.last_id).is_none_or(ahead))
    }

    /// Malformed when a live copy that is kept has other properties than the one that comes, whatever stream brings it.
    /// MOQT-14 §8.1 [D14-CACHE-2].
    pub(super) fn check_copy(&self, info: &SubgroupInfo, header: &ObjectHeader) -> Result<(), Refusal> {
        let new = FetchObjectHeader {
            location: Location::new(info.group, header.id),
            subgroup: info.subgroup,
            priority: info.priority,
            status: header.status,
            extensions: Bytes::new(),
            payload_len: header.payload_len,
        };
        self.check_live(&new)
    }

    /// As [`TrackLog::check_copy`], for a datagram.
    pub(super) fn check_copy_of_datagram(&self, datagram: &LogDatagram) -> Result<(), Refusal> {
        let new = FetchObjectHeader {
            location: datagram.location,
            subgroup: datagram.location.object,
            priority: datagram.priority,
            status: datagram.status,
            extensions: Bytes::new(),
            payload_len: datagram.payload.len() as u64,
        };
        self.check_live(&new)?;
        // MOQT-14 §8.1 [D14-CACHE-2] [D14-MAL-3]: both are at hand.
        match self.live_at(datagram.location) {
            Some(Live::Datagram { datagram: kept, .. })
                if kept.status == datagram.status && kept.payload != datagram.payload =>
            {
                Err(Malformed::Payload.into())
            }
            _ => Ok(()),
        }
    }

    fn check_live(&self, new: &FetchObjectHeader) -> Result<(), Refusal> {
        self.live_at(new.location)
            .map_or(Ok(()), |kept| Ok(conflicts(&kept.header(), new)?))
    }

    /// Whether the object came by FETCH as one that does not exist; malformed when it came as another. MOQT-14 §8.1
    /// [D14-CACHE-2].
    pub(super) fn is_past_duplicate(
        &self,
        info: &SubgroupInfo,
        header: &ObjectHeader,
    ) -> Result<bool, Refusal> {
        let Some(past) = self.past_copy(Location::new(info.group, header.id)) else {
            return Ok(false);
        };
        let kept = (past.status, past.payload_len, past.subgroup, past.priority);
        is_gone(
            past.status,
            header.status,
            kept == (header.status, header.payload_len, info.subgroup, info.priority),
        )
    }

    /// As [`TrackLog::is_past_duplicate`], for a datagram.
    pub(super) fn is_past_datagram(&self, datagram: &LogDatagram) -> Result<bool, Refusal> {
        let Some(past) = self.past_copy(datagram.location) else {
            return Ok(false);
        };
        // MOQT-14 §10.4.4 [D14-FETCH-15]: a fetched datagram has its object id as subgroup.
        let kept = (past.status, past.payload_len, past.subgroup, past.priority);
        let new = (
            datagram.status,
            datagram.payload.len() as u64,
            datagram.location.object,
            datagram.priority,
        );
        is_gone(past.status, datagram.status, kept == new)
    }

    fn past_copy(&self, at: Location) -> Option<&FetchObjectHeader> {
        let object = self.past.groups.get(&at.group)?.objects.get(&at.object)?;
        Some(&object.header)
    }

    /// Malformed when the subgroup is known to go on behind `last`, at which somebody says that it ends. MOQT-14 §2.5
    /// [D14-MAL-2]: an object after the final one, and two different finals.
    pub(in crate::relay) fn check_final(&self, info: &SubgroupInfo, last: ObjectId) -> Result<(), Malformed> {
        let record = self.record(info.group, info.subgroup);
        let goes_on = record
            .and_then(|record| record.last)
            .is_some_and(|known| known > last);
        if goes_on {
            Err(Malformed::AfterEndOfSubgroup)
        } else {
            Ok(())
        }
    }

    /// An object is not taken in, because another stream brings its subgroup. MOQT-14 §10.4.3 [D14-CLOSE-1]: unless
    /// that one brings it too, the subgroup does not end in FIN.
    pub(super) fn pass_over(&mut self, info: &SubgroupInfo, id: ObjectId) {
        if self.knows(Location::new(info.group, id)) {
            return;
        }
        let group = self.groups.get_mut(&info.group);
        if let Some(record) = group.and_then(|group| group.subgroups.get_mut(&info.subgroup)) {
            let (low, high) = record.passed.unwrap_or((id, id));
            record.passed = Some((low.min(id), high.max(id)));
        }
    }

    /// Whether the object began to come live, and was not cut short; evicted ones are known for a while.
    pub(in crate::relay) fn knows(&self, location: Location) -> bool {
        let group = self.groups.get(&location.group).map(|group| &group.known);
        let holds = |known: &IdRanges| known.contains(location.object);
        group.is_some_and(holds) || self.gone.get(location.group).is_some_and(holds)
    }

    /// Malformed when `location` lies at or after an end, or is itself an end that comes too late. [D14-MAL-2]
    pub(super) fn check_ends(&self, location: Location, status: ObjectStatus) -> Result<(), Refusal> {
        // An end that came by FETCH may come again on a stream.
        let again = status == ObjectStatus::EndOfTrack && self.past.end == Some(location);
        if self.end.is_some_and(|end| location >= end)
            || (self.past.end.is_some_and(|end| location >= end) && !again)
            || (status == ObjectStatus::EndOfTrack && self.top.is_some_and(|top| top >= location))
        {
            return Err(Malformed::AfterEndOfTrack.into());
        }
        let ends_group = status == ObjectStatus::EndOfGroup;
        if let Some(past) = self.past.groups.get(&location.group) {
            let after = past
                .end
                .is_some_and(|end| location.object > end || (location.object == end && !ends_group));
            let contradicts = ends_group
                && (past.end.is_some_and(|end| end != location.object)
                    || past.largest.is_some_and(|largest| largest > location.object));
            if after || contradicts {
                return Err(Malformed::AfterEndOfGroup.into());
            }
        }
        let Some(group) = self.groups.get(&location.group) else {
            return Ok(());
        };
        // The end may be said twice: by the bit of a subgroup and by an object that stands right after the last.
        let after = group
            .end
            .is_some_and(|end| location.object > end || (location.object == end && !ends_group));
        let contradicts = ends_group
            && (group.end.is_some_and(|end| end != location.object)
                || group.largest.is_some_and(|largest| largest >= location.object));
        if after || contradicts {
            return Err(Malformed::AfterEndOfGroup.into());
        }
        Ok(())
    }

    /// Whether something may be missing between what is complete of a subgroup and `first`, with which the stream
    /// `ingress` begins or takes over. MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-CLOSE-3].
    pub(super) fn leaves_gap(&self, ingress: &Ingress, first: ObjectId) -> bool {
        let old = self.record(ingress.info.group, ingress.info.subgroup);
        let last = old.and_then(|record| record.last);
        let begun = old.and_then(|record| self.entries.get(&record.seq)?.last_id);
        match (last, ingress.ignored) {
            _ if self.is_replica => false,
            _ if old.is_some_and(|record| record.gapped) => true,
            // What came of it before is evicted, and nobody knows any more where that ended.
            _ if old.is_none()
                && self
                    .unfinished
                    .contains(&(ingress.info.group, ingress.info.subgroup)) =>
            {
                true
            }
            // What this stream brought while another was active is lost unless the other one completed it.
            (_, Some(_)) => ingress.ignored > last,
            // The first object of the subgroup may have been cut short.
            (None, None) => begun.is_some_and(|begun| begun < first),
            (Some(last), None) => last.checked_add(1) != Some(first) && begun != Some(first),
        }
    }

    /// `last` is the last object of its group. MOQT-14 §10.4.2 [D14-DATA-6].
    pub(super) fn end_group(&mut self, group: GroupId, last: ObjectId) -> Result<(), Malformed> {
        let Some(group) = self.groups.get_mut(&group) else {
            return Ok(());
        };
        let after = last.checked_add(1);
        match group.end {
            // Said already by an object of its own, which may be that last object.
            Some(end) if end == last || Some(end) == after => Ok(()),
            Some(_) => Err(Malformed::AfterEndOfGroup),
            None if group.largest.is_some_and(|largest| largest > last) => Err(Malformed::AfterEndOfGroup),
            None => {
                group.end = after;
                Ok(())
            }
        }
    }

    /// MOQT-14 §10 [D14-DATA-15]: a track uses streams or datagrams, not both.
    pub(super) fn prefer(&mut self, preference: Preference) -> Result<(), Refusal> {
        match self.preference.replace(preference) {
            Some(first) if first != preference => {
                self.preference = Some(first);
                Err(Malformed::MixedPreference.into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an object that came by FETCH does not exist any more, so that no copy of it is taken in; malformed when the
/// copy is another object. [D14-CACHE-2] [D14-CACHE-3]
fn is_gone(kept: ObjectStatus, new: ObjectStatus, same: bool) -> Result<bool, Refusal> {
    if !same && kept != ObjectStatus::DoesNotExist && new != ObjectStatus::DoesNotExist {
        return Err(Malformed::Conflict.into());
    }
    Ok(kept == ObjectStatus::DoesNotExist && new != ObjectStatus::DoesNotExist)
}
