//! A thread of the relay that does not run any more: it is reported, and then it ends the process with code 70.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{PATIENCE, relay, run, settings};
use laps::keeper::Warden;
use laps::relay::Settings;
use laps_actors::root::Health;
use laps_actors::supervise::{FaultPlan, ask};
use laps_actors::watchdog::{self, Terms};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set in the process that gets stuck, to how it does.
const ROLE: &str = "LAPS_TEST_STUCK";
/// Short enough for a test, and still several beats of a shard long.
const TERMS: Terms = Terms {
    look_every: Duration::from_millis(50),
    late_look: Duration::from_secs(20),
    report_after: Duration::from_secs(1),
    stuck_after: Duration::from_secs(2),
};

/// Starts a relay of three shards and holds the thread of one of them; does not return.
async fn get_stuck(speechless: bool) {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("shard", "1");
    let relay = relay(Settings {
        faults: plan.faults(),
        ..settings(3)
    })
    .await;
    let board = relay.board().clone();
    let _watching = watchdog::start(board.clone(), TERMS, Warden::new(), common::logger()).unwrap();
    trigger.arm_hold(1);
    trigger.wait_fired(1).await;
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while board.late().is_empty() {
        pace.tick().await;
    }
    let health = ask(relay.handle().addr(), Health, PATIENCE).await.unwrap();
    assert_eq!(
        (health.late.as_slice(), health.is_healthy()),
        (&["shard-1".to_owned()][..], false)
    );
    assert!(health.down.is_empty(), "it is not down, it is stuck");
    if speechless {
        // Whoever writes to standard error from now on waits for ever.
        let held = std::io::stderr().lock();
        std::future::pending::<()>().await;
        drop(held);
    }
    std::future::pending::<()>().await;
}

/// This test again, in a process of its own: its exit code and what it said.
fn in_a_process(role: &str) -> (Option<i32>, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_stuck_shard_ends_the_process", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut err = child.stderr.take().unwrap();
    err.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_stuck_shard_ends_the_process() {
    match std::env::var(ROLE).as_deref() {
        Ok(role) => {
            let speechless = role == "speechless";
            run(move || get_stuck(speechless));
        }
        Err(_) => {
            let (code, said) = in_a_process("stuck");
            assert_eq!(code, Some(70), "{said}");
            assert!(
                said.contains("laps: shard-1: its thread has not run for 2."),
                "{said}"
            );
            assert!(said.contains("it last had 0 connections, 0 children"), "{said}");
            assert!(said.contains("laps: messages so far: "), "{said}");
            // Also when standard error is where it is stuck.
            assert_eq!(in_a_process("speechless").0, Some(70));
        }
    }
}
