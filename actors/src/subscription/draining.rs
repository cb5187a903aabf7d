//! The rest of a track that has ended: who goes on taking it gets it.

use super::SubscriptionActor;
use actix::{AsyncContext, Context};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::relay::draining::Draining;
use slog::info;

impl SubscriptionActor {
    /// The track, or this life of it, is over: what is open of it is reset when its reader stands still. One that fades has the
    /// time that it has from then on, whether the subscription ends meanwhile or not.
    pub(super) fn drains(&mut self, ctx: &mut Context<Self>) {
        if self.draining.is_none() {
            self.look_again(ctx, Draining::new(self.birth.streams.progress()));
        }
    }

    /// What was open is reset.
    pub(super) fn has_drained(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.draining.take() {
            ctx.cancel_future(timer);
        }
    }

    fn look_again(&mut self, ctx: &mut Context<Self>, mut draining: Draining) {
        let still = self.birth.env.session.drain_still;
        let timer = ctx.run_later(still, move |actor, ctx| {
            actor.draining = None;
            if actor.ending.is_none() && !actor.fading {
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
        self.draining = Some(timer);
    }
}
