//! What the home copy says of its track.

use super::{Phase, TrackActor};
use crate::reply::Reply;
use crate::track::messages::{Describe, Description, Knows, WhoKnows};
use actix::{Context, Handler, MessageResult};
use std::time::Instant;

impl TrackActor {
    fn description(&self) -> Option<Description> {
        let meta = self.fanout.meta(Instant::now())?;
        let largest = self.fanout.largest();
        (self.phase == Phase::Live).then_some(Description { largest, meta })
    }

    /// Nodes say how the track stands there, so that nobody subscribes to it across the mesh to learn that. What a client of
    /// this relay publishes, or a node sends, is known here.
    fn who_knows(&self, own: bool) -> Knows {
        let mut serving = self.sources.serving();
        let known = match self.phase {
            Phase::Created | Phase::Gathering(_) | Phase::Idle => false,
            Phase::Live => {
                serving.any(|(_, publisher)| publisher.is_of_a_client())
                    || (self.is_followed() && self.fanout.largest().is_some())
            }
            // Whoever is asked answers soon; how the track ended is told to who attaches.
            Phase::Subscribing | Phase::Ended => true,
        };
        let (nodes, here) = self.sources.to_tell(own);
        if known || nodes.is_empty() {
            return Knows::Home;
        }
        Knows::Nodes { nodes, here }
    }

    /// The track has gone live, or has ended: whoever asked what it is is told.
    pub(super) fn answer_asked(&mut self) {
        let description = self.description();
        for reply in std::mem::take(&mut self.asked) {
            reply.send(description.clone());
        }
    }
}

impl Handler<Describe> for TrackActor {
    type Result = Reply<Option<Description>>;
    fn handle(&mut self, _: Describe, _: &mut Self::Context) -> Self::Result {
        if matches!(self.phase, Phase::Live | Phase::Ended) {
            return Reply::Now(self.description());
        }
        let (reply, to) = Reply::later();
        self.asked.retain(|asked| !asked.is_abandoned());
        self.asked.push(to);
        reply
    }
}

impl Handler<WhoKnows> for TrackActor {
    type Result = MessageResult<WhoKnows>;
    fn handle(&mut self, msg: WhoKnows, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.who_knows(msg.own))
    }
}
