//! What the root is told about a child before it starts it.

use std::future::Future;
use std::rc::Rc;

use actix::Recipient;
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::census::Count;
use crate::supervise::{Backoff, ChildGuard, Intensity, Notify, Restart};

use super::messages::{SendAway, StopChild};
use super::thread::OwnArbiter;

/// What the root does when a child has failed more often than its intensity allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Drains the relay and ends it with an exit code that is not 0.
    Escalate,
    /// Goes on without the child and says so in its health.
    StayDown,
}

/// Why a child is not up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The child says why.
    #[error("{0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was not up within the root's start deadline.
    #[error("not up within the start deadline")]
    Deadline,
    /// It panicked while it was being started.
    #[error("it panicked")]
    Panicked,
    /// The thread of its last life does not end. No restart mends that, so the root does not try another.
    #[error("the thread of its last life does not end")]
    Stuck,
}

impl StartError {
    /// The child could not start because of `reason`.
    pub fn failed(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(reason.into())
    }
}

/// What a start closure gets for one life of its child.
#[derive(Debug)]
pub struct Birth {
    /// Belongs into the actor, as its last field. The root takes its drop for the end of this life.
    pub guard: ChildGuard,
    /// 0 for the first life, one more for each later one; the epoch of what this life registers.
    pub epoch: u32,
}

/// A child that is up.
#[derive(Debug)]
pub struct Running {
    /// Asks the child to stop.
    pub(super) stop: Notify<StopChild>,
    /// The thread that is the child's alone; ends with the child.
    pub(super) arbiter: Option<OwnArbiter>,
    /// Asks those whom the child serves to leave; none for a child that serves nobody from outside.
    pub(super) away: Option<Recipient<SendAway>>,
    /// Asks the child how full its tables are; none for a child without tables.
    pub(super) counting: Option<Recipient<Count>>,
}

impl Running {
    /// A child on an arbiter it shares.
    #[must_use]
    pub const fn here(stop: Recipient<StopChild>) -> Self {
        Self {
            stop: Notify::new(stop),
            arbiter: None,
            away: None,
            counting: None,
        }
    }

    /// A child with an arbiter of its own.
    #[must_use]
    pub const fn on(arbiter: OwnArbiter, stop: Recipient<StopChild>) -> Self {
        Self {
            stop: Notify::new(stop),
            arbiter: Some(arbiter),
            away: None,
            counting: None,
        }
    }

    /// The child serves sessions, which are asked to leave before it is stopped.
    #[must_use]
    pub fn serving(self, away: Recipient<SendAway>) -> Self {
        Self {
            away: Some(away),
            ..self
        }
    }

    /// The child has tables, and says how full they are.
    #[must_use]
    pub fn counting(self, counting: Recipient<Count>) -> Self {
        Self {
            counting: Some(counting),
            ..self
        }
    }
}

pub(super) type StartFn = Rc<dyn Fn(Birth) -> LocalBoxFuture<'static, Result<Running, StartError>>>;

/// One child of the root: how it starts, when it comes back, what happens without it.
pub struct ChildSpec {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) restart: Restart,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) loss: Loss,
    pub(super) start: StartFn,
}

impl ChildSpec {
    /// A permanent child that may come back at once, five times in ten seconds, and without which the relay ends.
    ///
    /// `kind` is what the child is ("shard"), `name` tells it from its siblings ("shard-0"). `start` runs on the
    /// root's arbiter, once for each life, and resolves when the child is up; the next child is started only then.
    /// It should not block: starting is part of the root's own turn.
    pub fn new<S, F>(kind: &'static str, name: impl Into<String>, start: S) -> Self
    where
        S: Fn(Birth) -> F + 'static,
        F: Future<Output = Result<Running, StartError>> + 'static,
    {
        Self {
            kind,
            name: name.into(),
            restart: Restart::Permanent,
            intensity: Intensity::per_secs(5, 10),
            backoff: Backoff::IMMEDIATE,
            loss: Loss::Escalate,
            start: Rc::new(move |birth| start(birth).boxed_local()),
        }
    }

    /// After which ends it comes back.
    #[must_use]
    pub const fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How often it may come back.
    #[must_use]
    pub const fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// How long its return waits.
    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What happens when it fails too often.
    #[must_use]
    pub const fn on_loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
