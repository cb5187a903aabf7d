//! Relay and bare forwarding, measured alternately.

use crate::Failure;
use crate::child::{Forwarder, direct};
use crate::load::Work;
use crate::report::{Outcome, Spread, print_head, print_line, print_run};
use crate::usage::Machine;
use std::time::Duration;
use structopt::StructOpt;

/// Above this share of stolen time a run says more about the neighbours than about us.
const MAX_STEAL: f64 = 0.01;
/// Above this share of the machine used by other programs the runs share their caches and wait for each other.
const MAX_OTHERS: f64 = 0.05;
/// CPU per GB falls when a relay is starved, so rates that differ by more cannot be compared.
const MAX_RATE_DIFFERENCE: f64 = 0.01;
/// Runs of the direct connection, whose latency is subtracted.
const DIRECT_RUNS: usize = 3;
/// How long the machine must have been quiet before a run.
const QUIET: Duration = Duration::from_secs(1);
/// Tries for each run that is wanted, before the machine counts as too noisy.
const TRIES: usize = 3;

#[derive(Debug, StructOpt)]
pub(crate) struct Options {
    /// Pairs that count; noisy ones are done again, up to twice as many
    #[structopt(long, default_value = "10")]
    pairs: usize,
    /// Seconds to wait in all for other programs to leave the machine alone
    #[structopt(long, default_value = "600")]
    patience: u64,
    /// Shards of the relay
    #[structopt(long, default_value = "1")]
    shards: usize,
    #[structopt(flatten)]
    work: Work,
}

struct Pair {
    relay: Outcome,
    bare: Outcome,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.relay.per_gb() / self.bare.per_gb()
    }

    /// Why it does not count, if it does not.
    fn noise(&self) -> Option<String> {
        let difference = (self.relay.rate() / self.bare.rate() - 1.0).abs();
        let rates = (difference > MAX_RATE_DIFFERENCE)
            .then(|| format!("the rates differ by {:.1} %", difference * 100.0));
        noise(&self.relay).or_else(|| noise(&self.bare)).or(rates)
    }
}

/// Why a run says nothing about us, if it does not.
fn noise(run: &Outcome) -> Option<String> {
    let lost = run.missing + run.broken;
    if run.steal > MAX_STEAL {
        Some(format!("{:.1} % of the time was stolen", run.steal * 100.0))
    } else if run.others > MAX_OTHERS {
        Some(format!(
            "other programs used {:.0} % of the machine",
            run.others * 100.0
        ))
    } else if lost > 0 {
        Some(format!("{lost} deliveries are missing"))
    } else {
        None
    }
}

/// Waits until nobody else used the machine for a while, or `patience` is used up.
fn wait_for_quiet(patience: &mut Duration) -> Result<(), Failure> {
    while !patience.is_zero() {
        let before = Machine::now()?;
        std::thread::sleep(QUIET);
        let shares = Machine::now()?.since(before, Duration::ZERO);
        if shares.others < MAX_OTHERS && shares.stolen < MAX_STEAL {
            break;
        }
        *patience = patience.saturating_sub(QUIET);
    }
    Ok(())
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let Options {
        pairs,
        patience,
        shards,
        work,
    } = options;
    let mut patience = Duration::from_secs(*patience);
    print_line(&format!(
        "{} B x {} subscribers at {} objects/s, {} objects per group, {} s each after {} s",
        work.size, work.subscribers, work.rate, work.group, work.seconds, work.warmup
    ));
    print_head();
    let one = Work {
        subscribers: 1,
        ..work.clone()
    };
    let (mut straight, mut tries) = (Vec::new(), 0);
    while straight.len() < DIRECT_RUNS && tries < DIRECT_RUNS * TRIES {
        tries += 1;
        wait_for_quiet(&mut patience)?;
        let run = direct(&one)?;
        print_run("direct", &run);
        match noise(&run) {
            None => straight.push(run),
            Some(why) => print_line(&format!("  does not count: {why}")),
        }
    }
    let relay_args = ["relay".to_owned(), "--shards".to_owned(), shards.to_string()];
    let (mut good, mut tries) = (Vec::new(), 0);
    while good.len() < *pairs && tries < pairs * TRIES {
        tries += 1;
        wait_for_quiet(&mut patience)?;
        let relay = Forwarder::start(&relay_args)?.load(work)?;
        print_run("relay", &relay);
        let bare = Forwarder::start(&["bare".to_owned()])?.load(work)?;
        print_run("bare", &bare);
        let pair = Pair { relay, bare };
        match pair.noise() {
            None => {
                print_line(&format!("  ratio {:.3}", pair.ratio()));
                good.push(pair);
            }
            Some(why) => print_line(&format!("  ratio {:.3}, does not count: {why}", pair.ratio())),
        }
    }
    summary(&good, &straight)?;
    if good.len() < *pairs {
        return Err(format!(
            "only {} of {tries} pairs count: the machine is too noisy",
            good.len()
        )
        .into());
    }
    Ok(())
}

fn summary(pairs: &[Pair], straight: &[Outcome]) -> Result<(), Failure> {
    let spread = |figure: fn(&Pair) -> f64| Spread::of(pairs.iter().map(figure)).ok_or("no pair counts");
    let direct = |figure: fn(&Outcome) -> f64| Spread::of(straight.iter().map(figure)).ok_or("no direct run");
    let (direct50, direct99) = (direct(|run| run.p50_ms)?, direct(|run| run.p99_ms)?);
    print_line(&format!("medians of {} pairs (least to greatest)", pairs.len()));
    print_line(&format!(
        "  CPU s/GB    relay {}",
        spread(|pair| pair.relay.per_gb())?
    ));
    print_line(&format!(
        "              bare  {}",
        spread(|pair| pair.bare.per_gb())?
    ));
    print_line(&format!("              ratio {}", spread(Pair::ratio)?));
    print_line(&format!("  p50 ms      direct {direct50}"));
    for (name, p50, p99) in [
        (
            "relay",
            spread(|pair| pair.relay.p50_ms)?,
            spread(|pair| pair.relay.p99_ms)?,
        ),
        (
            "bare",
            spread(|pair| pair.bare.p50_ms)?,
            spread(|pair| pair.bare.p99_ms)?,
        ),
    ] {
        print_line(&format!(
            "  {name:<5} p50 {p50} ms, {:+.3} over direct; p99 {p99} ms, {:+.3} over direct",
            p50.median - direct50.median,
            p99.median - direct99.median,
        ));
    }
    Ok(())
}
