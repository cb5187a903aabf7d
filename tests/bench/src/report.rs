//! Figures: of one run, and of many.
#![expect(clippy::print_stdout, reason = "the figures are what the program is for")]

use crate::Failure;
use serde::{Deserialize, Serialize};

/// What one run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Objects that arrived whole while it was measured.
    pub(crate) delivered: u64,
    /// Their payload, in units of 10^9 bytes.
    pub(crate) gigabytes: f64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// CPU time of the forwarder in that time.
    pub(crate) cpu_seconds: f64,
    /// Median from the publisher's stamp to the last byte at a subscriber.
    pub(crate) p50_ms: f64,
    /// The same for 99 of 100.
    pub(crate) p99_ms: f64,
    /// Share of the machine that the hypervisor gave to others.
    pub(crate) steal: f64,
    /// Share of the machine that was used by neither the forwarder nor the generator.
    pub(crate) others: f64,
    /// Deliveries that never came, of the whole run.
    pub(crate) missing: u64,
    /// Streams that ended in the middle, of the whole run.
    pub(crate) broken: u64,
}

impl Outcome {
    pub(crate) fn per_gb(&self) -> f64 {
        self.cpu_seconds / self.gigabytes.max(f64::MIN_POSITIVE)
    }

    pub(crate) fn rate(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }
}

/// One line for another program.
pub(crate) fn print_json(outcome: &Outcome) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}

pub(crate) fn print_head() {
    println!(
        "{:<10} {:>11} {:>8} {:>9} {:>8} {:>8} {:>7} {:>7} {:>8}",
        "run", "delivered/s", "CPU s", "CPU s/GB", "p50 ms", "p99 ms", "steal%", "others%", "missing"
    );
}

pub(crate) fn print_run(name: &str, run: &Outcome) {
    println!(
        "{name:<10} {:>11.0} {:>8.3} {:>9.3} {:>8.3} {:>8.3} {:>7.2} {:>7.1} {:>8}",
        run.rate(),
        run.cpu_seconds,
        run.per_gb(),
        run.p50_ms,
        run.p99_ms,
        run.steal * 100.0,
        run.others * 100.0,
        run.missing + run.broken,
    );
}

pub(crate) fn print_line(line: &str) {
    println!("{line}");
}

/// Least, middle and greatest of some numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of no numbers.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get(values.len().saturating_sub(1) / 2)?;
        Some(Self {
            min: *values.first()?,
            median: f64::midpoint(lower, upper),
            max: *values.last()?,
        })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert!(Spread::of([]).is_none());
    }
}
