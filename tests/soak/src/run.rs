//! The soak itself: cycles of churn and rest, and the table at the end.

use crate::Failure;
use crate::judge;
use crate::relay::{Census, Relay};
use crate::rng::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use laps::memory::Held;
use laps_actors::census::bound::{Frame, Load, bound};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use structopt::StructOpt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Between two looks at the relay while clients are there.
const LOOK: Duration = Duration::from_millis(250);
/// Between the last entry's end and the look at memory: the allocator gives back what has been free for 10 s.
const REST: Duration = Duration::from_secs(12);
/// How long clients may take to end when told to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which the relay gives a client up.
const IDLE_MS: u64 = 3_000;
/// What the relay may cache, in MiB: little, so that the rest of the bound is seen.
const CACHE_MB: u64 = 16;
const SHARDS: u64 = 2;
const WINDOW: u64 = 8 << 20;

/// What is done.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Options {
    /// How long, in seconds; a cycle that has begun is finished
    #[structopt(long, default_value = "1800")]
    seconds: u64,
    /// What the clients do follows from it
    #[structopt(long, default_value = "1")]
    seed: u64,
    /// Processes of clients
    #[structopt(long, default_value = "3")]
    workers: usize,
    /// Clients of each process at a time
    #[structopt(long, default_value = "12")]
    clients: usize,
    /// Seconds of churn in a cycle
    #[structopt(long, default_value = "8")]
    churn: u64,
    /// Seconds that tables may take to be empty: a killed client is silent, a resting track ages, a busy machine is late
    #[structopt(long, default_value = "60")]
    patience: u64,
    /// The `laps` that is soaked; else the one beside this program
    #[structopt(long)]
    relay: Option<PathBuf>,
    /// Plants a leak: one client stays when everybody is to leave, and the soak must fail
    #[structopt(long)]
    keep_one: bool,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    rested: Vec<Held>,
    most: Load,
    peak: u64,
    /// The largest share of its bound that RSS ever had, in percent.
    tightest: u64,
    looks: u64,
    wrong: Vec<String>,
}

/// Soaks, prints the table, and fails when something was wrong.
pub(crate) async fn run(options: &Options) -> Result<(), Failure> {
    let beside = || std::env::current_exe().map(|me| me.with_file_name("laps"));
    let program = options.relay.clone().map_or_else(beside, Ok)?;
    let env = [
        ("LAPS_WORKERS__THREADS", SHARDS.to_string()),
        ("LAPS_CACHE__DURATION", "2".to_owned()),
        ("LAPS_CACHE__MAX_MB", CACHE_MB.to_string()),
        ("LAPS_TRANSPORT__IDLE_TIMEOUT_MS", IDLE_MS.to_string()),
        ("LAPS_TRANSPORT__KEEP_ALIVE_MS", "1000".to_owned()),
        ("LAPS_LOGGING__LEVEL", "error".to_owned()),
    ];
    let mut relay = Relay::start(&program, &env).await?;
    let frame = Frame {
        shards: SHARDS,
        cache: CACHE_MB << 20,
        window: WINDOW,
    };
    let bar = ProgressBar::new(options.seconds);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}")?);
    let (begun, mut seeds, mut seen) = (Instant::now(), Rng::new(options.seed), Seen::default());
    while begun.elapsed().as_secs() < options.seconds && seen.wrong.is_empty() {
        cycle(options, frame, &mut relay, &mut seeds, &mut seen, &bar, begun).await?;
        // What grows from cycle to cycle is judged at the end, when there are enough of them.
    }
    bar.finish_and_clear();
    let wrong = judge::quiet(frame, &seen.rested);
    seen.wrong.extend(wrong);
    if relay.end().await? != Some(0) {
        seen.wrong.push("the relay did not end with 0".to_owned());
    }
    report(options, frame, &seen, begun.elapsed())?;
    if seen.wrong.is_empty() {
        return Ok(());
    }
    Err(seen.wrong.join("; ").into())
}

async fn cycle(
    options: &Options,
    frame: Frame,
    relay: &mut Relay,
    seeds: &mut Rng,
    seen: &mut Seen,
    bar: &ProgressBar,
    begun: Instant,
) -> Result<(), Failure> {
    let addr = relay.addr();
    let start = |seeds: &mut Rng, count| workers_start(addr, seeds.next(), count);
    let mut workers = Vec::new();
    for _ in 0..options.workers {
        workers.push(start(seeds, options.clients)?);
    }
    // It is there long before the others go.
    let stays = options.keep_one.then(|| one_that_stays(addr)).transpose()?;
    let churn = Instant::now();
    let mut killed = false;
    let mut before = Load::default();
    while churn.elapsed().as_secs() < options.churn {
        let census = relay.census().await?;
        let load = judge::load(&census);
        look(frame, larger(before, load), census.held, seen);
        before = load;
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(format!(
            "cycle {}, {} connections, {} tracks, RSS {} KiB",
            seen.rested.len() + 1,
            load.connections,
            load.tracks,
            census.held.rss_bytes >> 10
        ));
        if !killed && churn.elapsed().as_secs() >= options.churn / 2 {
            killed = true;
            if let Some(worker) = workers.first_mut() {
                worker.kill().await?;
                *worker = start(seeds, options.clients)?;
            }
        }
        sleep(LOOK).await;
    }
    // Every other process is killed, the rest is told to end.
    for (number, worker) in workers.iter_mut().enumerate() {
        if number % 2 == 0 {
            worker.kill().await?;
        } else {
            drop(worker.stdin.take());
            let status = timeout(PATIENCE, worker.wait())
                .await
                .map_err(|_| "clients do not end")??;
            if !status.success() {
                return Err(format!("the clients failed: {status}").into());
            }
        }
    }
    if let Some(left) = until_empty(relay, options.patience).await? {
        seen.wrong
            .push(format!("not empty when everybody had left: {left}"));
    }
    drop(stays);
    sleep(REST).await;
    seen.rested.push(relay.census().await?.held);
    Ok(())
}

fn workers_start(to: SocketAddr, seed: u64, count: usize) -> Result<Child, Failure> {
    let (to, seed, count) = (to.to_string(), seed.to_string(), count.to_string());
    start_clients(&["clients", "--to", &to, "--seed", &seed, "--count", &count])
}

fn one_that_stays(to: SocketAddr) -> Result<Child, Failure> {
    start_clients(&["stay", "--to", &to.to_string()])
}

fn start_clients(words: &[&str]) -> Result<Child, Failure> {
    let child = Command::new(std::env::current_exe()?)
        .args(words)
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// Waits until every table is empty; what is not, when that takes too long.
async fn until_empty(relay: &mut Relay, patience: u64) -> Result<Option<String>, Failure> {
    let begun = Instant::now();
    loop {
        let left: Census = relay.census().await?;
        let left = left.occupied();
        if left.is_empty() {
            return Ok(None);
        }
        if begun.elapsed().as_secs() > patience {
            return Ok(Some(left.join(", ")));
        }
        sleep(LOOK).await;
    }
}

fn look(frame: Frame, load: Load, held: Held, seen: &mut Seen) {
    seen.looks += 1;
    seen.peak = seen.peak.max(held.rss_bytes);
    seen.most = larger(seen.most, load);
    seen.tightest = seen
        .tightest
        .max(held.rss_bytes * 100 / bound(frame, load).max(1));
    if let Some(wrong) = judge::busy(frame, load, held)
        && seen.wrong.is_empty()
    {
        seen.wrong.push(format!("with {load:?}, {wrong}"));
    }
}

fn larger(one: Load, other: Load) -> Load {
    Load {
        connections: one.connections.max(other.connections),
        requests: one.requests.max(other.requests),
        tracks: one.tracks.max(other.tracks),
        streams: one.streams.max(other.streams),
        slow_readers: one.slow_readers.max(other.slow_readers),
        floods: one.floods.max(other.floods),
    }
}

fn report(options: &Options, frame: Frame, seen: &Seen, took: Duration) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    let (first, last) = (seen.rested.first(), seen.rested.last());
    let rest = |held: Option<&Held>| held.map_or_else(|| "-".to_owned(), |held| kib(held.rss_bytes));
    let fds = |held: Option<&Held>| held.map_or(0, |held| held.descriptors);
    writeln!(
        out,
        "{:<34} {:.0} s, seed {}",
        "time",
        took.as_secs_f64(),
        options.seed
    )?;
    writeln!(out, "{:<34} {}", "cycles", seen.rested.len())?;
    writeln!(out, "{:<34} {}", "looks at the relay", seen.looks)?;
    writeln!(out, "{:<34} {}", "connections at most", seen.most.connections)?;
    writeln!(out, "{:<34} {}", "requests at most", seen.most.requests)?;
    writeln!(out, "{:<34} {}", "tracks and replicas at most", seen.most.tracks)?;
    writeln!(out, "{:<34} {}", "streams at most", seen.most.streams)?;
    writeln!(out, "{:<34} {}", "RSS at most", kib(seen.peak))?;
    writeln!(
        out,
        "{:<34} {} %",
        "of the bound of its moment, at most", seen.tightest
    )?;
    writeln!(out, "{:<34} {}", "RSS at rest, first cycle", rest(first))?;
    writeln!(out, "{:<34} {}", "RSS at rest, last cycle", rest(last))?;
    writeln!(
        out,
        "{:<34} {}",
        "bound at rest",
        kib(bound(frame, Load::default()))
    )?;
    writeln!(
        out,
        "{:<34} {} and {}",
        "descriptors, first and last",
        fds(first),
        fds(last)
    )?;
    for wrong in &seen.wrong {
        writeln!(out, "WRONG: {wrong}")?;
    }
    writeln!(
        out,
        "{}",
        if seen.wrong.is_empty() {
            "held"
        } else {
            "did not hold"
        }
    )?;
    Ok(())
}
