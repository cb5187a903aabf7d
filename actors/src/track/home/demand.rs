//! What the publishers that feed the track are told of its readers: whether objects are wanted, and whether a new group
//! is.

use super::fetching::now;
use super::publisher::Publisher;
use super::{Phase, TrackActor};
use crate::session::UpdateUpstream;
use crate::track::WantNewGroup;
use crate::track::audience::Audience;
use crate::track::messages::Source;
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::dampen::Dampener;
use laps_protocol::relay::new_group::NewGroup;
use std::time::{Duration, Instant};

/// What one publisher knows of the readers' wishes.
#[derive(Debug)]
pub(super) struct Demand {
    forward: Dampener,
    new_group: NewGroup,
}

/// How things stand with the readers.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    audience: Audience,
    largest: Option<Location>,
    priority: u8,
}

impl Demand {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            forward: Dampener::new(window, false),
            new_group: NewGroup::default(),
        }
    }

    /// A new group is wanted.
    pub(super) const fn want_group(&mut self) {
        self.new_group.want();
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

    /// A request for a new group is open.
    const fn is_outstanding(&self) -> bool {
        self.new_group.is_outstanding()
    }
}

impl Publisher {
    /// Its objects are wanted by one of these. What is for links is asked of publishers of this relay only.
    pub(super) fn is_wanted_by(&self, audience: Audience) -> bool {
        if self.is_here() {
            audience.wants_objects()
        } else {
            audience.own == Some(true)
        }
    }

    /// Tells it what it does not know yet; the value is when to look again.
    fn tell(&mut self, wishes: Wishes) -> Option<Instant> {
        let Wishes {
            audience,
            largest,
            priority,
        } = wishes;
        let objects = self.is_wanted_by(audience);
        let demand = &mut self.demand;
        let (upstream, request) = match (&self.source, self.request) {
            (Source::Local { wanted, new_group }, _) => {
                wanted.send_if_modified(|told| std::mem::replace(told, objects) != objects);
                if demand.new_group.take(largest).is_some() {
                    new_group.send_modify(|asked| *asked += 1);
                }
                return None;
            }
            (Source::Announced { upstream } | Source::Published { upstream, .. }, Some(request)) => {
                (upstream, request)
            }
            // It is being given up.
            (Source::Announced { .. } | Source::Published { .. }, None) => return None,
        };
        let at = now();
        // MOQT-14 §8.4 [D14-SUB-11]: 0 when nobody wants objects, which those do who are back in a moment.
        demand.forward.want(objects, at);
        let changed = demand.forward.poll(at).is_some();
        let forward = demand.forward.told();
        if changed {
            self.word.told(forward);
            self.heard = at;
            if forward {
                self.pulse.resumed(self.heard);
            } else {
                self.pulse.paused();
            }
        }
        if !forward {
            demand.new_group.paused();
        }
        // A new group that begins while nothing is forwarded would be lost on whoever asked for it.
        let new_group = if forward {
            demand.new_group.take(largest)
        } else {
            None
        };
        if changed || new_group.is_some() {
            let update = UpdateUpstream {
                request,
                forward,
                priority,
                new_group,
            };
            upstream.signal(update);
        }
        demand.forward.due()
    }
}

impl TrackActor {
    /// The log has what a publisher sends: it makes the objects here, or was told to forward them.
    pub(super) fn is_followed(&self) -> bool {
        let mut serving = self.sources.serving();
        serving.any(|(_, publisher)| publisher.is_local() || publisher.demand.is_forwarded())
    }

    /// Tells every publisher what it does not know yet of the readers' wishes.
    pub(super) fn tell_upstream(&mut self, ctx: &mut Context<Self>) {
        if self.phase != Phase::Live {
            return;
        }
        let readers = self.audience();
        let (audience, held) = self.links.held(readers, now(), self.config.linger);
        let wishes = Wishes {
            audience,
            largest: self.fanout.largest(),
            priority: self.terms.priority,
        };
        // MOQT-14 §8.4 [D14-SUB-11]: Forward is 1 while one subscriber wants objects, with all publishers of the track.
        let serving = self
            .sources
            .active_mut()
            .filter(|publisher| publisher.is_serving());
        let due = serving
            .filter_map(|publisher| publisher.tell(wishes))
            .chain(held)
            .min();
        if let Some(timer) = self.demand_timer.take() {
            ctx.cancel_future(timer);
        }
        self.demand_timer = due.map(|due| {
            ctx.run_later(due.saturating_duration_since(now()), |actor, ctx| {
                actor.demand_timer = None;
                actor.tell_upstream(ctx);
            })
        });
        self.settle_words(ctx);
    }

    /// Objects came: a new group answers whoever asked for one.
    pub(super) fn group_advanced(&mut self) {
        if !self.group_wanted {
            return;
        }
        let largest = self.fanout.largest();
        let mut outstanding = false;
        for publisher in self.sources.active_mut() {
            publisher.demand.new_group.advanced(largest);
            outstanding |= publisher.demand.is_outstanding();
        }
        self.group_wanted = outstanding;
        self.group_wanted_here &= outstanding;
    }
}

impl Handler<WantNewGroup> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: WantNewGroup, ctx: &mut Self::Context) {
        msg.arrived();
        // Whoever is asked for the track while the wish stands is asked for the group too.
        self.group_wanted = true;
        self.group_wanted_here |= msg.own;
        let asked = self.sources.active_mut();
        for publisher in asked.filter(|publisher| msg.own || publisher.is_here()) {
            publisher.demand.want_group();
        }
        self.tell_upstream(ctx);
    }
}
