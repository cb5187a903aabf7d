//! The home copy's FETCHes: the shell around the track's [`FetchDesk`].

use super::filling::Fill;
use super::{Phase, TrackActor};
use crate::reply::{Reply, ReplyTo};
use crate::track::messages::{ClosePast, OpenPast, PastOpened, ReadPast, Unavailable};
use actix::{AsyncContext, Context, Handler, SpawnHandle};
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest, RequestErrorReason};
use laps_protocol::relay::fetch::{Batch, FetchDesk, FetchLimits, Output, ReaderKey, Standing};
use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use laps_protocol::relay::track_log::{FillKey, PastRange, TrackLog};
use slog::info;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::time;

type Opening = (OpenPast, ReplyTo<Result<PastOpened, Unavailable>>);

/// What one reader fetches.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    range: PastRange,
    /// Its subscriber priority.
    priority: u8,
    /// It belongs to this relay.
    own: bool,
}

/// Everything that the home copy keeps for FETCH, beside the log.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) desk: FetchDesk,
    /// Fetches that came before it was known whether the track is subscribed.
    opening: Vec<Opening>,
    answers: HashMap<ReaderKey, ReplyTo<Batch>>,
    /// As many as the desk has.
    pub(super) fills: HashMap<FillKey, Fill>,
    timer: Option<SpawnHandle>,
    carrying: bool,
    /// What readers fetch.
    wanted: HashMap<ReaderKey, Wanted>,
    /// The publisher's order, as far as it ever said one.
    group_order: GroupOrder,
}

impl Fetching {
    pub(super) fn new(limits: FetchLimits, is_origin: bool) -> Self {
        Self {
            desk: FetchDesk::new(limits, is_origin),
            opening: Vec::new(),
            answers: HashMap::new(),
            fills: HashMap::new(),
            timer: None,
            carrying: false,
            wanted: HashMap::new(),
            group_order: GroupOrder::default(),
        }
    }

    /// The publisher orders its groups so.
    pub(super) const fn follow(&mut self, group_order: GroupOrder) {
        self.group_order = group_order;
    }

    /// Something of this range is for a reader of this relay: other nodes may be asked for it. What is for them they ask
    /// each other.
    pub(super) fn is_own(&self, range: PastRange) -> bool {
        self.wanted_in(range).any(|wanted| wanted.own)
    }

    /// How urgent this range is to the most urgent of those who fetch some of it. MOQT-14 §7.2 [D14-PRIO-1]
    pub(super) fn urgency(&self, range: PastRange) -> u8 {
        let priorities = self.wanted_in(range).map(|wanted| wanted.priority);
        priorities.min().unwrap_or(DEFAULT_PRIORITY)
    }

    fn wanted_in(&self, range: PastRange) -> impl Iterator<Item = &Wanted> {
        let meets = move |other: PastRange| other.contains(range.start) || range.contains(other.start);
        self.wanted.values().filter(move |wanted| meets(wanted.range))
    }

    /// Somebody fetches, or wants to.
    pub(super) fn is_busy(&self) -> bool {
        !self.opening.is_empty() || !self.desk.is_empty()
    }
}

impl TrackActor {
    /// Gives the desk one input and carries out what comes of it.
    pub(super) fn desk<R>(
        &mut self,
        ctx: &mut Context<Self>,
        input: impl FnOnce(&mut FetchDesk, Instant, &mut TrackLog) -> R,
    ) -> Option<R> {
        let (desk, now) = (&mut self.fetching.desk, now());
        let result = self.fanout.with_log(|log| input(desk, now, log));
        self.carry_out(ctx);
        result
    }

    /// Carrying out gives the desk further inputs, and ends up here again. The outermost call does the work: one
    /// inside the other, thousands of fetches that nobody can be asked for would end the stack.
    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.fetching.carrying, true) {
            return;
        }
        while let Some(output) = self.fetching.desk.poll_output() {
            match output {
                Output::Answer(reader, batch) => {
                    if let Some(reply) = self.fetching.answers.remove(&reader) {
                        reply.send(batch);
                    }
                }
                Output::Ask { fill, range, order } => {
                    self.fetching.fills.insert(fill, Fill::new(range, order));
                    self.ask_next(ctx, fill, None);
                }
                Output::Take(fill) => {
                    if let Some(fill) = self.fetching.fills.get_mut(&fill) {
                        fill.take();
                    }
                }
                Output::Cancel(fill) => self.cancel(fill),
                Output::AssumedFinished(range) => {
                    info!(self.log, "compatibility rule used"; "rule" => "UpstreamCannotFetch", "track" => %self.name,
                        "from" => %range.start, "to" => %range.end);
                }
            }
        }
        // One that was answered and has ended is not cancelled, and nothing more comes of it.
        let Fetching { desk, fills, .. } = &mut self.fetching;
        fills.retain(|fill, _| desk.is_open(*fill));
        self.fetching.carrying = false;
        if let Some(timer) = self.fetching.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.fetching.desk.poll_timeout() {
            let wait = at.saturating_duration_since(now());
            self.fetching.timer = Some(ctx.run_later(wait.max(Duration::from_millis(1)), |actor, ctx| {
                actor.fetching.timer = None;
                actor.ask_instead_of_the_silent(ctx);
                actor.desk(ctx, |desk, now, log| desk.timeout(now, log));
            }));
        }
        self.rest_is_over(ctx);
    }

    /// The log has something new.
    pub(super) fn past_advanced(&mut self, ctx: &mut Context<Self>) {
        if !self.fetching.desk.is_empty() {
            self.desk(ctx, |desk, now, log| desk.advanced(now, log));
        }
    }

    /// It is known whether the track is subscribed: those who came early get their answer.
    pub(super) fn open_waiting(&mut self, ctx: &mut Context<Self>) {
        // One by one: a track at rest lives as long as one of them waits.
        while let Some((open, reply)) = self.fetching.opening.pop() {
            let answer = self.open_past(ctx, &open);
            reply.send(answer);
        }
    }

    /// The track is over. Those who read go on with what is in the log, and nothing is asked for them any more.
    pub(super) fn past_ends(&mut self, ctx: &mut Context<Self>, why: &Unavailable) {
        for (_, reply) in std::mem::take(&mut self.fetching.opening) {
            reply.send(Err(why.clone()));
        }
        self.desk(ctx, |desk, now, log| desk.detach(now, log));
    }

    fn open_past(&mut self, ctx: &mut Context<Self>, open: &OpenPast) -> Result<PastOpened, Unavailable> {
        let standing = match self.phase {
            // MOQT-14 §9.17 [D14-FETCH-10]: a publisher that is paused may have gone on.
            Phase::Live if self.is_followed() => Standing::Live,
            Phase::Live | Phase::Idle => Standing::Idle,
            Phase::Created | Phase::Gathering(_) | Phase::Subscribing | Phase::Ended => {
                return Err(Unavailable::for_now("the track has ended"));
            }
        };
        let opened = PastOpened {
            // MOQT-14 §9.16.3 [D14-FETCH-4]: 0 is the publisher's order.
            group_order: match open.order {
                GroupOrderRequest::Fixed(order) => order,
                GroupOrderRequest::Publisher => self.fetching.group_order,
            },
            max_cache_duration_ms: self.fanout.cache_limit_ms(),
        };
        let (key, range, order) = (open.reader.key(), open.range, opened.group_order);
        let wanted = Wanted {
            range,
            priority: open.priority,
            own: open.own,
        };
        self.fetching.wanted.insert(key, wanted);
        let result = self.desk(ctx, |desk, now, log| {
            desk.open(now, log, standing, key, range, order)
        });
        match result {
            Some(Ok(())) => Ok(opened),
            Some(Err(RequestErrorReason::InvalidRange)) => Err(Unavailable::new(
                RequestErrorReason::InvalidRange,
                "the range starts after the largest object",
            )),
            Some(Err(reason)) => Err(Unavailable::new(reason, "too many fetches of this track")),
            None => Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the track failed",
            )),
        }
    }
}

impl Handler<OpenPast> for TrackActor {
    type Result = Reply<Result<PastOpened, Unavailable>>;
    fn handle(&mut self, msg: OpenPast, ctx: &mut Self::Context) -> Self::Result {
        match self.phase {
            Phase::Ended => Reply::Now(Err(Unavailable::for_now("the track has ended"))),
            Phase::Live | Phase::Idle => Reply::Now(self.open_past(ctx, &msg)),
            Phase::Created | Phase::Gathering(_) | Phase::Subscribing => {
                let (answer, reply) = Reply::later();
                let reader = msg.reader;
                self.fetching.opening.push((msg, reply));
                self.gathered_one(ctx, reader);
                answer
            }
        }
    }
}

impl Handler<ReadPast> for TrackActor {
    type Result = Reply<Batch>;
    fn handle(&mut self, msg: ReadPast, ctx: &mut Self::Context) -> Self::Result {
        let (answer, reply) = Reply::later();
        let key = msg.reader.key();
        self.fetching.answers.insert(key, reply);
        self.desk(ctx, |desk, now, log| desk.read(now, log, key));
        answer
    }
}

impl Handler<ClosePast> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: ClosePast, ctx: &mut Self::Context) {
        let key = msg.reader.key();
        self.fetching.answers.remove(&key);
        self.fetching.wanted.remove(&key);
        self.fetching
            .opening
            .retain(|(open, _)| open.reader != msg.reader);
        self.gathered_one(ctx, msg.reader);
        self.desk(ctx, |desk, now, log| desk.close(now, log, key));
        self.readers_changed(ctx);
    }
}

/// The time that the timers of an actor go by.
pub(super) fn now() -> Instant {
    time::Instant::now().into_std()
}
