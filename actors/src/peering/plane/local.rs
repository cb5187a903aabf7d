//! The part of a stream that is this relay's own: its pieces go to the reader of MOQT's bytes, in the same task.

use crate::session::ingress::{Feed, Ingress};
use crate::transport::{Received, StreamError};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, poll_fn};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What waits for the reader. The pipeline that fills it bounds it.
#[derive(Debug, Default)]
struct Queue {
    pieces: RefCell<VecDeque<Bytes>>,
    end: Cell<Option<End>>,
    /// Bytes that were taken since somebody asked.
    taken: Cell<u64>,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Fin,
    Reset(u64),
}

/// The reading end.
#[derive(Debug)]
struct Pieces(Rc<Queue>);

/// A stream that is read here. Dropped, it ends for its track by a reset.
pub(super) struct Local {
    queue: Rc<Queue>,
    reader: LocalBoxFuture<'static, ()>,
}

impl Local {
    /// Begins to read with this, once it is polled.
    pub(super) fn new(ingress: Ingress) -> Self {
        let queue = Rc::<Queue>::default();
        let reader = ingress.run(Pieces(Rc::clone(&queue)), Bytes::new());
        Self {
            queue,
            reader: reader.boxed_local(),
        }
    }

    /// More of it. Whoever gives it polls afterwards.
    pub(super) fn push(&self, piece: Bytes) {
        if !piece.is_empty() {
            self.queue.pieces.borrow_mut().push_back(piece);
        }
    }

    pub(super) fn finish(&self) {
        self.queue.end.set(Some(End::Fin));
    }

    pub(super) fn reset(&self, code: u64) {
        self.queue.end.set(Some(End::Reset(code)));
    }

    /// Lets the reader read. Ready when it wants no more, or has all.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.poll_unpin(cx)
    }

    /// Whether there is something that the reader has not taken.
    pub(super) fn has_unread(&self) -> bool {
        !self.queue.pieces.borrow().is_empty()
    }

    /// Bytes that the reader has taken since this was asked last.
    pub(super) fn taken(&self) -> u64 {
        self.queue.taken.take()
    }
}

impl Feed for Pieces {
    async fn take(&mut self, places: &mut [Bytes]) -> Result<Received, StreamError> {
        // Whoever gives pieces polls this next, so nobody has to be woken.
        poll_fn(|_| self.poll_take(places)).await
    }

    fn stop(&mut self, _: u64) {
        // That the reader ends says so; what the peer is told depends on the other targets.
    }
}

impl Pieces {
    fn poll_take(&self, places: &mut [Bytes]) -> Poll<Result<Received, StreamError>> {
        let mut pieces = self.0.pieces.borrow_mut();
        let mut chunks = 0;
        for place in places.iter_mut() {
            let Some(piece) = pieces.pop_front() else { break };
            self.0.taken.set(self.0.taken.get() + piece.len() as u64);
            *place = piece;
            chunks += 1;
        }
        let end = self.0.end.get().filter(|_| pieces.is_empty());
        match end {
            Some(End::Fin) => Poll::Ready(Ok(Received { chunks, fin: true })),
            // What came before the reset comes before it here.
            Some(End::Reset(code)) if chunks == 0 => Poll::Ready(Err(StreamError::Reset { code })),
            _ if chunks > 0 => Poll::Ready(Ok(Received { chunks, fin: false })),
            _ => Poll::Pending,
        }
    }
}
