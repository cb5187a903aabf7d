//! Two sessions on a simulated wire, each scenario over many seeds.
//!
//! A failure names its seed; `LAPS_SEED=n` replays that one alone.

#[cfg(test)]
#[path = "sim/chaos.rs"]
mod chaos;
#[cfg(test)]
#[path = "sim/common.rs"]
mod common;
#[cfg(test)]
#[path = "sim/scenarios.rs"]
mod scenarios;
