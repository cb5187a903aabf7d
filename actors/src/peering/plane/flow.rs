//! One stream of a peer, in one task: it is read, and written to wherever it goes, without a message or a timer of its own.

use super::lane::{Driven, Lane};
use super::link::{LinkIn, Slot};
use super::local::Local;
use super::now;
use crate::transport::{RecvGuard, StreamError};
use bytes::Bytes;
use laps_protocol::peering::forward::pipeline::{ResetCause, Step};
use laps_protocol::peering::forward::{InStream, LinkId, Target};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Pieces taken from the transport in one call.
const PIECES: usize = 16;
/// Rounds in one run of the task; then the other tasks of the arbiter get theirs.
const ROUNDS: usize = 32;

/// The task. Dropped early, it stops its source and resets its targets.
pub(super) struct Flow {
    link: Rc<LinkIn>,
    id: InStream,
    slot: Rc<Slot>,
    /// None once nothing more of it is read.
    source: Option<RecvGuard>,
    /// What was taken from it at once, and has no room yet.
    pieces: VecDeque<Bytes>,
    /// Nothing follows those.
    fin: bool,
    /// Nothing follows those, and the source was reset with this code.
    broken: Option<u64>,
    /// In the order of their links.
    lanes: Vec<Lane>,
    local: Option<Local>,
    /// What targets took in one round, and which of them want no more. Empty in between, kept for its room.
    taken: Vec<(Target, u64)>,
    refused: Vec<Target>,
}

impl Flow {
    pub(super) fn new(link: Rc<LinkIn>, id: InStream, slot: Rc<Slot>, source: RecvGuard) -> Self {
        Self {
            link,
            id,
            slot,
            source: Some(source),
            pieces: VecDeque::new(),
            fin: false,
            broken: None,
            lanes: Vec::new(),
            local: None,
            taken: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Takes what has come; false when nothing has, or nothing more is wanted for now.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let (link, id) = (&self.link, self.id);
        // A track that takes its time slows its source down, as in a session. [D14-LIM-4]
        let ahead = self.lanes.is_empty() && self.local.as_ref().is_some_and(Local::has_unread);
        if ahead || !link.wants(id) {
            return false;
        }
        let received = match &mut self.source {
            Some(source) if self.pieces.is_empty() => {
                link.fault.check();
                let mut pieces = [const { Bytes::new() }; PIECES];
                let received = source.poll_receive_vectored(&mut pieces, cx);
                if let Poll::Ready(Ok(received)) = &received {
                    self.pieces.extend(pieces.into_iter().take(received.chunks));
                }
                received
            }
            Some(_) | None => Poll::Pending,
        };
        match received {
            Poll::Pending if self.pieces.is_empty() => return false,
            Poll::Pending => {}
            Poll::Ready(Ok(received)) => {
                if received.fin {
                    self.fin = true;
                    self.source = None;
                }
            }
            Poll::Ready(Err(error)) => {
                // laps peering, "Pipeline forwarding": a reset is mirrored, as is the end of the link.
                let code = match error {
                    StreamError::Reset { code } => code,
                    StreamError::Stopped { .. } | StreamError::Ended | StreamError::Connection(_) => 0,
                };
                self.broken = Some(code);
                self.source = None;
            }
        }
        let now = now();
        // Many pieces may come at once: each has to find room.
        while link.wants(id)
            && let Some(piece) = self.pieces.pop_front()
        {
            link.bytes(id, piece, now);
        }
        if self.pieces.is_empty() {
            if let Some(code) = self.broken.take() {
                link.reset(id, code);
            }
            if std::mem::take(&mut self.fin) {
                link.fin(id);
            }
        }
        link.drain(Some(id));
        true
    }

    /// Nothing more of the source is wanted.
    fn let_go(&mut self) -> Option<RecvGuard> {
        self.pieces.clear();
        self.fin = false;
        self.broken = None;
        self.source.take()
    }

    /// Does what came out of that, or was left here by others; false when there was nothing.
    fn act(&mut self) -> bool {
        let mut any = false;
        if self.slot.cut.take() {
            drop(self.let_go());
        }
        loop {
            let next = self.slot.steps.borrow_mut().pop_front();
            let Some((target, step)) = next else { break };
            any = true;
            match target {
                Target::Local => self.act_here(step),
                Target::Link(link) => self.act_there(link, step),
            }
        }
        if let Some(code) = self.slot.stop.take()
            && let Some(mut source) = self.let_go()
        {
            source.stop(code);
        }
        any
    }

    fn act_here(&mut self, step: Step) {
        match (step, &self.local) {
            (Step::Open { header, first }, None) => {
                let local = Local::new(self.link.reader(header));
                local.push(first);
                self.local = Some(local);
            }
            (Step::Data(piece), Some(local)) => local.push(piece),
            (Step::Fin, Some(local)) => local.finish(),
            (Step::Reset(cause), Some(local)) => local.reset(cause.code()),
            // Its reader wants no more.
            (Step::Open { .. } | Step::Data(_) | Step::Fin | Step::Reset(_), _) => {}
        }
    }

    fn act_there(&mut self, to: LinkId, step: Step) {
        let place = self.lanes.binary_search_by_key(&to, |lane| lane.link);
        let at = place.ok();
        match step {
            Step::Open { header, first } => {
                if let Some(other) = self.link.other(to) {
                    let lane = Lane::new(&other.out, header, first, (self.id, &self.slot));
                    self.lanes.insert(place.unwrap_or_else(|free| free), lane);
                } else {
                    self.link.target_stopped(self.id, Target::Link(to));
                    self.link.drain(Some(self.id));
                }
            }
            Step::Data(piece) => {
                let Some(at) = at else { return };
                let fits = self.lanes.get_mut(at).is_none_or(|lane| lane.push(piece));
                if !fits {
                    self.lanes.remove(at).reset(0);
                    self.link.crowded(self.id, to);
                    self.link.drain(Some(self.id));
                }
            }
            Step::Fin => {
                if let Some(lane) = at.and_then(|at| self.lanes.get_mut(at)) {
                    lane.finish();
                }
            }
            Step::Reset(ResetCause::Source(code)) => {
                if let Some(lane) = at.and_then(|at| self.lanes.get_mut(at)) {
                    lane.cut(code);
                }
            }
            Step::Reset(cause @ (ResetCause::Overrun | ResetCause::Expired)) => {
                if let Some(at) = at {
                    self.lanes.remove(at).reset(cause.code());
                }
            }
        }
    }

    /// Gives every target what it takes; false when none took anything.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let (link, id) = (&self.link, self.id);
        let (all, refused) = (&mut self.taken, &mut self.refused);
        let mut any = false;
        self.lanes.retain_mut(|lane| {
            let mut taken = 0;
            let driven = lane.drive(&mut taken, cx);
            let target = Target::Link(lane.link);
            all.extend((taken > 0).then_some((target, taken)));
            refused.extend((driven == Driven::Refused).then_some(target));
            any |= taken > 0 || driven != Driven::Waits;
            driven == Driven::Waits
        });
        if let Some(local) = &mut self.local {
            let over = local.poll(cx).is_ready();
            let taken = local.taken();
            all.extend((taken > 0).then_some((Target::Local, taken)));
            if over {
                refused.push(Target::Local);
                self.local = None;
            }
            any |= taken > 0 || over;
        }
        if !all.is_empty() {
            link.taken(id, all);
            all.clear();
        }
        for target in refused.drain(..) {
            link.target_stopped(id, target);
        }
        if any {
            link.drain(Some(id));
        }
        any
    }

    /// Nothing is left to do. What came whole before its set did waits for that.
    fn is_over(&self) -> bool {
        let idle = self.pieces.is_empty() && self.lanes.is_empty() && self.local.is_none();
        self.source.is_none() && idle && !self.link.waits(self.id)
    }
}

impl Future for Flow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let flow = &mut *self;
        flow.slot.waker.keep(cx.waker());
        for _ in 0..ROUNDS {
            let read = flow.read(cx);
            let acted = flow.act();
            let wrote = flow.write(cx);
            if !(read || acted || wrote) {
                flow.link.arm();
                if flow.is_over() {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        flow.link.arm();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.link.forget(self.id);
    }
}
