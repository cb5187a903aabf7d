//! A relay that is killed and started again has its clients back by themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cli_common;

use cli_common::{Relay, Running, laps, scratch};

/// Objects before the relay is killed, and after it was.
const BEFORE: usize = 100;
const AFTER: usize = 100;

/// A relay with this certificate, killed with signal 9 and started again at its port.
fn killed(certificate: &[&str], trust: &[&str], flow: &str) {
    let mut relay = Relay::start(&[], &[certificate, &["-l"]].concat());
    let url = relay.url.clone();
    let port = url.rsplit(':').next().unwrap().to_owned();
    let count = (BEFORE + AFTER).to_string();
    let sub = [&["sub", "--json", "--count", &count], trust, &[&url, "n", "t"]].concat();
    let mut subscriber = Running::start(&[], &sub);
    relay.subscribed(1);
    let publish = ["pub", "--flow", flow, "--rate", "100", "--gop", "20"];
    let publish = [&publish[..], trust, &[&url, "n", "t", "synth"]].concat();
    let mut publisher = Running::start(&[], &publish);
    for _ in 0..BEFORE {
        subscriber.out_line("group");
    }
    relay.process.signal("KILL");
    drop(relay);
    let words = [&["relay", "-b", "127.0.0.1", "-p", &port], certificate].concat();
    let mut again = Running::start(&[], &words);
    again.out_line("listening on ");
    for client in [&mut publisher, &mut subscriber] {
        client.err_line(&format!("connection to {url}/ lost ("));
        client.err_line(&format!("back at {url}/ after "));
    }
    let (got, _) = subscriber.finish();
    assert_eq!(got.code, 0, "{}", got.err);
    let mut places: Vec<_> = got
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
    assert_eq!(places.len(), BEFORE + AFTER);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), BEFORE + AFTER, "nothing twice");
    publisher.signal("INT");
    let (ended, _) = publisher.finish();
    assert_eq!(ended.code, 0, "{}", ended.err);
}

/// What the relay knew is gone, and so is what would tell its clients that it is another one: they find out by its
/// silence.
#[test]
fn with_a_certificate_of_its_own() {
    killed(&[], &["--insecure"], "announce");
}

/// The first packet that reaches it is answered with a stateless reset.
#[test]
fn with_a_certificate_from_files() {
    let dir = scratch("cli_relay_killed");
    let made = laps(&[], &["cert", "--out", dir.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.err);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    killed(&["-c", cert, "-k", key], &["--ca", cert], "publish");
}

/// With `--retry 0` the end of a session is the end of the command, and says why.
#[test]
fn or_not_when_told_so() {
    let relay = Relay::start(&[], &[]);
    let words = ["pub", "--insecure", "--retry", "0", &relay.url, "n", "t", "synth"];
    let publisher = Running::start(&[], &words);
    let mut relay = relay;
    relay.process.err_line("session established");
    relay.process.signal("INT");
    let (ended, _) = publisher.finish();
    assert_eq!(ended.code, 1, "{}", ended.err);
    assert!(ended.err.contains("the session ended: "), "{}", ended.err);
    assert!(!ended.err.contains("trying again"), "{}", ended.err);
}
