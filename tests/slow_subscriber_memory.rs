//! What a subscriber that does not read costs the relay. One test, since it looks at the memory of the process.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use common::race::Race;
use common::{run, settings};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// D14-LIM-4 D14-LIM-7 D14-SUB-30: one that goes on for ever, always behind, costs no more for that.
#[test]
fn one_that_reads_nothing_for_ever_is_bounded() {
    run(async || {
        const GROUPS: usize = 800;
        const BYTES: usize = 100_000;
        let mut settings = settings(1);
        settings.track.limits.max_bytes = 4 << 20;
        settings.session.max_behind = 2 << 20;
        settings.session.skips.all = true;
        let mut race = Race::new(settings).await;
        let mut before = 0;
        for group in 0..GROUPS {
            race.send(BYTES).await;
            if group == GROUPS / 8 {
                before = resident();
            }
        }
        // Ten times the log went by since; a queue for the slow one would hold all of it. [D14-LIM-4]
        let (grown, went_by) = (resident().saturating_sub(before), GROUPS * 7 / 8 * BYTES);
        assert!(
            grown < went_by / 4,
            "{grown} bytes more, of {went_by} that went by"
        );
        assert!(!Race::is_over(&race.slow.log));
    });
}
