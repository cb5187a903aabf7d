//! What the publisher that feeds the track is told of its readers: whether objects are wanted, and whether a new group
//! is.

use super::{Phase, TrackActor};
use crate::session::UpdateUpstream;
use crate::supervise::mailbox;
use crate::track::messages::{Source, WantNewGroup};
use actix::{AsyncContext, Context, Handler, SpawnHandle};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::dampen::Dampener;
use laps_protocol::relay::new_group::NewGroup;
use std::time::{Duration, Instant};
use tokio::time;

/// What the active publisher knows of the readers' wishes.
#[derive(Debug)]
pub(super) struct Demand {
    forward: Dampener<bool>,
    new_group: NewGroup,
    timer: Option<SpawnHandle>,
}

impl Demand {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            forward: Dampener::new(window, false),
            new_group: NewGroup::default(),
            timer: None,
        }
    }

    /// The value for our SUBSCRIBE, which says Forward 1 in any case. MOQT-14 §9.7 [D14-SUB-12]
    pub(super) fn subscribe(&mut self, largest: Option<Location>) -> Option<u64> {
        self.new_group.take_to_subscribe(largest)
    }

    /// The publisher has accepted our SUBSCRIBE. It has just heard that objects are wanted.
    pub(super) fn subscribed(&mut self, window: Duration, largest: Option<Location>) {
        self.forward = Dampener::told_at(window, true, now());
        self.new_group.subscribed(largest);
    }

    /// The value for a PUBLISH_OK with this Forward, after which the publisher is told of the next change at once.
    pub(super) fn accept(
        &mut self,
        window: Duration,
        forward: bool,
        largest: Option<Location>,
    ) -> Option<u64> {
        self.forward = Dampener::new(window, forward);
        if forward {
            self.new_group.take(largest)
        } else {
            None
        }
    }

    /// The publisher was told to send objects.
    pub(super) const fn is_forwarded(&self) -> bool {
        self.forward.told()
    }

    /// Objects came.
    pub(super) fn advanced(&mut self, largest: impl FnOnce() -> Option<Location>) {
        if self.new_group.is_outstanding() {
            self.new_group.advanced(largest());
        }
    }

    /// The publisher is gone, and with it what it was told.
    pub(super) fn lost(&mut self, ctx: &mut Context<TrackActor>) {
        self.new_group.lost();
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
    }
}

/// The time that the timers of an actor go by.
fn now() -> Instant {
    time::Instant::now().into_std()
}

impl TrackActor {
    /// The log has what the publisher sends: it makes the objects here, or was told to forward them.
    pub(super) fn is_followed(&self) -> bool {
        let active = self.sources.active();
        active.is_some_and(|(_, publisher)| matches!(publisher.source, Source::Local { .. }))
            || self.demand.is_forwarded()
    }

    /// Tells the publisher what it does not know yet of its readers' wishes.
    pub(super) fn tell_upstream(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Phase::Live {
            return;
        }
        let (wanted, largest) = (self.wants_objects(), self.fanout.largest());
        let Some((_, publisher)) = self.sources.active() else {
            return;
        };
        let (session, request) = match (&publisher.source, publisher.request) {
            (
                Source::Local {
                    wanted: told,
                    new_group,
                },
                _,
            ) => {
                told.send_if_modified(|told| std::mem::replace(told, wanted) != wanted);
                if self.demand.new_group.take(largest).is_some() {
                    new_group.send_modify(|asked| *asked += 1);
                }
                return;
            }
            (Source::Announced { session } | Source::Published { session, .. }, Some(request)) => {
                (session, request)
            }
            // It is being given up.
            (Source::Announced { .. } | Source::Published { .. }, None) => return,
        };
        // MOQT-14 §8.4 [D14-SUB-11] [D14-SUB-26]: Forward is 1 while one subscriber wants objects.
        self.demand.forward.want(wanted);
        let changed = self.demand.forward.poll(now()).is_some();
        let forward = self.demand.forward.told();
        if !forward {
            self.demand.new_group.paused();
        }
        // A new group that begins while nothing is forwarded would be lost on whoever asked for it.
        let new_group = if forward {
            self.demand.new_group.take(largest)
        } else {
            None
        };
        if changed || new_group.is_some() {
            let update = UpdateUpstream {
                request,
                forward,
                priority: self.terms.priority,
                new_group,
            };
            mailbox::signal(session, update);
        }
        if let Some(timer) = self.demand.timer.take() {
            ctx.cancel_future(timer);
        }
        self.demand.timer = self.demand.forward.due().map(|due| {
            ctx.run_later(due.saturating_duration_since(now()), |actor, ctx| {
                actor.demand.timer = None;
                actor.tell_upstream(ctx);
            })
        });
    }
}

impl Handler<WantNewGroup> for TrackActor {
    type Result = ();
    fn handle(&mut self, _: WantNewGroup, ctx: &mut Self::Context) {
        self.demand.new_group.want();
        self.tell_upstream(ctx);
    }
}
