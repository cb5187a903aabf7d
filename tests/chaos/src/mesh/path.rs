//! A link with delay and loss: a process where all roads meet, and what it is told.

use crate::Failure;
use crate::process::{Process, Start};
use crate::road::{Road, Side, Terms};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A link with delay and loss. It ends with this.
#[derive(Debug)]
pub(crate) struct Path {
    process: Process,
    /// Whom to dial instead.
    pub(crate) door: String,
}

/// What a path is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// Where it runs.
    pub(super) space: &'a str,
    /// The address of its door.
    pub(super) door: &'a str,
    /// Where it leads.
    pub(super) to: &'a str,
    pub(super) delay: Duration,
    /// Of a hundred packets.
    pub(super) loss: u64,
    pub(super) log: &'a std::path::Path,
}

impl Path {
    /// Lays it; returns when its door is open.
    pub(super) fn lay(plan: Plan<'_>) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let (delay, loss) = (plan.delay.as_millis().to_string(), plan.loss.to_string());
        let words = ["road", plan.door, plan.to, "--delay", &delay, "--loss", &loss];
        let mut process = Process::start(Start {
            space: plan.space,
            program: program.as_os_str(),
            words: words.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
            log: plan.log,
        })?;
        let mut door = String::new();
        BufReader::new(process.output()?).read_line(&mut door)?;
        Ok(Self {
            process,
            door: door.trim().to_owned(),
        })
    }

    /// From now on packets take so long, and so many of a hundred are lost.
    pub(super) fn set(&mut self, delay: Duration, loss: u64) -> Result<(), Failure> {
        self.say(&format!("terms {} {loss}", delay.as_millis()))
    }

    /// One side stands still for so long, as far as the other one can see.
    pub(super) fn stall(&mut self, side: Side, time: Duration) -> Result<(), Failure> {
        let side = match side {
            Side::Dialler => "dialler",
            Side::Dialled => "dialled",
        };
        self.say(&format!("stall {side} {}", time.as_millis()))
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        let input = self.process.input()?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }
}

/// Is such a process: prints its door, does what the lines of its standard input say, and ends with that.
pub(crate) fn lay_road(
    door: IpAddr,
    to: SocketAddr,
    (delay, loss_percent): (Duration, u64),
    seed: u64,
) -> Result<(), Failure> {
    let road = Road::open(door, to, Terms { delay, loss_percent }, seed)?;
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", road.door())?;
        out.flush()?;
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["terms", delay, loss] => road.set(Terms {
                delay: Duration::from_millis(delay.parse()?),
                loss_percent: loss.parse()?,
            }),
            ["stall", "dialler", time] => road.stall(Side::Dialler, Duration::from_millis(time.parse()?)),
            ["stall", "dialled", time] => road.stall(Side::Dialled, Duration::from_millis(time.parse()?)),
            _ => return Err(format!("`{line}` is nothing that a road does").into()),
        }
        let (carried, lost) = road.counts();
        eprintln!("{line}, after {carried} packets, and {lost} that were lost");
    }
    Ok(())
}
