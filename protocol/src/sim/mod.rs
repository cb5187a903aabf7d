//! Simulated peers: seeds, virtual time, a wire that cuts, delays, loses and reorders. For tests here and in other
//! crates.

mod link;
mod rng;
mod session_pair;
mod weather;

pub use link::{Delivery, Link, StreamId};
pub use rng::Rng;
pub use session_pair::{SessionPair, other};
pub use weather::Weather;
