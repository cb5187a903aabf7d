//! Which track lives where, who announced which namespace, and who watches. Control plane only: no object passes here.
//!
//! `handle` is how everybody else finds it; `muster` and `roll` build it anew after a failure. `making` starts tracks,
//! `namespaces` and `publishers` hold who offers them, `watchers` who is to hear of both, `waiting` who asks for what
//! nobody offers yet, and `sought` tells a stub's mesh where its clients look for publishers.

mod handle;
mod lost;
mod making;
pub mod messages;
mod muster;
mod namespaces;
mod publishers;
mod roll;
mod sought;
#[cfg(test)]
mod tests;
mod waiting;
mod watchers;

pub use handle::RegistryHandle;
pub use messages::{
    AnnounceId, Changes, CreateTrack, PublisherLost, RegisterNamespace, RegisterPublisher, RegisterTrack,
    Reregister, ReregisterTrack, ResolveTrack, ShardLost, ShardRef, TakeChanges, TrackEnded,
    UnregisterNamespace, UnwatchNamespace, WatchId, WatchNamespace, Whose, WithdrawPublisher,
};
pub use roll::RollCall;
pub use sought::{Sought, SoughtChanged, TakeSought, WatchSought};

use crate::census::{self, Count};
use crate::limits::Seldom;
use crate::reply::{Reply, ReplyTo};
use crate::root::StopChild;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::inject::Faults;
use crate::supervise::mailbox;
use crate::track::{Gather, SourceId, TrackRef, Unavailable, Upstream};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use laps_protocol::moqt::message::RequestErrorReason;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::relay::namespace_tree::NamespaceTree;
use muster::Muster;
use slog::{Logger, debug, warn};
use sought::Seekers;
use std::collections::BTreeMap;
use std::time::Duration;
use waiting::{Waiter, Waiting};
use watchers::Watchers;

/// Messages that may wait for the registry: requests of all sessions pass here, one by one.
const MAILBOX: usize = 16_384;
/// How often questions that nobody waits for any more are swept out.
const SWEEP: Duration = Duration::from_secs(1);

type TrackReply = ReplyTo<Result<TrackRef, Unavailable>>;

/// A publisher that came while the track was being made.
#[derive(Debug)]
enum Arrival {
    /// Who sent the PUBLISH that the track is made with: here for its answer only, without that when it has left again.
    First(SourceId, Option<TrackReply>),
    /// A further one that sent PUBLISH, and waits to be taken.
    Published(RegisterPublisher, TrackReply),
    /// One that announced the namespace.
    Announced(SourceId, Upstream),
}

#[derive(Clone, Debug)]
struct Announcer {
    namespace: TrackNamespace,
    upstream: Upstream,
    shard: ShardRef,
}

/// A track.
#[derive(Debug)]
struct Entry {
    /// Which life of it.
    epoch: u64,
    /// Those that sent PUBLISH for it.
    published: BTreeMap<SourceId, Upstream>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The shard was asked to start it; these wait for the answer.
    Creating {
        waiters: Vec<Waiter>,
        sources: Vec<Arrival>,
    },
    /// It runs.
    Running(TrackRef),
}

impl Entry {
    fn running(track: TrackRef) -> Self {
        Self {
            epoch: track.epoch,
            published: BTreeMap::new(),
            state: State::Running(track),
        }
    }

    const fn track(&self) -> Option<&TrackRef> {
        match &self.state {
            State::Running(track) => Some(track),
            State::Creating { .. } => None,
        }
    }
}

/// The process's one registry.
///
/// Parent: root. Arbiter: the system's. Restart: permanent, five in ten seconds, after which the process ends with a
/// non-zero exit code. In: [`messages`]. Out: `CreateTrack` to shards, `Gather` and `AddSource` to tracks,
/// `NamespacesChanged` to watchers. Lost on death: everything in it; a new life is told by those who own it (tracks,
/// announcements, watches), and questions that it left without an answer are asked again. Objects, subscriptions and
/// control messages go on without it; what needs it waits.
#[derive(Debug)]
pub struct RegistryActor {
    /// In the order of names, so that those of a namespace are found without looking at the others. [D14-LIM-2]
    tracks: BTreeMap<FullTrackName, Entry>,
    namespaces: NamespaceTree<AnnounceId, Announcer>,
    /// Running tracks that somebody sent PUBLISH for, found by prefix.
    published: NamespaceTree<FullTrackName, ()>,
    watchers: Watchers,
    waiting: Waiting,
    seekers: Seekers,
    /// What is told while the registry begins again.
    muster: Option<Muster>,
    warnings: Seldom,
    next_epoch: u64,
    log: Logger,
    faults: Faults,
    _guard: Option<ChildGuard>,
}

impl RegistryActor {
    /// An empty registry that lets at most `max_waiting` questions wait for a publisher.
    #[must_use]
    pub fn new(log: Logger, max_waiting: usize, guard: Option<ChildGuard>) -> Self {
        Self {
            tracks: BTreeMap::new(),
            namespaces: NamespaceTree::new(),
            published: NamespaceTree::new(),
            watchers: Watchers::default(),
            waiting: Waiting::new(max_waiting),
            seekers: Seekers::default(),
            muster: None,
            warnings: Seldom::default(),
            next_epoch: 1,
            log,
            faults: Faults::default(),
            _guard: guard,
        }
    }

    /// The same, failing where a test says so.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Forgets a life of a track; a later life is left alone, and so is one that is only being started: who waits for
    /// it is answered first.
    fn forget(&mut self, name: &FullTrackName, epoch: u64) {
        let known = self.tracks.get(name);
        if known.is_some_and(|entry| entry.epoch == epoch && entry.track().is_some()) {
            self.tracks.remove(name);
            self.publishers_changed(name);
        }
    }

    /// Everybody whose announcement covers the track, the longest match first.
    ///
    /// MOQT-14 §8.4 [D14-NS-5] [D14-NS-6]: all of them are asked for it. §6.2 [D14-NS-11]: where a track may not have
    /// as many publishers, it is those who announced most of its namespace.
    fn announcers(&self, name: &FullTrackName) -> Vec<Announcer> {
        self.namespaces
            .matches(name.namespace())
            .into_iter()
            .map(|entry| entry.value.clone())
            .collect()
    }

    /// Somebody publishes the track, and nobody but `asker` does.
    fn is_own(&self, name: &FullTrackName, asker: &Upstream) -> bool {
        let announced = self.namespaces.matches(name.namespace());
        let announced = announced.iter().map(|entry| &entry.value.upstream);
        let published = self.tracks.get(name).map(|entry| entry.published.values());
        let mut all = announced.chain(published.into_iter().flatten()).peekable();
        all.peek().is_some() && all.all(|upstream| upstream == asker)
    }

    /// Finds the track, or makes it, or lets the question wait.
    fn resolve(&mut self, ctx: &mut Context<Self>, msg: ResolveTrack, reply: TrackReply) {
        let ResolveTrack {
            name,
            reader,
            stale,
            wait,
            except,
            seek,
        } = msg;
        if let Some(epoch) = stale {
            self.forget(&name, epoch);
        }
        let own = except.as_ref().is_some_and(|asker| self.is_own(&name, asker));
        let announced = !self.namespaces.matches(name.namespace()).is_empty();
        let waiter = Waiter {
            reader,
            except,
            seek,
            reply,
        };
        // MOQT-14 §8.4 [D14-NS-6]: of a track that is published here too, all publishers are asked. One who does not wait
        // for a publisher asks again when there is none.
        if seek && (wait || announced || self.tracks.contains_key(&name)) {
            self.seekers.seek(name.namespace());
        }
        // MOQT-14 §8.4 [D14-PUB-5]: the full name is looked for before the namespaces are.
        match self.tracks.get_mut(&name).map(|entry| &mut entry.state) {
            // MOQT-14 §5.1 [D14-NS-3] DEVIATION: with `relay.allow_self = false` only (decision 0010).
            _ if own && wait => self.wait(name, waiter),
            _ if own => waiter.reply.send(Err(nobody())),
            Some(State::Running(track)) => waiter.reply.send(Ok(track.clone())),
            Some(State::Creating { waiters, .. }) => waiters.push(waiter),
            None if announced => self.create_announced(ctx, name, vec![waiter]),
            None if wait => self.wait(name, waiter),
            // MOQT-14 §8.4 [D14-SUB-10]
            None => waiter.reply.send(Err(nobody())),
        }
    }

    /// A question waits until somebody publishes the track.
    fn wait(&mut self, name: FullTrackName, waiter: Waiter) {
        if let Err(waiter) = self.waiting.add(name, waiter) {
            let full = "too many subscriptions wait for a publisher";
            match self.warnings.tells() {
                Some(others) => {
                    warn!(self.log, "a limit is reached"; "limit" => "limits.waiting_total",
                        "refused" => self.waiting.refused(), "not_told_of" => others);
                }
                None => debug!(self.log, "refused"; "limit" => "limits.waiting_total"),
            }
            waiter
                .reply
                .send(Err(Unavailable::new(RequestErrorReason::InternalError, full)));
        }
    }
}

fn overloaded() -> Unavailable {
    Unavailable::new(
        RequestErrorReason::InternalError,
        "the relay could not start the track",
    )
}

fn nobody() -> Unavailable {
    Unavailable::for_now("nobody publishes this track")
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        ctx.run_interval(SWEEP, |actor, _| actor.waiting.sweep());
        self.faults.attend(ctx, "registry", || "registry");
        self.expect_everybody(ctx);
    }
}

impl Handler<ResolveTrack> for RegistryActor {
    type Result = Reply<Result<TrackRef, Unavailable>>;

    fn handle(&mut self, msg: ResolveTrack, ctx: &mut Self::Context) -> Self::Result {
        self.faults.check_named("registry", &msg.name);
        let (answer, reply) = Reply::later();
        match &mut self.muster {
            Some(muster) => muster.resolve(msg, reply),
            None => self.resolve(ctx, msg, reply),
        }
        answer
    }
}

impl Handler<RegisterTrack> for RegistryActor {
    type Result = ();

    fn handle(&mut self, msg: RegisterTrack, _: &mut Self::Context) {
        let RegisterTrack(track) = msg;
        let readers = self.waiting.take(&track.name, None);
        mailbox::signal(
            &track.home,
            Gather {
                readers: readers.iter().map(|waiter| waiter.reader).collect(),
            },
        );
        for waiter in readers {
            waiter.reply.send(Ok(track.clone()));
        }
        self.tracks.insert(track.name.clone(), Entry::running(track));
    }
}

impl Handler<Count> for RegistryActor {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let (watchers, prefixes) = self.watchers.len();
        actix::MessageResult(vec![
            census::row("tracks", self.tracks.len()),
            census::row("namespaces", self.namespaces.len()),
            census::row("published", self.published.len()),
            census::row("watchers", watchers),
            census::row("watched_prefixes", prefixes),
            census::row("waiting", self.waiting.len()),
            census::row("deferred", self.muster.as_ref().map_or(0, Muster::len)),
        ])
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
