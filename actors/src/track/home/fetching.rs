//! The home copy's FETCHes: the shell around the track's [`FetchDesk`].

use super::{Phase, TrackActor};
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::reply::{Reply, ReplyTo};
use crate::session::{CancelFetch, FetchUpstream, SessionActor};
use crate::supervise::mailbox;
use crate::track::messages::{ClosePast, OpenPast, PastOpened, ReadPast, Source, SourceId, Unavailable};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use laps_protocol::moqt::message::{
    Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason, RequestId,
};
use laps_protocol::relay::fetch::{Batch, FetchDesk, FetchLimits, Output, ReaderKey, Standing};
use laps_protocol::relay::track_log::{FillKey, PastRange, TrackLog};
use slog::{debug, info};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio::time;

/// Subscriber priority of the relay's own fetches: the middle. MOQT-14 §7.3 [D14-SUB-13]
const UPSTREAM_PRIORITY: u8 = 128;

type Opening = (OpenPast, ReplyTo<Result<PastOpened, Unavailable>>);

/// Everything that the home copy keeps for FETCH, beside the log.
#[derive(Debug)]
pub(super) struct Fetching {
    desk: FetchDesk,
    /// Fetches that came before it was known whether the track is subscribed.
    opening: Vec<Opening>,
    answers: HashMap<ReaderKey, ReplyTo<Batch>>,
    fills: HashMap<FillKey, Fill>,
    timer: Option<SpawnHandle>,
}

/// One FETCH of ours.
#[derive(Debug)]
struct Fill {
    range: PastRange,
    order: GroupOrder,
    asked: Option<Asked>,
    /// Publishers that were asked.
    tried: Vec<SourceId>,
    /// Who brought the last objects, and waits to be told that more are wanted.
    held: Option<ReplyTo<()>>,
}

/// Whom it was asked of.
#[derive(Debug)]
struct Asked {
    session: Addr<SessionActor>,
    request: Option<RequestId>,
}

impl Fetching {
    pub(super) fn new(limits: FetchLimits, is_origin: bool) -> Self {
        Self {
            desk: FetchDesk::new(limits, is_origin),
            opening: Vec::new(),
            answers: HashMap::new(),
            fills: HashMap::new(),
            timer: None,
        }
    }

    /// Somebody fetches, or wants to.
    pub(super) fn is_busy(&self) -> bool {
        !self.opening.is_empty() || !self.desk.is_empty()
    }
}

impl TrackActor {
    /// Gives the desk one input and carries out what comes of it.
    fn desk<R>(
        &mut self,
        ctx: &mut Context<Self>,
        input: impl FnOnce(&mut FetchDesk, Instant, &mut TrackLog) -> R,
    ) -> Option<R> {
        let (desk, now) = (&mut self.fetching.desk, now());
        let result = self.fanout.with_log(|log| input(desk, now, log));
        self.carry_out(ctx);
        result
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.fetching.desk.poll_output() {
            match output {
                Output::Answer(reader, batch) => {
                    if let Some(reply) = self.fetching.answers.remove(&reader) {
                        reply.send(batch);
                    }
                }
                Output::Ask { fill, range, order } => {
                    let new = Fill {
                        range,
                        order,
                        asked: None,
                        tried: Vec::new(),
                        held: None,
                    };
                    self.fetching.fills.insert(fill, new);
                    self.ask_next(ctx, fill, None);
                }
                Output::Take(fill) => {
                    let fill = self.fetching.fills.get_mut(&fill);
                    if let Some(reply) = fill.and_then(|fill| fill.held.take()) {
                        reply.send(());
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
        if let Some(timer) = self.fetching.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = self.fetching.desk.poll_timeout() {
            let wait = at.saturating_duration_since(now());
            self.fetching.timer = Some(ctx.run_later(wait.max(Duration::from_millis(1)), |actor, ctx| {
                actor.fetching.timer = None;
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
            Phase::Live => Standing::Live,
            Phase::Idle => Standing::Idle,
            Phase::Created | Phase::Gathering(_) | Phase::Subscribing | Phase::Ended => {
                return Err(Unavailable::for_now("the track has ended"));
            }
        };
        let meta = self.fanout.meta(Instant::now());
        let opened = PastOpened {
            // MOQT-14 §9.16.3 [D14-FETCH-4]: 0 is the publisher's order.
            group_order: match open.order {
                GroupOrderRequest::Fixed(order) => order,
                GroupOrderRequest::Publisher => meta
                    .as_ref()
                    .map_or_else(GroupOrder::default, |meta| meta.group_order),
            },
            max_cache_duration_ms: meta.and_then(|meta| meta.max_cache_duration_ms),
        };
        let (key, range, order) = (open.reader.key(), open.range, opened.group_order);
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

    /// Asks the next publisher that was not asked yet. MOQT-14 §8.4 [D14-FETCH-17]: any one will do.
    fn ask_next(&mut self, ctx: &mut Context<Self>, key: FillKey, last: Option<RequestErrorReason>) {
        let Some(fill) = self.fetching.fills.get_mut(&key) else {
            return;
        };
        let active = self.sources.active().map(|(id, _)| id);
        let standby = self.sources.iter().map(|(id, _)| id);
        let next = active
            .into_iter()
            .chain(standby)
            .find(|id| !fill.tried.contains(id));
        let session = next.and_then(|id| match &self.sources.get(id)?.source {
            Source::Announced { session } | Source::Published { session, .. } => Some((id, session.clone())),
            Source::Local { .. } => None,
        });
        let Some((id, session)) = session else {
            self.fetching.fills.remove(&key);
            let reason = last.unwrap_or(RequestErrorReason::TrackDoesNotExist);
            self.desk(ctx, |desk, now, log| desk.refused(now, log, key, reason));
            return;
        };
        fill.tried.push(id);
        fill.asked = Some(Asked {
            session: session.clone(),
            request: None,
        });
        let fetch = Fetch {
            priority: UPSTREAM_PRIORITY,
            group_order: GroupOrderRequest::Fixed(fill.order),
            range: FetchRange::Standalone {
                track: self.name.clone(),
                start: fill.range.start,
                end: fill.range.end,
            },
            params: MessageParams::default(),
        };
        let sink = FetchSink {
            key,
            objects: ctx.address().recipient(),
            news: ctx.address().recipient(),
        };
        debug!(self.log, "asks upstream"; "track" => %self.name, "from" => %fill.range.start, "to" => %fill.range.end);
        let asked = mailbox::ask(
            &session,
            FetchUpstream { sink, fetch },
            self.config.upstream_timeout,
        );
        ctx.spawn(
            asked
                .into_actor(self)
                .map(move |answer, actor, ctx| match answer {
                    Ok(Ok(request)) => {
                        let asked = actor
                            .fetching
                            .fills
                            .get_mut(&key)
                            .and_then(|fill| fill.asked.as_mut());
                        match asked.filter(|asked| asked.session == session) {
                            Some(asked) => asked.request = Some(request),
                            // It was given up in the meantime.
                            None => drop(mailbox::signal(&session, CancelFetch { request })),
                        }
                    }
                    Ok(Err(_)) | Err(_) => actor.ask_next(ctx, key, Some(RequestErrorReason::InternalError)),
                }),
        );
    }

    /// MOQT-14 §5.1 [D14-FETCH-16]: giving up is said.
    fn cancel(&mut self, key: FillKey) {
        if let Some(Asked {
            session,
            request: Some(request),
        }) = self.fetching.fills.remove(&key).and_then(|fill| fill.asked)
        {
            mailbox::signal(&session, CancelFetch { request });
        }
    }

    /// Nothing more is asked of anybody.
    pub(super) fn cancel_fills(&mut self) {
        let keys: Vec<_> = self.fetching.fills.keys().copied().collect();
        for key in keys {
            self.cancel(key);
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
        self.fetching
            .opening
            .retain(|(open, _)| open.reader != msg.reader);
        self.gathered_one(ctx, msg.reader);
        self.desk(ctx, |desk, now, log| desk.close(now, log, key));
        self.readers_changed(ctx);
    }
}

impl Handler<Fetched> for TrackActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Fetched, ctx: &mut Self::Context) -> Self::Result {
        let Fetched { key, chunks } = msg;
        let Some(fill) = self.fetching.fills.get_mut(&key) else {
            return Reply::Now(());
        };
        let (answer, reply) = Reply::later();
        fill.held = Some(reply);
        self.desk(ctx, |desk, now, log| desk.filled(now, log, key, chunks));
        answer
    }
}

impl Handler<FetchNews> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: FetchNews, ctx: &mut Self::Context) {
        let FetchNews { key, progress } = msg;
        if !self.fetching.fills.contains_key(&key) {
            return;
        }
        match progress {
            FetchProgress::Accepted(ok) => {
                if let Some(limit) = ok.params.max_cache_duration_ms {
                    self.fanout.limit_cache(Some(limit));
                }
                self.desk(ctx, |desk, now, log| desk.answered(now, log, key, ok));
            }
            // MOQT-14 §9.18: what another publisher may know better is asked of it.
            FetchProgress::Refused(error) if may_differ(error.reason) => {
                self.ask_next(ctx, key, Some(error.reason));
            }
            FetchProgress::Refused(error) => {
                self.fetching.fills.remove(&key);
                self.desk(ctx, |desk, now, log| desk.refused(now, log, key, error.reason));
            }
            FetchProgress::Ended(end) => {
                self.desk(ctx, |desk, now, log| desk.ended(now, log, key, end));
            }
        }
    }
}

/// The time that the timers of an actor go by.
fn now() -> Instant {
    time::Instant::now().into_std()
}

/// Whether another publisher of the track may answer otherwise.
const fn may_differ(reason: RequestErrorReason) -> bool {
    !matches!(
        reason,
        RequestErrorReason::NoObjects | RequestErrorReason::InvalidRange | RequestErrorReason::MalformedTrack
    )
}
