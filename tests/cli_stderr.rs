//! A command whose standard error takes nothing any more ends all the same, with its code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{command, scratch};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Longer than any machine needs; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pipe, as the journal gives one, into which not one byte fits; and its end that nobody reads.
fn full() -> (Stdio, UnixStream) {
    let (mut pipe, unread) = UnixStream::pair().unwrap();
    pipe.set_nonblocking(true).unwrap();
    for piece in [&[b'x'; 4096][..], b"x"] {
        let error = loop {
            if let Err(error) = pipe.write(piece) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    // Whoever gets it waits for room.
    pipe.set_nonblocking(false).unwrap();
    (Stdio::from(OwnedFd::from(pipe)), unread)
}

/// Starts `laps` with a standard error that is full.
fn start(words: &[&str]) -> (Child, UnixStream) {
    let (err, unread) = full();
    let mut command = command(&[], words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err);
    (command.spawn().unwrap(), unread)
}

fn kill(signal: &str, pid: u32) {
    let words = ["-s", signal, &pid.to_string()];
    let sent = std::process::Command::new("kill").args(words).status();
    assert!(sent.unwrap().success());
}

/// The code that it ends with by itself.
fn code(mut child: Child) -> i32 {
    let pid = child.id();
    let (tell, ended) = channel();
    std::thread::spawn(move || tell.send(child.wait().unwrap()));
    let Ok(status) = ended.recv_timeout(PATIENCE) else {
        kill("KILL", pid);
        panic!("it did not end");
    };
    status.code().unwrap()
}

/// The log waits for a reader from its first record on, and more records than it keeps are lost.
#[test]
fn a_relay_that_is_told_to_end_ends() {
    for signal in ["TERM", "INT"] {
        let (mut relay, _unread) = start(&["relay", "-b", "127.0.0.1", "-p", "0", "--log-level", "trace"]);
        let mut lines = BufReader::new(relay.stdout.take().unwrap()).lines();
        let listening = lines.find(|line| line.as_ref().unwrap().contains(" listening on "));
        assert!(listening.is_some());
        kill(signal, relay.id());
        assert_eq!(code(relay), 0, "{signal}");
    }
}

/// The line that says why is lost; the code is not.
#[test]
fn a_command_that_fails_ends_with_its_code() {
    let missing = scratch("cli_stderr").join("missing");
    let missing = missing.to_str().unwrap();
    for (words, expected) in [
        (&["relay", "--what"][..], 2),
        (&["relay", "-p", "0", "--cert", missing, "--key", missing], 1),
    ] {
        let (child, _unread) = start(words);
        assert_eq!(code(child), expected, "{words:?}");
    }
}
