//! Sets of nodes on their way out: of each the latest only, and then that it is over.

use crate::peering::message::{Message, MessageKind, SnsId};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// What is said of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    id: SnsId,
    /// That it is over.
    over: bool,
}

impl Said {
    /// None of another message.
    pub(super) const fn of(message: &Message) -> Option<Self> {
        if let Message::NodeSetAdvertise(set) = message {
            let (id, over) = (set.id, false);
            return Some(Self { id, over });
        }
        if let Message::NodeSetWithdraw(id) = message {
            let (id, over) = (*id, true);
            return Some(Self { id, over });
        }
        None
    }

    const fn kind(self) -> MessageKind {
        if self.over {
            MessageKind::NodeSetWithdraw
        } else {
            MessageKind::NodeSetAdvertise
        }
    }
}

/// Sets that wait for the peer. laps peering, "SNS Advertisement": the same id gets a new set, so what was to be said of it
/// before has no use any more, and what waits grows with the sets that there are and not with their changes.
///
/// That a set is over comes behind what it was: its data does not wait for this, and whoever has it and never hears whom it is
/// for loses it. So one that ends at once is said all the same.
///
/// They are not counted with the other messages: as many may be new at once as a link has, and each may be large. So they have
/// bounds of their own, in number and in bytes.
#[derive(Debug)]
pub(super) struct Sets {
    /// In the order in which they leave. A set that changes keeps its place.
    waiting: BTreeMap<u64, (Said, Bytes)>,
    /// Where that is which is said of a set last.
    places: HashMap<SnsId, u64>,
    next_place: u64,
    bytes: usize,
    max: usize,
    max_bytes: usize,
}

impl Sets {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            bytes: 0,
            max,
            max_bytes,
        }
    }

    /// What waits: for each set what it is, that it is over, or both.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes what is said of a set; false when it would be one too many, or too large.
    pub(super) fn push(&mut self, said: Said, message: Bytes) -> bool {
        let bytes = self.bytes.saturating_add(message.len());
        let last = self.places.get(&said.id);
        if let Some(last) = last.and_then(|place| self.waiting.get_mut(place))
            && last.0 == said
        {
            let bytes = bytes.saturating_sub(last.1.len());
            if bytes > self.max_bytes {
                return false;
            }
            (self.bytes, last.1) = (bytes, message);
            return true;
        }
        if self.waiting.len() >= self.max || bytes > self.max_bytes {
            return false;
        }
        self.bytes = bytes;
        self.next_place += 1;
        self.places.insert(said.id, self.next_place);
        self.waiting.insert(self.next_place, (said, message));
        true
    }

    /// The one that leaves next.
    pub(super) fn pop(&mut self) -> Option<(MessageKind, Bytes)> {
        let (place, (said, message)) = self.waiting.pop_first()?;
        self.bytes = self.bytes.saturating_sub(message.len());
        if self.places.get(&said.id) == Some(&place) {
            self.places.remove(&said.id);
        }
        Some((said.kind(), message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: u32, over: bool) -> Said {
        let id = SnsId::new(id).unwrap();
        Said { id, over }
    }

    fn push(sets: &mut Sets, id: u32, over: bool, what: &'static str) -> bool {
        sets.push(said(id, over), Bytes::from_static(what.as_bytes()))
    }

    fn drain(sets: &mut Sets) -> Vec<String> {
        let left = std::iter::from_fn(|| sets.pop());
        left.map(|(_, bytes)| String::from_utf8(bytes.into()).unwrap())
            .collect()
    }

    #[test]
    fn the_latest_of_each_leaves_in_the_place_of_the_first() {
        let mut sets = Sets::new(3, 100);
        assert!(push(&mut sets, 1, false, "1a") && push(&mut sets, 2, false, "2a"));
        assert!(push(&mut sets, 1, false, "1b") && push(&mut sets, 3, false, "3a"));
        assert!(!push(&mut sets, 4, false, "4a"), "one too many");
        assert!(push(&mut sets, 3, false, "3b"), "that is no more than before");
        assert_eq!(sets.len(), 3);
        assert_eq!(drain(&mut sets), ["1b", "2a", "3b"]);
    }

    #[test]
    fn what_waits_has_so_many_bytes() {
        let mut sets = Sets::new(3, 5);
        assert!(push(&mut sets, 1, false, "1aa") && push(&mut sets, 2, false, "2a"));
        assert!(!push(&mut sets, 3, false, "3"), "one byte too many");
        assert!(!push(&mut sets, 2, false, "2aa"), "the same, in place of another");
        assert!(push(&mut sets, 1, false, "1b") && push(&mut sets, 2, false, "2bb"));
        assert_eq!(drain(&mut sets), ["1b", "2bb"]);
        assert_eq!(sets.bytes, 0);
        assert!(push(&mut sets, 3, false, "3aaaa"));
    }

    #[test]
    fn what_a_set_was_is_said_before_it_is_over() {
        let mut sets = Sets::new(3, 100);
        for (over, what) in [(false, "1a"), (false, "1b"), (true, "1 over"), (true, "1 over")] {
            assert!(push(&mut sets, 1, over, what));
        }
        assert!(push(&mut sets, 1, false, "1 again") && !push(&mut sets, 2, false, "2a"));
        assert_eq!(drain(&mut sets), ["1b", "1 over", "1 again"]);
        assert!(sets.is_empty() && sets.places.is_empty());
        push(&mut sets, 2, false, "2a");
        assert_eq!(sets.pop().unwrap().0, MessageKind::NodeSetAdvertise);
        push(&mut sets, 2, true, "2 over");
        assert_eq!(sets.pop().unwrap().0, MessageKind::NodeSetWithdraw);
        assert!(sets.is_empty() && sets.places.is_empty());
    }
}
