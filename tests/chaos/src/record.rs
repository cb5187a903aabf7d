//! What a subscriber received, as its lines of JSON tell.
//!
//! The publishers send `synth --sync`: place and stamp of each object follow from the time alone. Object `sequence` of the
//! track is due at `sequence` times the interval after the Unix epoch.

use crate::Failure;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Objects a second, where nothing else is said.
pub(crate) const RATE: u64 = 50;
/// Objects a group, where nothing else is said.
pub(crate) const GOP: u64 = 25;
/// Nanoseconds between two objects.
pub(crate) const INTERVAL: u64 = 1_000_000_000 / RATE;

/// How the objects of a track come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Objects a second.
    pub(crate) rate: u64,
    /// Objects a group.
    pub(crate) gop: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate: RATE, gop: GOP }
    }
}

impl Pace {
    /// Nanoseconds between two objects.
    const fn interval(self) -> u64 {
        1_000_000_000 / self.rate
    }

    /// The last object that was due at this time.
    pub(crate) const fn due(self, at: u64) -> u64 {
        at / self.interval()
    }
}

/// How far two readings of the clock may lie apart: a process that is not let run between them takes that long.
const READINGS: u64 = 1_000_000_000;

/// Nanoseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The last object that was due at this time, at the usual pace.
pub(crate) const fn due(at: u64) -> u64 {
    at / INTERVAL
}

/// A line of `laps sub --json`.
#[derive(Debug, Deserialize)]
struct Line {
    group: u64,
    object: u64,
    status: String,
    latency_ms: Option<f64>,
    received: f64,
}

/// Everything one subscriber received, over all lives of its process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pace: Pace,
    /// When each object came, by its number; more than one time is a duplicate.
    pub(crate) came: BTreeMap<u64, Vec<u64>>,
    /// Times of arrival, in order.
    pub(crate) arrivals: Vec<u64>,
    /// Objects whose stamp is not that of their place.
    pub(crate) wrong: BTreeSet<u64>,
    /// Lines that are no objects.
    pub(crate) other: Vec<String>,
}

impl Record {
    fn add(&mut self, line: &Line) {
        if line.status != "normal" {
            return;
        }
        let sequence = line.group * self.pace.gop + line.object;
        let at = nanos(line.received);
        self.came.entry(sequence).or_default().push(at);
        self.arrivals.push(at);
        // The stamp stands in the payload. A fetched object tells no latency; its place is all there is to compare.
        if let Some(latency) = line.latency_ms {
            let made = at.saturating_sub(nanos(latency / 1e3));
            if made.abs_diff(sequence * self.pace.interval()) > READINGS {
                self.wrong.insert(sequence);
            }
        }
    }

    /// The largest object so far.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.came.keys().next_back().copied()
    }

    /// The first object there is.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.came.keys().next().copied()
    }
}

/// A line of a publisher's log.
#[derive(Debug, Deserialize)]
struct Logged {
    msg: String,
    group: Option<u64>,
    object: Option<u64>,
}

/// The objects that a publisher made, as its log tells: one that is not let run for more than a second skips some.
pub(crate) fn made(log: &str, pace: Pace) -> BTreeSet<u64> {
    log.lines()
        .filter_map(|line| serde_json::from_str::<Logged>(line).ok())
        .filter(|line| line.msg == "object made")
        .filter_map(|line| Some(line.group? * pace.gop + line.object?))
        .collect()
}

fn nanos(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|time| u64::try_from(time.as_nanos()).ok())
        .unwrap_or(0)
}

/// A record that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<(Mutex<Record>, Condvar)>);

impl Tape {
    /// Of a track with this pace.
    pub(crate) fn of(pace: Pace) -> Self {
        let tape = Self::default();
        tape.lock().pace = pace;
        tape
    }

    /// Writes down what this output says, until it ends.
    pub(crate) fn follow(&self, output: impl Read + Send + 'static) {
        let tape = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                match serde_json::from_str::<Line>(&line) {
                    Ok(line) => tape.lock().add(&line),
                    Err(_) => tape.tell(line),
                }
                tape.0.1.notify_all();
            }
        });
    }

    /// Adds a line that is no object.
    pub(crate) fn tell(&self, line: String) {
        self.lock().other.push(line);
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says now.
    pub(crate) fn read(&self) -> Record {
        self.lock().clone()
    }

    /// Waits until the record is as `enough` wants it.
    pub(crate) fn wait(
        &self,
        patience: Duration,
        what: &str,
        enough: impl Fn(&Record) -> bool,
    ) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        let mut record = self.lock();
        while !enough(&record) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{what}: not within {} s", patience.as_secs_f64()).into());
            }
            let waited = self.0.1.wait_timeout(record, left);
            record = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits for so many more objects.
    pub(crate) fn more(&self, objects: u64, patience: Duration) -> Result<(), Failure> {
        let before = self.lock().arrivals.len();
        let many = usize::try_from(objects).unwrap_or(usize::MAX);
        self.wait(patience, &format!("{objects} more objects"), |record| {
            record.arrivals.len() >= before.saturating_add(many)
        })
    }
}
