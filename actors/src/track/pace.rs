//! How far a publisher of this process is ahead of those who take its objects.
//!
//! Each subscription counts for itself: a publisher that moves is read in two sessions for a while, and what the faster
//! one has is not what the slower one has. The log would drop what the slowest lacks, so the slowest sets the pace.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use tokio::sync::Notify;

/// The pace of one log. A relay's own logs have no writer that waits, and so no cost of telling.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes of payload that the writer has counted.
    written: Cell<u64>,
    /// What of them counts as taken while nobody takes.
    settled: Cell<u64>,
    takers: RefCell<BTreeMap<u64, Rc<Count>>>,
    next: Cell<u64>,
    waited: Cell<bool>,
    more: Notify,
}

/// What one subscription has taken.
#[derive(Debug)]
struct Count {
    /// Where it is in what was written.
    taken: Cell<u64>,
    /// Streams that carry some of it and are not closed.
    streams: Cell<usize>,
}

/// How far the slowest is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Bytes of payload that were written and not taken.
    pub bytes: u64,
    /// Streams that are not closed.
    pub streams: usize,
}

/// One subscription that takes from a log. Dropped, it counts no more.
#[derive(Debug)]
pub struct Taker {
    pace: Rc<Pace>,
    number: u64,
    count: Rc<Count>,
}

impl Pace {
    /// Somebody takes from here on.
    pub(super) fn join(self: &Rc<Self>) -> Taker {
        let mut takers = self.takers.borrow_mut();
        // The first one takes what was written since somebody was wanted; another one begins at the live edge.
        let taken = if takers.is_empty() {
            self.settled.get()
        } else {
            self.written.get()
        };
        let count = Rc::new(Count {
            taken: Cell::new(taken),
            streams: Cell::new(0),
        });
        let number = self.next.get();
        self.next.set(number + 1);
        takers.insert(number, Rc::clone(&count));
        Taker {
            pace: Rc::clone(self),
            number,
            count,
        }
    }

    /// So much more is written. Said ahead of the writing, lest one who joins in between lacks it for ever.
    pub(super) fn wrote(&self, bytes: u64) {
        self.written.set(self.written.get() + bytes);
    }

    /// What is not taken yet counts as taken, since nobody waits for it.
    pub(super) fn forgive(&self) {
        let written = self.written.get();
        self.settled.set(written);
        for count in self.takers.borrow().values() {
            count.taken.set(written);
        }
    }

    pub(super) fn behind(&self) -> Behind {
        let written = self.written.get();
        let takers = self.takers.borrow();
        if takers.is_empty() {
            return Behind {
                bytes: written.saturating_sub(self.settled.get()),
                streams: 0,
            };
        }
        let mut slowest = Behind::default();
        for count in takers.values() {
            // One that began before the live edge, or was forgiven, takes more than was counted for it.
            let taken = count.taken.get().min(written);
            count.taken.set(taken);
            slowest.bytes = slowest.bytes.max(written - taken);
            slowest.streams = slowest.streams.max(count.streams.get());
        }
        slowest
    }

    /// Resolves when [`Self::behind`] is no longer `before`.
    pub(super) async fn changed(&self, before: Behind) {
        loop {
            let more = self.more.notified();
            if self.behind() != before {
                return;
            }
            self.waited.set(true);
            more.await;
        }
    }

    fn tell(&self) {
        if self.waited.take() {
            self.more.notify_waiters();
        }
    }
}

impl Taker {
    /// A stream of it begins.
    pub fn stream_begins(&self) {
        self.count.streams.set(self.count.streams.get() + 1);
    }

    /// A stream of it is closed: delivered, or given up.
    pub fn stream_ends(&self) {
        self.count.streams.set(self.count.streams.get().saturating_sub(1));
        self.pace.tell();
    }

    /// It took so many bytes of payload.
    pub fn took(&self, bytes: usize) {
        if bytes > 0 {
            self.count.taken.set(self.count.taken.get() + bytes as u64);
            self.pace.tell();
        }
    }

    /// It will take so many of them again.
    pub fn gave_back(&self, bytes: usize) {
        self.count
            .taken
            .set(self.count.taken.get().saturating_sub(bytes as u64));
    }

    /// Whether it takes from the log with this pace.
    pub(super) fn is_of(&self, pace: &Rc<Pace>) -> bool {
        Rc::ptr_eq(&self.pace, pace)
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Also while a panic unwinds, so it cannot fail.
        if let Ok(mut takers) = self.pace.takers.try_borrow_mut() {
            takers.remove(&self.number);
            if takers.is_empty() {
                self.pace.settled.set(self.pace.written.get());
            }
        }
        self.pace.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pace: &Pace) -> u64 {
        pace.behind().bytes
    }

    #[test]
    fn the_slowest_sets_the_pace() {
        let pace = Rc::<Pace>::default();
        pace.wrote(10);
        assert_eq!(bytes(&pace), 10, "nobody has it");
        let old = pace.join();
        assert_eq!(bytes(&pace), 10, "the first one is to take it");
        old.took(4);
        assert_eq!(bytes(&pace), 6);
        let new = pace.join();
        assert_eq!(bytes(&pace), 6, "another one lacks nothing that was before it");
        pace.wrote(100);
        old.took(106);
        assert_eq!(bytes(&pace), 100, "what the other has does not count");
        new.took(70);
        assert_eq!(bytes(&pace), 30);
        drop(new);
        assert_eq!(bytes(&pace), 0);
        pace.wrote(5);
        drop(old);
        assert_eq!(bytes(&pace), 0, "nobody is left to take it");
    }

    #[test]
    fn streams_count_for_each() {
        let pace = Rc::<Pace>::default();
        let (old, new) = (pace.join(), pace.join());
        for taker in [&old, &new] {
            taker.stream_begins();
            taker.stream_begins();
        }
        assert_eq!(pace.behind().streams, 2);
        old.stream_ends();
        assert_eq!(pace.behind().streams, 2);
        new.stream_ends();
        assert_eq!(pace.behind().streams, 1);
    }

    #[test]
    fn who_takes_more_than_counted_is_not_ahead() {
        let pace = Rc::<Pace>::default();
        let taker = pace.join();
        pace.wrote(10);
        pace.forgive();
        taker.took(10);
        assert_eq!(bytes(&pace), 0);
        pace.wrote(3);
        assert_eq!(bytes(&pace), 3);
    }

    #[actix_rt::test]
    async fn who_waits_is_told() {
        let pace = Rc::<Pace>::default();
        let (slow, fast) = (pace.join(), pace.join());
        pace.wrote(10);
        let before = pace.behind();
        let waits = {
            let pace = Rc::clone(&pace);
            actix_rt::spawn(async move { pace.changed(before).await })
        };
        tokio::task::yield_now().await;
        fast.took(10);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "the slowest is where it was");
        drop(slow);
        waits.await.unwrap();
        assert_eq!(bytes(&pace), 0);
    }

    /// A guard that cannot look is let go: a panic here would be the second one of a thread that unwinds.
    #[test]
    fn a_taker_may_go_at_any_time() {
        let pace = Rc::<Pace>::default();
        let taker = pace.join();
        let inside = pace.takers.borrow();
        drop(taker);
        drop(inside);
    }
}
