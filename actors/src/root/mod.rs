//! The top of the actor tree: starts the children in order, restarts them, drains them, and says how it ended.
//!
//! Which children there are is not known here: the composition of a relay hands in a list of [`ChildSpec`].

mod handle;
mod handlers;
mod messages;
mod retire;
mod spec;
mod thread;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Recipient, SpawnHandle, fut::wrap_future,
};
use futures::FutureExt;
use slog::{error, info, warn};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::metrics::restarts;
use crate::supervise::{ChildDown, ChildGuard, ChildId, Decision, Exit, Supervisor};
use crate::watchdog::{BEAT, Figures};

pub use handle::{Options, RootHandle};
pub use messages::{
    Drain, Health, HealthReport, Outcome, Remaining, Retire, RootStatus, SendAway, StopChild, TakeCensus,
};
pub use spec::{Birth, ChildSpec, Loss, Running, StartError};
pub use thread::{OwnArbiter, OwnThread};

/// The root of the tree.
///
/// - Parent: none. Arbiter: the system's, which it leaves as it is: other relays of the process live there too. Restart:
///   never; whoever waits for its [`Outcome`] ends the process with its code.
/// - In: [`ChildDown`] from the guards of its children, [`Remaining`] from those who serve, [`Drain`], [`Retire`],
///   [`Health`].
/// - Out: [`StopChild`] and [`SendAway`] to each child, once in a life.
/// - Lost on death: everything. Its drop asks each child to stop and ends the threads of those that have one, so that no
///   relay runs on without supervision.
pub struct RootActor {
    /// Given to the guards; also keeps the root alive while nobody else holds its address.
    me: Recipient<ChildDown>,
    /// Given to those who serve, when they are asked to send everybody away.
    remaining: Recipient<Remaining>,
    children: Vec<Child>,
    phase: Phase,
    options: Options,
    status: watch::Sender<RootStatus>,
}

struct Child {
    spec: ChildSpec,
    supervisor: Supervisor,
    /// Lives begun so far.
    lives: u32,
    life: Life,
}

enum Life {
    /// Not up and nothing is under way: before the first start, between two decisions, after a stop.
    Idle,
    /// The start closure has not resolved. `died` when its guard has already reported.
    Starting {
        id: ChildId,
        task: SpawnHandle,
        died: Option<Exit>,
    },
    /// Up.
    Up { id: ChildId, running: Running },
    /// Waits for its next life.
    BackingOff { timer: SpawnHandle },
    /// Asked to stop. The arbiter goes when the child is gone, or late.
    Stopping {
        id: ChildId,
        timer: SpawnHandle,
        _arbiter: Option<OwnArbiter>,
    },
    /// Ended as it should.
    Done,
    /// Failed too often; the relay goes on without it.
    Lost,
}

enum Phase {
    /// Everything before `next` has been started.
    Starting {
        next: usize,
    },
    Running,
    /// Those who are served were asked to leave.
    Retiring(retire::Retiring),
    Draining {
        outcome: Outcome,
        deadline: Duration,
    },
    Ended,
}

impl RootActor {
    /// Most messages offered to the root that may wait: drains and health checks, a handful at a time.
    const MAILBOX: usize = 32;

    /// Starts the root on the current arbiter, which must be the system's, and through it `children` in order.
    #[must_use]
    pub fn start_tree(children: Vec<ChildSpec>, options: Options) -> RootHandle {
        let (status, seen) = watch::channel(RootStatus::Starting);
        let children = (options.seed..)
            .zip(children)
            .map(|(seed, spec)| Child {
                supervisor: Supervisor::new(spec.restart, spec.intensity, spec.backoff, seed),
                spec,
                lives: 0,
                life: Life::Idle,
            })
            .collect();
        let addr = Self::create(|ctx| {
            ctx.set_mailbox_capacity(Self::MAILBOX);
            let me = ctx.address().recipient();
            Self {
                me,
                remaining: ctx.address().recipient(),
                children,
                phase: Phase::Starting { next: 0 },
                options,
                status,
            }
        });
        RootHandle { addr, status: seen }
    }

    /// Starts child number `index`.
    fn start_child(&mut self, index: usize, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(index) else {
            return;
        };
        let id = ChildId::fresh();
        let guard = ChildGuard::new(self.me.clone(), id, child.spec.kind);
        let birth = Birth {
            guard,
            epoch: child.lives,
        };
        child.lives = child.lives.saturating_add(1);
        let start = Rc::clone(&child.spec.start);
        // The closure is foreign code: its panic is the child's failure, not the root's.
        let start = AssertUnwindSafe(async move { start(birth).await }).catch_unwind();
        let start = timeout(self.options.start_deadline, start).map(|result| match result {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(StartError::Panicked),
            Err(_elapsed) => Err(StartError::Deadline),
        });
        let start = wrap_future::<_, Self>(start);
        let task = ctx.spawn(start.map(move |result, root, ctx| root.start_done(index, id, result, ctx)));
        child.life = Life::Starting { id, task, died: None };
    }

    /// The start closure of child number `index` resolved for its life `id`.
    fn start_done(
        &mut self,
        index: usize,
        id: ChildId,
        result: Result<Running, StartError>,
        ctx: &mut Context<Self>,
    ) {
        let starting = matches!(self.phase, Phase::Starting { .. });
        let Some(child) = self.children.get_mut(index) else {
            return;
        };
        // Otherwise a drain has taken this life back in the meantime.
        let Life::Starting {
            id: current, died, ..
        } = child.life
        else {
            return;
        };
        if current != id {
            return;
        }
        match (result, died) {
            (Ok(running), None) => {
                info!(self.options.log, "child up"; "child" => &child.spec.name, "lives" => child.lives);
                child.life = Life::Up { id, running };
                self.advance(index, ctx);
                self.send_away(index);
            }
            (Ok(_running), Some(exit)) => {
                child.life = Life::Idle;
                self.child_ended(index, exit, ctx);
            }
            (Err(reason), _) => {
                warn!(self.options.log, "child did not start"; "child" => &child.spec.name,
                    "reason" => %reason);
                child.life = Life::Idle;
                if matches!(reason, StartError::Stuck) && child.spec.loss == Loss::Escalate {
                    let outcome = Outcome::Stuck {
                        child: child.spec.name.clone(),
                    };
                    self.begin_drain(outcome, self.options.failure_deadline, ctx);
                } else if starting && child.lives == 1 && child.spec.loss == Loss::Escalate {
                    let outcome = Outcome::StartFailed {
                        child: child.spec.name.clone(),
                        reason: Arc::new(reason),
                    };
                    self.begin_drain(outcome, self.options.failure_deadline, ctx);
                } else {
                    self.child_ended(index, Exit::Panicked, ctx);
                }
            }
        }
    }

    /// Goes on to the next child after child number `index` needs no more waiting for.
    fn advance(&mut self, index: usize, ctx: &mut Context<Self>) {
        match self.phase {
            Phase::Starting { next } if next == index => self.start_from(index.saturating_add(1), ctx),
            Phase::Starting { .. }
            | Phase::Running
            | Phase::Retiring(_)
            | Phase::Draining { .. }
            | Phase::Ended => {}
        }
    }

    /// Starts child number `next`; when there is none, the relay runs.
    fn start_from(&mut self, next: usize, ctx: &mut Context<Self>) {
        if next < self.children.len() {
            self.phase = Phase::Starting { next };
            self.start_child(next, ctx);
        } else {
            self.phase = Phase::Running;
            self.status.send_replace(RootStatus::Running);
        }
    }

    /// Child number `index` is gone and its life is over: decides what comes next.
    fn child_ended(&mut self, index: usize, exit: Exit, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Draining { .. } | Phase::Ended) {
            return;
        }
        let Some(child) = self.children.get_mut(index) else {
            return;
        };
        let name = &child.spec.name;
        // tokio's clock, so that virtual time reaches the policy too.
        match child.supervisor.child_down(Instant::now().into_std(), exit) {
            Decision::Restart { after } => {
                restarts::restarted(child.spec.kind);
                warn!(self.options.log, "child restarts"; "child" => name, "exit" => ?exit,
                    "after_ms" => %after.as_millis());
                // A child that the relay can do without holds nobody up.
                let dispensable = child.spec.loss == Loss::StayDown;
                if after.is_zero() {
                    self.start_child(index, ctx);
                } else {
                    let timer = ctx.run_later(after, move |root, ctx| root.start_child(index, ctx));
                    child.life = Life::BackingOff { timer };
                }
                if dispensable {
                    self.advance(index, ctx);
                }
            }
            Decision::Forget => {
                info!(self.options.log, "child done"; "child" => name, "exit" => ?exit);
                child.life = Life::Done;
                self.advance(index, ctx);
            }
            Decision::GiveUp => {
                error!(self.options.log, "child failed too often"; "child" => name, "exit" => ?exit);
                child.life = Life::Lost;
                match child.spec.loss {
                    Loss::StayDown => self.advance(index, ctx),
                    Loss::Escalate => {
                        let outcome = Outcome::Escalated { child: name.clone() };
                        self.begin_drain(outcome, self.options.failure_deadline, ctx);
                    }
                }
            }
        }
    }

    /// Begins to stop the children, to end with `outcome`.
    fn begin_drain(&mut self, outcome: Outcome, deadline: Duration, ctx: &mut Context<Self>) {
        info!(self.options.log, "draining"; "why" => %outcome, "deadline_ms" => %deadline.as_millis());
        if let Phase::Retiring(retiring) =
            std::mem::replace(&mut self.phase, Phase::Draining { outcome, deadline })
        {
            ctx.cancel_future(retiring.timer);
        }
        self.status.send_replace(RootStatus::Draining);
        for child in &mut self.children {
            // Who is not up yet will not be. Dropping a start closure's future drops the guard and the arbiter in it.
            match child.life {
                Life::Starting { task: handle, .. } | Life::BackingOff { timer: handle } => {
                    ctx.cancel_future(handle);
                    child.life = Life::Idle;
                }
                Life::Idle | Life::Up { .. } | Life::Stopping { .. } | Life::Done | Life::Lost => {}
            }
        }
        self.stop_next(ctx);
    }

    /// Asks the last child that is still up to stop, and its siblings of the same kind with it; when there is none,
    /// ends. Children of one kind need nothing of each other, so that they stop in the time that one takes.
    fn stop_next(&mut self, ctx: &mut Context<Self>) {
        let Phase::Draining { deadline, .. } = self.phase else {
            return;
        };
        let stopping = |child: &Child| matches!(child.life, Life::Stopping { .. });
        if self.children.iter().any(stopping) {
            return;
        }
        let up = |child: &&Child| matches!(child.life, Life::Up { .. });
        let Some(kind) = self.children.iter().rev().find(up).map(|child| child.spec.kind) else {
            return self.finish(ctx);
        };
        let siblings = self.children.iter_mut().enumerate().rev();
        for (index, child) in siblings.filter(|(_, child)| child.spec.kind == kind) {
            if !matches!(child.life, Life::Up { .. }) {
                continue;
            }
            if let Life::Up { id, running } = std::mem::replace(&mut child.life, Life::Idle) {
                // A child whose mailbox is closed has already sent its ChildDown.
                let _asked: bool = running.stop.send(StopChild { deadline });
                let timer = ctx.run_later(deadline, move |root, ctx| root.stop_late(index, id, ctx));
                child.life = Life::Stopping {
                    id,
                    timer,
                    _arbiter: running.arbiter,
                };
            }
        }
    }

    /// Child number `index` did not stop in time.
    fn stop_late(&mut self, index: usize, id: ChildId, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(index) else {
            return;
        };
        if matches!(&child.life, Life::Stopping { id: current, .. } if *current == id) {
            warn!(self.options.log, "child did not stop in time"; "child" => &child.spec.name);
            child.life = Life::Idle;
            self.stop_next(ctx);
        }
    }

    /// Says how it ended.
    fn finish(&mut self, ctx: &mut Context<Self>) {
        if let Phase::Draining { outcome, .. } = std::mem::replace(&mut self.phase, Phase::Ended) {
            info!(self.options.log, "ended"; "why" => %outcome, "code" => outcome.code());
            self.status.send_replace(RootStatus::Ended(outcome));
            ctx.stop();
        }
    }
}

impl Actor for RootActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.options.faults.attend(ctx, "root", || "root");
        let board = self.options.board.as_ref();
        if let Some(pulse) = board.and_then(|board| board.pulse("root")) {
            ctx.run_interval(BEAT, move |root, _| {
                pulse.beat(Figures {
                    connections: 0,
                    children: u64::try_from(root.children.len()).unwrap_or(u64::MAX),
                });
            });
        }
        self.start_from(0, ctx);
    }
}

impl Drop for RootActor {
    fn drop(&mut self) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let deadline = Duration::ZERO;
        for child in self.children.drain(..) {
            if let Life::Up { running, .. } = child.life {
                // One whose mailbox is closed is gone already. Its thread goes with `running`.
                let _asked: bool = running.stop.send(StopChild { deadline });
            }
        }
        self.status.send_replace(RootStatus::Ended(Outcome::RootLost));
    }
}

#[cfg(test)]
mod tests;
