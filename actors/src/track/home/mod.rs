//! The home copy of a track.

mod birth;
mod demand;
mod describe;
mod fetching;
mod filling;
mod handlers;
mod resting;
#[cfg(test)]
mod tests;
mod upstream;

pub use birth::Birth;

use fetching::Fetching;

use super::fanout::Fanout;
use super::handle::{LogId, Share};
use super::messages::{
    AttachReplica, Description, Ingest, ReaderId, ReplicaAttached, Source, SourceId, TrackGone, TrackMeta,
    Unavailable,
};
use super::replication::ReplicaLink;
use super::sources::{Publisher, Sources};
use super::{Config, UpstreamTerms};
use crate::registry::{RegistryActor, TrackEnded};
use crate::reply::ReplyTo;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::inject::Faults;
use crate::supervise::mailbox;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, SpawnHandle, WrapFuture};
use demand::Demand;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::relay::track_log::{Append, Appended, TrackLog};
use slog::{Logger, debug, warn};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// A SUBSCRIBE is on its way.
    Subscribing,
    /// Objects flow.
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
    registry: Addr<RegistryActor>,
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
    fanout: Fanout,
    fetching: Fetching,
    ignored: u64,
    datagrams_lost: u64,
    demand: Demand,
    _guard: Option<ChildGuard>,
}

impl TrackActor {
    /// A track that waits for [`super::Gather`].
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        let mut sources = Sources::default();
        // MOQT-14 §9.16.3 [D14-FETCH-8]: who makes the objects has nobody to ask for them.
        let is_origin = matches!(birth.source.1, Source::Local { .. });
        sources.add(birth.source.0, birth.source.1);
        let demand = Demand::new(birth.config.dampen);
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
            ignored: 0,
            datagrams_lost: 0,
            demand,
            _guard: birth.guard,
        }
    }

    /// The log that it fills.
    #[must_use]
    pub const fn log_id(&self) -> LogId {
        self.fanout.log_id()
    }

    fn wants_objects(&self) -> bool {
        // A replica that waits has a reader behind it.
        self.fanout.any_forward()
            || self.replicas.iter().any(|replica| replica.forward)
            || !self.replica_waiting.is_empty()
    }

    fn has_readers(&self) -> bool {
        !self.fanout.is_empty() || !self.replicas.is_empty() || !self.replica_waiting.is_empty()
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

    fn live(&mut self, ctx: &mut Context<Self>, meta: TrackMeta, largest: Option<Location>) {
        self.phase = Phase::Live;
        // MOQT-14 §9.2.1.3 [D14-CACHE-4]
        self.fanout.limit_cache(meta.max_cache_duration_ms);
        self.fetching.follow(meta.group_order);
        self.fanout.go_live(Instant::now(), meta, largest, Vec::new());
        self.open_waiting(ctx);
        for (attach, reply) in std::mem::take(&mut self.replica_waiting) {
            let answer = self.attach_replica(attach);
            reply.send(answer);
        }
        self.held_bytes = 0;
        for (ingest, reply) in std::mem::take(&mut self.held) {
            self.take_in(ctx, ingest);
            reply.send(());
        }
        self.answer_asked();
        self.readers_changed(ctx);
        // What was said before the track was live counts from now.
        let said: Vec<_> = self
            .sources
            .iter()
            .filter(|(_, publisher)| publisher.done.is_some())
            .map(|(id, _)| id)
            .collect();
        for id in said {
            self.settle_done(ctx, id, Duration::ZERO);
        }
    }

    fn attach_replica(&mut self, attach: AttachReplica) -> Result<ReplicaAttached, Unavailable> {
        let Some(meta) = self.fanout.meta(Instant::now()) else {
            return Err(Unavailable::new(
                RequestErrorReason::InternalError,
                "the track is not live",
            ));
        };
        self.replicas.push(ReplicaLink::new(attach.id, attach.replica));
        Ok(ReplicaAttached {
            snapshot: self.fanout.snapshot(),
            largest: self.fanout.largest(),
            meta,
        })
    }

    fn take_in(&mut self, ctx: &mut Context<Self>, ingest: Ingest) {
        self.faults.check_named("track", &self.name);
        let Ingest { source, batch } = ingest;
        let Some(publisher) = self.sources.get_mut(source) else {
            return;
        };
        batch.iter().for_each(|chunk| publisher.observe(chunk));
        let drained = publisher.is_drained();
        // MOQT-14 §8.4 DEVIATION: one publisher feeds the track, the others stand by (decision 0008).
        if self.sources.is_active(source) {
            self.append(ctx, source, batch);
        }
        if drained {
            self.settle_done(ctx, source, Duration::ZERO);
        }
    }

    fn append(&mut self, ctx: &mut Context<Self>, source: SourceId, batch: Vec<Append>) {
        let mut malformed = None;
        let (ignored, replicas) = (&mut self.ignored, &mut self.replicas);
        self.fanout.append(Instant::now(), batch, |appended, chunk| {
            match appended {
                Appended::Advanced | Appended::Noted | Appended::Closed(_) => {}
                Appended::Ignored(_) => *ignored += 1,
                Appended::Malformed(why) => malformed = Some(why.to_string()),
            }
            if !replicas.is_empty()
                && let Some(chunk) = appended.for_replica(chunk)
            {
                for replica in &mut *replicas {
                    replica.push(chunk.clone());
                }
            }
        });
        self.demand.advanced(|| self.fanout.largest());
        if let Some(why) = malformed {
            // MOQT-14 §2.5 [D14-MAL-1]: readers are told, the publisher's session lives on.
            warn!(self.log, "track is malformed"; "track" => %self.name, "why" => why);
            if self.sources.len() > 1 {
                let why = Unavailable::new(
                    RequestErrorReason::MalformedTrack,
                    "the publisher breaks the rules for tracks",
                );
                self.lose(ctx, source, &why);
            } else {
                let gone = TrackGone::new(
                    PublishDoneStatus::MalformedTrack,
                    "the track breaks the rules for tracks",
                );
                self.finish(ctx, &gone);
            }
            return;
        }
        self.replicate(ctx);
        self.past_advanced(ctx);
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
        debug!(self.log, "track ends"; "track" => %self.name, "status" => ?gone.status,
            "chunks_ignored" => self.ignored, "datagrams_lost" => self.datagrams_lost,
            "objects_evicted" => self.fanout.objects_evicted(), "bytes_kept_by_all" => self.config.budget.used(),
            "bytes_given_up_by_all" => self.config.budget.given_up());
        // First, so that a session hears that we let go before a new life of the track asks it again.
        self.release_all();
        for closed in self.sources.abandon_all() {
            self.fanout.append(Instant::now(), vec![closed], |_, _| {});
        }
        mailbox::signal(
            &self.registry,
            TrackEnded {
                name: self.name.clone(),
                epoch: self.epoch,
            },
        );
        self.fanout.end(gone, why);
        self.past_ends(ctx, why);
        for (_, reply) in std::mem::take(&mut self.replica_waiting) {
            reply.send(Err(why.clone()));
        }
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
        self.tell_upstream(ctx);
        self.check_linger(ctx);
    }

    /// A track that nobody subscribes to gives up its SUBSCRIBE after a while; one that was published to us stays.
    fn check_linger(&mut self, ctx: &mut Context<Self>) {
        let idle = !self.has_readers()
            && self.phase == Phase::Live
            && matches!(self.sources.active(), Some((_, publisher)) if matches!(publisher.source, Source::Announced { .. }));
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
            self.release_all();
            // Readers on this shard are told by the fan-out's own end.
            self.replicas.iter().for_each(ReplicaLink::abandon);
        }
    }
}
