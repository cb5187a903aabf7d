//! A relay is known again after a restart, and says what is wrong with a certificate, a folder or a port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cli_common;

use cli_common::{Relay, laps, scratch};
use laps_actors::transport::cert;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// What the relay prints of its key.
fn key_hash(relay: &mut Relay) -> String {
    let line = relay.process.out_line("its key SHA-256 ");
    line.split_whitespace().nth(3).expect("a hash").to_owned()
}

/// Subscribes until it is refused or the relay has answered; what was said.
fn meets(relay: &Relay, hash: &str) -> String {
    let words = [
        "sub",
        "--cert-hash",
        hash,
        "--retry",
        "0",
        "--timeout",
        "1",
        &relay.url,
        "a",
        "b",
    ];
    laps(&[], &words).err
}

#[test]
fn a_relay_is_the_same_after_a_restart() {
    let state = scratch("certificate-state");
    let env = [("XDG_STATE_HOME", state.to_str().unwrap())];
    let mut relay = Relay::start(&env, &[]);
    let key = key_hash(&mut relay);
    let hash = relay.hash.clone();
    relay.process.signal("INT");
    let (ran, _) = relay.process.finish();
    assert_eq!(ran.code, 0, "{}", ran.err);

    let mut relay = Relay::start(&env, &[]);
    assert_eq!((key_hash(&mut relay), &relay.hash), (key.clone(), &hash));
    for right in [&key, &hash] {
        let said = meets(&relay, right);
        assert!(!said.contains("fingerprint"), "{said}");
        assert!(!said.is_empty(), "nobody publishes there");
    }
    let said = meets(&relay, &"0".repeat(64));
    assert!(
        said.contains("neither it nor its key has the expected fingerprint"),
        "{said}"
    );
    assert!(
        said.contains("it was renewed since; give the SHA-256 that the relay prints"),
        "{said}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_told_of() {
    let env = [("XDG_STATE_HOME", "/dev/null")];
    let mut relay = Relay::start(&env, &[]);
    let said = relay.process.err_line("does not outlive the relay");
    assert!(
        said.contains("/dev/null/laps/certificate.pem cannot be"),
        "{said}"
    );
    let hash = relay.hash.clone();
    assert!(
        !meets(&relay, &hash).contains("fingerprint"),
        "it serves all the same"
    );
}

/// Has `laps cert` make a pair, and puts it in place of another one as a tool that renews them does.
fn renew(dir: &Path) -> String {
    let new = dir.join("new");
    let made = laps(&[], &["cert", "--force", "--out", new.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.err);
    for name in ["cert.pem", "key.pem"] {
        fs::rename(new.join(name), dir.join(name)).unwrap();
    }
    made.out.split_whitespace().last().expect("a hash").to_owned()
}

#[test]
fn files_that_change_are_loaded_again() {
    let dir = scratch("certificate-files");
    let first = renew(&dir);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let words = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let mut relay = Relay::start(&[], &words);
    assert_eq!(relay.hash, first);
    let second = renew(&dir);
    let said = relay.process.out_line("certificate SHA-256 ");
    assert!(said.contains(&second), "{said}");
    assert!(!meets(&relay, &second).contains("fingerprint"));
    assert!(meets(&relay, &first).contains("fingerprint"));
}

/// Puts a pair in place that was made so many days ago, and is valid for 13 from then on.
fn aged(dir: &Path, days: u32) {
    let made = cert::make::<&str>(&[], None, SystemTime::now() - days * DAY).unwrap();
    fs::write(dir.join("cert.pem"), made.cert_pem).unwrap();
    fs::write(dir.join("key.pem"), made.key_pem).unwrap();
}

/// What the admin port of a relay says of its certificates.
fn told_in_metrics(relay: &mut Relay) -> Vec<String> {
    let line = relay.process.out_line("admin port http://");
    let addr = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let lines = page
        .lines()
        .filter(|line| line.starts_with("laps_certificate_left_seconds{"));
    lines.map(str::to_owned).collect()
}

/// Seconds that the one series of this certificate tells.
fn left(told: &[String], of: &str) -> i64 {
    let start = format!("laps_certificate_left_seconds{{certificate=\"{of}\"}} ");
    let mut values = told.iter().filter_map(|line| line.strip_prefix(start.as_str()));
    let value = values.next().unwrap_or_else(|| panic!("{of}: {told:?}"));
    value.parse().unwrap()
}

/// A certificate that nobody renews is told of before it ends, wherever somebody may look: the log, the metrics, health and
/// doctor.
#[test]
fn a_certificate_that_ends_is_told() {
    let dir = scratch("certificate-aged");
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let words = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let admin = ("LAPS_ADMIN__PORT", "0");
    aged(&dir, 11);
    let mut relay = Relay::start(&[admin], &words);
    let said = relay
        .process
        .err_line("the certificate of tls.cert expires in 1 day(s)");
    assert!(said.contains("WARN") && said.contains("within 5 s"), "{said}");
    let soon = left(&told_in_metrics(&mut relay), "tls");
    assert!((86_400..=2 * 86_400).contains(&soon), "{soon}");
    let port = relay.url.rsplit(':').next().unwrap().to_owned();
    let env = [
        ("LAPS_RELAY__BIND", "127.0.0.1"),
        ("LAPS_RELAY__PORT", port.as_str()),
        ("LAPS_TLS__CERT", cert.to_str().unwrap()),
        ("LAPS_TLS__KEY", key.to_str().unwrap()),
    ];
    let well = laps(&env, &["health"]);
    assert_eq!(well.code, 0, "{}", well.err);
    assert!(well.out.contains("tls.cert expires in 1 day(s)"), "{}", well.out);
    // It ends while the relay runs, as far as that can tell: its files say so from now on.
    aged(&dir, 16);
    relay
        .process
        .err_line("the certificate of tls.cert expired 3 day(s) ago");
    let well = laps(&env, &["health"]);
    assert_eq!(well.code, 0, "to start it again would mend nothing: {}", well.err);
    assert!(well.out.contains("tls.cert expired 3 day(s) ago"), "{}", well.out);
    let ran = laps(&env, &["doctor"]);
    assert!(ran.out.contains("expired 3 day(s) ago"), "{}", ran.out);
    drop(relay);
    let mut relay = Relay::start(&[admin], &words);
    relay
        .process
        .err_line("the certificate of tls.cert expired 3 day(s) ago");
    let over = left(&told_in_metrics(&mut relay), "tls");
    assert!((-4 * 86_400..-2 * 86_400).contains(&over), "{over}");
}

/// One that is well is not mentioned, and neither is one that the relay renews itself.
#[test]
fn a_certificate_that_is_well_is_not_told() {
    let dir = scratch("certificate-well");
    aged(&dir, 6);
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let words = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    for words in [&words[..], &[]] {
        let relay = Relay::start(&[], words);
        relay.process.signal("INT");
        let (ran, _) = relay.process.finish();
        assert!(!ran.err.contains("certificate of"), "{}", ran.err);
    }
}

#[test]
fn what_keeps_a_relay_from_starting_is_one_line() {
    let dir = scratch("certificate-misfit");
    renew(&dir);
    let key = dir.join("kept.pem");
    fs::rename(dir.join("key.pem"), &key).unwrap();
    renew(&dir);
    let cert = dir.join("cert.pem");
    let words = [
        "-b",
        "127.0.0.1",
        "-p",
        "0",
        "-c",
        cert.to_str().unwrap(),
        "-k",
        key.to_str().unwrap(),
    ];
    let ran = laps(&[], &words);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    let line = format!(
        "laps: certificate: the private key in {} does not match the certificate in {}; check --cert and --key, or \
         `laps cert` makes a pair\n",
        key.display(),
        cert.display()
    );
    assert_eq!(ran.err, line);

    let relay = Relay::start(&[], &[]);
    let port = relay.url.rsplit(':').next().unwrap().to_owned();
    let ran = laps(&[], &["-b", "127.0.0.1", "-p", &port]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let line = format!(
        "laps: relay: UDP port {port} is in use on 127.0.0.1; stop the other process or choose another port\n"
    );
    assert_eq!(ran.err, line);
}
