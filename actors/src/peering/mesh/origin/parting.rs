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
use std::time::Duration;

/// How long a subscription may take to end by itself: longer than streams of a track that has ended are waited for.
const PARTING: Duration = Duration::from_secs(15);

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
                ctx.run_later(PARTING, move |actor, ctx| {
                    actor.part(ctx, (source, hash), request)
                });
            }
            None => self.unsubscribe(ctx, source, hash),
        }
    }

    /// It has not ended by itself: others read the track here still.
    fn part(&mut self, ctx: &mut Context<Self>, (source, hash): (NodeId, FullNameHash), request: RequestId) {
        let node = self.tracks.get(&hash).and_then(|track| track.nodes.get(&source));
        if node.is_some_and(|node| node.parting && node.request == request && node.told == Told::Ok) {
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
            track.cuts.forget(source);
            self.leave_aside(hash, source);
            self.settle(ctx, hash, None);
        }
    }
}
