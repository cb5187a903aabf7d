//! The mesh, as far as this relay's tracks have to do with it.
//!
//! [`MeshActor`] is told by the information bases what other nodes publish and subscribe to, and by other nodes what
//! they answer. `remote` makes publishers of nodes that publish, and `origin` serves what nodes subscribe to.

mod messages;
mod news;
pub mod origin;
pub mod remote;
#[cfg(test)]
mod tests;
mod watching;

pub use messages::{BasesBegan, FromNode, MeshNews, News, SendToNode, Want};

use super::supervisor::now;
use super::told::{About, Told};
use crate::census::{self, Count};
use crate::root::StopChild;
use crate::shard::Env;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox::{self, AskError};
use crate::supervise::{Backoff, ChildGuard, ChildId, Intensity, Restart, Supervisor};
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use futures::future::join_all;
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::info_base::CommandError;
use laps_protocol::peering::message::{Answer, Published};
use laps_protocol::peering::node::NodeId;
use remote::asking::{Asking, Said};
use remote::messages::{Answered, NodeLost, Telling, Wished};
use remote::{Inlets, NodeActor};
use slog::{Logger, o, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use watching::Watching;

/// Messages that may wait for it.
const MAILBOX: usize = 4096;
/// How long the bases may take to hear what is wanted.
const WANT_DEADLINE: Duration = Duration::from_secs(10);
/// How often the actor of one node may fail.
const FAILURES: Intensity = Intensity::per_secs(5, 30);
/// The pause before a further one.
const PAUSE: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter_percent: 20,
};
/// Until a node whose actor failed that often is served again.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// The part that serves what other nodes subscribe to, and fetch.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Where it hears of new bases.
    pub began: Recipient<BasesBegan>,
    /// Where it hears of subscriptions, and of nodes that come and go.
    pub news: Recipient<MeshNews>,
    /// Where it hears what nodes ask for.
    pub asked: Recipient<FromNode>,
}

/// What the mesh's actor is made of.
pub struct Birth {
    /// The number of this life of the relay, as its information bases have it.
    pub epoch: u64,
    /// What the shard of the peering shares.
    pub env: Env,
    /// Where streams of links find out whose they are.
    pub inlets: Rc<dyn Inlets>,
    /// The other part.
    pub origin: Option<Origin>,
    /// This relay is a stub, and hears of no publisher that it does not watch.
    pub stub: bool,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// One other node, as far as it publishes or can be reached.
#[derive(Debug)]
struct Node {
    publishes: BTreeSet<Published>,
    /// Told by earlier bases, and not yet by these.
    unconfirmed: BTreeSet<Published>,
    reachable: bool,
    ours: bool,
    /// It is a stub of this relay.
    stub: bool,
    child: Option<(ChildId, Addr<NodeActor>)>,
    /// Its actor has failed, and is started again in a while.
    pausing: bool,
    supervisor: Supervisor,
}

/// The mesh of this relay.
///
/// Parent: the peering. Arbiter: its own. Restart: permanent; with the information bases, or they tell it everything again
/// after [`BasesBegan`]. In: [`BasesBegan`], [`MeshNews`], [`FromNode`], `Reregister`, `Wished` and `ChildDown` of nodes, on a
/// stub `SoughtChanged`. Out: [`Want`] and [`SendToNode`] to the bases, what nodes tell to their actors, the rest to
/// [`Origin`], on a stub `WatchSought` and `TakeSought` to the registry. Lost on death: what it knows of other nodes, and
/// with its children what tracks get from them.
pub struct MeshActor {
    epoch: u64,
    env: Env,
    inlets: Rc<dyn Inlets>,
    origin: Option<Origin>,
    log: Logger,
    bases: Option<BasesBegan>,
    nodes: BTreeMap<NodeId, Node>,
    children: BTreeMap<ChildId, NodeId>,
    asking: Asking,
    /// Lives of the bases so far.
    lives: u64,
    /// What nodes said that could not be read.
    malformed: u64,
    /// Which tracks cannot be asked for.
    news: Told,
    /// What is to be said is gathered.
    flushing: bool,
    stub: bool,
    /// On a stub: what it watches.
    watching: Option<Watching>,
    _guard: Option<ChildGuard>,
}

impl Birth {
    /// Starts the actor on this arbiter.
    #[must_use]
    pub fn start(self) -> Addr<MeshActor> {
        let log = self.env.log.clone();
        MeshActor {
            epoch: self.epoch,
            env: self.env,
            inlets: self.inlets,
            origin: self.origin,
            log,
            bases: None,
            nodes: BTreeMap::new(),
            children: BTreeMap::new(),
            asking: Asking::new(self.epoch),
            lives: 0,
            malformed: 0,
            news: Told::default(),
            flushing: false,
            stub: self.stub,
            watching: None,
            _guard: self.guard,
        }
        .start()
    }
}

/// What was wanted in this turn is to be said.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl MeshActor {
    /// The node of this id.
    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.entry(id).or_insert_with(|| Node {
            publishes: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            reachable: false,
            // One that no relay of ours tells of is known from a laps relay alone, and answers nothing.
            ours: false,
            stub: false,
            child: None,
            pausing: false,
            supervisor: Supervisor::new(Restart::Transient, FAILURES, PAUSE, id.0),
        })
    }

    fn child(&self, node: NodeId) -> Option<&Addr<NodeActor>> {
        let (_, addr) = self.nodes.get(&node)?.child.as_ref()?;
        Some(addr)
    }

    /// Starts the actor of a node that publishes something, with all that it publishes.
    fn serve(&mut self, ctx: &Context<Self>, id: NodeId) {
        let (env, inlets, log, epoch) = (
            self.env.clone(),
            Rc::clone(&self.inlets),
            self.log.clone(),
            self.epoch,
        );
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.child.is_some() || node.pausing || node.publishes.is_empty() {
            return;
        }
        let child = ChildId::fresh();
        let birth = remote::Birth {
            node: id,
            epoch,
            ours: node.ours,
            stub: node.stub,
            publishes: node.publishes.iter().cloned().collect(),
            env,
            inlets,
            mesh: ctx.address(),
            log: log.new(o!("node" => id.to_string())),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "node")),
        };
        node.child = Some((child, NodeActor::new(birth).start()));
        self.children.insert(child, id);
    }

    /// Forgets a node of which nothing is left.
    fn tidy(&mut self, id: NodeId) {
        let idle = |node: &mut Node| !node.reachable && node.publishes.is_empty() && node.child.is_none();
        for (id, _) in self.nodes.extract_if(id..=id, |_, node| idle(node)) {
            self.inlets.set_laps(id, false);
        }
    }

    /// Says what was wanted when everybody who has been asked in this turn has wished.
    fn flush_soon(&mut self, ctx: &mut Context<Self>) {
        if self.bases.is_some() && self.asking.is_due() && !std::mem::replace(&mut self.flushing, true) {
            ctx.notify(Flush);
        }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.flushing = false;
        let Some(bases) = self.bases.clone() else {
            return;
        };
        let mut asked = Vec::new();
        for said in self.asking.flush() {
            match said {
                Said::Command { track, command } => {
                    let answer = mailbox::ask(&bases.want, Want(command), WANT_DEADLINE);
                    asked.push(async move { (track, answer.await) });
                }
                Said::Unsayable { track, nodes, why } => self.cannot_ask(track, &nodes, &why),
            }
        }
        // One future for all of them.
        ctx.spawn(join_all(asked).into_actor(self).map(|answers, actor, ctx| {
            for (track, answer) in answers {
                match answer {
                    // Bases that are gone are followed by others, which are told everything.
                    Ok(Ok(())) | Err(AskError::MailboxClosed) => {}
                    Ok(Err(error)) => {
                        let nodes = actor.asking.nodes(track);
                        actor.cannot_ask(track, &nodes, &error);
                    }
                    Err(AskError::Deadline) => actor.asking.forget_told_of(track),
                }
            }
            actor.flush_soon(ctx);
        }));
    }

    /// A track cannot be asked for.
    fn cannot_ask(&self, track: FullNameHash, nodes: &[NodeId], why: &dyn Error) {
        if self.news.is_news(About::Track(track), why.to_string(), now()) {
            warn!(self.log, "a track of the mesh cannot be asked for"; "hash" => %track, "why" => %why);
        }
        for node in nodes {
            let why = "the mesh cannot be asked for the track";
            let answer = Answer::Error(RequestError::new(RequestErrorReason::InternalError, why));
            let answered = Answered {
                track,
                number: RequestId(0),
                answer,
                telling: Telling::Once,
            };
            self.tell(*node, answered);
        }
    }

    fn tell<M>(&self, node: NodeId, message: M)
    where
        M: Message<Result = ()> + Send + 'static,
        NodeActor: Handler<M>,
    {
        if let Some(child) = self.child(node) {
            mailbox::signal(child, message);
        }
    }
}

impl fmt::Debug for MeshActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshActor")
            .field("nodes", &self.nodes)
            .field("asking", &self.asking)
            .finish_non_exhaustive()
    }
}

impl Actor for MeshActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if has_runtime() {
            self.env.faults.attend(ctx, "mesh", || "mesh");
            if self.stub {
                self.begin_watching(ctx);
            }
        }
    }
}

impl Drop for MeshActor {
    fn drop(&mut self) {
        // Tracks hold the addresses of nodes, which would live on and bring nothing.
        for node in self.nodes.values() {
            if let Some((_, child)) = &node.child {
                mailbox::signal(child, NodeLost);
            }
        }
    }
}

impl Handler<Flush> for MeshActor {
    type Result = ();
    fn handle(&mut self, _: Flush, ctx: &mut Self::Context) {
        self.flush(ctx);
    }
}

impl Handler<Wished> for MeshActor {
    type Result = ();
    fn handle(&mut self, msg: Wished, ctx: &mut Self::Context) {
        let Wished {
            node,
            track,
            wish,
            anew,
            new_group,
        } = msg;
        let hash = TrackHash::of(&track).full;
        match wish {
            Some(wish) => {
                if !self.asking.wish(&track, node, wish, anew, new_group) {
                    self.cannot_ask(hash, &[node], &CommandError::NameCollision);
                }
            }
            None => self.asking.drop_part(hash, node),
        }
        self.flush_soon(ctx);
    }
}

impl Handler<Count> for MeshActor {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let publishing = self.nodes.values().filter(|node| !node.publishes.is_empty());
        actix::MessageResult(vec![
            census::row("mesh_publishing_nodes", publishing.count()),
            census::row("mesh_node_actors", self.children.len()),
            census::row("mesh_asked", self.asking.len()),
        ])
    }
}

impl Handler<StopChild> for MeshActor {
    type Result = ();
    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
