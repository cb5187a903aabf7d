//! Which certificates a client accepts.

use crate::exit::Failure;
use laps_actors::transport::cert::parse_fingerprint;
use laps_actors::transport::{Pem, Verify};
use std::path::PathBuf;
use structopt::StructOpt;

// No doc comment on the struct: the parser would show it in place of the command's own text.
#[allow(
    missing_docs,
    reason = "a doc comment here would replace the command's help text"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, StructOpt)]
pub struct TrustOptions {
    /// Accept any certificate: for tests, an attacker can read and change everything
    #[structopt(long = "insecure", conflicts_with_all = &["ca", "cert-hash"])]
    pub insecure: bool,
    /// Accept certificates issued by those in this file (PEM) [default: those the system trusts]
    #[structopt(
        long = "ca",
        value_name = "FILE",
        conflicts_with = "cert-hash",
        parse(from_os_str)
    )]
    pub ca: Option<PathBuf>,
    /// Accept only the certificate, or the key, with this SHA-256, as the relay prints both (64 hexadecimal digits)
    #[structopt(
        name = "cert-hash",
        long = "cert-hash",
        alias = "cert_hash",
        value_name = "HEX"
    )]
    pub cert_hash: Option<String>,
}

impl TrustOptions {
    /// Nothing was said about it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.insecure && self.ca.is_none() && self.cert_hash.is_none()
    }

    /// What was asked for.
    ///
    /// # Errors
    /// When the hash is not 64 hexadecimal digits; colons between them are passed over.
    pub fn verify(&self) -> Result<Verify, Failure> {
        if self.insecure {
            return Ok(Verify::Insecure);
        }
        if let Some(ca) = &self.ca {
            return Ok(Verify::Ca(Pem::File(ca.clone())));
        }
        let Some(text) = &self.cert_hash else {
            return Ok(Verify::SystemRoots);
        };
        parse_fingerprint(text).map(Verify::CertSha256).ok_or_else(|| {
            let reason = format!("`{text}` is not a SHA-256 of 64 hexadecimal digits");
            Failure::usage(
                "--cert-hash",
                reason,
                "copy it from what the relay prints at start",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;

    #[test]
    fn each_way_of_trust() {
        let hash = "00ff".repeat(16);
        let colons = "00:FF:".repeat(16);
        let mut bytes = [0; 32];
        bytes.iter_mut().skip(1).step_by(2).for_each(|b| *b = 0xff);
        for (words, verify) in [
            (&[][..], Verify::SystemRoots),
            (&["--insecure"], Verify::Insecure),
            (&["--ca", "a.pem"], Verify::Ca(Pem::File("a.pem".into()))),
            (&["--cert-hash", &hash], Verify::CertSha256(bytes)),
            (
                &["--cert_hash", colons.trim_end_matches(':')],
                Verify::CertSha256(bytes),
            ),
        ] {
            assert_eq!(
                options::<TrustOptions>(words).unwrap().verify(),
                Ok(verify),
                "{words:?}"
            );
        }
    }

    #[test]
    fn two_ways_at_once_and_broken_hashes_are_refused() {
        for words in [
            &["--insecure", "--ca", "x"][..],
            &["--ca", "x", "--cert-hash", "00"],
            &["--insecure", "--cert-hash", "00"],
        ] {
            assert!(options::<TrustOptions>(words).is_err(), "{words:?}");
        }
        for hash in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66)] {
            let verify = options::<TrustOptions>(&["--cert-hash", hash]).unwrap().verify();
            assert!(verify.is_err(), "{hash}");
        }
    }
}
