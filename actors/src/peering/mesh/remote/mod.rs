//! What other nodes publish, as publishers of this relay.
//!
//! ```text
//!  MeshNews ──▶ MeshActor ──▶ NodeActor (one for each node that publishes)
//!                  ▲              │ RegisterNamespace, RegisterPublisher ──▶ registry
//!                  │ Wished       │ UpstreamOk, UpstreamAgain, UpstreamDone, SourceGone ... ──▶ TrackActor
//!                  └──────────────┤
//!    `asking`: one SUBSCRIBE      ◀── SubscribeUpstream, AcceptPublish, UpdateUpstream, ReleaseUpstream ── TrackActor
//!     for each track, by Want          (what comes of it is bound to the track: `inlets`)
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `offers` | what a node publishes, as the registry knows it |
//! | `taken` | what tracks have asked of a node, and what it answers |
//! | `fetches`, `statuses` | what tracks fetch from a node, and what it is asked of them |
//! | `asking` | what all tracks want of all nodes, merged |
//! | `inlets` | how streams of links find their tracks |
//! | `numbers` | the numbers of requests |

pub(super) mod asking;
mod fetches;
mod inlets;
pub(super) mod messages;
mod numbers;
mod offers;
mod statuses;
mod taken;

pub use inlets::Inlets;
pub(crate) use messages::{AskStatus, NoStatus};

use super::MeshActor;
use crate::registry::Reregister;
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::track::Upstream;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler};
use fetches::Fetches;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::peering::message::Published;
use laps_protocol::peering::node::NodeId;
use messages::{Announces, IsOurs, NodeLost, NodeTells};
use offers::Offers;
use slog::{Logger, debug};
use statuses::Statuses;
use std::fmt;
use std::rc::Rc;
use taken::Taken;

/// Messages that may wait for it: those of tracks, a few for each.
const MAILBOX: usize = 4096;

/// What the actor of a node is made of.
pub(super) struct Birth {
    /// The node.
    pub(super) node: NodeId,
    /// This life of the relay.
    pub(super) epoch: u64,
    /// It answers.
    pub(super) ours: bool,
    /// It is a stub of this relay.
    pub(super) stub: bool,
    /// What it publishes.
    pub(super) publishes: Vec<Published>,
    /// What its shard shares.
    pub(super) env: Env,
    /// Where streams find out whose they are.
    pub(super) inlets: Rc<dyn Inlets>,
    /// Its parent.
    pub(super) mesh: Addr<MeshActor>,
    /// Where it logs.
    pub(super) log: Logger,
    /// Tells the parent of its death.
    pub(super) guard: Option<ChildGuard>,
}

/// One node that publishes something, for as long as it does.
///
/// Parent: the mesh's actor. Arbiter: that of the peering. Restart: temporary; while the node publishes something a new
/// one is made of what the mesh knows. In: `SubscribeUpstream`, `AcceptPublish`, `UpdateUpstream`, `ReleaseUpstream`,
/// `FetchUpstream`, `CancelFetch` of tracks, `AskStatus` of statuses, what the mesh knows of the node, `Reregister`. Out: `RegisterNamespace`,
/// `RegisterPublisher` and their ends to the registry; `UpstreamOk`, `UpstreamRejected`, `UpstreamDone`, `SourceGone` to
/// tracks; `Wished` to the mesh. Lost on death: what tracks have asked of the node; they are told `SourceGone`, and ask
/// its successor.
pub struct NodeActor {
    node: NodeId,
    epoch: u64,
    ours: bool,
    stub: bool,
    env: Env,
    inlets: Rc<dyn Inlets>,
    mesh: Addr<MeshActor>,
    log: Logger,
    offers: Offers,
    taken: Taken,
    fetches: Fetches,
    statuses: Statuses,
    next_request: u64,
    first: Vec<Published>,
    _guard: Option<ChildGuard>,
}

impl NodeActor {
    /// An actor that offers what the node publishes when it starts.
    pub(super) fn new(birth: Birth) -> Self {
        Self {
            node: birth.node,
            epoch: birth.epoch,
            ours: birth.ours,
            stub: birth.stub,
            env: birth.env,
            inlets: birth.inlets,
            mesh: birth.mesh,
            log: birth.log,
            offers: Offers::default(),
            taken: Taken::default(),
            fetches: Fetches::default(),
            statuses: Statuses::default(),
            next_request: 0,
            first: birth.publishes,
            _guard: birth.guard,
        }
    }

    /// The node, as tracks ask it.
    fn upstream(&self, ctx: &Context<Self>) -> Upstream {
        let node = ctx.address();
        if self.stub {
            Upstream::Stub(node)
        } else {
            Upstream::Node(node)
        }
    }

    /// A number for a PUBLISH that the node did not send, or a SUBSCRIBE of one track: nobody but tracks sees it.
    const fn fresh_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// It publishes nothing, and nothing that it sends is wanted: what is fetched of it is fetched elsewhere.
    fn check_idle(&self, ctx: &mut Context<Self>) {
        if self.offers.is_empty() && self.taken.is_empty() {
            debug!(self.log, "a node publishes nothing any more");
            ctx.stop();
        }
    }
}

impl fmt::Debug for NodeActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeActor")
            .field("node", &self.node)
            .field("offers", &self.offers)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Actor for NodeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        self.env.faults.attend(ctx, "node", || self.node);
        for what in std::mem::take(&mut self.first) {
            self.publishes(ctx, what);
        }
    }
}

impl Drop for NodeActor {
    fn drop(&mut self) {
        self.withdraw_all();
        self.abandon_all();
        self.abandon_fetches();
    }
}

impl Handler<NodeTells> for NodeActor {
    type Result = ();
    fn handle(&mut self, NodeTells(told): NodeTells, ctx: &mut Self::Context) {
        for (what, there) in told {
            if there {
                self.publishes(ctx, what);
            } else {
                self.withdraws(ctx, &what);
            }
        }
        self.check_idle(ctx);
    }
}

impl Handler<Announces> for NodeActor {
    type Result = ();
    fn handle(&mut self, Announces(namespace): Announces, ctx: &mut Self::Context) {
        self.announces_again(ctx, &namespace);
    }
}

impl Handler<IsOurs> for NodeActor {
    type Result = ();
    fn handle(&mut self, IsOurs(ours): IsOurs, _: &mut Self::Context) {
        self.ask_as(ours);
    }
}

impl Handler<NodeLost> for NodeActor {
    type Result = ();
    fn handle(&mut self, _: NodeLost, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Reregister> for NodeActor {
    type Result = ();
    fn handle(&mut self, _: Reregister, ctx: &mut Self::Context) {
        self.reregister(ctx);
    }
}
