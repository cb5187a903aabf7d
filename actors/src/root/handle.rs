//! What the composition gives the root and what it keeps of it.

use std::time::Duration;

use actix::Addr;
use slog::Logger;
use tokio::sync::watch;

use super::RootActor;
use super::messages::{Drain, Outcome, Retire, RootStatus, TakeCensus};
use crate::census::Census;
use crate::supervise::mailbox::{AskError, ask};
use crate::supervise::{Faults, OfferError, offer};
use crate::watchdog::Board;

/// What the root itself is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a child may take to be up, each time it is started.
    pub start_deadline: Duration,
    /// Time each child gets to stop when the relay ends because of a failure.
    pub failure_deadline: Duration,
    /// Seed of the jitter in restarts.
    pub seed: u64,
    /// Where the root logs.
    pub log: Logger,
    /// Injected faults, in tests.
    pub faults: Faults,
    /// Where the threads of the relay beat. The root's own place is called `root`.
    pub board: Option<Board>,
}

impl Options {
    /// Ten seconds to start, two to stop after a failure.
    #[must_use]
    pub fn new(log: Logger, seed: u64) -> Self {
        Self {
            start_deadline: Duration::from_secs(10),
            failure_deadline: Duration::from_secs(2),
            seed,
            log,
            faults: Faults::default(),
            board: None,
        }
    }

    /// With the board that the threads of the relay beat on.
    #[must_use]
    pub fn watched(self, board: Board) -> Self {
        Self {
            board: Some(board),
            ..self
        }
    }
}

/// What the composition keeps of a root it started.
#[derive(Clone, Debug)]
pub struct RootHandle {
    pub(super) addr: Addr<RootActor>,
    pub(super) status: watch::Receiver<RootStatus>,
}

impl RootHandle {
    /// Where `Drain` and `Health` go.
    #[must_use]
    pub const fn addr(&self) -> &Addr<RootActor> {
        &self.addr
    }

    /// Asks the relay to end; see [`Drain`].
    ///
    /// # Errors
    /// [`OfferError::Closed`] when it has already ended.
    pub fn drain(&self, deadline: Duration) -> Result<(), OfferError<Drain>> {
        offer(&self.addr, Drain { deadline })
    }

    /// Asks the relay to end once everybody it serves has left; see [`Retire`].
    ///
    /// # Errors
    /// [`OfferError::Closed`] when it has already ended.
    pub fn retire(&self, retire: Retire) -> Result<(), OfferError<Retire>> {
        offer(&self.addr, retire)
    }

    /// How full every table is. A child that takes longer than `deadline` is named instead of counted.
    ///
    /// # Errors
    /// When the root is gone, or does not answer within twice that.
    pub async fn census(&self, deadline: Duration) -> Result<Census, AskError> {
        ask(&self.addr, TakeCensus { deadline }, deadline.saturating_mul(2)).await
    }

    /// Where the relay is in its life, now and later.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RootStatus> {
        self.status.clone()
    }

    /// Waits until every child has been started.
    ///
    /// # Errors
    /// How the relay ended, if it did first.
    pub async fn running(&mut self) -> Result<(), Outcome> {
        loop {
            match &*self.status.borrow_and_update() {
                RootStatus::Running => return Ok(()),
                RootStatus::Ended(outcome) => return Err(outcome.clone()),
                RootStatus::Starting | RootStatus::Retiring { .. } | RootStatus::Draining => {}
            }
            self.changed().await?;
        }
    }

    /// Waits for the end of the relay, which is then the exit code of the process.
    pub async fn ended(mut self) -> Outcome {
        loop {
            if let RootStatus::Ended(outcome) = &*self.status.borrow_and_update() {
                return outcome.clone();
            }
            if let Err(outcome) = self.changed().await {
                return outcome;
            }
        }
    }

    async fn changed(&mut self) -> Result<(), Outcome> {
        self.status.changed().await.map_err(|_| Outcome::RootLost)
    }
}
