//! What a million subscriptions and ten thousand nodes cost in the information bases, and how that grows.
//!
//! ```text
//! cargo bench -p laps-protocol --bench info_base [-- ENTRIES]
//! cargo bench -p laps-protocol --bench info_base -- --instructions [ENTRIES]
//! ```
//!
//! Four sizes up to ENTRIES are measured, each with a hundredth as many nodes, which two neighbours tell of, and a tenth as
//! many tracks, each published by one of the nodes; and an edge with a thousandth as many stubs, each of which subscribes to
//! a hundred tracks. Figures are for one entry. For each the exponent is fitted with which all of them together grow, and
//! the run fails where one is above what is let pass.
//!
//! Time is what the processor took. How it grows is as much the machine's doing, whose caches hold a smaller part of what is
//! larger and are shared with others; so a plain sorted map is measured beside it, which is n log n by what it is, and
//! nothing may grow faster than that by more than [`BEYOND`]. With `--instructions` it is counted what the processor is
//! told to do, which neither caches nor others change: that may grow with n^[`STEEPEST`]. It needs valgrind, and takes
//! fifty times as long. Memory is what the process has more than before; what takes some is measured in a process of its
//! own, since memory that was given back would hide it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table for a person")]
#![expect(clippy::disallowed_methods, reason = "a benchmark asks the clock")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on ends"
)]

mod instructions;
mod measure;
mod parts;
mod runs;

use crate::parts::{PARTS, PLAIN, TAKES};
use crate::runs::{ONE, Row, child, measure};

/// How much more than a plain map's exponent is let pass: between two runs of one program it was up to 0.2 on a machine
/// that others use, too.
const BEYOND: f64 = 0.25;
/// What is let pass of instructions; n log n has 1.08 over the sizes.
const STEEPEST: f64 = 1.15;
/// Has instructions counted.
const INSTRUCTIONS: &str = "--instructions";

/// The exponent of the straight line through the logarithms: how `n` entries grow, where `one` is for one of them.
fn exponent(sizes: [usize; 4], one: [f64; 4]) -> f64 {
    let points = sizes.map(|size| size as f64);
    let points: Vec<_> = points
        .iter()
        .zip(one)
        .map(|(n, one)| (n.ln(), (n * one).ln()))
        .collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let along = points.iter().map(|point| (point.0 - x) * (point.1 - y));
    let square = points.iter().map(|point| (point.0 - x).powi(2));
    along.sum::<f64>() / square.sum::<f64>()
}

fn row(what: &str, numbers: [f64; 4]) -> String {
    let numbers = numbers.map(|number| format!("{number:>12.0}")).concat();
    format!("{what:<26}{numbers}")
}

/// Prints what takes memory; it takes no more for one than before.
fn memory(rows: &[Row; 4]) {
    for (at, what) in TAKES.iter().enumerate() {
        let bytes = rows.each_ref().map(|row| row.bytes[at]);
        println!("{}", row(what, bytes));
        assert!(bytes.iter().all(|bytes| *bytes > 0.0), "nothing takes no memory");
        assert!(
            bytes[3] < 1.5 * bytes[0],
            "memory grows faster than what is in it"
        );
    }
}

fn main() {
    let one = std::env::args().skip_while(|arg| arg != ONE).skip(1);
    if let [entries, part] = one.filter_map(|arg| arg.parse().ok()).collect::<Vec<usize>>()[..] {
        return child(&PARTS[part](entries));
    }
    let most = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000_000_usize);
    let counted = std::env::args().any(|arg| arg == INSTRUCTIONS);
    let sizes = [8, 4, 2, 1].map(|part| (most / part / 1000 * 1000).max(1000));
    let rows = measure(sizes, counted);
    println!("{}", row("subscriptions", sizes.map(|size| size as f64)));
    println!("{}", row("nodes", sizes.map(|size| (size / 100) as f64)));
    let unit = if counted {
        "instr."
    } else {
        memory(&rows);
        "ns"
    };
    let (mut worst, mut plain): (f64, f64) = (0.0, 0.0);
    for (at, what) in rows[0].phases.iter().enumerate() {
        let all = rows.each_ref().map(|row| row.one[at]);
        let exponent = exponent(sizes, all);
        println!("{} n^{exponent:.2}", row(&format!("{unit} {what}"), all));
        let of = if PLAIN.contains(&what.as_str()) {
            &mut plain
        } else {
            &mut worst
        };
        *of = of.max(exponent);
    }
    let most = if counted { STEEPEST } else { plain + BEYOND };
    println!(
        "all of something grows with n^{worst:.2} at most, a plain map with n^{plain:.2}; let pass is n^{most:.2}"
    );
    // The check can tell n log n from what is worse.
    let of = |grows: fn(f64) -> f64| exponent(sizes, sizes.map(|size| grows(size as f64)));
    assert!(of(f64::ln) < most, "this machine makes n log n look like less");
    assert!(
        of(|n| n.powf(0.75)) > most,
        "this machine makes n log n look like n^1.75"
    );
    assert!(worst < most, "that is more than n log n");
}
