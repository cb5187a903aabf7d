//! How a parent learns that a child is gone.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Message, Recipient};

use super::mailbox::Notify;
use crate::census::{Counted, Thing};
use crate::metrics::restarts;

/// One life of one child. A restarted child has a new id, so news of an earlier life cannot be mistaken for news
/// of the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(u64);

impl ChildId {
    /// An id that no other child of this process has.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It stopped, was stopped, or its arbiter stopped.
    Normal,
    /// It panicked, in a handler, in a life-cycle method or in a future of its context.
    Panicked,
}

/// What a parent is told, once, when a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChildDown {
    /// Which life ended.
    pub id: ChildId,
    /// What the child was, for logs and counters.
    pub kind: &'static str,
    /// How it ended.
    pub exit: Exit,
}

/// A field of every supervised actor: tells the parent [`ChildDown`] when the actor is dropped.
///
/// It belongs into the actor value itself, which `actix` drops exactly once whether the actor stopped, panicked or
/// never had a turn. Declare it as the last field: fields drop in order, so the parent hears of the end after the
/// child's other fields have cleaned up.
///
/// A panic is told from a stop by asking the thread whether it unwinds, so an actor may not be dropped from inside
/// another's unwinding: children are tasks of their own and never values inside the parent.
#[derive(Debug)]
pub struct ChildGuard {
    id: ChildId,
    kind: &'static str,
    parent: Option<Notify<ChildDown>>,
    _counted: Option<Counted>,
}

impl ChildGuard {
    /// A guard that reports to `parent`. `kind` names what the child is ("subscription").
    #[must_use]
    pub fn new(parent: Recipient<ChildDown>, id: ChildId, kind: &'static str) -> Self {
        Self {
            id,
            kind,
            parent: Some(Notify::new(parent)),
            _counted: Thing::of_child(kind).map(Counted::new),
        }
    }

    /// The life this guard reports on.
    #[must_use]
    pub const fn id(&self) -> ChildId {
        self.id
    }

    /// What the child is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // Nothing here may fail: while the thread unwinds a second panic aborts the process.
        if let Some(parent) = self.parent.take() {
            let exit = if std::thread::panicking() {
                restarts::panicked(self.kind);
                Exit::Panicked
            } else {
                Exit::Normal
            };
            // A parent that is gone needs no news.
            let _told: bool = parent.send(ChildDown {
                id: self.id,
                kind: self.kind,
                exit,
            });
        }
    }
}

/// Whether tasks and timers can be made here.
///
/// A context that was never polled starts its actor when it is dropped, which may be after the runtime is gone. Such an
/// actor is over as soon as it started; one that would make a task or a timer leaves that.
#[must_use]
pub fn has_runtime() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}
