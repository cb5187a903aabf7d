//! What priorities are worth: an urgent track beside bulk, to one subscriber behind a link that is too small for both.
//!
//! ```text
//!  priority ─spawns in the near namespace─▶ relay [--arrival], feed ══ slow link ══▶ watch in the far namespace
//! ```
//!
//! The naive relay is the same build with the same transport settings; only the scheduler is not asked.

mod feed;
mod options;
mod watch;

pub(crate) use feed::feed;
pub(crate) use options::{Options, run};
pub(crate) use watch::watch;

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use structopt::StructOpt;

/// What is sent.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Work {
    /// Bytes of one urgent object, which is a group and a stream of its own
    #[structopt(long, default_value = "20000")]
    urgent: usize,
    /// Milliseconds from one urgent object to the next
    #[structopt(long, default_value = "33")]
    every_ms: u64,
    /// Bulk tracks, each one long stream
    #[structopt(long, default_value = "12")]
    bulk: usize,
    /// Megabits per second that are published of all bulk together: more than is left of the link
    #[structopt(long, default_value = "16")]
    bulk_mbit: f64,
    /// Seconds that are measured
    #[structopt(long, default_value = "10")]
    seconds: f64,
    /// Seconds before that
    #[structopt(long, default_value = "4")]
    warmup: f64,
}

impl Work {
    fn args(&self) -> Vec<String> {
        [
            ("--urgent", self.urgent.to_string()),
            ("--every-ms", self.every_ms.to_string()),
            ("--bulk", self.bulk.to_string()),
            ("--bulk-mbit", self.bulk_mbit.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--warmup", self.warmup.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

/// The track that is urgent.
const URGENT: &str = "urgent";
/// Subscriber priorities.
const URGENT_PRIORITY: u8 = 10;
const BULK_PRIORITY: u8 = 200;

/// One of the others.
fn bulk_name(number: usize) -> String {
    format!("bulk-{number}")
}

/// Nanoseconds of a clock that all processes of the machine share.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
}
