//! Which track lives where, and who announced which namespace. Control plane only: no object passes here.

pub mod messages;
mod waiting;

pub use messages::{
    AnnounceId, CreateTrack, RegisterNamespace, RegisterPublisher, RegisterTrack, ResolveTrack, ShardRef,
    TrackEnded, UnregisterNamespace, WithdrawPublisher,
};

use crate::reply::{Reply, ReplyTo};
use crate::root::StopChild;
use crate::session::SessionActor;
use crate::supervise::guard::ChildGuard;
use crate::supervise::mailbox;
use crate::track::{
    AddSource, Gather, ReaderId, Source, SourceGone, SourceId, TrackRef, Unavailable, WithdrawAnnouncer,
};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use laps_protocol::moqt::message::RequestErrorReason;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::namespace_tree::NamespaceTree;
use slog::{Logger, debug, warn};
use std::collections::HashMap;
use std::time::Duration;
use waiting::{Waiter, Waiting};

/// Messages that may wait for the registry: requests of all sessions pass here, one by one.
const MAILBOX: usize = 16_384;
/// How long a shard may take to start an actor.
const CREATE_DEADLINE: Duration = Duration::from_secs(5);
/// How often questions that nobody waits for any more are swept out.
const SWEEP: Duration = Duration::from_secs(1);

type TrackReply = ReplyTo<Result<TrackRef, Unavailable>>;
/// A publisher that came while the track was being made. The one it is made with is here for its answer only, and
/// without that when it has left again.
type Arrival = (SourceId, Option<Source>, Option<TrackReply>);

#[derive(Clone, Debug)]
struct Announcer {
    session: Addr<SessionActor>,
    shard: ShardRef,
}

#[derive(Debug)]
enum Entry {
    /// The shard was asked to start it; these wait for the answer.
    Creating {
        epoch: u64,
        waiters: Vec<Waiter>,
        sources: Vec<Arrival>,
    },
    /// It runs.
    Running(TrackRef),
}

impl Entry {
    const fn epoch(&self) -> u64 {
        match self {
            Self::Creating { epoch, .. } => *epoch,
            Self::Running(track) => track.epoch,
        }
    }
}

/// The process's one registry.
///
/// Parent: root. Arbiter: the system's. Restart: permanent with no restarts allowed: without it no session can find
/// a track, so its death ends the process with a non-zero exit code. In: [`messages`]. Out: `CreateTrack` to shards,
/// `Gather` and `AddSource` to tracks. Lost on death: everything in it.
#[derive(Debug)]
pub struct RegistryActor {
    tracks: HashMap<FullTrackName, Entry>,
    namespaces: NamespaceTree<AnnounceId, Announcer>,
    waiting: Waiting,
    next_epoch: u64,
    log: Logger,
    _guard: Option<ChildGuard>,
}

impl RegistryActor {
    /// An empty registry that lets at most `max_waiting` questions wait for a publisher.
    #[must_use]
    pub fn new(log: Logger, max_waiting: usize, guard: Option<ChildGuard>) -> Self {
        Self {
            tracks: HashMap::new(),
            namespaces: NamespaceTree::new(),
            waiting: Waiting::new(max_waiting),
            next_epoch: 1,
            log,
            _guard: guard,
        }
    }

    /// Forgets a life of a track; a later life is left alone, and so is one that is only being started: who waits for
    /// it is answered first.
    fn forget(&mut self, name: &FullTrackName, epoch: u64) {
        if matches!(self.tracks.get(name), Some(Entry::Running(track)) if track.epoch == epoch) {
            self.tracks.remove(name);
        }
    }

    /// Everybody whose announcement covers the track, the longest match first.
    ///
    /// MOQT-14 §8.4 [D14-NS-5].
    fn announcers(&self, name: &FullTrackName) -> Vec<Announcer> {
        self.namespaces
            .matches(name.namespace())
            .into_iter()
            .map(|entry| entry.value.clone())
            .collect()
    }

    /// Starts the track on the first announcer's shard; the others stand by.
    fn create_announced(&mut self, ctx: &mut Context<Self>, name: FullTrackName, waiters: Vec<Waiter>) {
        let mut announcers = self.announcers(&name).into_iter();
        let Some(first) = announcers.next() else {
            return;
        };
        let others = announcers
            .map(|announcer| {
                (
                    SourceId::next(),
                    Some(Source::Announced {
                        session: announcer.session,
                    }),
                    None,
                )
            })
            .collect();
        let source = Source::Announced {
            session: first.session,
        };
        self.create(ctx, name, &first.shard, SourceId::next(), source, waiters, others);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call that gathers what a new track is made of"
    )]
    fn create(
        &mut self,
        ctx: &mut Context<Self>,
        name: FullTrackName,
        shard: &ShardRef,
        id: SourceId,
        source: Source,
        waiters: Vec<Waiter>,
        sources: Vec<Arrival>,
    ) {
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        debug!(self.log, "track starts"; "track" => %name, "epoch" => epoch, "shard" => shard.index);
        self.tracks.insert(
            name.clone(),
            Entry::Creating {
                epoch,
                waiters,
                sources,
            },
        );
        let (tracks, shard_index) = (shard.tracks.clone(), shard.index);
        let order = CreateTrack {
            name: name.clone(),
            epoch,
            id,
            source,
        };
        let created = async move { mailbox::ask(&tracks, order, CREATE_DEADLINE).await };
        ctx.spawn(created.into_actor(self).map(move |answer, actor, _| {
            let home = answer.map(|home| TrackRef {
                name: name.clone(),
                shard: shard_index,
                home,
                epoch,
            });
            actor.created(&name, epoch, home.ok());
        }));
    }

    fn created(&mut self, name: &FullTrackName, epoch: u64, track: Option<TrackRef>) {
        if self.tracks.get(name).is_none_or(|entry| entry.epoch() != epoch) {
            return;
        }
        let Some(Entry::Creating { waiters, sources, .. }) = self.tracks.remove(name) else {
            return;
        };
        let Some(track) = track else {
            warn!(self.log, "no shard started the track"; "track" => %name);
            for waiter in waiters {
                waiter.reply.send(Err(overloaded()));
            }
            for reply in sources.into_iter().filter_map(|(_, _, reply)| reply) {
                reply.send(Err(overloaded()));
            }
            return;
        };
        let mut withdrawn = Vec::new();
        for (id, source, reply) in sources {
            if let Some(source) = source {
                mailbox::signal(&track.home, AddSource { id, source });
            } else if reply.is_none() {
                withdrawn.push(id);
            }
            if let Some(reply) = reply {
                reply.send(Ok(track.clone()));
            }
        }
        let waiters: Vec<_> = waiters
            .into_iter()
            .filter(|waiter| !waiter.reply.is_abandoned())
            .collect();
        let readers: Vec<ReaderId> = waiters.iter().map(|waiter| waiter.reader).collect();
        mailbox::signal(&track.home, Gather { readers });
        for waiter in waiters {
            waiter.reply.send(Ok(track.clone()));
        }
        for source in withdrawn {
            mailbox::signal(&track.home, SourceGone { source });
        }
        self.tracks.insert(name.clone(), Entry::Running(track));
    }

    /// A namespace is new: whoever waits for a track in it, and every track that runs, gets the publisher.
    fn announced(&mut self, ctx: &mut Context<Self>, namespace: &TrackNamespace, announcer: &Announcer) {
        // MOQT-14 §8.4 DEVIATION: a new publisher of a track that is subscribed already is not subscribed to at once,
        // it stands by (decision 0008).
        for (name, entry) in &mut self.tracks {
            if !namespace.is_prefix_of(name.namespace()) {
                continue;
            }
            let source = Source::Announced {
                session: announcer.session.clone(),
            };
            match entry {
                Entry::Creating { sources, .. } => {
                    let known = sources
                        .iter()
                        .any(|(_, source, _)| is_session(source.as_ref(), &announcer.session));
                    if !known {
                        sources.push((SourceId::next(), Some(source), None));
                    }
                }
                Entry::Running(track) => {
                    mailbox::signal(
                        &track.home,
                        AddSource {
                            id: SourceId::next(),
                            source,
                        },
                    );
                }
            }
        }
        for (name, waiters) in self.waiting.take_matching(namespace) {
            self.create_announced(ctx, name, waiters);
        }
    }
}

fn is_session(source: Option<&Source>, session: &Addr<SessionActor>) -> bool {
    matches!(source, Some(Source::Announced { session: other }) if other == session)
}

fn overloaded() -> Unavailable {
    Unavailable::new(
        RequestErrorReason::InternalError,
        "the relay could not start the track",
    )
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.run_interval(SWEEP, |actor, _| actor.waiting.sweep());
    }
}

impl Handler<ResolveTrack> for RegistryActor {
    type Result = Reply<Result<TrackRef, Unavailable>>;

    fn handle(&mut self, msg: ResolveTrack, ctx: &mut Self::Context) -> Self::Result {
        let ResolveTrack {
            name,
            reader,
            stale,
            wait,
        } = msg;
        if let Some(epoch) = stale {
            self.forget(&name, epoch);
        }
        match self.tracks.get_mut(&name) {
            Some(Entry::Running(track)) => return Reply::Now(Ok(track.clone())),
            Some(Entry::Creating { waiters, .. }) => {
                let (answer, reply) = Reply::later();
                waiters.push(Waiter { reader, reply });
                return answer;
            }
            None => {}
        }
        let announcers = self.announcers(&name);
        if announcers.is_empty() && !wait {
            // MOQT-14 §8.4 [D14-SUB-10]
            return Reply::Now(Err(Unavailable::for_now("nobody publishes this track")));
        }
        let (answer, reply) = Reply::later();
        let waiter = Waiter { reader, reply };
        if announcers.is_empty() {
            if let Err(waiter) = self.waiting.add(name, waiter) {
                let full = "too many subscriptions wait for a publisher";
                warn!(self.log, "subscription refused"; "why" => full, "refused" => self.waiting.refused());
                waiter
                    .reply
                    .send(Err(Unavailable::new(RequestErrorReason::InternalError, full)));
            }
        } else {
            self.create_announced(ctx, name, vec![waiter]);
        }
        answer
    }
}

impl Handler<RegisterNamespace> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: RegisterNamespace, ctx: &mut Self::Context) {
        let announcer = Announcer {
            session: msg.session,
            shard: msg.shard,
        };
        debug!(self.log, "namespace announced"; "namespace" => %msg.namespace);
        self.namespaces.insert(&msg.namespace, msg.id, announcer.clone());
        self.announced(ctx, &msg.namespace, &announcer);
    }
}

impl Handler<UnregisterNamespace> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: UnregisterNamespace, _: &mut Self::Context) {
        debug!(self.log, "namespace withdrawn"; "namespace" => %msg.namespace);
        let Some(announcer) = self.namespaces.remove(&msg.namespace, &msg.id) else {
            return;
        };
        for (name, entry) in &mut self.tracks {
            if !msg.namespace.is_prefix_of(name.namespace()) {
                continue;
            }
            match entry {
                Entry::Creating { sources, .. } => {
                    sources.retain(|(_, source, _)| !is_session(source.as_ref(), &announcer.session));
                }
                Entry::Running(track) => {
                    mailbox::signal(
                        &track.home,
                        WithdrawAnnouncer {
                            session: announcer.session.clone(),
                        },
                    );
                }
            }
        }
    }
}

impl Handler<RegisterPublisher> for RegistryActor {
    type Result = Reply<Result<TrackRef, Unavailable>>;

    fn handle(&mut self, msg: RegisterPublisher, ctx: &mut Self::Context) -> Self::Result {
        let RegisterPublisher {
            name,
            id,
            source,
            shard,
        } = msg;
        if matches!(self.tracks.get(&name), Some(Entry::Running(track)) if !track.home.connected()) {
            // It died and the news is on its way.
            self.tracks.remove(&name);
        }
        match self.tracks.get_mut(&name) {
            Some(Entry::Running(track)) => {
                mailbox::signal(&track.home, AddSource { id, source });
                Reply::Now(Ok(track.clone()))
            }
            Some(Entry::Creating { sources, .. }) => {
                let (answer, reply) = Reply::later();
                sources.push((id, Some(source), Some(reply)));
                answer
            }
            None => {
                let (answer, reply) = Reply::later();
                let waiters = self.waiting.take(&name);
                let first = vec![(id, None, Some(reply))];
                self.create(ctx, name, &shard, id, source, waiters, first);
                answer
            }
        }
    }
}

impl Handler<WithdrawPublisher> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: WithdrawPublisher, _: &mut Self::Context) {
        match self.tracks.get_mut(&msg.name) {
            Some(Entry::Running(track)) => {
                mailbox::signal(&track.home, SourceGone { source: msg.id });
            }
            Some(Entry::Creating { sources, .. }) => {
                sources.retain_mut(|(id, source, reply)| {
                    let withdrawn = *id == msg.id;
                    if withdrawn {
                        *reply = None;
                    }
                    // The one that the track is being made with is taken from it when it runs.
                    !withdrawn || source.is_none()
                });
            }
            None => {}
        }
    }
}

impl Handler<RegisterTrack> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: RegisterTrack, _: &mut Self::Context) {
        let RegisterTrack(track) = msg;
        let readers = self.waiting.take(&track.name);
        mailbox::signal(
            &track.home,
            Gather {
                readers: readers.iter().map(|waiter| waiter.reader).collect(),
            },
        );
        for waiter in readers {
            waiter.reply.send(Ok(track.clone()));
        }
        self.tracks.insert(track.name.clone(), Entry::Running(track));
    }
}

impl Handler<StopChild> for RegistryActor {
    type Result = ();

    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<TrackEnded> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: TrackEnded, _: &mut Self::Context) {
        self.forget(&msg.name, msg.epoch);
    }
}
