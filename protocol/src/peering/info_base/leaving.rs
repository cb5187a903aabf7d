//! A relay that is about to end: ways lead around it while its links still carry what is open.
//!
//! It says so on its links. To those that it tells, it stays a way to others only for whom there is no better one, and they
//! tell nobody else of such a way: so those further away look for another one too. A laps relay does not know the word, and
//! is told that nobody is reached here any more. As the way is used while there is no other, what is on it is not lost
//! before the links end.

use super::{InfoBase, LinkId, Output, OwnMessage};
use crate::peering::node::NodeType;
use std::time::Instant;

impl InfoBase {
    /// This relay is about to end. It stays so; its own publications and subscriptions are not touched.
    pub fn leave(&mut self, now: Instant) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let links: Vec<LinkId> = self.links.ids().collect();
        for link in links {
            self.say_leaving(link);
        }
        self.nodes.touch_all();
        self.settle_nodes(now);
    }

    /// Tells the peer of a link, if there is something to tell. Stubs are told as well: they may know another edge.
    pub(super) fn say_leaving(&mut self, id: LinkId) {
        let link = self.links.get(id);
        if self.leaving && link.is_some_and(|link| link.mode.has_control() && link.kin.is_ours()) {
            self.counters.sent += 1;
            self.out.push_back(Output::SendOwn {
                link: id,
                message: OwnMessage::Leaving,
            });
        }
    }

    /// The peer of a link is about to end.
    pub(super) fn peer_leaves(&mut self, now: Instant, from: LinkId) {
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        if std::mem::replace(&mut link.leaving, true) {
            return;
        }
        for node in &link.heard {
            self.nodes.touch(*node);
        }
        self.settle_nodes(now);
        // laps peering, "Stub": more than one edge is for reaching others, and for when one ends.
        if self.role == NodeType::Stub && self.own.parent == Some(from) {
            self.choose_parent(now);
        }
    }
}
