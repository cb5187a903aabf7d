//! Namespaces that a peer announced: one actor each; its end withdraws the namespace.

use crate::limits::Asking;
use crate::registry::{AnnounceId, RegisterNamespace, Reregister, UnregisterNamespace};
use crate::session::{Say, SessionActor};
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::mailbox::{self, AskError};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::moqt::session::Command;
use slog::{Logger, debug};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long the registry may take to enter a namespace.
const REGISTER_DEADLINE: Duration = Duration::from_secs(5);

/// The peer withdrew the namespace.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What an announcement's actor is made of.
#[derive(Debug)]
pub struct Birth {
    /// The PUBLISH_NAMESPACE.
    pub request: RequestId,
    /// The namespace.
    pub namespace: TrackNamespace,
    /// The peer was answered, perhaps by an earlier actor that failed.
    pub answered: Rc<Cell<bool>>,
    /// Counts it as a question to the registry until that has answered.
    pub asking: Option<Asking>,
    /// What the shard shares.
    pub env: Env,
    /// Its parent.
    pub session: Addr<SessionActor>,
    /// Where it logs.
    pub log: Logger,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// One announced namespace.
///
/// Parent: its session. Arbiter: the session's shard. Restart: transient; a new actor registers the namespace again.
/// In: [`Stop`], [`Reregister`]. Out: `RegisterNamespace`, `UnregisterNamespace` to the registry, `Say` to the session.
/// Lost on death: the registration, for the time until the new actor makes it again.
#[derive(Debug)]
pub struct AnnounceActor {
    birth: Birth,
    /// Ends as soon as the registry has answered.
    stopping: bool,
    id: AnnounceId,
}

impl AnnounceActor {
    /// An actor that registers its namespace when it starts.
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        Self {
            birth,
            stopping: false,
            id: AnnounceId::next(),
        }
    }

    fn say(&self, command: Command) {
        mailbox::signal(&self.birth.session, Say(command));
    }

    fn registration(&self) -> RegisterNamespace {
        RegisterNamespace {
            id: self.id,
            namespace: self.birth.namespace.clone(),
            upstream: self.birth.session.clone().into(),
            shard: self.birth.env.shard.clone(),
        }
    }

    fn register(&self, ctx: &mut Context<Self>) {
        let register = self.registration();
        let asked = self.birth.env.registry.ask(register, REGISTER_DEADLINE);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| {
            actor.birth.asking = None;
            if actor.stopping {
                ctx.stop();
                return;
            }
            let answered = actor.birth.answered.replace(true);
            // MOQT-14 §6.2 [D14-NS-1]: exactly one answer.
            match answer {
                Ok(()) if answered => {}
                Ok(()) => actor.say(Command::AcceptNamespace(actor.birth.request)),
                // The peer was told that it is accepted, so it has to be.
                Err(AskError::Deadline) if answered => actor.register(ctx),
                Err(AskError::MailboxClosed) if answered && actor.birth.env.registry.comes_back() => {
                    actor.register(ctx);
                }
                Err(error) => {
                    debug!(actor.birth.log, "namespace not registered"; "error" => %error);
                    if !answered {
                        let why = "the relay is overloaded";
                        let error = RequestError::new(RequestErrorReason::InternalError, why);
                        actor.say(Command::Reject(actor.birth.request, error));
                    }
                    ctx.stop();
                }
            }
        }));
    }
}

impl Actor for AnnounceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        let faults = &self.birth.env.faults;
        faults.check_named("announce", &self.birth.namespace);
        faults.attend(ctx, "announce", || &self.birth.namespace);
        self.register(ctx);
    }
}

impl Drop for AnnounceActor {
    fn drop(&mut self) {
        // MOQT-14 §6.2 [D14-NS-13]: however it ends, the namespace is withdrawn with it.
        let gone = UnregisterNamespace {
            id: self.id,
            namespace: self.birth.namespace.clone(),
        };
        self.birth.env.registry.signal(gone);
    }
}

impl Handler<Reregister> for AnnounceActor {
    type Result = ();
    fn handle(&mut self, _: Reregister, _: &mut Self::Context) {
        // The same announcement, so that whoever is told of it hears nothing new. A question for it that is still open
        // is asked again beside this, without harm.
        if !self.stopping {
            let register = self.registration();
            self.birth.env.registry.signal(register);
        }
    }
}

impl Handler<Stop> for AnnounceActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // A question that the registry has not read yet is what bounds the session; see `limits::Questions`.
        if self.birth.asking.is_some() {
            self.stopping = true;
        } else {
            ctx.stop();
        }
    }
}
