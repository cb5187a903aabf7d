//! Our own clients, `laps pub` and `laps sub`, as processes.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::watch;

use super::relay::{Relay, collect, command};
use super::within;

/// A running client: lines go in at stdin, objects come out at stdout.
pub(crate) struct Tool {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    errors: watch::Receiver<Vec<String>>,
}

impl Tool {
    /// `laps sub` that ends after `count` objects.
    pub(crate) fn subscriber(relay: &Relay, namespace: &str, track: &str, count: u64) -> Self {
        let count = count.to_string();
        let url = relay.url();
        Self::spawn(&[
            "sub",
            "--insecure",
            "--format",
            "lines",
            "--count",
            &count,
            &url,
            namespace,
            track,
        ])
    }

    /// `laps sub --join`: from the start of the current group on, `count` objects.
    pub(crate) fn joiner(relay: &Relay, namespace: &str, track: &str, count: u64) -> Self {
        let count = count.to_string();
        let url = relay.url();
        let format = ["sub", "--insecure", "--format", "lines", "--count", &count];
        let what = ["--join", &url, namespace, track];
        Self::spawn(&[&format[..], &what].concat())
    }

    /// `laps pub` that announces and sends each line of its stdin as an object.
    pub(crate) fn publisher(relay: &Relay, namespace: &str, track: &str, datagrams: bool) -> Self {
        let url = relay.url();
        let mut args = vec!["pub", "--insecure", "--format", "lines", "--flow", "announce"];
        if datagrams {
            args.push("--datagram");
        }
        args.extend([&url, namespace, track, "-"]);
        Self::spawn(&args)
    }

    fn spawn(args: &[&str]) -> Self {
        let mut child = command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a client that starts");
        let (sender, errors) = watch::channel(Vec::new());
        collect(child.stderr.take(), &sender);
        let output = BufReader::new(child.stdout.take().expect("a piped stream")).lines();
        Self {
            input: child.stdin.take(),
            child,
            output,
            errors,
        }
    }

    /// Gives the publisher one more object.
    pub(crate) async fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("a stdin that is still open");
        within("room in a pipe", input.write_all(format!("{line}\n").as_bytes()))
            .await
            .expect("a client that reads");
    }

    /// The subscriber's next object.
    pub(crate) async fn line(&mut self) -> String {
        let line = within("a line from laps sub", self.output.next_line())
            .await
            .expect("a readable pipe");
        line.unwrap_or_else(|| panic!("laps sub ended early"))
    }

    /// Ends the input and waits for exit code 0.
    pub(crate) async fn finish(mut self) {
        drop(self.input.take());
        let status = within("the end of a client", self.child.wait())
            .await
            .expect("a child of ours");
        assert!(status.success(), "the client ended with {status}");
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- client wrote:\n{}\n---", self.errors.borrow().join("\n"));
        }
    }
}
