//! What a process holds, as the system counts it: memory and open descriptors. Linux tells; other systems say nothing.

use serde::Serialize;
use std::fs;

/// What one process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Bytes in memory, pages shared with others counted whole (RSS).
    pub rss_bytes: u64,
    /// Bytes in memory, pages shared with others counted by this process's share of them (PSS).
    pub pss_bytes: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

impl Held {
    /// What this process holds now; none where the system does not tell.
    #[must_use]
    pub fn by_this_process() -> Option<Self> {
        Self::below("/proc/self")
    }

    /// What process `pid` holds now; none where the system does not tell, or the process is another user's or gone.
    #[must_use]
    pub fn by(pid: u32) -> Option<Self> {
        Self::below(&format!("/proc/{pid}"))
    }

    fn below(dir: &str) -> Option<Self> {
        let rollup = fs::read_to_string(format!("{dir}/smaps_rollup")).ok()?;
        Some(Self {
            rss_bytes: field(&rollup, "Rss:")?,
            pss_bytes: field(&rollup, "Pss:")?,
            descriptors: fs::read_dir(format!("{dir}/fd")).ok()?.count() as u64,
        })
    }
}

/// The bytes that a line `NAME 123 kB` tells.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_knows_what_it_holds() {
        let held = Held::by_this_process().unwrap();
        assert!(held.rss_bytes > 1 << 20 && held.pss_bytes <= held.rss_bytes && held.descriptors >= 3);
        assert_eq!(Held::by(u32::MAX), None);
    }

    #[test]
    fn fields_are_in_kib() {
        let text =
            "55e0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:     1432 kB\nPss:      703 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(field(text, "Rss:"), Some(1432 << 10));
        assert_eq!(field(text, "Pss:"), Some(703 << 10));
        assert_eq!(field(text, "Swap:"), None);
    }
}
