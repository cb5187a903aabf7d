//! Which links may stand, and what is held against a node whose links were lost.

use super::{PeeringActor, now};
use crate::metrics::restarts;
use crate::peering::Reach;
use crate::peering::link::{MayStand, PeerLeaves, Refusal};
use crate::peering::roster::Ruling;
use actix::{Context, Handler};
use laps_protocol::peering::damping::Damping;
use laps_protocol::peering::info_base::{LinkId, RefuseReason};
use laps_protocol::peering::message::ResponseCode;
use laps_protocol::peering::node::NodeId;

/// Nodes whose flapping is remembered; the calmest goes first.
const MAX_DAMPED: usize = 4096;

impl<R: Reach> Handler<MayStand> for PeeringActor<R> {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, msg: MayStand, _: &mut Self::Context) -> Self::Result {
        self.options.faults.check("peering");
        let ruling = self.judge(&msg);
        if ruling.is_err() {
            self.counters.refused += 1;
        }
        ruling
    }
}

/// Its tracks have gone another way before it ends, so nothing is gained by keeping it away when it is back. Decision 0037.
impl<R: Reach> Handler<PeerLeaves> for PeeringActor<R> {
    type Result = ();

    fn handle(&mut self, PeerLeaves(link): PeerLeaves, _: &mut Self::Context) {
        if let Some(child) = self.links.get_mut(&link) {
            child.on_purpose = true;
        }
    }
}

impl<R: Reach> PeeringActor<R> {
    fn judge(&mut self, msg: &MayStand) -> Result<(), Refusal> {
        let refusal = |why| Refusal {
            code: ResponseCode::ConnectionError,
            why,
        };
        let node = msg.node.id;
        if let Some(child) = self.links.get_mut(&msg.link) {
            child.node = Some(node);
        }
        if self
            .damped
            .get_mut(&node)
            .is_some_and(|damping| damping.wait(now()).is_some())
        {
            return Err(refusal("links of this node come and go too often"));
        }
        match self.roster.enter(now(), msg) {
            Ruling::Stays => {}
            Ruling::Replaces(other) => {
                self.end_link(other, "another link to this node was dialled at once and stays")
            }
            // laps peering, "Node ID": only the first (oldest) will work.
            Ruling::Stranger(_) => return Err(refusal(RefuseReason::OtherLife.text())),
            // laps peering, "Connection Establishment": one connection for control.
            Ruling::YieldsTo(_) => return Err(refusal("there is a control link to this node already")),
        }
        if let Some(child) = self.links.get_mut(&msg.link) {
            child.stood = true;
        }
        Ok(())
    }

    /// A link that stood was lost, and not by our doing.
    fn lost(&mut self, node: NodeId) {
        self.counters.lost += 1;
        let settings = self.options.damping;
        if self.damped.len() >= MAX_DAMPED {
            self.damped.retain(|_, damping| !damping.is_clear(now()));
        }
        if self.damped.len() < MAX_DAMPED || self.damped.contains_key(&node) {
            let damping = self
                .damped
                .entry(node)
                .or_insert_with(|| Damping::new(now(), settings));
            damping.lost(now());
        }
    }

    /// The actor of a link is over.
    pub(super) fn link_down(&mut self, link: LinkId, ctx: &mut Context<Self>) {
        let Some(child) = self.links.remove(&link) else {
            return;
        };
        let entered = self.roster.over(link);
        if let Some(node) = entered.filter(|_| child.stood && !child.on_purpose) {
            self.lost(node);
        }
        if let Some(index) = child.wanted {
            restarts::restarted("peer_link");
            self.dial_again(index, child.node, ctx);
        }
    }
}
