//! The session's writer: one task that owns every downstream stream.
//!
//! Each stream is a `Lane` with a waker of its own, so the writer never scans streams that have nothing to
//! do, and a stream that waits for credit keeps nobody waiting.

mod lane;
mod streams;
mod waker;

pub use lane::LaneSpec;
pub use streams::{LanesChanged, Streams};

use super::Breach;
use crate::supervise::Faults;
use crate::supervise::mailbox;
use crate::transport::ConnHandle;
use actix::Recipient;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lane::Lane;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use waker::KeptWaker;

#[derive(Default)]
struct Shared {
    incoming: RefCell<Vec<Lane>>,
    waker: KeptWaker,
    closed: Cell<bool>,
}

/// The handle by which subscriptions give lanes to the writer. Clones share it.
#[derive(Clone)]
pub struct Egress {
    shared: Rc<Shared>,
    conn: ConnHandle,
    codec: Codec,
}

/// Tells the session when the writer ends before it was asked to: without it nothing is sent, and nothing else would
/// show that.
struct Watch {
    shared: Rc<Shared>,
    session: Recipient<Breach>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.shared.closed.get() {
            let why = "the session's writer failed in the relay";
            let error = DecodeError::with_code(CloseCode::InternalError, why, "MOQT-14 §3.4");
            mailbox::signal(&self.session, Breach(error));
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
    pub fn new(conn: ConnHandle, codec: Codec) -> Self {
        Self {
            shared: Rc::default(),
            conn,
            codec,
        }
    }

    /// Gives the writer a stream to write.
    pub fn open_lane(&self, spec: LaneSpec, streams: &Rc<Streams>) {
        if self.shared.closed.get() {
            return;
        }
        let lane = Lane::new(spec, self.codec, self.conn.clone(), Rc::clone(streams));
        self.shared.incoming.borrow_mut().push(lane);
        self.shared.waker.wake();
    }

    /// Runs until [`Egress::close`]. Dropped or panicking, it resets every open stream and tells `session`.
    pub async fn run(self, session: Recipient<Breach>, faults: Faults) {
        let watch = Watch {
            shared: Rc::clone(&self.shared),
            session,
        };
        let (mut lanes, mut stops) = (FuturesUnordered::<Lane>::new(), 0);
        poll_fn(|cx| {
            if self.shared.closed.get() {
                return Poll::Ready(());
            }
            faults.check("egress");
            self.shared.waker.keep(cx.waker());
            if !self.shared.incoming.borrow().is_empty() {
                lanes.extend(self.shared.incoming.take());
            }
            if let Poll::Ready(seen) = self.conn.stats().poll_stops(stops, cx)
                && seen > stops
            {
                stops = seen;
                lanes.iter().for_each(Lane::look_for_stop);
            }
            while let Poll::Ready(Some(())) = lanes.poll_next_unpin(cx) {}
            Poll::Pending
        })
        .await;
        drop(watch);
    }

    /// Ends the writer; what is open is reset.
    pub fn close(&self) {
        self.shared.closed.set(true);
        let left = self.shared.incoming.take();
        drop(left);
        self.shared.waker.wake();
    }
}
