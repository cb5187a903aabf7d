//! Several publishers of one track, a relay that makes one track of them, and some subscribers, over many seeds.
//!
//! The seed alone decides what happens. A failure names the command that replays it; `LAPS_SEEDS=n` runs more seeds
//! or fewer.

#[cfg(test)]
#[path = "sim/common.rs"]
#[allow(dead_code, reason = "shared with the scenarios of two sessions")]
mod common;
#[cfg(test)]
#[path = "sim/publishers/mod.rs"]
#[expect(clippy::wildcard_enum_match_arm, reason = "each sabotage concerns one place")]
mod publishers;

#[cfg(test)]
mod publishers_tests {
    use crate::common::seeds;
    use crate::publishers::{Sabotage, World};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// Seeds that a breach of a rule may take to show.
    const ENOUGH: u64 = 400;

    /// D14-PUB-1 D14-MAL-2 D14-MAL-3 D14-CACHE-2 D14-CACHE-6 D14-CLOSE-1 D14-CLOSE-3 D14-CLOSE-5 D14-SUB-6
    ///
    /// Each object once, whoever brings it how often; nothing lost that one publisher delivered; FIN only when somebody
    /// finished the subgroup and nothing of it is missing; who disagrees is found out.
    #[test]
    fn several_publishers_make_one_track() {
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
    fn a_merge_that_breaks_a_rule_is_found_out() {
        use Sabotage::*;
        for sabotage in [
            NoMerge,
            OnlyFirst,
            LosesAll,
            Forgets,
            Shifts,
            FinForReset,
            Repeats,
            OneKey,
            Deaf,
            Unbounded,
            Sleeps,
            FeedsReplicasRaw,
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
    fn a_seed_of_several_publishers_repeats() {
        for seed in [0, 7, 1 << 40] {
            let run = || World::new(seed, Sabotage::None, true).run().ok();
            assert_eq!(run(), run(), "{seed}");
        }
    }
}
