//! The waker of one task, kept for as long as the task stays the same.

use std::cell::RefCell;
use std::task::Waker;

/// Whom to wake. Keeping the same waker again costs no clone, and waking does not give it up: both happen for every
/// object and subscriber.
#[derive(Debug, Default)]
pub(super) struct KeptWaker(RefCell<Option<Waker>>);

impl KeptWaker {
    /// From now on `waker` is woken.
    pub(super) fn keep(&self, waker: &Waker) {
        let mut kept = self.0.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }

    /// Who is woken, if anybody is yet.
    pub(super) fn current(&self) -> Option<Waker> {
        self.0.borrow().clone()
    }

    /// Wakes whoever was kept last.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.0.borrow() {
            waker.wake_by_ref();
        }
    }
}
