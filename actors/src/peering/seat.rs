//! The peering's place on shard 0: what it listens on, how it begins, and when it begins again.

use super::bases::Ears;
use super::dialers::Dialers;
use super::link::Reached;
use super::options::{EndPeering, Inbound, LeavePeering, LinksFree, MeshMaker, Options};
use super::plane::{self, Plane};
use super::tally::Tally;
use super::{PeerTarget, PeeringActor};
use crate::census::Count;
use crate::discovery::Introductions;
use crate::registry::Reregister;
use crate::shard::Env;
use crate::supervise::mailbox::signal;
use crate::supervise::{Backoff, ChildDown, ChildGuard, ChildId, Decision, Intensity, Restart, Supervisor};
use crate::transport::{
    Conn, LinkTimes, PeerTls, Refusal, Refusals, ResetKey, ServerEndpoint, ShardSocket, StartError,
    TransportConfig,
};
use actix::{Actor, Addr, Recipient};
use futures::FutureExt;
use ipnet::IpNet;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::peering::damping;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::info_base::{Limits, Settings};
use laps_protocol::peering::message::Dialect;
use laps_protocol::peering::node::NodeInfo;
use slog::o;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// How long a peering that failed stays away: its peers are to find it when they dial again.
const RETURNS: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(100),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};

/// How often it may fail; with one time more its shard does.
const INTENSITY: Intensity = Intensity::per_secs(5, 30);

/// Addresses that are told of when they are turned away. Who sends from more, or forges them, fills no log.
const MAX_TOLD: usize = 256;

/// What the mesh of one life of the peering is made with.
#[derive(Debug)]
pub struct MeshParts {
    /// Who this relay is.
    pub own: NodeInfo,
    /// The life of the bases that it will hear first; later ones are greater.
    pub epoch: u64,
    /// Of the shard.
    pub env: Env,
    /// The data of all links.
    pub plane: Plane,
    /// Whom the guards of its actors tell of their ends, each of which ends the peering.
    pub parent: Recipient<ChildDown>,
}

/// What the peering of a relay is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Who this relay is, as it says of itself.
    pub own: NodeInfo,
    /// Whom to dial, and over how many connections: the first carries everything, the others data alone.
    pub targets: Vec<(PeerTarget, u32)>,
    /// The others carry this relay's data, and none of their peer's.
    pub data_links_one_way: bool,
    /// Who is found on the local network, each of which is dialled; none where only those are that are named.
    pub found: Option<Introductions>,
    /// Proof towards relays of ours; none where none are dialled or taken.
    pub tls: Option<PeerTls>,
    /// TLS towards laps relays; none where none are dialled or taken.
    pub laps_tls: Option<PeerTls>,
    /// From where laps relays may dial.
    pub laps_from: Vec<IpNet>,
    /// QUIC settings of links.
    pub transport: TransportConfig,
    /// Times of links.
    pub times: LinkTimes,
    /// When a peer is dialled again.
    pub backoff: Backoff,
    /// When a node that comes and goes is kept away.
    pub damping: damping::Settings,
    /// Times of the information bases.
    pub settings: Settings,
    /// Bounds of the information bases.
    pub limits: Limits,
    /// Links that peers dialled, at most.
    pub max_inbound: usize,
    /// How data is handed on.
    pub plane: plane::Config,
    /// Makes who serves local users; none on a Via.
    pub mesh: Option<fn(MeshParts) -> Ears>,
}

/// Where a relay is dialled by others.
#[derive(Debug, Default)]
pub struct Sockets {
    /// By relays of ours.
    pub ours: Option<ShardSocket>,
    /// By laps relays.
    pub laps: Option<ShardSocket>,
}

impl Sockets {
    /// Second handles to the same sockets, for another life.
    ///
    /// # Errors
    /// The system is out of file descriptors.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let clone = |socket: &Option<ShardSocket>| socket.as_ref().map(ShardSocket::try_clone).transpose();
        Ok(Self {
            ours: clone(&self.ours)?,
            laps: clone(&self.laps)?,
        })
    }
}

/// What peers dial, on its way to whoever polls it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) dialect: Dialect,
    pub(crate) endpoint: ServerEndpoint,
    /// Who was turned away for the certificate it showed, or for where it came from.
    pub(crate) refusals: Option<Refusals>,
}

/// The peering of a relay, as its shard holds it. The endpoints live as long as the shard does, since no other may read
/// from their sockets meanwhile; the actor may have several lives.
#[derive(Debug)]
pub struct Seat {
    setup: Setup,
    listeners: Vec<Listener>,
    local: Vec<SocketAddr>,
    child: Option<(ChildId, Addr<PeeringActor<Dialers>>)>,
    tries: Supervisor,
    epoch: u64,
    /// The relay is about to end, and who is told when nobody needs the links any more.
    leaving: Option<Recipient<LinksFree>>,
    free: bool,
    over: bool,
    tally: Tally,
    /// Of whom the operator was told that they were turned away, and why.
    told: BTreeSet<(IpAddr, &'static str)>,
}

impl Seat {
    /// Begins to listen; to be called on the thread of the shard.
    ///
    /// # Errors
    /// [`StartError`] when a setting is out of range or a socket cannot be used.
    pub fn new(setup: Setup, sockets: Sockets, reset_key: ResetKey) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        let wanted = [
            (sockets.ours, &setup.tls, Dialect::Own),
            (sockets.laps, &setup.laps_tls, Dialect::Laps14),
        ];
        for (socket, tls, dialect) in wanted {
            let (Some(socket), Some(tls)) = (socket, tls) else {
                continue;
            };
            let mut endpoint =
                ServerEndpoint::start(socket, tls.server(), &setup.transport, reset_key.clone())?;
            let mut strangers = None;
            if dialect != Dialect::Own {
                // Issue 6, "Links": they prove nothing, so the address decides.
                strangers = Some(endpoint.door().admit(&setup.laps_from));
            }
            listeners.push(Listener {
                dialect,
                refusals: endpoint.take_refusals().or(strangers),
                endpoint,
            });
        }
        Ok(Self {
            local: listeners
                .iter()
                .map(|listener| listener.endpoint.local_addr())
                .collect(),
            setup,
            listeners,
            child: None,
            tries: Supervisor::new(Restart::Permanent, INTENSITY, RETURNS, rand::random()),
            epoch: 0,
            leaving: None,
            free: false,
            over: false,
            tally: Tally::default(),
            told: BTreeSet::new(),
        })
    }

    /// Counted by this, with the lives before.
    #[must_use]
    pub fn tallied(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    /// Where peers dial: relays of ours first, where there is a socket for them.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// What is to be polled, once.
    pub(crate) fn take_listeners(&mut self) -> Vec<Listener> {
        std::mem::take(&mut self.listeners)
    }

    /// Begins a life of the peering.
    pub(crate) fn begin(&mut self, env: &Env, parent: Recipient<ChildDown>) {
        if self.over {
            return;
        }
        // Greater than in any life before, that of an earlier process included. Bases that begin anew within one life of
        // the peering take the numbers after it.
        self.epoch = micros().max(self.epoch.saturating_add(1_000_000));
        let (fib, routes) = watch::channel(Fib::default());
        let setup = &self.setup;
        let log = env.log.new(o!("part" => "peering"));
        let plane = Plane::new(plane::Birth {
            me: setup.own.id,
            role: setup.own.node_type,
            fib: routes,
            codec: Codec::Draft14,
            config: setup.plane.clone(),
            faults: env.faults.clone(),
            log: log.clone(),
        });
        let mesh = setup.mesh.map(|make| -> MeshMaker {
            let (own, env, plane) = (setup.own.clone(), env.clone(), plane.clone());
            Box::new(move |epoch, parent| {
                make(MeshParts {
                    own: own.clone(),
                    epoch,
                    env: env.clone(),
                    plane: plane.clone(),
                    parent,
                })
            })
        });
        let options = Options {
            own: setup.own.clone(),
            targets: setup.targets.clone(),
            data_links_one_way: setup.data_links_one_way,
            found: setup.found.as_ref().map(Introductions::listen),
            max_inbound: setup.max_inbound,
            keep_alive: setup.times.keep_alive,
            backoff: setup.backoff,
            damping: setup.damping,
            settings: setup.settings,
            limits: setup.limits,
            runs: Some(plane.clone().run().boxed_local()),
            plane: Some(Rc::new(plane)),
            mesh,
            faults: env.faults.clone(),
            log,
        };
        let client = |tls: &Option<PeerTls>| tls.as_ref().map(|tls| tls.client().clone());
        let reach = Dialers::new(
            client(&setup.tls),
            client(&setup.laps_tls),
            setup.transport.clone(),
            setup.times.connect,
        );
        let id = ChildId::fresh();
        let guard = ChildGuard::new(parent, id, "peering");
        let actor = PeeringActor::new(reach, options, self.epoch, Arc::new(fib), Some(guard));
        let peering = actor.tallied(self.tally.clone()).start();
        if let Some(report) = self.leaving.clone() {
            signal(&peering, LeavePeering(report));
        }
        self.child = Some((id, peering));
    }

    /// A peer dialled. It is turned away while there is nobody to take it.
    pub(crate) fn take(&self, conn: Conn, dialect: Dialect) {
        match &self.child {
            Some((_, peering)) => {
                let reached = Reached::from(conn);
                signal(peering, Inbound { reached, dialect });
            }
            None => {
                let code = ErrorCode::Close.number();
                conn.handle().close(code, "the relay cannot take links");
            }
        }
    }

    /// Whether the operator is to be told of this one: each address is told of once, however often it knocks.
    pub(crate) fn is_news(&mut self, refusal: &Refusal) -> bool {
        self.told.len() < MAX_TOLD && self.told.insert((refusal.from.ip(), refusal.fault))
    }

    /// Some child of the shard ended; none when it was not the peering, or the shard is about to end.
    pub(crate) fn down(&mut self, down: ChildDown) -> Option<Decision> {
        self.child.take_if(|(id, _)| *id == down.id)?;
        (!self.over).then(|| self.tries.child_down(Instant::now(), down.exit))
    }

    /// Who says how full its tables are; none while there is nobody.
    pub(crate) fn counting(&self) -> Option<Recipient<Count>> {
        self.child
            .as_ref()
            .map(|(_, peering)| peering.clone().recipient())
    }

    /// A new registry asks for all that it has to know.
    pub(crate) fn reregister(&self, msg: Reregister) {
        if let Some((_, peering)) = &self.child {
            signal(peering, msg);
        }
    }

    /// The relay is about to end: peers are asked to go around it. `report` is told when nobody needs the links any more, which
    /// is for [`Self::freed`].
    pub(crate) fn leave(&mut self, report: Recipient<LinksFree>) {
        self.free = self.child.is_none();
        if let Some((_, peering)) = &self.child {
            signal(peering, LeavePeering(report.clone()));
        }
        self.leaving = Some(report);
    }

    /// Nobody needs the links any more, or nobody is to be waited for.
    pub(crate) const fn freed(&mut self) {
        self.free = true;
    }

    /// Whether nobody needs the links.
    pub(crate) const fn is_free(&self) -> bool {
        self.free
    }

    /// Whether the shard has ended it.
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// The shard ends.
    pub(crate) fn end(&mut self) {
        self.over = true;
        if let Some((_, peering)) = &self.child {
            signal(peering, EndPeering);
        }
    }
}

/// Since the epoch; a clock that stands before it says 1.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
