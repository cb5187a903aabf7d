//! What the root accepts, what it tells its children, and what is left of it at the end.

use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use bytes::Bytes;

use super::spec::StartError;
use crate::census::Census;
use crate::supervise::ChildId;

/// Ends the relay: the children are asked to stop, those of the kind started last first and side by side. What else lives in
/// the process goes on.
///
/// A second one ends the relay at once, whoever is still stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// Time each child gets; a child that takes longer is left behind.
    pub deadline: Duration,
}

/// Ends the relay without cutting anybody off: nobody new is let in, everybody who is served is asked to go elsewhere,
/// and when all have gone or the grace is over, the relay ends as after [`Drain`].
///
/// A second one, or a [`Drain`], ends the relay as a first [`Drain`] would.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Retire {
    /// Where to go instead; empty for "here, once there is somebody again".
    pub uri: Bytes,
    /// How long those who are served may take.
    pub grace: Duration,
    /// Time each child gets to stop after that.
    pub deadline: Duration,
}

/// Root to child: let nobody in any more, ask those you serve to leave, and cut them off when the grace is over.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SendAway {
    /// Which life of which child is meant; goes back in the answers.
    pub child: ChildId,
    /// Where those who are served should go; empty for "here".
    pub uri: Bytes,
    /// How long they may take.
    pub grace: Duration,
    /// Where [`Remaining`] goes: at once, and whenever it changes.
    pub report: Recipient<Remaining>,
}

/// Child to root: how many are still served after [`SendAway`]. Sent once for each who leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Remaining {
    /// Who says so.
    pub child: ChildId,
    /// How many sessions it still has.
    pub sessions: usize,
}

/// Root to child: finish what you do and stop. Sent at most once in a child's life.
///
/// The child answers by stopping; its guard tells the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct StopChild {
    /// Time the root will wait.
    pub deadline: Duration,
}

/// Asks how full every table is. The children are asked at once, and one that does not answer is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Census")]
pub struct TakeCensus {
    /// How long a child may take.
    pub deadline: Duration,
}

/// Asks how the relay is, for a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "HealthReport")]
pub struct Health;

/// The answer to [`Health`].
#[derive(Clone, Debug)]
pub struct HealthReport {
    /// Where the relay is in its life.
    pub status: RootStatus,
    /// Names of the children that should be up and are not, in starting order.
    pub down: Vec<String>,
    /// Those of them without which nobody is served.
    pub missing: Vec<String>,
    /// Names of the children whose threads the watchdog has not seen run for a while, and `root` for the root's own.
    pub late: Vec<String>,
}

impl HealthReport {
    /// Whether the relay takes new work and has all it needs.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self.status, RootStatus::Running) && self.down.is_empty() && self.late.is_empty()
    }
}

/// Where the relay is in its life.
#[derive(Clone, Debug)]
pub enum RootStatus {
    /// Some child has not been started yet.
    Starting,
    /// Every child has been started.
    Running,
    /// Those who are served have been asked to leave.
    Retiring {
        /// How many sessions are left, of those children that have said.
        sessions: usize,
    },
    /// The children are being stopped.
    Draining,
    /// The root is gone.
    Ended(Outcome),
}

/// Why the relay ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// It was asked to.
    Drained,
    /// A child that it cannot do without failed more often than allowed.
    Escalated {
        /// Name of the child.
        child: String,
    },
    /// The thread of a child that it cannot do without does not end, so that the child cannot come back.
    Stuck {
        /// Name of the child.
        child: String,
    },
    /// A child that it cannot do without did not start in the first place.
    StartFailed {
        /// Name of the child.
        child: String,
        /// What it said.
        reason: Arc<StartError>,
    },
    /// The root itself failed, or its system ended under it.
    RootLost,
}

impl Outcome {
    /// Exit code for the process: 0 after a drain, 1 when a child did not start, 70 (EX_SOFTWARE) after a failure.
    /// A container or a service manager restarts the relay on what is not 0.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Drained => 0,
            Self::StartFailed { .. } => 1,
            Self::Escalated { .. } | Self::Stuck { .. } | Self::RootLost => 70,
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drained => f.write_str("drained"),
            Self::Escalated { child } => write!(f, "{child} failed more often than allowed"),
            Self::Stuck { child } => write!(f, "the thread of {child} does not end"),
            Self::StartFailed { child, reason } => write!(f, "{child} did not start: {reason}"),
            Self::RootLost => f.write_str("the root failed"),
        }
    }
}
