//! How long the readers of a track that has ended may take for the rest of it, and what is on its way of data that has.

use std::time::Duration;

/// After so long without progress what is left is given up.
pub const STILL: Duration = Duration::from_secs(10);

/// How often [`STILL`] goes by at most, however slow the progress is: a reader that takes a byte at a time holds what the
/// track has kept for it no longer than that.
const TURNS: u32 = 30;

/// What a reader has taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of payload that the transport was given.
    pub taken: u64,
    /// Streams that are still open.
    pub open: usize,
}

/// A track has ended, and a reader still lacks some of it. Looked at whenever [`STILL`] has gone by, or what its owner has
/// in the place of that.
#[derive(Clone, Copy, Debug)]
pub struct Draining {
    before: Progress,
    turns: u32,
}

impl Draining {
    /// From now on, with this behind it.
    #[must_use]
    pub const fn new(before: Progress) -> Self {
        Self { before, turns: TURNS }
    }

    /// [`STILL`] has gone by. Whether it is waited for again; otherwise what is open is given up.
    pub fn goes_on(&mut self, now: Progress) -> bool {
        let moved = self.before != now && now.open > 0;
        self.before = now;
        self.turns = self.turns.saturating_sub(1);
        moved && self.turns > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(taken: u64, open: usize) -> Progress {
        Progress { taken, open }
    }

    #[test]
    fn who_goes_on_taking_is_waited_for() {
        let mut draining = Draining::new(at(1000, 2));
        assert!(draining.goes_on(at(1001, 2)), "bytes were taken");
        assert!(draining.goes_on(at(1001, 1)), "a stream has come");
        assert!(!draining.goes_on(at(1001, 1)), "nothing has");
    }

    #[test]
    fn a_byte_at_a_time_is_not_waited_for_for_ever() {
        let mut draining = Draining::new(at(0, 1));
        let waits = (1_u64..).take_while(|byte| draining.goes_on(at(*byte, 1)));
        assert_eq!(waits.count() + 1, 30);
    }
}
