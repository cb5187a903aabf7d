//! How loaded the process and each of its shards are, for whoever must refuse something for that.
//!
//! ```text
//! [each shard] its timer ──▶ Strain.observe ──▶ lag: a machine of its own        atomics: Door, SessionActor,
//!                                           ──▶ memory: the one of the process   SubscriptionActor read the level
//! ```
//!
//! A shard that cannot keep up refuses newcomers of its own; memory is everybody's. Decision 0023.

use super::memory;
use super::seldom::Seldom;
use laps_protocol::relay::load::{self, Level, Load, Sample, Terms};
use slog::{Logger, debug, info, warn};
use std::fmt;
#[expect(
    clippy::disallowed_types,
    reason = "whichever shard comes first feeds the machine of the process; nobody waits for it"
)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, TryLockError};
use std::time::{Duration, Instant};

/// How often each shard looks.
pub const EVERY: Duration = Duration::from_millis(250);

/// Takes samples, for a timer that was late by so much.
#[derive(Clone)]
pub struct Gauge(Arc<dyn Fn(Duration) -> Sample + Send + Sync>);

impl Gauge {
    /// What the system tells of this process. `budget` is what it may use, in bytes; 0 is [`memory::share`].
    #[must_use]
    pub fn system(budget: u64) -> Self {
        let budget = if budget == 0 { memory::share() } else { budget };
        Self::given(move |lag| {
            let used = memory::used();
            Sample {
                lag,
                memory: used.unwrap_or(0),
                budget: used.map_or(0, |_| budget),
            }
        })
    }

    /// What somebody says.
    #[must_use]
    pub fn given(sample: impl Fn(Duration) -> Sample + Send + Sync + 'static) -> Self {
        Self(Arc::new(sample))
    }
}

impl Default for Gauge {
    /// Nothing is measured.
    fn default() -> Self {
        Self::given(|_| Sample::default())
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

/// The load of a process. One for all its shards.
#[derive(Debug)]
pub struct Pressure {
    gauge: Gauge,
    terms: Terms,
    #[expect(clippy::disallowed_types, reason = "see where it is imported")]
    memory: Mutex<Load>,
    level: AtomicU8,
    halvings: AtomicU32,
    refused_connections: AtomicU64,
    refused_requests: AtomicU64,
    shed: AtomicU64,
    warnings: Seldom,
}

impl Pressure {
    /// A process that is not loaded.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "see where it is imported")]
    pub fn new(gauge: Gauge, terms: Terms) -> Self {
        Self {
            gauge,
            terms,
            memory: Mutex::new(Load::new(terms)),
            level: AtomicU8::default(),
            halvings: AtomicU32::default(),
            refused_connections: AtomicU64::default(),
            refused_requests: AtomicU64::default(),
            shed: AtomicU64::default(),
            warnings: Seldom::default(),
        }
    }

    /// Newcomers that were refused because of load.
    #[must_use]
    pub fn refused_connections(&self) -> u64 {
        self.refused_connections.load(Relaxed)
    }

    /// Requests that were refused because of load.
    #[must_use]
    pub fn refused_requests(&self) -> u64 {
        self.refused_requests.load(Relaxed)
    }

    /// Subscriptions that ended because of load.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.shed.load(Relaxed)
    }

    /// What the system tells now.
    #[must_use]
    pub fn sample(&self) -> Sample {
        (self.gauge.0)(Duration::ZERO)
    }

    /// What all shards refuse now, for memory; one that is late refuses more by itself.
    #[must_use]
    pub fn level(&self) -> Level {
        level(self.level.load(Relaxed))
    }

    /// What memory asks for.
    fn observe(&self, now: Instant, sample: Sample) -> Option<(Level, Level)> {
        let mut load = match self.memory.try_lock() {
            Ok(load) => load,
            // A shard failed over it. What the next sample says holds all the same, and the level must not stay for ever.
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            // Another shard is at it, and memory is the same for both.
            Err(TryLockError::WouldBlock) => return None,
        };
        let before = load.level();
        let after = load.observe(now, sample);
        self.level.store(after as u8, Relaxed);
        self.halvings.store(load.halvings(now), Relaxed);
        (after != before).then_some((before, after))
    }
}

/// The load of one shard, and of the process that it is in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Strain {
    process: Arc<Pressure>,
    lag: Arc<AtomicU8>,
}

impl Strain {
    /// A shard of this process.
    #[must_use]
    pub fn new(process: &Arc<Pressure>) -> Self {
        Self {
            process: Arc::clone(process),
            lag: Arc::default(),
        }
    }

    /// A shard that is never loaded, as a client has it.
    #[must_use]
    pub fn none() -> Self {
        Self::new(&Arc::new(Pressure::new(Gauge::default(), Terms::default())))
    }

    /// Of the process.
    #[must_use]
    pub const fn process(&self) -> &Arc<Pressure> {
        &self.process
    }

    /// What is refused here now.
    #[must_use]
    pub fn level(&self) -> Level {
        level(self.lag.load(Relaxed)).max(self.process.level())
    }

    /// Whether a newcomer is refused. Counts it then.
    #[must_use]
    pub fn refuses_connection(&self) -> bool {
        let refuses = self.level() >= Level::NoNewConnections;
        if refuses {
            self.process.refused_connections.fetch_add(1, Relaxed);
        }
        refuses
    }

    /// Whether a request that begins something is refused. Counts it then, and tells an operator of some.
    #[must_use]
    pub fn refuses_request(&self, log: &Logger) -> bool {
        let refuses = self.level() >= Level::NoNewRequests;
        if refuses {
            let refused = self.process.refused_requests.fetch_add(1, Relaxed) + 1;
            match self.process.warnings.tells() {
                Some(others) => {
                    warn!(log, "a request is refused, the relay is overloaded"; "refused" => refused,
                    "not_told_of" => others)
                }
                None => debug!(log, "a request is refused, the relay is overloaded"),
            }
        }
        refuses
    }

    /// How far behind a subscription may be for the time being that else may be `max` bytes behind; none while there
    /// is no shortage.
    #[must_use]
    pub fn max_behind(&self, max: u64) -> Option<u64> {
        let halvings = self.process.halvings.load(Relaxed);
        (halvings > 0).then(|| load::max_behind(max, halvings))
    }

    /// Counts a subscription that ended because of load.
    pub fn count_shed(&self) {
        self.process.shed.fetch_add(1, Relaxed);
    }
}

/// What a shard keeps to observe itself.
#[derive(Debug)]
pub struct Observer {
    strain: Strain,
    lag: Load,
    last: Option<tokio::time::Instant>,
}

impl Observer {
    /// Observes the shard of `strain`.
    #[must_use]
    pub fn new(strain: Strain) -> Self {
        Self {
            lag: Load::new(strain.process.terms),
            strain,
            last: None,
        }
    }

    /// A timer that fires [`EVERY`] so often did; `is_empty` when nobody is connected: what memory is still held then is
    /// held for nobody, and the next ones will use it. Says what may be kept of `cache` bytes.
    pub fn observe(&mut self, log: &Logger, is_empty: bool, cache: u64) -> u64 {
        let at = tokio::time::Instant::now();
        let due = self.last.replace(at).map_or(at, |last| last + EVERY);
        let now = at.into_std();
        let sample = (self.strain.process.gauge.0)(at.saturating_duration_since(due));
        let memory = Sample {
            lag: Duration::ZERO,
            memory: if is_empty { 0 } else { sample.memory },
            ..sample
        };
        if let Some(change) = self.strain.process.observe(now, memory) {
            tell(log, "memory", change, &sample);
        }
        let before = self.lag.level();
        let after = self.lag.observe(
            now,
            Sample {
                lag: sample.lag,
                ..Sample::default()
            },
        );
        self.strain.lag.store(after as u8, Relaxed);
        if after != before {
            tell(log, "lag", (before, after), &sample);
        }
        load::cache_limit(cache, &sample)
    }
}

/// The level that is kept as this number.
fn level(number: u8) -> Level {
    let level = Level::ALL.get(usize::from(number)).copied();
    level.unwrap_or(Level::ShedSlow)
}

/// One line for each change of a level, with the figures that led to it.
fn tell(log: &Logger, of: &'static str, (before, after): (Level, Level), sample: &Sample) {
    let (used, budget, lag) = (sample.memory >> 20, sample.budget >> 20, sample.lag.as_millis());
    if after > before {
        warn!(log, "load rises"; "of" => of, "relay" => after.words(), "memory_mb" => used, "budget_mb" => budget,
            "lag_ms" => lag);
    } else {
        info!(log, "load falls"; "of" => of, "relay" => after.words(), "memory_mb" => used, "budget_mb" => budget,
            "lag_ms" => lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    fn strain(memory: &Arc<AtomicU64>) -> Strain {
        let memory = Arc::clone(memory);
        let gauge = Gauge::given(move |lag| Sample {
            lag,
            memory: memory.load(Relaxed),
            budget: 100,
        });
        Strain::new(&Arc::new(Pressure::new(gauge, Terms::default())))
    }

    /// D14-LIM-4: memory is everybody's, and the way back takes its time.
    #[actix_rt::test]
    async fn memory_is_the_load_of_all_shards() {
        tokio::time::pause();
        let memory = Arc::new(AtomicU64::new(10));
        let here = strain(&memory);
        let there = Strain::new(here.process());
        let (mut one, mut two) = (Observer::new(here.clone()), Observer::new(there.clone()));
        assert_eq!(
            one.observe(&log(), false, 60),
            50,
            "half of the budget is for the cache"
        );
        assert!(!there.refuses_connection() && !there.refuses_request(&log()));
        memory.store(96, Relaxed);
        assert_eq!(one.observe(&log(), false, 40), 10);
        assert_eq!(there.level(), Level::ShedSlow);
        assert_eq!(here.process().level(), Level::ShedSlow);
        assert!(there.refuses_connection() && here.refuses_request(&log()));
        assert_eq!(there.max_behind(64 << 20), Some(32 << 20));
        there.count_shed();
        let process = here.process();
        let counted = (
            process.refused_connections(),
            process.refused_requests(),
            process.shed(),
        );
        assert_eq!(counted, (1, 1, 1));
        // Nobody is here whom a refusal would help.
        for _ in 0..70 {
            tokio::time::advance(EVERY).await;
            two.observe(&log(), true, 0);
        }
        assert_eq!((here.level(), here.max_behind(64)), (Level::Normal, None));
    }

    /// D14-LIM-6: a shard that is late all the time refuses newcomers and requests, sheds nobody, and no other shard
    /// does.
    #[actix_rt::test]
    async fn lag_is_the_load_of_one_shard() {
        tokio::time::pause();
        let here = strain(&Arc::default());
        let there = Strain::new(here.process());
        let (mut one, mut two) = (Observer::new(here.clone()), Observer::new(there.clone()));
        one.observe(&log(), false, 0);
        for _ in 0..5 {
            assert_eq!(here.level(), Level::Normal);
            tokio::time::advance(EVERY + Duration::from_millis(400)).await;
            one.observe(&log(), false, 0);
            two.observe(&log(), false, 0);
            two.last = None;
        }
        assert_eq!(
            (here.level(), there.level()),
            (Level::NoNewRequests, Level::Normal)
        );
        assert_eq!(
            here.process().level(),
            Level::Normal,
            "another shard takes newcomers"
        );
        assert_eq!(here.max_behind(64), None);
        for _ in 0..50 {
            tokio::time::advance(EVERY).await;
            one.observe(&log(), false, 0);
        }
        assert_eq!(here.level(), Level::Normal);
    }

    /// A shard is asked while another one is at it, and goes on.
    #[test]
    fn shards_do_not_wait_for_each_other() {
        let strain = strain(&Arc::new(AtomicU64::new(96)));
        let held = strain.process.memory.lock().unwrap();
        let ours = strain.clone();
        let other = std::thread::spawn(move || Observer::new(ours).observe(&log(), false, 0));
        assert_eq!(other.join().unwrap(), 0);
        assert_eq!(strain.level(), Level::Normal);
        drop(held);
    }

    /// A shard that fails over the level does not leave it as it is for ever.
    #[test]
    fn a_shard_that_fails_leaves_the_level_to_the_others() {
        let strain = strain(&Arc::new(AtomicU64::new(96)));
        let failing = strain.clone();
        let failed = std::thread::spawn(move || {
            let _held = failing.process.memory.lock().unwrap();
            panic!("injected");
        });
        assert!(failed.join().is_err());
        Observer::new(strain.clone()).observe(&log(), false, 0);
        assert_eq!(strain.level(), Level::ShedSlow);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_is_asked() {
        let sample = (Gauge::system(0).0)(EVERY);
        assert!(sample.lag == EVERY && sample.memory > 0 && sample.budget == memory::share());
        assert_eq!((Gauge::system(5).0)(EVERY).budget, 5);
        assert_eq!((Gauge::default().0)(EVERY), Sample::default());
    }
}
