//! What changes a subscription while it runs: SUBSCRIBE_UPDATE, and the end of its last group.

use super::{Leave, SubscriptionActor, Update};
use crate::track::TrackGone;
use crate::track::handle;
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::relay::track_log::TrackLog;
use std::time::Duration;

/// How long objects of the last wanted group may still come after a later group was seen.
const LAST_GROUP_GRACE: Duration = Duration::from_secs(1);

impl Handler<Update> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, msg: Update, ctx: &mut Self::Context) {
        // The owner has put the change into the spec already.
        let forward = self.birth.spec.forward();
        self.birth.streams.reorder();
        if !forward {
            // MOQT-14 §10.4.3 [D14-CLOSE-2]: an early end is a reset.
            self.birth.streams.reset_all(ResetCode::Cancelled);
            self.birth.streams.rests();
        }
        if let Some(place) = &self.place {
            place.attachment.set_wants(self.birth.spec.wants());
            if msg.0.params.new_group_request.is_some() {
                place.attachment.want_new_group();
            }
        }
        self.narrow(ctx);
        self.settle_timeout(ctx);
        if forward && !self.forwarding {
            self.forward_again();
        }
        self.forwarding = forward;
        self.look(ctx);
    }
}

impl Handler<Leave> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, Leave(leaving): Leave, ctx: &mut Self::Context) {
        // What came before this is its to send.
        self.look(ctx);
        self.leaving = leaving;
        self.look(ctx);
    }
}

impl SubscriptionActor {
    /// Takes over the range of the spec.
    fn narrow(&mut self, ctx: &mut Context<Self>) {
        let Some(filter) = self.birth.spec.filter() else {
            return;
        };
        self.filter.set(self.not_given_up(filter));
        // MOQT-14 §10.4.3 [D14-CLOSE-2]: a stream that is no longer wanted is reset, also when nothing more comes on it.
        let beyond = |group| !filter.admits_group(group);
        self.birth.streams.reset_groups(ResetCode::Cancelled, beyond);
        let largest = self
            .place
            .as_ref()
            .and_then(|place| handle::read(place.log, TrackLog::largest).flatten());
        if filter.is_empty() || filter.is_over(largest) {
            self.run_out(ctx);
        }
    }

    /// Objects are wanted again: from here on, since nobody noticed what came meanwhile. MOQT-14 §5.1 [D14-SUB-2]
    fn forward_again(&mut self) {
        let Some(place) = &mut self.place else {
            return;
        };
        let log = place.log;
        self.birth.streams.takes(log);
        if let Some(edge) = handle::read(log, TrackLog::live_edge) {
            place.cursor = edge.cursor;
            self.resume_near(log);
            self.continue_open(log, edge.open, false);
        }
    }

    /// The last wanted group is over: the subscription ends when what is late of it had its chance. [D14-SUB-29]
    pub(super) fn run_out(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.late, true) {
            return;
        }
        ctx.run_later(LAST_GROUP_GRACE, |actor, ctx| {
            let why = "the last wanted group is over";
            actor.end(ctx, TrackGone::new(PublishDoneStatus::SubscriptionEnded, why));
        });
    }
}
