//! The places of a track's publishers: at the bound, whoever brings nothing makes way.

use super::TrackActor;
use super::fetching::now;
use super::publisher::Fate;
use crate::track::messages::Unavailable;
use actix::{AsyncContext, Context};
use std::time::{Duration, Instant};

impl TrackActor {
    /// At the bound, a publisher that has brought nothing for long gives its place to one that waits for it; false when
    /// all bring objects.
    ///
    /// MOQT-14 §8.2 [D14-PUB-2]: a process that was killed says nothing, and its connection lives on until it is idle for
    /// too long. A few that come back in turn would take all places, and none of them would feed the track.
    pub(super) fn make_room(&mut self, ctx: &mut Context<Self>) -> bool {
        let Some(id) = self.sources.quiet_since(self.quiet_before()) else {
            return false;
        };
        let why = Unavailable::for_now("the publisher brings nothing, and others wait for its place");
        self.lose(ctx, id, &why, Fate::Quiet);
        true
    }

    /// Who has brought nothing since then makes way: it has had the time that it has for an answer.
    pub(super) fn quiet_before(&self) -> Option<Instant> {
        now().checked_sub(self.config.upstream_timeout)
    }

    /// Looks again for who makes way as long as somebody waits for a place.
    pub(super) fn await_room(&mut self, ctx: &mut Context<Self>) {
        if self.room_timer.is_some() || !self.sources.any_waiting(self.has_own()) {
            return;
        }
        // Without one, all places are those of publishers that have yet to answer.
        let Some(heard) = self.sources.quietest().map(|(_, heard)| heard) else {
            return;
        };
        let due = heard + self.config.upstream_timeout;
        let wait = due.saturating_duration_since(now()).max(Duration::from_millis(1));
        self.room_timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.room_timer = None;
            if !actor.sources.any_waiting(actor.has_own()) || !actor.make_room(ctx) {
                actor.await_room(ctx);
            }
        }));
    }
}
