//! A question to a node for its infos.

use super::super::after;
use std::time::{Duration, Instant};

/// A question under way, or about to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    /// When it is looked at next.
    pub(super) at: Instant,
    pub(super) asked: u32,
    pub(super) fresh: bool,
    pub(super) number: u8,
    pub(super) received: u32,
    /// When the last of the answer came, or else when it was asked.
    pub(super) heard: Instant,
    /// It is asked again after this time without a word. To ask again begins the answer anew, and one that takes longer than
    /// all waits would never end.
    pub(super) wait: Duration,
}

impl Pull {
    pub(super) const fn at(at: Instant, fresh: bool) -> Self {
        Self {
            at,
            asked: 0,
            fresh,
            number: 0,
            received: 0,
            heard: at,
            wait: Duration::ZERO,
        }
    }

    /// Whether what has this number answers it. A relay that does not know of numbers says 0.
    pub(super) const fn is_answered_by(&self, number: u8) -> bool {
        number == self.number || number == 0
    }

    /// When it has waited long enough for more of its answer.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        after(self.heard, self.wait)
    }
}
