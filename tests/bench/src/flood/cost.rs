//! What a round costs: the relay's CPU time, and who else had the machine.
//!
//! As fast as it goes, publisher, relay and all readers share the cores, so what fast subscribers get falls with each
//! subscriber that is added, slow or not. What the relay spends on a byte tells the one from the other: it rises when
//! slow ones cost more than the bytes that they take.

use crate::Failure;
use crate::usage::{Machine, cpu_of};
use std::time::Duration;

/// From where on is counted.
pub(super) struct Meter {
    pid: u32,
    relay: Duration,
    bench: Duration,
    machine: Machine,
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// CPU time of the relay, and of publisher and readers.
    relay: Duration,
    bench: Duration,
    /// Share of the machine that somebody else used, the hypervisor included.
    others: f64,
}

impl Meter {
    pub(super) fn start(pid: u32) -> Result<Self, Failure> {
        Ok(Self {
            pid,
            relay: cpu_of(pid)?,
            bench: cpu_of(std::process::id())?,
            machine: Machine::now()?,
        })
    }

    pub(super) fn end(self) -> Result<Cost, Failure> {
        let relay = cpu_of(self.pid)?.saturating_sub(self.relay);
        let bench = cpu_of(std::process::id())?.saturating_sub(self.bench);
        let shares = Machine::now()?.since(self.machine, relay + bench);
        Ok(Cost {
            relay,
            bench,
            others: shares.others + shares.stolen,
        })
    }
}

impl Cost {
    /// In words, for a round of so many seconds in which the relay took in and gave out so many bytes.
    pub(super) fn words(&self, seconds: f64, moved: u64) -> String {
        let percent = |time: Duration| time.as_secs_f64() / seconds * 100.0;
        format!(
            "CPU: relay {:.0} % of a core, {:.2} s for a GB in or out; publisher and readers {:.0} %; others {:.0} % of the machine",
            percent(self.relay),
            self.relay.as_secs_f64() / (moved.max(1) as f64 / 1e9),
            percent(self.bench),
            self.others * 100.0
        )
    }
}
