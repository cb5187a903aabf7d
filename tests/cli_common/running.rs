//! Commands that run beside a test: a relay, publishers, subscribers.

use super::{Ran, command};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Longer than anything here takes; whoever waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    out: Lines,
    err: Lines,
}

/// One of its streams, line by line.
struct Lines {
    receiver: Receiver<String>,
    seen: String,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        let seen = String::new();
        Self { receiver, seen }
    }

    fn next(&mut self) -> Result<String, RecvTimeoutError> {
        let line = self.receiver.recv_timeout(PATIENCE)?;
        self.seen.push_str(&line);
        self.seen.push('\n');
        Ok(line)
    }

    fn rest(mut self) -> String {
        while self.next().is_ok() {}
        self.seen
    }
}

impl Running {
    /// Starts `laps` with these variables and words.
    pub(crate) fn start(env: &[(&str, &str)], words: &[&str]) -> Self {
        let mut child = command(env, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("laps starts");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        Self {
            input: child.stdin.take(),
            child,
            out,
            err,
        }
    }

    /// The next line of its standard output that contains `text`.
    pub(crate) fn out_line(&mut self, text: &str) -> String {
        loop {
            match self.out.next() {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => self.give_up(text),
            }
        }
    }

    /// The next line of its standard error that contains `text`.
    pub(crate) fn err_line(&mut self, text: &str) -> String {
        loop {
            match self.err.next() {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(_) => self.give_up(text),
            }
        }
    }

    fn give_up(&mut self, text: &str) -> ! {
        self.child.kill().ok();
        while self.err.next().is_ok() {}
        panic!(
            "no line with `{text}`; it said:\n{}{}",
            self.out.seen, self.err.seen
        )
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, text: &str) {
        let input = self.input.as_mut().expect("standard input is open");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end: how it ended, and how long that took from now.
    pub(crate) fn finish(mut self) -> (Ran, Duration) {
        self.end_input();
        let begun = Instant::now();
        let (mut out, mut err) = (
            Lines {
                receiver: mpsc::channel().1,
                seen: String::new(),
            },
            Lines {
                receiver: mpsc::channel().1,
                seen: String::new(),
            },
        );
        std::mem::swap(&mut out, &mut self.out);
        std::mem::swap(&mut err, &mut self.err);
        // Both end when it does.
        let (out, err) = (out.rest(), err.rest());
        let status = match self.child.try_wait() {
            Ok(None) if begun.elapsed() >= PATIENCE => None,
            _ => self.child.wait().ok(),
        };
        let code = status.and_then(|status| status.code());
        let code = code.unwrap_or_else(|| panic!("it did not end by itself; it said:\n{err}"));
        (Ran { code, out, err }, begun.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Has a relay let subscribers wait long for their publisher, so that no test races against `subscribe.wait`.
pub(crate) const PATIENT: (&str, &str) = ("LAPS_SUBSCRIBE__WAIT", "60000");

/// A relay on loopback, on a port that the system chose.
pub(crate) struct Relay {
    pub(crate) process: Running,
    pub(crate) url: String,
    pub(crate) hash: String,
}

impl Relay {
    /// Starts it with these variables and words, and waits until it listens.
    pub(crate) fn start(env: &[(&str, &str)], words: &[&str]) -> Self {
        let words: Vec<&str> = ["relay", "-b", "127.0.0.1", "-p", "0", "-d"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        // One of many on this machine, and nobody asks it, unless the test says so.
        let env: Vec<_> = [("LAPS_ADMIN__PORT", "off")].iter().chain(env).copied().collect();
        let mut process = Running::start(&env, &words);
        let ready = process.out_line("listening on ");
        let addr = ready.split("listening on ").nth(1).expect("an address");
        let addr = addr.split([',', ' ']).next().expect("an address");
        let url = format!("moqt://{addr}");
        let hash = process.out_line("SHA-256 ");
        let hash = hash.split_whitespace().nth(2).expect("a hash").to_owned();
        Self { process, url, hash }
    }

    /// Waits until `count` more SUBSCRIBEs have come.
    pub(crate) fn subscribed(&mut self, count: usize) {
        for _ in 0..count {
            self.process.err_line(" SUBSCRIBE,");
        }
    }
}
