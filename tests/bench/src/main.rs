//! What the relay costs: CPU seconds per delivered GB and added latency, beside the same forwarding without actors.
//!
//! ```text
//!  pairs ──spawns──▶ relay | bare        prints its address, ends when its standard input does
//!        ──spawns──▶ load  | direct      publisher thread ─▶ server ─▶ N connections of the subscriber thread
//!  slow  ──spawns──▶ relay, stopped      the same load, and one subscriber that is a process of its own
//! ```
//!
//! The forwarder is a process of its own, so its CPU time is its alone. `relay` is the product's composition; `bare`
//! forwards the same bytes at the same moments through the same transport settings, in plain local tasks. Both are
//! loaded by the same generator, alternately, because the figures of a shared machine drift.
//!
//! Another measurement, `congested`, asks what priorities are worth when the link to a subscriber is too small.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a message or item of any other kind ends the measurement, also one that is new"
)]

mod bare;
mod child;
mod congested;
mod direct;
mod flood;
mod hops;
mod load;
mod pairs;
mod publisher;
mod relay;
mod report;
mod runtime;
mod slow;
mod stopped;
mod subscriber;
mod usage;
mod wire;

use laps_actors::session::{self, egress::SendPolicy};
use laps_actors::transport::Listen;
use load::Work;
use std::net::{IpAddr, SocketAddr};
use structopt::StructOpt;

/// Anything that ends a measurement; it is told to the person at the terminal and to nobody else.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, StructOpt)]
#[structopt(name = "laps-bench", about = "Measures what the relay costs")]
enum Command {
    /// Runs the relay until standard input ends
    Relay {
        /// Shards, each with a thread of its own
        #[structopt(long, default_value = "1")]
        shards: usize,
        /// Address to listen on
        #[structopt(long, default_value = "127.0.0.1")]
        listen: IpAddr,
        /// Sends as it comes, whatever the priorities are
        #[structopt(long)]
        arrival: bool,
        /// Mebibytes that may wait for a subscriber
        #[structopt(long)]
        max_behind_mb: Option<u64>,
        /// Whoever is further behind goes on with the newest group
        #[structopt(long)]
        newest_group: bool,
    },
    /// Runs the same forwarding without actors until standard input ends
    Bare,
    /// Loads a running forwarder and prints one line of JSON
    Load {
        /// Where the forwarder listens
        #[structopt(long)]
        to: SocketAddr,
        /// Process whose CPU time is read
        #[structopt(long)]
        pid: Option<u32>,
        #[structopt(flatten)]
        work: Work,
    },
    /// Sends to the subscribers with nothing in between and prints one line of JSON
    Direct {
        #[structopt(flatten)]
        work: Work,
    },
    /// Measures relay and bare alternately and prints the table
    Pairs(pairs::Options),
    /// Publishes one urgent track and bulk to a relay until standard input ends
    Feed {
        /// Where the relay listens
        #[structopt(long)]
        to: SocketAddr,
        #[structopt(flatten)]
        work: congested::Work,
    },
    /// Subscribes to these tracks on one connection and prints one line of JSON
    Watch {
        /// Where the relay listens
        #[structopt(long)]
        to: SocketAddr,
        #[structopt(flatten)]
        work: congested::Work,
    },
    /// Measures scheduled and naive sending alternately, behind a slow link, and prints the table
    Priority(congested::Options),
    /// Subscribes, reads, and says in the end what came
    Stopped {
        /// Where the relay listens
        #[structopt(long)]
        to: SocketAddr,
    },
    /// Measures what the others notice when one subscriber is stopped
    Slow(slow::Options),
    /// Measures what each further relay of a mesh adds to the latency, and prints the table
    Hops(hops::Options),
    /// Floods subscribers that cannot keep up, and says what that costs and whom
    Flood(flood::Options),
}

fn main() -> Result<(), Failure> {
    match Command::from_args() {
        Command::Relay {
            shards,
            listen,
            arrival,
            max_behind_mb,
            newest_group,
        } => {
            let mut session = session::Config::default();
            if arrival {
                session.send_policy = SendPolicy::Arrival;
            }
            if let Some(mb) = max_behind_mb {
                session.max_behind = mb << 20;
            }
            session.skips.all = newest_group;
            relay::run(Listen::Ip(listen), shards, session)
        }
        Command::Bare => runtime::block_on(bare::run()),
        Command::Load { to, pid, work } => {
            let source = publisher::Source::Through(to);
            runtime::block_on(load::run(source, pid, work)).and_then(|result| report::print_json(&result))
        }
        Command::Direct { work } => {
            let source = publisher::Source::Direct;
            runtime::block_on(load::run(source, None, work)).and_then(|result| report::print_json(&result))
        }
        Command::Pairs(options) => pairs::run(&options),
        Command::Feed { to, work } => runtime::block_on(congested::feed(to, work)),
        Command::Watch { to, work } => runtime::block_on(congested::watch(to, work)),
        Command::Priority(options) => congested::run(&options),
        Command::Stopped { to } => runtime::block_on(stopped::run(to)),
        Command::Slow(options) => slow::run(&options),
        Command::Hops(options) => hops::run(&options),
        Command::Flood(options) => flood::run(&options),
    }
}
