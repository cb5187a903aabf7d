//! Certificates a relay makes for itself when it is given none.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use nix::unistd::gethostname;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage};

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

/// How long a certificate of ours is valid from when it is made on. Browsers accept a pinned one only when its whole life is at
/// most 14 days (W3C WebTransport, "custom certificate requirements").
pub const VALIDITY: Duration = Duration::from_secs(13 * DAY);

/// How far back its life starts, for clients whose clock is behind.
pub(super) const BACKDATED: Duration = Duration::from_secs(DAY / 2);

pub(super) const DAY: u64 = 24 * 60 * 60;

/// How long an authority of ours is valid. Everybody who trusts it holds it, so changing it is work for each of them.
pub(super) const CA_VALIDITY: Duration = Duration::from_secs(10 * 365 * DAY);

/// Makes an ECDSA P-256 certificate for `localhost`, the loopback addresses, this machine's name and `names` (host
/// names or IP addresses), valid for 13 days.
///
/// # Errors
/// [`TlsError::Generate`] when a name cannot stand in a certificate.
pub fn generate<S: AsRef<str>>(names: &[S]) -> Result<SelfSigned, TlsError> {
    make(names, None, SystemTime::now())
}

/// The same at `now`, for the key of a certificate that was made here before (PEM), or for a new one.
///
/// # Errors
/// [`TlsError::Generate`] when the key cannot be used, or a name cannot stand in a certificate.
pub fn make<S: AsRef<str>>(
    names: &[S],
    key_pem: Option<&str>,
    now: SystemTime,
) -> Result<SelfSigned, TlsError> {
    let (params, listed) = server_params(names, now)?;
    let failed = |error: rcgen::Error| TlsError::Generate {
        names: listed.clone(),
        detail: error.to_string(),
    };
    let key = match key_pem {
        Some(pem) => KeyPair::from_pem(pem),
        None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    };
    let key = key.map_err(failed)?;
    let cert = params.self_signed(&key).map_err(failed)?;
    Ok(SelfSigned {
        sha256: sha256(cert.der()),
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// What a server's certificate says of it that is made at `now`; and the names that it is for, as one text.
pub(super) fn server_params<S: AsRef<str>>(
    names: &[S],
    now: SystemTime,
) -> Result<(CertificateParams, String), TlsError> {
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
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name.push(DnType::CommonName, "laps");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok((params, listed))
}

/// When a certificate that was made here ends, the first of this PEM text; none when the text holds none such.
#[must_use]
pub fn ends(cert_pem: &str) -> Option<SystemTime> {
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).ok()?;
    let own = EndEntityCert::try_from(&der).ok()?;
    let anchors = [webpki::anchor_from_trusted_cert(&der).ok()?];
    // Asked about a day on which nothing of ours is valid any more, the verifier says when that began.
    let never = UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) * 100));
    let answer = own.verify_for_usage(&[], &anchors, &[], never, KeyUsage::server_auth(), None, None);
    let Err(webpki::Error::CertExpired { not_after, .. }) = answer else {
        return None;
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
}

/// SHA-256 of a certificate in DER form.
#[must_use]
pub fn sha256(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// SHA-256 of the public key of a certificate in DER form; none when it is no certificate.
#[must_use]
pub fn key_sha256(der: &[u8]) -> Option<[u8; 32]> {
    let der = CertificateDer::from(der);
    let cert = EndEntityCert::try_from(&der).ok()?;
    Some(sha256(&cert.subject_public_key_info()))
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
    fn a_renewed_certificate_has_the_key_of_the_one_before() {
        let der = |made: &SelfSigned| CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap();
        // Certificates count whole seconds.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let first = make::<&str>(&[], None, now).unwrap();
        assert_eq!(ends(&first.cert_pem), Some(now + VALIDITY));
        let later = now + VALIDITY;
        let second = make::<&str>(&[], Some(&first.key_pem), later).unwrap();
        assert_eq!(ends(&second.cert_pem), Some(later + VALIDITY));
        assert_eq!(first.key_pem, second.key_pem);
        assert_ne!(first.sha256, second.sha256);
        assert_eq!(key_sha256(&der(&first)), key_sha256(&der(&second)));
        assert_ne!(key_sha256(&der(&first)), Some(first.sha256));
        let other = make::<&str>(&[], None, now).unwrap();
        assert_ne!(key_sha256(&der(&first)), key_sha256(&der(&other)));
        assert_eq!((ends("none"), key_sha256(b"none")), (None, None));
        assert!(make::<&str>(&[], Some("none"), now).is_err());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let error = generate(&["not a name"]).unwrap_err().to_string();
        assert!(error.contains("not a name"), "{error}");
    }
}
