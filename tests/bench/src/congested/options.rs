//! The pairs: scheduled and naive, alternately, and what came out.
#![expect(clippy::print_stdout, reason = "the figures are what the program is for")]

use super::Work;
use super::watch::Found;
use crate::Failure;
use crate::report::Spread;
use crate::usage::Machine;
use serde::Serialize;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use structopt::StructOpt;

/// What the medians have to show.
const LEAST_GAIN: f64 = 4.0;
const MOST_BULK_LOST: f64 = 0.05;

#[derive(Debug, StructOpt)]
pub(crate) struct Options {
    /// Pairs
    #[structopt(long, default_value = "10")]
    pairs: usize,
    /// Network namespace of the relay and the publisher
    #[structopt(long)]
    near: String,
    /// Network namespace of the subscriber
    #[structopt(long)]
    far: String,
    /// The relay's address, reached from there by the slow link
    #[structopt(long)]
    address: std::net::IpAddr,
    #[structopt(flatten)]
    work: Work,
}

/// A process that tells its address in one line and ends when its standard input does.
struct Part {
    child: Child,
    said: String,
}

impl Part {
    fn start(namespace: &str, args: &[String]) -> Result<Self, Failure> {
        let mut child = inside(namespace)?
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let out = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(out).read_line(&mut said)?;
        let part = Self {
            child,
            said: said.trim().to_owned(),
        };
        if part.said.is_empty() {
            return Err(format!("it did not start: {}", args.join(" ")).into());
        }
        Ok(part)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let patience = std::time::Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// This program, in a namespace.
fn inside(namespace: &str) -> Result<Command, Failure> {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace])
        .arg(std::env::current_exe()?);
    Ok(command)
}

/// One run.
fn measure(options: &Options, arrival: bool) -> Result<Found, Failure> {
    let mut relay = vec![
        "relay".to_owned(),
        "--listen".to_owned(),
        options.address.to_string(),
    ];
    if arrival {
        relay.push("--arrival".to_owned());
    }
    let relay = Part::start(&options.near, &relay)?;
    let to = ["--to".to_owned(), relay.said.clone()];
    let with = |name: &str| {
        let mut args = vec![name.to_owned()];
        args.extend(to.iter().cloned().chain(options.work.args()));
        args
    };
    let _feed = Part::start(&options.near, &with("feed"))?;
    let output = inside(&options.far)?
        .args(with("watch"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the subscriber failed: {}", output.status).into());
    }
    let found: Found = serde_json::from_slice(&output.stdout)?;
    if found.urgent == 0 || found.broken > 0 {
        return Err(format!("{} urgent objects, {} broken streams", found.urgent, found.broken).into());
    }
    Ok(found)
}

/// Measures and prints; an error when the medians do not show what priorities are for.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let work = &options.work;
    println!(
        "urgent: {} B every {} ms, beside {} bulk streams of {} Mbit/s together; {} s each after {} s",
        work.urgent, work.every_ms, work.bulk, work.bulk_mbit, work.seconds, work.warmup
    );
    println!(
        "{:<12} {:>9} {:>9} {:>12} {:>8} {:>7} {:>7}",
        "run", "p50 ms", "p99 ms", "bulk Mbit/s", "objects", "steal%", "busy%"
    );
    let mut pairs = Vec::new();
    for pair in 0..options.pairs {
        // Each goes first as often as the other.
        let first = pair % 2 == 0;
        let (one, other) = (shown(options, first)?, shown(options, !first)?);
        pairs.push(if first { (one, other) } else { (other, one) });
    }
    let spread =
        |figure: &dyn Fn(&(Found, Found)) -> f64| Spread::of(pairs.iter().map(figure)).ok_or("no pair");
    let (naive, scheduled) = (spread(&|pair| pair.0.p50_ms)?, spread(&|pair| pair.1.p50_ms)?);
    let gain = spread(&|pair| pair.0.p50_ms / pair.1.p50_ms)?;
    let bulk = spread(&|pair| pair.1.bulk_mbit / pair.0.bulk_mbit)?;
    println!("medians of {} pairs (least to greatest)", pairs.len());
    println!("  p50 ms  naive     {naive}");
    println!("          scheduled {scheduled}");
    println!("  naive / scheduled {gain}, wanted {LEAST_GAIN} or more");
    println!("  bulk, scheduled / naive {bulk}, wanted within {MOST_BULK_LOST} of 1");
    if gain.median < LEAST_GAIN || (bulk.median - 1.0).abs() > MOST_BULK_LOST {
        return Err("the medians do not show it".into());
    }
    Ok(())
}

fn shown(options: &Options, arrival: bool) -> Result<Found, Failure> {
    let before = Machine::now()?;
    let found = measure(options, arrival)?;
    let shares = Machine::now()?.since(before, Duration::ZERO);
    println!(
        "{:<12} {:>9.1} {:>9.1} {:>12.2} {:>8} {:>7.2} {:>7.0}",
        if arrival { "naive" } else { "scheduled" },
        found.p50_ms,
        found.p99_ms,
        found.bulk_mbit,
        found.urgent,
        shares.stolen * 100.0,
        shares.others * 100.0
    );
    Ok(found)
}

/// One line for another program.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}
