//! What became of the messages of this process.
//!
//! One set for the process, because a mailbox verb is a plain function with no owner to count for. The numbers
//! only grow; a reader compares two snapshots.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows. Relaxed, because nothing is decided by it.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The live counters behind [`snapshot`].
pub(super) struct Counters {
    pub(super) asked: Counter,
    pub(super) ask_expired: Counter,
    pub(super) ask_closed: Counter,
    pub(super) offered: Counter,
    pub(super) offer_full: Counter,
    pub(super) offer_closed: Counter,
    pub(super) woken: Counter,
    pub(super) wake_coalesced: Counter,
    pub(super) wake_closed: Counter,
    pub(super) notified: Counter,
    pub(super) notify_closed: Counter,
}

/// The process's counters.
pub(super) static COUNTERS: Counters = Counters {
    asked: Counter::new(),
    ask_expired: Counter::new(),
    ask_closed: Counter::new(),
    offered: Counter::new(),
    offer_full: Counter::new(),
    offer_closed: Counter::new(),
    woken: Counter::new(),
    wake_coalesced: Counter::new(),
    wake_closed: Counter::new(),
    notified: Counter::new(),
    notify_closed: Counter::new(),
};

/// What the verbs of [`super::mailbox`] did since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests made with `ask`.
    pub asked: u64,
    /// Requests whose deadline passed before the answer came.
    pub ask_expired: u64,
    /// Requests whose receiver was gone, or went away without answering.
    pub ask_closed: u64,
    /// Messages that `offer` placed in a mailbox.
    pub offered: u64,
    /// Messages that `offer` handed back because the mailbox was full.
    pub offer_full: u64,
    /// Messages that `offer` handed back because the receiver was gone.
    pub offer_closed: u64,
    /// Wake-ups that became a message.
    pub woken: u64,
    /// Wake-ups that needed no message because one was still waiting to be read.
    pub wake_coalesced: u64,
    /// Wake-ups for a receiver that was gone.
    pub wake_closed: u64,
    /// Life-cycle messages sent.
    pub notified: u64,
    /// Life-cycle messages whose receiver was gone.
    pub notify_closed: u64,
}

/// The counters as they stand. Each is exact; together they are not one instant.
#[must_use]
pub fn snapshot() -> Snapshot {
    Snapshot {
        asked: COUNTERS.asked.get(),
        ask_expired: COUNTERS.ask_expired.get(),
        ask_closed: COUNTERS.ask_closed.get(),
        offered: COUNTERS.offered.get(),
        offer_full: COUNTERS.offer_full.get(),
        offer_closed: COUNTERS.offer_closed.get(),
        woken: COUNTERS.woken.get(),
        wake_coalesced: COUNTERS.wake_coalesced.get(),
        wake_closed: COUNTERS.wake_closed.get(),
        notified: COUNTERS.notified.get(),
        notify_closed: COUNTERS.notify_closed.get(),
    }
}
