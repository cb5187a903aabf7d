//! Nodes whose subscription the information bases do not tell of any more: they left, or what they subscribe to is not
//! published here any more. Then it ends as it does for who subscribes here, with what came before the end, and by PUBLISH_DONE.

use super::OriginActor;
use super::answers::End;
use super::news::Unsettled;
use super::track::Told;
use actix::{AsyncContext, Context};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::Answer;
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::draining::{Draining, STILL};
use std::time::Duration;

/// How long a subscription may take to end by itself after streams of its track have gone on: longer than those of a track
/// that has ended are waited for ([`STILL`]).
const PARTING: Duration = Duration::from_secs(15);
const _: () = assert!(
    PARTING.as_millis() > STILL.as_millis(),
    "what is still taken is not cut off"
);

impl OriginActor {
    /// The bases do not tell of the subscription of a node any more. The value is under which number it has to be told of
    /// the end, if that is to come by itself.
    pub(super) fn gone(
        &mut self,
        ctx: &mut Context<Self>,
        source: NodeId,
        hash: FullNameHash,
        unsettled: &mut Unsettled,
    ) -> Option<RequestId> {
        let track = self.tracks.get_mut(&hash)?;
        // Of stubs the bases tell whatever is published, so those have left.
        let withdrawn = !self.stubs.contains(&source) && !self.ledger.borrow().covers(&track.name);
        let served = !track.slots.is_empty();
        let node = track.nodes.get_mut(&source);
        if let Some(node) = node.filter(|node| withdrawn && served && node.told == Told::Ok) {
            node.parting = true;
            return Some(node.request);
        }
        self.unsubscribe(ctx, source, hash, unsettled);
        None
    }

    /// These nodes have some time to take what came before the end: many are waited for as one.
    pub(super) fn parts(&self, ctx: &mut Context<Self>, hash: FullNameHash, nodes: Vec<(NodeId, RequestId)>) {
        if let Some(track) = self.tracks.get(&hash) {
            Self::wait_for(ctx, hash, nodes, Draining::new(track.progress()));
        }
    }

    fn wait_for(
        ctx: &mut Context<Self>,
        hash: FullNameHash,
        nodes: Vec<(NodeId, RequestId)>,
        draining: Draining,
    ) {
        ctx.run_later(PARTING, move |actor, ctx| actor.part(ctx, hash, nodes, draining));
    }

    /// Some may not have ended by themselves: what they were sent is on its way still, or others read the track here.
    fn part(
        &mut self,
        ctx: &mut Context<Self>,
        hash: FullNameHash,
        mut nodes: Vec<(NodeId, RequestId)>,
        mut draining: Draining,
    ) {
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        nodes.retain(|(id, request)| {
            let node = track.nodes.get(id);
            node.is_some_and(|node| node.parting && node.request == *request && node.told == Told::Ok)
        });
        if nodes.is_empty() {
            return;
        }
        if draining.goes_on(track.progress()) {
            Self::wait_for(ctx, hash, nodes, draining);
            return;
        }
        let why = "the track is not published in the mesh any more";
        let end = End::of_error(RequestError::new(RequestErrorReason::InternalError, why));
        let mut unsettled = Unsettled::new();
        for (node, request) in nodes {
            self.answer(node, hash, request, Answer::Done(end.done.clone()));
            self.unsubscribe(ctx, node, hash, &mut unsettled);
        }
        self.settle_all(ctx, unsettled);
    }

    /// A node leaves, and what is under way to it has no use any more. What follows for the others is left in `unsettled`.
    pub(super) fn unsubscribe(
        &mut self,
        ctx: &mut Context<Self>,
        source: NodeId,
        hash: FullNameHash,
        unsettled: &mut Unsettled,
    ) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        if track.nodes.remove(&source).is_none() {
            return;
        }
        self.declined.remove(&track.name, source);
        track.cuts.forget(source);
        if track.nodes.is_empty() {
            // Its place is free for another track that the same message may tell of.
            unsettled.remove(&hash);
            self.settle(ctx, hash, &[]);
        } else {
            self.leave_aside(hash, source);
            unsettled.entry(hash).or_default().gone.insert(source);
        }
    }
}
