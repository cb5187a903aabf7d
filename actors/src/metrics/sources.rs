//! Where the numbers of a relay are read.

use super::Tallies;
use crate::limits::{Prefixes, Pressure};
use crate::track::Budget;
use crate::watchdog::Board;
use prometheus_client::collector::Collector;
use std::sync::Arc;
use std::time::SystemTime;

/// What can be read from any thread, and who else has numbers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What the shards count.
    pub tallies: Tallies,
    /// What peers have by address prefix, and were refused.
    pub prefixes: Arc<Prefixes>,
    /// The load of the process.
    pub pressure: Arc<Pressure>,
    /// The cache.
    pub budget: Arc<Budget>,
    /// Where the threads beat.
    pub board: Board,
    /// When the relay was started.
    pub started: SystemTime,
    /// Parts that bring families of their own, such as links to other relays with their round trips. They are asked on
    /// the admin port's thread and answer from what they keep there for it, without waiting.
    pub more: Vec<Arc<dyn Collector>>,
}
