//! Runs the built command, with no `LAPS_` variable but those of the test.

#![allow(dead_code, reason = "each test file uses its part of this one")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on fails its test"
)]

mod running;

#[allow(unused_imports, reason = "not every test starts something beside it")]
pub(crate) use running::{PATIENT, Relay, Running};

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a run ended.
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

/// `laps` with these variables and words.
pub(crate) fn command(env: &[(&str, &str)], words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laps"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LAPS_") {
            command.env_remove(name);
        }
    }
    // Whoever runs the tests may itself be a service.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.env_remove("STATE_DIRECTORY");
    command.env("XDG_STATE_HOME", own_state());
    command.envs(env.iter().copied()).args(words);
    command
}

/// Where one command keeps what outlives it: nothing of another one is there, and nothing is left at whoever runs the
/// tests.
fn own_state() -> PathBuf {
    static COMMANDS: AtomicU64 = AtomicU64::new(0);
    let number = COMMANDS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", std::process::id());
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("state")
        .join(name);
    drop(std::fs::remove_dir_all(&dir));
    dir
}

/// Runs `laps` with these variables and words.
pub(crate) fn laps(env: &[(&str, &str)], words: &[&str]) -> Ran {
    let output = command(env, words).output().expect("laps starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A directory for one test, empty at its start.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}
