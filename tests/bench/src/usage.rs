//! CPU time of a process, and what the hypervisor took from the machine.

use crate::Failure;
use std::fs;
use std::time::Duration;

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

/// Ticks of the whole machine since it started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    stolen: u64,
    idle: u64,
    all: u64,
}

impl Machine {
    pub(crate) fn now() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().ok_or("/proc/stat is empty")?;
        // cpu user nice system idle iowait irq softirq steal: guest time is contained in user time.
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
            all: ticks.iter().sum(),
        })
    }

    /// Share of the time since `earlier` that the hypervisor gave to others, and share that was used (0 to 1).
    pub(crate) fn since(self, earlier: Self) -> (f64, f64) {
        let all = (self.all - earlier.all).max(1) as f64;
        let stolen = (self.stolen - earlier.stolen) as f64 / all;
        let idle = (self.idle - earlier.idle) as f64 / all;
        (stolen, 1.0 - idle - stolen)
    }
}
