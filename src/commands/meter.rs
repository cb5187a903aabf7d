//! How far a client has come, on standard error: a line at each interval, or a spinner when a person looks on.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the spinner moves.
const SPIN: Duration = Duration::from_millis(250);

/// Counts objects and bytes. Tasks of one arbiter share it.
#[derive(Debug)]
pub(super) struct Meter {
    verb: &'static str,
    started: Instant,
    objects: Cell<u64>,
    bytes: Cell<u64>,
    before: Cell<(Instant, u64, u64)>,
    every: Option<Duration>,
    spinner: Option<ProgressBar>,
}

impl Meter {
    /// `verb` says what happened to the objects. A line each `every`; without it a spinner, when standard error is
    /// a terminal and `spins` allows it.
    pub(super) fn new(verb: &'static str, every: Option<Duration>, spins: bool) -> Self {
        let now = Instant::now();
        let spins = spins && every.is_none() && std::io::stderr().is_terminal();
        let spinner = spins.then(|| {
            let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            spinner.set_style(ProgressStyle::default_spinner());
            spinner
        });
        Self {
            verb,
            started: now,
            objects: Cell::new(0),
            bytes: Cell::new(0),
            before: Cell::new((now, 0, 0)),
            every,
            spinner,
        }
    }

    /// One object more.
    pub(super) fn add(&self, bytes: u64) {
        self.objects.set(self.objects.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// Resolves each time [`Meter::show`] should be called; never when there is nothing to show.
    pub(super) async fn due(&self) {
        let every = match &self.spinner {
            Some(_) => Some(SPIN),
            None => self.every,
        };
        match every {
            Some(every) => {
                let next = self.before.get().0 + every;
                tokio::time::sleep_until(next.into()).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Shows where things stand; `more` is added to the line.
    pub(super) fn show(&self, more: &str) {
        let now = Instant::now();
        let (then, objects, bytes) = self.before.replace((now, self.objects.get(), self.bytes.get()));
        let line = line(
            self.verb,
            now - self.started,
            (self.objects.get(), self.bytes.get()),
            (self.objects.get() - objects, self.bytes.get() - bytes),
            now - then,
        ) + more;
        match &self.spinner {
            Some(spinner) => {
                spinner.set_message(line);
                spinner.tick();
            }
            None => say(&line),
        }
    }

    /// The last figures, where any were shown before.
    pub(super) fn finish(&self, more: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        if self.spinner.is_some() || self.every.is_some() {
            let (all, took) = ((self.objects.get(), self.bytes.get()), self.started.elapsed());
            say(&(line(self.verb, took, all, all, took) + more));
        }
    }
}

/// A line on standard error. Nobody is left to tell when that is closed.
pub(super) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn line(verb: &str, at: Duration, all: (u64, u64), new: (u64, u64), within: Duration) -> String {
    let seconds = within.as_secs_f64().max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "figures for a person")]
    let (objects, megabits) = (new.0 as f64 / seconds, new.1 as f64 * 8e-6 / seconds);
    format!(
        "{:.1} s: {} objects, {} bytes {verb}; {objects:.1} objects/s, {megabits:.3} Mbit/s",
        at.as_secs_f64(),
        all.0,
        all.1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_total_and_the_rate() {
        let line = line(
            "sent",
            Duration::from_millis(2500),
            (30, 3000),
            (10, 1000),
            Duration::from_millis(500),
        );
        assert_eq!(
            line,
            "2.5 s: 30 objects, 3000 bytes sent; 20.0 objects/s, 0.016 Mbit/s"
        );
    }
}
