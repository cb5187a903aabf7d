//! `laps cert`: writes a certificate and its private key, and says how a client can trust just this one.

use super::cert_signed::Authority;
use super::{cert_ca, print};
use crate::cli::{CertCommand, CertOptions};
use crate::exit::Failure;
use laps_actors::transport::cert::generate;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Runs `laps cert`.
///
/// # Errors
/// When a file exists already and `--force` was not given, when one cannot be written, when a name cannot stand in a
/// certificate, or when the CA that is to sign it cannot be used. Nothing is left half done unless the disk fails in between.
pub fn run(options: &CertOptions) -> Result<(), Failure> {
    if let Some(CertCommand::Ca(options)) = &options.command {
        return cert_ca::run(options);
    }
    let authority = options.signed_by.as_deref().map(Authority::of).transpose()?;
    let made = match &authority {
        Some(authority) => authority.certify(&options.name).map(|made| {
            let sha256 = made.fingerprint();
            (made.cert_pem, made.key_pem, sha256)
        }),
        None => generate(&options.name).map(|made| {
            let sha256 = made.fingerprint();
            (made.cert_pem, made.key_pem, sha256)
        }),
    };
    let (cert_pem, key_pem, sha256) =
        made.map_err(|error| Failure::usage("--name", error.to_string(), "give host names or IP addresses"))?;
    fs::create_dir_all(&options.out).map_err(|e| unwritable(&options.out, &e))?;
    let cert = options.out.join("cert.pem");
    let key = options.out.join("key.pem");
    if options.force {
        remove(&cert)?;
        remove(&key)?;
    }
    // Both are claimed before either is written, so that a certificate never ends up beside a key of another.
    let mut key_file = create(&key, 0o600)?;
    let mut cert_file = create(&cert, 0o644).inspect_err(|_| drop(fs::remove_file(&key)))?;
    let ca = authority.as_ref().map(Authority::keep).transpose();
    let ca = ca.inspect_err(|_| {
        [&cert, &key]
            .into_iter()
            .for_each(|file| drop(fs::remove_file(file)))
    })?;
    key_file
        .write_all(key_pem.as_bytes())
        .map_err(|e| unwritable(&key, &e))?;
    cert_file
        .write_all(cert_pem.as_bytes())
        .map_err(|e| unwritable(&cert, &e))?;
    let (cert, key, ca) = (cert.display(), key.display(), ca.unwrap_or_default());
    print(&format!(
        "{ca}certificate  {cert}\nprivate key  {key}\nSHA-256      {sha256}"
    ))
}

/// A new file with these rights; what exists is never touched.
pub(super) fn create(path: &Path, mode: u32) -> Result<File, Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    opened.map_err(|error| {
        if error.kind() != ErrorKind::AlreadyExists {
            return unwritable(path, &error);
        }
        let remedy = "add --force to replace it, or choose another --out";
        Failure::run(path.display().to_string(), "exists already", remedy)
    })
}

pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(path, &error)),
        _ => Ok(()),
    }
}

pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::run(
        path.display().to_string(),
        error.to_string(),
        "choose a directory you can write to with --out",
    )
}
