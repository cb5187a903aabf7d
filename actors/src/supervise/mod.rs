//! How actors send, fail and come back.
//!
//! `actix` closes the mailbox of an actor that panics and restarts nothing, so supervision lives here:
//!
//! | file | what it holds |
//! |---|---|
//! | [`mailbox`] | the four delivery verbs `ask`, `offer`, `wake`, `notify`; nothing else touches a mailbox |
//! | [`counters`] | how often each verb delivered, refused or gave up |
//! | [`guard`] | [`ChildGuard`]: a field of every child, tells the parent how the child ended |
//! | [`policy`] | whether and when a child that ended is started again |
//! | [`inject`] | faults on demand, for tests of a whole relay |
//!
//! What `actix` does when an actor fails, which every actor here is written for:
//!
//! - A panic in a handler or in a future of the context unwinds out of the actor's task. The task is dropped
//!   while the thread still unwinds, the other actors of the arbiter live on.
//! - A handler's `ResponseFuture` is a task beside the actor and not part of it: its panic ends that request
//!   only, and it runs on when the actor is gone. A `ResponseActFuture` runs in the context.
//! - During the drop `stopping()` and `stopped()` run once more. A panic in them, or in any `Drop` of the
//!   actor, is a second panic and aborts the process; neither may fail.
//! - `stopping()` that answers `Running::Continue` makes the dying actor handle its queued messages while it
//!   unwinds. No actor here answers so.
//! - An actor whose arbiter stops before its first turn gets `started()` called from that same drop, outside the
//!   runtime. `started()` may not rely on a timer or a socket being there.

pub mod counters;
pub mod guard;
pub mod inject;
pub mod mailbox;
pub mod policy;

pub use guard::{ChildDown, ChildGuard, ChildId, Exit};
pub use inject::{FaultPlan, FaultPoint, Faults, Trigger};
pub use mailbox::{AskError, Credit, Notify, OfferError, Wake, Woken, ask, offer};
pub use policy::{Backoff, Decision, Intensity, Restart, Supervisor};

#[cfg(test)]
mod tests;
