//! `laps cert` writes a pair that only its owner can read, and never over another.

mod cli_common;

use cli_common::{Relay, laps, scratch};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn cert_writes_a_pair_and_keeps_what_exists() {
    let dir = scratch("cert").join("new");
    let words = [
        "cert",
        "--out",
        dir.to_str().unwrap(),
        "--name",
        "relay.example",
        "--name",
        "192.0.2.1",
    ];
    let first = laps(&[], &words);
    assert_eq!((first.code, first.err.as_str()), (0, ""));
    let digest = first
        .out
        .lines()
        .last()
        .unwrap()
        .strip_prefix("SHA-256")
        .unwrap()
        .trim();
    assert!(
        digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
        "{digest}"
    );
    let cert = fs::read_to_string(dir.join("cert.pem")).unwrap();
    let key = fs::read_to_string(dir.join("key.pem")).unwrap();
    assert!(cert.starts_with("-----BEGIN CERTIFICATE-----") && key.contains("PRIVATE KEY"));
    assert_eq!(
        fs::metadata(dir.join("key.pem")).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let second = laps(&[], &words);
    assert_eq!((second.code, second.out.as_str()), (1, ""));
    assert!(
        second.err.contains("key.pem: exists already; add --force"),
        "{}",
        second.err
    );
    assert_eq!(fs::read_to_string(dir.join("key.pem")).unwrap(), key);

    // A certificate alone is kept too, and no key appears beside it.
    fs::remove_file(dir.join("key.pem")).unwrap();
    assert_eq!(laps(&[], &words).code, 1);
    assert!(!dir.join("key.pem").exists());

    let forced = laps(&[], &[&words[..], &["--force"]].concat());
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert_ne!(fs::read_to_string(dir.join("cert.pem")).unwrap(), cert);
    assert_eq!(
        fs::metadata(dir.join("key.pem")).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// The certificate of a server is another one every few days; what its clients trust stays.
#[test]
fn an_authority_is_made_once_and_signs_each_time() {
    let dir = scratch("cert-signed");
    let (servers, out) = (dir.join("servers"), dir.join("tls"));
    let sign = |more: &[&str]| {
        let words = [
            "cert",
            "--signed-by",
            servers.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ];
        laps(&[], &[&words, more].concat())
    };
    let first = sign(&["--name", "relay.example"]);
    assert_eq!((first.code, first.err.as_str()), (0, ""));
    assert!(first.out.contains("servers/ca.pem"), "{}", first.out);
    let ca = fs::read(servers.join("ca.pem")).unwrap();
    let rights = fs::metadata(servers.join("ca-key.pem")).unwrap().permissions();
    assert_eq!(rights.mode() & 0o777, 0o600);
    // Nothing is touched when there is one already.
    assert_eq!(sign(&[]).code, 1);
    for _ in 0..2 {
        let before = fs::read(out.join("cert.pem")).unwrap();
        assert_eq!(sign(&["--force"]).code, 0);
        assert_ne!(fs::read(out.join("cert.pem")).unwrap(), before);
        assert_eq!(fs::read(servers.join("ca.pem")).unwrap(), ca);
        // Whoever trusts the authority is let in by who shows the certificate.
        let (cert, key) = (out.join("cert.pem"), out.join("key.pem"));
        let relay = Relay::start(
            &[],
            &["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()],
        );
        let authority = servers.join("ca.pem");
        let health = ["health", "--url", &relay.url, "--ca", authority.to_str().unwrap()];
        let well = laps(&[], &health);
        assert_eq!(well.code, 0, "{}", well.err);
    }
    fs::remove_file(servers.join("ca-key.pem")).unwrap();
    let half = sign(&["--force"]);
    assert_eq!(half.code, 1, "{}", half.out);
    assert!(half.err.contains("ca-key.pem: missing"), "{}", half.err);
    assert_eq!(fs::read(servers.join("ca.pem")).unwrap(), ca);
}

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = scratch("cert-name");
    let ran = laps(&[], &["cert", "--out", dir.to_str().unwrap(), "--name", "ä"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.starts_with("laps: --name: "), "{}", ran.err);
    assert!(!dir.join("cert.pem").exists());
}
