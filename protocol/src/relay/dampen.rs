//! Telling a peer of a state that changes faster than the peer should hear of it.

use std::time::{Duration, Instant};

/// What a peer was told, what it is to be told, and when it may next be told anything.
///
/// The first change after a quiet time goes out at once. Changes within `window` of a message wait until the window is
/// over, and only the state that holds then is told: the peer hears at most one message a window, and the final state
/// always.
///
/// After [`Self::want`] and after the time of [`Self::due`], say what [`Self::poll`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Dampener<T> {
    window: Duration,
    told: T,
    wanted: T,
    /// When the last message went out; none when that no longer matters, or never did.
    last: Option<Instant>,
}

impl<T: Copy + Eq> Dampener<T> {
    /// A peer that knows `told`, and has heard nothing for long. A `window` of zero dampens nothing.
    pub const fn new(window: Duration, told: T) -> Self {
        Self {
            window,
            told,
            wanted: told,
            last: None,
        }
    }

    /// A peer that has been told `told` by another message just now, which counts as the first of a window.
    pub const fn told_at(window: Duration, told: T, now: Instant) -> Self {
        Self {
            window,
            told,
            wanted: told,
            last: Some(now),
        }
    }

    /// What the peer was told last.
    #[must_use]
    pub const fn told(&self) -> T {
        self.told
    }

    /// The state is this from now on.
    pub const fn want(&mut self, wanted: T) {
        self.wanted = wanted;
    }

    /// What is to be said now, if anything; it counts as said.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        if self.wanted == self.told || self.due().is_some_and(|due| now < due) {
            return None;
        }
        self.told = self.wanted;
        self.last = Some(now);
        Some(self.told)
    }

    /// When [`Self::poll`] is to be asked again; none while nothing waits for the end of a window.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if self.wanted == self.told {
            return None;
        }
        self.last?.checked_add(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_millis(500);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of test time"
    )]
    fn t0() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_first_change_goes_at_once_and_the_last_one_when_the_window_ends() {
        let start = t0();
        let mut dampener = Dampener::new(WINDOW, false);
        assert_eq!(dampener.poll(start), None);
        dampener.want(true);
        assert_eq!(dampener.poll(start), Some(true));
        dampener.want(false);
        assert_eq!(dampener.poll(start + ms(1)), None);
        assert_eq!(dampener.due(), Some(start + WINDOW));
        // There and back is nothing to tell.
        dampener.want(true);
        assert_eq!((dampener.poll(start + WINDOW), dampener.due()), (None, None));
        dampener.want(false);
        assert_eq!(dampener.poll(start + WINDOW), Some(false));
        assert!(!dampener.told());
    }

    #[test]
    fn a_message_that_said_it_already_begins_a_window() {
        let start = t0();
        let mut dampener = Dampener::told_at(WINDOW, true, start);
        dampener.want(false);
        assert_eq!(dampener.poll(start), None);
        assert_eq!(dampener.poll(start + WINDOW), Some(false));
    }

    #[test]
    fn without_a_window_every_change_is_told() {
        let now = t0();
        let mut dampener = Dampener::new(Duration::ZERO, 0);
        for state in 1..5 {
            dampener.want(state);
            assert_eq!(dampener.poll(now), Some(state));
        }
    }

    proptest! {
        /// Issue 3: whatever happens, the last state told is the last one wanted, there is at most one message a
        /// window, and none later than a window after the change that it tells.
        #[test]
        fn the_final_state_always_arrives(changes in prop::collection::vec((0_u64..1500, 0_u8..3), 0..60)) {
            let start = t0();
            let mut dampener = Dampener::new(WINDOW, 0_u8);
            let (mut now, mut told): (Instant, Vec<(Instant, u8)>) = (start, Vec::new());
            let mut wanted = 0;
            for (pause, state) in changes {
                let next = now + ms(pause);
                if let Some(due) = dampener.due().filter(|due| *due <= next) {
                    told.extend(dampener.poll(due).map(|state| (due, state)));
                }
                now = next;
                wanted = state;
                dampener.want(state);
                told.extend(dampener.poll(now).map(|state| (now, state)));
                // Nobody waits for what is not due.
                prop_assert!(dampener.due().is_none_or(|due| due > now && due <= now + WINDOW));
                prop_assert!(dampener.due().is_some() == (dampener.told() != wanted));
            }
            if let Some(due) = dampener.due() {
                told.extend(dampener.poll(due).map(|state| (due, state)));
            }
            prop_assert_eq!(told.last().map_or(0, |(_, state)| *state), wanted);
            prop_assert_eq!(dampener.due(), None);
            prop_assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= WINDOW));
            prop_assert!(told.windows(2).all(|pair| pair[1].1 != pair[0].1));
        }
    }
}
