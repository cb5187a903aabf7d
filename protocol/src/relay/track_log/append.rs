//! How chunks become part of the log.

use super::chunk::{Append, Appended, Ignored, LogDatagram, Malformed, StreamEnd, StreamKey};
use super::evict::{CHUNK_OVERHEAD, GROUP_OVERHEAD, OBJECT_OVERHEAD, RANGE_OVERHEAD, SUBGROUP_OVERHEAD};
use super::group::{Arrival, Group, Place, Record};
use super::rules::Refusal;
use super::subgroup::{Subgroup, SubgroupInfo};
use super::{Ingress, Preference, SubgroupSeq, TrackLog, WINDOW_BYTES};
use crate::moqt::error::ResetCode;
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use bytes::Bytes;
use std::time::Instant;

impl TrackLog {
    /// Takes one chunk in. Costs O(log n), and what has to be evicted to make room.
    ///
    /// The budget is enforced before the chunk is stored, so that [`TrackLog::bytes`] exceeds it by one chunk at most
    /// and readers get to see what was just appended.
    pub fn append(&mut self, now: Instant, chunk: Append) -> Appended {
        self.past.now = self.past.now.max(Some(now));
        self.shrink();
        let stream = chunk.stream();
        let outcome = match chunk {
            Append::SubgroupOpened {
                stream,
                group,
                subgroup,
                priority,
                has_extensions,
                end_of_group,
            } => {
                let info = SubgroupInfo {
                    group,
                    subgroup,
                    priority,
                    has_extensions,
                    end_of_group,
                };
                self.opened(stream, info)
            }
            Append::ObjectStarted { stream, header } => self.object_started(now, stream, header),
            Append::Payload { stream, bytes } => self.payload(stream, bytes),
            Append::Missing { stream, bytes } => self.missing(stream, bytes),
            Append::SubgroupClosed { stream, end } => self.closed(stream, end),
            Append::Datagram(datagram) => self.datagram(now, datagram),
        };
        match outcome {
            Ok(outcome) => outcome,
            Err(Refusal::Ignored(why)) => {
                match why {
                    Ignored::UnknownStream => self.stats.unknown_stream += 1,
                    Ignored::Evicted => self.stats.after_eviction += 1,
                    Ignored::Duplicate | Ignored::Empty | Ignored::StreamKeyInUse => {}
                }
                Appended::Ignored(why)
            }
            Err(Refusal::Malformed(why)) => {
                self.stats.malformed += 1;
                if let Some(ingress) = stream.and_then(|stream| self.forget_stream(stream)) {
                    // Something of this stream was not stored, so no reader may see a FIN. MOQT-14 §10.4.3 [D14-CLOSE-1].
                    self.end_entry(ingress, StreamEnd::Reset(ResetCode::InternalError));
                }
                Appended::Malformed(why)
            }
        }
    }

    fn opened(&mut self, stream: StreamKey, info: SubgroupInfo) -> Result<Appended, Refusal> {
        if self.streams.contains_key(&stream) {
            return Err(Ignored::StreamKeyInUse.into());
        }
        self.prefer(Preference::Subgroup)?;
        self.open_streams.insert((info.group, stream));
        // An entry comes with the first object that is new: a second source of a known subgroup may bring none.
        self.streams.insert(
            stream,
            Ingress {
                info,
                seq: None,
                ignored: None,
                ignoring: false,
            },
        );
        Ok(Appended::Noted)
    }

    fn object_started(
        &mut self,
        now: Instant,
        stream: StreamKey,
        header: ObjectHeader,
    ) -> Result<Appended, Refusal> {
        let ingress = *self.streams.get(&stream).ok_or(Ignored::UnknownStream)?;
        if header.status != ObjectStatus::Normal && header.payload_len > 0 {
            // MOQT-14 §10.2.1.1 [D14-DATA-7].
            return Err(Malformed::PayloadWithStatus.into());
        }
        let location = Location::new(ingress.info.group, header.id);
        let known = match ingress.seq {
            Some(seq) => {
                let Some(entry) = self.entries.get(&seq) else {
                    if let Some(kept) = self.streams.get_mut(&stream) {
                        // A replica that has the entry wants its payload, too.
                        kept.ignoring = false;
                    }
                    // MOQT-14 §9.7 [D14-SUB-4]: published all the same.
                    self.seed_largest(location);
                    self.made_and_gone(location);
                    return Err(Ignored::Evicted.into());
                };
                if entry.in_progress().is_some() {
                    return Err(Malformed::ObjectUnfinished.into());
                }
                if entry.last_id.is_some_and(|last| header.id <= last) {
                    return Err(Malformed::NotAscending.into());
                }
                if entry.is_aside {
                    self.is_duplicate(&ingress.info, &header)?
                } else {
                    self.knows(location)
                }
            }
            None => self.is_duplicate(&ingress.info, &header)?,
        };
        if known {
            self.check_copy(&ingress.info, &header)?;
        }
        let is_absent = self.is_past_duplicate(&ingress.info, &header)?;
        if known || is_absent {
            // MOQT-14 §8.2 [D14-PUB-1] [D14-CACHE-6]: the first copy stands, whoever brings the second.
            self.stats.duplicate_objects += 1;
            if !is_absent {
                self.pass_over(&ingress.info, header.id);
            }
            if let Some(ingress) = self.streams.get_mut(&stream) {
                ingress.ignoring = true;
                ingress.ignored = Some(header.id);
            }
            return Err(Ignored::Duplicate.into());
        }
        self.check_ends(location, header.status)?;
        self.check_gaps(location, header.status)?;
        let gaps = self.read_gaps(location, &header.extensions)?;
        let too_old = self.ensure_group(now, location.group);
        if too_old.is_err() {
            self.made_and_gone(location);
        }
        let seq = match (ingress.seq, &too_old) {
            (Some(seq), _) => seq,
            (None, Ok(())) => self.add_entry(stream, &ingress, header.id),
            // The stream goes on as if its entry had been evicted; no reader is told, since none misses it.
            (None, Err(_)) => NOWHERE,
        };
        if let Some(kept) = self.streams.get_mut(&stream) {
            kept.seq = Some(seq);
            kept.ignoring = false;
        }
        too_old?;
        self.shown_to_exist(location);
        self.note_gaps(location, gaps);
        if self.entries.get(&seq).is_some_and(|entry| entry.is_aside) {
            self.pass_over(&ingress.info, header.id);
        }
        self.object_is_known(location, header.status);
        self.bytes += OBJECT_OVERHEAD + header.extensions.len();
        if let Some(group) = self.groups.get_mut(&location.group) {
            group.touched = group.touched.max(now);
            let number = self.entries.get(&seq).map_or(0, Subgroup::end_object);
            group.arrivals.push_back(Arrival::Object(seq, number));
            group.index.insert(location.object, Place::Object(seq, number));
        }
        let is_large = header.payload_len > self.limits.max_object;
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.start(now, header, is_large);
        }
        self.note_complete(seq);
        Ok(Appended::Advanced)
    }

    /// Makes the group unless it is there; too old when the log is full of newer ones.
    fn ensure_group(&mut self, now: Instant, id: GroupId) -> Result<(), Refusal> {
        if self.groups.contains_key(&id) {
            return Ok(());
        }
        if self.groups.len() >= self.limits.max_groups {
            let lowest = self.groups.keys().next().copied();
            if lowest.is_some_and(|lowest| id < lowest) {
                return Err(Ignored::Evicted.into());
            }
            if let Some(lowest) = lowest {
                self.drop_group(lowest);
            }
        }
        self.groups.insert(id, Group::new(now));
        self.ages.insert((now, id));
        self.bytes += GROUP_OVERHEAD;
        Ok(())
    }

    fn add_entry(&mut self, stream: StreamKey, ingress: &Ingress, first: ObjectId) -> SubgroupSeq {
        let seq = SubgroupSeq(self.next_seq);
        self.next_seq += 1;
        let info = ingress.info;
        let gapped = self.leaves_gap(ingress, first);
        let mut entry = Subgroup::new(info, stream);
        if let Some(group) = self.groups.get_mut(&info.group) {
            group.seqs.insert(seq);
            group.open += 1;
            let old = group.subgroups.get(&info.subgroup);
            entry.is_aside =
                old.is_some_and(|old| old.active.is_some() || old.last.is_some_and(|last| first < last));
            let record = Record {
                seq,
                active: Some(stream),
                first: old.map_or(first, |record| record.first),
                last: old.and_then(|record| record.last),
                passed: old.and_then(|record| record.passed),
                gapped,
                finished: false,
                end: old.and_then(|record| record.end),
            };
            if !entry.is_aside {
                group.subgroups.insert(info.subgroup, record);
            }
        }
        self.entries.insert(seq, entry);
        self.open.insert(seq);
        self.bytes += SUBGROUP_OVERHEAD;
        seq
    }

    /// Everything that follows from an object having begun.
    fn object_is_known(&mut self, location: Location, status: ObjectStatus) {
        let exists = status != ObjectStatus::DoesNotExist;
        // MOQT-14 §9.7 [D14-SUB-4].
        self.largest = self.largest.max(Some(location));
        if exists {
            self.top = self.top.max(Some(location));
        }
        if status == ObjectStatus::EndOfTrack {
            self.end = Some(location);
        }
        let Some(group) = self.groups.get_mut(&location.group) else {
            return;
        };
        if exists {
            group.largest = group.largest.max(Some(location.object));
        }
        if status == ObjectStatus::EndOfGroup {
            group.end = Some(location.object);
        }
        self.bytes -= group.known.len() * RANGE_OVERHEAD;
        group.known.insert(location.object);
        self.bytes += group.known.len() * RANGE_OVERHEAD;
    }

    /// Remembers the last object of `seq` in the subgroup's record, if it is complete.
    fn note_complete(&mut self, seq: SubgroupSeq) {
        let Some(entry) = self.entries.get(&seq) else {
            return;
        };
        let Some(object) = entry.objects.back().filter(|object| object.is_complete()) else {
            return;
        };
        if entry.is_aside {
            return;
        }
        if let Some(group) = self.groups.get_mut(&entry.info.group)
            && let Some(record) = group.subgroups.get_mut(&entry.info.subgroup)
        {
            record.last = Some(object.header.id);
        }
    }

    fn payload(&mut self, stream: StreamKey, bytes: Bytes) -> Result<Appended, Refusal> {
        if bytes.is_empty() {
            return Err(Ignored::Empty.into());
        }
        let len = bytes.len();
        let seq = self.receive(stream, len as u64)?;
        let Some(entry) = self.entries.get_mut(&seq) else {
            return Err(Ignored::Evicted.into());
        };
        let number = entry.end_object().saturating_sub(1);
        let gone = entry.push_chunk(bytes, WINDOW_BYTES.min(self.limits.max_object));
        self.bytes = self.bytes + CHUNK_OVERHEAD + len - gone.chunks * CHUNK_OVERHEAD - gone.bytes;
        self.payload_bytes = self.payload_bytes + len - gone.bytes;
        if let Some(object) = entry.objects.back_mut()
            && !object.listed
            && let Some(group) = self.groups.get_mut(&entry.info.group)
        {
            object.listed = true;
            group.arrivals.push_back(Arrival::Object(seq, number));
        }
        self.note_complete(seq);
        Ok(Appended::Advanced)
    }

    fn missing(&mut self, stream: StreamKey, bytes: u64) -> Result<Appended, Refusal> {
        let seq = self.receive(stream, bytes)?;
        if let Some(object) = self
            .entries
            .get_mut(&seq)
            .and_then(|entry| entry.objects.back_mut())
        {
            object.lost += bytes;
        }
        self.note_complete(seq);
        Ok(Appended::Noted)
    }

    /// Counts `len` bytes into the object in progress on `stream` and says which entry that is.
    fn receive(&mut self, stream: StreamKey, len: u64) -> Result<SubgroupSeq, Refusal> {
        let ingress = self.streams.get(&stream).ok_or(Ignored::UnknownStream)?;
        if ingress.ignoring {
            return Err(Ignored::Duplicate.into());
        }
        let seq = ingress.seq.ok_or(Malformed::PayloadTooLong)?;
        let entry = self.entries.get_mut(&seq).ok_or(Ignored::Evicted)?;
        let object = entry.objects.back_mut().ok_or(Malformed::PayloadTooLong)?;
        // An object without a byte to come (complete ones) has no room either.
        if len > object.header.payload_len - object.received {
            return Err(Malformed::PayloadTooLong.into());
        }
        object.received += len;
        entry.received += len;
        self.offered += len;
        Ok(seq)
    }

    fn closed(&mut self, stream: StreamKey, end: StreamEnd) -> Result<Appended, Refusal> {
        let ingress = self.forget_stream(stream).ok_or(Ignored::UnknownStream)?;
        let Some(seq) = ingress.seq else {
            if end != StreamEnd::Fin
                && let Some(group) = self.groups.get_mut(&ingress.info.group)
            {
                group.cut = true;
            }
            return Ok(Appended::Noted);
        };
        let entry = self.entries.get(&seq).ok_or(Ignored::Evicted)?;
        let gapped = self
            .record(ingress.info.group, ingress.info.subgroup)
            .is_some_and(|record| record.misses_any(entry.last_id));
        let is_final = end == StreamEnd::Fin && entry.in_progress().is_none();
        let last = entry.last_id.max(ingress.ignored).filter(|_| is_final);
        // MOQT-14 §10.4.2 [D14-DATA-6]: FIN says that the object before it is the last, which these readers had elsewhere.
        let apart = (entry.is_aside || ingress.ignored > entry.last_id) && !self.is_replica;
        let mut end = end;
        if end == StreamEnd::Fin && (gapped || apart || entry.in_progress().is_some()) {
            // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-DATA-18]: what is not whole ends in a reset.
            end = StreamEnd::Reset(ResetCode::InternalError);
        }
        let mut malformed = None;
        if end == StreamEnd::Fin
            && ingress.info.end_of_group
            && let Some(last) = entry.last_id
            && let Err(why) = self.end_group(ingress.info.group, last)
        {
            end = StreamEnd::Reset(ResetCode::InternalError);
            malformed = Some(why);
        }
        // MOQT-14 §2.5 [D14-MAL-2]: the subgroup is known to go on.
        if let Some(last) = last.filter(|_| !self.is_replica)
            && let Err(why) = self.check_final(&ingress.info, last)
        {
            end = StreamEnd::Reset(ResetCode::InternalError);
            malformed = Some(why);
        }
        let group = self.groups.get_mut(&ingress.info.group);
        if let Some(record) = group.and_then(|group| group.subgroups.get_mut(&ingress.info.subgroup)) {
            record.end = record.end.max(last);
        }
        self.end_entry(ingress, end);
        malformed.map_or(Ok(Appended::Closed(end)), |why| Err(why.into()))
    }

    /// A stream is over.
    fn forget_stream(&mut self, stream: StreamKey) -> Option<Ingress> {
        let ingress = self.streams.remove(&stream)?;
        self.open_streams.remove(&(ingress.info.group, stream));
        Some(ingress)
    }

    /// For an origin: something was made at `at` that is not kept.
    fn made_and_gone(&mut self, at: Location) {
        if self.past.origin {
            self.past.gone.insert(at.group);
        }
    }

    /// Ends the entry that `ingress` feeds, unless there is none any more.
    fn end_entry(&mut self, ingress: Ingress, end: StreamEnd) {
        let Some(seq) = ingress.seq else { return };
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        entry.end = Some(end);
        self.open.remove(&seq);
        let Some(group) = self.groups.get_mut(&ingress.info.group) else {
            return;
        };
        group.open = group.open.saturating_sub(1);
        let number = entry.end_object().saturating_sub(1);
        if let Some(object) = entry.objects.back_mut().filter(|object| !object.is_complete()) {
            // Cut short: another stream may bring it whole.
            self.bytes -= group.known.len() * RANGE_OVERHEAD;
            group.known.remove(object.header.id);
            self.bytes += group.known.len() * RANGE_OVERHEAD;
            group.forget(object.header.id, Place::Object(seq, number));
            if self.past.origin {
                group.cut_ids.insert(object.header.id);
            }
            if !object.listed {
                object.listed = true;
                group.arrivals.push_back(Arrival::Object(seq, number));
            }
        }
        group.arrivals.push_back(Arrival::Closed(seq));
        match end {
            StreamEnd::Fin => group.fins += 1,
            StreamEnd::Reset(_) => group.cut = true,
        }
        if let Some(record) = group.subgroups.get_mut(&ingress.info.subgroup)
            && record.seq == seq
        {
            record.active = None;
            record.finished = end == StreamEnd::Fin;
        }
    }

    fn datagram(&mut self, now: Instant, datagram: LogDatagram) -> Result<Appended, Refusal> {
        self.prefer(Preference::Datagram)?;
        if datagram.status != ObjectStatus::Normal && !datagram.payload.is_empty() {
            return Err(Malformed::PayloadWithStatus.into());
        }
        let location = datagram.location;
        if self.knows(location) {
            self.check_copy_of_datagram(&datagram)?;
        }
        if self.knows(location) || self.is_past_datagram(&datagram)? {
            self.stats.duplicate_objects += 1;
            return Err(Ignored::Duplicate.into());
        }
        self.check_ends(location, datagram.status)?;
        if datagram.end_of_group {
            let beyond = |group: &Group| group.largest.is_some_and(|largest| largest > location.object);
            if self.groups.get(&location.group).is_some_and(beyond) {
                return Err(Malformed::AfterEndOfGroup.into());
            }
        }
        self.check_gaps(location, datagram.status)?;
        let gaps = self.read_gaps(location, &datagram.extensions)?;
        if let Err(too_old) = self.ensure_group(now, location.group) {
            self.made_and_gone(location);
            return Err(too_old);
        }
        self.shown_to_exist(location);
        self.note_gaps(location, gaps);
        self.object_is_known(location, datagram.status);
        self.bytes += datagram_cost(&datagram);
        self.payload_bytes += datagram.payload.len();
        let number = self.next_datagram;
        self.next_datagram += 1;
        if let Some(group) = self.groups.get_mut(&location.group) {
            group.index.insert(location.object, Place::Datagram(number));
            group.touched = group.touched.max(now);
            group.arrivals.push_back(Arrival::Datagram(number));
            if datagram.end_of_group && group.end.is_none() {
                group.end = location.object.checked_add(1);
            }
        }
        self.datagrams.insert(number, (now, datagram));
        Ok(Appended::Advanced)
    }
}

/// The entry of streams that are too old to get one. The order of arrival never comes this far.
const NOWHERE: SubgroupSeq = SubgroupSeq(u64::MAX);

/// What a datagram counts.
pub(super) fn datagram_cost(datagram: &LogDatagram) -> usize {
    OBJECT_OVERHEAD + datagram.extensions.len() + datagram.payload.len()
}
