//! Who has to make room when there are more nodes than are kept.
//!
//! A peer that advertises a million nodes fills the tables of all who hear of them, far from it too, where they come by the
//! same link as all others. So room is not given to who comes first: a new node gets the place of one of a larger crowd.
//! Ways, seen from here, are a tree of relays, and where the ways to two nodes part, the branch with more nodes is the larger
//! crowd. All that a peer invents is behind that peer, whatever paths it invents with it, so nobody has to make room for it
//! but what it has invented before.

use super::nodes::Way;
use super::{InfoBase, LinkId};
use crate::peering::node::{NodeId, NodeInfo};
use std::collections::BTreeMap;
use std::ops::Bound;

/// So many relays of a way are looked at, the nearest first. Beyond them everybody is as good as anybody.
const DEPTH: usize = 8;

/// So many nodes are looked at for one that is to make room. A crowd that has a fifth of all is missed once in a thousand times.
const LOOKED_AT: usize = 32;

/// How many ways lead over each relay.
#[derive(Debug, Default)]
pub(super) struct Crowds {
    behind: BTreeMap<NodeId, usize>,
    /// Where to look next for a node that is to make room.
    at: Option<NodeId>,
}

/// The relays of a way, from here on, and the node at its end.
fn steps(info: &NodeInfo) -> impl Iterator<Item = NodeId> + '_ {
    let relays = info.path.iter().rev().map(|item| item.node);
    relays.chain([info.id]).take(DEPTH)
}

impl Crowds {
    pub(super) fn add(&mut self, way: &Way) {
        for step in steps(&way.info) {
            *self.behind.entry(step).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, way: &Way) {
        for step in steps(&way.info) {
            if let Some(behind) = self.behind.get_mut(&step) {
                *behind -= 1;
                if *behind == 0 {
                    self.behind.remove(&step);
                }
            }
        }
    }

    fn behind(&self, node: NodeId) -> usize {
        self.behind.get(&node).copied().unwrap_or_default()
    }

    /// How large the crowds are that a node is in, which has to leave them for a new one; none where it need not.
    fn leaves(&self, known: &NodeInfo, new: &NodeInfo) -> Option<[usize; DEPTH]> {
        // Where their ways part.
        let (theirs, ours) = steps(known).zip(steps(new)).find(|(a, b)| a != b)?;
        // With the new one there are not more than without the other one, so that two crowds do not take turns.
        if self.behind(theirs) <= self.behind(ours) + 1 {
            return None;
        }
        let mut crowds = [0; DEPTH];
        for (crowd, step) in crowds.iter_mut().zip(steps(known)) {
            *crowd = self.behind(step);
        }
        Some(crowds)
    }
}

impl InfoBase {
    /// Takes a node out for one that came by this link, where one is of a larger crowd; false when none is. Of all that are
    /// known, or of those that the link told of.
    pub(super) fn make_room(&mut self, from: LinkId, new: &NodeInfo, of_the_link: bool) -> bool {
        let Some(link) = self.links.get(from) else {
            return false;
        };
        let start = self.nodes.crowds.at.map_or(Bound::Unbounded, Bound::Excluded);
        let turned = |ids: &mut dyn Iterator<Item = NodeId>| ids.take(LOOKED_AT).collect::<Vec<_>>();
        let looked_at = if of_the_link {
            let rest = link.heard.range((start, Bound::Unbounded)).copied();
            turned(&mut rest.chain(link.heard.iter().copied()))
        } else {
            turned(&mut self.nodes.ids_from(start))
        };
        self.nodes.crowds.at = looked_at.last().copied();
        let crowd = |node: &NodeId| {
            let info = self.nodes.info(*node)?;
            // Neighbours are not somebody's word.
            let far = info.path_len() > 0 && self.links.to(*node).next().is_none();
            far.then(|| self.nodes.crowds.leaves(info, new)).flatten()
        };
        // Of the largest branch the one on its own largest branch, and so on: all that a peer invents goes before others go.
        let leaves = looked_at
            .iter()
            .filter_map(|node| Some((crowd(node)?, *node)))
            .max();
        let Some((_, node)) = leaves else { return false };
        self.counters.crowded_out += 1;
        for link in self.nodes.links_to(node) {
            self.node_withdrawn(link, node);
        }
        true
    }
}
