//! What a relay tells of itself at each SIGUSR2: how full its tables are, and what memory and descriptors it holds.

use crate::memory::Held;
use laps_actors::census::Census;
use laps_actors::root::RootHandle;
use serde_json::{Map, Value, json};
use slog::{Logger, info, warn};
use std::io::Write;
use std::time::Duration;
use tokio::signal::unix::Signal;

/// How long a part of the relay may take to answer; one that is stuck is named instead.
const DEADLINE: Duration = Duration::from_secs(2);

/// Answers each signal, one after the other, with one line on standard output and one in the log.
pub(super) async fn answer(mut signal: Signal, relay: RootHandle, log: Logger) {
    while signal.recv().await.is_some() {
        let Ok(census) = relay.census(DEADLINE).await else {
            warn!(log, "no census: the relay is ending or busy");
            continue;
        };
        let held = Held::by_this_process().unwrap_or_default();
        info!(log, "census by SIGUSR2"; "tables" => %census, "rss_bytes" => held.rss_bytes,
            "pss_bytes" => held.pss_bytes, "descriptors" => held.descriptors);
        let mut out = std::io::stdout().lock();
        // A closed standard output is nobody's loss: the log has it too.
        drop(writeln!(out, "census {}", line(&census, held)));
        drop(out.flush());
    }
}

/// All of it as one line of JSON.
fn line(census: &Census, held: Held) -> Value {
    let mut tables = Map::new();
    for row in &census.rows {
        tables.insert(row.table.clone(), row.count.into());
    }
    json!({ "tables": tables, "silent": census.silent, "held": held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_actors::census::Row;

    #[test]
    fn the_line_has_every_table_and_who_was_silent() {
        let census = Census {
            rows: vec![Row {
                table: "registry.tracks".to_owned(),
                count: 0,
            }],
            silent: vec!["shard-1".to_owned()],
        };
        let held = Held {
            rss_bytes: 3,
            pss_bytes: 2,
            descriptors: 1,
        };
        let expected = json!({
            "tables": { "registry.tracks": 0 },
            "silent": ["shard-1"],
            "held": { "rss_bytes": 3, "pss_bytes": 2, "descriptors": 1 },
        });
        assert_eq!(line(&census, held), expected);
    }
}
