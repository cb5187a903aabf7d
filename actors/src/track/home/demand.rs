//! What the publishers that feed the track are told of its readers: whether objects are wanted, how urgently, and whether a
//! new group is.

use super::fetching::now;
use super::publisher::Publisher;
use super::{Phase, TrackActor};
use crate::session::UpdateUpstream;
use crate::track::WantNewGroup;
use crate::track::audience::Audience;
use crate::track::messages::Source;
use crate::track::wants::Wants;
use actix::{AsyncContext, Context, Handler};
use laps_protocol::moqt::location::Location;
use laps_protocol::relay::dampen::Dampener;
use laps_protocol::relay::new_group::NewGroup;
use std::time::{Duration, Instant};

/// What one publisher knows of the readers' wishes.
#[derive(Debug)]
pub(super) struct Demand {
    objects: Dampener<Wants>,
    /// What our SUBSCRIBE says.
    asked: Wants,
    new_group: NewGroup,
}

/// How things stand with the readers.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    audience: Audience,
    largest: Option<Location>,
    /// What sessions are told, whoever reads.
    priority: u8,
}

impl Demand {
    pub(super) fn new(window: Duration) -> Self {
        Self {
            objects: Dampener::new(window, Wants::Nothing),
            asked: Wants::default(),
            new_group: NewGroup::default(),
        }
    }

    /// A new group is wanted.
    pub(super) const fn want_group(&mut self) {
        self.new_group.want();
    }

    /// The value for our SUBSCRIBE, which says Forward 1 in any case. MOQT-14 §9.7 [D14-SUB-12]
    /// Objects are asked for as urgently as `wants` has it.
    pub(super) fn subscribe(&mut self, wants: Wants, largest: Option<Location>) -> Option<u64> {
        self.asked = Wants::of(true, wants.priority());
        self.new_group.take_to_subscribe(largest)
    }

    /// The publisher has accepted our SUBSCRIBE. It has just heard that objects are wanted.
    pub(super) fn subscribed(&mut self, window: Duration, largest: Option<Location>) {
        self.objects = Dampener::told_at(window, self.asked, now());
        self.new_group.subscribed(largest);
    }

    /// The value for a PUBLISH_OK that says this, after which the publisher is told of the next change at once.
    pub(super) fn accept(
        &mut self,
        window: Duration,
        wants: Wants,
        largest: Option<Location>,
    ) -> Option<u64> {
        self.objects = Dampener::new(window, wants);
        if wants.objects() {
            self.new_group.take(largest)
        } else {
            None
        }
    }

    /// The publisher was told to send objects.
    pub(super) fn is_forwarded(&self) -> bool {
        self.objects.told().objects()
    }

    /// A request for a new group is open.
    const fn is_outstanding(&self) -> bool {
        self.new_group.is_outstanding()
    }
}

impl Publisher {
    /// Its objects are wanted by one of these. What is for links is asked of publishers of this relay only.
    pub(super) fn is_wanted_by(&self, audience: Audience) -> bool {
        self.wanted_by(audience).objects()
    }

    fn wanted_by(&self, audience: Audience) -> Wants {
        if self.is_here() {
            audience.wants()
        } else {
            audience.own.unwrap_or_default()
        }
    }

    /// What it is to be told that these want. A session hears a priority of the relay's own, since those of its readers are
    /// not to be used upstream: MOQT-14 §7.3 [D14-SUB-13]. But nodes and this relay are as one relay: what waits there to come
    /// here goes by the most urgent of those whom it is for. MOQT-14 §7.2 [D14-PRIO-1]
    pub(super) fn told_of(&self, audience: Audience, priority: u8) -> Wants {
        let wanted = self.wanted_by(audience);
        match &self.source {
            Source::Announced { upstream } | Source::Published { upstream, .. } if !upstream.is_local() => {
                wanted
            }
            Source::Announced { .. } | Source::Published { .. } | Source::Local { .. } => {
                Wants::of(wanted.objects(), priority)
            }
        }
    }

    /// Tells it what it does not know yet; the value is when to look again.
    fn tell(&mut self, wishes: Wishes) -> Option<Instant> {
        let Wishes {
            audience,
            largest,
            priority,
        } = wishes;
        let wants = self.told_of(audience, priority);
        let objects = wants.objects();
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
        let before = demand.is_forwarded();
        demand.objects.want(wants, at);
        let changed = demand.objects.poll(at).is_some();
        let told = demand.objects.told();
        let forward = told.objects();
        if forward != before {
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
                priority: if forward { told.priority() } else { priority },
                new_group,
            };
            upstream.signal(update);
        }
        demand.objects.due()
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
