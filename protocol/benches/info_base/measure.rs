//! What a process tells of itself: its memory, its processor time, and where a phase ends.

use std::time::Duration;

/// Messages that are made before the clock runs: few, since they take memory, too.
const BATCH: usize = 1000;

/// Resident memory in bytes.
pub(crate) fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// What this thread has computed, as Linux counts it: on a machine that does other things too the clock says less.
pub(crate) fn computed() -> Duration {
    // It is counted up to now when the thread stops for a moment.
    std::thread::sleep(Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux counts what a thread computes"))
}

/// Runs `step` for each of `count` entries with its message; only the steps are timed.
pub(crate) fn timed<M>(count: usize, make: impl Fn(usize) -> M, mut step: impl FnMut(M)) -> Duration {
    let mut time = Duration::ZERO;
    for start in (0..count).step_by(BATCH) {
        let batch: Vec<_> = (start..count.min(start + BATCH)).map(&make).collect();
        let begin = computed();
        for message in batch {
            step(message);
        }
        time += computed().saturating_sub(begin);
    }
    time
}

/// One thing that was done `count` times.
pub(crate) struct Phase {
    pub(crate) what: &'static str,
    pub(crate) count: usize,
    /// For all of them.
    pub(crate) time: Duration,
}

/// What a part measured.
#[derive(Default)]
pub(crate) struct Measured {
    /// For one of what takes memory, in the order of [`TAKES`](crate::parts::TAKES).
    pub(crate) bytes: Vec<usize>,
    pub(crate) phases: Vec<Phase>,
}

impl Measured {
    /// Notes a phase that ends here.
    pub(crate) fn note(&mut self, what: &'static str, time: Duration, count: usize) {
        self.phases.push(Phase { what, count, time });
        phase_ends();
    }
}

/// Where valgrind writes down what it has counted since the last time; it knows this function by its name.
#[inline(never)]
fn phase_ends() {
    std::hint::black_box(());
}
