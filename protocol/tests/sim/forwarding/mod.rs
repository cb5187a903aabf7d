//! A mesh of relays, each made of `NodeSets` and one `Ingress` for each link, on wires that delay, cut and reorder.

mod plan;
mod relay;
mod truth;
mod world;

pub(crate) use plan::{Plan, Shape};
pub(crate) use truth::Verdict;
pub(crate) use world::World;

/// A relay that breaks a rule on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// Data before its set is dropped.
    NoPark,
    /// Who is reached otherwise is out of the old set at once.
    NoGrace,
    /// New streams leave the old link at once.
    NoOverlap,
    /// A changed route does not reach the data plane.
    LosesRoutes,
    /// Withdrawn sets stay.
    KeepsSets,
    /// A target gets its stream twice.
    SendsTwice,
    /// Laps relays get data before they have read the set.
    LapsUnasked,
}
