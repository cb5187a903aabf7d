//! How full every table of the process is, so that "empty after everybody left" is a thing that can be asked.
//!
//! ```text
//! [any] RootHandle.census ⇢⇢▶ RootActor.TakeCensus ⇢⇢▶ every child that counts .Count ──▶ rows of its tables
//!                                                  ──▶ live::rows: actors and streams of the process, by kind
//! ```
//!
//! The rows of a child are the lengths of its tables themselves, read on its own arbiter. What is spread over many
//! owners is counted by what lives exactly as long as its owner: a [`ChildGuard`](crate::supervise::ChildGuard) is a
//! field of each actor, and a stream guard holds each stream.

pub mod bound;
mod live;
#[cfg(test)]
mod tests;

pub use live::{Counted, Thing};

use crate::supervise::mailbox;
use actix::{Message, Recipient};
use futures::future::join_all;
use std::fmt;
use std::time::Duration;

/// How full one table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose it is and what it is: `registry.tracks`, `shard-0.connections`, `process.sessions`.
    pub table: String,
    /// Entries, or bytes where the name says so.
    pub count: u64,
}

/// How full every table was, each at its own moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All tables, those of a child together.
    pub rows: Vec<Row>,
    /// Children that count and did not answer in time, or are not up.
    pub silent: Vec<String>,
}

impl Census {
    /// True when every table is empty and every child has said so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.silent.is_empty() && self.rows.iter().all(|row| row.count == 0)
    }

    /// The tables that are not empty.
    pub fn occupied(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.count > 0)
    }

    /// What all tables with this last part of their name hold together: `connections` of all shards.
    #[must_use]
    pub fn sum(&self, table: &str) -> u64 {
        let named = |row: &&Row| row.table.rsplit('.').next() == Some(table);
        self.rows.iter().filter(named).map(|row| row.count).sum()
    }
}

/// What is not empty, or who was silent: `shard-0.connections 2, shard-1 silent`; `empty` otherwise.
impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("empty");
        }
        let mut between = "";
        for Row { table, count } in self.occupied() {
            write!(f, "{between}{table} {count}")?;
            between = ", ";
        }
        for child in &self.silent {
            write!(f, "{between}{child} silent")?;
            between = ", ";
        }
        Ok(())
    }
}

/// Root to child: how full are your tables? Answered with a name and a count for each.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(&'static str, u64)>")]
pub struct Count;

/// A count as a row has it.
#[must_use]
pub(crate) fn row<T>(table: &'static str, count: T) -> (&'static str, u64)
where
    u64: TryFrom<T>,
{
    (table, u64::try_from(count).unwrap_or(u64::MAX))
}

/// Asks all children at once; one that is not up has nobody to ask.
pub(crate) async fn gather(children: Vec<(String, Option<Recipient<Count>>)>, deadline: Duration) -> Census {
    let asked = children.into_iter().map(async |(name, counting)| {
        let rows = match counting {
            Some(counting) => mailbox::ask(&counting, Count, deadline).await.ok(),
            None => None,
        };
        (name, rows)
    });
    let mut census = Census::default();
    for (name, rows) in join_all(asked).await {
        let Some(rows) = rows else {
            census.silent.push(name);
            continue;
        };
        census.rows.extend(rows.into_iter().map(|(table, count)| Row {
            table: format!("{name}.{table}"),
            count,
        }));
    }
    census.rows.extend(live::rows());
    census
}
