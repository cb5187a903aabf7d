//! How urgent streams of other relays are that leave by a link: as urgent as to the most urgent node of their set.

use super::link::Slot;
use laps_protocol::peering::forward::InStream;
use laps_protocol::peering::message::SnsId;
use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// The subscriber priorities of what leaves by one link, by its id there. Clones are the same.
///
/// It has an id while that is more or less urgent than the middle, or a stream is open under it.
#[derive(Clone, Debug, Default)]
pub(super) struct Urgencies(Rc<RefCell<HashMap<SnsId, Entry>>>);

#[derive(Debug)]
struct Entry {
    priority: Rc<Cell<u8>>,
    /// The tasks of the streams that are open, which are all of one link.
    lanes: BTreeMap<InStream, Rc<Slot>>,
    /// The id is withdrawn; what is open goes on.
    over: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            priority: Rc::new(Cell::new(DEFAULT_PRIORITY)),
            lanes: BTreeMap::new(),
            over: false,
        }
    }
}

impl Entry {
    /// Nobody asks for it any more.
    fn is_idle(&self) -> bool {
        self.lanes.is_empty() && (self.over || self.priority.get() == DEFAULT_PRIORITY)
    }
}

/// How urgent one stream is, by now. Dropped, it is not told of changes any more.
#[derive(Debug)]
pub(super) struct Urgency {
    priority: Rc<Cell<u8>>,
    of: Urgencies,
    sns: SnsId,
    stream: InStream,
}

impl Urgencies {
    /// What leaves under an id is this urgent from now on. MOQT-14 §7.1 [D14-PRIO-4]: what waits already moves to its new
    /// place, for which its task looks again.
    pub(super) fn set(&self, sns: SnsId, priority: u8) {
        let mut entries = self.0.borrow_mut();
        let entry = entries.entry(sns).or_default();
        entry.priority.set(priority);
        for slot in entry.lanes.values() {
            slot.waker.wake();
        }
        if entry.is_idle() {
            entries.remove(&sns);
        }
    }

    /// An id is withdrawn.
    pub(super) fn forget(&self, sns: SnsId) {
        let mut entries = self.0.borrow_mut();
        let Some(entry) = entries.get_mut(&sns) else {
            return;
        };
        entry.over = true;
        if entry.is_idle() {
            entries.remove(&sns);
        }
    }

    /// That of a datagram under this id, which leaves at once or never.
    pub(super) fn of(&self, sns: SnsId) -> u8 {
        let entries = self.0.borrow();
        entries
            .get(&sns)
            .map_or(DEFAULT_PRIORITY, |entry| entry.priority.get())
    }

    /// That of a stream, whose task is woken when it changes.
    pub(super) fn follow(&self, sns: SnsId, stream: InStream, slot: &Rc<Slot>) -> Urgency {
        let mut entries = self.0.borrow_mut();
        let entry = entries.entry(sns).or_default();
        entry.lanes.insert(stream, Rc::clone(slot));
        Urgency {
            priority: Rc::clone(&entry.priority),
            of: self.clone(),
            sns,
            stream,
        }
    }

    /// For tests: the ids that it has.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Urgency {
    /// Its subscriber priority.
    pub(super) fn priority(&self) -> u8 {
        self.priority.get()
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        let Ok(mut entries) = self.of.0.try_borrow_mut() else {
            return;
        };
        if let Some(entry) = entries.get_mut(&self.sns) {
            entry.lanes.remove(&self.stream);
            if entry.is_idle() {
                entries.remove(&self.sns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let (urgencies, slot) = (Urgencies::default(), Rc::default());
        let [a, b] = [1, 2].map(|id| SnsId::new(id).unwrap());
        // Before anybody says how urgent it is.
        let first = urgencies.follow(a, InStream(1), &slot);
        assert_eq!((first.priority(), urgencies.of(a)), (128, 128));
        urgencies.set(a, 9);
        urgencies.set(b, 200);
        let second = urgencies.follow(a, InStream(2), &slot);
        assert_eq!(
            (first.priority(), second.priority(), urgencies.of(b)),
            (9, 9, 200)
        );
        drop(first);
        urgencies.forget(a);
        assert_eq!(second.priority(), 9, "it goes on as it was");
        assert_eq!(urgencies.len(), 2);
        drop(second);
        urgencies.set(b, 128);
        assert_eq!(urgencies.len(), 0);
        drop(urgencies.follow(a, InStream(3), &slot));
        urgencies.forget(b);
        assert_eq!(urgencies.len(), 0);
    }
}
