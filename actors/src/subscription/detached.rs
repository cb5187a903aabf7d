//! Subscriptions that do without a publisher: they are accepted before there is one, and wait for the next when it goes
//! (decision 0012).

use super::locate;
use super::{Origin, SubscriptionActor};
use crate::track::{TrackGone, Unavailable, handle};
use actix::{AsyncContext, Context};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::relay::track_log::TrackLog;
use slog::info;
use std::time::Duration;

/// The pause before a publisher that refused is asked again: the first, and the longest it grows to.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

impl SubscriptionActor {
    /// MOQT-14 §8.3, §8.4 DEVIATION: by the operator's choice a SUBSCRIBE does not need a publisher (decision 0012).
    pub(super) fn is_detached(&self) -> bool {
        self.birth.env.session.detached && self.birth.spec.origin == Origin::PeerSubscribe
    }

    /// How long the actor waits for a publisher when it starts.
    pub(super) fn first_wait(&self) -> Option<Duration> {
        match (self.is_detached(), self.birth.spec.is_accepted()) {
            (false, _) => self.birth.env.session.subscribe_wait,
            (true, false) => Some(Duration::ZERO),
            (true, true) => None,
        }
    }

    /// Goes on without a track, if that is possible; why not, otherwise.
    pub(super) fn do_without(
        &mut self,
        ctx: &mut Context<Self>,
        why: Unavailable,
    ) -> Result<(), Unavailable> {
        if !self.is_detached() || why.reason == RequestErrorReason::InvalidRange {
            return Err(why);
        }
        if self.birth.spec.is_accepted() {
            // A publisher that refuses, or a relay that is full, may be different later.
            let pause = self.retry;
            self.retry = pause.saturating_mul(2).min(LAST_RETRY);
            ctx.run_later(pause, |actor, ctx| actor.locate(ctx, None, None));
            return Ok(());
        }
        if !why.for_now {
            return Err(why);
        }
        // Its place among those that wait is taken before it is accepted, so that none is accepted in vain.
        let slot = locate::waiting_place(&self.birth.account, &self.birth.log)?;
        info!(self.birth.log, "subscription is accepted without a publisher";
            "rule" => "MOQT-14 §8.3 [D14-SUB-9] does not hold with subscribe.detached");
        self.accept(super::accept_without_content(
            &self.birth.spec.subscribe,
            self.birth.spec.alias,
        ));
        self.locate(ctx, None, Some(slot));
        Ok(())
    }

    /// Waits for the next publisher instead of ending with this one; false when the subscription has to end.
    pub(super) fn outlive(&mut self, ctx: &mut Context<Self>, gone: &TrackGone) -> bool {
        // MOQT-14 §2.5 [D14-MAL-1]: of a malformed track the subscriber has to be told. After the end of the track there
        // are no objects, of whomever.
        let ended = self.place.as_ref().is_some_and(|place| {
            handle::read(place.log, TrackLog::end_of_track)
                .flatten()
                .is_some()
        });
        let malformed = gone.status == PublishDoneStatus::MalformedTrack;
        if !self.is_detached() || malformed || ended || self.ending.is_some() {
            return false;
        }
        if self.locating {
            // The track was over before the news that it is had came here.
            self.gone_early = true;
            return true;
        }
        info!(self.birth.log, "the publisher is gone, the subscription waits for the next";
            "rule" => "MOQT-14 §8.4 [D14-SUB-10] does not hold with subscribe.detached");
        self.fading = true;
        self.fade();
        self.drains(ctx);
        self.locate(ctx, None, None);
        true
    }

    /// Lets go of a life of the track that is over, as soon as what was complete of it has been sent.
    pub(super) fn fade(&mut self) {
        if self.fading && self.birth.streams.open() == 0 {
            self.place = None;
        }
    }

    /// The track is there again: what is left of its last life is reset, so that streams of two lives do not mix.
    pub(super) fn begin_life(&mut self, ctx: &mut Context<Self>) {
        self.lives += 1;
        self.retry = FIRST_RETRY;
        if std::mem::take(&mut self.fading) {
            self.has_drained(ctx);
            self.birth.streams.reset_all(ResetCode::Cancelled);
        }
    }
}
