//! The home copy of a track.

mod birth;
mod demand;
mod describe;
mod feed;
mod fetching;
mod filling;
mod handlers;
mod links;
mod places;
mod publisher;
mod repair;
mod reregister;
mod resting;
mod sources;
#[cfg(test)]
mod tests;
mod upstream;
mod word;

pub use birth::Birth;

use fetching::Fetching;
use links::Links;

use super::audience::Audience;
use super::budget::Aside;
use super::fanout::Fanout;
use super::handle::{LogId, Share};
use super::messages::{
    AttachReplica, Description, Ingest, ReaderId, ReplicaAttached, Source, TrackGone, Unavailable,
};
use super::replication::ReplicaLink;
use super::{Config, UpstreamTerms};
use crate::limits::Seldom;
use crate::registry::{RegistryHandle, TrackEnded};
use crate::reply::ReplyTo;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::inject::Faults;
use crate::supervise::mailbox;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::merge::Merge;
use laps_protocol::relay::track_log::TrackLog;
use publisher::Publisher;
use repair::Repairs;
use slog::{Logger, debug};
use sources::Sources;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::End;

/// Messages that may wait for a track: one per inbound stream of its publisher is the rule, so this is far above it.
const MAILBOX: usize = 4096;
/// How long a shard may take to store a batch before its replica is given up.
const REPLICATE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a new track waits to be told who waits for it: whoever had it made may have given up.
const UNCLAIMED: Duration = Duration::from_secs(30);

/// Where a track stands with its upstream.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Waits to be told who waits for it.
    Created,
    /// Waits for these readers, or for its publisher to be needed at all.
    Gathering(BTreeSet<ReaderId>),
    /// SUBSCRIBE is on its way to every publisher, and none has accepted yet.
    Subscribing,
    /// At least one publisher feeds the track.
    Live,
    /// Nobody subscribes, so nothing is subscribed upstream; FETCH is answered from the log and from upstream.
    Idle,
    /// Over; readers may finish what is in the log.
    Ended,
}

/// The home copy of one track: takes in what its publishers send, keeps it in the log, and wakes its readers.
///
/// Parent: the shard's actor. Arbiter: the shard that the publisher's session lives on. Restart: temporary; when it
/// dies its readers are told `TrackGone`, its upstream is unsubscribed, and the next SUBSCRIBE makes a new one.
/// In: everything in [`super::messages`]. Out: `TrackAdvanced`, `TrackGone` to readers, `Replicate` to replicas,
/// `SubscribeUpstream`, `AcceptPublish`, `UpdateUpstream`, `ReleaseUpstream` to publishers' sessions,
/// `TrackEnded` to the registry. Lost on death: the log, and with it what slow readers had not yet read.
#[derive(Debug)]
pub struct TrackActor {
    name: FullTrackName,
    epoch: u64,
    config: Arc<Config>,
    registry: RegistryHandle,
    log: Logger,
    faults: Faults,
    terms: UpstreamTerms,
    sources: Sources,
    phase: Phase,
    gather_deadline: bool,
    held: Vec<(Ingest, ReplyTo<()>)>,
    held_bytes: usize,
    /// Publishers of this process that have ended, while their last readers read.
    parting: Vec<Publisher>,
    slowed: Vec<ReplyTo<()>>,
    replicas: Vec<ReplicaLink>,
    /// Who wants to know what it is.
    asked: Vec<ReplyTo<Option<Description>>>,
    replica_waiting: Vec<(AttachReplica, ReplyTo<Result<ReplicaAttached, Unavailable>>)>,
    linger: Option<SpawnHandle>,
    links: Links,
    fanout: Fanout,
    fetching: Fetching,
    /// What is fetched because it was lost on its way here.
    repairs: Repairs,
    /// Makes one log of what all publishers send.
    merge: Merge,
    /// What waits in it.
    merge_waits: Aside,
    merge_timer: Option<SpawnHandle>,
    /// When that timer is due.
    merge_due: Option<Instant>,
    /// A reader's wish for a new group stands.
    group_wanted: bool,
    /// That of a reader of this relay.
    group_wanted_here: bool,
    demand_timer: Option<SpawnHandle>,
    /// Until the word of a publisher is not waited for any more.
    word_timer: Option<SpawnHandle>,
    /// Somebody waits for a place among the publishers.
    room_timer: Option<SpawnHandle>,
    /// SUBSCRIBEs so far.
    attempts: u64,
    /// The end of the track was told, and what is open of it is waited for.
    ending: Option<End>,
    /// How the one was lost that fed the track last.
    left: Option<End>,
    ignored: u64,
    datagrams_lost: u64,
    /// Publishers beyond the bound, and such as broke the rules for tracks.
    refused: u64,
    warnings: Seldom,
    shunned: u64,
    _guard: Option<ChildGuard>,
}

impl TrackActor {
    /// A track that waits for [`super::Gather`].
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        let mut sources = Sources::new(
            birth.config.max_publishers,
            birth.config.dampen,
            birth.config.silent_after,
        );
        // MOQT-14 §9.16.3 [D14-FETCH-8]: who makes the objects has nobody to ask for them.
        let is_origin = matches!(birth.source.1, Source::Local { .. });
        sources.add(birth.source.0, birth.source.1);
        let merge = Merge::new(birth.config.merge);
        let merge_waits = Aside::new(&birth.config.budget);
        let mut log = TrackLog::new(birth.config.limits);
        if is_origin {
            log.set_origin();
        }
        Self {
            fanout: Fanout::new(log, &birth.config.budget, Share::All),
            fetching: Fetching::new(birth.config.fetch, is_origin),
            name: birth.name,
            epoch: birth.epoch,
            config: birth.config,
            registry: birth.registry,
            log: birth.log,
            faults: birth.faults,
            terms: birth.terms,
            sources,
            phase: Phase::Created,
            gather_deadline: false,
            held: Vec::new(),
            held_bytes: 0,
            parting: Vec::new(),
            slowed: Vec::new(),
            replicas: Vec::new(),
            asked: Vec::new(),
            replica_waiting: Vec::new(),
            linger: None,
            links: Links::default(),
            repairs: Repairs::default(),
            merge,
            merge_waits,
            merge_timer: None,
            merge_due: None,
            group_wanted: false,
            group_wanted_here: false,
            demand_timer: None,
            word_timer: None,
            room_timer: None,
            attempts: 0,
            ending: None,
            left: None,
            ignored: 0,
            datagrams_lost: 0,
            refused: 0,
            warnings: Seldom::default(),
            shunned: 0,
            _guard: birth.guard,
        }
    }

    /// The log that it fills.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.fanout.log_id()
    }

    /// Who reads the track, here and by replicas.
    fn audience(&self) -> Audience {
        let replicas = self.replicas.iter().map(|replica| replica.audience);
        // A replica that waits has a reader behind it.
        let waiting = self.replica_waiting.iter();
        let waiting = waiting.map(|(attach, _)| Audience::of(attach.own, attach.wants));
        let here = self.fanout.audience().and(self.links.audience());
        replicas.chain(waiting).fold(here, Audience::and)
    }

    fn has_readers(&self) -> bool {
        !self.fanout.is_empty()
            || !self.replicas.is_empty()
            || !self.replica_waiting.is_empty()
            || self.links.any_waiting()
    }

    /// This relay's sessions, or its stubs, read the track.
    fn has_own(&self) -> bool {
        self.audience().own.is_some()
    }

    /// Goes on when everybody who waited has come.
    fn gathered(&mut self, ctx: &mut Context<Self>) {
        match &self.phase {
            Phase::Gathering(missing) if missing.is_empty() || self.gather_deadline => self.engage(ctx),
            Phase::Created
            | Phase::Gathering(_)
            | Phase::Subscribing
            | Phase::Live
            | Phase::Idle
            | Phase::Ended => {}
        }
    }

    fn live(&mut self, ctx: &mut Context<Self>) {
        self.phase = Phase::Live;
        let now = Instant::now();
        let meta = self.sources.meta(now).unwrap_or_default();
        // MOQT-14 §9.2.1.3 [D14-CACHE-4]
        self.fanout.limit_cache(meta.max_cache_duration_ms);
        self.fetching.follow(meta.group_order);
        self.fanout.await_word(self.is_word_awaited());
        self.fanout.go_live(now, meta, self.sources.largest(), Vec::new());
        self.open_waiting(ctx);
        for (attach, reply) in std::mem::take(&mut self.replica_waiting) {
            // It waited, so that somebody waits behind it.
            let audience = Audience::of(attach.own, attach.wants);
            let answer = self.attach_replica(attach, audience);
            reply.send(answer);
        }
        self.take_held(ctx);
        self.answer_asked();
        self.readers_changed(ctx);
        // What was said before the track was live counts from now.
        let said = self
            .sources
            .iter()
            .filter(|(_, publisher)| publisher.done.is_some());
        let said: Vec<_> = said.map(|(id, _)| id).collect();
        for id in said {
            self.settle_done(ctx, id);
        }
    }

    /// The track is live with others than before: what they say together holds for whoever comes now (decision 0015).
    fn restate(&mut self) {
        let now = Instant::now();
        let Some(meta) = self.sources.meta(now) else {
            return;
        };
        let limit = meta.max_cache_duration_ms;
        if limit.is_some_and(|limit| self.fanout.cache_limit_ms().is_none_or(|before| limit < before)) {
            self.fanout.limit_cache(limit);
        }
        self.fanout.restate(now, meta, self.sources.largest());
    }

    fn attach_replica(
        &mut self,
        attach: AttachReplica,
        audience: Audience,
    ) -> Result<ReplicaAttached, Unavailable> {
        let Some(meta) = self.fanout.meta(Instant::now()) else {
            return Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the track is not live",
            ));
        };
        let awaited = self.fanout.is_word_awaited();
        let mut replica = ReplicaLink::new(attach.id, attach.replica, audience);
        replica.awaited = awaited;
        self.replicas.push(replica);
        Ok(ReplicaAttached {
            snapshot: self.fanout.snapshot(),
            largest: self.fanout.largest(),
            meta,
            awaited,
        })
    }

    fn replicate(&mut self, ctx: &mut Context<Self>) {
        let due: Vec<_> = self
            .replicas
            .iter_mut()
            .filter_map(|replica| {
                let batch = replica.take()?;
                Some((replica.id, mailbox::ask(&replica.to, batch, REPLICATE_DEADLINE)))
            })
            .collect();
        for (id, sent) in due {
            ctx.spawn(sent.into_actor(self).map(move |answer, actor: &mut Self, ctx| {
                if answer.is_err() {
                    if let Some(replica) = actor.replicas.iter().find(|replica| replica.id == id) {
                        replica.abandon();
                    }
                    actor.drop_replica(ctx, id);
                } else if let Some(replica) = actor.replicas.iter_mut().find(|replica| replica.id == id) {
                    replica.acknowledged();
                }
                actor.replicate(ctx);
            }));
        }
        if !self.is_slow() {
            for reply in std::mem::take(&mut self.slowed) {
                reply.send(());
            }
        }
    }

    fn is_slow(&self) -> bool {
        self.replicas.iter().any(ReplicaLink::is_over)
    }

    fn drop_replica(&mut self, ctx: &mut Context<Self>, id: ReaderId) {
        self.replicas.retain(|replica| replica.id != id);
        self.readers_changed(ctx);
    }

    fn finish(&mut self, ctx: &mut Context<Self>, gone: &TrackGone) {
        let why = Unavailable {
            phrase: gone.phrase.clone(),
            ..Unavailable::for_now("")
        };
        self.finish_with(ctx, gone, &why);
    }

    fn finish_with(&mut self, ctx: &mut Context<Self>, gone: &TrackGone, why: &Unavailable) {
        if std::mem::replace(&mut self.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        let merged = self.merge.stats();
        debug!(self.log, "track ends"; "track" => %self.name, "status" => ?gone.status,
            "chunks_ignored" => self.ignored, "datagrams_lost" => self.datagrams_lost,
            "duplicate_objects" => merged.duplicate_objects, "taken_over" => merged.taken_over,
            "overtaken" => merged.overtaken, "publishers_refused" => self.refused, "publishers_shunned" => self.shunned,
            "objects_evicted" => self.fanout.objects_evicted(), "bytes_kept_by_all" => self.config.budget.used(),
            "bytes_given_up_by_all" => self.config.budget.given_up());
        // First, so that a session hears that we let go before a new life of the track asks it again.
        self.no_repairs();
        self.sources.release_all();
        self.all_publishers_end();
        self.registry.signal(TrackEnded {
            name: self.name.clone(),
            epoch: self.epoch,
        });
        self.fanout.end(gone, why);
        self.past_ends(ctx, why);
        for (_, reply) in std::mem::take(&mut self.replica_waiting) {
            reply.send(Err(why.clone()));
        }
        self.links.refuse(why);
        for replica in &mut self.replicas {
            replica.end(gone.clone());
        }
        self.replicate(ctx);
        self.answer_asked();
        self.held.clear();
        self.readers_changed(ctx);
    }

    fn readers_changed(&mut self, ctx: &mut Context<Self>) {
        if self.phase == Phase::Ended {
            if !self.has_readers() && !self.fetching.is_busy() {
                ctx.stop();
            }
            return;
        }
        self.settle_links(ctx, None);
        self.tell_upstream(ctx);
        self.check_linger(ctx);
        self.check_nodes(ctx);
    }

    /// A track that nobody subscribes to gives up its SUBSCRIBE after a while; one that was published to us stays.
    fn check_linger(&mut self, ctx: &mut Context<Self>) {
        let idle = !self.has_readers() && self.phase == Phase::Live && self.sources.any_subscribed();
        match (idle, self.linger) {
            (true, None) if self.config.linger.is_zero() && !self.sources.has_published() => {
                let gone = TrackGone::new(PublishDoneStatus::SubscriptionEnded, "nobody wants the track");
                self.finish(ctx, &gone);
            }
            (true, None) => {
                self.linger = Some(ctx.run_later(self.config.linger, Self::rest));
            }
            (false, Some(timer)) => {
                ctx.cancel_future(timer);
                self.linger = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn gathered_one(&mut self, ctx: &mut Context<Self>, reader: ReaderId) {
        if let Phase::Gathering(missing) = &mut self.phase {
            missing.remove(&reader);
        }
        self.gathered(ctx);
    }

    fn housekeeping(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let next = self.fanout.evict(now);
        self.rest_is_over(ctx);
        let wait = next.map_or(Duration::from_secs(5), |at| at.saturating_duration_since(now));
        ctx.run_later(
            wait.clamp(Duration::from_millis(100), Duration::from_secs(5)),
            Self::housekeeping,
        );
    }
}

impl Actor for TrackActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        self.faults.attend(ctx, "track", || &self.name);
        self.housekeeping(ctx);
        ctx.run_later(UNCLAIMED, |actor, ctx| {
            if actor.phase == Phase::Created {
                let gone = TrackGone::new(PublishDoneStatus::InternalError, "the track was never claimed");
                actor.finish(ctx, &gone);
            }
        });
    }
}

impl Drop for TrackActor {
    fn drop(&mut self) {
        // A normal end has released its publishers already; a panic has not.
        if self.phase != Phase::Ended {
            self.cancel_fills();
            self.no_repairs();
            self.sources.release_all();
        }
        // Readers on this shard are told by the fan-out's own end. After the end of the track too: what has yet to be
        // sent to a replica, the news of that end included, is lost with this actor.
        self.replicas.iter().for_each(ReplicaLink::abandon);
    }
}
