//! A track between subscriptions: what it subscribed to upstream is let go, its log is kept for FETCH until it has aged.

use super::{Phase, TrackActor};
use crate::track::messages::TrackGone;
use actix::Context;
use laps_protocol::moqt::message::PublishDoneStatus;

impl TrackActor {
    /// Nobody has subscribed for a while: the upstream subscription ends, and what was cached stays.
    pub(super) fn rest(&mut self, ctx: &mut Context<Self>) {
        self.linger = None;
        if self.phase != Phase::Live || self.has_readers() {
            return;
        }
        for id in self.sources.rest(|_| true) {
            self.publisher_ends(ctx, id);
        }
        if self.phase == Phase::Ended {
            // They contradict each other in what waited.
            return;
        }
        (self.group_wanted, self.group_wanted_here) = (false, false);
        if self.sources.any_serving() {
            self.restate();
            self.rest_is_over(ctx);
        } else {
            self.fanout.rest();
            self.idle(ctx);
        }
    }

    /// Nothing is subscribed; FETCH is answered all the same. MOQT-14 §9.17 [D14-FETCH-10]
    ///
    /// Not with a publisher that sent PUBLISH: it says so once, so the track stays live with it, at Forward 0.
    /// MOQT-14 §9.13 [D14-SUB-25]
    pub(super) fn idle(&mut self, ctx: &mut Context<Self>) {
        self.phase = Phase::Idle;
        self.open_waiting(ctx);
        self.past_advanced(ctx);
        self.rest_is_over(ctx);
    }

    /// A track at rest ends when nobody fetches and nothing is kept.
    pub(super) fn rest_is_over(&mut self, ctx: &mut Context<Self>) {
        if self.phase == Phase::Idle
            && !self.has_readers()
            && !self.fetching.is_busy()
            && (!self.sources.any_resting() || self.fanout.is_log_empty())
        {
            let gone = TrackGone::new(PublishDoneStatus::SubscriptionEnded, "nobody wants the track");
            self.finish(ctx, &gone);
        }
    }

    /// Somebody subscribes: whoever is not asked for the track is, at rest as well as with a publisher that sent PUBLISH.
    pub(super) fn wake_up(&mut self, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Idle | Phase::Live | Phase::Subscribing) && self.sources.any_resting()
        {
            self.engage(ctx);
        }
    }
}
