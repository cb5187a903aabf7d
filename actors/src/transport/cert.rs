//! Certificates a relay makes for itself when it is given none.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use nix::unistd::gethostname;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use sha2::{Digest, Sha256};

use super::error::TlsError;

/// A certificate that signs itself, with its key.
#[derive(Clone)]
pub struct SelfSigned {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM (PKCS #8). Secret.
    pub key_pem: String,
    /// SHA-256 of the certificate's DER form, as browsers' `serverCertificateHashes` and `--cert-hash` take it.
    pub sha256: [u8; 32],
}

impl SelfSigned {
    /// [`sha256`](Self::sha256) in lower-case hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&self.sha256)
    }
}

impl std::fmt::Debug for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelfSigned")
            .field("sha256", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// How long a certificate of ours is valid from now on. Browsers accept a pinned one only when its whole life is at
/// most 14 days (W3C WebTransport, "custom certificate requirements").
const VALIDITY: Duration = Duration::from_secs(13 * DAY);

/// How far back its life starts, for clients whose clock is behind.
pub(super) const BACKDATED: Duration = Duration::from_secs(DAY / 2);

pub(super) const DAY: u64 = 24 * 60 * 60;

/// Makes an ECDSA P-256 certificate for `localhost`, the loopback addresses, this machine's name and `names` (host
/// names or IP addresses), valid for 13 days.
///
/// # Errors
/// [`TlsError::Generate`] when a name cannot stand in a certificate.
pub fn generate<S: AsRef<str>>(names: &[S]) -> Result<SelfSigned, TlsError> {
    let mut all: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
    all.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    // A host name that cannot be read or is not UTF-8 is merely left out: the certificate works without it.
    all.extend(
        gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .filter(|name| is_dns_name(name)),
    );
    all.sort_unstable();
    all.dedup();
    let listed = all.join(", ");
    let failed = |detail: String| TlsError::Generate {
        names: listed.clone(),
        detail,
    };

    if let Some(bad) = all
        .iter()
        .find(|name| name.parse::<IpAddr>().is_err() && !is_dns_name(name))
    {
        return Err(failed(format!("{bad:?} is not a host name or an IP address")));
    }
    let mut params = CertificateParams::new(all).map_err(|error| failed(error.to_string()))?;
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name.push(DnType::CommonName, "laps");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(error.to_string()))?;
    let cert = params
        .self_signed(&key)
        .map_err(|error| failed(error.to_string()))?;
    Ok(SelfSigned {
        sha256: sha256(cert.der()),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// SHA-256 of a certificate in DER form.
#[must_use]
pub fn sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Reads a fingerprint: 64 hex digits of any case, with or without colons between the bytes.
#[must_use]
pub fn parse_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16)?.try_into().ok())
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn is_dns_name(name: &str) -> bool {
    rustls_pki_types::DnsName::try_from(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back() {
        let made = generate(&["relay.example", "192.0.2.7"]).unwrap();
        assert_eq!(made.fingerprint().len(), 64);
        assert_eq!(made.fingerprint(), made.fingerprint().to_lowercase());
        assert_eq!(parse_fingerprint(&made.fingerprint()), Some(made.sha256));
        let colons: Vec<_> = made.sha256.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(parse_fingerprint(&colons.join(":")), Some(made.sha256));
        assert_eq!(parse_fingerprint("12"), None);
        assert_eq!(parse_fingerprint(&"x".repeat(64)), None);
    }

    #[test]
    fn the_life_of_a_certificate_suits_browsers() {
        assert!(VALIDITY + BACKDATED <= Duration::from_secs(14 * DAY));
        assert!(VALIDITY >= Duration::from_secs(13 * DAY));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let error = generate(&["not a name"]).unwrap_err().to_string();
        assert!(error.contains("not a name"), "{error}");
    }
}
