//! One QUIC connection and the session on it.

use crate::limits::ShareLease;
use crate::registry::Reregister;
use crate::session::incoming::Acceptors;
use crate::session::{self, AskToLeave, SessionActor, Shutdown};
use crate::shard::Env;
use crate::supervise::guard::has_runtime;
use crate::supervise::mailbox;
use crate::supervise::{ChildDown, ChildGuard, ChildId, Exit};
use crate::transport::{Conn, ConnHandle, ConnParts};
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::session::Role;
use slog::{Logger, debug, error, info};

/// End the connection once the peer has what was said before.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// Why, for the peer.
    pub code: CloseCode,
    /// What the peer is told, for a person.
    pub reason: &'static str,
}

/// One accepted QUIC connection.
///
/// Parent: the shard. Arbiter: the shard's. Restart: temporary. In: `ChildDown` of its session, [`Leave`],
/// [`AskToLeave`], [`Reregister`]. Out: `Shutdown`, `AskToLeave` and `Reregister` to its session. Lost on death: the
/// connection, which is closed with INTERNAL_ERROR; its session hears of that from the transport.
#[derive(Debug)]
pub struct ConnectionActor {
    env: Env,
    parts: Option<ConnParts>,
    handle: ConnHandle,
    session: Option<Addr<SessionActor>>,
    log: Logger,
    _lease: ShareLease,
    _guard: ChildGuard,
}

impl ConnectionActor {
    /// An actor that starts the session of `conn` when it starts. `lease` counts the connection for its address prefix.
    #[must_use]
    pub fn new(env: Env, conn: Conn, lease: ShareLease, guard: ChildGuard) -> Self {
        Self::of_parts(env, conn.split(), lease, guard)
    }

    pub(crate) fn of_parts(env: Env, parts: ConnParts, lease: ShareLease, guard: ChildGuard) -> Self {
        let handle = parts.handle.clone();
        let log = env.log.new(slog::o!("conn" => handle.id()));
        Self {
            env,
            parts: Some(parts),
            handle,
            session: None,
            log,
            _lease: lease,
            _guard: guard,
        }
    }
}

impl Drop for ConnectionActor {
    fn drop(&mut self) {
        // Only after a panic is it open still: without the actor nobody would ask its session to leave, and what it
        // counts as in its address prefix is given back.
        let code = Codec::Draft14.close_code(CloseCode::InternalError);
        self.handle.close(code, "the connection failed in the relay");
    }
}

impl Actor for ConnectionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What its session would need is not there, and a second one that fails would end the process.
        if !has_runtime() {
            return;
        }
        let Some(parts) = self.parts.take() else {
            ctx.stop();
            return;
        };
        let peer = self.handle.remote_addr().ok();
        if peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
            // Health checks come from here every few seconds; a session says so itself.
            debug!(self.log, "connection accepted"; "peer" => ?peer);
        } else {
            info!(self.log, "connection accepted"; "peer" => ?peer);
        }
        self.env
            .faults
            .attend(ctx, "connection", || self.handle.peer_name());
        let session = SessionActor::new(session::Birth {
            env: self.env.clone(),
            role: Role::Server,
            core: self.env.session.core.clone(),
            conn: parts.handle,
            incoming: Acceptors {
                uni: parts.uni,
                bidi: parts.bidi,
                datagrams: parts.datagrams,
            },
            news: None,
            guard: Some(ChildGuard::new(
                ctx.address().recipient(),
                ChildId::fresh(),
                "session",
            )),
        });
        self.session = Some(session.start());
    }
}

impl Handler<ChildDown> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, msg: ChildDown, ctx: &mut Self::Context) {
        // A raw QUIC connection carries one session, so both end together.
        if msg.exit == Exit::Panicked {
            error!(self.log, "session failed, its connection is closed");
        }
        ctx.stop();
    }
}

impl Handler<Leave> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, msg: Leave, _: &mut Self::Context) {
        if let Some(session) = &self.session {
            let Leave { code, reason } = msg;
            mailbox::signal(session, Shutdown { code, reason });
        }
    }
}

impl Handler<AskToLeave> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, msg: AskToLeave, _: &mut Self::Context) {
        if let Some(session) = &self.session {
            mailbox::signal(session, msg);
        }
    }
}

impl Handler<Reregister> for ConnectionActor {
    type Result = ();

    fn handle(&mut self, msg: Reregister, _: &mut Self::Context) {
        if let Some(session) = &self.session {
            mailbox::signal(session, msg);
        }
    }
}
