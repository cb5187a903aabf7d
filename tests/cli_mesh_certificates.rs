//! A mesh with certificates as its operator makes it: `laps cert ca`, two relays that peer, and what is said where one of
//! the files is not what it should be. Issue 6, "mutual TLS".

mod cli_common;

use cli_common::{Relay, laps, scratch};
use laps_actors::transport::{PeerCa, Pem};
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The variables of the node `1:number` in a directory that `laps cert ca` has written.
fn member(dir: &Path, number: u8) -> Vec<(&'static str, String)> {
    let file = |name: String| dir.join(name).display().to_string();
    vec![
        ("LAPS_RELAY__ENDPOINT_ID", format!("1:{number}")),
        ("LAPS_PEERING__BIND", "127.0.0.1".to_owned()),
        ("LAPS_PEERING__PORT", "0".to_owned()),
        ("LAPS_PEERING__CA", file("ca.pem".to_owned())),
        ("LAPS_PEERING__CERT", file(format!("node-1-{number}.pem"))),
        ("LAPS_PEERING__KEY", file(format!("node-1-{number}-key.pem"))),
    ]
}

fn lent<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    env.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Writes a CA and the certificates of two nodes.
fn made(name: &str) -> std::path::PathBuf {
    let dir = scratch(name);
    let out = dir.display().to_string();
    let ran = laps(
        &[],
        &["cert", "ca", "--out", &out, "--node", "1:1", "--node", "1:2"],
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    dir
}

#[test]
fn two_relays_with_certificates_of_one_ca_peer() {
    let dir = made("mesh-peers");
    let first = member(&dir, 1);
    let mut first = Relay::start(&lent(&first), &[]);
    let line = first.process.out_line("relays may dial ");
    let peer = line.split("relays may dial ").nth(1).unwrap().trim().to_owned();
    let second = member(&dir, 2);
    let mut second = Relay::start(&lent(&second), &["--peer", &peer]);
    second.process.err_line("link stands");
    first.process.err_line("link stands");
}

/// What the relay says when it does not start.
fn refused(env: &[(&'static str, String)], words: &[&str]) -> String {
    let words = [&["relay", "-b", "127.0.0.1", "-p", "0"], words].concat();
    let ran = laps(&lent(env), &words);
    assert_ne!(ran.code, 0, "{}", ran.out);
    ran.err
}

#[test]
fn a_peer_without_a_ca_is_refused_with_what_to_do() {
    let none = [("LAPS_RELAY__ENDPOINT_ID", "1:1".to_owned())];
    let said = refused(&none, &["--peer", "127.0.0.1:33434"]);
    for words in [
        "peering.ca",
        "127.0.0.1:33434",
        "laps cert ca",
        "peering.insecure",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_named() {
    let dir = made("mesh-files");
    let other = made("mesh-other");
    let file = |dir: &Path, name: &str| dir.join(name).display().to_string();
    let with = |key: &'static str, value: String| {
        let mut env = member(&dir, 1);
        env.iter_mut().find(|(name, _)| *name == key).unwrap().1 = value;
        env
    };
    for (key, value, words) in [
        (
            "LAPS_PEERING__KEY",
            file(&dir, "node-1-2-key.pem"),
            "node-1-1.pem",
        ),
        ("LAPS_PEERING__CA", file(&other, "ca.pem"), "node-1-1.pem"),
        ("LAPS_PEERING__CERT", file(&dir, "nowhere.pem"), "nowhere.pem"),
        ("LAPS_RELAY__ENDPOINT_ID", "1:3".to_owned(), "1:3"),
    ] {
        let said = refused(&with(key, value), &[]);
        assert!(said.contains(words), "{key}: {said}");
        assert!(said.contains("laps cert ca"), "{key}: {said}");
    }
}

/// A node's certificate that has gone most of its way is told of at the start, to the doctor and in what is measured.
#[test]
fn a_certificate_that_ends_is_told() {
    let dir = made("mesh-aged");
    let pem = |name: &str| Pem::File(dir.join(name));
    let ca = PeerCa::load(&pem("ca.pem"), &pem("ca-key.pem")).unwrap();
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let node = "1:1".parse().unwrap();
    let aged = ca.certify_for(node, now - 345 * day, now + 20 * day).unwrap();
    std::fs::write(dir.join("node-1-1.pem"), aged.cert_pem).unwrap();
    std::fs::write(dir.join("node-1-1-key.pem"), aged.key_pem).unwrap();
    let env = member(&dir, 1);
    let mut relay = Relay::start(&lent(&env), &[]);
    let said = relay
        .process
        .err_line("the certificate of peering.cert expires in 19 day(s)");
    assert!(
        said.contains("WARN") && said.contains("start the relay again"),
        "{said}"
    );
    let mut off = env;
    off.push(("LAPS_RELAY__BIND", "127.0.0.1".to_owned()));
    let doctor = laps(&lent(&off), &["doctor"]);
    let row = doctor
        .out
        .lines()
        .find(|line| line.contains("peering certificate"));
    let row = row.unwrap_or_default();
    assert!(
        row.starts_with("warn") && row.contains("19 day(s)"),
        "{}",
        doctor.out
    );
    // That of the other node has just been made.
    let mut env = member(&dir, 2);
    env.push(("LAPS_RELAY__BIND", "127.0.0.1".to_owned()));
    let doctor = laps(&lent(&env), &["doctor"]);
    let row = doctor
        .out
        .lines()
        .find(|line| line.contains("peering certificate"));
    let row = row.unwrap_or_default();
    assert!(
        row.starts_with("ok") && row.contains("364 days"),
        "{}",
        doctor.out
    );
    let relay = Relay::start(&lent(&env), &[]);
    relay.process.signal("INT");
    let (ran, _) = relay.process.finish();
    assert!(!ran.err.contains("certificate of"), "{}", ran.err);
}

/// Issue 6, "Bad input": a certificate that expires while its relay runs. It is dialled in vain, dials in vain itself, and
/// each side says why.
#[test]
fn an_expired_certificate_is_named_on_both_sides() {
    let dir = made("mesh-expired");
    let pem = |name: &str| Pem::File(dir.join(name));
    let ca = PeerCa::load(&pem("ca.pem"), &pem("ca-key.pem")).unwrap();
    let now = SystemTime::now();
    // Long enough for a busy machine to start a relay with it, which looks at it then.
    let until = now + Duration::from_secs(6);
    let node = "1:2".parse().unwrap();
    let soon_over = ca
        .certify_for(node, now - Duration::from_secs(60), until)
        .unwrap();
    std::fs::write(dir.join("node-1-2.pem"), soon_over.cert_pem).unwrap();
    std::fs::write(dir.join("node-1-2-key.pem"), soon_over.key_pem).unwrap();
    // Nobody is there yet, so that no link is made before.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first_at = socket.local_addr().unwrap();
    drop(socket);
    let eager = |number| {
        let mut env = member(&dir, number);
        for name in [
            "LAPS_PEERING__CONNECT_MS",
            "LAPS_PEERING__BACKOFF_FIRST_MS",
            "LAPS_PEERING__BACKOFF_MAX_MS",
        ] {
            env.push((name, "300".to_owned()));
        }
        env
    };
    let second = eager(2);
    let mut second = Relay::start(&lent(&second), &["--peer", &first_at.to_string()]);
    let line = second.process.out_line("relays may dial ");
    let second_at = line.split("relays may dial ").nth(1).unwrap().trim().to_owned();
    // Times of certificates are whole seconds.
    while SystemTime::now() <= until + Duration::from_secs(1) {
        second.process.err_line("peer not reached");
    }
    let mut first = eager(1);
    let port = first_at.port().to_string();
    first.retain(|(name, _)| *name != "LAPS_PEERING__PORT");
    first.push(("LAPS_PEERING__PORT", port));
    let mut first = Relay::start(&lent(&first), &["--peer", &second_at]);
    let why = "it has expired or is not valid yet";
    while !first.process.err_line("peer not reached").contains(why) {}
    while !first.process.err_line("peer refused").contains(why) {}
    while !second
        .process
        .err_line("the connection of the link is over")
        .contains(why)
    {}
}
