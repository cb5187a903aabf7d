//! Nodes whose subscription the information bases do not tell of any more: they left, or what they subscribe to is not
//! published here any more. Then it ends as it does for who subscribes here, with what came before the end, and by PUBLISH_DONE.

use super::OriginActor;
use super::answers::End;
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
    /// The bases do not tell of the subscription of a node any more.
    pub(super) fn gone(&mut self, ctx: &mut Context<Self>, source: NodeId, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        // Of stubs the bases tell whatever is published, so those have left.
        let withdrawn = !self.stubs.contains(&source) && !self.ledger.borrow().covers(&track.name);
        let served = !track.slots.is_empty();
        let node = track.nodes.get_mut(&source);
        match node.filter(|node| withdrawn && served && node.told == Told::Ok) {
            Some(node) => {
                node.parting = true;
                let request = node.request;
                let draining = Draining::new(track.progress());
                Self::parts(ctx, (source, hash), request, draining);
            }
            None => self.unsubscribe(ctx, source, hash),
        }
    }

    fn parts(ctx: &mut Context<Self>, of: (NodeId, FullNameHash), request: RequestId, draining: Draining) {
        ctx.run_later(PARTING, move |actor, ctx| actor.part(ctx, of, request, draining));
    }

    /// It has not ended by itself: what it was sent is on its way still, or others read the track here.
    fn part(
        &mut self,
        ctx: &mut Context<Self>,
        (source, hash): (NodeId, FullNameHash),
        request: RequestId,
        mut draining: Draining,
    ) {
        let Some(track) = self.tracks.get(&hash) else {
            return;
        };
        let node = track.nodes.get(&source);
        if node.is_some_and(|node| node.parting && node.request == request && node.told == Told::Ok) {
            if draining.goes_on(track.progress()) {
                Self::parts(ctx, (source, hash), request, draining);
                return;
            }
            let why = "the track is not published in the mesh any more";
            let end = End::of_error(RequestError::new(RequestErrorReason::InternalError, why));
            self.answer(source, hash, request, Answer::Done(end.done));
            self.unsubscribe(ctx, source, hash);
        }
    }

    /// A node leaves, and what is under way to it has no use any more.
    pub(super) fn unsubscribe(&mut self, ctx: &mut Context<Self>, source: NodeId, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        if track.nodes.remove(&source).is_some() {
            self.declined.remove(&track.name, source);
            track.cuts.forget(source);
            self.leave_aside(hash, source);
            self.settle(ctx, hash, &[]);
        }
    }
}
