//! `laps pub` and `laps sub` as one types them, through a relay of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cli_common;

use cli_common::{PATIENT, Relay, Running, laps, scratch};
use std::time::Duration;

/// A subscriber that the relay holds until a publisher comes, then the publisher; how the subscriber ended.
fn through(relay: &mut Relay, sub: &[&str], publish: &[&str], input: &str) -> cli_common::Ran {
    let url = relay.url.clone();
    let hash = relay.hash.clone();
    let common = ["--cert-hash", &hash, &url, "test/a", "track"];
    let sub: Vec<&str> = ["sub"].iter().chain(sub).chain(&common).copied().collect();
    let publish: Vec<&str> = ["pub"].iter().chain(publish).copied().collect();
    // SOURCE is the last word, behind the names.
    let (source, options) = publish.split_last().unwrap();
    let publish: Vec<&str> = options.iter().chain(&common).chain([source]).copied().collect();
    let subscriber = Running::start(&[], &sub);
    relay.subscribed(1);
    let mut publisher = Running::start(&[], &publish);
    publisher.write(input);
    let (sent, _) = publisher.finish();
    assert_eq!((sent.code, sent.err.as_str()), (0, ""), "the publisher");
    subscriber.finish().0
}

#[test]
fn lines_arrive_as_lines_by_both_flows_and_as_datagrams() {
    let mut relay = Relay::start(&[PATIENT], &[]);
    let lines = "one\n\nthree\nfour\n";
    for flow in ["announce", "publish"] {
        let options = ["--format", "lines", "--gop", "2", "--flow", flow, "-"];
        let got = through(&mut relay, &["--format", "lines"], &options, lines);
        assert_eq!(
            (got.code, got.out.as_str(), got.err.as_str()),
            (0, lines, ""),
            "{flow}"
        );
        let datagrams: Vec<&str> = ["--datagram"].iter().chain(&options).copied().collect();
        let got = through(
            &mut relay,
            &["--format", "lines", "--count", "4"],
            &datagrams,
            lines,
        );
        assert_eq!((got.code, got.out.as_str()), (0, lines), "{flow}, datagrams");
    }
}

#[test]
fn a_synthetic_track_is_counted_and_its_latency_shown() {
    let mut relay = Relay::start(&[("LAPS_WORKERS__THREADS", "2"), PATIENT], &[]);
    let load = [
        "--rate", "1000", "--size", "100", "--gop", "7", "--count", "200", "synth",
    ];
    let got = through(&mut relay, &["--json"], &load, "");
    assert_eq!(got.code, 0, "{}", got.err);
    let objects: Vec<serde_json::Value> = got
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 200);
    assert!(objects.iter().all(|object| object["len"] == 100
        && object["status"] == "normal"
        && object["datagram"] == false
        && object["latency_ms"].as_f64().is_some_and(|ms| ms < 60_000.0)));
    assert!(got.err.starts_with("latency of 200 objects: p50 "), "{}", got.err);

    let load = ["--size", "100", "--count", "10", "--rate", "1000", "synth"];
    // Payloads are no text, so they go to a file.
    let file = scratch("synth").join("payloads");
    let sub = ["--count", "10", "-o", file.to_str().unwrap()];
    let got = through(&mut relay, &sub, &load, "");
    assert_eq!(got.code, 0, "{}", got.err);
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1000);
}

#[test]
fn less_than_was_asked_for_is_not_success() {
    let mut relay = Relay::start(&[PATIENT], &[]);
    let got = through(
        &mut relay,
        &["--format", "lines", "--count", "9"],
        &["--format", "lines", "-"],
        "a\nb\n",
    );
    assert_eq!((got.code, got.out.as_str()), (4, "a\nb\n"));
    assert!(got.err.contains("2 of 9 objects came"), "{}", got.err);
}

#[test]
fn a_missing_track_is_waited_for_until_the_timeout() {
    let relay = Relay::start(&[("LAPS_SUBSCRIBE__WAIT", "10")], &[]);
    let got = laps(
        &[],
        &["sub", "--insecure", "--timeout", "0.5", &relay.url, "no", "track"],
    );
    assert_eq!(got.code, 4, "{}", got.err);
    assert_eq!(got.err.lines().count(), 1, "{}", got.err);
    assert!(
        got.err
            .contains("track no:track: does not exist, tried for 0.5 s"),
        "{}",
        got.err
    );
}

#[test]
fn a_track_that_comes_later_is_found() {
    // Refused at once again and again, until the publisher is there.
    let mut relay = Relay::start(&[("LAPS_SUBSCRIBE__WAIT", "10")], &[]);
    let url = relay.url.clone();
    let subscriber = Running::start(
        &[],
        &[
            "sub",
            "--insecure",
            "--count",
            "1",
            "--timeout",
            "60",
            &url,
            "late",
            "clock",
        ],
    );
    relay.subscribed(3);
    let publisher = Running::start(&[], &["pub", "--insecure", &url, "late", "clock"]);
    let (got, _) = subscriber.finish();
    assert_eq!(
        (got.code, got.out.trim_end().len()),
        (0, "2026-01-31T23:59:58Z".len()),
        "{}",
        got.err
    );
    publisher.signal("TERM");
    assert_eq!(publisher.finish().0.code, 0);
}

#[test]
fn another_certificate_is_refused_in_one_line() {
    let relay = Relay::start(&[], &[]);
    let hash = "00".repeat(32);
    for command in ["sub", "pub"] {
        let got = laps(&[], &[command, "--cert-hash", &hash, &relay.url, "n", "t"]);
        assert_eq!(got.code, 1, "{}", got.err);
        assert_eq!(got.err.lines().count(), 1, "{}", got.err);
        assert!(
            got.err.contains("is not trusted") && got.err.contains("--cert-hash"),
            "{}",
            got.err
        );
    }
}

#[test]
fn signals_end_clients_and_relay_inside_two_seconds() {
    let mut relay = Relay::start(&[PATIENT], &[]);
    let url = relay.url.clone();
    let mut subscriber = Running::start(&[], &["sub", "--insecure", "--json", &url, "n", "t"]);
    let waiting = Running::start(&[], &["sub", "--insecure", &url, "n", "nobody"]);
    relay.subscribed(2);
    let publisher = Running::start(
        &[],
        &["pub", "--insecure", "--rate", "100", &url, "n", "t", "synth"],
    );
    subscriber.out_line("group");
    for (who, process, signal) in [
        ("publisher", publisher, "INT"),
        ("waiting subscriber", waiting, "INT"),
        ("relay", relay.process, "INT"),
    ] {
        process.signal(signal);
        let (ended, took) = process.finish();
        assert_eq!(ended.code, 0, "{who}: {}", ended.err);
        assert!(took < Duration::from_secs(2), "{who} took {took:?}");
    }
    // The publisher ended its track, so the subscriber had all there was.
    let (ended, _) = subscriber.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[test]
fn a_reader_that_leaves_ends_the_subscriber_quietly() {
    let mut relay = Relay::start(&[PATIENT], &[]);
    let url = relay.url.clone();
    let shell = format!(
        "'{}' sub --insecure --json '{url}' n t | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_laps")
    );
    let subscriber = std::process::Command::new("bash")
        .args(["-c", &shell])
        .spawn()
        .unwrap();
    relay.subscribed(1);
    let publisher = Running::start(
        &[],
        &["pub", "--insecure", "--rate", "100", &url, "n", "t", "synth"],
    );
    let ended = subscriber.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    publisher.signal("TERM");
    assert_eq!(publisher.finish().0.code, 0);
}

#[test]
fn a_subscriber_that_asks_for_it_gets_a_new_group() {
    let mut relay = Relay::start(&[PATIENT], &[]);
    let url = relay.url.clone();
    let sub = |more: &[&'static str]| {
        let words = [&["sub", "--insecure", "--json"], more, &[&url, "n", "t"]].concat();
        Running::start(&[], &words)
    };
    let mut first = sub(&[]);
    relay.subscribed(1);
    // By itself it would never begin another group.
    let endless = ["--rate", "50", "--gop", "1000000"];
    let words = [&["pub", "--insecure"], &endless[..], &[&url, "n", "t", "synth"]].concat();
    let _publisher = Running::start(&[], &words);
    first.out_line("\"object\":2,");
    let mut second = sub(&["--new-group"]);
    second.out_line("\"object\":0,");
    // Everybody has it.
    first.out_line("\"object\":0,");
}
