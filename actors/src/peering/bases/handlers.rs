//! What the bases do with what they are told.

use super::messages::{Admits, EndBases, LeaveMesh, LinkMeasured, LinkOver, LinkStands, PeerSaid, RoomAgain};
use super::{Counters, InfoBaseActor, TAKEN, now};
use crate::census::{self, Count};
use crate::peering::mesh::{SendToNode, Want};
use crate::supervise::mailbox::ask;
use actix::{ActorContext, ActorFutureExt, Handler, ResponseActFuture, WrapFuture};
use futures::FutureExt;
use futures::future::join_all;
use laps_protocol::peering::info_base::{self, CommandError, RefuseReason, Sizes};
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::{Message, Relayed};

/// Bytes of a NODE_MESSAGE beside its body.
const RELAYED: usize = 8 + 8 + 1 + 1 + 8;

impl Handler<LinkStands> for InfoBaseActor {
    type Result = Result<(), RefuseReason>;

    fn handle(&mut self, msg: LinkStands, ctx: &mut Self::Context) -> Self::Result {
        let LinkStands { link, up, mouth } = msg;
        self.mouths.insert(link, mouth);
        self.base.link_up(now(), link, up);
        self.settle(ctx);
        match self.refused.take_if(|(refused, _)| *refused == link) {
            Some((_, reason)) => {
                self.mouths.remove(&link);
                Err(reason)
            }
            None => Ok(()),
        }
    }
}

impl Handler<Admits> for InfoBaseActor {
    type Result = Result<(), RefuseReason>;

    fn handle(&mut self, Admits(up): Admits, _: &mut Self::Context) -> Self::Result {
        self.base.admits(&up)
    }
}

impl Handler<EndBases> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, _: EndBases, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<LeaveMesh> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, _: LeaveMesh, ctx: &mut Self::Context) {
        self.base.leave(now());
        self.settle(ctx);
    }
}

impl Handler<LinkOver> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, LinkOver(link): LinkOver, ctx: &mut Self::Context) {
        if self.mouths.remove(&link).is_some() {
            self.base.link_down(now(), link);
            self.settle(ctx);
        }
    }
}

impl Handler<LinkMeasured> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, msg: LinkMeasured, ctx: &mut Self::Context) {
        self.base.link_srtt(now(), msg.link, msg.srtt_us);
        self.settle(ctx);
    }
}

impl Handler<PeerSaid> for InfoBaseActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, msg: PeerSaid, ctx: &mut Self::Context) -> Self::Result {
        self.faults.check("info_base");
        let from_node = self.on_said(msg.link, msg.message);
        self.drain(ctx);
        let mut taken = Vec::new();
        // The news first: it may be of the node that speaks.
        if let (Some(news), Some(mesh)) = (self.news(), &self.mesh) {
            taken.push(ask(&mesh.news, news, TAKEN).boxed_local());
        }
        match (from_node, &self.mesh) {
            (Some(said), Some(mesh)) => taken.push(ask(&mesh.nodes, said, TAKEN).boxed_local()),
            // A Via has nobody to understand it.
            (Some(_), None) => self.counters.undeliverable += 1,
            (None, _) => {}
        }
        let taken = join_all(taken).into_actor(self);
        Box::pin(taken.map(|taken, bases, _| {
            let lost = taken.iter().filter(|taken| taken.is_err()).count();
            bases.counters.untaken += u64::try_from(lost).unwrap_or(u64::MAX);
        }))
    }
}

impl Handler<RoomAgain> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, _: RoomAgain, ctx: &mut Self::Context) {
        if let Some(credit) = &self.credit {
            credit.consumed();
        }
        self.settle(ctx);
    }
}

impl Handler<Want> for InfoBaseActor {
    type Result = Result<(), CommandError>;

    fn handle(&mut self, Want(command): Want, ctx: &mut Self::Context) -> Self::Result {
        let done = self.base.command(now(), command);
        self.settle(ctx);
        done
    }
}

impl Handler<SendToNode> for InfoBaseActor {
    type Result = ();

    fn handle(&mut self, msg: SendToNode, ctx: &mut Self::Context) {
        // The neighbour would take it for a breach, and end the link.
        if msg.body.len() + RELAYED > Limits::default().max_message_bytes as usize {
            self.counters.malformed += 1;
            return;
        }
        let relayed = Relayed {
            target: msg.target,
            source: self.node,
            hop_limit: Relayed::HOP_LIMIT,
            kind: msg.kind,
            request_id: msg.request_id,
            body: msg.body,
        };
        match self.base.control_link(msg.target) {
            Some(link) => self.say(link, Message::Relayed(relayed)),
            None => self.counters.undeliverable += 1,
        }
        self.settle(ctx);
    }
}

/// How much the bases hold, and what happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes, publications, subscriptions.
    pub sizes: Sizes,
    /// What the machine counts.
    pub machine: info_base::Counters,
    /// What happened beside that.
    pub counters: Counters,
}

/// How much do you hold?
#[derive(Clone, Copy, Debug, actix::Message)]
#[rtype(result = "View")]
pub struct TakeView;

impl Handler<Count> for InfoBaseActor {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let sizes = self.base.sizes();
        actix::MessageResult(vec![
            census::row("peering_nodes", sizes.nodes),
            census::row("peering_publishes", sizes.publishes),
            census::row("peering_subscribes", sizes.subscribes),
            census::row("peering_own", sizes.own),
            census::row("peering_remembered", sizes.remembered),
        ])
    }
}

impl Handler<TakeView> for InfoBaseActor {
    type Result = actix::MessageResult<TakeView>;

    fn handle(&mut self, _: TakeView, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(View {
            sizes: self.base.sizes(),
            machine: self.base.counters(),
            counters: self.counters,
        })
    }
}
