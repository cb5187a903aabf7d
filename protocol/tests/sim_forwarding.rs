//! Meshes of relays that forward by node set, over many seeds.
//!
//! The seed alone decides what happens. A failure names the command that replays it; `LAPS_SEEDS=n` runs more seeds
//! or fewer.

#[cfg(test)]
#[path = "sim/common.rs"]
#[allow(dead_code, reason = "shared with the scenarios of two sessions")]
mod common;
#[cfg(test)]
#[path = "sim/forwarding/mod.rs"]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each sabotage concerns one place, each shape has one peculiarity, and what is not expected is a fault"
)]
mod forwarding;

#[cfg(test)]
mod forwarding_tests {
    use crate::common::seeds;
    use crate::forwarding::{Plan, Sabotage, Shape, Verdict, World};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// Seeds that a breach of a rule may take to show.
    const ENOUGH: u64 = 400;

    /// Issue 6: chain, ring, diamond, star, full mesh: every stream once at every edge that wants it, whatever the
    /// order in which sets and data arrive; nothing lost by a planned change; after a death all is as if it had been so
    /// from the begin; nothing left over.
    #[test]
    fn every_edge_gets_every_stream_once() {
        let total = RefCell::new(BTreeMap::<&'static str, u64>::new());
        seeds(1000, |seed| {
            match World::new(Plan::of(seed), Sabotage::None).run() {
                Ok(verdict) => {
                    for (what, n) in verdict.counts {
                        *total.borrow_mut().entry(what).or_default() += n;
                    }
                }
                Err(fault) => panic!("{fault}"),
            }
        });
        let total = total.into_inner();
        eprintln!("{total:?}");
        // Runs in which nothing happens would prove nothing.
        let alone = std::env::var_os("LAPS_SEED").is_some() || std::env::var_os("LAPS_SEEDS").is_some();
        for what in [
            "once",
            "moved",
            "died",
            "parked",
            "joined",
            "left",
            "paused",
            "laps",
            "priorities",
        ] {
            assert!(
                alone || total.get(what).copied().unwrap_or_default() > 50,
                "{what} is rare"
            );
        }
    }

    /// The simulation is able to fail.
    #[test]
    fn a_relay_that_breaks_a_rule_is_found_out() {
        use Sabotage::*;
        for sabotage in [
            NoPark,
            NoGrace,
            NoOverlap,
            LosesRoutes,
            KeepsSets,
            SendsTwice,
            LapsUnasked,
        ] {
            let found = (0..ENOUGH).find_map(|seed| {
                let fault = World::new(Plan::of(seed), sabotage).run().err()?;
                Some((seed, fault))
            });
            let (seed, fault) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found out"));
            eprintln!("{sabotage:?}: seed {seed}: {fault}");
        }
    }

    #[test]
    fn a_seed_of_a_mesh_repeats() {
        for seed in [0, 7, 1 << 40] {
            let run = || World::new(Plan::of(seed), Sabotage::None).run().ok();
            assert_eq!(run(), run(), "{seed}");
        }
    }

    /// Issue 6, shown by 2: one origin, one Via, four edges: the origin sends each byte once and the Via four times,
    /// and what the Via knows does not grow with the subscriptions.
    #[test]
    fn a_via_multiplies_and_knows_nothing_of_subscriptions() {
        let run = |seed, subscribers| -> Verdict {
            let plan = Plan::quiet(seed, Shape::Star { edges: 4 }, subscribers);
            World::new(plan, Sabotage::None).run().unwrap()
        };
        for seed in 0..20 {
            let verdict = run(seed, 1);
            let published = verdict.counts["published bytes"];
            assert!(published > 10_000);
            // Origin and Via are the first two.
            assert_eq!((verdict.sent[0], verdict.sent[1]), (published, 4 * published));
            assert_eq!(verdict.sent[2..], [0; 4]);
            let tenfold = run(seed, 10);
            assert_eq!(verdict.most_sets, tenfold.most_sets);
            // One for each track, and each told with one message.
            assert_eq!(verdict.most_sets[1], 2);
            assert_eq!(verdict.told, tenfold.told);
            assert_eq!(verdict.told[0], 2);
        }
    }

    /// Issue 6: a stub costs one stream a subgroup from its edge, and nobody else names it.
    #[test]
    fn a_stub_costs_one_stream() {
        for seed in 0..20 {
            let plan = Plan::quiet(seed, Shape::Stubs, 50);
            let verdict = World::new(plan, Sabotage::None).run().unwrap();
            let streams = verdict.counts["published streams"];
            // Origin, Via, edge, and two stubs behind the edge.
            assert_eq!(verdict.streams, [streams, streams, 2 * streams, 0, 0]);
        }
    }
}
