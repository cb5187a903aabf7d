//! What all logs of the process may keep together.
//!
//! ```text
//! [any shard] LogOwner.write ──▶ TrackLog            the change of its bytes goes to the shared counter
//!                            ──▶ relieve             over the limit: the largest logs of this shard give up
//! ```
//!
//! Each log has a budget of its own beside this one. A shard evicts only from its own logs, since no other thread may
//! touch them; a shard that holds much and writes nothing loses it by age.

use super::handle;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The limit, and what counts towards it.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    /// What holds for now, `max` or less.
    limit: AtomicUsize,
    used: AtomicUsize,
    given_up: AtomicU64,
}

impl Budget {
    /// At most `max` bytes, as [`TrackLog::bytes`](laps_protocol::relay::track_log::TrackLog::bytes) counts them.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self {
            max,
            limit: AtomicUsize::new(max),
            used: AtomicUsize::new(0),
            given_up: AtomicU64::new(0),
        }
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The limit that holds for now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Keeps at most `limit` bytes from here on, and never more than [`max`](Self::max); what is too much, the logs of
    /// this arbiter give up at once, but for what came within [`LATEST`]: between the limit and the maximum nobody who
    /// keeps up is to lose anything.
    pub(crate) fn keep(&self, limit: usize) {
        self.limit.store(limit.min(self.max), Ordering::Relaxed);
        // What was too new the last time may be old by now.
        IN_VAIN.set(0);
        self.relieve();
    }

    /// Bytes that all logs keep now. Replicas count without the payload that they share with the home copy.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that logs within their own limits gave up for the sake of this one.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// A log that counted `before` counts `after`.
    pub(super) fn count(&self, before: usize, after: usize) {
        if after > before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// The least that is freed at a time, so that looking for the largest log costs little per byte.
    const fn step(&self) -> usize {
        self.max / 64 + 1
    }

    /// Lets the logs of this arbiter give up what is too much, the largest first. What cannot be evicted (the newest
    /// groups, where they are open) stays, so the process may exceed the limit by that.
    pub(super) fn relieve(&self) {
        let (used, limit) = (self.used(), self.limit());
        if used <= limit || (IN_VAIN.get() > limit && used < IN_VAIN.get().saturating_add(self.step())) {
            return;
        }
        let wanted = (used - limit).max(self.step());
        let spared = Instant::now().checked_sub(LATEST).filter(|_| used <= self.max);
        let freed = handle::give_up(self, wanted, spared);
        self.given_up.fetch_add(freed as u64, Ordering::Relaxed);
        // Where little can be freed, looking again with every object would cost more than it brings.
        IN_VAIN.set(if freed < self.step() { self.used() } else { 0 });
    }
}

/// What is kept beside a log, and counts towards the limit like what is in it.
#[derive(Debug)]
pub(super) struct Aside {
    budget: Arc<Budget>,
    counted: usize,
}

impl Aside {
    /// Nothing yet.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            counted: 0,
        }
    }

    /// It is so many bytes now.
    pub(super) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.counted, bytes);
        self.budget.count(before, bytes);
        if bytes > before {
            self.budget.relieve();
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.budget.count(self.counted, 0);
    }
}

impl Default for Budget {
    /// No limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

/// What readers who keep up are in the midst of.
const LATEST: Duration = Duration::from_secs(2);

thread_local! {
    /// How much was used when this arbiter last found too little to give up.
    static IN_VAIN: Cell<usize> = const { Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::super::handle::{LogOwner, Share};
    use super::*;
    use bytes::Bytes;
    use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus};
    use laps_protocol::relay::track_log::{Append, Limits, StreamEnd, TrackLog};

    fn group(owner: &LogOwner, group: u64, len: usize) {
        group_at(owner, Instant::now(), group, len);
    }

    fn group_at(owner: &LogOwner, now: Instant, group: u64, len: usize) {
        let header = ObjectHeader {
            id: 0,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: len as u64,
        };
        let opened = Append::SubgroupOpened {
            stream: group,
            group,
            subgroup: 0,
            priority: 0,
            has_extensions: false,
            end_of_group: false,
        };
        let chunks = [
            opened,
            Append::ObjectStarted {
                stream: group,
                header,
            },
            Append::Payload {
                stream: group,
                bytes: Bytes::from(vec![0; len]),
            },
            Append::SubgroupClosed {
                stream: group,
                end: StreamEnd::Fin,
            },
        ];
        for chunk in chunks {
            owner.write(|log| log.append(now, chunk));
        }
    }

    fn bytes(owner: &LogOwner) -> usize {
        owner.read(TrackLog::bytes).unwrap()
    }

    /// D14-CACHE-6 D14-LIM-4
    #[test]
    fn the_largest_log_gives_up_first() {
        let budget = Arc::new(Budget::new(1 << 20));
        let log = || LogOwner::new(TrackLog::new(Limits::default()), &budget, Share::All);
        let (small, large) = (log(), log());
        (0..10).for_each(|id| group(&small, id, 10_000));
        (0..80).for_each(|id| group(&large, id, 10_000));
        assert_eq!(budget.used(), bytes(&small) + bytes(&large));
        assert_eq!(budget.given_up(), 0);
        let before = bytes(&small);
        (10..60).for_each(|id| group(&small, id, 10_000));
        assert!(budget.used() <= budget.max() + 16_000, "{}", budget.used());
        assert!(budget.given_up() > 0);
        assert!(bytes(&small) > before && bytes(&large) < 80 * 10_000);
        assert_eq!(budget.used(), bytes(&small) + bytes(&large));
        drop(large);
        assert_eq!(budget.used(), bytes(&small));
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    /// D14-CACHE-6 D14-LIM-4: what is kept of memory that runs short, by a shard that writes nothing as well.
    #[test]
    fn less_is_kept_when_memory_runs_short() {
        let budget = Arc::new(Budget::new(1 << 20));
        let owner = LogOwner::new(TrackLog::new(Limits::default()), &budget, Share::All);
        let now = Instant::now();
        let long_ago = now.checked_sub(2 * LATEST).unwrap();
        (0..60).for_each(|id| group_at(&owner, long_ago, id, 10_000));
        (60..80).for_each(|id| group_at(&owner, now, id, 10_000));
        let all = budget.used();
        budget.keep(usize::MAX);
        assert_eq!((budget.used(), budget.limit()), (all, 1 << 20));
        budget.keep(1 << 18);
        assert!(budget.used() <= 1 << 18, "{}", budget.used());
        // What came just now stays, however little is to be kept: somebody who keeps up may be reading it.
        let latest = 20 * 10_000;
        budget.keep(0);
        assert!(
            (latest..latest + 40_000).contains(&budget.used()),
            "{}",
            budget.used()
        );
        // Beyond the maximum it goes, as ever.
        (80..200).for_each(|id| group(&owner, id, 10_000));
        assert!(budget.used() <= budget.max() + 16_000, "{}", budget.used());
        assert!(budget.used() > latest);
    }

    /// What a replica has in common with its home copy counts once. D14-CACHE-6
    #[test]
    fn replicas_count_without_payload() {
        let budget = Arc::new(Budget::default());
        let replica = LogOwner::new(TrackLog::replica(Limits::default()), &budget, Share::OwnOnly);
        group(&replica, 0, 10_000);
        assert_eq!(budget.used(), bytes(&replica) - 10_000);
    }

    /// What is newest and open is spared, and costs no search for each object. D14-LIM-7
    #[test]
    fn what_cannot_be_given_up_stays() {
        let budget = Arc::new(Budget::new(10_000));
        let owner = LogOwner::new(TrackLog::new(Limits::default()), &budget, Share::All);
        let now = Instant::now();
        let header = |id| ObjectHeader {
            id,
            status: ObjectStatus::Normal,
            extensions: Bytes::new(),
            payload_len: 0,
        };
        owner.write(|log| {
            log.append(
                now,
                Append::SubgroupOpened {
                    stream: 1,
                    group: 0,
                    subgroup: 0,
                    priority: 0,
                    has_extensions: false,
                    end_of_group: false,
                },
            )
        });
        for id in 0..100 {
            owner.write(|log| {
                log.append(
                    now,
                    Append::ObjectStarted {
                        stream: 1,
                        header: header(id),
                    },
                )
            });
        }
        assert!(budget.used() > 2 * budget.max());
        assert_eq!(budget.given_up(), 0);
    }

    /// House rule: what waits beside a log takes room from the logs, and gives it back.
    #[test]
    fn what_is_beside_a_log_counts_too() {
        let budget = Arc::new(Budget::new(10_000));
        let owner = LogOwner::new(TrackLog::new(Limits::default()), &budget, Share::All);
        for id in 0..4 {
            group(&owner, id, 1000);
        }
        let kept = budget.used();
        let mut aside = Aside::new(&budget);
        aside.set(8_000);
        assert!(budget.given_up() > 0 && budget.used() < kept + 8_000);
        aside.set(10);
        drop(aside);
        assert_eq!(budget.used(), owner.read(TrackLog::bytes).unwrap());
    }
}
