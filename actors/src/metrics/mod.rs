//! What a relay counts for its operator, and where (decision 0032).
//!
//! ```text
//! [shard] stream task, writer, subscription ──▶ tally::count ──▶ Tally of this thread    one writer, relaxed atomics
//! [any]   ChildGuard, supervisors           ──▶ restarts     ──▶ a count for each kind   rare, so one for the process
//! ```
//!
//! Nothing that carries objects is shared between shards, waits, or allocates for the sake of a number.

pub mod restarts;
pub mod tally;

pub use tally::{Count, Tallies, Tally};
