//! The session's writer: one task that owns every downstream stream of subscriptions, and gives leave to those who
//! write others.
//!
//! Each stream is a `Lane` with a waker of its own, so the writer never scans streams that have nothing to do, and a
//! stream that waits for credit keeps nobody waiting. A lane that has something to send queues up at the `Gate`, which
//! lets the first in the order of MOQT-14 §7.2 write as soon as the stack needs more (decision 0016).

mod gate;
mod heads;
mod lane;
mod openers;
mod pieces;
mod rank;
mod running;
mod streams;
#[cfg(test)]
mod tests;
mod waker;

pub use gate::{SendPolicy, Ticket};
pub use heads::Heads;
pub use lane::LaneSpec;
pub use rank::Rank;
pub use streams::{LanesChanged, Streams};
pub(crate) use {openers::Opener, waker::KeptWaker};

use crate::supervise::FaultPoint;
use crate::transport::{ConnError, ConnHandle, SendGuard};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gate::Gate;
use lane::Lane;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use openers::Openers;
use running::Running;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

struct Shared {
    incoming: RefCell<Vec<Lane>>,
    gate: Rc<Gate>,
    openers: Rc<Openers>,
    closed: Cell<bool>,
}

/// The handle by which subscriptions give lanes to the writer. Clones share it.
#[derive(Clone)]
pub struct Egress {
    shared: Rc<Shared>,
    conn: ConnHandle,
    codec: Codec,
}

/// Tells whose writer it is when it ends before it was asked to: without it nothing is sent, and nothing else would show
/// that.
struct Watch<F: FnOnce(DecodeError)> {
    shared: Rc<Shared>,
    failed: Option<F>,
}

impl<F: FnOnce(DecodeError)> Drop for Watch<F> {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take().filter(|_| !self.shared.closed.get()) {
            let why = "the session's writer failed in the relay";
            failed(DecodeError::with_code(
                CloseCode::InternalError,
                why,
                "MOQT-14 §3.4",
            ));
        }
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress")
            .field("closed", &self.shared.closed.get())
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// The writer of one session and the task to run it.
    #[must_use]
    pub fn new(conn: ConnHandle, codec: Codec, policy: SendPolicy) -> Self {
        Self {
            shared: Rc::new(Shared {
                incoming: RefCell::default(),
                gate: Rc::new(Gate::new(conn.clone(), policy)),
                openers: Rc::new(Openers::new(conn.clone())),
                closed: Cell::default(),
            }),
            conn,
            codec,
        }
    }

    /// Gives the writer a stream to write.
    pub fn open_lane(&self, spec: LaneSpec, streams: &Rc<Streams>) {
        if self.shared.closed.get() {
            return;
        }
        let (conn, opener) = (self.conn.clone(), self.shared.openers.opener());
        let lane = Lane::new(spec, self.codec, conn, opener, Rc::clone(streams));
        self.shared.incoming.borrow_mut().push(lane);
        self.shared.gate.wake_writer();
    }

    /// Opens a stream that is no lane, waiting while the peer grants none.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn open_uni(&self) -> Result<SendGuard, ConnError> {
        let opener = self.shared.openers.opener();
        poll_fn(|cx| opener.poll_open(cx)).await
    }

    /// A place among those who wait for the peer to grant a stream, for one that is no lane.
    pub(crate) fn opener(&self) -> Opener {
        self.shared.openers.opener()
    }

    /// A place for one that writes on a stream that is no lane. Dropped, it gives back its turn.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.shared.gate.ticket()
    }

    /// Runs until [`Egress::close`]. Dropped or panicking, it resets every open stream and calls `failed`, which must not
    /// panic.
    pub async fn run(self, failed: impl FnOnce(DecodeError), fault: FaultPoint) {
        let watch = Watch {
            shared: Rc::clone(&self.shared),
            failed: Some(failed),
        };
        let (mut lanes, gate) = (FuturesUnordered::<Running>::new(), &self.shared.gate);
        poll_fn(|cx| {
            if self.shared.closed.get() {
                return Poll::Ready(());
            }
            fault.check();
            gate.keep_writer(cx);
            self.shared.openers.look(cx);
            lanes.extend(self.shared.incoming.take().into_iter().map(|lane| lane.at(gate)));
            // First all that were woken queue up, then the first of them all write.
            loop {
                while let Poll::Ready(Some(())) = lanes.poll_next_unpin(cx) {}
                if !gate.serve(cx) {
                    return Poll::Pending;
                }
            }
        })
        .await;
        drop(watch);
    }

    /// Ends the writer; what is open is reset.
    pub fn close(&self) {
        self.shared.closed.set(true);
        // The session calls it as it is dropped, so it cannot fail.
        let left = self.shared.incoming.try_borrow_mut();
        drop(left.map(|mut left| std::mem::take(&mut *left)));
        self.shared.gate.wake_writer();
    }
}
