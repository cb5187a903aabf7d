//! What was lost on the way from another node is fetched from it, for the readers that are there.
//!
//! A link that fails cuts streams short, and what its node made until data took another way came to nobody. Once the node
//! sends again, everything from the group of the first cut stream on is fetched from it and goes into the log like what
//! comes on its streams: what is known already is nothing new there. So readers get it, late.

use super::TrackActor;
use super::fetching::now;
use super::publisher::{Publisher, Torn};
use crate::fetch::{FetchNews, FetchProgress, FetchSink, Fetched};
use crate::reply::{Reply, ReplyTo};
use crate::session::{CancelFetch, FetchUpstream, fresh_stream};
use crate::track::Upstream;
use crate::track::messages::SourceId;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::{GroupId, Location, SubgroupId};
use laps_protocol::moqt::message::{
    Fetch, FetchRange, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason, RequestId,
};
use laps_protocol::moqt::object::ObjectHeader;
use laps_protocol::relay::track_log::{Append, Fill, FillKey, StreamEnd, StreamKey};
use slog::{debug, info};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Groups that are fetched at most, far more than are made while another way is found: who is further behind than that
/// wants what is new. What of them is kept still, their origin decides.
const MAX_GROUPS: u64 = 1024;
/// Repairs of one track at once, those included whose streams have yet to end: a few for each node that it has, as a rule.
const MAX_REPAIRS: usize = 64;
/// How long nothing of a repair may come. How long it takes in all does not matter: on a slow link much of it waits for what
/// is new.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many bytes of an object are as good a sign that it goes on as another object is.
const SIGN_BYTES: usize = 1024;
/// How long its node may take to answer. A message on a link that dies is lost.
const UNHEARD: Duration = Duration::from_secs(5);
/// One that was cut short itself is begun again so much later.
const PAUSE: Duration = Duration::from_millis(500);
/// So often without getting further than any time before, if only by an object.
const TRIES: u32 = 5;
/// Until what was cut short is fetched where its publisher begins nothing new, by which it would be known that another way
/// is found.
const SILENCE: Duration = Duration::from_secs(2);
/// Until the streams that it brought are ended. They end by a reset, since what follows on them is not known: by then what
/// the node itself still sends of these groups has begun to come, and goes on in the same streams to readers.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// One repair.
#[derive(Debug)]
struct Repair {
    source: SourceId,
    upstream: Upstream,
    request: Option<RequestId>,
    plan: Plan,
    /// What was lost since it was asked for.
    next: Option<Torn>,
    /// Its node has answered.
    heard: bool,
    /// When it last got further, and the bytes that came since.
    moved: Instant,
    bytes: usize,
    /// The object that began last: what it has of earlier groups is all of them, since they come in order.
    reached: Option<Location>,
    /// What it brought, as streams of the node: MOQT has objects of a group in one order, whatever their subgroups.
    streams: BTreeMap<(GroupId, SubgroupId), StreamKey>,
    /// The stream of the object that began last.
    current: Option<StreamKey>,
    whole: bool,
    over: bool,
}

/// What is to be fetched.
#[derive(Clone, Copy, Debug)]
struct Plan {
    range: Torn,
    /// Of groups below this its node sends nothing any more, so that they are whole when all of the answer came.
    settled: GroupId,
    /// How far it ever got.
    reached: Option<Location>,
    /// How often it was cut short since.
    tries: u32,
}

/// What becomes of a repair that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Whatever there was has come, or is not to be had.
    Done,
    /// It was lost on the way too.
    Cut,
}

/// All repairs of a track, by numbers far from those of its FETCH desk.
#[derive(Debug)]
pub(super) struct Repairs {
    open: BTreeMap<FillKey, Repair>,
    /// Those that begin again in a moment, by their last number.
    again: BTreeMap<FillKey, (SourceId, Plan)>,
    next: u64,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            again: BTreeMap::new(),
            next: 1 << 63,
        }
    }
}

impl Repairs {
    /// Whether this is what a repair brings.
    pub(super) fn has(&self, key: FillKey) -> bool {
        key.0 >= 1 << 63
    }

    /// Something of this publisher is being fetched.
    pub(super) fn is_under_way(&self, source: SourceId) -> bool {
        let mut open = self.open.values();
        let mut again = self.again.values();
        open.any(|repair| repair.source == source && !repair.over) || again.any(|(of, _)| *of == source)
    }
}

impl Repair {
    /// As what comes on streams.
    fn chunks(&mut self, fills: Vec<Fill>) -> Vec<Append> {
        let mut chunks = Vec::with_capacity(fills.len());
        for fill in fills {
            match fill {
                Fill::Object(header) => {
                    self.moves();
                    let (group, subgroup) = (header.location.group, header.subgroup);
                    self.reached = Some(header.location);
                    let stream = *self.streams.entry((group, subgroup)).or_insert_with(|| {
                        let stream = fresh_stream();
                        chunks.push(Append::SubgroupOpened {
                            stream,
                            group,
                            subgroup,
                            priority: header.priority,
                            // An empty block says nothing else than none.
                            has_extensions: true,
                            end_of_group: false,
                        });
                        stream
                    });
                    self.current = Some(stream);
                    let header = ObjectHeader {
                        id: header.location.object,
                        status: header.status,
                        extensions: header.extensions,
                        payload_len: header.payload_len,
                    };
                    chunks.push(Append::ObjectStarted { stream, header });
                }
                Fill::Payload(bytes) => {
                    self.bytes = self.bytes.saturating_add(bytes.len());
                    if self.bytes >= SIGN_BYTES {
                        self.moves();
                    }
                    if let Some(stream) = self.current {
                        chunks.push(Append::Payload { stream, bytes });
                    }
                }
            }
        }
        chunks
    }

    fn moves(&mut self) {
        (self.moved, self.bytes) = (now(), 0);
    }

    /// All its streams end; `alone` when nobody else may bring more of a group.
    fn closing(self, alone: impl Fn(GroupId) -> bool) -> Vec<Append> {
        let streams = self.streams.into_iter();
        let close = |((group, _), stream)| {
            // MOQT-14 §10.4.3 [D14-CLOSE-1], §9.16.3 [D14-FETCH-5]: what was not fetched does not exist.
            let whole = self.whole || self.reached.is_some_and(|reached| group < reached.group);
            let end = if whole && group < self.plan.settled && alone(group) {
                StreamEnd::Fin
            } else {
                StreamEnd::Reset(ResetCode::Cancelled)
            };
            Append::SubgroupClosed { stream, end }
        };
        streams.map(close).collect()
    }
}

impl TrackActor {
    /// A node sends again after streams of it were cut short.
    pub(super) fn repair(&mut self, ctx: &mut Context<Self>, source: SourceId, range: Torn) {
        let plan = Plan {
            range,
            settled: 0,
            reached: None,
            tries: 0,
        };
        self.begin_repair(ctx, source, plan);
    }

    /// The way from a node was cut: if it begins nothing for a while, what it may have made is fetched all the same.
    pub(super) fn repair_unless_it_goes_on(&self, ctx: &mut Context<Self>, source: SourceId) {
        ctx.run_later(SILENCE, move |actor, ctx| {
            let publisher = actor.sources.get_mut(source);
            let publisher = publisher.filter(|publisher| publisher.demand.is_forwarded());
            if let Some(torn) = publisher.and_then(Publisher::stays_cut_off) {
                actor.repair(ctx, source, torn);
            }
        });
    }

    fn begin_repair(&mut self, ctx: &mut Context<Self>, source: SourceId, plan: Plan) {
        let Some(publisher) = self.sources.get(source) else {
            return;
        };
        let Some(upstream) = publisher.upstream().cloned() else {
            return;
        };
        // As urgent as the subscription that it repairs. MOQT-14 §7.2 [D14-PRIO-1]
        let priority = publisher.told_of(self.audience(), self.terms.priority).priority();
        let torn = plan.range;
        let mut open = self.repairs.open.values_mut();
        if let Some(repair) = open.find(|repair| repair.source == source && !repair.over) {
            // What is on its way was asked for before this was lost, and may not have it.
            repair.next = Some(repair.next.map_or(torn, |next| next.and(torn)));
            repair.plan.settled = repair.plan.settled.max(plan.settled);
            return;
        }
        if self.repairs.open.len() >= MAX_REPAIRS {
            return;
        }
        let first = torn.from.max(torn.to.saturating_sub(MAX_GROUPS));
        let fetch = Fetch {
            priority,
            group_order: GroupOrderRequest::Fixed(GroupOrder::Ascending),
            range: FetchRange::Standalone {
                track: self.name.clone(),
                start: Location::new(first, 0),
                // The whole group, as far as it is made by then.
                end: Location::new(torn.to, 0),
            },
            params: MessageParams::default(),
        };
        let key = FillKey(self.repairs.next);
        self.repairs.next = self.repairs.next.checked_add(1).unwrap_or(1 << 63);
        let repair = Repair {
            source,
            upstream: upstream.clone(),
            request: None,
            plan,
            next: None,
            heard: false,
            moved: now(),
            bytes: 0,
            reached: None,
            streams: BTreeMap::new(),
            current: None,
            whole: false,
            over: false,
        };
        self.repairs.open.insert(key, repair);
        info!(self.log, "what was lost on the way is fetched"; "track" => %self.name, "from" => first, "to" => torn.to);
        let sink = FetchSink {
            key,
            objects: ctx.address().recipient(),
            news: ctx.address().recipient(),
        };
        let asked = upstream.ask(FetchUpstream { sink, fetch }, self.config.upstream_timeout);
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            let request = answer.ok().and_then(Result::ok);
            let repair = actor.repairs.open.get_mut(&key).filter(|repair| !repair.over);
            match (repair, request) {
                (Some(repair), Some(request)) => repair.request = Some(request),
                (Some(_), None) => actor.repaired(ctx, key, Outcome::Done),
                (None, Some(request)) => drop(upstream.signal(CancelFetch { request })),
                (None, None) => {}
            }
        }));
        ctx.run_later(UNHEARD, move |actor, ctx| {
            let repair = actor.repairs.open.get(&key);
            if repair.is_some_and(|repair| !repair.heard) {
                actor.repaired(ctx, key, Outcome::Cut);
            }
        });
        Self::watch_repair(ctx, key, PATIENCE);
    }

    /// Sees to it that it gets further.
    fn watch_repair(ctx: &mut Context<Self>, key: FillKey, wait: Duration) {
        ctx.run_later(wait, move |actor, ctx| {
            let repair = actor.repairs.open.get(&key);
            let Some(repair) = repair.filter(|repair| !repair.over) else {
                return;
            };
            let rest = PATIENCE.saturating_sub(now().saturating_duration_since(repair.moved));
            if actor.is_slow() {
                // It waits for the readers here.
                Self::watch_repair(ctx, key, PATIENCE);
            } else if rest.is_zero() {
                actor.repaired(ctx, key, Outcome::Cut);
            } else {
                Self::watch_repair(ctx, key, rest);
            }
        });
    }

    /// A node is in another life, in which it sends what comes behind `largest`: what was made before is fetched.
    pub(super) fn repair_between_lives(&mut self, ctx: &mut Context<Self>, source: SourceId, torn: Torn) {
        self.repair(ctx, source, torn);
        let of_node = self
            .repairs
            .open
            .values_mut()
            .filter(|repair| repair.source == source);
        // MOQT-14 §9.7 [D14-SUB-3]: a subscription has nothing of the groups before the one that it begins in.
        of_node.for_each(|repair| repair.plan.settled = repair.plan.settled.max(torn.to));
    }

    /// Objects of a repair: the answer is the leave to bring more.
    pub(super) fn repairing(&mut self, ctx: &mut Context<Self>, fetched: Fetched) -> Reply<()> {
        let repair = self.repairs.open.get_mut(&fetched.key);
        let Some(repair) = repair.filter(|repair| !repair.over) else {
            // Without an answer its stream is stopped. MOQT-14 §5.1 [D14-FETCH-16]
            return Reply::later().0;
        };
        repair.heard = true;
        let (source, chunks) = (repair.source, repair.chunks(fetched.chunks));
        if let Some(publisher) = self.sources.get_mut(source) {
            publisher.brings();
        }
        self.append(ctx, source, chunks);
        if self.is_slow() {
            let (answer, promise): (_, ReplyTo<()>) = Reply::later();
            self.slowed.push(promise);
            return answer;
        }
        Reply::Now(())
    }

    /// How a repair gets on.
    pub(super) fn repair_news(&mut self, ctx: &mut Context<Self>, news: &FetchNews) {
        match &news.progress {
            FetchProgress::Accepted(_) => {
                if let Some(repair) = self.repairs.open.get_mut(&news.key) {
                    repair.heard = true;
                }
            }
            FetchProgress::Refused(error) => {
                debug!(self.log, "what was lost on the way is not to be had"; "track" => %self.name,
                    "reason" => ?error.reason);
                // A node to which no way leads just now says so, too.
                let passes = matches!(
                    error.reason,
                    RequestErrorReason::InternalError | RequestErrorReason::Timeout
                );
                let outcome = if passes { Outcome::Cut } else { Outcome::Done };
                self.repaired(ctx, news.key, outcome);
            }
            FetchProgress::Ended(end) => {
                if let Some(repair) = self.repairs.open.get_mut(&news.key) {
                    repair.request = None;
                    repair.whole = !repair.over && *end == StreamEnd::Fin;
                }
                let outcome = if *end == StreamEnd::Fin {
                    Outcome::Done
                } else {
                    Outcome::Cut
                };
                self.repaired(ctx, news.key, outcome);
            }
        }
    }

    /// Nothing more comes of a repair, or is waited for.
    fn repaired(&mut self, ctx: &mut Context<Self>, key: FillKey, outcome: Outcome) {
        let repair = self.repairs.open.get_mut(&key).filter(|repair| !repair.over);
        let Some(repair) = repair else {
            return;
        };
        repair.over = true;
        if let Some(request) = repair.request.take() {
            repair.upstream.signal(CancelFetch { request });
        }
        let (source, mut plan, next) = (repair.source, repair.plan, repair.next.take());
        let reached = repair.reached;
        ctx.run_later(AFTERWARDS, move |actor, ctx| {
            if let Some(repair) = actor.repairs.open.remove(&key) {
                let alone = !actor.sources.any_active_beside(source);
                let publisher = actor.sources.get(source);
                let chunks = repair
                    .closing(|group| alone && !publisher.is_some_and(|publisher| publisher.is_in(group)));
                actor.append(ctx, source, chunks);
            }
        });
        if let Some(at) = reached.filter(|_| outcome == Outcome::Cut) {
            // What lies before its group has come.
            plan.range.from = at.group.min(plan.range.to).max(plan.range.from);
        }
        if reached > plan.reached {
            (plan.reached, plan.tries) = (reached, 0);
        }
        if outcome == Outcome::Cut && plan.tries < TRIES {
            let again = Plan {
                range: next.map_or(plan.range, |next| next.and(plan.range)),
                // What was lost since may lie before it.
                reached: plan.reached.filter(|_| next.is_none()),
                tries: plan.tries + 1,
                ..plan
            };
            self.repairs.again.insert(key, (source, again));
            ctx.run_later(PAUSE.saturating_mul(1 << plan.tries), move |actor, ctx| {
                if let Some((source, plan)) = actor.repairs.again.remove(&key) {
                    actor.begin_repair(ctx, source, plan);
                }
            });
        } else if let Some(range) = next {
            let (reached, tries) = (None, 0);
            let plan = Plan {
                range,
                reached,
                tries,
                ..plan
            };
            self.begin_repair(ctx, source, plan);
        }
    }

    /// A publisher sends nothing more: what it was to repair is not. What it brought ends with its other streams.
    pub(super) fn no_repair_of(&mut self, source: SourceId) {
        self.repairs.again.retain(|_, (of, _)| *of != source);
        let lost = self
            .repairs
            .open
            .extract_if(.., |_, repair| repair.source == source);
        for (_, repair) in lost {
            if let Some(request) = repair.request {
                repair.upstream.signal(CancelFetch { request });
            }
        }
    }

    /// The track ends.
    pub(super) fn no_repairs(&mut self) {
        self.repairs.again.clear();
        for (_, repair) in std::mem::take(&mut self.repairs.open) {
            if let Some(request) = repair.request {
                repair.upstream.signal(CancelFetch { request });
            }
        }
    }
}
