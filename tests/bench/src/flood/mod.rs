//! A publisher that sends as fast as it can, subscribers that cannot keep up, and others that can: what the relay's
//! memory does, what the fast ones notice, and how old what the slow ones get is.
//!
//! ```text
//!  publisher thread ──▶ laps relay (a process, its memory sampled) ──▶ thread of fast subscribers
//!                                                                  ──▶ thread of slow ones, 64 KiB windows, paced
//! ```

mod cost;
mod readers;
mod relay;

use crate::load::{Work, joined};
use crate::publisher::{self, Shared, Source};
use crate::report::print_line;
use crate::slow::Peak;
use crate::{Failure, runtime};
use cost::{Cost, Meter};
use laps_actors::census::bound::{Frame, Load, bound};
use readers::{Phase, Readers, Speed, Tally};
use relay::Relay;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use structopt::StructOpt;
use tokio::time::sleep;

/// What may be cached, in MiB; little, so that the other parts of the bound are seen.
const CACHE_MB: u64 = 64;
/// The relay's default.
const WINDOW: u64 = 8 << 20;
/// How old what a slow subscriber gets may be, where old groups are dropped by policy.
const STALE: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Options {
    /// Subscribers that cannot keep up, one round for each number
    #[structopt(long, use_delimiter = true, default_value = "0,1,10,50")]
    slow: Vec<usize>,
    /// Subscribers that can
    #[structopt(long, default_value = "2")]
    fast: usize,
    /// Kilobytes that a slow one takes each second
    #[structopt(long, default_value = "512")]
    slow_kbps: u64,
    /// Bytes of an object
    #[structopt(long, default_value = "4000")]
    size: usize,
    /// Objects of a group
    #[structopt(long, default_value = "200")]
    group: u64,
    /// Objects that are published each second; 0 is as fast as it goes
    #[structopt(long, default_value = "0")]
    rate: u64,
    /// Seconds of each round
    #[structopt(long, default_value = "60")]
    seconds: u64,
    /// Mebibytes that may wait for a subscriber (subscribe.max_behind_mb)
    #[structopt(long, default_value = "4")]
    max_behind_mb: u64,
    /// Whoever is further behind goes on with the newest group (subscribe.newest_group)
    #[structopt(long)]
    newest_group: bool,
    /// The `laps` that is flooded; else the one beside this program
    #[structopt(long)]
    relay: Option<PathBuf>,
}

/// What one round found.
struct Round {
    slow: usize,
    seconds: f64,
    sent: u64,
    rss: u64,
    bound: u64,
    cost: Cost,
    fast: Tally,
    slowly: Tally,
}

/// Measures, prints what was found, and fails when a promise does not hold.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let policy = if options.newest_group {
        "the newest group"
    } else {
        "the end"
    };
    print_line(&format!(
        "objects of {} bytes, groups of {}, {} fast, slow ones take {} kB/s; at most {} MiB behind, then {policy}",
        options.size, options.group, options.fast, options.slow_kbps, options.max_behind_mb
    ));
    let mut wrong = Vec::new();
    for slow in &options.slow {
        let round = runtime::block_on(round(options, *slow))?;
        tell(options, &round);
        wrong.extend(faults(options, &round));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; ").into())
    }
}

async fn round(options: &Options, slow: usize) -> Result<Round, Failure> {
    let beside = || std::env::current_exe().map(|me| me.with_file_name("laps"));
    let program = options.relay.clone().map_or_else(beside, Ok)?;
    let mut env = vec![
        ("LAPS_WORKERS__THREADS", "1".to_owned()),
        ("LAPS_CACHE__MAX_MB", CACHE_MB.to_string()),
        ("LAPS_CACHE__TRACK_MB", CACHE_MB.to_string()),
        ("LAPS_SUBSCRIBE__MAX_BEHIND_MB", options.max_behind_mb.to_string()),
        ("LAPS_LOGGING__LEVEL", "error".to_owned()),
    ];
    if options.newest_group {
        env.push(("LAPS_SUBSCRIBE__NEWEST_GROUP", "bench".to_owned()));
    }
    let relay = Relay::start(&program, &env)?;
    let (addr, pid) = (relay.addr(), relay.pid());
    let work = Work {
        subscribers: options.fast + slow,
        rate: options.rate as f64,
        size: options.size,
        group: options.group,
        seconds: 0.0,
        warmup: 0.0,
        datagrams: false,
    };
    let shared = Arc::new(Shared {
        epoch: Instant::now(),
        sent: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut publisher = publisher::start(Source::Through(addr), &work, &shared);
    if publisher.ready.recv().await.is_none() {
        return Err(joined(publisher.thread)
            .err()
            .unwrap_or_else(|| "no publisher".into()));
    }
    let pace = Speed::Slow(options.slow_kbps as f64 * 1000.0);
    let mut fast = Readers::start(addr, options.fast, Speed::Fast, &shared);
    fast.ready().await?;
    let mut slowly = Readers::start(addr, slow, pace, &shared);
    slowly.ready().await?;
    let peak = Peak::watch(pid);
    publisher.go.send(true)?;
    sleep(Duration::from_secs(1)).await;
    for readers in [&fast, &slowly] {
        readers.phase.send_replace(Phase::Measuring);
    }
    let (begun, before) = (Instant::now(), shared.sent.load(Ordering::Relaxed));
    let meter = Meter::start(pid)?;
    sleep(Duration::from_secs(options.seconds)).await;
    let cost = meter.end()?;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), shared.sent.load(Ordering::Relaxed));
    let rss = peak.end() << 10;
    let (fast, slowly) = (fast.end()?, slowly.end()?);
    shared.stop.store(true, Ordering::Relaxed);
    drop(publisher.go);
    // It may be in the middle of a group that nobody reads any more; the relay's end is its end.
    drop(relay);
    drop(joined(publisher.thread));
    let clients = (options.fast + slow) as u64;
    let frame = Frame {
        shards: 1,
        cache: CACHE_MB << 20,
        window: WINDOW,
    };
    let load = Load {
        connections: clients + 1,
        requests: clients + 1,
        tracks: 1,
        // A control stream for each, a few groups on their way in, and what each subscriber has open.
        streams: 2 * (clients + 1) + 8 + clients * 8,
        slow_readers: slow as u64,
        floods: 1,
    };
    Ok(Round {
        slow,
        seconds,
        sent: after - before,
        rss,
        bound: bound(frame, load),
        cost,
        fast,
        slowly,
    })
}

fn tell(options: &Options, round: &Round) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    print_line(&format!(
        "{:>2} slow: {:.0} objects/s published; relay RSS {:.1} MiB at most, bound {:.1} MiB",
        round.slow,
        round.sent as f64 / round.seconds,
        mib(round.rss),
        mib(round.bound)
    ));
    let moved = round.sent * options.size as u64 + round.fast.bytes + round.slowly.bytes;
    print_line(&format!("   {}", round.cost.words(round.seconds, moved)));
    for (name, tally) in [("fast", &round.fast), ("slow", &round.slowly)] {
        let ms = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1e6;
        print_line(&format!(
            "   {name}: {:>7.1} MB/s, latency p50 {:.1} p99 {:.1} max {:.1} ms; streams {} whole, {} reset, {} cut by FIN; \
             {} too far behind, {} ended otherwise",
            tally.bytes as f64 / round.seconds / 1e6,
            ms(0.5),
            ms(0.99),
            ms(1.0),
            tally.whole,
            tally.reset,
            tally.truncated,
            tally.too_far,
            tally.done
        ));
    }
}

/// Which promises a round did not keep. Speed is not among them: a machine may be busy.
fn faults(options: &Options, round: &Round) -> Vec<String> {
    let slow = round.slow;
    let mut wrong = Vec::new();
    if round.rss > round.bound {
        wrong.push(format!("{slow} slow: RSS is beyond the bound"));
    }
    if round.fast.truncated + round.slowly.truncated > 0 {
        wrong.push(format!(
            "{slow} slow: a stream ended by FIN in the middle of an object"
        ));
    }
    if round.slowly.done + round.fast.done > 0 {
        wrong.push(format!("{slow} slow: a subscription ended for another reason"));
    }
    // As fast as it goes is faster than any subscriber, on a machine with few cores.
    let all = round.sent * options.fast as u64;
    if options.rate > 0 && (round.fast.too_far > 0 || round.fast.objects < all / 100 * 95) {
        wrong.push(format!(
            "{slow} slow: the fast ones got {} of {all} objects",
            round.fast.objects
        ));
    }
    if options.newest_group {
        let oldest = Duration::from_nanos(round.slowly.latency.value_at_quantile(0.99));
        if slow > 0 && (round.slowly.objects == 0 || oldest > STALE) {
            wrong.push(format!("{slow} slow: what they get is {oldest:?} old"));
        }
        if round.slowly.too_far > 0 {
            wrong.push(format!(
                "{slow} slow: the policy was to skip, and a subscription ended"
            ));
        }
    } else if round.slowly.too_far != slow as u64 {
        wrong.push(format!(
            "{slow} slow: only {} ended as too far behind",
            round.slowly.too_far
        ));
    }
    wrong
}
