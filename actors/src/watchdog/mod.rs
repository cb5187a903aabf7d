//! Looks whether the threads of the relay run, from a thread of its own that has nothing else to do.
//!
//! ```text
//! RootActor, ShardActor ── timer ──▶ Pulse.beat ──▶ Board (atomics)
//! watchdog thread ── every 250 ms ──▶ Board ──▶ Judge ──▶ late after 2 s: log, Board ──▶ root's Health
//!                                                    ──▶ stuck after 10 s: Keeper, which ends the process
//! ```
//!
//! A thread that is stuck cannot be ended from outside and cannot be replaced, because it keeps the socket it has. So the
//! only cure is the end of the process. Decision 0021.

mod board;
mod judge;

pub use board::{BEAT, Board, Figures, Pulse};
pub use judge::{Finding, Judge, Sign, Terms};

use slog::{Logger, warn};
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What is done about what the watchdog finds. Runs on the watchdog's thread.
pub trait Keeper: Send {
    /// Nobody is stuck. Called at each look.
    fn alive(&mut self, now: Instant);

    /// Somebody is stuck: ends the process. Called at each look for as long as that is so.
    fn stuck(&mut self, report: &Report);
}

/// What is known of a thread that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose thread it is.
    pub name: String,
    /// How long it has not run, as far as the watchdog has seen.
    pub silent: Duration,
    /// Its beats so far.
    pub beats: u64,
    /// What it said of itself with the last one.
    pub said: Figures,
    /// The others that are late.
    pub others: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (silent, beats, said) = (self.silent.as_secs_f64(), self.beats, self.said);
        write!(
            f,
            "its thread has not run for {silent:.1} s; after {beats} beats it last had {said}"
        )?;
        if !self.others.is_empty() {
            write!(f, "; also late: {}", self.others.join(", "))?;
        }
        Ok(())
    }
}

/// What the watchdog's thread does, without the thread.
pub struct Watchdog<K> {
    board: Board,
    judge: Judge,
    keeper: K,
    log: Logger,
}

impl<K: Keeper> Watchdog<K> {
    /// A watchdog that has not looked yet.
    pub fn new(board: Board, terms: Terms, keeper: K, log: Logger) -> Self {
        Self {
            board,
            judge: Judge::new(terms),
            keeper,
            log,
        }
    }

    /// Looks once.
    pub fn look(&mut self, now: Instant) {
        let mut stuck = None;
        for finding in self.judge.look(now, &self.board.signs()) {
            match finding {
                Finding::Late(at, silent) => {
                    self.board.set_late(at, true);
                    warn!(self.log, "a thread does not run"; "of" => self.board.name(at),
                        "for_ms" => %silent.as_millis(), "had" => %self.board.figures(at));
                }
                Finding::Back(at) => {
                    self.board.set_late(at, false);
                    warn!(self.log, "a thread runs again"; "of" => self.board.name(at));
                }
                Finding::Stuck(at, silent) => {
                    stuck.get_or_insert((at, silent));
                }
            }
        }
        let Some((at, silent)) = stuck else {
            return self.keeper.alive(now);
        };
        let name = self.board.name(at).to_owned();
        let mut others = self.board.late();
        others.retain(|other| *other != name);
        self.keeper.stuck(&Report {
            silent,
            beats: self.board.beats(at),
            said: self.board.figures(at),
            name,
            others,
        });
    }

    fn run(mut self, every: Duration, stop: &Receiver<()>) {
        while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            self.look(Instant::now());
        }
    }
}

/// A watchdog that looks; it stops when this is dropped.
#[derive(Debug)]
pub struct Watching {
    _stop: Sender<()>,
}

/// Starts the watchdog's thread. It looks until what is returned is dropped.
///
/// # Errors
/// The operating system has no thread to give.
pub fn start<K: Keeper + 'static>(
    board: Board,
    terms: Terms,
    keeper: K,
    log: Logger,
) -> io::Result<Watching> {
    let watchdog = Watchdog::new(board, terms, keeper, log);
    let (stop, stopped) = channel();
    std::thread::Builder::new()
        .name("laps-watchdog".to_owned())
        .spawn(move || watchdog.run(terms.look_every, &stopped))?;
    Ok(Watching { _stop: stop })
}

#[cfg(test)]
mod tests;
