//! A relay of a mesh: its process, and its log.

use super::roads::Place;
use super::world::CLIENTS;
use crate::Failure;
use crate::process::{Process, Start};
use crate::scene::Tools;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long it may take to log what it is waited for.
const LOGGED: Duration = Duration::from_secs(20);
/// How often a log is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// One relay of a world.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) place: Place,
    pub(crate) process: Option<Process>,
    env: Vec<(String, String)>,
    /// Its log, in JSON.
    pub(crate) log: PathBuf,
    /// What it says at each SIGUSR2.
    pub(super) told: Option<Receiver<String>>,
    /// When its metrics were read last.
    pub(super) read: Option<Instant>,
}

impl Relay {
    /// One that does not run yet, at this place, with these settings and this log.
    pub(super) fn at(place: Place, env: Vec<(String, String)>, log: PathBuf) -> Self {
        Self {
            place,
            process: None,
            env,
            log,
            told: None,
            read: None,
        }
    }

    /// Starts it; returns when its port is open.
    pub(super) fn start(&mut self, tools: &Tools) -> Result<(), Failure> {
        let port = CLIENTS.to_string();
        let words = ["--port", &port, "--log-format", "json", "--log-level", "trace"];
        let mut process = Process::start(Start {
            space: &self.place.space,
            program: tools.laps.as_os_str(),
            words: words.iter().map(ToString::to_string).collect(),
            env: self.env.clone(),
            log: &self.log,
        })?;
        let output = process.output()?;
        self.process = Some(process);
        let mut output = BufReader::new(output).lines().map_while(Result::ok);
        if !output.any(|line| line.contains("listening on")) {
            return Err(format!("a relay did not start: {}", text(&self.log)).into());
        }
        // What it says later is read, so that it never waits to say it.
        let (tell, told) = channel();
        self.told = Some(told);
        std::thread::spawn(move || {
            for line in output {
                if let Some(census) = line.strip_prefix("census ") {
                    // Nobody wants to know any more.
                    drop(tell.send(census.to_owned()));
                }
            }
        });
        Ok(())
    }

    /// All that it logged.
    pub(crate) fn text(&self) -> String {
        text(&self.log)
    }

    /// Waits until it has logged a line with all of these words.
    pub(crate) fn logs(&self, words: &[&str]) -> Result<(), Failure> {
        let until = Instant::now() + LOGGED;
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        // At this level a log is long: what was read is not read again, but for a line that was not whole.
        let (mut log, mut bytes) = (File::open(&self.log)?, Vec::new());
        loop {
            log.read_to_end(&mut bytes)?;
            let whole = bytes
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let lines: Vec<u8> = bytes.drain(..whole).collect();
            if String::from_utf8_lossy(&lines).lines().any(has_all) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("no line with {words:?} in {}", self.log.display()).into());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> Result<&mut Process, Failure> {
        Ok(self.process.as_mut().ok_or("it does not run")?)
    }
}

/// What is in this file.
pub(super) fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
