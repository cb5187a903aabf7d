//! What a relay tells the service manager that started it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cli_common;

use cli_common::{Relay, Running};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than any machine needs; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        // The path of such a socket has 107 bytes at most, which a build directory may use up.
        let path = std::env::temp_dir().join(format!("laps-{}-{name}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// The next thing that it is told.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let len = self.socket.recv(&mut bytes).unwrap();
        let text = std::str::from_utf8(&bytes[..len]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next thing that says `line`.
    fn until(&self, line: &str) -> Vec<String> {
        loop {
            let told = self.next();
            if told.iter().any(|told| told == line) {
                return told;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

#[test]
fn the_service_manager_hears_of_the_start_the_beats_and_the_end() {
    for (signal, grace) in [("TERM", "3600"), ("INT", "3600"), ("TERM", "0")] {
        let manager = Manager::new("told");
        let env = [
            ("NOTIFY_SOCKET", manager.path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
            ("LAPS_DRAIN__GRACE", grace),
            ("LAPS_WORKERS__THREADS", "2"),
        ];
        let mut relay = Relay::start(&env, &[]);
        let first = manager.next();
        assert_eq!(first[0], "READY=1", "nothing comes before everything runs");
        let port = relay.url.rsplit(':').next().unwrap();
        assert!(first[1].starts_with("STATUS=serving on "), "{first:?}");
        assert!(first[1].ends_with(&format!(":{port}, 2 worker(s)")), "{first:?}");
        for _ in 0..3 {
            assert_eq!(manager.until("WATCHDOG=1"), ["WATCHDOG=1"]);
        }
        let publisher = Running::start(&[], &["pub", "--insecure", &relay.url, "n", "clock"]);
        relay.process.err_line("session established");
        relay.process.signal(signal);
        let last = manager.until("STOPPING=1");
        assert!(last[1].starts_with("STATUS=drain"), "{last:?}");
        drop(publisher);
        relay.process.signal("INT");
        let (ended, _) = relay.process.finish();
        assert_eq!(ended.code, 0, "{}", ended.err);
        // It is said once that the end has begun.
        manager.socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        while let Ok(len) = manager.socket.recv(&mut bytes) {
            assert!(!bytes[..len].starts_with(b"STOPPING=1"));
        }
    }
}

#[test]
fn a_relay_that_nobody_supervises_tells_nobody() {
    let manager = Manager::new("untold");
    let relay = Relay::start(&[("WATCHDOG_USEC", "400000")], &[]);
    relay.process.signal("TERM");
    let (ended, _) = relay.process.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(!ended.err.contains("service manager"), "{}", ended.err);
    manager.socket.set_nonblocking(true).unwrap();
    let nothing = manager.socket.recv(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}
