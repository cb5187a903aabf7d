//! Where data for a node is sent: a table that is computed ahead of the data. laps peering, "FIB".

use super::hash::combine;
use super::info_base::LinkId;
use super::node::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many parts the routes are kept in; one that changes is copied, the others are shared with earlier tables.
const PARTS: usize = 256;

/// Over which node each node is reached, and over which links that one. A value that never changes and is cheap to
/// clone: one for each thread that forwards.
#[derive(Clone, Debug)]
pub struct Fib {
    /// Destination and next node, ordered, by [`part`] of the destination.
    routes: Arc<[Arc<Part>]>,
    /// The links that take data to each neighbour, ascending, never none.
    neighbours: Arc<BTreeMap<NodeId, Arc<[LinkId]>>>,
    len: usize,
}

type Part = Vec<(NodeId, NodeId)>;

impl Default for Fib {
    fn default() -> Self {
        Self {
            routes: std::iter::repeat_n(Arc::default(), PARTS).collect(),
            neighbours: Arc::default(),
            len: 0,
        }
    }
}

impl PartialEq for Fib {
    fn eq(&self, other: &Self) -> bool {
        self.routes == other.routes && self.neighbours == other.neighbours
    }
}

impl Eq for Fib {}

impl Fib {
    /// A table that somebody wrote down: the neighbour over which each node is reached, and the links to each neighbour.
    #[must_use]
    pub fn written(
        routes: impl IntoIterator<Item = (NodeId, NodeId)>,
        neighbours: impl IntoIterator<Item = (NodeId, Vec<LinkId>)>,
    ) -> Self {
        let mut fib = Self::default();
        for (node, next) in routes {
            fib.set_route(node, Some(next));
        }
        for (neighbour, mut links) in neighbours {
            links.sort_unstable();
            links.dedup();
            fib.set_links(neighbour, &links);
        }
        fib
    }

    /// How many nodes can be reached with data.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when none can.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The neighbour over which `node` is reached; `node` itself when it is one.
    #[must_use]
    pub fn next_node(&self, node: NodeId) -> Option<NodeId> {
        let part = self.routes.get(part(node))?;
        let at = part.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        part.get(at).map(|(_, next)| *next)
    }

    /// All links that take data towards `node`, ascending; none when it cannot be reached.
    #[must_use]
    pub fn links(&self, node: NodeId) -> &[LinkId] {
        let next = self.next_node(node);
        let links = next.and_then(|next| self.neighbours.get(&next));
        links.map_or(&[], |links| links)
    }

    /// Every node that can be reached with data, and the neighbour over which it is, in no order that means anything.
    pub fn routes(&self) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        self.routes.iter().flat_map(|part| part.iter().copied())
    }

    /// Sets or removes the neighbour over which `node` is reached. True when that changes anything.
    pub(super) fn set_route(&mut self, node: NodeId, next: Option<NodeId>) -> bool {
        if self.next_node(node) == next {
            return false;
        }
        // A table that was given away is copied: 256 pointers and one part.
        let Some(part) = Arc::make_mut(&mut self.routes).get_mut(part(node)) else {
            return false;
        };
        let part = Arc::make_mut(part);
        match (part.binary_search_by_key(&node, |(node, _)| *node), next) {
            (Ok(at), Some(next)) => {
                if let Some(route) = part.get_mut(at) {
                    route.1 = next;
                }
            }
            (Ok(at), None) => {
                part.remove(at);
                self.len -= 1;
            }
            (Err(at), Some(next)) => {
                part.insert(at, (node, next));
                self.len += 1;
            }
            (Err(_), None) => {}
        }
        true
    }

    /// Sets the links to a neighbour. True when that changes anything.
    pub(super) fn set_links(&mut self, neighbour: NodeId, links: &[LinkId]) -> bool {
        if self.neighbours.get(&neighbour).map_or(&[][..], |links| links) == links {
            return false;
        }
        let neighbours = Arc::make_mut(&mut self.neighbours);
        if links.is_empty() {
            neighbours.remove(&neighbour);
        } else {
            neighbours.insert(neighbour, links.into());
        }
        true
    }
}

/// The one of several equally good links that something takes which is known by `seed`, such as a track by its hash.
///
/// It stays on that one. It changes only when that one goes, or when one comes that suits it better, which a new one does
/// for its share of all seeds (rendezvous hashing). laps peering, "(2) Data Peering".
#[must_use]
pub fn share(seed: u64, links: impl IntoIterator<Item = LinkId>) -> Option<LinkId> {
    let worth = |link: &LinkId| (mix(combine(mix(seed), mix(u64::from(link.0)))), *link);
    links.into_iter().max_by_key(worth)
}

/// Which part of the table a node is in.
fn part(node: NodeId) -> usize {
    usize::try_from(mix(node.0) >> 32).unwrap_or_default() % PARTS
}

/// Spreads numbers that are alike (the finaliser of MurmurHash3, Austin Appleby, public domain).
pub(super) const fn mix(number: u64) -> u64 {
    // codepoint-free: constants of a hash
    const FIRST: u64 = 0xff51_afd7_ed55_8ccd;
    // codepoint-free: constants of a hash
    const SECOND: u64 = 0xc4ce_b9fe_1a85_ec53;
    let number = (number ^ number >> 33).wrapping_mul(FIRST);
    let number = (number ^ number >> 33).wrapping_mul(SECOND);
    number ^ number >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn routes_and_links_come_and_go() {
        let mut fib = Fib::default();
        let before = fib.clone();
        assert!(fib.set_links(NodeId(2), &[LinkId(7)]) && fib.set_route(NodeId(3), Some(NodeId(2))));
        assert!(!fib.set_links(NodeId(2), &[LinkId(7)]) && !fib.set_route(NodeId(3), Some(NodeId(2))));
        assert_eq!(fib.links(NodeId(3)), [LinkId(7)]);
        assert_eq!((fib.len(), fib.next_node(NodeId(3))), (1, Some(NodeId(2))));
        assert_eq!(fib.routes().collect::<Vec<_>>(), [(NodeId(3), NodeId(2))]);
        // What was given away stays as it was.
        assert!(before.is_empty() && before.links(NodeId(3)).is_empty());
        let written = Fib::written(
            [(NodeId(3), NodeId(2))],
            [(NodeId(2), vec![LinkId(7), LinkId(7)])],
        );
        assert_eq!(written, fib);
        assert!(fib.set_route(NodeId(3), None) && fib.set_links(NodeId(2), &[]));
        assert_eq!(fib, Fib::default());
    }

    /// laps peering, "(2) Data Peering": several links to one peer share its tracks.
    #[test]
    fn a_track_keeps_its_link() {
        let choose = |links: &[u32]| {
            let share = |track| share(track, links.iter().copied().map(LinkId)).unwrap();
            (0..3000).map(share).collect::<Vec<_>>()
        };
        let three = choose(&[1, 2, 3]);
        assert_eq!(choose(&[3, 1, 2]), three, "whatever their order");
        assert_eq!(share(1, []), None);
        for link in 1..=3 {
            let share = three.iter().filter(|chosen| **chosen == LinkId(link)).count();
            assert!((800..1200).contains(&share), "{share}");
        }
        let two = choose(&[1, 3]);
        let moved = three.iter().zip(two).filter(|(before, after)| **before != *after);
        assert!(moved.clone().count() > 0 && moved.clone().all(|(before, _)| *before == LinkId(2)));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec((0_u64..600, prop::option::of(0_u64..4)), 0..400)) {
            let (mut fib, mut model) = (Fib::default(), BTreeMap::new());
            for (node, next) in steps {
                let old = match next {
                    Some(next) => model.insert(node, next),
                    None => model.remove(&node),
                };
                prop_assert_eq!(fib.set_route(NodeId(node), next.map(NodeId)), old != next);
            }
            prop_assert_eq!(fib.len(), model.len());
            let routes: BTreeMap<_, _> = fib.routes().map(|(node, next)| (node.0, next.0)).collect();
            prop_assert_eq!(routes, model);
        }
    }
}
