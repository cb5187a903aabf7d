//! What this relay is the origin of: its publications go into the mesh, and who subscribes there gets the objects.
//!
//! ```text
//!  registry ⇢⇢▶ PublicationsActor ⇢⇢▶ InfoBaseActor.Want          what sessions of this relay publish (decision 0029)
//!  InfoBaseActor ──▶ MeshActor ──▶ OriginActor.MeshNews           node n wants track t: a wish
//!  OriginActor ──▶ Outlets.set_targets; route ──▶ for each link one Slot: a SubscriptionActor whose owner is the OriginActor
//!  SubscriptionActor ──▶ lanes of the link's writer, behind data headers; Say, SubscriptionOver ──▶ OriginActor
//!  OriginActor ──▶ SendToNode: SUBSCRIBE_OK, SUBSCRIBE_ERROR, PUBLISH_DONE for each node
//! ```
//!
//! However many nodes lie behind a link, it carries a track once, and it is never ended for being slow: a subscription on
//! a link goes on with the newest group.
//!
//! | file | what it holds |
//! |---|---|
//! | `ledger`, `publications` | what is published here, and who tells the bases |
//! | `wish` | what nodes want, and what that is together |
//! | `track`, `slot` | a track with the nodes that want it, and its subscription on one link |
//! | `elsewhere` | what other nodes publish |
//! | `routing` | which links need one, and what it is to be |
//! | `aside`, `gather` | what nodes get that join in the middle, and many of them |
//! | `cuts` | what nodes get whose links die |
//! | `declined` | nodes that were refused a track, and may ask again |
//! | `answers`, `again` | what nodes are told, and told again |
//! | `asked`, `statuses` | what nodes fetch, and ask of tracks |
//! | `parting` | nodes that leave, and tracks that are withdrawn |
//! | `ascending` | long lists of nodes, compared |
//! | `outlets` | what the plane is asked |

mod again;
mod answers;
mod ascending;
mod aside;
mod asked;
mod cuts;
mod declined;
mod elsewhere;
mod gather;
mod ledger;
mod news;
mod outlets;
mod parting;
mod publications;
mod routing;
mod slot;
mod statuses;
#[cfg(test)]
mod tests;
mod track;
mod wish;

pub(crate) use asked::NodeSay;
pub use ledger::Counters as PublicationCounters;
pub use outlets::Outlets;

use crate::census::{self, Count};
use crate::metrics::restarts;
use crate::peering::mesh::{BasesBegan, SendToNode, Want};
use crate::root::StopChild;
use crate::session::Config;
use crate::shard::Env;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox;
use crate::supervise::policy::{Backoff, Decision, Intensity, Restart, Supervisor};
use crate::supervise::{ChildDown, ChildGuard, ChildId};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, MessageResult, Recipient};
use asked::Asked;
use declined::Declined;
use elsewhere::Elsewhere;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::behind::SkipRules;
use ledger::Ledger;
use publications::PublicationsActor;
use slog::{Logger, warn};
use statuses::Statuses;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use track::Track;

/// Messages that may wait for it.
const MAILBOX: usize = 4096;
/// Who watches the registry comes back however often it fails, ever more slowly: the data goes on without it.
const FAILURES: Intensity = Intensity::UNLIMITED;
const PAUSE: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter_percent: 20,
};

/// How much of anything is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tracks that nodes subscribe to.
    pub tracks: usize,
    /// Nodes that subscribe to one track.
    pub nodes: usize,
    /// FETCHes of one node at once, and as many TRACK_STATUSes.
    pub fetches: usize,
    /// How long a node that joins gets what begins both with the others and aside: until then a relay in between may not
    /// have read that the large set has it too. What comes twice, an edge takes once.
    pub join_overlap: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // As many as node sets on a link, and nodes in a set.
        Self {
            tracks: 65_536,
            nodes: 16_384,
            // A relay fetches for all of its sessions, a few holes of each track at once.
            fetches: 4096,
            // Control messages and data of one link are not in order. Both are several round trips and a loss.
            join_overlap: Duration::from_millis(500),
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Subscriptions on links that began.
    pub subscriptions: u64,
    /// Subscriptions for nodes that joined in the middle.
    pub asides: u64,
    /// Actors of subscriptions that failed and were started again.
    pub restarts: u64,
    /// Subscriptions that were so far behind that they began anew.
    pub behind: u64,
    /// Subscriptions of nodes that could not be read.
    pub malformed: u64,
    /// Subscriptions of nodes beyond [`Limits`], or beyond what a link may have.
    pub refused: u64,
    /// Answers to nodes.
    pub answers: u64,
}

/// What the actor is made of.
pub struct Birth {
    /// What the shard of the peering shares.
    pub env: Env,
    /// The way out.
    pub outlets: Rc<dyn Outlets>,
    /// How much is served.
    pub limits: Limits,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// The origin of this relay's tracks, as far as other nodes get them.
///
/// Parent: the peering. Arbiter: its own. Restart: permanent, and the information bases have to tell everything again after
/// [`BasesBegan`]. In: [`BasesBegan`], [`MeshNews`](super::MeshNews), [`FromNode`](super::FromNode), [`TrackRerouted`](crate::peering::plane::TrackRerouted),
/// `Say`, `NodeSay` and `SubscriptionOver` of subscriptions, fetches and statuses, `ChildDown`, [`StopChild`]. Out: [`SendToNode`] to the bases, `Update`, `Leave` and `Stop`
/// to subscriptions. Lost on death: who wants what, and with its children what is under way to them.
pub struct OriginActor {
    /// What the shard shares, with a session's settings as a link needs them.
    env: Env,
    outlets: Rc<dyn Outlets>,
    limits: Limits,
    log: Logger,
    want: Option<Recipient<Want>>,
    nodes: Option<Recipient<SendToNode>>,
    /// Nodes that cannot be told anything: laps relays, and those behind them.
    strangers: BTreeSet<NodeId>,
    /// Stubs of this relay.
    stubs: BTreeSet<NodeId>,
    elsewhere: Elsewhere,
    tracks: BTreeMap<FullNameHash, Track>,
    /// Which subscription of ours is which.
    requests: HashMap<RequestId, (FullNameHash, LinkId)>,
    children: HashMap<ChildId, (FullNameHash, LinkId)>,
    /// Which subscription aside is of which track, and by its actor.
    asides: HashMap<RequestId, FullNameHash>,
    asides_by_child: HashMap<ChildId, RequestId>,
    next_request: u64,
    asked: Asked,
    statuses: Statuses,
    /// Nodes that were refused tracks.
    declined: Declined,
    /// Lives of the bases so far.
    lives: u64,
    ledger: Rc<RefCell<Ledger>>,
    publications: Option<(ChildId, Addr<PublicationsActor>)>,
    supervisor: Supervisor,
    counters: Counters,
    _guard: Option<ChildGuard>,
}

impl fmt::Debug for OriginActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginActor")
            .field("tracks", &self.tracks)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Birth {
    /// Starts the actor on this arbiter.
    #[must_use]
    pub fn start(self) -> Addr<OriginActor> {
        let session = Arc::new(of_link(&self.env.session));
        OriginActor {
            log: self.env.log.clone(),
            env: Env { session, ..self.env },
            outlets: self.outlets,
            limits: self.limits,
            want: None,
            nodes: None,
            strangers: BTreeSet::new(),
            stubs: BTreeSet::new(),
            elsewhere: Elsewhere::default(),
            tracks: BTreeMap::new(),
            requests: HashMap::new(),
            children: HashMap::new(),
            asides: HashMap::new(),
            asides_by_child: HashMap::new(),
            next_request: 0,
            asked: Asked::default(),
            statuses: Statuses::default(),
            declined: Declined::default(),
            lives: 0,
            ledger: Rc::default(),
            publications: None,
            supervisor: Supervisor::new(Restart::Permanent, FAILURES, PAUSE, 0),
            counters: Counters::default(),
            _guard: self.guard,
        }
        .start()
    }
}

/// A session's settings for what is subscribed to on a link.
fn of_link(session: &Config) -> Config {
    Config {
        // A node that wants a track without a publisher asks the next one that there is.
        detached: false,
        allow_self: true,
        // A link carries the tracks of many: one that is slow for a moment loses old groups and not the track. How old an
        // object may be there the subscribers have said, whom it is for.
        skips: SkipRules {
            all: true,
            below: Vec::new(),
            max_wait: None,
        },
        ..session.clone()
    }
}

impl OriginActor {
    fn start_publications(&mut self, ctx: &Context<Self>) {
        let child = ChildId::fresh();
        let addr = publications::Birth {
            registry: self.env.registry.clone(),
            ledger: Rc::clone(&self.ledger),
            announcers: ctx.address().recipient(),
            bases: self.want.clone(),
            faults: self.env.faults.clone(),
            log: self.log.clone(),
            guard: Some(ChildGuard::new(ctx.address().recipient(), child, "publications")),
        }
        .start();
        self.publications = Some((child, addr));
    }

    fn publications_down(&mut self, ctx: &mut Context<Self>, down: ChildDown) {
        if !self.env.registry.comes_back() && !self.env.registry.now().connected() {
            // The relay is ending.
            return;
        }
        if let Decision::Restart { after } = self.supervisor.child_down(Instant::now(), down.exit) {
            restarts::restarted(down.kind);
            warn!(self.log, "who publishes in the mesh failed and is started again");
            ctx.run_later(after, |actor, ctx| actor.start_publications(ctx));
        }
    }
}

impl Actor for OriginActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if has_runtime() {
            self.env.faults.attend(ctx, "origin", || "origin");
            self.start_publications(ctx);
        }
    }
}

impl Drop for OriginActor {
    fn drop(&mut self) {
        if let Some((_, addr)) = &self.publications {
            mailbox::signal(addr, publications::Stop);
        }
    }
}

impl Handler<BasesBegan> for OriginActor {
    type Result = ();

    fn handle(&mut self, msg: BasesBegan, ctx: &mut Self::Context) {
        self.want = Some(msg.want.clone());
        self.nodes = Some(msg.nodes.clone());
        self.doubt(ctx);
        if let Some((_, publications)) = &self.publications {
            mailbox::signal(publications, msg);
        }
    }
}

impl Handler<StopChild> for OriginActor {
    type Result = ();

    fn handle(&mut self, _: StopChild, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<ChildDown> for OriginActor {
    type Result = ();

    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        if self
            .publications
            .as_ref()
            .is_some_and(|(child, _)| *child == msg.id)
        {
            self.publications = None;
            self.publications_down(ctx, msg);
        } else if self.asked.has(msg.id) {
            self.fetch_down(ctx, &msg);
        } else if self.statuses.has(msg.id) {
            self.status_down(&msg);
        } else if let Some(request) = self.asides_by_child.remove(&msg.id) {
            self.aside_over(ctx, request);
        } else {
            self.subscription_down(ctx, msg);
        }
    }
}

impl Handler<Count> for OriginActor {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        let (published, told, refused) = self.ledger.borrow().sizes();
        let nodes: usize = self.tracks.values().map(|track| track.nodes.len()).sum();
        MessageResult(vec![
            census::row("mesh_published", published),
            census::row("mesh_told", told),
            census::row("mesh_refused", refused),
            census::row("mesh_elsewhere", self.elsewhere.len()),
            census::row("mesh_tracks", self.tracks.len()),
            census::row("mesh_wishes", nodes),
            census::row("mesh_subscriptions", self.requests.len()),
            census::row("mesh_asides", self.asides.len()),
            census::row("mesh_fetches", self.asked.len()),
            census::row("mesh_statuses", self.statuses.len()),
            census::row("mesh_declined", self.declined.len()),
        ])
    }
}

/// What happened so far?
#[derive(Clone, Copy, Debug, actix::Message)]
#[rtype(result = "(Counters, PublicationCounters)")]
pub struct TakeCounters;

impl Handler<TakeCounters> for OriginActor {
    type Result = MessageResult<TakeCounters>;

    fn handle(&mut self, _: TakeCounters, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.counters, self.ledger.borrow().counters()))
    }
}
