//! The clock, and what happens next.

use super::listener::Listener;
use super::plan::{Plan, Whim};
use super::relay::Relay;
use super::source::Source;
use super::truth::{Arrivals, Tick};
use super::verdict;
use crate::common::base;
use laps_protocol::sim::{Link, Rng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A rule that the relay of a run breaks on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Puts all streams into the log as they come.
    NoMerge,
    /// Takes in the first publisher only.
    OnlyFirst,
    /// When a publisher is lost, gives up what the others were bringing too.
    LosesAll,
    /// Does not hear that a publisher is lost.
    Forgets,
    /// Is a byte off where another publisher goes on.
    Shifts,
    /// Takes a stream that was reset between two objects for one that was finished.
    FinForReset,
    /// Hands on what is known already.
    Repeats,
    /// Takes all publishers for one.
    OneKey,
    /// Goes on when publishers disagree.
    Deaf,
    /// Lets wait whatever there is.
    Unbounded,
    /// Does not look after what waits.
    Sleeps,
    /// Feeds replicas with what publishers bring, and not with what the merge made of it.
    FeedsReplicasRaw,
}

/// Something that happens by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Begin(usize),
    Write(usize),
    Die(usize),
    Notice(usize),
    Housekeeping,
    Replica(usize),
    Whim(usize, Whim),
    Look(usize),
    Drain(usize),
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) sabotage: Sabotage,
    pub(crate) now: Instant,
    base: Instant,
    pub(crate) rng: Rng,
    pub(crate) tick: Tick,
    pub(crate) sources: Vec<Source>,
    pub(crate) relay: Relay,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) arrivals: Arrivals,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_timer: u64,
    fault: Option<String>,
    trace: Option<Vec<String>>,
}

/// What a run was like, to see that the runs together do what they should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) trace: Vec<String>,
}

/// Far more than the longest run takes.
const MAX_STEPS: u64 = 100_000;

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, trace: bool) -> Self {
        let plan = Plan::new(seed);
        let base = base();
        let mut rng = Rng::new(seed ^ 0x5eed);
        let sources = (0..plan.lives.len())
            .map(|life| Source::new(&plan, life, rng.next()))
            .collect();
        let listeners = plan.listeners.iter().map(|listener| {
            let (window, streams) = (listener.window, listener.max_streams);
            Listener::new(Link::new(rng.next(), listener.weather, window, streams))
        });
        let mut world = Self {
            listeners: listeners.collect(),
            relay: Relay::new(&plan, sabotage),
            sources,
            plan,
            sabotage,
            now: base,
            base,
            rng,
            tick: 0,
            arrivals: Arrivals::default(),
            timers: BTreeMap::new(),
            next_timer: 0,
            fault: None,
            trace: trace.then(Vec::new),
        };
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        let ms = Duration::from_millis;
        self.after(ms(100), Timer::Housekeeping);
        for (number, listener) in self.plan.listeners.clone().into_iter().enumerate() {
            for (at, whim) in listener.whims {
                self.after(ms(at), Timer::Whim(number, whim));
            }
        }
        for (number, at) in self.plan.replicas.clone().into_iter().enumerate() {
            self.after(ms(at), Timer::Replica(number));
        }
        for life in 0..self.plan.lives.len() {
            let (begins, dies) = (self.plan.lives[life].begins_ms, self.plan.lives[life].dies_ms);
            self.after(ms(begins), Timer::Begin(life));
            if let Some(dies) = dies {
                self.after(ms(dies), Timer::Die(life));
            }
        }
    }

    /// Runs to the end, and says what was wrong.
    pub(crate) fn run(mut self) -> Result<Summary, (String, Vec<String>)> {
        let mut steps = 0;
        while self.fault.is_none() && self.step() {
            steps += 1;
            if steps > MAX_STEPS {
                self.fail("it does not end".into());
            }
        }
        if self.fault.is_none() {
            verdict::judge(&mut self);
        }
        let mut counts = verdict::count(&self);
        counts.insert("steps", steps);
        let trace = self.trace.unwrap_or_default();
        match self.fault {
            Some(fault) => Err((fault, trace)),
            None => Ok(Summary { counts, trace }),
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.note(|| format!("FAULT: {why}"));
        self.fault.get_or_insert(why);
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let us = self.now.saturating_duration_since(self.base).as_micros();
            trace.push(format!("{:>9}.{:03} {}", us / 1000, us % 1000, what()));
        }
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.now.saturating_duration_since(self.base).as_millis()).unwrap()
    }

    pub(crate) fn after(&mut self, wait: Duration, timer: Timer) {
        self.timers.insert((self.now + wait, self.next_timer), timer);
        self.next_timer += 1;
    }

    /// Lets the next thing happen; false when nothing is left.
    fn step(&mut self) -> bool {
        enum Next {
            Timer,
            Merge,
            Up(usize),
            Down(usize),
        }
        let mut all: Vec<(Instant, Next)> = Vec::new();
        let up = self.sources.iter().enumerate();
        all.extend(up.filter_map(|(life, source)| Some((source.link.due()?, Next::Up(life)))));
        let down = self.listeners.iter().enumerate();
        all.extend(down.filter_map(|(me, listener)| Some((listener.link.due()?, Next::Down(me)))));
        let busy = !all.is_empty() || self.timers.values().any(|timer| *timer != Timer::Housekeeping);
        if busy {
            all.extend(self.timers.keys().next().map(|(at, _)| (*at, Next::Timer)));
        }
        if !self.relay.is_over && !matches!(self.sabotage, Sabotage::NoMerge | Sabotage::Sleeps) {
            all.extend(self.relay.merge.poll_timeout().map(|at| (at, Next::Merge)));
        }
        let Some((at, next)) = all.into_iter().min_by_key(|(at, _)| *at) else {
            return false;
        };
        self.now = self.now.max(at);
        let now = self.now;
        match next {
            Next::Timer => {
                if let Some((_, timer)) = self.timers.pop_first() {
                    self.fire(timer);
                }
            }
            Next::Merge => self.merge_timeout(),
            Next::Up(life) => {
                while let Some(delivery) = self.sources[life].link.poll(now) {
                    self.arrive(life, delivery);
                }
            }
            Next::Down(me) => {
                while let Some(delivery) = self.listeners[me].link.poll(now) {
                    self.deliver(me, delivery);
                }
            }
        }
        true
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Begin(life) if !self.relay.is_over => self.begin_life(life),
            Timer::Begin(_) => {}
            Timer::Write(life) => self.write(life),
            Timer::Die(life) => self.die(life),
            Timer::Notice(life) => self.lose(life),
            Timer::Housekeeping => {
                let now = self.now;
                self.relay.log.evict(now);
                for mirror in self.relay.replicas.iter_mut().flatten() {
                    mirror.log.evict(now);
                }
                self.after(Duration::from_millis(100), Timer::Housekeeping);
            }
            Timer::Replica(number) => self.add_replica(number),
            Timer::Whim(me, whim) => self.follow_whim(me, whim),
            Timer::Look(me) => self.look_all(me),
            Timer::Drain(me) => self.drain_over(me),
        }
    }
}
