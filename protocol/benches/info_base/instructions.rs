//! What the processor is told to do, counted by valgrind: the same in each run, whatever else the machine does.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where valgrind writes.
pub(crate) struct Valgrind {
    directory: PathBuf,
}

impl Valgrind {
    pub(crate) fn new() -> Self {
        let directory =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("info_base-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for what is counted");
        let found = Command::new("valgrind").arg("--version").output();
        found.expect(
            "--instructions needs valgrind, the package of that name: install it, or leave the option out",
        );
        Self { directory }
    }

    /// Runs `program` so that it is counted.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("valgrind");
        command
            .arg("--tool=callgrind")
            .arg(format!(
                "--callgrind-out-file={}",
                self.directory.join("out").display()
            ))
            .arg("--dump-before=*phase_ends*")
            .arg(program);
        command
    }

    /// How many instructions each phase of the last run took, with the making of its messages.
    pub(crate) fn take(&self) -> Vec<f64> {
        let mut phases = Vec::new();
        loop {
            let path = self.directory.join(format!("out.{}", phases.len() + 1));
            let Ok(text) = std::fs::read_to_string(&path) else {
                return phases;
            };
            let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
            phases.push(
                totals
                    .and_then(|number| number.trim().parse().ok())
                    .expect("a total"),
            );
            std::fs::remove_file(path).expect("what was written can be removed");
        }
    }
}
