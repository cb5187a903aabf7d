//! Runs each part in a process of its own, and puts together what they say.

use crate::instructions::Valgrind;
use crate::measure::Measured;
use crate::parts::{PARTS, TAKES};
use std::io::IsTerminal;
use std::process::{Command, Output};

/// Says to a process of its own what to measure: how many entries, and which of the [`PARTS`].
pub(crate) const ONE: &str = "--one";
/// Begins a line of what such a process says of memory.
const BYTES: &str = "bytes";
/// Begins a line of what it says of a phase: nanoseconds, how many there were, and what.
const PHASE: &str = "phase";
/// How often times are taken, for the best of them.
const TIMES: usize = 3;

/// What was measured of one size.
#[derive(Default)]
pub(crate) struct Row {
    /// For one of [`TAKES`], in their order.
    pub(crate) bytes: Vec<f64>,
    /// What was done, phase by phase.
    pub(crate) phases: Vec<String>,
    /// How many of it there were.
    counts: Vec<f64>,
    /// What it takes for one.
    pub(crate) one: Vec<f64>,
}

impl Row {
    /// The best of both: what else the machine does only ever makes a time longer, or takes memory.
    fn or(mut self, next: &Self) -> Self {
        let least = |best: &mut Vec<f64>, next: &[f64]| {
            for (best, next) in best.iter_mut().zip(next) {
                *best = best.min(*next);
            }
        };
        least(&mut self.bytes, &next.bytes);
        least(&mut self.one, &next.one);
        self
    }
}

/// Says what was measured, as [`Row`]s are put together from.
pub(crate) fn child(measured: &Measured) {
    measured
        .bytes
        .iter()
        .for_each(|bytes| println!("{BYTES} {bytes}"));
    for phase in &measured.phases {
        println!("{PHASE} {} {} {}", phase.time.as_nanos(), phase.count, phase.what);
    }
}

/// The sizes in turn, so that a slow minute of the machine is not the minute of one size.
pub(crate) fn measure(sizes: [usize; 4], counted: bool) -> [Row; 4] {
    let valgrind = counted.then(Valgrind::new);
    let times = if counted { 1 } else { TIMES };
    let mut rows: [Option<Row>; 4] = Default::default();
    for time in 1..=times {
        for (row, entries) in rows.iter_mut().zip(sizes) {
            progress(&format!("run {time} of {times}, {entries} subscriptions"));
            let next = run_of(entries, valgrind.as_ref());
            *row = Some(match row.take() {
                Some(row) => row.or(&next),
                None => next,
            });
        }
    }
    progress("");
    rows.map(|row| row.expect("each size was run"))
}

/// One line on a terminal, in the place of the one before.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

fn run_of(entries: usize, valgrind: Option<&Valgrind>) -> Row {
    let this = std::env::current_exe().expect("a benchmark knows where it is");
    let mut row = Row::default();
    for part in 0..PARTS.len() {
        let mut command = valgrind.map_or_else(|| Command::new(&this), |valgrind| valgrind.command(&this));
        let output = command
            .args([ONE, &entries.to_string(), &part.to_string()])
            .output();
        let from = row.one.len();
        add(&mut row, &output.expect("it can be run"));
        if let Some(valgrind) = valgrind {
            let counted = valgrind.take().into_iter().zip(&row.counts[from..]);
            let counted: Vec<_> = counted.map(|(all, count)| all / count).collect();
            assert_eq!(counted.len(), row.one.len() - from, "each phase was counted");
            row.one.splice(from.., counted);
        }
    }
    assert_eq!(row.bytes.len(), TAKES.len());
    row
}

/// Adds what a process has said; a phase's figure is its time for one.
fn add(row: &mut Row, output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.splitn(4, ' ');
        let kind = words.next();
        let mut number = || words.next()?.parse::<f64>().ok();
        let first = number().expect("a number");
        if kind == Some(BYTES) {
            row.bytes.push(first);
        } else {
            let count = number().expect("how many");
            row.counts.push(count);
            row.one.push(first / count);
            row.phases.push(words.next().expect("what it was").to_owned());
        }
    }
}
