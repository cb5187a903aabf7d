//! Whether a publisher has fallen silent, measured by its own pace.
//!
//! A publisher that roams, or whose connection migrates, says nothing for a while and goes on; its session ends when it
//! is idle for too long, and not before. Meanwhile, whoever is to choose among several publishers of a track had better
//! choose another one. What is silence depends on the track: one with an object every ten seconds is not silent after
//! five.

use std::time::{Duration, Instant};

/// How much longer than usual a publisher may say nothing.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);
/// For how long a gap is remembered at least, so that groups that come at once, each long after the one before, set the
/// pace and not the objects in them.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The pace of one publisher, and when it last said something.
#[derive(Clone, Debug)]
pub struct Pulse {
    silent_after: Duration,
    /// When it last brought something or was told to, and whether it brought it.
    last: Option<(Instant, bool)>,
    /// It has brought something twice in a row, so that there is a pace.
    known: bool,
    /// The longest gap since the period began, and in the one before.
    longest: Duration,
    before: Duration,
    period: Option<Instant>,
}

impl Pulse {
    /// One that has brought nothing yet, and is silent when it says nothing for so much longer than it usually does.
    #[must_use]
    pub const fn new(silent_after: Duration) -> Self {
        Self {
            silent_after,
            last: None,
            known: false,
            longest: Duration::ZERO,
            before: Duration::ZERO,
            period: None,
        }
    }

    /// It brought something.
    pub fn brought(&mut self, now: Instant) {
        if let Some((last, true)) = self.last {
            // A gap in which it was silent is not its pace. If it becomes that, it does so step by step.
            let most = self.usual().saturating_mul(2).saturating_add(self.silent_after);
            let gap = now.saturating_duration_since(last).min(most);
            self.longest = self.longest.max(gap);
            self.known = true;
        }
        self.last = Some((now, true));
        let begun = *self.period.get_or_insert(now);
        let length = REMEMBERED.max(self.usual().saturating_mul(2));
        if now.saturating_duration_since(begun) >= length {
            self.before = std::mem::take(&mut self.longest);
            self.period = Some(now);
        }
    }

    /// It is told to send objects from now on.
    pub const fn resumed(&mut self, now: Instant) {
        self.last = Some((now, false));
    }

    /// It is told to send nothing: whatever time passes now is not its own.
    pub const fn paused(&mut self) {
        self.last = None;
    }

    /// The longest time that it says nothing for as a rule; zero as long as there is no pace.
    #[must_use]
    pub fn usual(&self) -> Duration {
        self.longest.max(self.before)
    }

    /// When it is silent unless it says something; none when nothing is expected of it.
    #[must_use]
    pub fn silent_at(&self) -> Option<Instant> {
        let (last, _) = self.last.filter(|_| self.known)?;
        last.checked_add(self.usual().saturating_add(self.silent_after))
    }

    /// It should have said something by now.
    #[must_use]
    pub fn is_silent(&self, now: Instant) -> bool {
        self.silent_at().is_some_and(|at| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The crate may not ask the clock; tests need one arbitrary instant.
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of test time"
    )]
    fn t0() -> Instant {
        Instant::now()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Brings something after each of these gaps in milliseconds; the value is after how many more it is silent.
    fn silent_after(gaps: &[u64]) -> Option<u64> {
        let (mut pulse, mut now) = (Pulse::new(SILENT_AFTER), t0());
        for gap in gaps {
            now += ms(*gap);
            pulse.brought(now);
        }
        let at = pulse.silent_at()?;
        assert!(!pulse.is_silent(at - ms(1)) && pulse.is_silent(at));
        Some(u64::try_from((at - now).as_millis()).unwrap())
    }

    #[test]
    fn silence_is_measured_by_the_pace() {
        for (gaps, after) in [
            // Who never said anything, or one thing, has no pace.
            (vec![], None),
            (vec![5], None),
            (vec![0, 33], Some(3033)),
            (vec![0, 33, 33, 40, 33], Some(3040)),
            // Groups at once, every ten seconds.
            (vec![0, 10, 2990, 10, 10, 7000, 10, 10], Some(10_000)),
            // An outage is not a pace; and the second time it is a little more of one.
            (vec![0, 100, 60_000, 100], Some(3200 + 3000)),
            (vec![0, 100, 60_000, 60_000], Some(9400 + 3000)),
            // It is forgotten after two periods.
            ([vec![0, 100, 60_000], vec![100; 700]].concat(), Some(3100)),
        ] {
            assert_eq!(silent_after(&gaps), after, "{gaps:?}");
        }
    }

    #[test]
    fn what_it_was_told_counts() {
        let (mut pulse, start) = (Pulse::new(SILENT_AFTER), t0());
        pulse.brought(start);
        pulse.brought(start + ms(100));
        pulse.paused();
        assert_eq!(pulse.silent_at(), None);
        let later = start + ms(60_000);
        pulse.resumed(later);
        assert_eq!(pulse.silent_at(), Some(later + ms(3100)));
        // The time until it speaks again is not its pace, and speaking ends silence.
        pulse.brought(later + ms(4000));
        assert!(!pulse.is_silent(later + ms(4000)));
        assert_eq!(pulse.usual(), ms(100));
    }

    proptest! {
        /// Who speaks as often as ever is not silent; and whoever stops is, after a time that its own gaps bound.
        #[test]
        fn nobody_is_silent_at_its_own_pace(gaps in proptest::collection::vec(0_u64..20_000, 2..200)) {
            let (mut pulse, mut now) = (Pulse::new(SILENT_AFTER), t0());
            let longest = *gaps.iter().max().unwrap();
            // It takes a few gaps to learn a slow pace.
            let mut learned = Duration::ZERO;
            for gap in &gaps {
                now += ms(*gap);
                let known = pulse.silent_at().is_some();
                if known && ms(*gap) < learned.saturating_add(SILENT_AFTER) {
                    prop_assert!(!pulse.is_silent(now));
                }
                pulse.brought(now);
                learned = pulse.usual();
            }
            prop_assert!(pulse.usual() <= ms(longest));
            let silent = now + ms(longest) + SILENT_AFTER;
            prop_assert!(pulse.is_silent(silent));
        }
    }
}
