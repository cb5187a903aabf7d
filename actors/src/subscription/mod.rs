//! Downstream subscriptions: one actor each, between a track's log and its owner's writer.

mod answer;
mod behind;
mod detached;
mod draining;
pub(crate) mod locate;
mod messages;
mod reading;
mod spec;
mod timing;
mod update;

pub(crate) use answer::{accept_message, accept_without_content};
pub use messages::{Leave, Stop, Update};
pub use spec::{Origin, Spec};

use crate::limits::{Account, Lease};
use crate::owner::Owner;
use crate::session::egress::{Egress, LanesChanged, Streams};
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::mailbox::{Credit, Wake};
use crate::track::handle::{self, LogId};
use crate::track::{Attach, Attached, ReaderId, TrackAdvanced, TrackGone, Unavailable};
use crate::transport::ConnHandle;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, SpawnHandle, WrapFuture,
};
use behind::Lag;
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::{self, ResolvedFilter};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    PublishDone, PublishDoneStatus, RequestError, RequestErrorReason, SubscribeOk,
};
use laps_protocol::moqt::session::Command;
use laps_protocol::relay::follow;
use laps_protocol::relay::track_log::Cursor;
use locate::{Attachment, Search};
use slog::{Logger, debug};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use timing::Timing;

/// One downstream subscription.
///
/// Parent: its owner. Arbiter: the owner's shard. Restart: transient; the owner keeps the [`Spec`] and the open
/// [`Streams`], resets these, and a new actor goes on at the next group. In: `TrackAdvanced`, `TrackGone`,
/// `LanesChanged`, [`Update`], [`Leave`], [`Stop`]. Out: `ResolveTrack` to the registry, `OpenReplica` to the shard, `Attach` to
/// the track, `Say` and `SubscriptionOver` to the owner, lanes to the owner's writer. Lost on death: its place in
/// the track.
#[derive(Debug)]
pub struct SubscriptionActor {
    birth: Birth,
    reader: ReaderId,
    credit: Credit,
    lane_credit: Credit,
    filter: Rc<Cell<ResolvedFilter>>,
    place: Option<Place>,
    ending: Option<TrackGone>,
    /// The track is being looked for.
    locating: bool,
    /// It was over before it was found.
    gone_early: bool,
    /// The life of the track that it reads is over, and the next has not begun.
    fading: bool,
    /// Looks whether what is open of a life that is over is taken still.
    draining: Option<SpawnHandle>,
    /// How many lives of the track it has read.
    lives: u64,
    /// The next pause before a publisher that refused is asked again.
    retry: Duration,
    /// The last wanted group is over, and what is late of it may still come.
    late: bool,
    /// It begins no more streams, and ends with the last one that is open.
    leaving: bool,
    /// Objects were wanted when it last looked.
    forwarding: bool,
    datagrams_lost: u64,
    /// Groups that the log had dropped when it was last looked at.
    evicted: Cell<u64>,
    lag: Lag,
    timing: Timing,
}

/// What a subscription's actor is made of.
#[derive(Debug)]
pub struct Birth {
    /// What was asked for.
    pub spec: Spec,
    /// An earlier actor failed; this one goes on at the next group.
    pub resumed: bool,
    /// What the shard shares.
    pub env: Env,
    /// Its parent.
    pub owner: Owner,
    /// For datagrams.
    pub conn: ConnHandle,
    /// The draft that the owner speaks.
    pub codec: Codec,
    /// The owner's writer.
    pub egress: Egress,
    /// The streams that are open for it.
    pub streams: Rc<Streams>,
    /// What the owner has.
    pub account: Account,
    /// Where it logs.
    pub log: Logger,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// Where it stands in the track.
#[derive(Debug)]
struct Place {
    log: LogId,
    cursor: Cursor,
    attachment: Attachment,
}

impl SubscriptionActor {
    fn locate(&mut self, ctx: &mut Context<Self>, wait: Option<Duration>, slot: Option<Lease>) {
        self.locating = true;
        let wake = Wake::sharing(ctx.address().recipient(), &self.credit);
        let gone = ctx.address().recipient();
        let (reader, spec) = (self.reader, self.birth.spec.clone());
        let asked = Rc::new(Cell::new((spec.wants(), spec.new_groups())));
        let said = Rc::clone(&asked);
        let attach = move || {
            said.set((spec.wants(), spec.new_groups()));
            let attach = Attach {
                reader,
                wake: wake.clone(),
                gone: gone.clone(),
                wants: spec.wants(),
                own: spec.own,
            };
            (attach, spec.new_groups() > 0)
        };
        let name = &self.birth.spec.subscribe.track;
        let search = Search {
            wait,
            slot,
            ..Search::new(
                &self.birth.env,
                name,
                &self.birth.account,
                &self.birth.owner,
                &self.birth.log,
            )
        };
        let found = locate::locate(search, attach);
        ctx.spawn(found.into_actor(self).map(move |found, actor, ctx| {
            actor.locating = false;
            let (attachment, attached) = match found {
                Ok(found) => found,
                Err(why) => {
                    actor.unavailable(ctx, why);
                    return;
                }
            };
            {
                // MOQT-14 §9.10 [D14-SUB-2]: an update may have come while the track was looked for.
                let (wants, new_groups) = (actor.birth.spec.wants(), actor.birth.spec.new_groups());
                if wants != asked.get().0 {
                    attachment.set_wants(wants);
                }
                if new_groups != asked.get().1 {
                    attachment.want_new_group();
                }
                actor.attached(ctx, attachment, attached);
            }
        }));
    }

    fn unavailable(&mut self, ctx: &mut Context<Self>, why: Unavailable) {
        debug!(self.birth.log, "track cannot be had"; "why" => %why);
        let Err(why) = self.do_without(ctx, why) else {
            return;
        };
        if self.birth.spec.is_accepted() {
            let status = if why.reason == RequestErrorReason::InvalidRange {
                PublishDoneStatus::SubscriptionEnded
            } else {
                PublishDoneStatus::InternalError
            };
            self.over(ctx, status, why.phrase);
        } else {
            let error = RequestError {
                reason: why.reason,
                phrase: why.phrase,
            };
            self.say(Command::Reject(self.birth.spec.request, error));
            ctx.stop();
        }
    }

    fn say(&self, command: Command) {
        self.birth.owner.say(command);
    }

    fn attached(&mut self, ctx: &mut Context<Self>, attachment: Attachment, attached: Attached) {
        if self.is_too_far_behind() {
            return;
        }
        self.begin_life(ctx);
        let again = self.lives > 1;
        let spec = &self.birth.spec;
        let resumed = self.birth.resumed && !again;
        let settled = if resumed {
            let next = attached
                .largest
                .map_or(Location::ZERO, |largest| Location::new(largest.group + 1, 0));
            // One that failed before it was accepted has nothing settled yet.
            let earlier = spec
                .filter()
                .filter(|_| !self.is_detached())
                .map_or_else(|| filter::resolve(&spec.subscribe.filter, attached.largest), Ok);
            earlier.map(|filter| ResolvedFilter {
                start: filter.start.max(next),
                ..filter
            })
        } else {
            filter::resolve(&spec.subscribe.filter, attached.largest)
        };
        let Ok(settled) = settled else {
            // MOQT-14 §9.7 [D14-SUB-7]
            let why = Unavailable::new(RequestErrorReason::InvalidRange, "the range is already over");
            self.unavailable(ctx, why);
            return;
        };
        let settled = self.rewound(&attached, settled);
        self.filter.set(if again {
            spec.settle_again(settled)
        } else {
            spec.settle(settled)
        });
        if !spec.is_accepted() {
            // MOQT-14 §8.3 [D14-SUB-9]: said only now that a publisher has accepted the track.
            self.accept(accept_message(
                &spec.subscribe,
                spec.alias,
                &attached.description(),
            ));
        }
        let Attached { log, edge, meta, .. } = attached;
        self.publisher_said(ctx, meta.delivery_timeout_ms);
        self.begin_near(log);
        self.place = Some(Place {
            log,
            cursor: edge.cursor,
            attachment,
        });
        self.forwarding = self.birth.spec.forward();
        if self.forwarding {
            self.birth.streams.takes(log);
        }
        self.birth.spec.reads(log);
        if self.forwarding && !resumed && self.birth.spec.continues {
            self.continue_open(log, edge.open, self.birth.spec.rewinds);
        }
        self.look(ctx);
        if std::mem::take(&mut self.gone_early) {
            let gone = TrackGone::new(PublishDoneStatus::InternalError, "the track has ended");
            if !self.outlive(ctx, &gone) {
                self.end(ctx, gone);
            }
        }
    }

    /// The range, as wide as what is open needs it where that is given from its start.
    fn rewound(&self, attached: &Attached, settled: ResolvedFilter) -> ResolvedFilter {
        let open = &attached.edge.open;
        let first = self.birth.spec.rewinds.then(|| {
            handle::read(attached.log, |log| {
                follow::first_group(log, open.iter().map(|(seq, _)| *seq))
            })
            .flatten()
        });
        let first = first
            .flatten()
            .map_or(settled.start, |group| Location::new(group, 0));
        ResolvedFilter {
            start: settled.start.min(first),
            ..settled
        }
    }

    /// MOQT-14 §10.4.2 [D14-DATA-17]: said before the first stream of this alias is asked for. The stack gives the
    /// connection's credit in the order in which it is wanted, so the peer knows the alias before objects use it up.
    fn accept(&self, ok: SubscribeOk) {
        self.birth.spec.accept(ok.group_order);
        self.say(Command::AcceptSubscribe(self.birth.spec.request, ok));
    }

    /// The subscription ends as soon as its streams are closed.
    fn end(&mut self, ctx: &mut Context<Self>, gone: TrackGone) {
        if self.ending.is_none() {
            self.ending = Some(gone);
            self.drains(ctx);
        }
        self.settle(ctx);
    }

    /// MOQT-14 §9.12 [D14-SUB-19]: PUBLISH_DONE only after every stream was closed.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        self.fade();
        if self.leaving && self.birth.streams.open() == 0 && self.ending.is_none() {
            let why = "its streams go on elsewhere";
            self.ending = Some(TrackGone::new(PublishDoneStatus::SubscriptionEnded, why));
        }
        // [D14-REQ-8]: the track may end before the news that it is had comes here; the request is answered first.
        if self.birth.spec.is_accepted()
            && self.birth.streams.open() == 0
            && let Some(gone) = self.ending.take()
        {
            self.over(ctx, gone.status, gone.phrase);
        }
    }

    fn over(&mut self, ctx: &mut Context<Self>, status: PublishDoneStatus, phrase: Bytes) {
        // MOQT-14 §9.12 [D14-SUB-20]
        let done = PublishDone {
            status,
            stream_count: Some(self.birth.streams.opened()),
            phrase,
        };
        self.birth.owner.subscription_over(self.birth.spec.request, done);
        ctx.stop();
    }
}

impl Birth {
    /// Starts the actor on this arbiter; it looks for its track at once.
    #[must_use]
    pub fn start(self) -> Addr<SubscriptionActor> {
        let birth = self;
        SubscriptionActor::create(|ctx| {
            let (_, credit) = Wake::<TrackAdvanced>::new(ctx.address().recipient());
            let (changed, lane_credit) = Wake::<LanesChanged>::new(ctx.address().recipient());
            birth.streams.tell(changed);
            let everything = ResolvedFilter {
                start: Location::ZERO,
                end_group: None,
            };
            let session = &birth.env.session;
            let max_wait = session.skips.max_wait(birth.spec.subscribe.track.namespace());
            birth.streams.times(max_wait.is_some());
            let lag = Lag::new(session.max_behind, max_wait);
            SubscriptionActor {
                birth,
                reader: ReaderId::next(),
                credit,
                lane_credit,
                filter: Rc::new(Cell::new(everything)),
                place: None,
                ending: None,
                locating: false,
                gone_early: false,
                fading: false,
                draining: None,
                lives: 0,
                retry: detached::FIRST_RETRY,
                late: false,
                leaving: false,
                forwarding: false,
                datagrams_lost: 0,
                evicted: Cell::new(0),
                lag,
                timing: Timing::default(),
            }
        })
    }
}

impl Actor for SubscriptionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if has_runtime() {
            let track = &self.birth.spec.subscribe.track;
            self.birth.env.faults.attend(ctx, "subscription", || track);
            let wait = self.first_wait();
            self.locate(ctx, wait, None);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let streams = &self.birth.streams;
        debug!(self.birth.log, "subscription ends"; "streams" => streams.opened(), "lagged" => streams.lagged(),
            "skips" => self.lag.skips, "expired" => streams.expired(), "datagrams_lost" => self.datagrams_lost);
    }
}

impl Handler<TrackAdvanced> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: TrackAdvanced, ctx: &mut Self::Context) {
        self.birth
            .env
            .faults
            .check_named("subscription", &self.birth.spec.subscribe.track);
        if self.lag.stays && !self.lag.datagrams {
            // [D14-LIM-7]: without the credit a flood costs nothing here. The next look gives it back.
            self.lag.withheld = true;
        } else {
            self.credit.consumed();
            self.look(ctx);
        }
    }
}

impl Handler<TrackGone> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, msg: TrackGone, ctx: &mut Self::Context) {
        self.look(ctx);
        // MOQT-14 §10.4.3 [D14-CLOSE-8]: with a track that failed goes its log, so there is nothing left to wait for.
        let gone = |place: &Place| handle::read(place.log, |_| ()).is_none();
        if self.place.as_ref().is_some_and(gone) {
            self.birth.streams.reset_unfinished(ResetCode::InternalError);
        }
        if !self.outlive(ctx, &msg) {
            self.end(ctx, msg);
        }
    }
}

impl Handler<LanesChanged> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: LanesChanged, ctx: &mut Self::Context) {
        self.lane_credit.consumed();
        self.look(ctx);
    }
}

impl Handler<Stop> for SubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
