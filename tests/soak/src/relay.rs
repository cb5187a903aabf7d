//! The relay that is soaked: a process of its own.

use crate::Failure;
use laps::memory::Held;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than a relay takes to answer on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running relay; killed when dropped.
pub(crate) struct Relay {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    addr: SocketAddr,
    pid: u32,
}

/// What it said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    tables: BTreeMap<String, u64>,
    silent: Vec<String>,
    pub(crate) held: Held,
}

impl Census {
    /// The tables with an entry, and the parts that did not answer.
    pub(crate) fn occupied(&self) -> Vec<String> {
        let full = self.tables.iter().filter(|(_, count)| **count > 0);
        let full = full.map(|(table, count)| format!("{table} {count}"));
        full.chain(self.silent.iter().map(|part| format!("{part} silent")))
            .collect()
    }

    /// The entries of all tables with one of these names behind the dot.
    pub(crate) fn sum(&self, names: &[&str]) -> u64 {
        let named = |table: &str| table.rsplit('.').next().is_some_and(|name| names.contains(&name));
        let counts = self.tables.iter().filter(|(table, _)| named(table));
        counts.map(|(_, count)| count).sum()
    }

    /// From the line that the relay prints.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let held = value.get("held")?;
        let number = |name| held.get(name).and_then(Value::as_u64);
        let tables = value.get("tables")?.as_object()?.iter();
        let silent = value.get("silent")?.as_array()?.iter();
        Some(Self {
            tables: tables
                .map(|(name, count)| Some((name.clone(), count.as_u64()?)))
                .collect::<Option<_>>()?,
            silent: silent
                .map(|part| part.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            held: Held {
                rss_bytes: number("rss_bytes")?,
                pss_bytes: number("pss_bytes")?,
                descriptors: number("descriptors")?,
            },
        })
    }
}

impl Relay {
    /// Starts it with these variables, and waits until it listens.
    pub(crate) async fn start(program: &Path, env: &[(&str, String)]) -> Result<Self, Failure> {
        let mut child = Command::new(program)
            .args(["relay", "--bind_ip", "127.0.0.1", "--port", "0"])
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let pid = child.id().ok_or("the relay ended at once")?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut relay = Self {
            child,
            lines: BufReader::new(out).lines(),
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            pid,
        };
        let line = relay.line("listening on ").await?;
        let addr = line.split([',', ' ']).next().unwrap_or_default();
        relay.addr = addr.parse()?;
        Ok(relay)
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it says of itself now.
    pub(crate) async fn census(&mut self) -> Result<Census, Failure> {
        self.signal("USR2").await?;
        let line = self.line("census ").await?;
        Census::parse(&line).ok_or_else(|| format!("not a census: {line}").into())
    }

    /// Ends it in an orderly way; the code it ended with.
    pub(crate) async fn end(mut self) -> Result<Option<i32>, Failure> {
        self.signal("INT").await?;
        Ok(timeout(PATIENCE, self.child.wait()).await??.code())
    }

    async fn signal(&self, name: &str) -> Result<(), Failure> {
        let pid = self.pid.to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await?;
        if sent.success() {
            Ok(())
        } else {
            Err("the relay is gone".into())
        }
    }

    /// What stands behind `text` in the next line that has it.
    async fn line(&mut self, text: &str) -> Result<String, Failure> {
        let found = async {
            loop {
                let line = self.lines.next_line().await?.ok_or("the relay ended")?;
                if let Some((_, rest)) = line.split_once(text) {
                    return Ok::<_, Failure>(rest.to_owned());
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .map_err(|_| "the relay does not answer")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_is_read_and_anything_else_is_not() {
        let text = r#"{"tables":{"registry.tracks":2,"shard-0.tracks":1,"shard-0.logs":0},"silent":["shard-1"],
            "held":{"rss_bytes":3,"pss_bytes":2,"descriptors":1}}"#;
        let census = Census::parse(text).unwrap();
        assert_eq!(
            census.occupied(),
            ["registry.tracks 2", "shard-0.tracks 1", "shard-1 silent"]
        );
        assert_eq!(census.sum(&["tracks", "logs"]), 3);
        assert_eq!(census.held.rss_bytes, 3);
        for broken in ["", "{}", r#"{"tables":{"a":"x"},"silent":[],"held":{}}"#] {
            assert!(Census::parse(broken).is_none(), "{broken}");
        }
    }
}
