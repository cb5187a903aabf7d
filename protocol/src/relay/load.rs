//! How loaded a relay is, and what it stops doing for that, in which order.
//!
//! ```text
//! Normal ──▶ NoNewConnections ──▶ NoNewRequests ──▶ ShedSlow
//!        ◀──                  ◀──               ◀──
//! up: at once, to whatever memory asks for; for lag, only after a while of nothing but late samples
//! down: one step at a time, each after a while below a threshold that lies under the one that led up
//! ```
//!
//! Two things are measured: the memory of the process against what it may have, and how late the timers of a thread
//! are. Lag refuses newcomers and never sheds anybody: a thread that is late is late for everybody, and who looks slow
//! then is not the one to blame. Before all that, the cache gives back what it can ([`cache_limit`]). Decision 0023.

use std::time::{Duration, Instant};

/// What is refused, each level with all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    #[default]
    Normal,
    /// Newcomers.
    NoNewConnections,
    /// Requests that begin something, of those who are here.
    NoNewRequests,
    /// Subscribers that are far behind and stay so, the farthest first.
    ShedSlow,
}

impl Level {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [
        Self::Normal,
        Self::NoNewConnections,
        Self::NoNewRequests,
        Self::ShedSlow,
    ];

    /// The one before it.
    #[must_use]
    pub const fn below(self) -> Self {
        match self {
            Self::Normal | Self::NoNewConnections => Self::Normal,
            Self::NoNewRequests => Self::NoNewConnections,
            Self::ShedSlow => Self::NoNewRequests,
        }
    }

    /// What an operator is told that the relay does now.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Normal => "serves everybody",
            Self::NoNewConnections => "refuses new connections",
            Self::NoNewRequests => "refuses new connections and requests",
            Self::ShedSlow => "refuses new connections and requests, sheds slow subscribers",
        }
    }

    /// Percent of its budget that the memory must have for it, and below which it is over: a gap that the ups and
    /// downs of traffic do not cross, between levels far enough apart that each has time to help.
    const fn memory(self) -> Option<(u64, u64)> {
        match self {
            Self::Normal => None,
            Self::NoNewConnections => Some((80, 75)),
            Self::NoNewRequests => Some((88, 83)),
            Self::ShedSlow => Some((95, 90)),
        }
    }

    /// How late timers must be for it, and below which it is over. A tenth of a second is what a viewer of live media
    /// notices; past three of them requests would wait behind everything else.
    const fn lag(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Normal | Self::ShedSlow => None,
            Self::NoNewConnections => Some((Duration::from_millis(100), Duration::from_millis(50))),
            Self::NoNewRequests => Some((Duration::from_millis(300), Duration::from_millis(150))),
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// How late a timer of the thread was.
    pub lag: Duration,
    /// Bytes of memory that the process uses.
    pub memory: u64,
    /// Bytes that it may use; 0 when nobody knows, and then memory says nothing.
    pub budget: u64,
}

impl Sample {
    fn has(&self, percent: u64) -> bool {
        let (used, budget) = (u128::from(self.memory), u128::from(self.budget));
        self.budget > 0 && used * 100 >= budget * u128::from(percent)
    }

    /// The highest level that its memory asks for.
    fn asked_by_memory(&self) -> Level {
        let asks = |level: &Level| level.memory().is_some_and(|(up, _)| self.has(up));
        Level::ALL.into_iter().rev().find(asks).unwrap_or_default()
    }

    /// It leaves no way back below `level`.
    fn keeps(&self, level: Level) -> bool {
        level.memory().is_some_and(|(_, down)| self.has(down))
            || level.lag().is_some_and(|(_, down)| self.lag >= down)
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long every sample must be late before lag counts. One late timer is no load: a process that was stopped, or a
    /// machine that slept, has one.
    pub late_for: Duration,
    /// How long a level is kept after nothing asks for it any more.
    pub calm: Duration,
    /// How long the bound of slow subscribers stands before it is halved again.
    pub halving: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            late_for: Duration::from_secs(2),
            calm: Duration::from_secs(5),
            halving: Duration::from_secs(1),
        }
    }
}

/// Since when all samples were late enough for a level, and how many they are.
#[derive(Clone, Copy, Debug)]
struct Late {
    since: Instant,
    samples: u32,
}

/// The load of one thing that is measured: a process, or a thread of it.
#[derive(Clone, Debug)]
pub struct Load {
    terms: Terms,
    level: Level,
    /// For each level that lag can ask for.
    late: [(Level, Option<Late>); 2],
    /// Since when nothing asks for the level.
    calm: Option<Instant>,
    /// Since when the slow are shed.
    shedding: Option<Instant>,
}

impl Load {
    /// Not loaded.
    #[must_use]
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            level: Level::Normal,
            late: [(Level::NoNewConnections, None), (Level::NoNewRequests, None)],
            calm: None,
            shedding: None,
        }
    }

    /// Takes a sample into account; `now` is never before that of an earlier one.
    pub fn observe(&mut self, now: Instant, sample: Sample) -> Level {
        let asked = self.asked_by_lag(now, sample.lag).max(sample.asked_by_memory());
        if asked > self.level {
            self.enter(now, asked);
        } else if sample.keeps(self.level) {
            self.calm = None;
        } else if self.level > Level::Normal {
            let since = *self.calm.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.terms.calm {
                self.enter(now, self.level.below());
                self.calm = Some(now);
            }
        }
        self.level
    }

    /// The level after the last sample.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// How often the bound of slow subscribers is halved by now; 0 while nobody is shed.
    #[must_use]
    pub fn halvings(&self, now: Instant) -> u32 {
        let Some(since) = self.shedding else {
            return 0;
        };
        let steps = now.saturating_duration_since(since).as_millis() / self.terms.halving.as_millis().max(1);
        u32::try_from(steps)
            .unwrap_or(MAX_HALVINGS)
            .saturating_add(1)
            .min(MAX_HALVINGS)
    }

    fn enter(&mut self, now: Instant, level: Level) {
        self.shedding = (level == Level::ShedSlow).then(|| self.shedding.unwrap_or(now));
        self.level = level;
        self.calm = None;
    }

    fn asked_by_lag(&mut self, now: Instant, lag: Duration) -> Level {
        let mut asked = Level::Normal;
        for (level, late) in &mut self.late {
            if level.lag().is_none_or(|(up, _)| lag < up) {
                *late = None;
                continue;
            }
            let late = late.get_or_insert(Late {
                since: now,
                samples: 0,
            });
            late.samples = late.samples.saturating_add(1);
            if late.samples >= LATE_SAMPLES
                && now.saturating_duration_since(late.since) >= self.terms.late_for
            {
                asked = asked.max(*level);
            }
        }
        asked
    }
}

/// How far behind a subscription of `max` may be after so many halvings, in bytes.
#[must_use]
pub const fn max_behind(max: u64, halvings: u32) -> u64 {
    let floor = if max < HEALTHY { max } else { HEALTHY };
    let halved = match max.checked_shr(halvings) {
        Some(halved) => halved,
        None => 0,
    };
    if halved < floor { floor } else { halved }
}

/// What all tracks together may keep of `max` bytes, at this memory.
///
/// The cache is the first to give back, before anybody is refused: all of it up to 70 % of the budget, a quarter of it
/// from 80 % on, where the first level begins. It never has more than half of the budget, or nothing would be left for
/// those that read it. What is newest of each track stays in any case, so who keeps up loses nothing.
#[must_use]
pub fn cache_limit(max: u64, sample: &Sample) -> u64 {
    if sample.budget == 0 {
        return max;
    }
    let max = max.min(sample.budget / 2);
    let permille = u128::from(sample.memory) * 1000 / u128::from(sample.budget);
    // Three quarters go on the way from 0 to 100.
    let over = permille.clamp(700, 800) - 700;
    let given_back = u128::from(max) * 3 * over / 400;
    max.saturating_sub(u64::try_from(given_back).unwrap_or(u64::MAX))
}

/// What a subscriber that keeps up may have waiting at any time, in bytes: a second of 16 Mbit/s, or one key frame.
pub const HEALTHY: u64 = 2 << 20;
/// What a peer is told whose request begins something that there is no room for just now. A level can have ended in that
/// time. MOQT-14 has no code for it, and no field for a time.
pub const OVERLOADED: &str = "the relay is overloaded, try again in 5 s or elsewhere";
/// How long more than that must wait before a subscriber counts as slow, when the slow are shed.
pub const SLOW_AFTER: Duration = Duration::from_secs(2);
/// Late samples that lag must have, whatever time they take: two could be two pauses of the machine.
const LATE_SAMPLES: u32 = 4;
/// No bound is halved more often.
const MAX_HALVINGS: u32 = 32;

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
