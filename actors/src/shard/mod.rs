//! Shards: one arbiter, one endpoint and one socket each, with the connections and tracks of that thread.

mod count;
mod env;
mod leaving;
mod peering;
mod reregister;
mod strain;

pub use env::Env;

use crate::connection::{ConnectionActor, Leave};
use crate::limits::{Kind, Observer, ShareLease};
use crate::metrics::{Count, tally};
use crate::peering::Seat;
use crate::registry::{CreateTrack, TrackEnded};
use crate::root::StopChild;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox;
use crate::supervise::{ChildDown, ChildGuard, ChildId, Exit};
use crate::track::{self, ReplicaActor, ShardFailed, TrackActor, TrackRef, Wants};
use crate::transport::{Conn, Door, EndpointStats, ServerEndpoint};
use crate::watchdog::{BEAT, Figures, Pulse};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, StreamHandler, WeakAddr};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::name::FullTrackName;
use slog::{Logger, debug, error, info, warn};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that may wait for a shard: tracks and replicas to be made.
const MAILBOX: usize = 4096;
/// How often an ending shard looks whether its last connection has told its peer.
const DRAIN_POLL: Duration = Duration::from_millis(10);
/// How long an ending shard stays for the wire when its last session has closed: a close frame that is lost on the way
/// is repeated for whoever still sends. RFC 9000 §10.2: the closing state needs no answer, and whoever closes its
/// socket may leave it early, so a peer that is dead is not waited for.
const CLOSING: Duration = Duration::from_millis(300);
/// How much of the time to end is left for that when links that others need still are ended all the same.
const LAST: Duration = Duration::from_millis(500);

/// Make or find the replica of this track on this shard.
#[derive(Debug, Message)]
#[rtype(result = "Addr<ReplicaActor>")]
pub struct OpenReplica {
    /// The track.
    pub track: TrackRef,
    /// Who is to read it belongs to this relay; see [`crate::track::Attach::own`].
    pub own: bool,
    /// What that reader wants.
    pub wants: Wants,
}

/// What a child of a shard is.
#[derive(Debug)]
enum Child {
    Connection(Addr<ConnectionActor>),
    /// The registry knows the track by its name; it lives as long as somebody else needs it.
    Track {
        name: FullTrackName,
        epoch: u64,
        home: WeakAddr<TrackActor>,
    },
    Replica {
        name: FullTrackName,
        epoch: u64,
    },
}

/// A replica, and whether it is over.
type Copied = (Addr<ReplicaActor>, Rc<Cell<bool>>);

/// The server side of a shard.
#[derive(Debug)]
struct Serving {
    stats: Arc<EndpointStats>,
    door: Door,
    max_connections: usize,
    open: usize,
    refused: u64,
    /// Nobody is served: the relay is a Via.
    closed: bool,
}

/// Why a Via ends the connection of a client.
const TAKES_NO_CLIENTS: &str =
    "this relay is a via and takes no clients: connect to an edge or a stub of its mesh";

/// One shard.
///
/// Parent: root. Arbiter: its own (a client's shard runs on the client's). Restart: permanent, on the same socket, when
/// the thread of the last life has ended (decision 0021); also when its endpoint ends by itself. In: accepted
/// connections, `CreateTrack`, [`OpenReplica`], `SendAway`, `StopChild`, `ChildDown`. Out: `TrackEnded` to the
/// registry, `AskToLeave` and `Leave` to connections, `ShardFailed` to tracks, `Remaining` to the root. Lost on death:
/// its connections and tracks.
#[derive(Debug)]
pub struct ShardActor {
    env: Env,
    log: Logger,
    serving: Option<Serving>,
    endpoint: Option<ServerEndpoint>,
    children: HashMap<ChildId, Child>,
    /// The copies for readers of this shard, by name and life of the track.
    replicas: HashMap<(FullTrackName, u64), Copied>,
    stopping: bool,
    /// What keeps an eye on the load.
    observer: Observer,
    /// Refused newcomers of which an operator was told.
    told: strain::Told,
    /// Everybody was asked to leave.
    leaving: Option<leaving::Leaving>,
    /// When an ending shard had no session left.
    closing: Option<Instant>,
    /// Says to the watchdog that the thread runs.
    pulse: Option<Pulse>,
    /// The peering of the relay, where it is on this shard.
    seat: Option<Seat>,
    /// When its links end at the latest.
    links_until: Option<Instant>,
    _guard: Option<ChildGuard>,
}

impl ShardActor {
    /// A shard that accepts connections from `endpoint`, or one without for a client.
    #[must_use]
    pub fn new(
        env: Env,
        endpoint: Option<ServerEndpoint>,
        max_connections: usize,
        guard: Option<ChildGuard>,
    ) -> Self {
        let log = env.log.clone();
        let serving = endpoint.as_ref().map(|endpoint| Serving {
            stats: Arc::clone(endpoint.stats()),
            door: endpoint.door(),
            max_connections,
            open: 0,
            refused: 0,
            closed: false,
        });
        Self {
            log,
            serving,
            endpoint,
            children: HashMap::new(),
            replicas: HashMap::new(),
            stopping: false,
            observer: Observer::new(env.strain.clone()),
            told: strain::Told::so_far(&env),
            leaving: None,
            closing: None,
            pulse: None,
            seat: None,
            links_until: None,
            env,
            _guard: guard,
        }
    }

    /// The shard beats here.
    #[must_use]
    pub fn watched(mut self, pulse: Option<Pulse>) -> Self {
        self.pulse = pulse;
        self
    }

    fn guard(ctx: &Context<Self>, kind: &'static str) -> (ChildId, ChildGuard) {
        let id = ChildId::fresh();
        (id, ChildGuard::new(ctx.address().recipient(), id, kind))
    }

    fn connections(&self) -> impl Iterator<Item = &Addr<ConnectionActor>> {
        self.children.values().filter_map(|child| match child {
            Child::Connection(connection) => Some(connection),
            Child::Track { .. } | Child::Replica { .. } => None,
        })
    }

    /// Lets a connection in whose handshake is done, and counts it. Most of those that are too many were refused before
    /// that, by the endpoint.
    fn admit(&mut self, conn: &Conn) -> Result<ShareLease, (CloseCode, &'static str)> {
        if self.stopping || self.leaving.is_some() {
            return Err((CloseCode::NoError, "the relay is shutting down"));
        }
        let Ok(remote) = conn.handle().remote_addr() else {
            return Err((CloseCode::NoError, "it is gone already"));
        };
        let Some(serving) = &mut self.serving else {
            return Err((CloseCode::InternalError, "nobody is served here"));
        };
        if serving.closed {
            serving.refused += 1;
            tally::count(Count::ConnectionsRefused, 1);
            // laps peering, "Via": no MOQT client connections. MOQT-14 §3.4: whatever path they name, nothing is served there,
            // and trying again does not help.
            return Err((CloseCode::InvalidPath, TAKES_NO_CLIENTS));
        }
        // MOQT-14 §3.4: the draft has no code for "too many", and NO_ERROR would say that nothing is wrong.
        let too_many = |why| (CloseCode::InternalError, why);
        let lease = if serving.open < serving.max_connections {
            let share = self.env.prefixes.share(remote.ip());
            share
                .take(Kind::Connections, 1)
                .ok_or_else(|| too_many("too many connections from this address"))
        } else {
            Err(too_many("the relay has too many connections"))
        };
        match &lease {
            Ok(_) => {
                serving.open += 1;
                tally::count(Count::Connections, 1);
            }
            Err(_) => {
                serving.refused += 1;
                tally::count(Count::ConnectionsRefused, 1);
            }
        }
        lease
    }

    /// An ending shard waits for its connections to be gone, and a moment longer for the wire.
    fn drained(&mut self, ctx: &mut Context<Self>) {
        let sessions = self.connections().next().is_some();
        if self.links_ended(sessions) && !sessions {
            let closing = *self.closing.get_or_insert_with(Instant::now);
            let open = self
                .serving
                .as_ref()
                .map_or(0, |serving| serving.stats.open_connections());
            // Those of links are not in that number.
            if (open == 0 && self.seat.is_none()) || closing.elapsed() >= CLOSING {
                return ctx.stop();
            }
        }
        ctx.run_later(DRAIN_POLL, Self::drained);
    }

    /// Says that the thread runs, and how much is on it.
    fn beat(&mut self, _: &mut Context<Self>) {
        self.env.faults.check_named("shard", &self.env.shard.index);
        if let Some(pulse) = &self.pulse {
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            pulse.beat(Figures {
                connections: count(self.connections().count()),
                children: count(self.children.len()),
            });
        }
    }
}

impl Drop for ShardActor {
    fn drop(&mut self) {
        if self.stopping {
            return;
        }
        // It failed, or its endpoint did. Its children live until the arbiter stops, but nobody hears of their ends
        // any more, so the last it does is to pass on what they would have said.
        for child in self.children.values() {
            match child {
                Child::Connection(connection) => {
                    let reason = "a part of the relay failed";
                    let code = CloseCode::InternalError;
                    mailbox::signal(connection, Leave { code, reason });
                }
                // It tells the registry itself, when it has let go of its publishers: the track's next life may be made
                // at once on another shard, and a publisher there is not asked for a track that it still serves.
                Child::Track { home, .. } => {
                    if let Some(home) = home.upgrade() {
                        mailbox::signal(&home, ShardFailed);
                    }
                }
                Child::Replica { .. } => {}
            }
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if !has_runtime() {
            return;
        }
        self.env
            .registry
            .enlist(self.env.shard.index, ctx.address().recipient());
        if let Some(endpoint) = self.endpoint.take() {
            ctx.add_stream(endpoint);
            ctx.run_interval(BEAT, Self::beat);
            self.watch_load(ctx);
        }
        self.start_peering(ctx);
    }
}

impl StreamHandler<Conn> for ShardActor {
    fn handle(&mut self, conn: Conn, ctx: &mut Self::Context) {
        self.env.faults.check_named("shard", &self.env.shard.index);
        let admitted = self.admit(&conn);
        let lease = match admitted {
            Ok(lease) => lease,
            Err((code, why)) => {
                let refused = self.serving.as_ref().map_or(0, |serving| serving.refused);
                match self.env.prefixes.warns() {
                    Some(others) => {
                        warn!(self.log, "connection refused"; "why" => why, "refused" => refused,
                            "not_told_of" => others);
                    }
                    None => debug!(self.log, "connection refused"; "why" => why),
                }
                conn.handle().close(Codec::Draft14.close_code(code), why);
                return;
            }
        };
        let id = ChildId::fresh();
        let guard = ChildGuard::new(ctx.address().recipient(), id, "connection");
        let addr = ConnectionActor::new(self.env.clone(), conn, lease, guard).start();
        self.children.insert(id, Child::Connection(addr));
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if !self.stopping {
            error!(self.log, "the QUIC endpoint ended");
            ctx.stop();
        }
    }
}

impl Handler<CreateTrack> for ShardActor {
    type Result = actix::MessageResult<CreateTrack>;

    fn handle(&mut self, msg: CreateTrack, ctx: &mut Self::Context) -> Self::Result {
        let (id, guard) = Self::guard(ctx, "track");
        let track = TrackActor::new(track::Birth {
            name: msg.name.clone(),
            epoch: msg.epoch,
            config: Arc::clone(&self.env.track),
            registry: self.env.registry.clone(),
            log: self.log.clone(),
            faults: self.env.faults.clone(),
            guard: Some(guard),
            terms: track::UpstreamTerms::default(),
            source: (msg.id, msg.source),
        })
        .start();
        let child = Child::Track {
            name: msg.name,
            epoch: msg.epoch,
            home: track.downgrade(),
        };
        self.children.insert(id, child);
        actix::MessageResult(track)
    }
}

impl Handler<OpenReplica> for ShardActor {
    type Result = actix::MessageResult<OpenReplica>;

    fn handle(&mut self, msg: OpenReplica, ctx: &mut Self::Context) -> Self::Result {
        let OpenReplica { track, own, wants } = msg;
        let key = (track.name.clone(), track.epoch);
        // One that is over only lives for those who read the rest; whether the track is over its home knows.
        if let Some((replica, ended)) = self.replicas.get(&key)
            && replica.connected()
            && !ended.get()
        {
            return actix::MessageResult(replica.clone());
        }
        let (id, guard) = Self::guard(ctx, "replica");
        let child = Child::Replica {
            name: track.name.clone(),
            epoch: track.epoch,
        };
        self.children.insert(id, child);
        let (config, faults) = (Arc::clone(&self.env.track), self.env.faults.clone());
        let replica = ReplicaActor::new((track, own, wants), config, self.log.clone(), faults, Some(guard));
        let ended = replica.ended();
        let replica = replica.start();
        self.replicas.insert(key, (replica.clone(), ended));
        actix::MessageResult(replica)
    }
}

impl Handler<ChildDown> for ShardActor {
    type Result = ();

    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        if msg.exit == Exit::Panicked {
            error!(self.log, "child failed"; "kind" => msg.kind);
        }
        match self.children.remove(&msg.id) {
            Some(Child::Track { name, epoch, .. }) => {
                self.env.registry.signal(TrackEnded { name, epoch });
            }
            Some(Child::Replica { name, epoch }) => {
                let key = (name, epoch);
                if self
                    .replicas
                    .get(&key)
                    .is_some_and(|(replica, _)| !replica.connected())
                {
                    self.replicas.remove(&key);
                }
            }
            Some(Child::Connection(_)) => {
                if let Some(serving) = &mut self.serving {
                    serving.open = serving.open.saturating_sub(1);
                }
                self.tell_remaining();
            }
            None => self.peering_down(msg, ctx),
        }
    }
}

impl Handler<StopChild> for ShardActor {
    type Result = ();

    fn handle(&mut self, msg: StopChild, ctx: &mut Self::Context) {
        info!(self.log, "shard ends"; "connections" => self.connections().count());
        self.stopping = true;
        self.refuse_newcomers();
        self.links_until = Instant::now().checked_add(msg.deadline.saturating_sub(LAST));
        self.leave_mesh(ctx);
        for connection in self.connections() {
            mailbox::signal(
                connection,
                Leave {
                    code: CloseCode::NoError,
                    reason: "the relay is shutting down",
                },
            );
        }
        self.drained(ctx);
    }
}
