//! The composition of a relay: which actors there are, on which threads, with which settings.

mod mesh;
mod place;

pub use mesh::Peering;

use actix::{AsyncContext, Context};
use laps_actors::admin::{AdminActor, Listen as AdminListen, Port, PortError};
use laps_actors::discovery::{Advert, BACKOFF, DiscoveryActor, Watch, Way};
use laps_actors::limits::{Gauge, Prefixes, Pressure, Strain};
use laps_actors::metrics::{Sources, Tallies};
use laps_actors::peering::{self, Seat};
use laps_actors::registry::{RegistryActor, RegistryHandle, ShardLost, ShardRef};
use laps_actors::root::{
    Birth, ChildSpec, Loss, Options, Outcome, OwnThread, Retire, RootActor, RootHandle, Running, StartError,
};
use laps_actors::shard::{Env, ShardActor};
use laps_actors::supervise::{Backoff, Faults, Intensity};
use laps_actors::transport::{
    self, BindError, Listen, ResetKey, ServerEndpoint, ServerTls, ShardSocket, TransportConfig,
};
use laps_actors::watchdog::Board;
use laps_actors::{session, track};
use laps_protocol::relay::load::Terms;
use mesh::certificates;
use place::Place;
use slog::{Logger, info, o, warn};
use std::cell::OnceCell;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the registry may fail, and how long it stays away then: it is asked for little while the others tell a new
/// one what is theirs, and one that fails over that has to leave them time.
const REGISTRY_INTENSITY: Intensity = Intensity::per_secs(5, 10);
const REGISTRY_BACKOFF: Backoff = Backoff {
    at_once: 0,
    first: Duration::from_millis(10),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};
/// How often a shard comes back, and how long it stays away: its clients are to be back within fractions of a second of
/// a single failure, and one that fails over what they bring gives the others on the machine a pause. Decision 0021.
const SHARD_RETURNS: Intensity = Intensity::per_secs(3, 30);
const SHARD_BACKOFF: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(250),
    max: Duration::from_secs(1),
    jitter_percent: 20,
};
/// How long the admin port stays away: nothing waits for it but its own clients, which come again.
const ADMIN_BACKOFF: Backoff = Backoff {
    at_once: 1,
    first: Duration::from_millis(250),
    max: Duration::from_secs(30),
    jitter_percent: 20,
};
/// How long what a failed shard leaves on its thread may still tell its peers that it ends. Who is not told, or does
/// not hear it, is told by a stateless reset as soon as it says something to the next life.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How long a stub's edge may take to say who publishes what somebody asks for: a few round trips of a slow network.
const SEEK_WAIT: Duration = Duration::from_secs(1);

/// What a relay is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: Listen,
    /// UDP port; 0 lets the system choose.
    pub port: u16,
    /// Shards, each with a thread of its own.
    pub shards: usize,
    /// Its certificate.
    pub tls: ServerTls,
    /// QUIC settings.
    pub transport: TransportConfig,
    /// Session settings.
    pub session: session::Config,
    /// Track settings.
    pub track: track::Config,
    /// Subscriptions that may wait for a publisher, in all.
    pub max_waiting: usize,
    /// What measures its load, and how long a level of it lasts.
    pub load: (Gauge, Terms),
    /// How it is found on its network, if it is; its port is that of the relay.
    pub discovery: Option<(Way, Advert)>,
    /// Its links to other relays; none where it is no part of a mesh.
    pub peering: Option<Peering>,
    /// Where it tells how it is; none for nowhere.
    pub admin: Option<AdminListen>,
    /// Where it logs.
    pub log: Logger,
    /// Injected faults, in tests.
    pub faults: Faults,
}

/// A relay that runs.
#[derive(Debug)]
pub struct Relay {
    handle: RootHandle,
    local: SocketAddr,
    peers: [Option<SocketAddr>; 2],
    admin: Option<SocketAddr>,
    board: Board,
    links: peering::Tally,
}

/// Why a relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin port cannot be had, and it was asked for.
    #[error(transparent)]
    Admin(#[from] PortError),
    /// An actor did not start.
    #[error("{0}")]
    Start(Outcome),
}

impl Relay {
    /// Binds the port and starts the actors. Call it on the arbiter of an actix system.
    ///
    /// # Errors
    /// [`RelayError`] says what stood in the way; nothing is left running then.
    pub async fn start(mut settings: Settings) -> Result<Self, RelayError> {
        if settings.peering.as_ref().is_some_and(Peering::is_stub) {
            settings.session.seek_wait = SEEK_WAIT;
        }
        let sockets = transport::bind(settings.listen, settings.port, settings.shards)?;
        let mut seat = settings.peering.as_ref().map(Place::bind).transpose()?;
        let peers = seat.as_ref().map_or([None, None], Place::local_addrs);
        let local = sockets
            .first()
            .map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), ShardSocket::local_addr);
        let registry: RegistryHandle = RegistryHandle::new();
        let names = std::iter::once("root".to_owned());
        let names = names.chain(sockets.iter().map(|socket| shard_name(socket.shard().index())));
        let common = Common {
            registry,
            reset_key: settings.tls.reset_key(local.port()),
            prefixes: Arc::new(Prefixes::new(settings.session.limits)),
            pressure: Arc::new(Pressure::new(settings.load.0.clone(), settings.load.1)),
            board: Board::new(names),
            tallies: Tallies::new(settings.shards),
            links: peering::Tally::default(),
        };
        small_buffers(&sockets, &settings);
        let (mut children, root) = (Vec::new(), Rc::default());
        let port = admin_port(&settings)?;
        let admin = port.as_ref().map(Port::local_addr);
        // The first, and so the last to stop: it tells how the relay starts, and how it ends.
        children.extend(port.map(|port| admin_spec(port, &settings, &common, &root)));
        children.push(registry_spec(&settings, &common.registry));
        for socket in sockets {
            // All of peering is on one arbiter, that of the first.
            children.push(shard_spec(&settings, &common, socket, seat.take()));
        }
        children.extend(discovery_spec(&settings, local.port(), peers[0]));
        let (board, links) = (common.board, common.links);
        let options = Options {
            faults: settings.faults.clone(),
            ..Options::new(settings.log.clone(), 0).watched(board.clone())
        };
        let mut handle = RootActor::start_tree(children, options);
        // Children are started by the root's own turns, and it has not had one.
        drop(root.set(handle.clone()));
        handle.running().await.map_err(RelayError::Start)?;
        info!(settings.log, "relay is running"; "addr" => %local, "shards" => settings.shards);
        Ok(Self {
            handle,
            local,
            peers,
            admin,
            board,
            links,
        })
    }

    /// Where it tells how it is, with the port that was chosen when 0 was asked for.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The address it listens on, with the port that was chosen when 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Its links to other relays, and what was counted of them.
    #[must_use]
    pub const fn links(&self) -> &peering::Tally {
        &self.links
    }

    /// Where other relays of ours dial it, and laps relays; none where they do not.
    #[must_use]
    pub const fn peer_addrs(&self) -> [Option<SocketAddr>; 2] {
        self.peers
    }

    /// Ends the relay in an orderly way; each part gets `deadline`. False when it has ended already.
    pub fn drain(&self, deadline: Duration) -> bool {
        self.handle.drain(deadline).is_ok()
    }

    /// Ends the relay once everybody it serves has left, as [`Retire`] says. False when it has ended already.
    pub fn retire(&self, retire: Retire) -> bool {
        self.handle.retire(retire).is_ok()
    }

    /// Where its threads beat, for a watchdog.
    #[must_use]
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// What the end can be asked of while somebody waits for it.
    #[must_use]
    pub const fn handle(&self) -> &RootHandle {
        &self.handle
    }

    /// Waits for its end.
    pub async fn ended(self) -> Outcome {
        self.handle.ended().await
    }
}

/// What all shards have in common.
#[derive(Clone)]
struct Common {
    registry: RegistryHandle,
    reset_key: ResetKey,
    prefixes: Arc<Prefixes>,
    pressure: Arc<Pressure>,
    board: Board,
    tallies: Tallies,
    links: peering::Tally,
}

/// Warns, once for all shards, when the kernel gives less than is asked: what comes in a burst is lost then.
fn small_buffers(sockets: &[ShardSocket], settings: &Settings) {
    let asked = settings.transport.kernel_buffer;
    let Some(given) = sockets.first().and_then(|socket| socket.buffers(asked).ok()) else {
        return;
    };
    if given.receive < asked || given.send < asked {
        warn!(settings.log, "the system gives smaller UDP buffers than asked, bursts may lose packets";
            "asked_bytes" => asked, "receive_bytes" => given.receive, "send_bytes" => given.send,
            "set" => format!("sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}"));
    }
}

fn shard_name(index: usize) -> String {
    format!("shard-{index}")
}

/// The admin port, unless nobody wants it, or nobody asked for it and it cannot be had.
fn admin_port(settings: &Settings) -> Result<Option<Port>, PortError> {
    let Some(listen) = settings.admin else {
        return Ok(None);
    };
    match Port::bind(listen) {
        Ok(port) => Ok(Some(port)),
        Err(error) if listen.required => Err(error),
        Err(error) => {
            warn!(settings.log, "no admin port"; "why" => %error);
            Ok(None)
        }
    }
}

/// What tells how the relay is. It has no part in carrying anything, so it comes back for ever and is missed by nobody.
fn admin_spec(
    port: Port,
    settings: &Settings,
    common: &Common,
    root: &Rc<OnceCell<RootHandle>>,
) -> ChildSpec {
    let (port, thread, root) = (Rc::new(port), OwnThread::default(), Rc::clone(root));
    let faults = settings.faults.clone();
    let sources = Sources {
        tallies: common.tallies.clone(),
        prefixes: Arc::clone(&common.prefixes),
        pressure: Arc::clone(&common.pressure),
        budget: Arc::clone(&settings.track.budget),
        board: common.board.clone(),
        started: SystemTime::now(),
        more: vec![Arc::new(common.links.clone()), Arc::new(certificates(settings))],
    };
    ChildSpec::new("admin", "admin", move |birth: Birth| {
        let (port, thread) = (Rc::clone(&port), thread.clone());
        let (sources, root, faults) = (sources.clone(), root.get().cloned(), faults.clone());
        async move {
            let root = root.ok_or_else(|| StartError::failed("there is no root"))?;
            let arbiter = thread.begin().await?;
            let listener = port.listener().map_err(StartError::failed)?;
            let (told, started) = tokio::sync::oneshot::channel();
            let spawned = arbiter.handle().spawn_fn(move || {
                // Nobody listens any more only when the relay is being torn down.
                drop(told.send(AdminActor::serve(listener, root, sources, faults, birth.guard)));
            });
            if !spawned {
                return Err(StartError::failed("its thread ended"));
            }
            match started.await {
                Ok(Ok(stop)) => Ok(Running::on(arbiter, stop)),
                Ok(Err(error)) => Err(StartError::failed(error)),
                Err(_) => Err(StartError::Panicked),
            }
        }
    })
    .intensity(Intensity::UNLIMITED)
    .backoff(ADMIN_BACKOFF)
    .on_loss(Loss::StayDown)
}

fn registry_spec(settings: &Settings, registry: &RegistryHandle) -> ChildSpec {
    let (log, max_waiting, registry) = (settings.log.clone(), settings.max_waiting, registry.clone());
    let faults = settings.faults.clone();
    ChildSpec::new("registry", "registry", move |birth: Birth| {
        let context = Context::<RegistryActor>::new();
        let (stop, counting) = (context.address().recipient(), context.address().recipient());
        let actor = RegistryActor::new(log.clone(), max_waiting, Some(birth.guard))
            .in_life(birth.epoch)
            .with_faults(faults.clone());
        let addr = context.run(actor);
        registry.renew(addr, birth.epoch);
        async move { Ok(Running::here(stop).counting(counting)) }
    })
    .intensity(REGISTRY_INTENSITY)
    .backoff(REGISTRY_BACKOFF)
}

/// Discovery, started last: by then whoever finds the relay is served. Nothing depends on it, so that it may fail as often
/// as it likes.
fn discovery_spec(settings: &Settings, port: u16, peers: Option<SocketAddr>) -> Option<ChildSpec> {
    let (way, mut advert) = settings.discovery.clone()?;
    advert.port = port;
    if let Some(peering) = &settings.peering {
        advert.offer.node_type = Some(peering.setup.own.node_type);
        // Whoever dials it proves who he is, as everybody who dials it.
        let reachable = peers.filter(|addr| !addr.ip().to_canonical().is_loopback());
        advert.offer.peer_port = reachable.and_then(|addr| NonZeroU16::new(addr.port()));
    }
    let found = settings
        .peering
        .as_ref()
        .and_then(|peering| peering.setup.found.clone());
    let (log, faults, tls) = (
        settings.log.clone(),
        settings.faults.clone(),
        settings.tls.clone(),
    );
    let spec = ChildSpec::new("discovery", "discovery", move |birth: Birth| {
        // First who tells of the next certificate, then the one that is shown now, so that none is missed.
        let renewals = tls.renewals();
        let advert = Advert {
            offer: advert.renewed(tls.known_by()),
            ..advert.clone()
        };
        let started = way
            .back_ends()
            .map_err(StartError::failed)
            .and_then(|back_ends| Watch::start(back_ends, Some(advert.clone())).map_err(StartError::failed));
        let running = started.map(|watch| {
            let context = Context::<DiscoveryActor>::new();
            let (stop, away) = (context.address().recipient(), context.address().recipient());
            let actor = DiscoveryActor::new(log.clone(), watch, Some(birth.guard));
            let actor = actor.renewing(advert, renewals).telling(found.clone());
            context.run(actor.with_faults(faults.clone()));
            Running::here(stop).serving(away)
        });
        async move { running }
    });
    Some(
        spec.intensity(Intensity::UNLIMITED)
            .backoff(BACKOFF)
            .on_loss(Loss::StayDown),
    )
}

/// A shard. The socket stays here for as long as the relay lives, and each life gets a second handle of it: closing a
/// member of the group that shares the port would re-order the others. (Decision 0002)
fn shard_spec(settings: &Settings, common: &Common, socket: ShardSocket, place: Option<Place>) -> ChildSpec {
    let name = shard_name(socket.shard().index());
    let (settings, common) = (settings.clone(), common.clone());
    let (sockets, thread) = (Rc::new((socket, place)), OwnThread::default());
    ChildSpec::new("shard", name, move |birth: Birth| {
        let (settings, common) = (settings.clone(), common.clone());
        start_shard(settings, common, Rc::clone(&sockets), thread.clone(), birth)
    })
    .intensity(SHARD_RETURNS)
    .backoff(SHARD_BACKOFF)
}

/// Starts a shard's thread, when that of its last life has ended, and on it its endpoint and actor.
async fn start_shard(
    settings: Settings,
    common: Common,
    sockets: Rc<(ShardSocket, Option<Place>)>,
    thread: OwnThread,
    birth: Birth,
) -> Result<Running, StartError> {
    // Until then the last life's endpoint reads from the same socket.
    let arbiter = thread.begin().await?.lingering(LAST_WORDS);
    let registry = common.registry;
    let (socket, place) = &*sockets;
    let index = socket.shard().index();
    if birth.epoch > 0 {
        // What its actors did not get to withdraw while they were dropped, such as a track that was just being made.
        registry.signal(ShardLost { index });
    }
    let socket = socket.try_clone().map_err(StartError::failed)?;
    let place = place.as_ref().map(Place::again).transpose();
    let place = place.map_err(StartError::failed)?;
    let (reset_key, prefixes, board) = (common.reset_key, common.prefixes, common.board);
    let tally = common.tallies.of(index);
    let strain = Strain::new(&common.pressure);
    let via = settings.peering.as_ref().is_some_and(Peering::is_via);
    let (told, started) = tokio::sync::oneshot::channel();
    let spawned = arbiter.handle().spawn_fn(move || {
        tally.install();
        let endpoint = ServerEndpoint::start(socket, &settings.tls, &settings.transport, reset_key.clone());
        if let Ok(endpoint) = &endpoint {
            endpoint.door().count(Arc::clone(&prefixes));
            endpoint.door().heed(strain.clone());
        }
        let seat = place
            .map(|(setup, sockets)| {
                Seat::new(setup, sockets, reset_key).map(|seat| seat.tallied(common.links))
            })
            .transpose();
        let answer = endpoint.and_then(|endpoint| {
            let seat = seat?;
            let context = Context::<ShardActor>::new();
            let (stop, away) = (context.address().recipient(), context.address().recipient());
            let counting = context.address().recipient();
            let env = Env {
                registry,
                shard: ShardRef {
                    index,
                    tracks: context.address().recipient(),
                },
                replicas: Some(context.address().recipient()),
                session: Arc::new(settings.session),
                track: Arc::new(settings.track),
                prefixes,
                strain,
                log: settings.log.new(o!("shard" => index)),
                faults: settings.faults,
            };
            let max_connections = settings.transport.max_connections;
            let shard = ShardActor::new(env, Some(endpoint), max_connections, Some(birth.guard));
            let shard = shard.with_peering(seat).watched(board.pulse(&shard_name(index)));
            let shard = shard.taking_clients(!via);
            context.run(shard);
            Ok((stop, away, counting))
        });
        // Nobody listens any more only when the relay is being torn down.
        drop(told.send(answer));
    });
    if !spawned {
        return Err(StartError::failed("its thread ended"));
    }
    match started.await {
        Ok(Ok((stop, away, counting))) => Ok(Running::on(arbiter, stop).serving(away).counting(counting)),
        Ok(Err(error)) => Err(StartError::failed(error)),
        Err(_) => Err(StartError::Panicked),
    }
}
