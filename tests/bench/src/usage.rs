//! CPU time of a process, and what the hypervisor took from the machine.

use crate::Failure;
use std::fs;
use std::time::{Duration, Instant};

/// CPU time of all threads that process `pid` has now. It rests on the scheduler's own count in nanoseconds:
/// utime and stime are kept in ticks of 10 ms.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration, Failure> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let line = fs::read_to_string(task?.path().join("schedstat"))?;
        let ns = line.split_whitespace().next().ok_or("schedstat is empty")?;
        sum += ns.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}

/// Time of all cores together since the machine started, in ticks of 10 ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    stolen: u64,
    idle: u64,
    cores: usize,
    at: Instant,
}

/// What became of the time of all cores, as shares of it (0 to 1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// The hypervisor gave it to others.
    pub(crate) stolen: f64,
    /// Somebody here used it, `spent` excluded.
    pub(crate) others: f64,
}

impl Machine {
    pub(crate) fn now() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/stat")?;
        let mut lines = text.lines().take_while(|line| line.starts_with("cpu"));
        let line = lines.next().ok_or("/proc/stat is empty")?;
        // cpu user nice system idle iowait irq softirq steal
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let of = |index: usize| ticks.get(index).copied().unwrap_or_default();
        Ok(Self {
            stolen: of(7),
            idle: of(3) + of(4),
            cores: lines.count(),
            at: Instant::now(),
        })
    }

    /// The shares since `earlier`, of which `spent` was ours.
    ///
    /// Idle time is measured, busy time only sampled at ticks, which work that follows timers escapes; so what was
    /// used is what was not idle.
    pub(crate) fn since(self, earlier: Self, spent: Duration) -> Shares {
        let all = (self.at - earlier.at).as_secs_f64() * self.cores as f64;
        let share = |ticks: u64| ticks as f64 / TICKS_PER_SECOND / all;
        let (stolen, idle) = (
            share(self.stolen - earlier.stolen),
            share(self.idle - earlier.idle),
        );
        Shares {
            stolen,
            others: (1.0 - idle - stolen - spent.as_secs_f64() / all).max(0.0),
        }
    }
}

/// USER_HZ of Linux on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
