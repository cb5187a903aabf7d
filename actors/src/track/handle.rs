//! The shard-local table of track logs.
//!
//! Messages must be `Send` and logs are not, so an answer carries a [`LogId`] and the reader, which runs on the same
//! arbiter by construction, opens the log here. Borrows live only inside the calls below and never across an await.

use super::budget::Budget;
use super::pace::{Behind, Pace, Taker};
use crate::census::{Counted, Thing};
use laps_protocol::relay::track_log::TrackLog;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Number of a log, unique in the process; its meaning ends with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Spreads ids over the table. Looked up for every object and subscriber; no peer chooses an id, so a hash that keeps
/// its keys secret buys nothing here.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // codepoint-free: 2^64 divided by the golden ratio: neighbours land far apart, in the high bits too.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Logs = HashMap<LogId, Rc<Entry>, BuildHasherDefault<Spread>>;

thread_local! {
    static LOGS: RefCell<Logs> = RefCell::default();
}

#[derive(Debug)]
struct Entry {
    log: RefCell<TrackLog>,
    budget: Arc<Budget>,
    share: Share,
    /// What the log counted towards the budget when it was last written.
    counted: Cell<usize>,
    pace: Rc<Pace>,
    _counted: Counted,
}

/// What of a log counts towards the budget of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    All,
    /// Not the payload, which another log holds as well.
    OwnOnly,
}

impl Entry {
    /// Tells the budget what the log counts now.
    fn count(&self, log: &TrackLog) {
        let after = match self.share {
            Share::All => log.bytes(),
            Share::OwnOnly => log.own_bytes(),
        };
        self.budget.count(self.counted.replace(after), after);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.budget.count(self.counted.get(), 0);
    }
}

/// The writer's end of a log. Readers of this arbiter find it by [`LogOwner::id`] until it is dropped.
#[derive(Debug)]
pub struct LogOwner {
    id: LogId,
    entry: Rc<Entry>,
}

impl LogOwner {
    /// Enters `log` in this arbiter's table; what `share` says of it counts towards `budget`.
    #[must_use]
    pub fn new(log: TrackLog, budget: &Arc<Budget>, share: Share) -> Self {
        let id = LogId(NEXT.fetch_add(1, Ordering::Relaxed));
        let entry = Rc::new(Entry {
            log: RefCell::new(log),
            budget: Arc::clone(budget),
            share,
            counted: Cell::new(0),
            pace: Rc::default(),
            _counted: Counted::new(Thing::Logs),
        });
        LOGS.with_borrow_mut(|logs| logs.insert(id, Rc::clone(&entry)));
        Self { id, entry }
    }

    /// The number by which readers find the log.
    #[must_use]
    pub const fn id(&self) -> LogId {
        self.id
    }

    /// Writes to the log. `None` when a reader is inside it, which the rule at the top of this file excludes.
    pub fn write<R>(&self, f: impl FnOnce(&mut TrackLog) -> R) -> Option<R> {
        let mut log = self.entry.log.try_borrow_mut().ok()?;
        let result = f(&mut log);
        self.entry.count(&log);
        drop(log);
        self.entry.budget.relieve();
        Some(result)
    }

    /// Reads the log.
    pub fn read<R>(&self, f: impl FnOnce(&TrackLog) -> R) -> Option<R> {
        self.entry.log.try_borrow().ok().map(|log| f(&log))
    }
}

impl Drop for LogOwner {
    fn drop(&mut self) {
        // Runs while a panicking owner unwinds too, so nothing here may panic: a table that cannot be borrowed or is
        // gone with its thread is left alone.
        drop(LOGS.try_with(|logs| logs.try_borrow_mut().map(|mut logs| logs.remove(&self.id))));
    }
}

/// How many logs this arbiter has.
#[must_use]
pub fn logs() -> usize {
    LOGS.with_borrow(HashMap::len)
}

/// Reads the log `id` of this arbiter; `None` when it is gone.
pub fn read<R>(id: LogId, f: impl FnOnce(&TrackLog) -> R) -> Option<R> {
    let entry = find(id)?;
    let log = entry.log.try_borrow().ok()?;
    Some(f(&log))
}

/// Lets the logs of this arbiter that count towards `budget` give up `bytes`, those that count most first, or only of
/// what came before `spared`; says how much less they count then.
pub(super) fn give_up(budget: &Budget, bytes: usize, spared: Option<Instant>) -> usize {
    let mut entries: Vec<_> = LOGS.with_borrow(|logs| {
        let ours = logs
            .values()
            .filter(|entry| std::ptr::eq(&raw const *entry.budget, budget));
        ours.map(Rc::clone).collect()
    });
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.counted.get()));
    let mut freed = 0;
    for entry in entries {
        if freed >= bytes {
            break;
        }
        let Ok(mut log) = entry.log.try_borrow_mut() else {
            continue;
        };
        let before = entry.counted.get();
        match spared {
            Some(spared) => log.give_up_old(bytes - freed, spared),
            None => log.give_up(bytes - freed),
        };
        entry.count(&log);
        freed += before.saturating_sub(entry.counted.get());
    }
    freed
}

/// Somebody takes from the log `id` from here on; `before` goes on counting if it takes from the same one.
pub fn taker(id: LogId, before: Option<Rc<Taker>>) -> Option<Rc<Taker>> {
    let pace = &find(id)?.pace;
    let same = before.filter(|taker| taker.is_of(pace));
    Some(same.unwrap_or_else(|| Rc::new(pace.join())))
}

/// So many bytes of payload are written to the log `id` next.
pub fn wrote(id: LogId, bytes: u64) {
    if let Some(entry) = find(id) {
        entry.pace.wrote(bytes);
    }
}

/// Nobody waits for what was not taken of the log `id`.
pub fn forgive(id: LogId) {
    if let Some(entry) = find(id) {
        entry.pace.forgive();
    }
}

/// How far the slowest who takes from the log `id` is behind what was [written](wrote).
#[must_use]
pub fn behind(id: LogId) -> Option<Behind> {
    find(id).map(|entry| entry.pace.behind())
}

/// Resolves when [`behind`] is no longer `before`; at once when the log is gone.
pub async fn behind_changes(id: LogId, before: Behind) {
    let pace = find(id).map(|entry| Rc::clone(&entry.pace));
    if let Some(pace) = pace {
        pace.changed(before).await;
    }
}

fn find(id: LogId) -> Option<Rc<Entry>> {
    // Lanes ask as they are dropped too, which may be when the table is gone with its thread.
    let found = LOGS.try_with(|logs| logs.try_borrow().ok()?.get(&id).map(Rc::clone));
    found.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::relay::track_log::Limits;

    /// Whoever is dropped with its thread, after the table or while that is in use, finds no log and does not fail.
    #[test]
    fn a_log_may_go_at_any_time() {
        struct Late(LogOwner);
        impl Drop for Late {
            fn drop(&mut self) {
                assert!(read(self.0.id(), |_| ()).is_none());
                forgive(self.0.id());
            }
        }
        thread_local! {
            static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
        }
        let ended = std::thread::spawn(|| {
            LATE.set(None);
            let owner = || LogOwner::new(TrackLog::new(Limits::default()), &Arc::default(), Share::All);
            let other = owner();
            LATE.set(Some(Late(owner())));
            LOGS.with_borrow(|_| drop(other));
        });
        ended.join().unwrap();
    }
}
