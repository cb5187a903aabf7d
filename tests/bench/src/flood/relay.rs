//! The relay that is flooded: the product itself, as a process of its own.

use crate::Failure;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running relay; killed when dropped, since nothing is asked of it after that.
pub(super) struct Relay {
    child: Child,
    addr: SocketAddr,
}

impl Relay {
    /// Starts it with these variables, and waits until it listens.
    pub(super) fn start(program: &Path, env: &[(&str, String)]) -> Result<Self, Failure> {
        let child = Command::new(program)
            .args(["relay", "--bind_ip", "127.0.0.1", "--port", "0"])
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let mut relay = Self {
            child,
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let out = relay.child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(out).lines();
        let mut addr = None;
        while addr.is_none() {
            let line = lines.next().ok_or("the relay did not start")??;
            let rest = line.split_once("listening on ").map(|(_, rest)| rest.to_owned());
            addr = rest.and_then(|rest| rest.split(',').next()?.parse().ok());
        }
        relay.addr = addr.ok_or("no address")?;
        // What it says later is read by nobody, and may not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(relay)
    }

    /// Where it listens.
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
