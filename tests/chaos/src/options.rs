//! The command line, as `scripts/chaos` writes it.

use crate::run::End;
use crate::scene::Tools;
use crate::{Failure, faults, mesh, nat, peer, run, storm, table};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use structopt::StructOpt;

/// What a fault costs
#[derive(Clone, Debug, StructOpt)]
enum Command {
    /// Prints the faults
    List,
    /// Runs faults
    Run(RunOptions),
    /// Makes sessions panic by the thousand while others go on
    Storm {
        #[structopt(flatten)]
        tools: ToolOptions,
        /// Sessions that panic
        #[structopt(long, default_value = "10000")]
        sessions: u64,
    },
    /// Prints what is promised of a mesh
    MeshList,
    /// Runs meshes of relays
    Mesh {
        #[structopt(flatten)]
        tools: ToolOptions,
        /// Only cases whose name begins so
        #[structopt(long)]
        case: Vec<String>,
        /// Meshes at once
        #[structopt(long, default_value = "2")]
        jobs: usize,
        /// How long it is looked for false alarms, minutes
        #[structopt(long, default_value = "0.4")]
        minutes: f64,
    },
    /// Says whether the table of this file has the faults that there are
    CheckTable { file: PathBuf },
    /// Is a road with delay and loss between relays
    Road {
        /// The address of its door
        door: IpAddr,
        /// Where it leads
        to: SocketAddr,
        /// How long a packet takes, milliseconds
        #[structopt(long, default_value = "0")]
        delay: u64,
        /// How many of a hundred are lost
        #[structopt(long, default_value = "0")]
        loss: u64,
        /// What is lost follows from it
        #[structopt(long, default_value = "1")]
        seed: u64,
    },
    /// Is a NAT, in a client's namespace
    Nat { relay: SocketAddr },
    /// Is a peer that is no `laps`
    Peer {
        relay: SocketAddr,
        #[structopt(subcommand)]
        part: peer::Part,
    },
}

#[derive(Clone, Debug, StructOpt)]
struct ToolOptions {
    /// A `laps` with the feature `chaos`
    #[structopt(long)]
    laps: PathBuf,
    /// The library of libfaketime
    #[structopt(long)]
    faketime: Option<PathBuf>,
    /// Where scenes keep their files
    #[structopt(long)]
    scratch: PathBuf,
}

#[derive(Clone, Debug, StructOpt)]
struct RunOptions {
    #[structopt(flatten)]
    tools: ToolOptions,
    /// The first seed
    #[structopt(long, default_value = "1")]
    seed: u64,
    /// Runs of each fault, each with the next seed
    #[structopt(long, default_value = "1")]
    runs: u64,
    /// Only faults whose name begins so
    #[structopt(long)]
    fault: Vec<String>,
    /// Scenes at once
    #[structopt(long, default_value = "3")]
    jobs: usize,
    /// Write the table into this file
    #[structopt(long)]
    table: Option<PathBuf>,
    /// The line above the table
    #[structopt(long, default_value = "")]
    heading: String,
}

impl ToolOptions {
    fn tools(&self) -> Tools {
        Tools {
            laps: self.laps.clone(),
            faketime: self.faketime.clone(),
            scratch: self.scratch.clone(),
            watched: Duration::ZERO,
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    match Command::from_args() {
        Command::List => list()?,
        Command::Run(options) => return run_faults(&options),
        Command::Storm { tools, sessions } => storm::run(&tools.tools(), sessions)?,
        Command::MeshList => list_meshes()?,
        Command::Mesh {
            tools,
            case,
            jobs,
            minutes,
        } => {
            let watched = Duration::try_from_secs_f64(minutes * 60.0)?;
            let tools = Tools {
                watched,
                ..tools.tools()
            };
            return run_meshes(&tools, &case, jobs);
        }
        Command::CheckTable { file } => table::check(&file)?,
        Command::Road {
            door,
            to,
            delay,
            loss,
            seed,
        } => mesh::lay_road(door, to, (Duration::from_millis(delay), loss), seed)?,
        Command::Nat { relay } => nat::run(relay)?,
        Command::Peer { relay, part } => peer::run(relay, &part)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for fault in faults::all() {
        writeln!(out, "{:28} {}", fault.name, fault.what)?;
    }
    Ok(())
}

fn list_meshes() -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for case in mesh::all() {
        writeln!(out, "{:24} {}", case.name, case.what)?;
    }
    Ok(())
}

fn run_meshes(tools: &Tools, names: &[String], jobs: usize) -> Result<ExitCode, Failure> {
    let wanted = |case: &&mesh::Case| {
        names.is_empty() || names.iter().any(|name| case.name.starts_with(name.as_str()))
    };
    let cases: Vec<mesh::Case> = mesh::all().iter().filter(wanted).copied().collect();
    if cases.is_empty() {
        return Err("no case is called so; scripts/mesh --list names them".into());
    }
    let (passed, failed) = mesh::run(tools, &cases, jobs);
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "test result: {word}. {passed} passed; {} failed; 0 ignored {}",
        failed.len(),
        failed.join(", ")
    )?;
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_faults(options: &RunOptions) -> Result<ExitCode, Failure> {
    let mut wanted = faults::all();
    if !options.fault.is_empty() {
        wanted.retain(|fault| {
            options
                .fault
                .iter()
                .any(|name| fault.name.starts_with(name.as_str()))
        });
    }
    if wanted.is_empty() {
        return Err("no fault is called so; scripts/chaos --list names them".into());
    }
    let seeds: Vec<u64> = (options.seed..).take(usize::try_from(options.runs)?).collect();
    let ran = run::all(&options.tools.tools(), &wanted, &seeds, options.jobs);
    let count = |which: fn(&End) -> bool| ran.iter().filter(|ran| which(&ran.end)).count();
    let passed = count(|end| matches!(end, End::Passed(_)));
    let failed = count(|end| matches!(end, End::Failed(_)));
    let skipped = count(|end| matches!(end, End::Skipped(_)));
    let seeds: Vec<String> = ran
        .iter()
        .filter(|ran| matches!(ran.end, End::Failed(_)))
        .map(|ran| format!("{} with seed {}", ran.fault.name, ran.seed))
        .collect();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "test result: {word}. {passed} passed; {failed} failed; {skipped} ignored {}",
        seeds.join(", ")
    )?;
    if failed > 0 {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(file) = &options.table {
        table::write(file, &options.heading, &ran)?;
    }
    Ok(ExitCode::SUCCESS)
}
