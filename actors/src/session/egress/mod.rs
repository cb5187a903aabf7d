//! The session's writer: one task that owns every downstream stream.
//!
//! Each stream is a [`lane::Lane`] with a waker of its own, so the writer never scans streams that have nothing to
//! do, and a stream that waits for credit keeps nobody waiting.

mod lane;
mod streams;
mod waker;

pub use lane::LaneSpec;
pub use streams::{LanesChanged, Streams};

use crate::transport::ConnHandle;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lane::Lane;
use laps_protocol::moqt::codec::Codec;
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

    /// Runs until [`Egress::close`]. Dropped or panicking, it resets every open stream.
    pub async fn run(self) {
        let mut lanes = FuturesUnordered::new();
        poll_fn(|cx| {
            if self.shared.closed.get() {
                return Poll::Ready(());
            }
            self.shared.waker.keep(cx.waker());
            for lane in self.shared.incoming.take() {
                lanes.push(lane);
            }
            while let Poll::Ready(Some(())) = lanes.poll_next_unpin(cx) {}
            Poll::Pending
        })
        .await;
    }

    /// Ends the writer; what is open is reset.
    pub fn close(&self) {
        self.shared.closed.set(true);
        let left = self.shared.incoming.take();
        drop(left);
        self.shared.waker.wake();
    }
}
