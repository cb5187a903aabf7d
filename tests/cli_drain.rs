//! What the signals do to a relay that has clients, with the commands as one types them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{Relay, Running};
use std::time::Duration;

/// Far beyond what the test waits: only leaving, or another signal, ends the relay.
const AGES: (&str, &str) = ("LAPS_DRAIN__GRACE", "3600");

/// A relay with a session that does not leave: its publisher is sent to where nobody is.
fn stuck() -> (Relay, Running) {
    let mut relay = Relay::start(&[AGES, ("LAPS_DRAIN__URI", "moqt://127.0.0.1:9")], &[]);
    let publisher = Running::start(&[], &["pub", "--insecure", &relay.url, "n", "clock"]);
    relay.process.err_line("session established");
    relay.process.signal("TERM");
    relay.process.out_line("draining: 1 session(s) left");
    (relay, publisher)
}

/// D14-GOAWAY-3: SIGTERM waits for those who are to leave, and a second signal does not.
#[test]
fn a_second_signal_ends_a_relay_that_drains() {
    for second in ["TERM", "INT"] {
        let (relay, publisher) = stuck();
        relay.process.signal(second);
        let (ended, took) = relay.process.finish();
        assert_eq!(ended.code, 0, "{second}: {}", ended.err);
        assert!(took < Duration::from_secs(2), "{second} took {took:?}");
        drop(publisher);
    }
}

/// D14-TERM-1: SIGINT does not drain.
#[test]
fn sigint_ends_a_relay_at_once() {
    let mut relay = Relay::start(&[AGES], &[]);
    let publisher = Running::start(&[], &["pub", "--insecure", &relay.url, "n", "clock"]);
    relay.process.err_line("session established");
    relay.process.signal("INT");
    let (ended, took) = relay.process.finish();
    assert_eq!(
        (ended.code, ended.err.contains("asked to leave")),
        (0, false),
        "{}",
        ended.err
    );
    assert!(took < Duration::from_secs(2), "took {took:?}");
    assert_eq!(publisher.finish().0.code, 1);
}
