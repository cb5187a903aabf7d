//! Prefixes that a peer watches: one actor each, between the registry and the session.
//!
//! ```text
//! peer ⇢⇢▶ SessionActor ──▶ NamespaceSubscriptionActor ⇢⇢▶ RegistryActor.WatchNamespace
//! RegistryActor ⇢⇢▶ NamespaceSubscriptionActor.NamespacesChanged       only if the last one was consumed
//! NamespaceSubscriptionActor ⇢⇢▶ RegistryActor.TakeChanges             a part at a time
//! NamespaceSubscriptionActor ⇢⇢▶ SessionActor.Heard, awaited           which says to the peer what it was not told
//! ```

use crate::limits::Asking;
use crate::registry::{Changes, Reregister, TakeChanges, UnwatchNamespace, WatchId, WatchNamespace};
use crate::session::{Heard, Say, SessionActor};
use crate::shard::Env;
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::mailbox::{self, AskError, Credit, Wake};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use laps_protocol::moqt::message::{RequestError, RequestErrorReason, RequestId};
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::moqt::session::Command;
use slog::{Logger, debug};
use std::time::Duration;

/// How long the registry may take to answer.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(5);

/// Something changed below the prefix; what it is, the registry tells who asks.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct NamespacesChanged;

/// The peer does not watch any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// What the actor of a watched prefix is made of.
#[derive(Debug)]
pub struct Birth {
    /// The SUBSCRIBE_NAMESPACE.
    pub request: RequestId,
    /// The prefix.
    pub prefix: TrackNamespace,
    /// The peer was answered already, by an earlier actor that failed.
    pub answered: bool,
    /// What the shard shares.
    pub env: Env,
    /// Its parent.
    pub session: Addr<SessionActor>,
    /// Counts it as a question to the registry until that has answered.
    pub asking: Asking,
    /// Where it logs.
    pub log: Logger,
    /// Tells the parent of its death.
    pub guard: Option<ChildGuard>,
}

/// One watched prefix.
///
/// Parent: its session. Arbiter: the session's shard. Restart: transient; what the peer was told is kept by the
/// session, and a new actor hears from the registry of everything that is there, so that nothing is told twice or
/// missed. In: [`NamespacesChanged`], [`Reregister`], [`Stop`]. Out: `WatchNamespace`, `TakeChanges`, `UnwatchNamespace`
/// to the registry, `Heard` and `Say` to the session. Lost on death: the watch, for the time until the new actor makes it.
#[derive(Debug)]
pub struct NamespaceSubscriptionActor {
    request: RequestId,
    prefix: TrackNamespace,
    env: Env,
    session: Addr<SessionActor>,
    asking: Option<Asking>,
    log: Logger,
    id: WatchId,
    /// The session was given something, which answers the peer.
    answered: bool,
    credit: Credit,
    /// An answer of the registry or the session is awaited.
    busy: bool,
    /// Woken meanwhile.
    again: bool,
    /// The registry began again meanwhile.
    anew: bool,
    /// The registry was asked anew, and the session has nothing of that yet.
    begins: bool,
    /// The session has everything that was there then.
    complete: bool,
    stopping: bool,
    _guard: Option<ChildGuard>,
}

impl Birth {
    /// Starts the actor on this arbiter; it asks the registry at once.
    #[must_use]
    pub fn start(self) -> Addr<NamespaceSubscriptionActor> {
        let birth = self;
        NamespaceSubscriptionActor::create(|ctx| {
            let (_, credit) = Wake::<NamespacesChanged>::new(ctx.address().recipient());
            NamespaceSubscriptionActor {
                request: birth.request,
                prefix: birth.prefix,
                env: birth.env,
                session: birth.session,
                asking: Some(birth.asking),
                log: birth.log,
                id: WatchId::next(),
                answered: birth.answered,
                credit,
                busy: false,
                again: false,
                anew: false,
                begins: true,
                complete: false,
                stopping: false,
                _guard: birth.guard,
            }
        })
    }
}

impl NamespaceSubscriptionActor {
    fn watch(&mut self, ctx: &mut Context<Self>) {
        (self.busy, self.begins, self.complete) = (true, true, false);
        self.anew = false;
        let watch = WatchNamespace {
            id: self.id,
            prefix: Some(self.prefix.clone()),
            whose: self.env.except(&self.session).into(),
            wake: Wake::sharing(ctx.address().recipient(), &self.credit),
        };
        let asked = self.env.registry.ask(watch, REGISTRY_DEADLINE);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| {
            actor.asking = None;
            match answer {
                _ if actor.stopping => ctx.stop(),
                Ok(changes) => actor.hear(ctx, changes),
                // MOQT-14 §6.1 [D14-NS-15]: the peer was told that it hears of everything.
                Err(AskError::Deadline) if actor.answered => actor.watch(ctx),
                Err(AskError::MailboxClosed) if actor.answered && actor.env.registry.comes_back() => {
                    actor.watch(ctx);
                }
                Err(error) => {
                    debug!(actor.log, "prefix not watched"; "error" => %error);
                    let error =
                        RequestError::new(RequestErrorReason::InternalError, "the relay is overloaded");
                    mailbox::signal(&actor.session, Say(Command::Reject(actor.request, error)));
                    ctx.stop();
                }
            }
        }));
    }

    fn take(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.busy, true) {
            self.again = true;
            return;
        }
        self.again = false;
        let asked = mailbox::ask(&self.env.registry.now(), TakeChanges(self.id), REGISTRY_DEADLINE);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| match answer {
            Ok(Some(changes)) => actor.hear(ctx, changes),
            // What a late answer took with it is lost, and a new registry knows nothing of this watch, so everything is
            // asked for anew.
            Ok(None) | Err(AskError::Deadline) => actor.watch(ctx),
            Err(AskError::MailboxClosed) if actor.env.registry.comes_back() => actor.watch(ctx),
            Err(AskError::MailboxClosed) => ctx.stop(),
        }));
    }

    /// Gives the session a part of what is there, and goes on when it has that.
    fn hear(&mut self, ctx: &mut Context<Self>, changes: Changes) {
        let more = changes.more;
        let complete = !more && !self.complete;
        self.complete |= complete;
        let heard = Heard {
            request: self.request,
            changes,
            begins: std::mem::take(&mut self.begins),
            complete,
        };
        self.answered = true;
        let told = mailbox::ask(&self.session, heard, mailbox::LONGEST_ASK);
        ctx.spawn(told.into_actor(self).map(move |answer, actor, ctx| {
            actor.busy = false;
            if answer.is_err() {
                ctx.stop();
            } else if actor.anew {
                actor.watch(ctx);
            } else if more || actor.again {
                actor.take(ctx);
            }
        }));
    }
}

impl Actor for NamespaceSubscriptionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        self.env.faults.check_named("namespace", &self.prefix);
        self.env.faults.attend(ctx, "namespace", || &self.prefix);
        self.watch(ctx);
    }
}

impl Drop for NamespaceSubscriptionActor {
    fn drop(&mut self) {
        self.env.registry.signal(UnwatchNamespace(self.id));
    }
}

impl Handler<NamespacesChanged> for NamespaceSubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, ctx: &mut Self::Context) {
        self.credit.consumed();
        self.env.faults.check_named("namespace", &self.prefix);
        self.take(ctx);
    }
}

impl Handler<Reregister> for NamespaceSubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: Reregister, ctx: &mut Self::Context) {
        // MOQT-14 §9.28 [D14-NS-2]: everything is told to the session again, and the peer hears what differs.
        if self.busy {
            self.anew = true;
        } else if !self.stopping {
            self.watch(ctx);
        }
    }
}

impl Handler<Stop> for NamespaceSubscriptionActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        // A question that the registry has not read yet is what bounds the session; see `limits::Questions`.
        if self.asking.is_some() {
            self.stopping = true;
        } else {
            ctx.stop();
        }
    }
}
