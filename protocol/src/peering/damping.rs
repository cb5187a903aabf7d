//! Links that come and go too often are kept away for a while, as routes are. RFC 2439 §4
//!
//! Each loss of a link to a node adds to the node's penalty, which halves in a fixed time. Above one bound its links are
//! not used, until the penalty has fallen to a lower one. A link that fails now and then is back at once.

use std::time::{Duration, Instant};

/// When a node is kept away, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// In this time half of the penalty goes.
    pub half_life: Duration,
    /// The penalty from which on the node is kept away; a loss adds 1.
    pub suppress_at: f64,
    /// The penalty down to which it is kept away then.
    pub reuse_at: f64,
    /// The highest penalty: it bounds how long a node is kept away after its last loss.
    pub max_penalty: f64,
}

impl Default for Settings {
    /// The third loss within some 10 s keeps a node away for 15 s or more, and however many follow, it is back a minute
    /// after the last one.
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(15),
            suppress_at: 2.5,
            reuse_at: 1.25,
            max_penalty: 16.0 * 1.25,
        }
    }
}

/// What is left of a loss when it is forgotten.
const FORGOTTEN: f64 = 0.06;

/// The penalty of one node.
#[derive(Clone, Debug)]
pub struct Damping {
    settings: Settings,
    penalty: f64,
    /// When `penalty` was true.
    at: Instant,
    suppressed: bool,
}

impl Damping {
    /// A node that has lost no link.
    #[must_use]
    pub const fn new(now: Instant, settings: Settings) -> Self {
        Self {
            settings,
            penalty: 0.0,
            at: now,
            suppressed: false,
        }
    }

    /// A link to the node was lost. Those that were closed on purpose do not count.
    pub fn lost(&mut self, now: Instant) {
        self.decay(now);
        self.penalty = (self.penalty + 1.0).min(self.settings.max_penalty);
        self.suppressed |= self.penalty >= self.settings.suppress_at;
    }

    /// For how long links to the node are not used yet; none when they may be now.
    pub fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.decay(now);
        self.suppressed &= self.penalty > self.settings.reuse_at;
        self.suppressed.then(|| self.until_reuse())
    }

    /// Whether nothing is left that is worth keeping.
    pub fn is_clear(&mut self, now: Instant) -> bool {
        self.wait(now).is_none() && self.penalty < FORGOTTEN
    }

    fn decay(&mut self, now: Instant) {
        let halvings = now
            .saturating_duration_since(self.at)
            .div_duration_f64(self.settings.half_life);
        self.at = self.at.max(now);
        // No time over no half-life is no number.
        if halvings > 0.0 {
            self.penalty *= 0.5_f64.powf(halvings);
        }
    }

    /// A millisecond more than the curve says, so that it is over when that time is.
    fn until_reuse(&self) -> Duration {
        let halvings = (self.penalty / self.settings.reuse_at).log2();
        let secs = self.settings.half_life.as_secs_f64() * halvings;
        // Settings that make no sense, such as a bound of nothing, keep a node away for a long time and no more.
        let wait = Duration::try_from_secs_f64(secs).unwrap_or(self.settings.half_life);
        wait.saturating_add(Duration::from_millis(1))
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may read the clock once, for a base of virtual time"
)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn damping() -> (Instant, Damping) {
        let start = Instant::now();
        (start, Damping::new(start, Settings::default()))
    }

    #[test]
    fn what_fails_now_and_then_is_back_at_once() {
        let (start, mut damping) = damping();
        for failure in 0..100 {
            let now = start + secs(failure * 20);
            damping.lost(now);
            assert_eq!(damping.wait(now), None, "{failure}");
        }
        assert!(!damping.is_clear(start + secs(99 * 20)));
        assert!(damping.is_clear(start + secs(99 * 20 + 90)));
    }

    /// It is kept away, back when it is said to be back, and not for longer than a minute after the last loss.
    #[test]
    fn what_flaps_is_kept_away_and_comes_back() {
        for losses in 3..40 {
            let (start, mut damping) = damping();
            for loss in 0..losses {
                damping.lost(start + Duration::from_millis(loss * 100));
            }
            let last = start + Duration::from_millis((losses - 1) * 100);
            let wait = damping.wait(last).unwrap();
            assert!(wait >= secs(15) && wait <= secs(61), "{losses}: {wait:?}");
            assert!(damping.wait(last + wait - secs(1)).is_some(), "{losses}");
            assert_eq!(damping.wait(last + wait), None, "{losses}: {wait:?}");
        }
    }

    #[test]
    fn more_losses_never_wait_less() {
        let waits: Vec<_> = (1..30)
            .map(|losses| {
                let (start, mut damping) = damping();
                (0..losses).for_each(|_| damping.lost(start));
                damping.wait(start)
            })
            .collect();
        assert!(waits.is_sorted() && waits.first() == Some(&None));
    }

    #[test]
    fn half_is_left_after_the_half_life() {
        let (start, mut damping) = damping();
        damping.lost(start);
        for (after, left) in [(15, 0.5), (30, 0.25), (37, 0.180), (15 * 40, 0.0)] {
            damping.decay(start + secs(after));
            assert!(
                (damping.penalty - left).abs() < 0.001,
                "{after} s: {}",
                damping.penalty
            );
        }
    }

    /// Settings that make no sense end nothing.
    #[test]
    fn any_settings_come_to_an_end() {
        let start = Instant::now();
        for (suppress_at, reuse_at, max_penalty) in [
            (0.0, 0.0, 0.0),
            (0.0, 0.0, f64::MAX),
            (-1.0, f64::NAN, 1.0),
            (1.0, -1.0, f64::INFINITY),
        ] {
            for half_life in [Duration::ZERO, secs(1), Duration::MAX] {
                let settings = Settings {
                    half_life,
                    suppress_at,
                    reuse_at,
                    max_penalty,
                };
                let mut damping = Damping::new(start, settings);
                damping.lost(start);
                damping.wait(start);
                damping.is_clear(start + secs(1));
            }
        }
    }
}
