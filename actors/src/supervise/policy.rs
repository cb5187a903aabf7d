//! Whether a child that ended comes back, and when.
//!
//! The words are those of OTP. [`Supervisor`] is a plain value: it is told what happened and the time, and answers;
//! the parent's actor owns the timers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::guard::Exit;

/// After which ends a child is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After every end.
    Permanent,
    /// After a panic only.
    Transient,
    /// Never.
    Temporary,
}

/// How many restarts a child gets before its parent gives up: `max` in any span of `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts allowed in the span; the end after the last of them is the one that makes the parent give up.
    pub max: u32,
    /// Length of the span.
    pub within: Duration,
}

impl Intensity {
    /// No limit: the back-off alone keeps a failing child from using the machine up.
    pub const UNLIMITED: Self = Self {
        max: u32::MAX,
        within: Duration::ZERO,
    };

    /// `max` restarts in any `secs` seconds.
    #[must_use]
    pub const fn per_secs(max: u32, secs: u64) -> Self {
        Self {
            max,
            within: Duration::from_secs(secs),
        }
    }
}

/// How long a restart waits: not at all at first, then `first`, then twice as long each time, never longer than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// How many restarts of a streak wait for nothing, because a single failure says little and costs least when it is
    /// over soonest.
    pub at_once: u32,
    /// Wait before the first restart that waits. Zero means that no restart does.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
    /// How much of a wait may be taken off at random, in percent (0 to 100), so that many children that fell
    /// together do not return together.
    pub jitter_percent: u8,
}

impl Backoff {
    /// Every restart happens at once.
    pub const IMMEDIATE: Self = Self {
        at_once: 0,
        first: Duration::ZERO,
        max: Duration::ZERO,
        jitter_percent: 0,
    };

    /// The wait before the restart that follows `earlier` restarts, before jitter.
    fn wait(&self, earlier: u32) -> Duration {
        let Some(earlier) = earlier.checked_sub(self.at_once) else {
            return Duration::ZERO;
        };
        // Past 2^31 the product has met any sensible maximum; `saturating_mul` covers the others.
        let factor = 1_u32 << earlier.min(31);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// What the parent does about a child that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it again when `after` has passed.
    Restart {
        /// Time to wait first; zero is at once.
        after: Duration,
    },
    /// It failed too often. The parent ends what depends on it, or itself.
    GiveUp,
    /// It is meant to be gone.
    Forget,
}

/// What a parent remembers of one child across its lives.
#[derive(Debug)]
pub struct Supervisor {
    restart: Restart,
    intensity: Intensity,
    backoff: Backoff,
    rng: StdRng,
    /// When the restarts inside the present span were decided, oldest first. At most `intensity.max` long, and
    /// empty when there is no limit.
    recent: VecDeque<Instant>,
    /// Restarts since the child was last quiet; the exponent of the back-off.
    streak: u32,
    /// When the present life began, or will.
    born: Option<Instant>,
}

impl Supervisor {
    /// A supervisor of a child that has not failed yet. `seed` makes its jitter repeatable.
    #[must_use]
    pub fn new(restart: Restart, intensity: Intensity, backoff: Backoff, seed: u64) -> Self {
        Self {
            restart,
            intensity,
            backoff,
            rng: StdRng::seed_from_u64(seed),
            recent: VecDeque::new(),
            streak: 0,
            born: None,
        }
    }

    /// The child ended at `now`. A normal end of a permanent child counts like a panic.
    pub fn child_down(&mut self, now: Instant, exit: Exit) -> Decision {
        let returns = match self.restart {
            Restart::Permanent => true,
            Restart::Transient => exit == Exit::Panicked,
            Restart::Temporary => false,
        };
        if !returns {
            return Decision::Forget;
        }
        if !self.may_restart(now) {
            return Decision::GiveUp;
        }
        if self.was_quiet(now) {
            self.streak = 0;
        }
        let wait = self.backoff.wait(self.streak);
        let after = self.jittered(wait);
        self.streak = self.streak.saturating_add(1);
        self.born = now.checked_add(after);
        Decision::Restart { after }
    }

    /// Whether the span that ends at `now` has room for one more restart, which it then holds.
    fn may_restart(&mut self, now: Instant) -> bool {
        if self.intensity.max == u32::MAX {
            return true;
        }
        let within = self.intensity.within;
        while self
            .recent
            .front()
            .is_some_and(|at| now.saturating_duration_since(*at) >= within)
        {
            self.recent.pop_front();
        }
        let room = u32::try_from(self.recent.len()).is_ok_and(|restarts| restarts < self.intensity.max);
        if room {
            self.recent.push_back(now);
        }
        room
    }

    /// Whether the life that ended at `now` was long enough to start the back-off afresh: as long as the longest
    /// wait and as the span of the intensity, so that the two cannot take turns in forgiving.
    fn was_quiet(&self, now: Instant) -> bool {
        let quiet = self.backoff.max.max(self.intensity.within);
        self.born
            .is_some_and(|born| now.saturating_duration_since(born) >= quiet)
    }

    /// `wait` less a random part of it, so that the maximum holds.
    fn jittered(&mut self, wait: Duration) -> Duration {
        let percent = u32::from(self.backoff.jitter_percent.min(100));
        if percent == 0 {
            return wait;
        }
        // In thousandths, to spread finer than whole percents.
        let off = self.rng.random_range(0..=percent * 10);
        wait.saturating_sub(wait.saturating_mul(off) / 1000)
    }
}
