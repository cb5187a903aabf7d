//! What this relay's own sessions publish, told to the mesh.

use super::declined::Announcers;
use super::ledger::{Done, Ledger};
use crate::namespace::NamespacesChanged;
use crate::peering::mesh::{BasesBegan, Want};
use crate::registry::{
    Changes, RegistryHandle, TakeChanges, UnwatchNamespace, WatchId, WatchNamespace, Whose,
};
use crate::supervise::guard::{ChildGuard, has_runtime};
use crate::supervise::inject::Faults;
use crate::supervise::mailbox::{self, AskError, Credit, Wake};
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use futures::future::join_all;
use laps_protocol::peering::message::Published;
use slog::{Logger, debug, warn};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// How long the registry, or the bases, may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause before somebody who gave no answer is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// What the bases are told at once, before they are heard: a fraction of what a link takes at once.
const BATCH: usize = 64;

/// What the actor is made of.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) registry: RegistryHandle,
    /// Outlives the actor: what it holds need not be told again, and what went while there was no actor is taken back.
    pub(super) ledger: Rc<RefCell<Ledger>>,
    /// Where it is wanted, when that is known.
    pub(super) bases: Option<Recipient<Want>>,
    /// Who hears of namespaces that more announce.
    pub(super) announcers: Recipient<Announcers>,
    pub(super) faults: Faults,
    pub(super) log: Logger,
    pub(super) guard: Option<ChildGuard>,
}

/// Watches the registry for what this relay's sessions publish, and has the information bases publish that.
///
/// Parent: the mesh's origin part. Arbiter: its own. Restart: permanent; the ledger is its parent's. In:
/// [`NamespacesChanged`], [`BasesBegan`]. Out: `WatchNamespace`, `TakeChanges`, `UnwatchNamespace` to the registry, [`Want`]
/// to the bases. Lost on death: the watch, for the time until the next actor makes it.
#[derive(Debug)]
pub(super) struct PublicationsActor {
    birth: Birth,
    id: WatchId,
    credit: Credit,
    /// An answer of the registry is awaited.
    busy: bool,
    /// Woken meanwhile.
    again: bool,
    /// The registry has yet to name all that there was when it was asked.
    listing: bool,
    /// The registry began again while it was being asked.
    anew: bool,
    /// The bases are being told something.
    telling: bool,
    /// How often bases have begun.
    lives: u64,
    _guard: Option<ChildGuard>,
}

impl Birth {
    pub(super) fn start(mut self) -> Addr<PublicationsActor> {
        let guard = self.guard.take();
        PublicationsActor::create(|ctx| {
            let (_, credit) = Wake::<NamespacesChanged>::new(ctx.address().recipient());
            PublicationsActor {
                birth: self,
                id: WatchId::next(),
                credit,
                busy: false,
                again: false,
                listing: false,
                anew: false,
                telling: false,
                lives: 0,
                _guard: guard,
            }
        })
    }
}

impl PublicationsActor {
    fn watch(&mut self, ctx: &mut Context<Self>) {
        (self.busy, self.listing, self.anew) = (true, true, false);
        self.birth.ledger.borrow_mut().list();
        let watch = WatchNamespace {
            id: self.id,
            prefix: None,
            // Decision 0029: what came over the mesh is not published into it again.
            whose: Whose::Ours,
            wake: Wake::sharing(ctx.address().recipient(), &self.credit),
        };
        let asked = self.birth.registry.ask(watch, DEADLINE);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| match answer {
            Ok(changes) => actor.hear(ctx, changes),
            Err(error) => actor.unanswered(ctx, error),
        }));
    }

    fn take(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.busy, true) {
            self.again = true;
            return;
        }
        self.again = false;
        let asked = mailbox::ask(&self.birth.registry.now(), TakeChanges(self.id), DEADLINE);
        ctx.spawn(asked.into_actor(self).map(|answer, actor, ctx| match answer {
            Ok(Some(changes)) => actor.hear(ctx, changes),
            // What a late answer took with it is lost, and a new registry knows nothing of this watch: everything is asked
            // for anew.
            Ok(None) => actor.watch(ctx),
            Err(error) => actor.unanswered(ctx, error),
        }));
    }

    fn unanswered(&self, ctx: &mut Context<Self>, error: AskError) {
        debug!(self.birth.log, "the registry does not say what is published"; "error" => %error);
        if error == AskError::MailboxClosed && !self.birth.registry.comes_back() {
            // The relay is ending.
            ctx.stop();
        } else {
            ctx.run_later(PAUSE, |actor, ctx| actor.watch(ctx));
        }
    }

    fn hear(&mut self, ctx: &mut Context<Self>, changes: Changes) {
        let mut again = Vec::new();
        {
            let mut ledger = self.birth.ledger.borrow_mut();
            for (namespace, there) in changes.namespaces {
                let changed = ledger.heard(Published::Namespace(namespace.clone()), there);
                if there && !changed && !self.listing {
                    again.push(namespace);
                }
            }
            for (track, home) in changes.tracks {
                ledger.heard(Published::Track(track), home.is_some());
            }
            if !changes.more && std::mem::take(&mut self.listing) {
                ledger.listed();
            }
        }
        self.busy = false;
        if !again.is_empty() {
            mailbox::signal(&self.birth.announcers, Announcers(again));
        }
        self.tell(ctx);
        if self.anew {
            self.watch(ctx);
        } else if changes.more || self.again {
            self.take(ctx);
        }
    }

    /// Tells the bases what they do not know, a part at a time.
    fn tell(&mut self, ctx: &mut Context<Self>) {
        let Some(bases) = self.birth.bases.clone().filter(|_| !self.telling) else {
            return;
        };
        let batch = self.birth.ledger.borrow_mut().next(BATCH);
        if batch.is_empty() {
            return;
        }
        self.telling = true;
        let life = self.lives;
        let asked: Vec<_> = batch
            .iter()
            .map(|said| mailbox::ask(&bases, Want(said.command()), DEADLINE))
            .collect();
        ctx.spawn(join_all(asked).into_actor(self).map(move |answers, actor, ctx| {
            actor.telling = false;
            // Bases that began meanwhile do not know what those before them were told.
            let same = actor.lives == life;
            let mut unanswered = false;
            for (said, answer) in batch.into_iter().zip(answers) {
                let answer = if same {
                    answer
                } else {
                    Err(AskError::MailboxClosed)
                };
                let what = said.what.clone();
                match actor.birth.ledger.borrow_mut().done(said, answer) {
                    Done::Taken => {}
                    Done::Refused { why, first: true } => {
                        warn!(actor.birth.log, "the mesh is not told of all that is published here";
                            "why" => %why, "first" => ?what);
                    }
                    Done::Refused { why, first: false } => {
                        debug!(actor.birth.log, "not published in the mesh"; "why" => %why, "what" => ?what);
                    }
                    Done::Unanswered => unanswered = true,
                }
            }
            if unanswered && same {
                ctx.run_later(PAUSE, |actor, ctx| actor.tell(ctx));
            } else {
                actor.tell(ctx);
            }
        }));
    }

    /// Waits for the next life of the registry, which knows nothing of this watch.
    fn await_registry(&self, ctx: &mut Context<Self>, epoch: u32) {
        let registry = self.birth.registry.clone();
        let next = async move { registry.life_after(epoch).await };
        ctx.spawn(next.into_actor(self).map(|life, actor, ctx| {
            let Some(life) = life else { return };
            if actor.busy {
                actor.anew = true;
            } else {
                actor.watch(ctx);
            }
            actor.await_registry(ctx, life);
        }));
    }
}

impl Actor for PublicationsActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if !has_runtime() {
            return;
        }
        self.birth.faults.attend(ctx, "publications", || "publications");
        let epoch = self.birth.registry.epoch();
        self.await_registry(ctx, epoch);
        self.watch(ctx);
    }
}

impl Drop for PublicationsActor {
    fn drop(&mut self) {
        self.birth.registry.signal(UnwatchNamespace(self.id));
    }
}

impl Handler<NamespacesChanged> for PublicationsActor {
    type Result = ();
    fn handle(&mut self, _: NamespacesChanged, ctx: &mut Self::Context) {
        self.credit.consumed();
        self.birth.faults.check("publications");
        self.take(ctx);
    }
}

/// The origin part is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

impl Handler<Stop> for PublicationsActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<BasesBegan> for PublicationsActor {
    type Result = ();
    fn handle(&mut self, msg: BasesBegan, ctx: &mut Self::Context) {
        self.birth.bases = Some(msg.want);
        self.lives += 1;
        self.birth.ledger.borrow_mut().bases_began();
        self.tell(ctx);
    }
}
