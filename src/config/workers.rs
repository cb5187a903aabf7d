//! How many workers there are, and whether they fit into the memory.
//!
//! A worker has its share of memory before anybody is served: above all the ring that its socket is read into. As many as
//! there are cores would fill a small container on a large machine by themselves, and the relay would refuse newcomers from
//! the start.

use super::check::MAX_THREADS;
use super::sections::Config;
use laps_actors::census::bound::{BASE, SHARD};
use laps_actors::limits::memory;

/// Percent of the memory from which on newcomers are refused (README, "Overload").
const REFUSES_AT: u64 = 80;

impl Config {
    /// How many workers to run: as many as configured, else one for each core, as far as they and the base fit into
    /// half of what the relay may use before it refuses newcomers. The other half is for those.
    #[must_use]
    pub fn workers(&self) -> u16 {
        match self.workers.threads {
            0 => fitting(cores(), self.memory()),
            threads => threads,
        }
    }

    /// What an operator has to know of workers and memory, and what to do; nothing when they fit.
    #[must_use]
    pub fn workers_warning(&self) -> Option<String> {
        warning(self.workers.threads, cores(), self.memory())
    }

    /// Bytes of memory that the relay may use; 0 when neither the operator nor the system says.
    fn memory(&self) -> u64 {
        match self.limits.memory_mb {
            0 => memory::share(),
            mb => mb.saturating_mul(1 << 20),
        }
    }
}

/// The least `limits.memory_mb` with so many workers: with less, newcomers would be refused before anybody is served. 0
/// stands for as many as fit, and at least one does.
pub(super) fn least_memory_mb(threads: u16) -> u64 {
    (idle(threads.max(1)) * 100)
        .div_ceil(REFUSES_AT)
        .div_ceil(1 << 20)
}

/// Bytes that a relay with so many workers has at most before anybody is served.
fn idle(workers: u16) -> u64 {
    BASE + SHARD * u64::from(workers)
}

fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores).unwrap_or(MAX_THREADS).min(MAX_THREADS)
}

fn fitting(cores: u16, memory: u64) -> u16 {
    if memory == 0 {
        return cores;
    }
    let room = memory.saturating_mul(REFUSES_AT) / 100 / 2;
    let fit = room.saturating_sub(BASE) / SHARD;
    u16::try_from(fit).unwrap_or(u16::MAX).clamp(1, cores.max(1))
}

fn warning(threads: u16, cores: u16, memory: u64) -> Option<String> {
    let workers = if threads == 0 {
        fitting(cores, memory)
    } else {
        threads
    };
    let (needs, has) = (idle(workers) >> 20, memory >> 20);
    if memory > 0 && idle(workers) > memory.saturating_mul(REFUSES_AT) / 100 {
        Some(format!(
            "{workers} worker(s) may have up to {needs} MiB before anybody is served, and the relay may use {has} MiB, of \
             which newcomers are refused from {REFUSES_AT} % on: give it {} MiB (the container's limit, or \
             limits.memory_mb), or fewer workers.threads",
            least_memory_mb(workers)
        ))
    } else if threads == 0 && workers < cores {
        Some(format!(
            "{workers} worker(s) for {cores} cores, since more would have too much of the {has} MiB that the relay may use: \
             give it more (the container's limit, or limits.memory_mb), or set workers.threads"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_small_container_on_a_large_machine_gets_few_workers() {
        for (cores, mib, workers) in [
            (32, 0, 32),
            (32, 64 << 10, 32),
            (32, 768, 17),
            // A container of 256 MiB: three quarters of it.
            (32, 192, 2),
            (2, 192, 2),
            (1, 192, 1),
            (32, 10, 1),
        ] {
            assert_eq!(fitting(cores, mib * MIB), workers, "{cores} cores, {mib} MiB");
        }
    }

    #[test]
    fn an_operator_is_told_what_does_not_fit() {
        for (threads, cores, mib, said) in [
            (0, 32, 192, Some("2 worker(s) for 32 cores")),
            (32, 32, 192, Some("give it 680 MiB")),
            (0, 4, 50, Some("give it 60 MiB")),
            (0, 2, 192, None),
            (2, 32, 192, None),
            (256, 2, 0, None),
        ] {
            let warning = warning(threads, cores, mib * MIB);
            assert_eq!(warning.is_some(), said.is_some(), "{warning:?}");
            assert!(
                said.is_none_or(|said| warning.unwrap().contains(said)),
                "{said:?}"
            );
        }
    }

    /// Whoever follows the advice is not told again.
    #[test]
    fn the_least_memory_is_enough() {
        for threads in [0, 1, 2, 32, 256] {
            let least = least_memory_mb(threads) * MIB;
            let over = |memory| warning(threads.max(1), 1, memory).is_some();
            assert!(!over(least), "{threads}");
            assert!(over(least - 2 * MIB), "{threads}");
        }
    }
}
