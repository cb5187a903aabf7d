//! What becomes of each chunk of a stream that shares its subgroup.

use super::OBJECT_COST;
use super::PublisherKey;
use super::desk::{Desk, Fault};
use super::lane::{Lane, Next, Run};
use super::member::At;
use crate::moqt::error::ResetCode;
use crate::moqt::location::{Location, ObjectId};
use crate::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Append, Appended, Ignored, Malformed, StreamEnd, StreamKey, SubgroupInfo};
use bytes::Bytes;

impl Lane {
    /// What comes next of a stream of which nothing waits; gives it back when it has to wait.
    pub(super) fn step(
        &mut self,
        desk: &mut Desk<'_>,
        stream: StreamKey,
        chunk: Append,
    ) -> Result<Option<Append>, Fault> {
        match chunk {
            Append::ObjectStarted { header, .. } => self.object(desk, stream, header),
            Append::Payload { bytes, .. } => {
                self.payload(desk, stream, bytes)?;
                Ok(None)
            }
            Append::SubgroupClosed { end, .. } => {
                self.closed(desk, stream, end);
                Ok(None)
            }
            Append::SubgroupOpened { .. } | Append::Missing { .. } | Append::Datagram(_) => Ok(None),
        }
    }

    fn object(
        &mut self,
        desk: &mut Desk<'_>,
        stream: StreamKey,
        header: ObjectHeader,
    ) -> Result<Option<Append>, Fault> {
        let Some(position) = self.members.iter().position(|member| member.stream == stream) else {
            return Ok(None);
        };
        let Some(member) = self.members.get(position) else {
            return Ok(None);
        };
        let (by, info) = (member.from, member.info);
        let next = self.decide(desk, member, &header);
        let mut at = At::start(header.id);
        let mut link = None;
        match next {
            Next::Wait => return Ok(Some(Append::ObjectStarted { stream, header })),
            // MOQT-14 §2.5 [D14-MAL-2]
            Next::Beyond => return Err(Malformed::AfterEndOfSubgroup.into()),
            Next::Same(index) => {
                check_same(desk, &info, &header)?;
                desk.stats.duplicate_objects += 1;
                if let Some(run) = self.runs.get(index) {
                    let is_same = (run.status, run.len) == (header.status, header.payload_len);
                    // MOQT-14 §8.1 [D14-CACHE-2] [D14-CACHE-3]: an object may turn into one that does not exist.
                    if !is_same
                        && run.status != ObjectStatus::DoesNotExist
                        && header.status != ObjectStatus::DoesNotExist
                    {
                        return Err(Malformed::Conflict.into());
                    }
                    at.verified = is_same;
                    link = Some(run.tail);
                }
            }
            Next::Known => {
                check_same(desk, &info, &header)?;
                desk.stats.duplicate_objects += 1;
            }
            Next::Carry(index) => {
                let key = self.runs.get(index).map_or(stream, |run| run.key);
                link = self.write_object(desk, by, &info, (stream, key), Some(index), header)?;
            }
            Next::Start if !self.frees_key(desk, stream) => {
                // Its own run is in the middle of an object, and went on without this one: publishers whose subgroups are
                // not the same.
                desk.stats.passed_objects += 1;
                at.verified = false;
            }
            Next::Start => {
                link = self.write_object(desk, by, &info, (stream, stream), None, header)?;
            }
        }
        // What it brought without writing it into a run of its own, its end in the log comes after all the same.
        desk.log.note_brought(stream, at.id);
        if let Some(member) = self.members.get_mut(position) {
            member.at = Some(at);
            member.link = link;
        }
        Ok(None)
    }

    /// Whether `stream` can begin a run: one that has its key ends, unless it is in the middle of an object.
    fn frees_key(&mut self, desk: &mut Desk<'_>, stream: StreamKey) -> bool {
        let Some(index) = self.runs.iter().position(|run| run.key == stream) else {
            return true;
        };
        let whole = self.runs.get(index).is_some_and(Run::is_complete);
        if whole {
            self.close_run(desk, index, StreamEnd::Reset(ResetCode::InternalError));
        }
        whole
    }

    /// Begins an object in the run at `index`, or with a run of its own; says what it is linked to.
    fn write_object(
        &mut self,
        desk: &mut Desk<'_>,
        by: PublisherKey,
        info: &SubgroupInfo,
        (stream, key): (StreamKey, StreamKey),
        index: Option<usize>,
        header: ObjectHeader,
    ) -> Result<Option<ObjectId>, Fault> {
        let (id, status, len) = (header.id, header.status, header.payload_len);
        let started = Append::ObjectStarted { stream: key, header };
        let appended = match desk.append(by, info.group, started) {
            Ok(appended) => appended,
            Err(fault) => {
                self.forget_run(desk, key, stream);
                return Err(fault);
            }
        };
        let old = index.and_then(|index| self.runs.get(index)).map(|run| run.tail);
        if matches!(appended, Appended::Ignored(why) if why != Ignored::Evicted) {
            // It came by FETCH as one that does not exist: no reader gets it, and the next one follows all the same.
            return Ok(old);
        }
        self.progressed = desk.now;
        self.written += OBJECT_COST;
        self.top = self.top.max(Some(id));
        let run = Run {
            key,
            group: info.group,
            by: stream,
            from: by,
            tail: id,
            status,
            len,
            received: 0,
            has_extensions: info.has_extensions,
        };
        match index.and_then(|index| self.runs.get_mut(index)) {
            Some(old) => {
                *old = Run {
                    has_extensions: old.has_extensions,
                    ..run
                }
            }
            None => self.runs.push(run),
        }
        if self.finished == Some(id) {
            self.finish_run(desk, id);
        }
        Ok(Some(id))
    }

    fn payload(&mut self, desk: &mut Desk<'_>, stream: StreamKey, mut bytes: Bytes) -> Result<(), Fault> {
        let Some(member) = self.members.iter_mut().find(|member| member.stream == stream) else {
            return Ok(());
        };
        let (by, group) = (member.from, member.info.group);
        let Some(at) = &mut member.at else {
            return Ok(());
        };
        let place = Location::new(group, at.id);
        let run = self
            .runs
            .iter_mut()
            .find(|run| run.tail == at.id && !run.is_complete());
        let len = bytes.len() as u64;
        let known = match &run {
            // Nothing of it can follow on what readers have.
            Some(run) if at.offset > run.received => {
                at.verified = false;
                0
            }
            Some(run) => run.received - at.offset,
            None => len,
        };
        let known = bytes.split_to(
            usize::try_from(known.min(len))
                .unwrap_or(usize::MAX)
                .min(bytes.len()),
        );
        if !known.is_empty() {
            match desk.log.compare(place, at.offset, &known, &mut at.hint) {
                Some(true) => {}
                // MOQT-14 §2.5 [D14-MAL-2], §8.1 [D14-CACHE-2] [D14-MAL-3]
                Some(false) => return Err(Malformed::Payload.into()),
                None => at.verified = false,
            }
        }
        at.offset += len;
        let Some(run) = run.filter(|_| at.verified && !bytes.is_empty()) else {
            return Ok(());
        };
        run.received += bytes.len() as u64;
        (run.by, run.from) = (stream, by);
        self.progressed = desk.now;
        self.written += bytes.len() as u64;
        let (key, tail, complete) = (run.key, run.tail, run.is_complete());
        let piece = Append::Payload { stream: key, bytes };
        if let Err(fault) = desk.append(by, group, piece) {
            self.forget_run(desk, key, stream);
            return Err(fault);
        }
        if complete && self.finished == Some(tail) {
            self.finish_run(desk, tail);
        }
        Ok(())
    }

    fn closed(&mut self, desk: &mut Desk<'_>, stream: StreamKey, mut end: StreamEnd) {
        let Some(position) = self.members.iter().position(|member| member.stream == stream) else {
            return;
        };
        let member = self.members.remove(position);
        if member.arrived.remaining.is_some_and(|remaining| remaining > 0) && end == StreamEnd::Fin {
            // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-DATA-18]: what is not whole ends in a reset.
            end = StreamEnd::Reset(ResetCode::InternalError);
        }
        let carries = self.runs.iter().any(|run| run.key == stream);
        match (end, member.arrived.last) {
            (StreamEnd::Fin, Some(last)) => {
                if let Err(why) = self.finish(desk, &member.info, last) {
                    desk.blame(member.from, member.info.group, why);
                }
            }
            (StreamEnd::Fin, None) => {}
            (StreamEnd::Reset(code), _) => {
                self.code = code;
                let left = self
                    .runs
                    .iter()
                    .filter(|run| run.by == stream && self.is_covered(run));
                desk.stats.taken_over += left.count() as u64;
            }
        }
        if !carries {
            let over = Append::SubgroupClosed { stream, end };
            desk.tell(member.from, member.info.group, over);
        }
    }

    /// A stream ended with FIN behind `last`. MOQT-14 §2.5 [D14-MAL-2]: no object may follow, and no other may be final.
    fn finish(&mut self, desk: &mut Desk<'_>, info: &SubgroupInfo, last: ObjectId) -> Result<(), Malformed> {
        if self.top.is_some_and(|top| top > last) || self.finished.is_some_and(|known| known != last) {
            return Err(Malformed::AfterEndOfSubgroup);
        }
        desk.log.check_final(info, last)?;
        self.finished = Some(last);
        self.finish_run(desk, last);
        Ok(())
    }

    /// Ends the run whose tail is the last object of the subgroup, once that is whole. MOQT-14 §10.4.3 [D14-CLOSE-1]: the
    /// log knows whether anything before it is missing.
    fn finish_run(&mut self, desk: &mut Desk<'_>, last: ObjectId) {
        let whole = |run: &Run| run.tail == last && run.is_complete();
        if let Some(index) = self.runs.iter().position(whole) {
            self.close_run(desk, index, StreamEnd::Fin);
        }
    }

    pub(super) fn close_run(&mut self, desk: &mut Desk<'_>, index: usize, end: StreamEnd) {
        let run = self.runs.swap_remove(index);
        let (group, stream) = (run.group, run.key);
        desk.tell(run.from, group, Append::SubgroupClosed { stream, end });
        self.reopen(desk, stream);
    }

    /// A run is over: the stream with whose key it was written may go on, and begin another.
    fn reopen(&self, desk: &mut Desk<'_>, key: StreamKey) {
        if let Some(owner) = self.members.iter().find(|member| member.stream == key) {
            desk.tell(owner.from, owner.info.group, owner.opening());
        }
    }

    /// The log has ended the run `key`, because of something that `stream` brought.
    fn forget_run(&mut self, desk: &mut Desk<'_>, key: StreamKey, stream: StreamKey) {
        self.runs.retain(|run| run.key != key);
        if key != stream {
            self.reopen(desk, key);
        }
    }

    /// A stream broke a rule: it is over, and what it led goes on without it if it can.
    pub(super) fn fail(&mut self, desk: &mut Desk<'_>, stream: StreamKey, fault: Fault) {
        desk.ended.push(stream);
        let Some(position) = self.members.iter().position(|member| member.stream == stream) else {
            return;
        };
        let member = self.members.remove(position);
        desk.stats.waiting_bytes -= member.queued;
        self.code = ResetCode::InternalError;
        if !self.runs.iter().any(|run| run.key == stream) {
            let end = StreamEnd::Reset(ResetCode::InternalError);
            desk.tell(
                member.from,
                member.info.group,
                Append::SubgroupClosed { stream, end },
            );
        }
        if let Fault::Broke(why) = fault {
            desk.blame(member.from, member.info.group, why);
        }
    }
}

/// Malformed when the copy that is at hand has other properties. MOQT-14 §8.1 [D14-CACHE-2].
fn check_same(desk: &Desk<'_>, info: &SubgroupInfo, header: &ObjectHeader) -> Result<(), Malformed> {
    desk.log.check_kept(&FetchObjectHeader {
        location: Location::new(info.group, header.id),
        subgroup: info.subgroup,
        priority: info.priority,
        status: header.status,
        extensions: Bytes::new(),
        payload_len: header.payload_len,
    })
}
