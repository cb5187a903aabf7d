//! One subscriber that is stopped among many: what the others notice, and what the relay keeps for it.

use crate::child::Forwarder;
use crate::load::{Work, joined, measure, wait_for_all};
use crate::publisher::{self, Shared, Source};
use crate::report::{Outcome, print_line};
use crate::stopped::Stopped;
use crate::subscriber::{self, Seen};
use crate::{Failure, runtime};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use structopt::StructOpt;
use tokio::time::sleep;

/// What is measured.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Options {
    #[structopt(flatten)]
    work: Work,
    /// Mebibytes that may wait for a subscriber (subscribe.max_behind_mb)
    #[structopt(long, default_value = "4")]
    max_behind_mb: u64,
    /// Whoever is further behind goes on with the newest group (subscribe.newest_group)
    #[structopt(long)]
    newest_group: bool,
    /// Times that this is done, each with a relay of its own
    #[structopt(long, default_value = "3")]
    rounds: usize,
}

/// What one round found.
struct Round {
    before: Outcome,
    during: Outcome,
    /// Resident memory of the relay, in KiB: when the subscriber was stopped, and the most after that.
    rss_before: u64,
    rss_peak: u64,
    stopped: Stopped,
}

/// Measures, and prints what was found.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let Options { work, .. } = options;
    print_line(&format!(
        "{} subscribers, one of them stopped; {} objects/s of {} bytes; at most {} MiB behind, then {}",
        work.subscribers,
        work.rate,
        work.size,
        options.max_behind_mb,
        if options.newest_group {
            "the newest group"
        } else {
            "the end"
        },
    ));
    for number in 1..=options.rounds {
        let round = round(options)?;
        let line = |name: &str, run: &Outcome| {
            format!(
                "  {name:<6} p50 {:>7.3} ms  p99 {:>7.3} ms  {:>6.0} deliveries/s  relay {:.3} CPU s",
                run.p50_ms,
                run.p99_ms,
                run.rate(),
                run.cpu_seconds
            )
        };
        print_line(&format!("round {number}"));
        print_line(&line("before", &round.before));
        print_line(&line("during", &round.during));
        print_line(&format!(
            "  others missing {}, streams of theirs broken {}; relay RSS {} KiB before, {} KiB at most during",
            round.during.missing, round.during.broken, round.rss_before, round.rss_peak
        ));
        print_line(&format!("  the stopped one: {}", round.stopped));
    }
    Ok(())
}

fn round(options: &Options) -> Result<Round, Failure> {
    let mut args = vec![
        "relay".to_owned(),
        "--max-behind-mb".to_owned(),
        options.max_behind_mb.to_string(),
    ];
    if options.newest_group {
        args.push("--newest-group".to_owned());
    }
    let relay = Forwarder::start(&args)?;
    let (addr, pid) = (relay.addr(), relay.pid());
    runtime::block_on(load(addr, pid, options))
}

async fn load(addr: SocketAddr, pid: u32, options: &Options) -> Result<Round, Failure> {
    let work = Work {
        subscribers: options.work.subscribers.saturating_sub(1),
        ..options.work.clone()
    };
    let shared = Arc::new(Shared {
        epoch: Instant::now(),
        sent: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let mut publisher = publisher::start(Source::Through(addr), &work, &shared);
    let Some(addr) = publisher.ready.recv().await else {
        return Err(joined(publisher.thread)
            .err()
            .unwrap_or_else(|| "no publisher".into()));
    };
    let (seen, tls) = (Rc::new(Seen::new()?), subscriber::tls()?);
    let mut subscribers = Vec::new();
    for _ in 0..work.subscribers {
        subscribers.push(subscriber::connect(addr, &tls, &seen, &shared).await?);
    }
    let mut victim = Victim::start(addr)?;
    publisher.go.send(true)?;
    sleep(Duration::from_secs_f64(work.warmup)).await;
    let before = measure(&seen, Some(pid), &work).await?;
    seen.latency.borrow_mut().reset();
    victim.signal("STOP")?;
    let rss_before = resident(pid)?;
    let peak = Peak::watch(pid);
    let mut during = measure(&seen, Some(pid), &work).await?;
    let rss_peak = peak.end();
    victim.signal("CONT")?;
    // It catches up with what it is to have.
    sleep(Duration::from_secs(2)).await;
    let stopped = victim.end()?;
    shared.stop.store(true, Ordering::Relaxed);
    during.missing = wait_for_all(&publisher, &seen, &shared, &work).await;
    during.broken = seen.broken.get();
    drop(publisher.go);
    while !publisher.thread.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
    joined(publisher.thread)?;
    Ok(Round {
        before,
        during,
        rss_before,
        rss_peak,
        stopped,
    })
}

/// The process that is stopped.
struct Victim(Child, BufReader<std::process::ChildStdout>);

impl Victim {
    /// Starts it, and waits until it is subscribed.
    fn start(addr: SocketAddr) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["stopped", "--to", &addr.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        if line.trim() != "subscribed" {
            return Err("the subscriber to be stopped did not start".into());
        }
        Ok(Self(child, out))
    }

    fn signal(&self, name: &str) -> Result<(), Failure> {
        let kill = format!("kill -{name} {}", self.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status()?;
        if sent.success() { Ok(()) } else { Err(kill.into()) }
    }

    /// Ends it, and says what became of it.
    fn end(&mut self) -> Result<Stopped, Failure> {
        drop(self.0.stdin.take());
        let mut line = String::new();
        self.1.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // One that is still stopped would not hear of its end.
        self.signal("CONT").ok();
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse()?)
}

/// Watches how much memory a process has at most.
pub(crate) struct Peak {
    thread: std::thread::JoinHandle<u64>,
    over: Arc<AtomicBool>,
}

impl Peak {
    pub(crate) fn watch(pid: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                peak = peak.max(resident(pid).unwrap_or_default());
                std::thread::sleep(Duration::from_millis(50));
            }
            peak
        });
        Self { thread, over }
    }

    pub(crate) fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
