//! What is known of one link, and the ids on it.

use super::output::Refusal;
use crate::peering::forward::route::Source;
use crate::peering::message::SnsId;
use crate::peering::node::NodeId;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// One link that is up.
#[derive(Debug)]
pub(super) struct Link {
    /// Who is at the other end.
    pub(super) peer: NodeId,
    /// Whether that is a laps relay, which drops data whose set it has not read yet.
    pub(super) laps: bool,
    /// Whether that is a stub of this relay, which speaks for itself alone.
    pub(super) stub: bool,
    /// Whose data goes out under which id.
    pub(super) out: HashMap<SnsId, Source>,
    /// The id that is tried next.
    next: SnsId,
    /// Sets that came in.
    pub(super) in_sets: usize,
    /// Nodes in them, all together.
    pub(super) in_nodes: usize,
    /// Those of them that the peer has withdrawn, and when they end.
    pub(super) ending: BTreeSet<(Instant, SnsId)>,
    /// Sets that it has not told again since its control stream was replaced.
    pub(super) unsaid: BTreeSet<SnsId>,
    /// Whether it has told any since that was looked at.
    pub(super) said_since: bool,
    /// Reasons for which a set was refused already.
    pub(super) refused: BTreeSet<Refusal>,
}

impl Link {
    pub(super) fn new(peer: NodeId, laps: bool) -> Self {
        Self {
            peer,
            laps,
            stub: false,
            out: HashMap::new(),
            next: SnsId::FIRST,
            in_sets: 0,
            in_nodes: 0,
            ending: BTreeSet::new(),
            unsaid: BTreeSet::new(),
            said_since: false,
            refused: BTreeSet::new(),
        }
    }

    /// The same, to a stub of this relay.
    pub(super) fn of_a_stub(self) -> Self {
        Self { stub: true, ..self }
    }

    /// An id for the data of `source`.
    ///
    /// laps peering, "Source Routing": ids begin at one and grow, and begin at one again behind the largest. One that
    /// is in use is passed over; there are more numbers than sets, so that ends.
    pub(super) fn allocate(&mut self, source: Source) -> SnsId {
        while self.out.contains_key(&self.next) {
            self.next = self.next.next();
        }
        let id = self.next;
        self.next = id.next();
        self.out.insert(id, source);
        id
    }

    /// For tests: goes on counting from here.
    #[cfg(test)]
    pub(super) fn count_from(&mut self, next: SnsId) {
        self.next = next;
    }
}
