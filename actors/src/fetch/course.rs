//! How far a FETCH has come, kept by its owner: a fresh actor goes on where the one before it failed.
//!
//! MOQT-14 §9.16.3 [D14-FETCH-1] gives a FETCH one stream, so nothing can be begun again once it is open. Each step
//! therefore leaves a place to go on from: what comes next is taken in, encoded and written in turn, and is given up
//! at one place only when the next has it. A panic between two steps loses nothing and repeats nothing (decision 0027).

use super::serve::Hold;
use crate::metrics::{Count, tally};
use crate::supervise::mailbox::AskError;
use crate::track::PastOpened;
use crate::transport::SendGuard;
use bytes::Bytes;
use laps_protocol::relay::fetch::{Batch, Chunk, Settled, Then};
use laps_protocol::relay::scheduler::SendOrder;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A batch on its way from the track: the track has moved on, so it must not be lost with who asked for it.
type Asked = Pin<Box<dyn Future<Output = Result<Batch, AskError>>>>;

/// The one stream of a response and what is encoded for it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) stream: SendGuard,
    /// What comes next on it; what was written is no longer here.
    pub(super) out: Vec<Bytes>,
    /// Where that stands among all that the owner sends; none before the first object.
    pub(super) order: Option<SendOrder>,
    /// By which code it is reset when a write fails in the midst.
    pub(super) torn_code: u64,
}

#[derive(Debug, Default)]
enum Way {
    /// No object to send has come yet.
    #[default]
    Unopened,
    Open(Box<Line>),
    /// Somebody writes on it.
    Lent,
    /// It is gone, and with it all that could be said on it.
    Torn,
}

/// The response to one FETCH, as far as it has come. Dropped early, it resets its stream.
#[derive(Default)]
pub struct Course {
    place: RefCell<Option<(Hold, PastOpened)>>,
    asked: RefCell<Option<Asked>>,
    /// Taken from the track and not encoded.
    chunks: RefCell<VecDeque<Chunk>>,
    then: Cell<Option<Then>>,
    settled: Cell<Option<Settled>>,
    any: Cell<bool>,
    answered: Cell<bool>,
    over: Cell<bool>,
    /// FIN was said.
    finished: Cell<bool>,
    way: RefCell<Way>,
}

impl std::fmt::Debug for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Course")
            .field("answered", &self.answered)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Course {
    /// The track is found, and a place at it taken.
    pub(super) fn begin(&self, hold: Hold, opened: PastOpened) {
        *self.place.borrow_mut() = Some((hold, opened));
    }

    /// A place at the track was taken.
    pub(super) fn has_begun(&self) -> bool {
        self.place.borrow().is_some()
    }

    /// What the track said when the place was taken.
    pub(super) fn opened(&self) -> PastOpened {
        self.place
            .borrow()
            .as_ref()
            .map_or_else(PastOpened::default, |(_, opened)| *opened)
    }

    /// Waits for the next batch: the one that is on its way, or one that `ask` asks for.
    pub(super) fn poll_batch(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&Hold) -> Asked,
    ) -> Poll<Result<(), AskError>> {
        let mut asked = self.asked.borrow_mut();
        let coming = match (&mut *asked, &*self.place.borrow()) {
            (Some(coming), _) => coming,
            (none @ None, Some((hold, _))) => none.insert(ask(hold)),
            (None, None) => return Poll::Ready(Err(AskError::MailboxClosed)),
        };
        let answer = ready!(coming.as_mut().poll(cx));
        *asked = None;
        Poll::Ready(answer.map(|batch| self.take_in(batch)))
    }

    fn take_in(&self, batch: Batch) {
        if batch.settled.is_some() {
            self.settled.set(batch.settled);
        }
        self.any.set(self.any.get() || !batch.chunks.is_empty());
        self.then.set(Some(batch.then));
        self.chunks.borrow_mut().extend(batch.chunks);
    }

    /// What follows what was taken in; none before the first batch.
    pub(super) fn then(&self) -> Option<Then> {
        self.then.get()
    }

    /// What FETCH_OK says, once it can be said and until it was. MOQT-14 §9.17 [D14-FETCH-2] [D14-FETCH-7]
    pub(super) fn to_accept(&self) -> Option<Settled> {
        self.settled
            .get()
            .filter(|_| self.any.get() && !self.answered.get())
    }

    /// The peer was answered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
    }

    /// The peer was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// It ended as it should, well or not: the owner was told.
    pub(super) fn end(&self) {
        self.over.set(true);
    }

    /// It ended as it should, well or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// A write failed in the midst: nobody can say what the peer has, so nothing can go on.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        matches!(&*self.way.borrow(), Way::Torn)
    }

    /// There is nothing to encode.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.borrow().is_empty()
    }

    /// The stream is not open yet.
    pub(super) fn is_unopened(&self) -> bool {
        matches!(&*self.way.borrow(), Way::Unopened)
    }

    /// The stream is open.
    pub(super) fn open(&self, line: Line) {
        *self.way.borrow_mut() = Way::Open(Box::new(line));
    }

    /// Encodes what comes next, in its order; false when nothing is left, or when that has another order than what
    /// waits to be written.
    pub(super) fn encode<E>(
        &self,
        encoded: impl FnOnce(&Chunk) -> Result<(Option<SendOrder>, Bytes), E>,
    ) -> Result<bool, E> {
        let (mut chunks, mut way) = (self.chunks.borrow_mut(), self.way.borrow_mut());
        let (Some(chunk), Way::Open(line)) = (chunks.front(), &mut *way) else {
            return Ok(false);
        };
        let (order, bytes) = encoded(chunk)?;
        if order.is_some_and(|order| line.order.is_some_and(|before| before != order)) && !line.out.is_empty()
        {
            return Ok(false);
        }
        // Nothing between the two fails.
        line.order = order.or(line.order);
        line.out.push(bytes);
        match chunks.pop_front() {
            Some(Chunk::Object { .. }) => tally::count(Count::FetchObjectsOut, 1),
            Some(Chunk::Payload(payload)) => tally::count(Count::FetchBytesOut, payload.len() as u64),
            None => {}
        }
        Ok(true)
    }

    /// The stream, to write on; it comes back when that is dropped. None when there is none.
    pub(super) fn lend(&self) -> Option<Lent<'_>> {
        let mut way = self.way.borrow_mut();
        match std::mem::replace(&mut *way, Way::Lent) {
            Way::Open(line) => Some(Lent {
                course: self,
                line: Some(line),
                writing: Cell::new(false),
            }),
            other @ (Way::Unopened | Way::Lent | Way::Torn) => {
                *way = other;
                None
            }
        }
    }

    /// FIN was said: the rest is the transport's.
    pub(super) fn finished(&self) {
        self.finished.set(true);
    }

    /// Resets the stream, if there is one that was not finished.
    pub fn reset(&self, code: u64) {
        if self.finished.get() {
            return;
        }
        let Ok(mut way) = self.way.try_borrow_mut() else {
            return;
        };
        if let Way::Open(mut line) = std::mem::replace(&mut *way, Way::Torn) {
            line.stream.reset(code);
        }
    }
}

/// The stream, as long as somebody writes on it.
pub(super) struct Lent<'a> {
    course: &'a Course,
    line: Option<Box<Line>>,
    writing: Cell<bool>,
}

impl Lent<'_> {
    /// Runs one step of a write. Unless it comes back, nobody knows what of it was written.
    pub(super) fn step<T>(&mut self, step: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let line = self.line.as_mut()?;
        self.writing.set(true);
        let done = step(line);
        self.writing.set(false);
        Some(done)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // Runs while a panic unwinds, so nothing here may panic. A course that cannot be borrowed loses its stream,
        // which is reset as it is dropped.
        let Some(mut line) = self.line.take() else {
            return;
        };
        let torn = self.writing.get();
        if torn {
            // MOQT-14 §9.16.3 [D14-FETCH-5] [D14-FETCH-6]: never a FIN, which would say that nothing is missing.
            line.stream.reset(line.torn_code);
        }
        if let Ok(mut way) = self.course.way.try_borrow_mut() {
            *way = if torn { Way::Torn } else { Way::Open(line) };
        }
    }
}
