//! Churn against a relay process for minutes, and whether its memory and tables stay what they should be.
//!
//! ```text
//!  run ──spawns──▶ laps relay              told by SIGUSR2 to print its census
//!      ──spawns──▶ clients (several)       live at random, by seed; some are killed, the others are told to end
//!  a cycle: churn, everybody leaves, every table empties, memory is noted
//! ```

mod clients;
mod judge;
mod measure;
mod relay;
mod rng;
mod run;

use std::net::SocketAddr;
use structopt::StructOpt;

/// Anything that ends the soak; it is told to the person at the terminal and to nobody else.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, StructOpt)]
#[structopt(name = "laps-soak", about = "Soaks a relay")]
enum Command {
    /// Soaks a relay, and says whether it held
    Run(run::Options),
    /// The clients of one process: they live until standard input ends
    Clients {
        /// Where the relay listens
        #[structopt(long)]
        to: SocketAddr,
        /// What they do follows from it
        #[structopt(long)]
        seed: u64,
        /// How many there are at a time
        #[structopt(long)]
        count: usize,
    },
    /// Says what one of each thing costs a relay in memory
    Measure(measure::Options),
    /// One client that stays until standard input ends: the leak that `run --keep-one` plants
    Stay {
        /// Where the relay listens
        #[structopt(long)]
        to: SocketAddr,
    },
}

fn main() -> Result<(), Failure> {
    let command = Command::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    match command {
        Command::Run(options) => local.block_on(&runtime, run::run(&options)),
        Command::Clients { to, seed, count } => local.block_on(&runtime, clients::run(to, seed, count)),
        Command::Measure(options) => local.block_on(&runtime, measure::run(&options)),
        Command::Stay { to } => local.block_on(&runtime, clients::stay(to)),
    }
}
