//! A relay between one publisher and some subscribers on a simulated network, over many seeds.
//!
//! The seed alone decides what happens. A failure names the command that replays it; `LAPS_SEEDS=n` runs more seeds
//! or fewer.

#[cfg(test)]
#[path = "sim/common.rs"]
#[allow(dead_code, reason = "shared with the scenarios of two sessions")]
mod common;
#[cfg(test)]
#[path = "sim/relay/mod.rs"]
#[expect(clippy::wildcard_enum_match_arm, reason = "each peer hears what concerns it")]
mod relay;

#[cfg(test)]
mod tests {
    use crate::common::seeds;
    use crate::relay::{Sabotage, World};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// Seeds that a breach of a rule may take to show.
    const ENOUGH: u64 = 400;

    /// D14-CLOSE-1 D14-CLOSE-2 D14-CLOSE-3 D14-CLOSE-5 D14-CLOSE-7 D14-SUB-2 D14-SUB-5 D14-SUB-6 D14-SUB-17 D14-SUB-18
    /// D14-SUB-19 D14-SUB-20 D14-SUB-21 D14-SUB-30 D14-TO-1 D14-TO-2 D14-DATA-16 D14-DATA-20 D14-DATA-21 D14-PUB-1 D14-MAL-2 D14-CACHE-6
    ///
    /// D14-FETCH-1 D14-FETCH-4 D14-FETCH-5 D14-FETCH-6 D14-FETCH-7 D14-FETCH-8 D14-FETCH-9 D14-FETCH-12 D14-FETCH-15
    /// D14-FETCH-16 D14-FETCH-18 D14-FETCH-20 D14-CACHE-1 D14-CACHE-7
    ///
    /// No object lost that was not reset, none duplicated, none outside the range or after the end of the track; and of
    /// the past everything or an error, in order and once, joined to what follows.
    #[test]
    fn objects_come_once_or_their_stream_is_reset() {
        let total = RefCell::new(BTreeMap::<&'static str, u64>::new());
        seeds(1000, |seed| {
            let traced = std::env::var_os("LAPS_TRACE").is_some();
            match World::new(seed, Sabotage::None, traced).run() {
                Ok(summary) => {
                    summary.trace.iter().for_each(|line| eprintln!("{line}"));
                    let mut total = total.borrow_mut();
                    for (what, n) in summary.counts {
                        *total.entry(what).or_insert(0) += n;
                    }
                }
                Err((fault, trace)) => {
                    trace.iter().for_each(|line| eprintln!("{line}"));
                    panic!("{fault}");
                }
            }
        });
        let total = total.into_inner();
        eprintln!("{total:?}");
        // Runs in which nothing happens would prove nothing.
        let alone = std::env::var_os("LAPS_SEED").is_some() || std::env::var_os("LAPS_SEEDS").is_some();
        let rare: Vec<_> = total.iter().filter(|(_, n)| **n < 10).collect();
        assert!(rare.is_empty() || alone, "hardly ever happened: {rare:?}");
    }

    /// The simulation is able to fail.
    #[test]
    fn a_relay_that_breaks_a_rule_is_found_out() {
        use Sabotage::*;
        for sabotage in [
            FinForReset,
            FinForLost,
            Repeats,
            Unfiltered,
            Replays,
            Skips,
            EarlyDone,
            Miscounts,
            PassesOver,
            Late,
            FetchFinForFailure,
            FetchResetIsFin,
            FetchGapNotAsked,
            FetchFillOff,
            FetchEndOff,
            FetchOverlaps,
            FetchCancelIgnored,
            FetchWrongOrder,
            FetchSkips,
            FetchRepeats,
            FetchNeverOk,
            FetchUnbounded,
        ] {
            let found = (0..ENOUGH).find_map(|seed| {
                let (fault, _) = World::new(seed, sabotage, false).run().err()?;
                Some((seed, fault))
            });
            let (seed, fault) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found out"));
            eprintln!("{sabotage:?}: seed {seed}: {fault}");
        }
    }

    #[test]
    fn a_seed_repeats() {
        for seed in [0, 7, 1 << 40] {
            let run = || World::new(seed, Sabotage::None, true).run().ok();
            assert_eq!(run(), run(), "{seed}");
        }
    }
}
