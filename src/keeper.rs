//! What the relay's watchdog does: tells the service manager that all is well, and ends a process that is stuck.

use crate::exit::{Exit, Failure, LAST_WORDS};
use crate::systemd::{self, Beats};
use laps_actors::supervise::counters;
use laps_actors::watchdog::{Keeper, Report};
use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Instant;

/// The keeper of this process.
#[derive(Debug)]
pub struct Warden {
    beats: Beats,
}

impl Warden {
    /// One that tells the service manager what it wants to hear.
    #[must_use]
    pub fn new() -> Self {
        Self {
            beats: Beats::expected(),
        }
    }
}

impl Default for Warden {
    fn default() -> Self {
        Self::new()
    }
}

impl Keeper for Warden {
    fn alive(&mut self, now: Instant) {
        self.beats.beat(now);
    }

    /// Ends the process without a word to any other thread: each of them may be the one that is stuck.
    fn stuck(&mut self, report: &Report) {
        let failure = Failure::new(
            Exit::Fault,
            report.name.clone(),
            report.to_string(),
            "the process ends, start it again",
        );
        let (told, done) = channel();
        let speaker = std::thread::Builder::new().name("laps-last".to_owned());
        let speaking = speaker.spawn(move || {
            systemd::last_status(&failure.to_string());
            failure.write();
            let messages = counters::snapshot();
            drop(writeln!(std::io::stderr(), "laps: messages so far: {messages:?}"));
            // Nobody waits any more when it took too long.
            let _late: bool = told.send(()).is_err();
        });
        if speaking.is_ok() {
            let _in_time: bool = done.recv_timeout(LAST_WORDS).is_ok();
        }
        std::process::exit(Exit::Fault as i32);
    }
}
