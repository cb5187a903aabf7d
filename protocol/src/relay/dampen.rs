//! Telling a publisher what is wanted of it, when that changes faster than it should hear of it.

use std::time::{Duration, Instant};

/// What a publisher was told is wanted, what it is to be told, and when it may next be told anything.
///
/// The greater of two values is more: that objects are wanted, say, is more than that they are not. More goes out at
/// once, unless a message went out within `window` before. Less goes out only when nobody has wanted more than what is said
/// for a whole `window`: what a publisher does not send while its readers are away for a moment, as those are whose
/// session failed, is missing for good. The publisher hears at most one message a window, and the final state always.
///
/// After [`Self::want`] and after the time of [`Self::due`], say what [`Self::poll`] gives.
#[derive(Clone, Copy, Debug)]
pub struct Dampener<T> {
    window: Duration,
    told: T,
    wanted: T,
    /// Since when less is wanted than was told, and the most that was wanted since.
    less: Option<(Instant, T)>,
    /// When the last message went out; none when that no longer matters, or never did.
    last: Option<Instant>,
}

impl<T: Copy + Ord> Dampener<T> {
    /// A publisher that knows `told`, and has heard nothing for long. A `window` of zero dampens nothing.
    pub const fn new(window: Duration, told: T) -> Self {
        Self {
            window,
            told,
            wanted: told,
            less: None,
            last: None,
        }
    }

    /// A publisher that has been told `told` by another message just now, which counts as the first of a window.
    pub const fn told_at(window: Duration, told: T, now: Instant) -> Self {
        Self {
            window,
            told,
            wanted: told,
            less: None,
            last: Some(now),
        }
    }

    /// What the publisher was told last.
    #[must_use]
    pub const fn told(&self) -> T {
        self.told
    }

    /// This is wanted from now on.
    pub fn want(&mut self, wanted: T, now: Instant) {
        self.wanted = wanted;
        let (since, most) = self.less.unwrap_or((now, wanted));
        self.less = (wanted < self.told).then(|| (since, most.max(wanted)));
    }

    /// What is to be said now, if anything; it counts as said.
    pub fn poll(&mut self, now: Instant) -> Option<T> {
        if self.wanted == self.told || self.due().is_some_and(|due| now < due) {
            return None;
        }
        self.told = self.less.map_or(self.wanted, |(_, most)| most);
        // What is less than even that is said when it has been so for a window, too.
        self.less = (self.wanted < self.told).then_some((now, self.wanted));
        self.last = Some(now);
        Some(self.told)
    }

    /// When [`Self::poll`] is to be asked again; none while nothing waits for the end of a window.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if self.wanted == self.told {
            return None;
        }
        let less = self.less.map(|(since, _)| since);
        less.max(self.last)?.checked_add(self.window)
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

        /// Issue 6: of several degrees of a wish, none is given up that was wanted within a window, and the last one arrives:
        /// within a window when it is more, within two when it is less.
        #[test]
        fn degrees_of_a_wish(
            changes in prop::collection::vec((0_u64..700, 0_u8..5), 1..60),
        ) {
            let start = t0();
            let mut dampener = Dampener::new(WINDOW, 0);
            let (mut now, mut told): (u64, Vec<(u64, u8)>) = (0, vec![]);
            let mut wanted = vec![(0, 0)];
            let mut changes = changes.into_iter().peekable();
            let mut next = changes.next();
            while next.is_some() || dampener.due().is_some() {
                let due = dampener.due().map(|due| u64::try_from((due - start).as_millis()).unwrap());
                let change = next.map(|(pause, state)| (wanted.last().unwrap().0 + pause, state));
                match (change, due) {
                    (Some((at, state)), due) if due.is_none_or(|due| at < due) => {
                        now = at;
                        wanted.push((at, state));
                        dampener.want(state, start + ms(at));
                        next = changes.next();
                    }
                    (_, due) => now = due.unwrap(),
                }
                let Some(said) = dampener.poll(start + ms(now)) else { continue };
                let before = told.last().map_or(0, |(_, said)| *said);
                prop_assert_ne!(said, before);
                let wished = wanted.iter().enumerate().filter(|(at, _)| {
                    let until = wanted.get(at + 1).map_or(now + 1, |(until, _)| *until);
                    until > now.saturating_sub(500)
                });
                let most = wished.map(|(_, (_, state))| *state).max().unwrap();
                let least = if said < before { most } else { wanted.last().unwrap().1 };
                prop_assert!(said == least || (said < before && said > least));
                told.push((now, said));
            }
            let (last, state) = *wanted.last().unwrap();
            prop_assert_eq!(dampener.told(), state);
            prop_assert!(now <= last + 1000, "{} after {}", now, last);
            prop_assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 500));
        }
    }
}
