//! The home copy's own FETCHes: which publisher is asked, and what becomes of the answer.

use super::TrackActor;
use super::fetching::now;
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::reply::{Reply, ReplyTo};
use crate::session::{CancelFetch, FetchUpstream};
use crate::track::Upstream;
use crate::track::messages::SourceId;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use laps_protocol::moqt::message::{
    Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason, RequestId,
};
use laps_protocol::relay::scheduler::DEFAULT_PRIORITY;
use laps_protocol::relay::track_log::{FillError, FillKey, Malformed, PastRange, StreamEnd};
use slog::debug;

/// Subscriber priority of what is fetched of sessions, whoever reads: the middle. MOQT-14 §7.3 [D14-SUB-13]
const UPSTREAM_PRIORITY: u8 = DEFAULT_PRIORITY;

/// One FETCH of ours.
#[derive(Debug)]
pub(super) struct Fill {
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
    source: SourceId,
    upstream: Upstream,
    request: Option<RequestId>,
}

impl Asked {
    /// Nothing more of it is wanted; of no effect when it has ended.
    fn cancel(self) {
        if let Some(request) = self.request {
            self.upstream.signal(CancelFetch { request });
        }
    }
}

impl Fill {
    pub(super) const fn new(range: PastRange, order: GroupOrder) -> Self {
        Self {
            range,
            order,
            asked: None,
            tried: Vec::new(),
            held: None,
        }
    }

    /// More of it is wanted.
    pub(super) fn take(&mut self) {
        if let Some(reply) = self.held.take() {
            reply.send(());
        }
    }
}

impl TrackActor {
    /// Asks the next publisher that was not asked yet. MOQT-14 §8.4 [D14-FETCH-17]: any one will do.
    pub(super) fn ask_next(
        &mut self,
        ctx: &mut Context<Self>,
        key: FillKey,
        last: Option<RequestErrorReason>,
    ) {
        let next = self.next_for(key);
        let range = self.fetching.fills.get(&key).map(|fill| fill.range);
        let urgency = range.map(|range| self.fetching.urgency(range));
        let Some(fill) = self.fetching.fills.get_mut(&key) else {
            return;
        };
        let Some((id, upstream)) = next else {
            self.fetching.fills.remove(&key);
            let reason = last.unwrap_or(RequestErrorReason::TrackDoesNotExist);
            self.desk(ctx, |desk, now, log| desk.refused(now, log, key, reason));
            return;
        };
        fill.tried.push(id);
        fill.asked = Some(Asked {
            source: id,
            upstream: upstream.clone(),
            request: None,
        });
        let fetch = Fetch {
            // Nodes and this relay are as one relay, see `Publisher::told_of`. Who comes to share it later changes nothing, since
            // a FETCH has no update.
            priority: urgency
                .filter(|_| !upstream.is_local())
                .unwrap_or(UPSTREAM_PRIORITY),
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
        let asked = upstream.ask(FetchUpstream { sink, fetch }, self.config.upstream_timeout);
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
                        match asked.filter(|asked| asked.upstream == upstream) {
                            Some(asked) => asked.request = Some(request),
                            // It was given up in the meantime.
                            None => drop(upstream.signal(CancelFetch { request })),
                        }
                    }
                    Ok(Err(_)) | Err(_) => actor.ask_next(ctx, key, Some(RequestErrorReason::InternalError)),
                }),
        );
    }

    /// Whom to ask next for a fill: the best of those that were not asked for it yet.
    fn next_for(&self, key: FillKey) -> Option<(SourceId, Upstream)> {
        let fill = self.fetching.fills.get(&key)?;
        let publishers = self
            .sources
            .to_fetch_from(now(), self.fetching.is_own(fill.range))
            .into_iter();
        let id = publishers.into_iter().find(|id| !fill.tried.contains(id))?;
        Some((id, self.sources.get(id)?.upstream()?.clone()))
    }

    /// Who does not answer is given up for another one, as long as there is one. What is overdue after that fails.
    pub(super) fn ask_instead_of_the_silent(&mut self, ctx: &mut Context<Self>) {
        for key in self.fetching.desk.overdue(now()) {
            let asked = self.fetching.fills.get(&key).and_then(|fill| fill.asked.as_ref());
            if self.fetching.desk.is_unheard(key)
                && let Some(publisher) = asked.and_then(|asked| self.sources.get_mut(asked.source))
            {
                publisher.cannot_fetch = true;
            }
            if self.next_for(key).is_some() {
                self.ask_another(ctx, key, RequestErrorReason::Timeout);
            }
        }
    }

    /// A publisher is lost: what was asked of it is asked of another one.
    pub(super) fn fetch_elsewhere(&mut self, ctx: &mut Context<Self>, id: SourceId) {
        let asked_of = |fill: &Fill| fill.asked.as_ref().is_some_and(|asked| asked.source == id);
        let fills = self.fetching.fills.iter().filter(|(_, fill)| asked_of(fill));
        let keys: Vec<_> = fills.map(|(key, _)| *key).collect();
        for key in keys {
            self.ask_another(ctx, key, RequestErrorReason::InternalError);
        }
    }

    /// One publisher refused, perhaps after it had sent objects, and its stream may bring more: what another one
    /// sends goes by a number of its own.
    fn ask_another(&mut self, ctx: &mut Context<Self>, key: FillKey, last: RequestErrorReason) {
        let mut fill = self.fetching.fills.remove(&key);
        if let Some(asked) = fill.as_mut().and_then(|fill| fill.asked.take()) {
            asked.cancel();
        }
        let renewed = self
            .desk(ctx, |desk, now, log| desk.renew(now, log, key))
            .flatten();
        if let (Some(new), Some(fill)) = (renewed, fill) {
            let fill = Fill {
                asked: None,
                held: None,
                ..fill
            };
            self.fetching.fills.insert(new, fill);
            self.ask_next(ctx, new, Some(last));
        }
    }

    /// MOQT-14 §5.1 [D14-FETCH-16]: giving up is said.
    pub(super) fn cancel(&mut self, key: FillKey) {
        if let Some(asked) = self.fetching.fills.remove(&key).and_then(|fill| fill.asked) {
            asked.cancel();
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

impl TrackActor {
    /// What a publisher brings for a FETCH breaks a rule.
    fn breaks(&mut self, ctx: &mut Context<Self>, key: FillKey, error: FillError) {
        let asked = self.fetching.fills.get(&key).and_then(|fill| fill.asked.as_ref());
        let (source, others) = (asked.map(|asked| asked.source), self.next_for(key).is_some());
        match (error, source) {
            // MOQT-14 §2.5 [D14-MAL-1] [D14-MAL-2]: who is right about an object that is known otherwise, nobody can tell.
            (FillError::Malformed(why), Some(source)) if others && why != Malformed::Conflict => {
                self.shun(ctx, source, &why.to_string());
            }
            (FillError::Malformed(why), _) => self.is_malformed(ctx, &why.to_string()),
            (_, _) if others => self.ask_another(ctx, key, RequestErrorReason::MalformedTrack),
            (_, _) => drop(self.desk(ctx, |desk, now, log| desk.broken(now, log, key))),
        }
    }
}

impl Handler<Fetched> for TrackActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Fetched, ctx: &mut Self::Context) -> Self::Result {
        if self.repairs.has(msg.key) {
            return self.repairing(ctx, msg);
        }
        let Fetched { key, chunks } = msg;
        let (answer, reply) = Reply::later();
        let Some(fill) = self.fetching.fills.get_mut(&key) else {
            // It was given up. Without an answer its stream is stopped. MOQT-14 §5.1 [D14-FETCH-16]
            return answer;
        };
        fill.held = Some(reply);
        let taken = self.desk(ctx, |desk, now, log| desk.filled(now, log, key, chunks));
        if let Some(Err(why)) = taken {
            self.breaks(ctx, key, why);
        }
        answer
    }
}

impl Handler<FetchNews> for TrackActor {
    type Result = ();
    fn handle(&mut self, msg: FetchNews, ctx: &mut Self::Context) {
        if self.repairs.has(msg.key) {
            self.repair_news(ctx, &msg);
            return;
        }
        let FetchNews { key, progress } = msg;
        if !self.fetching.fills.contains_key(&key) {
            return;
        }
        match progress {
            FetchProgress::Accepted(ok) => {
                let fill = self.fetching.fills.get(&key);
                let asked = fill.and_then(|fill| fill.asked.as_ref());
                if let Some(publisher) = asked.and_then(|asked| self.sources.get_mut(asked.source)) {
                    publisher.cannot_fetch = false;
                }
                if let Some(limit) = ok.params.max_cache_duration_ms {
                    self.fanout.limit_cache(Some(limit));
                }
                self.desk(ctx, |desk, now, log| desk.answered(now, log, key, ok));
            }
            // MOQT-14 §9.18: what another publisher may know better is asked of it.
            FetchProgress::Refused(error) if may_differ(error.reason) => {
                self.ask_another(ctx, key, error.reason);
            }
            FetchProgress::Refused(error) => {
                self.fetching.fills.remove(&key);
                self.desk(ctx, |desk, now, log| desk.refused(now, log, key, error.reason));
            }
            FetchProgress::Ended(end) => {
                if end != StreamEnd::Fin {
                    // Whether it is answered yet or not, nothing more is wanted of it, and another one may have it.
                    if self.next_for(key).is_some() {
                        self.ask_another(ctx, key, RequestErrorReason::InternalError);
                        return;
                    }
                    self.cancel(key);
                }
                self.desk(ctx, |desk, now, log| desk.ended(now, log, key, end));
            }
        }
    }
}

/// Whether another publisher of the track may answer otherwise.
const fn may_differ(reason: RequestErrorReason) -> bool {
    !matches!(
        reason,
        RequestErrorReason::NoObjects | RequestErrorReason::InvalidRange | RequestErrorReason::MalformedTrack
    )
}
