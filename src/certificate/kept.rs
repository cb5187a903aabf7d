//! The file with our own key and certificate.

use laps_actors::transport::{Pem, SelfSigned, ServerTls, moqt_alpn};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Its name. Key and certificate are in one, so that they always fit each other.
pub const FILE: &str = "certificate.pem";

/// Where the relay keeps what is to outlive it: what a service manager gives, or the place that the XDG Base Directory
/// Specification names. None where there is neither.
#[must_use]
pub fn state_folder(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let folder = |name: &str| var(name).map(PathBuf::from).and_then(absolute);
    // systemd.exec(5): several are separated by colons.
    let given =
        var("STATE_DIRECTORY").and_then(|list| std::env::split_paths(&list).next().and_then(absolute));
    let of_user =
        || folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    given.or_else(|| of_user().map(|state| state.join("laps")))
}

/// What is in the file.
pub(super) enum Found {
    /// A key and its certificate.
    Pair(SelfSigned),
    /// There is none.
    Nothing,
    /// Something else; why.
    Damaged(String),
}

/// Reads the file.
pub(super) fn read(file: &Path) -> io::Result<Found> {
    let text = match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let whole = Pem::Text(text.clone());
    let tls = match ServerTls::load(&whole, &whole, &moqt_alpn()) {
        Ok(tls) => tls,
        Err(error) => return Ok(Found::Damaged(error.to_string())),
    };
    // The key stands first.
    let Some(at) = text.find(CERTIFICATE) else {
        return Ok(Found::Damaged("there is no certificate in it".to_owned()));
    };
    let (key_pem, cert_pem) = text.split_at(at);
    Ok(Found::Pair(SelfSigned {
        cert_pem: cert_pem.to_owned(),
        key_pem: key_pem.to_owned(),
        sha256: tls.known_by().certificate,
    }))
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Writes the file, readable by its owner alone; at no time is there half of it. Without `replace` the one who is first
/// wins: what another process has written meanwhile is answered.
pub(super) fn write(file: &Path, made: &SelfSigned, replace: bool) -> io::Result<Option<SelfSigned>> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let written = write_new(&new, made).and_then(|()| {
        if replace {
            return fs::rename(&new, file).map(|()| None);
        }
        match fs::hard_link(&new, file) {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match read(file)? {
                Found::Pair(theirs) => Ok(Some(theirs)),
                Found::Nothing | Found::Damaged(_) => Err(error),
            },
            // A file system without links.
            Err(_) => fs::rename(&new, file).map(|()| None),
        }
    });
    // Gone already where it was renamed.
    drop(fs::remove_file(&new));
    written
}

fn write_new(new: &Path, made: &SelfSigned) -> io::Result<()> {
    // One that a process of the same number left behind is nobody's.
    drop(fs::remove_file(new));
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
    out.write_all(made.key_pem.as_bytes())?;
    out.write_all(made.cert_pem.as_bytes())?;
    out.sync_all()
}

/// Keeps a damaged file under another name; what was done with it, for the operator.
pub(super) fn set_aside(file: &Path) -> String {
    let aside = file.with_extension("damaged");
    match fs::rename(file, &aside) {
        Ok(()) => format!("renamed to {}", aside.display()),
        Err(_) => "replaced".to_owned(),
    }
}
