//! A short soak holds, and one with a leak does not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

/// Soaks for one cycle; the `laps` beside this crate's programs must have been built.
fn soak(words: &[&str]) -> Output {
    let mut laps = std::path::PathBuf::from(env!("CARGO_BIN_EXE_laps-soak"));
    laps.set_file_name("laps");
    assert!(laps.exists(), "build it first: cargo build --bin laps");
    Command::new(env!("CARGO_BIN_EXE_laps-soak"))
        .args([
            "run",
            "--seconds",
            "1",
            "--churn",
            "5",
            "--workers",
            "2",
            "--clients",
            "8",
        ])
        .args(words)
        .output()
        .unwrap()
}

/// D14-LIM-2 D14-TERM-3
#[test]
fn a_relay_is_empty_after_everybody_left() {
    let done = soak(&["--seed", "5"]);
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}{complained}");
    assert!(said.ends_with("held\n"), "{said}");
}

/// A check that cannot fail is none: one client that stays is found.
#[test]
fn somebody_who_stays_is_found() {
    let done = soak(&["--keep-one", "--patience", "10"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(!done.status.success(), "{said}");
    assert!(said.contains("not empty when everybody had left"), "{said}");
    assert!(said.contains("process.session_actors 1"), "{said}");
}
