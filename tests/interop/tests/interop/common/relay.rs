//! The built relay as a process of its own. How it is started, told to be ready and configured stands only here.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::within;

/// Milliseconds for CLIENT_SETUP to arrive ([D14-SETUP-23]).
pub(crate) const SETUP_TIMEOUT_MS: &str = "LAPS_SESSION__SETUP_TIMEOUT_MS";

/// Relays that may run at once: each test has one, and two cores carry them all.
const SLOTS: u32 = 4;
static SLOT: Semaphore = Semaphore::const_new(SLOTS as usize);

/// Where the binary is: `LAPS_BIN`, else beside this test's own target directory.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("LAPS_BIN") {
        return named.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    // target/PROFILE/deps/interop-HASH
    let profile = test.ancestors().nth(2).expect("a target directory");
    let found = profile.join("laps");
    assert!(
        found.exists(),
        "no relay at {}: build it (cargo build --bin laps) or set LAPS_BIN",
        found.display()
    );
    found
}

/// The binary, to be configured by a test alone: no `LAPS_` variable of the caller reaches it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"LAPS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Lines a process wrote so far, for readiness and for the report of a failed test.
pub(crate) type Lines = watch::Receiver<Vec<String>>;

/// Collects the lines of both pipes as they come.
pub(crate) fn collect<R: AsyncRead + Unpin + Send + 'static>(
    pipe: Option<R>,
    into: &watch::Sender<Vec<String>>,
) {
    let into = into.clone();
    let mut lines = BufReader::new(pipe.expect("a piped stream")).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            into.send_modify(|all| all.push(line));
        }
    });
}

/// How to start a relay.
#[derive(Default)]
pub(crate) struct Options {
    env: Vec<(&'static str, String)>,
    alone: bool,
}

impl Options {
    /// Subscriptions wait long for their publisher: no test races against `subscribe.wait`.
    pub(crate) fn patient(self) -> Self {
        self.env("LAPS_SUBSCRIBE__WAIT", 60_000)
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl ToString) -> Self {
        self.env.push((name, value.to_string()));
        self
    }

    /// No other test's relay runs meanwhile: for floods and memory bounds.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    pub(crate) async fn start(self) -> Relay {
        let permits = if self.alone { SLOTS } else { 1 };
        let slot = SLOT.acquire_many(permits).await.expect("an open semaphore");
        let port = free_port();
        let mut child = command()
            .arg("relay")
            .args(["-b", "127.0.0.1", "-p", &port.to_string()])
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a relay that starts");
        let (sender, mut log) = watch::channel(Vec::new());
        collect(child.stdout.take(), &sender);
        collect(child.stderr.take(), &sender);
        drop(sender);
        let ready = async {
            log.wait_for(|lines| lines.iter().any(|line| says_ready(line)))
                .await
                .is_ok()
        };
        if !within("the relay's line that it listens", ready).await {
            let status = child.wait().await;
            panic!(
                "the relay ended before it listened: {status:?}\n{}",
                log.borrow().join("\n")
            );
        }
        Relay {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            child,
            log,
            _slot: slot,
        }
    }
}

/// True for the line a relay writes once it serves packets; `scripts/run` waits for the same words.
fn says_ready(line: &str) -> bool {
    let line = line.to_lowercase();
    line.split(|c: char| !c.is_ascii_lowercase())
        .any(|word| word == "listening" || word == "ready")
}

/// A port nobody held a moment ago. The relay refuses to start if somebody took it since.
fn free_port() -> u16 {
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    probe.local_addr().expect("a bound socket").port()
}

/// A running relay; it ends with this value.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Lines,
    _slot: SemaphorePermit<'static>,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        Options::default().start().await
    }

    /// The URL our own clients take.
    pub(crate) fn url(&self) -> String {
        format!("moqt://{}", self.address)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let pid = self.child.id().expect("a running relay");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("procfs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        let kilobytes: u64 = line
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kilobytes * 1024
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().expect("a running relay").to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", "TERM", &pid])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the process to end by itself, with exit code 0.
    pub(crate) async fn ended(&mut self) {
        let status = within("the end of the relay", self.child.wait())
            .await
            .expect("a child of ours");
        assert!(status.success(), "the relay ended with {status}");
    }

    /// Fails when the process is gone.
    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "the relay ended: {ended:?}");
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- relay {} wrote:\n{}\n---",
                self.address,
                self.log.borrow().join("\n")
            );
        }
    }
}
