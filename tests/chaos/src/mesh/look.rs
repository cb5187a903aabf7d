//! What a relay of a mesh tells of itself.

use super::relay::Relay;
use super::world::{RELAYS, START};
use crate::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A page of metrics may be a second old, and is never older than this.
const FRESH: Duration = Duration::from_millis(1_050);

/// The label of what comes over a link.
const INWARDS: &str = "direction=\"in\"";
/// How often it is looked whether something is so.
const LOOK: Duration = Duration::from_millis(20);

/// How full the tables of a relay are.
#[derive(Debug, Deserialize)]
pub(crate) struct Census {
    tables: BTreeMap<String, u64>,
}

impl Census {
    /// All tables of this name, of whichever part.
    pub(crate) fn of(&self, table: &str) -> u64 {
        let named = |name: &String| name == table || name.ends_with(&format!(".{table}"));
        let of = self.tables.iter().filter(|(name, _)| named(name));
        of.map(|(_, count)| count).sum()
    }
}

/// Streams of objects that came on links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// Which links.
    pub(crate) links: Vec<String>,
    pub(crate) count: u64,
}

impl Relay {
    /// How full its tables are.
    pub(crate) fn census(&mut self) -> Result<Census, Failure> {
        self.process()?.signal("USR2")?;
        let told = self.told.as_ref().ok_or("it does not run")?;
        Ok(serde_json::from_str(&told.recv_timeout(START)?)?)
    }

    /// Streams of objects that came so far on the links that stand, as its metrics tell now.
    pub(crate) fn streams_in(&mut self) -> Result<Streams, Failure> {
        let page = self.metrics()?;
        let mut streams = Streams::default();
        for (link, count) in of(&page, "laps_link_streams_total").filter(|(link, _)| link.contains(INWARDS)) {
            streams.links.push(link.to_owned());
            streams.count += count.parse::<u64>()?;
        }
        Ok(streams)
    }

    /// The round trip of each link that was measured, as its metrics tell now.
    pub(crate) fn round_trips(&mut self) -> Result<Vec<Duration>, Failure> {
        let page = self.metrics()?;
        let seconds = of(&page, "laps_link_rtt_seconds").map(|(_, seconds)| seconds.parse());
        let seconds: Vec<f64> = seconds.collect::<Result<_, _>>()?;
        Ok(seconds.into_iter().map(Duration::from_secs_f64).collect())
    }

    /// Its page of metrics, as it is now.
    fn metrics(&mut self) -> Result<String, Failure> {
        // Who reads it sooner reads the same again.
        if let Some(read) = self.read {
            sleep(FRESH.saturating_sub(read.elapsed()));
        }
        let ask =
            "exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";
        let page = self.run(&["bash", "-c", ask])?;
        self.read = Some(Instant::now());
        Ok(page)
    }

    /// Whether anything listens on the port for relays.
    pub(crate) fn takes_relays(&self) -> Result<bool, Failure> {
        let open = self.run(&["cat", "/proc/net/udp", "/proc/net/udp6"])?;
        let port = format!(":{RELAYS:04X}");
        let local = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        Ok(open.lines().filter_map(local).any(|local| local.ends_with(&port)))
    }

    /// What this says in the relay's namespace.
    fn run(&self, words: &[&str]) -> Result<String, Failure> {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.place.space])
            .args(words)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What a page says of this metric: the labels of each line, and its value.
fn of<'a>(page: &'a str, metric: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lines = page.lines().filter_map(move |line| line.strip_prefix(metric));
    lines
        .filter(|line| line.starts_with('{'))
        .filter_map(|line| line.rsplit_once(' '))
}

/// Waits until it is so.
pub(super) fn until(
    what: &str,
    patience: Duration,
    mut so: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let end = Instant::now() + patience;
    while !so()? {
        if Instant::now() > end {
            return Err(format!("{what}: not within {} s", patience.as_secs()).into());
        }
        sleep(LOOK);
    }
    Ok(())
}
