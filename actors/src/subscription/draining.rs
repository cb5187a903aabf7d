//! The rest of a track that has ended: who goes on taking it gets it.

use super::SubscriptionActor;
use actix::{AsyncContext, Context};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::relay::draining::{Draining, STILL};
use slog::info;

impl SubscriptionActor {
    /// The track, or this life of it, is over: what is open of it is reset when its reader stands still.
    pub(super) fn drains(&self, ctx: &mut Context<Self>) {
        self.look_again(ctx, Draining::new(self.birth.streams.progress()));
    }

    fn look_again(&self, ctx: &mut Context<Self>, mut draining: Draining) {
        let life = self.lives;
        ctx.run_later(STILL, move |actor, ctx| {
            let fading = actor.fading && actor.lives == life;
            if actor.ending.is_none() && !fading {
                return;
            }
            let streams = &actor.birth.streams;
            if draining.goes_on(streams.progress()) {
                actor.look_again(ctx, draining);
                return;
            }
            info!(actor.birth.log, "streams of a track that has ended take too long"; "streams" => streams.open());
            streams.reset_all(ResetCode::DeliveryTimeout);
            if actor.ending.is_none() {
                actor.place = None;
            }
        });
    }
}
