//! Nodes that come and go, and come and go.
//!
//! A change of a way waits until neighbours have not heard of one for a while, but news that a node is there does not, nor that it
//! is gone. So whoever withdraws a node and tells of it again, as fast as it can, would have all relays of the mesh hand that on,
//! and ask the node each time for what it has. A node that comes back for the third time in the interval of changes is not
//! there before the interval is over. Each relay sees to that by itself, so the node of a careless neighbour waits no longer.
//!
//! Twice is free: a link that is replaced takes the nodes behind it along for a moment, and so may the search for another way
//! to it.

use crate::peering::node::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How often a node may come back in the interval.
pub(in crate::peering::info_base) const RETURNS: u32 = 2;

/// Nodes that are remembered, those that went last. Whoever tells of more tells of so many different ones in the interval.
const REMEMBERED: usize = 16_384;

/// A node that went.
#[derive(Debug)]
struct Gone {
    /// When the interval is over that began when it went first.
    until: Instant,
    returns: u32,
}

/// Those that went not long ago.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    gone: BTreeMap<NodeId, Gone>,
    /// The same in the order in which they are forgotten.
    order: VecDeque<(Instant, NodeId)>,
}

impl Flaps {
    /// A node cannot be reached any more.
    pub(super) fn lost(&mut self, now: Instant, interval: Duration, node: NodeId) {
        while let Some((until, first)) = self.order.front().copied() {
            if until > now && self.order.len() < REMEMBERED {
                break;
            }
            self.order.pop_front();
            self.gone.remove(&first);
        }
        if self.gone.contains_key(&node) {
            return;
        }
        if let Some(until) = now.checked_add(interval) {
            self.gone.insert(node, Gone { until, returns: 0 });
            self.order.push_back((until, node));
        }
    }

    /// There is a way to a node again. None when it counts, or else the time until which it does not.
    pub(super) fn back(&mut self, now: Instant, node: NodeId) -> Option<Instant> {
        let gone = self.gone.get_mut(&node).filter(|gone| gone.until > now)?;
        if gone.returns >= RETURNS {
            return Some(gone.until);
        }
        gone.returns += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn who_is_remembered() {
        let (start, interval) = (Instant::now(), Duration::from_secs(2));
        let at = |secs| start + Duration::from_secs(secs);
        let mut flaps = Flaps::default();
        for node in 0..=REMEMBERED as u64 {
            flaps.lost(start, interval, NodeId(node));
            assert!(flaps.order.len() <= REMEMBERED && flaps.gone.len() == flaps.order.len());
        }
        // The first one gave way to the last.
        for (node, third) in [(0, None), (1, Some(at(2)))] {
            let node = NodeId(node);
            let returns = [0, 1, 2].map(|_| flaps.back(start, node));
            assert_eq!(returns, [None, None, third]);
            flaps.lost(start, interval, NodeId(1));
        }
        assert_eq!(flaps.back(at(1), NodeId(1)), Some(at(2)));
        assert_eq!(flaps.back(at(2), NodeId(1)), None);
        flaps.lost(at(2), interval, NodeId(9));
        assert_eq!((flaps.gone.len(), flaps.order.len()), (1, 1));
    }
}
