//! Processes of a scene: each in a namespace, its standard error in a file, killed when dropped.

use crate::Failure;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// What to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) space: &'a str,
    pub(crate) program: &'a OsStr,
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Where its standard error goes.
    pub(crate) log: &'a Path,
}

/// A process that runs, or ran.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, with pipes for its standard input and output.
    pub(crate) fn start(start: Start<'_>) -> Result<Self, Failure> {
        let log = File::options().create(true).append(true).open(start.log)?;
        // `ip netns exec` becomes the program, so its process id is the program's.
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", start.space])
            .arg(start.program)
            .args(&start.words);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LAPS_") {
                command.env_remove(name);
            }
        }
        // To find the names for a backtrace takes a debug build a second, in which the thread of a shard stands still.
        let child = command
            .env("RUST_BACKTRACE", "0")
            .envs(start.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            child,
            log: start.log.to_owned(),
        })
    }

    pub(crate) fn output(&mut self) -> Result<ChildStdout, Failure> {
        Ok(self.child.stdout.take().ok_or("its output is taken")?)
    }

    pub(crate) fn input(&mut self) -> Result<&mut ChildStdin, Failure> {
        Ok(self.child.stdin.as_mut().ok_or("it has no input")?)
    }

    /// Where its standard error goes.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Sends it a signal by name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) -> Result<(), Failure> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status()?;
        if sent.success() {
            return Ok(());
        }
        Err(format!("no signal {name} for process {id}").into())
    }

    /// Ends it at once, and waits for that.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its end, if it has come.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > until {
                return Err(format!("it did not end within {} s", patience.as_secs_f64()).into());
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process is killed like any other; one that is gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
