//! When the relay is ready, as it is told.

use super::http::unready;
use crate::root::{HealthReport, Outcome, RootStatus};
use laps_protocol::relay::load::Level;

fn report(status: RootStatus) -> HealthReport {
    HealthReport {
        status,
        down: Vec::new(),
        missing: Vec::new(),
        late: Vec::new(),
    }
}

#[test]
fn only_a_relay_that_runs_whole_is_ready() {
    assert_eq!(unready(&report(RootStatus::Running), Level::Normal), None);
    for (status, why) in [
        (RootStatus::Starting, "starting"),
        (
            RootStatus::Retiring { sessions: 3 },
            "draining, 3 session(s) left",
        ),
        (RootStatus::Draining, "draining"),
        (RootStatus::Ended(Outcome::Drained), "draining"),
    ] {
        assert_eq!(unready(&report(status), Level::Normal).unwrap(), why);
    }
    let shard = || vec!["shard-1".to_owned()];
    let missing = HealthReport {
        missing: shard(),
        down: shard(),
        ..report(RootStatus::Running)
    };
    assert_eq!(unready(&missing, Level::Normal).unwrap(), "down: shard-1");
    let late = HealthReport {
        late: shard(),
        ..report(RootStatus::Running)
    };
    assert_eq!(unready(&late, Level::Normal).unwrap(), "does not run: shard-1");
    // What nobody needs to be served is down.
    let without = HealthReport {
        down: vec!["admin".to_owned()],
        ..report(RootStatus::Running)
    };
    assert_eq!(unready(&without, Level::Normal), None);
    // Newcomers would be refused at each of its shards.
    let running = report(RootStatus::Running);
    let short = unready(&running, Level::NoNewConnections).unwrap();
    assert_eq!(short, "short of memory: refuses new connections");
    let shedding = unready(&running, Level::ShedSlow).unwrap();
    assert!(shedding.contains("sheds slow subscribers"), "{shedding}");
    let leaving = unready(&report(RootStatus::Draining), Level::ShedSlow);
    assert_eq!(
        leaving.unwrap(),
        "draining",
        "which ends it, whatever else is the matter"
    );
}
