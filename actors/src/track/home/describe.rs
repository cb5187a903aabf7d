//! What the home copy says of its track.

use super::{Phase, TrackActor};
use crate::reply::Reply;
use crate::track::messages::{Describe, Description};
use actix::Handler;
use std::time::Instant;

impl TrackActor {
    fn description(&self) -> Option<Description> {
        let meta = self.fanout.meta(Instant::now())?;
        let largest = self.fanout.largest();
        (self.phase == Phase::Live).then_some(Description { largest, meta })
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
