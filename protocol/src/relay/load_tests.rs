//! Levels of load, by table and by property.

#![expect(clippy::disallowed_methods, reason = "a base of virtual time")]

use super::*;
use Level::{NoNewConnections as NoConn, NoNewRequests as NoReq, Normal, ShedSlow as Shed};
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(250);

const fn memory(percent: u64) -> Sample {
    Sample {
        lag: Duration::ZERO,
        memory: percent * 10_000,
        budget: 1_000_000,
    }
}

const fn late(ms: u64) -> Sample {
    Sample {
        lag: Duration::from_millis(ms),
        memory: 0,
        budget: 0,
    }
}

struct Bench {
    load: Load,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            load: Load::new(Terms::default()),
            now: Instant::now(),
        }
    }

    fn see(&mut self, sample: Sample) -> Level {
        self.now += TICK;
        self.load.observe(self.now, sample)
    }

    fn see_for(&mut self, span: Duration, sample: Sample) -> Level {
        let until = self.now + span;
        while self.now < until {
            self.see(sample);
        }
        self.load.level()
    }
}

/// D14-LIM-4: what there is too much of is answered at once, at the level it asks for.
#[test]
fn memory_leads_up_at_once() {
    for (percent, level) in [
        (0, Normal),
        (79, Normal),
        (80, NoConn),
        (87, NoConn),
        (88, NoReq),
        (94, NoReq),
        (95, Shed),
        (500, Shed),
    ] {
        assert_eq!(Bench::new().see(memory(percent)), level, "{percent} %");
    }
    let unknown = Sample {
        budget: 0,
        ..memory(100)
    };
    assert_eq!(Bench::new().see(unknown), Normal, "nobody knows what is much");
}

#[test]
fn the_way_down_is_one_step_after_each_calm() {
    let mut bench = Bench::new();
    assert_eq!(bench.see(memory(99)), Shed);
    let calm = Terms::default().calm;
    // The first sample begins the calm.
    for level in [NoReq, NoConn, Normal] {
        let before = bench.load.level();
        assert_eq!(bench.see_for(calm - TICK, memory(10)), before);
        bench.see(memory(10));
        assert_eq!(bench.see(memory(10)), level);
        bench.now -= TICK;
    }
    assert_eq!(bench.see_for(calm * 3, memory(10)), Normal);
}

#[test]
fn between_the_thresholds_nothing_changes() {
    for (level, up, between) in [(NoConn, 80, 76), (NoReq, 88, 84), (Shed, 95, 91)] {
        let mut bench = Bench::new();
        assert_eq!(bench.see(memory(up)), level);
        assert_eq!(bench.see_for(Duration::from_secs(60), memory(between)), level);
        let mut below = Bench::new();
        assert_eq!(
            below.see_for(Duration::from_secs(60), memory(between)),
            level.below()
        );
    }
}

#[test]
fn what_comes_back_in_between_begins_the_calm_anew() {
    let mut bench = Bench::new();
    bench.see(memory(80));
    let almost = Terms::default().calm - TICK;
    for _ in 0..5 {
        assert_eq!(bench.see_for(almost, memory(10)), NoConn);
        assert_eq!(bench.see(memory(76)), NoConn);
    }
}

#[test]
fn lag_counts_when_it_lasts() {
    for (ms, level) in [
        (99, Normal),
        (100, NoConn),
        (299, NoConn),
        (300, NoReq),
        (60_000, NoReq),
    ] {
        let mut bench = Bench::new();
        let lasting = Terms::default().late_for;
        assert_eq!(bench.see_for(lasting - TICK, late(ms)), Normal);
        assert_eq!(bench.see_for(TICK * 2, late(ms)), level, "{ms} ms");
        assert_eq!(bench.see_for(Duration::from_secs(60), late(0)), Normal);
    }
}

/// A process that was stopped for a minute, or a machine that slept, sheds nobody and refuses nobody.
#[test]
fn one_pause_is_no_load() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.now += Duration::from_secs(60);
        assert_eq!(bench.see(late(60_000)), Normal);
        assert_eq!(bench.see(late(0)), Normal);
    }
    // Three in a row are three pauses.
    for _ in 0..3 {
        bench.now += Duration::from_secs(60);
        assert_eq!(bench.see(late(60_000)), Normal);
    }
    assert_eq!(bench.see(late(20)), Normal);
}

/// D14-LIM-7: the farthest behind go first, and never who is no more behind than everybody is at times.
#[test]
fn the_bound_of_the_slow_is_halved_again_and_again() {
    let mut bench = Bench::new();
    bench.see(memory(94));
    assert_eq!(bench.load.halvings(bench.now), 0);
    bench.see(memory(95));
    let bounds: Vec<_> = (0..6)
        .map(|n| {
            let now = bench.now + Terms::default().halving * n;
            max_behind(16 << 20, bench.load.halvings(now)) >> 20
        })
        .collect();
    assert_eq!(bounds, [8, 4, 2, 2, 2, 2]);
    assert_eq!(
        max_behind(1 << 20, 30),
        1 << 20,
        "a bound below that is left alone"
    );
    assert_eq!(max_behind(u64::MAX, 0), u64::MAX);
    assert_eq!(max_behind(u64::MAX, 400), HEALTHY);
    // What was reached is kept while it lasts, and begins anew with the next time.
    let later = bench.now + Duration::from_secs(10);
    bench.load.observe(later, memory(95));
    assert_eq!(bench.load.halvings(later), 11);
    bench.now = later;
    bench.see_for(Duration::from_secs(6), memory(10));
    assert_eq!(bench.load.halvings(bench.now), 0);
    bench.see(memory(95));
    assert_eq!(bench.load.halvings(bench.now), 1);
    let far = bench.now + Duration::from_hours(10_000);
    assert_eq!(bench.load.halvings(far), MAX_HALVINGS);
}

/// D14-CACHE-6: before anybody is refused.
#[test]
fn the_cache_gives_back_first() {
    let limit = |percent| cache_limit(400_000, &memory(percent));
    assert_eq!((limit(0), limit(70)), (400_000, 400_000));
    assert_eq!(limit(75), 250_000);
    assert_eq!((limit(80), limit(200)), (100_000, 100_000));
    assert_eq!(
        cache_limit(900_000, &memory(0)),
        500_000,
        "half of the budget at most"
    );
    assert_eq!(cache_limit(900_000, &late(0)), 900_000, "no budget is known");
    let all = Sample {
        memory: u64::MAX,
        budget: u64::MAX,
        ..late(0)
    };
    assert_eq!(cache_limit(u64::MAX, &all), 1 << 61);
}

fn sample() -> impl Strategy<Value = Sample> {
    let lag = prop_oneof![Just(0), 0u64..600, Just(90_000)];
    (lag, 0u64..120).prop_map(|(ms, percent)| Sample {
        lag: Duration::from_millis(ms),
        ..memory(percent)
    })
}

proptest! {
    /// Whatever is seen: up only when something asks for it, down by one step after a calm, so two steps down are never
    /// nearer than that; and lag never sheds.
    #[test]
    fn levels_do_not_flap(samples in prop::collection::vec((sample(), 1u64..2000), 1..200)) {
        let terms = Terms::default();
        let (mut load, mut now) = (Load::new(terms), Instant::now());
        let mut changed = None;
        for (sample, ms) in samples {
            now += Duration::from_millis(ms);
            let before = load.level();
            let after = load.observe(now, sample);
            if after > before {
                let by_memory = after.memory().is_some_and(|(up, _)| sample.has(up));
                let by_lag = after.lag().is_some_and(|(up, _)| sample.lag >= up);
                prop_assert!(by_memory || by_lag);
                prop_assert!(after < Shed || by_memory);
            } else if after < before {
                prop_assert_eq!(after, before.below());
                prop_assert!(!sample.keeps(before));
                prop_assert!(changed.is_none_or(|at| now - at >= terms.calm));
            }
            if after != before {
                changed = Some(now);
            }
            prop_assert_eq!(load.halvings(now) > 0, after == Shed);
        }
    }

    /// More memory never leads to a lower level.
    #[test]
    fn more_memory_is_no_less_load(run in prop::collection::vec((0u64..120, 0u64..20), 1..200)) {
        let (mut less, mut more) = (Bench::new(), Bench::new());
        for (percent, extra) in run {
            let (one, other) = (less.see(memory(percent)), more.see(memory(percent + extra)));
            prop_assert!(one <= other);
        }
    }

    /// Late samples one at a time, however late, change nothing.
    #[test]
    fn pauses_are_no_load(pauses in prop::collection::vec(0u64..100_000, 1..100)) {
        let mut bench = Bench::new();
        for pause in pauses {
            bench.now += Duration::from_millis(pause);
            prop_assert_eq!(bench.see(late(pause)), Normal);
            prop_assert_eq!(bench.see(late(0)), Normal);
        }
    }

    /// The cache's share falls with memory, and by no more than three quarters.
    #[test]
    fn the_cache_never_gives_back_all(max in 0u64..1 << 40, percent in 0u64..300, more in 0u64..100) {
        let (limit, lower) = (cache_limit(max, &memory(percent)), cache_limit(max, &memory(percent + more)));
        prop_assert!(lower <= limit && limit <= max);
        prop_assert!(lower >= max.min(500_000) / 4);
    }
}
