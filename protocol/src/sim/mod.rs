//! Simulated peers: seeds, virtual time, a wire that cuts and delays. For tests here and in other crates.

mod rng;
mod session_pair;

pub use rng::Rng;
pub use session_pair::{SessionPair, other};
