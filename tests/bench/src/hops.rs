//! What each relay adds to the latency: chains of one relay and more, each a process of its own, on loopback.
//!
//! ```text
//!  publisher ──▶ relay 1 ──link──▶ relay 2 ──link──▶ ... ──▶ relay n ──▶ subscriber
//!  publisher ────────────────────── no relay ──────────────────────────▶ subscriber
//! ```
//!
//! Without a relay it takes what the machine's network and wake-ups take, and that differs from one machine to the next,
//! and between two boots of one. So what is compared over time is what relays add to it.

use crate::load::{self, Work};
use crate::publisher::Source;
use crate::report::{Outcome, Spread, print_line};
use crate::{Failure, runtime};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use structopt::StructOpt;

/// How `laps hops` is run.
#[derive(Clone, Debug, StructOpt)]
pub(crate) struct Options {
    /// The relay's program
    #[structopt(long)]
    laps: PathBuf,
    /// Relays of the longest chain
    #[structopt(long, default_value = "4")]
    relays: usize,
    /// Times that each length is measured, alternately
    #[structopt(long, default_value = "5")]
    runs: usize,
    /// Seconds that are measured each time
    #[structopt(long, default_value = "10")]
    seconds: f64,
    /// Objects per second
    #[structopt(long, default_value = "30")]
    rate: f64,
}

/// A relay in a process of its own.
struct Relay {
    child: Child,
    clients: SocketAddr,
    links: SocketAddr,
}

/// Measures streams of 4 kB objects, then datagrams of 1 kB.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    for (name, size, datagrams) in [("streams, 4 kB", 4_000, false), ("datagrams, 1 kB", 1_000, true)] {
        let mut found: Vec<Vec<Outcome>> = vec![Vec::new(); options.relays.saturating_add(1)];
        for _ in 0..options.runs {
            for (length, outcomes) in found.iter_mut().enumerate() {
                outcomes.push(measure(options, length, size, datagrams)?);
            }
        }
        print_line(&format!(
            "{name}, {} objects/s, {} runs of {} s each: median (least to most)",
            options.rate, options.runs, options.seconds
        ));
        print_line("relays  p50 ms                        p99 ms                        stolen  missing");
        let mut before: Option<f64> = None;
        for (length, outcomes) in found.iter().enumerate() {
            let spread =
                |of: fn(&Outcome) -> f64| Spread::of(outcomes.iter().map(of)).ok_or("nothing was measured");
            let (p50, p99) = (
                spread(|outcome| outcome.p50_ms)?,
                spread(|outcome| outcome.p99_ms)?,
            );
            let stolen = outcomes
                .iter()
                .fold(0.0, |most: f64, outcome| most.max(outcome.steal));
            let missing: u64 = outcomes
                .iter()
                .map(|outcome| outcome.missing + outcome.broken)
                .sum();
            let more = before.map_or(String::new(), |before| {
                format!("  p50 {:+.3}", p50.median - before)
            });
            print_line(&format!(
                "{length:<7} {:<29} {:<29} {:>4.1} %  {missing}{more}",
                p50.to_string(),
                p99.to_string(),
                stolen * 100.0
            ));
            before = Some(p50.median);
        }
    }
    Ok(())
}

fn measure(options: &Options, length: usize, size: usize, datagrams: bool) -> Result<Outcome, Failure> {
    let mut chain: Vec<Relay> = Vec::new();
    for number in 1..=length {
        let relay = Relay::start(options, number, chain.last())?;
        chain.push(relay);
    }
    let source = match (chain.first(), chain.last()) {
        (Some(first), Some(last)) => Source::Along {
            from: first.clients,
            to: last.clients,
        },
        _ => Source::Direct,
    };
    let work = Work {
        subscribers: 1,
        rate: options.rate,
        size,
        group: 30,
        seconds: options.seconds,
        warmup: 2.0,
        datagrams,
    };
    runtime::block_on(load::run(source, None, work))
}

impl Relay {
    fn start(options: &Options, number: usize, before: Option<&Self>) -> Result<Self, Failure> {
        // Free now; whoever takes it meanwhile is told of by the relay.
        let links = UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(&options.laps);
        command
            .env("LAPS_RELAY__BIND", "127.0.0.1")
            .env("LAPS_ADMIN__PORT", "off")
            .env("LAPS_DISCOVERY__MDNS", "off")
            .env("LAPS_RELAY__PORT", "0")
            .env("LAPS_RELAY__ENDPOINT_ID", format!("1:{number}"))
            .env("LAPS_WORKERS__THREADS", "1")
            // The mesh is no mesh yet when the subscriber asks.
            .env("LAPS_SUBSCRIBE__WAIT", "15000")
            .env("LAPS_PEERING__INSECURE", "true")
            .env("LAPS_PEERING__BIND", "127.0.0.1")
            .env("LAPS_PEERING__PORT", links.port().to_string());
        if let Some(before) = before {
            command.env("LAPS_PEERING__PEERS", before.links.to_string());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let mut clients = None;
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        for line in lines.by_ref() {
            let listening = line.split("listening on ").nth(1);
            if let Some(address) = listening.and_then(|rest| rest.split(',').next()) {
                clients = address.parse().ok();
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            child,
            clients: clients.ok_or("a relay did not start")?,
            links,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
