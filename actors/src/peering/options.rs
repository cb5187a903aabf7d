//! What the peering of a relay is made of, and what it is asked.

use super::bases::Ears;
use super::link::{DataPlane, LinkConn, Reached};
use super::target::PeerTarget;
use crate::discovery::Found;
use crate::supervise::{Backoff, ChildDown, Faults};
use actix::{Message, Recipient};
use futures::future::LocalBoxFuture;
use laps_protocol::peering::damping;
use laps_protocol::peering::info_base::{Limits, Settings};
use laps_protocol::peering::message::Dialect;
use laps_protocol::peering::node::NodeInfo;
use slog::Logger;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// How peers are dialled, so that it can be played in tests.
pub trait Reach: Unpin + 'static {
    /// What carries a link.
    type Conn: LinkConn;

    /// Dials `target`; the error is for the log. `number` tells apart the connections that are kept up: each of them is
    /// dialled from a port of its own, and not again before the last attempt has ended.
    fn dial(
        &self,
        number: usize,
        target: &PeerTarget,
    ) -> LocalBoxFuture<'static, Result<Reached<Self::Conn>, String>>;
}

/// A peer dialled this relay. Refused when there are too many links.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Inbound<C: LinkConn> {
    /// The connection, and its streams.
    pub reached: Reached<C>,
    /// What is spoken on it.
    pub dialect: Dialect,
}

/// Makes who serves local users, for bases whose lives are this one and greater. The peering is to be told of their ends,
/// each of which ends it.
pub type MeshMaker = Box<dyn Fn(u64, Recipient<ChildDown>) -> Ears>;

/// How links are made.
pub struct Options<C: LinkConn> {
    /// Who this relay is, as it says of itself.
    pub own: NodeInfo,
    /// Whom to dial, and over how many connections: the first carries everything, the others data alone.
    pub targets: Vec<(PeerTarget, u32)>,
    /// The others carry this relay's data, and none of their peer's.
    pub data_links_one_way: bool,
    /// Relays that are found, each of which is dialled; none where only those are that are named.
    pub found: Option<watch::Receiver<Found>>,
    /// Links that peers dialled, at most.
    pub max_inbound: usize,
    /// The keep-alive of connections between relays.
    pub keep_alive: Duration,
    /// When a peer is dialled again.
    pub backoff: Backoff,
    /// When a node that comes and goes is kept away.
    pub damping: damping::Settings,
    /// Times of the information bases.
    pub settings: Settings,
    /// Bounds of the information bases.
    pub limits: Limits,
    /// Who forwards data; nobody in some tests.
    pub plane: Option<Rc<dyn DataPlane<C>>>,
    /// What `plane` has to have run for it.
    pub runs: Option<LocalBoxFuture<'static, ()>>,
    /// Makes who serves local users; none on a Via.
    pub mesh: Option<MeshMaker>,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Where it logs.
    pub log: Logger,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links that are up or begin.
    pub links: usize,
    /// Connections that were made here.
    pub dialled: u64,
    /// Attempts that failed.
    pub unreached: u64,
    /// Connections of peers that were turned away, as there are too many or none may be.
    pub turned_away: u64,
    /// Links that may not stand: another one to the node does, or it comes and goes too often.
    pub refused: u64,
    /// Links that stood and were lost.
    pub lost: u64,
    /// Information bases that failed.
    pub bases_failed: u64,
}

/// How many links are there, and what happened so far?
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Counters")]
pub struct TakeCounters;

/// The relay is about to end: its peers are to go around it, and whoever asks is told once nothing goes over its links any
/// more. Asked again, it is told again, of what happens from then on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct LeavePeering(pub Recipient<LinksFree>);

/// Nobody needs the links of the relay any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LinksFree;

/// The peering of the relay is to end, with all its links.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndPeering;
