//! What a relay counts for its operator, and where (decision 0032).
//!
//! ```text
//! [shard] stream task, writer, subscription ──▶ tally::count ──▶ Tally of this thread    one writer, relaxed atomics
//! [any]   ChildGuard, supervisors           ──▶ restarts     ──▶ a count for each kind   rare, so one for the process
//! [admin] Scrape ──▶ page::write            ──▶ Sources          read where they are
//!                ⇢⇢▶ RootActor.TakeCensus   ──▶ lengths of tables, asked with a deadline
//! ```
//!
//! Nothing that carries objects is shared between shards, waits, or allocates for the sake of a number.

mod catalog;
mod certificates;
pub mod page;
pub mod restarts;
mod sources;
pub mod tally;
#[cfg(test)]
mod tests;

pub use certificates::Certificates;
pub use prometheus_client::collector::Collector;
pub use sources::Sources;
pub use tally::{Count, Tallies, Tally};
