//! A subgroup that several streams bring at once.
//!
//! What readers see of it are *runs*: entries of the log that are open. As a rule there is one. Its tail is the object
//! that began last, and every stream stands somewhere before it, in it, or, waiting, behind it.

use super::desk::Desk;
use super::member::{At, Member, cost};
use super::{OVERTAKE_AFTER, OVERTAKE_AT_LAST, PROGRESS_BYTES, PROGRESS_SHARE, PublisherKey};
use crate::moqt::error::ResetCode;
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use crate::relay::track_log::{Append, StreamEnd, StreamKey};
use std::time::Instant;

/// Most streams of one subgroup at a time, those that ended and still wait included. More are turned away.
pub(super) const MAX_MEMBERS: usize = 16;

/// An open entry of the log that is being written.
#[derive(Debug)]
pub(super) struct Run {
    /// Its stream in the log: that of the member with which it began, which may be over.
    pub(super) key: StreamKey,
    pub(super) group: GroupId,
    /// The member that wrote last, and whose that is.
    pub(super) by: StreamKey,
    pub(super) from: PublisherKey,
    /// The object that began last.
    pub(super) tail: ObjectId,
    pub(super) status: ObjectStatus,
    pub(super) len: u64,
    pub(super) received: u64,
    pub(super) has_extensions: bool,
}

impl Run {
    pub(super) const fn is_complete(&self) -> bool {
        self.received == self.len
    }
}

/// What becomes of an object that begins.
pub(super) enum Next {
    /// It is the tail of this run.
    Same(usize),
    /// It is known.
    Known,
    /// It follows on the tail of this run.
    Carry(usize),
    /// It begins a run.
    Start,
    /// Somebody may bring what comes before it.
    Wait,
    /// The subgroup ends before it.
    Beyond,
}

/// The streams of one subgroup, two or more.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) members: Vec<Member>,
    pub(super) runs: Vec<Run>,
    /// The highest object that began in a run.
    pub(super) top: Option<ObjectId>,
    /// The last object of the subgroup, once a stream ended behind it with FIN.
    pub(super) finished: Option<ObjectId>,
    /// When something was last written.
    pub(super) progressed: Instant,
    /// What was written in all, as [`cost`] counts it but by objects, and what had to wait.
    pub(super) written: u64,
    pub(super) queued: u64,
    /// When it was last found worthwhile to wait, and what was written and had waited then.
    judged: (Instant, u64, u64),
    /// How the last stream ended that did not end with FIN.
    pub(super) code: ResetCode,
    /// Its key in the index of timeouts.
    pub(super) filed: Option<Instant>,
}

impl Lane {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            members: Vec::new(),
            runs: Vec::new(),
            top: None,
            finished: None,
            progressed: now,
            written: 0,
            queued: 0,
            judged: (now, 0, 0),
            code: ResetCode::InternalError,
            filed: None,
        }
    }

    /// A stream that had the subgroup to itself so far. `inside` is the object that it is in the middle of and that is
    /// not taken in, with the length of that.
    pub(super) fn adopt(&mut self, desk: &mut Desk<'_>, mut member: Member, inside: Option<(At, u64)>) {
        let tail = desk.log.stream_tail(member.stream);
        if let Some(tail) = tail {
            self.runs.push(Run {
                key: member.stream,
                group: member.info.group,
                by: member.stream,
                from: member.from,
                tail: tail.last,
                status: tail.status,
                len: tail.payload_len,
                received: tail.received,
                has_extensions: member.info.has_extensions,
            });
            self.top = Some(tail.last);
            member.at = Some(At {
                offset: tail.received,
                ..At::start(tail.last)
            });
            member.link = Some(tail.last);
            member.arrived.last = Some(tail.last);
            member.arrived.remaining = Some(tail.payload_len - tail.received);
        } else if desk.log.has_begun(member.stream) {
            // What it brought is evicted, so nothing can be joined to that: it goes on as if it began.
            member.arrived.remaining = None;
            let end = StreamEnd::Reset(ResetCode::InternalError);
            let stream = member.stream;
            desk.tell(
                member.from,
                member.info.group,
                Append::SubgroupClosed { stream, end },
            );
            desk.tell(member.from, member.info.group, member.opening());
        }
        if let Some((at, len)) = inside {
            member.at = Some(at);
            member.arrived.last = Some(at.id);
            member.arrived.remaining = len.checked_sub(at.offset);
        }
        self.members.push(member);
    }

    /// Takes in what the stream brings next.
    pub(super) fn feed(&mut self, desk: &mut Desk<'_>, stream: StreamKey, chunk: Append) {
        let Some(member) = self.members.iter_mut().find(|member| member.stream == stream) else {
            return;
        };
        if let Err(why) = member.arrived.check(&chunk) {
            self.fail(desk, stream, why.into());
        } else if member.queue.is_empty() {
            match self.step(desk, stream, chunk) {
                Ok(None) => {}
                Ok(Some(chunk)) => self.wait(desk, stream, chunk),
                Err(fault) => self.fail(desk, stream, fault),
            }
        } else {
            self.wait(desk, stream, chunk);
        }
        self.settle(desk);
        for _ in 0..MAX_MEMBERS {
            if !self.is_over(desk, stream) {
                break;
            }
            self.overtake(desk);
        }
    }

    /// When the streams that wait have waited long enough; none when none waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.members.iter().filter_map(|member| member.since).min()?;
        let comes_on = since.max(self.progressed).checked_add(OVERTAKE_AFTER);
        let at_last = since.max(self.judged.0).checked_add(OVERTAKE_AT_LAST);
        comes_on.into_iter().chain(at_last).min()
    }

    /// The time of [`Self::deadline`] has come: goes on without what is waited for, unless that makes good progress.
    pub(super) fn expire(&mut self, desk: &mut Desk<'_>) {
        let stalls = self
            .progressed
            .checked_add(OVERTAKE_AFTER)
            .is_none_or(|until| until <= desk.now);
        // A stream that comes on, however far behind, is worth waiting for, and a large object is not cut for its size; a
        // drop of bytes now and then does not buy time for ever. MOQT-14 §12.2 [D14-LIM-6]
        let (_, written, queued) = self.judged;
        let least = PROGRESS_BYTES.max(self.queued.saturating_sub(queued) / PROGRESS_SHARE);
        if stalls || self.written.saturating_sub(written) < least {
            self.overtake(desk);
        } else {
            self.judged = (desk.now, self.written, self.queued);
        }
    }

    /// Goes on without the stream that is waited for. MOQT-14 §10.4.3 [D14-CLOSE-1]: what readers have of it ends in a
    /// reset, since something may be missing.
    pub(super) fn overtake(&mut self, desk: &mut Desk<'_>) {
        let top = self.top;
        if self.members.iter().any(|member| member.since.is_some())
            && let Some(index) = self.runs.iter().position(|run| Some(run.tail) == top)
        {
            desk.stats.overtaken += 1;
            self.close_run(desk, index, StreamEnd::Reset(ResetCode::InternalError));
        }
        self.settle(desk);
    }

    /// The only stream that is left, if it goes on where the only run stands and writes that run under its own key.
    pub(super) fn alone(&self) -> Option<StreamKey> {
        let ([member], [run]) = (&self.members[..], &self.runs[..]) else {
            return None;
        };
        let at = member.at?;
        let even = run.key == member.stream && at.id == run.tail && at.offset == run.received && at.verified;
        (even && member.queue.is_empty() && self.finished.is_none()).then_some(member.stream)
    }

    fn is_over(&self, desk: &Desk<'_>, stream: StreamKey) -> bool {
        let member = self.members.iter().find(|member| member.stream == stream);
        member.is_some_and(|member| {
            !member.queue.is_empty()
                && (member.queued > desk.limits.max_stream_bytes
                    || desk.stats.waiting_bytes > desk.limits.max_bytes)
        })
    }

    fn wait(&mut self, desk: &mut Desk<'_>, stream: StreamKey, chunk: Append) {
        if self.members.iter().all(|member| member.since.is_none()) {
            self.judged = (desk.now, self.written, self.queued);
        }
        if let Some(member) = self.members.iter_mut().find(|member| member.stream == stream) {
            let cost = cost(&chunk);
            member.queue.push_back(chunk);
            member.queued += cost;
            member.since.get_or_insert(desk.now);
            desk.stats.waiting_bytes += cost;
            self.queued += cost as u64;
        }
    }

    /// Ends runs that nobody carries on, and takes in what waited, until nothing follows from anything.
    fn settle(&mut self, desk: &mut Desk<'_>) {
        loop {
            while let Some(index) = self.runs.iter().position(|run| !self.is_covered(run)) {
                self.close_run(desk, index, StreamEnd::Reset(self.code));
            }
            // The lowest first, so that a run that has to begin anew begins as early as it can.
            let ready = self.members.iter().filter_map(|member| {
                let header = member.next()?;
                let waits = matches!(self.decide(desk, member, header), Next::Wait);
                (!waits).then_some((header.id, member.stream))
            });
            let Some((_, stream)) = ready.min() else {
                return;
            };
            self.resume(desk, stream);
        }
    }

    /// Takes in what waited of a stream, as far as that goes.
    fn resume(&mut self, desk: &mut Desk<'_>, stream: StreamKey) {
        while let Some(member) = self.members.iter_mut().find(|member| member.stream == stream)
            && let Some(chunk) = member.queue.pop_front()
        {
            let cost = cost(&chunk);
            member.queued -= cost;
            desk.stats.waiting_bytes -= cost;
            if member.queue.is_empty() {
                member.since = None;
            }
            match self.step(desk, stream, chunk) {
                Ok(None) => {}
                Ok(Some(chunk)) => {
                    if let Some(member) = self.members.iter_mut().find(|member| member.stream == stream) {
                        member.queue.push_front(chunk);
                        member.queued += cost;
                        member.since.get_or_insert(desk.now);
                        desk.stats.waiting_bytes += cost;
                    }
                    return;
                }
                Err(fault) => {
                    self.fail(desk, stream, fault);
                    return;
                }
            }
        }
    }

    /// Whether some stream may yet carry `run` on without a gap: it stands before the tail, or in it and has brought the
    /// same bytes as readers have got, or behind it with nothing between.
    pub(super) fn is_covered(&self, run: &Run) -> bool {
        self.members.iter().any(|member| match member.at {
            Some(at) if member.queue.is_empty() => {
                at.id < run.tail
                    || (at.id == run.tail
                        && (run.is_complete() || (at.verified && at.offset <= run.received)))
                    || (at.id > run.tail && member.link == Some(run.tail))
            }
            _ => false,
        })
    }

    pub(super) fn decide(&self, desk: &Desk<'_>, member: &Member, header: &ObjectHeader) -> Next {
        let (id, group) = (header.id, member.info.group);
        if self.finished.is_some_and(|last| id > last) {
            return Next::Beyond;
        }
        if let Some(index) = self.runs.iter().position(|run| run.tail == id) {
            return Next::Same(index);
        }
        if desk.log.knows(Location::new(group, id)) {
            return Next::Known;
        }
        let below = self.runs.iter().enumerate().filter(|(_, run)| run.tail < id);
        let Some((index, run)) = below.max_by_key(|(_, run)| run.tail) else {
            return Next::Start;
        };
        // MOQT-14 §10.4.3 [D14-CLOSE-3]: the next object, or one that follows on the same stream, or nothing that is not
        // known stands between.
        let joins =
            member.link == Some(run.tail) || desk.log.is_settled(group, run.tail.saturating_add(1), id - 1);
        let fits = run.has_extensions || header.extensions.is_empty();
        if run.is_complete() && joins && fits {
            Next::Carry(index)
        } else if Some(run.tail) == self.top {
            Next::Wait
        } else {
            Next::Start
        }
    }
}
