//! Which of a publisher's streams is given up when it has too many open.
//!
//! MOQT-14 §12.1 [D14-LIM-1]: the one with the lowest priority; of equals the oldest, since what is live is wanted
//! more than what was left open.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// A stream, for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The publisher's priority, 0 the most urgent. Reversed, so that the first in order is the first to go.
    priority: Reverse<u8>,
    number: u64,
}

/// The open streams of one publisher.
#[derive(Debug)]
pub struct Inbound {
    max: u64,
    next: u64,
    open: BTreeSet<Ticket>,
}

impl Inbound {
    /// At most `max` at a time.
    #[must_use]
    pub const fn new(max: u64) -> Self {
        Self {
            max,
            next: 0,
            open: BTreeSet::new(),
        }
    }

    /// A stream of this publisher priority opens. The second value is the stream that is given up for it, which may be
    /// this one; it counts no longer.
    pub fn open(&mut self, priority: u8) -> (Ticket, Option<Ticket>) {
        let ticket = Ticket {
            priority: Reverse(priority),
            number: self.next,
        };
        self.next = self.next.saturating_add(1);
        self.open.insert(ticket);
        let full = u64::try_from(self.open.len()).is_ok_and(|open| open > self.max);
        let given_up = if full { self.open.pop_first() } else { None };
        (ticket, given_up)
    }

    /// A stream is over. Does nothing for one that was given up.
    pub fn close(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True when none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// D14-LIM-1
    #[test]
    fn the_least_urgent_goes_and_of_equals_the_oldest() {
        let mut inbound = Inbound::new(3);
        let (urgent, _) = inbound.open(0);
        let (old, _) = inbound.open(200);
        let (young, none) = inbound.open(200);
        assert_eq!(none, None);
        assert_eq!(inbound.open(100).1, Some(old));
        assert_eq!(inbound.open(100).1, Some(young));
        let (least, given_up) = inbound.open(255);
        assert_eq!(given_up, Some(least), "what is least urgent does not come in");
        inbound.close(urgent);
        inbound.close(least);
        assert_eq!(inbound.len(), 2);
        assert_eq!(inbound.open(255).1, None);
    }

    proptest! {
        /// D14-LIM-1: never more than the bound, and nobody is given up while somebody less urgent stays.
        #[test]
        fn nobody_goes_before_somebody_less_urgent(
            max in 0u64..6,
            steps in proptest::collection::vec((any::<bool>(), any::<u8>()), 0..60),
        ) {
            let mut inbound = Inbound::new(max);
            let mut open: Vec<(u8, Ticket)> = Vec::new();
            for (opens, value) in steps {
                if opens || open.is_empty() {
                    let (ticket, given_up) = inbound.open(value);
                    open.push((value, ticket));
                    if let Some(given_up) = given_up {
                        let at = open.iter().position(|(_, ticket)| *ticket == given_up).unwrap();
                        let (priority, _) = open.remove(at);
                        prop_assert!(open.iter().all(|(other, _)| *other <= priority));
                    }
                } else {
                    let (_, ticket) = open.remove(usize::from(value) % open.len());
                    inbound.close(ticket);
                }
                prop_assert_eq!(inbound.len(), open.len());
                prop_assert!(inbound.len() as u64 <= max);
            }
        }
    }
}
