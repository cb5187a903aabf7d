//! Telling a publisher whether its objects are wanted, when that changes faster than it should hear of it.

use std::time::{Duration, Instant};

/// What a publisher was told of whether its objects are wanted, what it is to be told, and when it may next be told
/// anything.
///
/// That objects are wanted goes out at once, unless a message went out within `window` before. That they are not goes
/// out only when nobody has wanted any for a whole `window`: what a publisher does not send while its readers are away
/// for a moment, as those are whose session failed, is missing for good. The publisher hears at most one message a
/// window, and the final state always.
///
/// After [`Self::want`] and after the time of [`Self::due`], say what [`Self::poll`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Dampener {
    window: Duration,
    told: bool,
    wanted: bool,
    /// Since when objects are not wanted; none while they are.
    idle: Option<Instant>,
    /// When the last message went out; none when that no longer matters, or never did.
    last: Option<Instant>,
}

impl Dampener {
    /// A publisher that knows `told`, and has heard nothing for long. A `window` of zero dampens nothing.
    pub const fn new(window: Duration, told: bool) -> Self {
        Self {
            window,
            told,
            wanted: told,
            idle: None,
            last: None,
        }
    }

    /// A publisher that has been told `told` by another message just now, which counts as the first of a window.
    pub const fn told_at(window: Duration, told: bool, now: Instant) -> Self {
        Self {
            window,
            told,
            wanted: told,
            idle: None,
            last: Some(now),
        }
    }

    /// What the publisher was told last.
    #[must_use]
    pub const fn told(&self) -> bool {
        self.told
    }

    /// Objects are wanted from now on, or not.
    pub fn want(&mut self, wanted: bool, now: Instant) {
        self.wanted = wanted;
        self.idle = (!wanted).then(|| self.idle.unwrap_or(now));
    }

    /// What is to be said now, if anything; it counts as said.
    pub fn poll(&mut self, now: Instant) -> Option<bool> {
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
        self.idle.max(self.last)?.checked_add(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_millis(500);

    /// Milliseconds, and what is wanted or told then.
    type Times = &'static [(u64, bool)];

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

    /// Issue 5: objects are wanted, or not, from these milliseconds on; what is said of it, and when.
    #[test]
    fn a_moment_without_readers_is_not_told() {
        let cases: [(&str, Times, Times); 7] = [
            ("wanted at once", &[(0, true)], &[(0, true)]),
            (
                "back in time",
                &[(0, true), (900, false), (1399, true)],
                &[(0, true)],
            ),
            (
                "away for long",
                &[(0, true), (900, false)],
                &[(0, true), (1400, false)],
            ),
            (
                "back after a pause",
                &[(0, true), (900, false), (3000, true)],
                &[(0, true), (1400, false), (3000, true)],
            ),
            (
                "back just after the message",
                &[(0, true), (900, false), (1500, true)],
                &[(0, true), (1400, false), (1900, true)],
            ),
            (
                "the pause counts from its own begin",
                &[(0, true), (100, false), (400, true), (450, false), (600, false)],
                &[(0, true), (950, false)],
            ),
            (
                "back for a moment that is not told",
                &[(0, true), (100, false), (700, true), (800, false)],
                &[(0, true), (600, false)],
            ),
        ];
        for (name, changes, expected) in cases {
            let start = t0();
            let mut dampener = Dampener::new(WINDOW, false);
            let mut told = Vec::new();
            for at in 0..5000 {
                let now = start + ms(at);
                for (_, wanted) in changes.iter().filter(|(change, _)| *change == at) {
                    dampener.want(*wanted, now);
                }
                told.extend(dampener.poll(now).map(|state| (at, state)));
            }
            assert_eq!(told, expected, "{name}");
            assert_eq!(dampener.due(), None, "{name}");
        }
    }

    #[test]
    fn a_message_that_said_it_already_begins_a_window() {
        let start = t0();
        let mut dampener = Dampener::told_at(WINDOW, false, start);
        dampener.want(true, start + ms(1));
        assert_eq!(dampener.poll(start + ms(1)), None);
        assert_eq!(dampener.due(), Some(start + WINDOW));
        assert_eq!(dampener.poll(start + WINDOW), Some(true));
        let mut dampener = Dampener::told_at(WINDOW, true, start);
        dampener.want(false, start + ms(1));
        assert_eq!(dampener.poll(start + WINDOW), None);
        assert_eq!(dampener.poll(start + WINDOW + ms(1)), Some(false));
        assert!(!dampener.told());
    }

    #[test]
    fn without_a_window_every_change_is_told() {
        let now = t0();
        let mut dampener = Dampener::new(Duration::ZERO, false);
        for wanted in [true, false, true, false] {
            dampener.want(wanted, now);
            assert_eq!(dampener.poll(now), Some(wanted));
        }
    }

    proptest! {
        /// Issue 3: whatever happens, the last state told is the last one wanted, there is at most one message a
        /// window, and none later than a window after the change that it tells. Issue 5: nobody has wanted anything
        /// for a window when that is told.
        #[test]
        fn the_final_state_always_arrives(
            changes in prop::collection::vec((0_u64..1500, any::<bool>()), 0..60),
        ) {
            let start = t0();
            let mut dampener = Dampener::new(WINDOW, false);
            let (mut now, mut told): (Instant, Vec<(Instant, bool)>) = (start, Vec::new());
            let (mut wanted, mut since) = (false, start);
            for (pause, state) in changes {
                let next = now + ms(pause);
                if let Some(due) = dampener.due().filter(|due| *due <= next) {
                    let said = dampener.poll(due);
                    prop_assert!(said == Some(wanted) && (wanted || due >= since + WINDOW));
                    told.extend(said.map(|state| (due, state)));
                }
                now = next;
                if state != wanted {
                    since = now;
                }
                wanted = state;
                dampener.want(state, now);
                let said = dampener.poll(now);
                prop_assert!(said != Some(false), "nobody could be back");
                told.extend(said.map(|state| (now, state)));
                // Nobody waits for what is not due.
                prop_assert!(dampener.due().is_none_or(|due| due > now && due <= now + WINDOW));
                prop_assert!(dampener.due().is_some() == (dampener.told() != wanted));
            }
            if let Some(due) = dampener.due() {
                told.extend(dampener.poll(due).map(|state| (due, state)));
            }
            prop_assert_eq!(told.last().is_some_and(|(_, state)| *state), wanted);
            prop_assert_eq!(dampener.due(), None);
            prop_assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= WINDOW));
            prop_assert!(told.windows(2).all(|pair| pair[1].1 != pair[0].1));
        }
    }
}
