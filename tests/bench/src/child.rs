//! The processes that `pairs` starts: a forwarder that lives as long as it is held, and a generator that answers once.

use crate::Failure;
use crate::load::Work;
use crate::report::Outcome;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A forwarder in a process of its own.
pub(crate) struct Forwarder {
    child: Child,
    addr: SocketAddr,
}

impl Forwarder {
    /// Starts this program with `args` and waits until it listens.
    pub(crate) fn start(args: &[String]) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(out).read_line(&mut line)?;
        let addr = line.trim().parse();
        let forwarder = Self {
            child,
            addr: addr.unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0))),
        };
        if forwarder.addr.port() == 0 {
            return Err("the forwarder did not start".into());
        }
        Ok(forwarder)
    }

    /// Where it listens.
    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Loads it once.
    pub(crate) fn load(&self, work: &Work) -> Result<Outcome, Failure> {
        let (to, pid) = (self.addr.to_string(), self.child.id().to_string());
        let args = ["load", "--to", &to, "--pid", &pid].map(str::to_owned);
        generate(&args, work)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It ends when its standard input does; whatever goes wrong then, it must not outlive the measurement.
        drop(self.child.stdin.take());
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < patience {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs the generator with nothing in between.
pub(crate) fn direct(work: &Work) -> Result<Outcome, Failure> {
    generate(&["direct".to_owned()], work)
}

fn generate(args: &[String], work: &Work) -> Result<Outcome, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args(args)
        .args(work.args())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the generator failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
