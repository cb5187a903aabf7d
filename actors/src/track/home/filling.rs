//! The home copy's own FETCHes: which publisher is asked, and what becomes of the answer.

use super::TrackActor;
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::reply::{Reply, ReplyTo};
use crate::session::{CancelFetch, FetchUpstream, SessionActor};
use crate::supervise::mailbox;
use crate::track::messages::{Source, SourceId};
use actix::{ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use laps_protocol::moqt::message::{
    Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason, RequestId,
};
use laps_protocol::relay::track_log::{FillKey, PastRange, StreamEnd};
use slog::debug;

/// Subscriber priority of the relay's own fetches: the middle. MOQT-14 §7.3 [D14-SUB-13]
const UPSTREAM_PRIORITY: u8 = 128;

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
    session: Addr<SessionActor>,
    request: Option<RequestId>,
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

    /// One publisher refused, perhaps after it had sent objects, and its stream may bring more: what another one
    /// sends goes by a number of its own.
    fn ask_another(&mut self, ctx: &mut Context<Self>, key: FillKey, last: RequestErrorReason) {
        let fill = self.fetching.fills.remove(&key);
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

impl Handler<Fetched> for TrackActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Fetched, ctx: &mut Self::Context) -> Self::Result {
        let Fetched { key, chunks } = msg;
        let (answer, reply) = Reply::later();
        let Some(fill) = self.fetching.fills.get_mut(&key) else {
            // It was given up. Without an answer its stream is stopped. MOQT-14 §5.1 [D14-FETCH-16]
            return answer;
        };
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
                self.ask_another(ctx, key, error.reason);
            }
            FetchProgress::Refused(error) => {
                self.fetching.fills.remove(&key);
                self.desk(ctx, |desk, now, log| desk.refused(now, log, key, error.reason));
            }
            FetchProgress::Ended(end) => {
                if end != StreamEnd::Fin {
                    // Whether it is answered yet or not, nothing more is wanted of it.
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
