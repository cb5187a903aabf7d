//! Relays that exchange their information bases over simulated links, on virtual time.

mod verdict;
mod world;

pub(crate) use verdict::{hops, knowledge, spoken, verdict};
pub(crate) use world::{Wiring, World, ms, namespace, track};
