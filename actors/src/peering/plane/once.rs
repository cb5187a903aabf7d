//! What is told to an operator once for a link, and to who debugs each time.

use slog::{Logger, debug, warn};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::rc::Rc;

/// What was told of a link. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Once {
    log: Logger,
    told: Rc<RefCell<BTreeSet<&'static str>>>,
}

impl Once {
    pub(super) fn new(log: Logger) -> Self {
        Self {
            log,
            told: Rc::default(),
        }
    }

    pub(super) const fn log(&self) -> &Logger {
        &self.log
    }

    /// A peer can bring it about with each message, so only the first time is a warning.
    pub(super) fn warn(&self, what: &'static str, why: &dyn Display) {
        if self.told.borrow_mut().insert(what) {
            warn!(self.log, "{}", what; "why" => %why);
        } else {
            debug!(self.log, "{}", what; "why" => %why);
        }
    }

    /// Kinds of things that were told, for tests.
    #[cfg(test)]
    pub(super) fn told(&self) -> Vec<&'static str> {
        self.told.borrow().iter().copied().collect()
    }
}
