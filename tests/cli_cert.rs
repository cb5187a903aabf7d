//! `laps cert` writes a pair that only its owner can read, and never over another.

mod cli_common;

use cli_common::{laps, scratch};
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

#[test]
fn a_name_that_is_none_is_refused() {
    let dir = scratch("cert-name");
    let ran = laps(&[], &["cert", "--out", dir.to_str().unwrap(), "--name", "ä"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.starts_with("laps: --name: "), "{}", ran.err);
    assert!(!dir.join("cert.pem").exists());
}
