//! What the signals do to a relay that has clients, with the commands as one types them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

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
    let publisher = Running::start(
        &[],
        &["pub", "--insecure", "--retry", "0", &relay.url, "n", "clock"],
    );
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

/// D14-TERM-1: nobody answers a close any more, which is no reason to wait for all of the deadline.
#[test]
fn sigint_does_not_wait_for_peers_that_are_dead() {
    let mut relay = Relay::start(&[AGES, ("LAPS_WORKERS__THREADS", "4")], &[]);
    for _ in 0..12 {
        let publisher = Running::start(&[], &["pub", "--insecure", &relay.url, "n", "clock"]);
        relay.process.err_line("session established");
        // Killed by its drop: its socket is gone, and it has said nothing.
        drop(publisher);
    }
    relay.process.signal("INT");
    let (ended, _) = relay.process.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.err.matches("shard ends").count(), 4, "{}", ended.err);
    assert!(!ended.err.contains("did not stop in time"), "{}", ended.err);
}

/// D14-GOAWAY-2 D14-GOAWAY-5 D14-LIB-1: the commands follow GOAWAY: every object arrives once, both say where they went,
/// and the relay ends because nobody is left.
#[test]
fn publisher_and_subscriber_move_when_the_relay_is_told_to_end() {
    for flow in ["announce", "publish"] {
        let second = Relay::start(&[], &[]);
        let mut first = Relay::start(&[AGES, ("LAPS_DRAIN__URI", &second.url)], &["-l"]);
        let url = first.url.clone();
        let sub = ["sub", "--insecure", "--json", &url, "n", "t"];
        let mut subscriber = Running::start(&[], &sub);
        first.subscribed(1);
        let mut publisher = Running::start(
            &[],
            &[
                "pub",
                "--insecure",
                "--flow",
                flow,
                "--rate",
                "400",
                "--gop",
                "20",
                &url,
                "n",
                "t",
                "synth",
            ],
        );
        for _ in 0..50 {
            subscriber.out_line("group");
        }
        first.process.signal("TERM");
        let moved = format!("moved to {} because the relay asked for it", second.url);
        publisher.err_line(&moved);
        subscriber.err_line(&moved);
        let (ended, _) = first.process.finish();
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(!ended.err.contains("did not leave in time"), "{}", ended.err);
        for _ in 0..50 {
            subscriber.out_line("group");
        }
        publisher.signal("INT");
        assert_eq!(publisher.finish().0.code, 0);
        let (got, _) = subscriber.finish();
        assert_eq!(got.code, 0, "{flow}: {}", got.err);
        let places: Vec<_> = got
            .out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|object| object["status"] == "normal")
            .map(|object| {
                (
                    object["group"].as_u64().unwrap(),
                    object["object"].as_u64().unwrap(),
                )
            })
            .collect();
        let mut once = places.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), places.len(), "{flow}: nothing twice");
        let next = |(group, object): (u64, u64)| {
            if object == 19 {
                (group + 1, 0)
            } else {
                (group, object + 1)
            }
        };
        for pair in once.windows(2) {
            assert_eq!(next(pair[0]), pair[1], "{flow}: nothing is missing");
        }
        second.process.signal("TERM");
        assert_eq!(second.process.finish().0.code, 0);
    }
}
