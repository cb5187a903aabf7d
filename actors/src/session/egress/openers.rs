//! Who waits for the peer to grant a stream.
//!
//! The stack wakes as many of those who asked as it has streams for, in the order in which they asked. One that does not
//! want its stream any more takes the turn of another, who then waits for a grant that may never come; and whoever asked
//! first goes first, urgent or not. So the stack hears of one asker in each session, and all who wait are woken with it:
//! who is first among them is for the gate to say.

use crate::transport::{ConnError, ConnHandle, SendGuard};
use futures::task::AtomicWaker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// All who wait in one session.
pub(super) struct Openers {
    /// The one that asks.
    conn: RefCell<ConnHandle>,
    granted: Arc<Granted>,
    waker: Waker,
    waiting: RefCell<HashMap<u64, Waker>>,
    next: Cell<u64>,
}

/// What the stack wakes.
#[derive(Debug, Default)]
struct Granted {
    /// The peer granted nothing when somebody last asked, and has granted nothing since.
    none_left: AtomicBool,
    writer: AtomicWaker,
}

impl Wake for Granted {
    fn wake(self: Arc<Self>) {
        self.none_left.store(false, Ordering::Release);
        self.writer.wake();
    }
}

/// One who opens a stream. Dropped, it waits no more.
pub(crate) struct Opener {
    openers: Rc<Openers>,
    number: u64,
}

impl Openers {
    pub(super) fn new(conn: ConnHandle) -> Self {
        let granted = Arc::<Granted>::default();
        Self {
            conn: RefCell::new(conn),
            waker: Waker::from(Arc::clone(&granted)),
            granted,
            waiting: RefCell::default(),
            next: Cell::default(),
        }
    }

    /// One more who may open a stream.
    pub(super) fn opener(self: &Rc<Self>) -> Opener {
        let number = self.next.get();
        self.next.set(number + 1);
        Opener {
            openers: Rc::clone(self),
            number,
        }
    }

    /// Wakes all who wait if the peer has granted something. The writer's task looks here each time that it runs, and is
    /// run for it.
    pub(super) fn look(&self, cx: &Context<'_>) {
        self.granted.writer.register(cx.waker());
        if !self.granted.none_left.load(Ordering::Acquire) {
            let waiting = self.waiting.take();
            waiting.into_values().for_each(Waker::wake);
        }
    }
}

impl Opener {
    /// Waits as long as it is known that the peer grants nothing: who has to make ready for a stream asks here first.
    pub(super) fn poll_may_open(&self, cx: &Context<'_>) -> Poll<()> {
        if self.openers.granted.none_left.load(Ordering::Acquire) {
            self.wait(cx);
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// Opens a stream, waiting while the peer grants none.
    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> Poll<Result<SendGuard, ConnError>> {
        let Openers {
            conn, granted, waker, ..
        } = &*self.openers;
        let polled = conn.borrow_mut().poll_open_uni(&mut Context::from_waker(waker));
        if polled.is_pending() {
            granted.none_left.store(true, Ordering::Release);
            self.wait(cx);
        }
        polled
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.openers.waiting.borrow_mut();
        waiting.insert(self.number, cx.waker().clone());
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        // Also while a panic unwinds, so it cannot fail. What is taken out is dropped when nothing is borrowed.
        let waiting = self.openers.waiting.try_borrow_mut();
        let gone = waiting.map(|mut waiting| waiting.remove(&self.number));
        drop(gone);
    }
}
