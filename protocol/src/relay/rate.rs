//! How often each of many may do something.
//!
//! One instant for each who did it lately: when all that it did would be paid for, each costing its share of a second.
//! Whoever is paid up is as good as a stranger and is forgotten, so the table holds those of the last seconds only.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How a thing that is done stands to its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Within it.
    Within,
    /// Above it, or of one that there is no room to remember: let it prove itself first.
    Above,
    /// So far above it that it is not to be done.
    FarAbove,
}

/// Rates of everybody who did something lately.
#[derive(Clone, Debug)]
pub struct Rates<K> {
    cost: Duration,
    max_keys: usize,
    paid_at: HashMap<K, Instant>,
    /// When it last looked whom it can forget.
    swept: Option<Instant>,
}

impl<K: Eq + Hash> Rates<K> {
    /// `per_second` (at least 1) of each; as much as [`BURST`] is worth may come at once. At most `max_keys` are
    /// remembered.
    #[must_use]
    pub fn new(per_second: u64, max_keys: usize) -> Self {
        let cost = Duration::from_nanos(1_000_000_000 / per_second.clamp(1, 1_000_000_000));
        Self {
            cost,
            max_keys,
            paid_at: HashMap::new(),
            swept: None,
        }
    }

    /// `key` wants to do it at `now`. What is [`Pace::FarAbove`] is not done, and not counted.
    pub fn take(&mut self, now: Instant, key: K) -> Pace {
        self.sweep(now);
        let is_full = self.paid_at.len() >= self.max_keys;
        let known = self.paid_at.get(&key).copied();
        if known.is_none() && is_full {
            return Pace::Above;
        }
        let paid_at = known.map_or(now, |at| at.max(now));
        let Some(paid_at) = paid_at.checked_add(self.cost) else {
            return Pace::Above;
        };
        let ahead = paid_at.saturating_duration_since(now);
        // The first is done even where it costs more than a burst.
        let allowed = BURST.max(self.cost);
        if ahead > allowed * 2 {
            return Pace::FarAbove;
        }
        self.paid_at.insert(key, paid_at);
        if ahead > allowed {
            Pace::Above
        } else {
            Pace::Within
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.paid_at.len()
    }

    /// True when nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paid_at.is_empty()
    }

    fn sweep(&mut self, now: Instant) {
        let due = self
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if due {
            self.swept = Some(now);
            self.paid_at.retain(|_, paid_at| *paid_at > now);
        }
    }
}

/// What may come at once, as the time in which the rate would allow it.
pub const BURST: Duration = Duration::from_secs(4);
/// How often those that are paid up are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a base of virtual time")]

    use super::*;
    use proptest::prelude::*;

    fn count(rates: &mut Rates<u8>, now: Instant, key: u8, times: usize) -> [usize; 3] {
        let mut counted = [0; 3];
        for _ in 0..times {
            counted[rates.take(now, key) as usize] += 1;
        }
        counted
    }

    /// D14-LIM-6
    #[test]
    fn a_burst_then_a_proof_then_a_refusal() {
        let (mut rates, now) = (Rates::new(10, 100), Instant::now());
        assert_eq!(count(&mut rates, now, 1, 200), [40, 40, 120]);
        assert_eq!(
            count(&mut rates, now, 2, 10),
            [10, 0, 0],
            "of others nothing is taken"
        );
        // A second pays for ten more.
        let later = now + Duration::from_secs(1);
        assert_eq!(count(&mut rates, later, 1, 200), [0, 10, 190]);
        let rested = now + Duration::from_secs(20);
        assert_eq!(count(&mut rates, rested, 1, 41), [40, 1, 0]);
    }

    /// D14-LIM-6: who is paid up is forgotten, and strangers of whom there are too many prove themselves first.
    #[test]
    fn the_table_is_bounded() {
        let (mut rates, now) = (Rates::new(10, 4), Instant::now());
        for key in 0..4 {
            assert_eq!(rates.take(now, key), Pace::Within);
        }
        assert_eq!((rates.take(now, 9), rates.len()), (Pace::Above, 4));
        assert_eq!(rates.take(now, 3), Pace::Within, "who is remembered is known");
        let later = now + Duration::from_secs(1);
        assert_eq!((rates.take(later, 9), rates.len()), (Pace::Within, 1));
    }

    #[test]
    fn a_rate_of_one_lets_the_first_in() {
        let (mut rates, now) = (Rates::new(1, 4), Instant::now());
        assert_eq!(count(&mut rates, now, 0, 12), [4, 4, 4]);
        assert_eq!(count(&mut Rates::new(u64::MAX, 4), now, 0, 1000), [1000, 0, 0]);
    }

    proptest! {
        /// Over any time no more is let through than the rate and two bursts, and what keeps to the rate always is.
        #[test]
        fn no_more_than_the_rate(per_second in 1u64..1000, steps in prop::collection::vec(0u64..3000, 1..300)) {
            let (mut rates, start) = (Rates::new(per_second, 10), Instant::now());
            let (mut now, mut done) = (start, 0u64);
            for ms in steps {
                now += Duration::from_millis(ms);
                if rates.take(now, 1u8) != Pace::FarAbove {
                    done += 1;
                }
            }
            let span = (now - start).as_secs_f64() + 2.0 * BURST.as_secs_f64();
            prop_assert!(done as f64 <= span * per_second as f64 + 1.0);
            let gap = Duration::from_nanos(1_000_000_000 / per_second + 1);
            let mut steady = Rates::new(per_second, 10);
            for _ in 0..1000 {
                now += gap;
                prop_assert_eq!(steady.take(now, 1u8), Pace::Within);
            }
        }
    }
}
