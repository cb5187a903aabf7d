//! DELIVERY_TIMEOUT of a subscription: what it is, and the one timer that enforces it.
//!
//! What is late when its turn comes is not begun (`protocol::relay::lane`). The timer is for what has no turn: a stream
//! that waits for the peer, for the publisher, or for other streams. It is set to the earliest moment at which something
//! that is open now can be late, and looks at the streams only then.

use super::SubscriptionActor;
use crate::track::handle;
use actix::{AsyncContext, Context, SpawnHandle};
use laps_protocol::relay::expiry::delivery_timeout;
use std::time::{Duration, Instant};

/// Streams that are late within so long of each other are looked at together.
const GRAIN: Duration = Duration::from_millis(1);

/// When something is late, and by whose word.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// The publisher's DELIVERY_TIMEOUT in milliseconds.
    publisher_ms: Option<u64>,
    timer: Option<SpawnHandle>,
}

impl SubscriptionActor {
    /// The publisher's DELIVERY_TIMEOUT is known.
    pub(super) fn publisher_said(&mut self, ctx: &mut Context<Self>, delivery_timeout_ms: Option<u64>) {
        self.timing.publisher_ms = delivery_timeout_ms;
        self.settle_timeout(ctx);
    }

    /// Takes over what both sides have said last. MOQT-14 §9.2.1.2, §9.10 [D14-PARAM-3] [D14-PARAM-6]
    pub(super) fn settle_timeout(&mut self, ctx: &mut Context<Self>) {
        let timeout = delivery_timeout(self.timing.publisher_ms, self.birth.spec.delivery_timeout_ms());
        if self.birth.streams.timeout() != timeout {
            self.birth.streams.set_timeout(timeout);
            if let Some(timer) = self.timing.timer.take() {
                ctx.cancel_future(timer);
            }
        }
    }

    /// Sets the timer, unless it is set: nothing that comes later is late earlier.
    pub(super) fn watch_time(&mut self, ctx: &mut Context<Self>) {
        if self.timing.timer.is_some() || self.birth.streams.timeout().is_none() {
            return;
        }
        let Some(place) = &self.place else {
            return;
        };
        let stats = self.birth.conn.stats();
        let due = handle::read(place.log, |log| self.birth.streams.due(log, stats)).flatten();
        if let Some(due) = due {
            let wait = due.saturating_duration_since(Instant::now()) + GRAIN;
            self.timing.timer = Some(ctx.run_later(wait, |actor, ctx| {
                actor.timing.timer = None;
                actor.expire();
                actor.watch_time(ctx);
            }));
        }
    }

    fn expire(&self) {
        if let Some(place) = &self.place {
            let (streams, stats) = (&self.birth.streams, self.birth.conn.stats());
            handle::read(place.log, |log| streams.expire(Instant::now(), log, stats));
        }
    }
}
