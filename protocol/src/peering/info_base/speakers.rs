//! In whose name a neighbour may say something to a node.
//!
//! A NODE_MESSAGE names who said it, and relays on the way hand it on as it is: they have certificates, and their word counts.
//! A stub is a guest. It hands nothing on and knows nobody but its edges, so it speaks for itself alone, to the edge at the
//! other end of the link. All that it has of others is that edge's, who asks them in its own name.

use super::{InfoBase, LinkId, ReportKind};
use crate::peering::node::{NodeId, NodeType};

impl InfoBase {
    /// Whether a message from `source` to `target` may have come on this link. What may not have is counted and reported,
    /// and is to be dropped.
    pub fn may_say(&mut self, from: LinkId, source: NodeId, target: NodeId) -> bool {
        let Some(link) = self.links.get(from) else {
            return false;
        };
        if !link.mode.has_control() {
            self.counters.out_of_place += 1;
            return false;
        }
        // The ways of two relays led to each other, or somebody speaks for us.
        if source == self.node {
            self.counters.echoes += 1;
            return false;
        }
        let is_honest = if link.is_stub() || self.role == NodeType::Stub {
            source == link.peer && target == self.node
        } else {
            // Nobody else knows our stubs, so nobody hands on what they say.
            !self.is_our_stub(source)
        };
        if !is_honest {
            self.counters.forged += 1;
            self.report(from, ReportKind::ForgedSource);
        }
        is_honest
    }

    /// Whether this is a stub with a link to this relay.
    pub(super) fn is_our_stub(&self, node: NodeId) -> bool {
        self.links.to(node).any(|(_, link)| link.is_stub())
    }
}
