//! The copy of a track on a shard other than its home.

use super::Config;
use super::audience::{Audience, AudienceNow};
use super::fanout::Fanout;
use super::handle::Share;
use super::messages::{
    Attach, AttachReplica, Attached, Detach, Gathered, JoinLink, ReaderId, ReplicaState, Replicate,
    TrackGone, TrackRef, Unavailable, Word,
};
use super::wants::Wants;
use super::wish::{SetWants, WantNewGroup};
use crate::reply::{Reply, ReplyTo};
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::inject::Faults;
use crate::supervise::mailbox::{self, AskError};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::message::{PublishDoneStatus, RequestErrorReason};
use laps_protocol::relay::track_log::{Append, StreamEnd, TrackLog};
use slog::{Logger, debug};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that may wait for a replica: attaching readers, and one batch from its home.
const MAILBOX: usize = 4096;

/// The same track on another shard: its log is fed by the home copy, payload allocations are shared.
///
/// Parent: the shard's actor. Arbiter: that shard. Restart: temporary; when it dies its readers are told
/// `TrackGone` and ask again. In: `Attach`, `Detach`, `SetWants`, `WantNewGroup`,
/// `Replicate`. Out: `AttachReplica`, `JoinLink`,
/// `ReplicaState`, `Gathered` to the home, `TrackAdvanced` and `TrackGone` to readers. Lost on death: its log.
#[derive(Debug)]
pub struct ReplicaActor {
    track: TrackRef,
    id: ReaderId,
    config: Arc<Config>,
    log: Logger,
    faults: Faults,
    fanout: Fanout,
    /// Batches that overtook the answer to `AttachReplica`; one at most, since its answer is the leave to send more.
    early: Vec<(Replicate, ReplyTo<()>)>,
    /// Who reads it; before anybody came, for whom it was made.
    audience: Audience,
    /// What it is known to want by whom it was made for.
    first: Wants,
    /// What the home is told of that.
    told: Arc<AudienceNow>,
    /// Nobody has come yet.
    fresh: bool,
    /// Links that wait for a publisher of this relay.
    joining: BTreeMap<ReaderId, Joining>,
    /// Seen by the shard, which makes a new one for the next reader.
    ended: Rc<Cell<bool>>,
    linger: Option<SpawnHandle>,
    _guard: Option<ChildGuard>,
}

/// A link that waits for the leave of the home.
#[derive(Debug)]
struct Joining {
    attach: Attach,
    reply: ReplyTo<Result<Attached, Unavailable>>,
    /// Its place, as it was when it came or the replica began: the leave may come behind the first objects.
    place: Option<Attached>,
}

impl ReplicaActor {
    /// A replica that asks the home for its copy when it starts, for a reader that belongs to this relay if it is an `own`
    /// one, and wants this.
    #[must_use]
    pub fn new(
        (track, own, wants): (TrackRef, bool, Wants),
        config: Arc<Config>,
        log: Logger,
        faults: Faults,
        guard: Option<ChildGuard>,
    ) -> Self {
        let fanout = Fanout::new(TrackLog::replica(config.limits), &config.budget, Share::OwnOnly);
        Self {
            track,
            id: ReaderId::next(),
            config,
            log,
            faults,
            fanout,
            early: Vec::new(),
            audience: Audience::of(own, Wants::Nothing),
            first: wants,
            told: Arc::default(),
            fresh: true,
            joining: BTreeMap::new(),
            ended: Rc::default(),
            linger: None,
            _guard: guard,
        }
    }

    /// Tells whether this copy is over. It may live on for readers that read the rest.
    #[must_use]
    pub fn ended(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.ended)
    }

    fn end(&mut self, ctx: &mut Context<Self>, gone: &TrackGone, why: &Unavailable) {
        self.ended.set(true);
        for (_, joining) in std::mem::take(&mut self.joining) {
            joining.reply.send(Err(why.clone()));
        }
        self.fanout.end(gone, why);
        self.readers_changed(ctx);
    }

    fn take_in(&mut self, ctx: &mut Context<Self>, msg: Replicate) {
        self.faults.check_named("replica", &self.track.name);
        if let Some(word) = msg.word {
            if let Word::Given(Some(largest)) = word {
                self.fanout.seed_largest(largest);
            }
            self.fanout.await_word(word == Word::Awaited);
        }
        // What the log makes of a chunk was judged at home.
        self.fanout.append(Instant::now(), msg.batch);
        if let Some(gone) = msg.links_gone {
            self.fanout.end_links(&gone);
            self.readers_changed(ctx);
        }
        if let Some(gone) = msg.gone {
            // A home that ends has closed every stream; of one that failed nobody says how they end, and their readers
            // would wait for what cannot come. MOQT-14 §10.4.3 [D14-CLOSE-1]
            let left = self.fanout.with_log(|log| log.open_streams().collect::<Vec<_>>());
            let end = StreamEnd::Reset(ResetCode::InternalError);
            let closes = left.into_iter().flatten();
            let closes = closes
                .map(|stream| Append::SubgroupClosed { stream, end })
                .collect();
            self.fanout.append(Instant::now(), closes);
            let why = Unavailable {
                phrase: gone.phrase.clone(),
                ..Unavailable::for_now("")
            };
            self.end(ctx, &gone, &why);
        }
    }

    fn readers_changed(&mut self, ctx: &mut Context<Self>) {
        let empty = self.fanout.is_empty() && self.joining.is_empty();
        if self.ended.get() {
            if empty {
                ctx.stop();
            }
            return;
        }
        let audience = self.fanout.audience();
        if audience != self.audience && !self.fresh {
            self.audience = audience;
            self.tell_home();
        }
        match (empty, self.linger) {
            (true, None) => {
                self.linger = Some(ctx.run_later(self.config.linger, |actor, ctx| {
                    actor.ended.set(true);
                    ctx.stop();
                }));
            }
            (false, Some(timer)) => {
                ctx.cancel_future(timer);
                self.linger = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn tell_home(&self) {
        if !self.told.set(self.audience) {
            return;
        }
        mailbox::signal(
            &self.track.home,
            ReplicaState {
                id: self.id,
                readers: Arc::clone(&self.told),
                closed: false,
            },
        );
    }

    /// A link comes, which the home has to know of: it takes part when a publisher of this relay feeds the track.
    fn join(&mut self, ctx: &mut Context<Self>, attach: Attach) -> Reply<Result<Attached, Unavailable>> {
        let (reader, wants) = (attach.reader, attach.wants);
        let (answer, reply) = Reply::later();
        let place = self.fanout.attached();
        let joining = Joining { attach, reply, place };
        self.joining.insert(reader, joining);
        self.readers_changed(ctx);
        let asked = mailbox::ask(
            &self.track.home,
            JoinLink { reader, wants },
            self.config.answer_deadline(),
        );
        ctx.spawn(asked.into_actor(self).map(move |answer, actor, ctx| {
            // It may have left, and all are told when the track ends.
            let Some(Joining { attach, reply, place }) = actor.joining.remove(&reader) else {
                return;
            };
            match answer {
                Ok(Ok(())) => actor.fanout.attach_at(attach, place, reply),
                Ok(Err(why)) => reply.send(Err(why)),
                Err(AskError::MailboxClosed) => reply.send(Err(Unavailable::for_now("the track has ended"))),
                Err(AskError::Deadline) => {
                    let why = "the track's home did not answer";
                    reply.send(Err(Unavailable::new(RequestErrorReason::InternalError, why)));
                }
            }
            actor.readers_changed(ctx);
        }));
        answer
    }

    fn housekeeping(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let next = self.fanout.evict(now);
        let wait = next.map_or(Duration::from_secs(5), |at| at.saturating_duration_since(now));
        ctx.run_later(
            wait.clamp(Duration::from_millis(100), Duration::from_secs(5)),
            Self::housekeeping,
        );
    }
}

impl Actor for ReplicaActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        self.faults.attend(ctx, "replica", || &self.track.name);
        self.housekeeping(ctx);
        let home = self.track.home.clone();
        let ask = AttachReplica {
            id: self.id,
            replica: ctx.address().recipient(),
            own: self.audience.own.is_some(),
            wants: self.first,
        };
        // The home answers when its upstream does.
        let deadline = self.config.answer_deadline();
        let asked = mailbox::ask(&home, ask, deadline);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| match answer {
            Ok(Ok(attached)) => {
                // MOQT-14 §9.2.1.3 [D14-CACHE-4]
                actor.fanout.limit_cache(attached.meta.max_cache_duration_ms);
                actor.fanout.await_word(attached.awaited);
                actor.fanout.go_live(Instant::now(), attached.meta, attached.largest, attached.snapshot);
                let place = actor.fanout.attached();
                for joining in actor.joining.values_mut() {
                    joining.place.clone_from(&place);
                }
                // Before it was attached the home took no news of it.
                actor.tell_home();
                for (batch, promise) in std::mem::take(&mut actor.early) {
                    actor.take_in(ctx, batch);
                    promise.send(());
                }
            }
            Ok(Err(why)) => {
                let gone = TrackGone { status: PublishDoneStatus::InternalError, phrase: why.phrase.clone() };
                actor.end(ctx, &gone, &why);
            }
            Err(error) => {
                debug!(actor.log, "replica could not attach"; "track" => %actor.track.name, "error" => %error);
                let why = match error {
                    AskError::MailboxClosed => Unavailable::for_now("the track has ended"),
                    AskError::Deadline => {
                        Unavailable::new(RequestErrorReason::InternalError, "the track's home did not answer")
                    }
                };
                actor.end(ctx, &TrackGone::new(PublishDoneStatus::InternalError, "the track failed"), &why);
            }
        }));
    }
}

impl Drop for ReplicaActor {
    fn drop(&mut self) {
        mailbox::signal(
            &self.track.home,
            ReplicaState {
                id: self.id,
                readers: Arc::clone(&self.told),
                closed: true,
            },
        );
    }
}

impl Handler<Attach> for ReplicaActor {
    type Result = Reply<Result<Attached, Unavailable>>;
    fn handle(&mut self, msg: Attach, ctx: &mut Self::Context) -> Self::Result {
        let reader = msg.reader;
        self.fresh = false;
        if !msg.own && !self.ended.get() {
            return self.join(ctx, msg);
        }
        let reply = self.fanout.attach(msg);
        mailbox::signal(&self.track.home, Gathered { reader });
        self.readers_changed(ctx);
        reply
    }
}

impl Handler<Detach> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, msg: Detach, ctx: &mut Self::Context) {
        let reader = msg.reader;
        self.fanout.detach(reader);
        if self.joining.remove(&reader).is_some() {
            mailbox::signal(&self.track.home, Detach { reader });
        } else {
            mailbox::signal(&self.track.home, Gathered { reader });
        }
        self.readers_changed(ctx);
    }
}

impl Handler<SetWants> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, msg: SetWants, ctx: &mut Self::Context) {
        self.fanout.set_wants(msg.reader, msg.wish.read());
        self.readers_changed(ctx);
    }
}

impl Handler<WantNewGroup> for ReplicaActor {
    type Result = ();
    fn handle(&mut self, msg: WantNewGroup, _: &mut Self::Context) {
        // Ahead of the news that the reader has come, so that it is in time for the home's SUBSCRIBE.
        mailbox::signal(&self.track.home, msg);
    }
}

impl Handler<Replicate> for ReplicaActor {
    type Result = Reply<()>;
    fn handle(&mut self, msg: Replicate, ctx: &mut Self::Context) -> Self::Result {
        if !self.fanout.is_live() && !self.ended.get() {
            let (answer, promise) = Reply::later();
            self.early.push((msg, promise));
            return answer;
        }
        self.take_in(ctx, msg);
        Reply::Now(())
    }
}
