//! One run of the generator: connects, warms up, measures, counts what is missing.

use crate::Failure;
use crate::publisher::{self, Publisher, Shared, Source};
use crate::report::Outcome;
use crate::subscriber::{self, Seen};
use crate::usage::{Machine, cpu_of};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use structopt::StructOpt;
use tokio::time::{sleep, timeout};

/// How long the last objects may take to arrive.
const DRAIN: Duration = Duration::from_secs(5);

/// What is sent.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Work {
    /// Subscribers, each with a connection and a socket of its own
    #[structopt(long, default_value = "50")]
    pub(crate) subscribers: usize,
    /// Objects per second
    #[structopt(long, default_value = "1000")]
    pub(crate) rate: f64,
    /// Bytes of payload of one object, at least 8
    #[structopt(long, default_value = "1200")]
    pub(crate) size: usize,
    /// Objects per group; each group is one stream
    #[structopt(long, default_value = "100")]
    pub(crate) group: u64,
    /// Seconds that are measured
    #[structopt(long, default_value = "10")]
    pub(crate) seconds: f64,
    /// Seconds before that
    #[structopt(long, default_value = "2")]
    pub(crate) warmup: f64,
    /// Each object is a datagram
    #[structopt(long)]
    pub(crate) datagrams: bool,
}

impl Work {
    /// The options that make another process of this program do the same work.
    pub(crate) fn args(&self) -> Vec<String> {
        let datagrams = self.datagrams.then(|| "--datagrams".to_owned());
        [
            ("--subscribers", self.subscribers.to_string()),
            ("--rate", self.rate.to_string()),
            ("--size", self.size.to_string()),
            ("--group", self.group.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--warmup", self.warmup.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .chain(datagrams)
        .collect()
    }
}

/// Measures once. `pid` is the process whose CPU time counts.
pub(crate) async fn run(source: Source, pid: Option<u32>, work: Work) -> Result<Outcome, Failure> {
    let shared = Arc::new(Shared {
        epoch: Instant::now(),
        sent: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut publisher = publisher::start(source, &work, &shared);
    let Some(addr) = publisher.ready.recv().await else {
        return Err(joined(publisher.thread)
            .err()
            .unwrap_or_else(|| "no publisher".into()));
    };
    let seen = Rc::new(Seen::new()?);
    let tls = subscriber::tls()?;
    let mut subscribers = Vec::new();
    for _ in 0..work.subscribers {
        subscribers.push(subscriber::connect(addr, &tls, &seen, &shared).await?);
    }
    publisher.go.send(true)?;
    sleep(Duration::from_secs_f64(work.warmup)).await;
    let mut outcome = measure(&seen, pid, &work).await?;
    shared.stop.store(true, Ordering::Relaxed);
    outcome.missing = wait_for_all(&publisher, &seen, &shared, &work).await;
    outcome.broken = seen.broken.get();
    drop(publisher.go);
    // The publisher waits for acknowledgements, which this thread's endpoints have yet to send.
    while !publisher.thread.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
    joined(publisher.thread)?;
    Ok(outcome)
}

/// Waits until everything that was sent is in; what is not by then is counted as missing.
pub(crate) async fn wait_for_all(publisher: &Publisher, seen: &Seen, shared: &Shared, work: &Work) -> u64 {
    let due = || shared.sent.load(Ordering::Relaxed) * work.subscribers as u64;
    let all_in = async {
        while !publisher.thread.is_finished() && seen.objects.get() < due() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DRAIN, all_in).await.ok();
    due().saturating_sub(seen.objects.get())
}

pub(crate) fn joined(thread: std::thread::JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    thread.join().map_err(|_| "the publisher panicked")?
}

/// Measures for as long as `work` says.
pub(crate) async fn measure(seen: &Seen, pid: Option<u32>, work: &Work) -> Result<Outcome, Failure> {
    let cpu = || pid.map_or(Ok(Duration::ZERO), cpu_of);
    let (objects, bytes) = (seen.objects.get(), seen.bytes.get());
    let own = std::process::id();
    let (machine, began, before, own_before) = (Machine::now()?, Instant::now(), cpu()?, cpu_of(own)?);
    seen.measuring.set(true);
    sleep(Duration::from_secs_f64(work.seconds)).await;
    seen.measuring.set(false);
    let (used, took) = (cpu()?.saturating_sub(before), began.elapsed());
    let spent = used + cpu_of(own)?.saturating_sub(own_before);
    let shares = Machine::now()?.since(machine, spent);
    let latency = seen.latency.borrow();
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Outcome {
        delivered: seen.objects.get() - objects,
        gigabytes: (seen.bytes.get() - bytes) as f64 / 1e9,
        seconds: took.as_secs_f64(),
        cpu_seconds: used.as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        steal: shares.stolen,
        others: shares.others,
        missing: 0,
        broken: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;

    #[test]
    fn a_short_run_delivers_everything() {
        let work = Work {
            subscribers: 3,
            rate: 200.0,
            size: 5000,
            group: 7,
            seconds: 0.2,
            warmup: 0.0,
            datagrams: false,
        };
        let pid = Some(std::process::id());
        let outcome = runtime::block_on(run(Source::Direct, pid, work)).unwrap();
        assert!(outcome.delivered > 0 && outcome.cpu_seconds > 0.0, "{outcome:?}");
        assert_eq!((outcome.missing, outcome.broken), (0, 0));
    }
}
