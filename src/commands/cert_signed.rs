//! `laps cert --signed-by`: the CA that clients trust, and what it signs.

use super::cert::unwritable;
use super::cert_ca::{existing, write_pair};
use crate::exit::Failure;
use laps_actors::transport::{ClientCa, Signed, TlsError};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The CA of a directory; made, and not written yet, where there was none.
pub(super) struct Authority {
    ca: ClientCa,
    cert: PathBuf,
    key: PathBuf,
    is_new: bool,
}

impl Authority {
    /// # Errors
    /// When one half of it is missing, or it is none of ours.
    pub(super) fn of(dir: &Path) -> Result<Self, Failure> {
        let (cert, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
        let found = existing(&cert, &key, ClientCa::load)?;
        let is_new = found.is_none();
        let made = found.map_or_else(ClientCa::generate, Ok);
        Ok(Self {
            ca: made.map_err(|error| Failure::run("certificate", error.to_string(), ""))?,
            cert,
            key,
            is_new,
        })
    }

    /// A certificate for these names.
    ///
    /// # Errors
    /// When one of them cannot stand in a certificate.
    pub(super) fn certify(&self, names: &[String]) -> Result<Signed, TlsError> {
        self.ca.certify(names, SystemTime::now())
    }

    /// Writes it, where it is new; where it is, for the operator.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self) -> Result<String, Failure> {
        if self.is_new {
            if let Some(dir) = self.cert.parent() {
                fs::create_dir_all(dir).map_err(|error| unwritable(dir, &error))?;
            }
            write_pair(
                &self.cert,
                self.ca.cert_pem(),
                &self.key,
                &self.ca.key_pem(),
                false,
            )?;
        }
        let (cert, key) = (self.cert.display(), self.key.display());
        Ok(format!("CA           {cert}\nkey of CA    {key}\n"))
    }
}
