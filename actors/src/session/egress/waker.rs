//! The waker of one task, kept for as long as the task stays the same.

use std::cell::RefCell;
use std::task::Waker;

/// Whom to wake. Keeping the same waker again costs no clone, and waking does not give it up: both happen for every
/// object and subscriber.
#[derive(Debug, Default)]
pub(crate) struct KeptWaker(RefCell<Option<Waker>>);

impl KeptWaker {
    /// From now on `waker` is woken.
    pub(crate) fn keep(&self, waker: &Waker) {
        let known = |kept: &Waker| kept.will_wake(waker);
        if !self.0.borrow().as_ref().is_some_and(known) {
            // What a waker that is dropped does is not ours to know: nothing is borrowed by then.
            drop(self.0.replace(Some(waker.clone())));
        }
    }

    /// Who is woken, if anybody is yet.
    pub(crate) fn current(&self) -> Option<Waker> {
        self.0.borrow().clone()
    }

    /// Wakes whoever was kept last. Guards call it as they are dropped, so it cannot fail.
    pub(crate) fn wake(&self) {
        if let Ok(kept) = self.0.try_borrow()
            && let Some(waker) = &*kept
        {
            waker.wake_by_ref();
        }
    }
}
