//! What clients trust for longer than a certificate lives: an authority of the operator's own, which signs what servers
//! show.
//!
//! It is another one than that of a mesh ([`PeerCa`](super::PeerCa)): what is given to clients lets nobody in among relays,
//! and what lets relays in is trusted by no client.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls_pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage};

use super::{
    cert::{self, BACKDATED, CA_VALIDITY, server_params},
    error::TlsError,
    tls::{Pem, authorities, certificates, provider},
};

/// An authority that signs certificates of servers and nothing else.
pub struct ClientCa {
    cert_pem: String,
    key: KeyPair,
    /// Those of the certificate, as far as what it signs depends on them.
    params: CertificateParams,
}

/// A certificate of a server that an authority has signed, with its key.
#[derive(Clone)]
pub struct Signed {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM (PKCS #8). Secret.
    pub key_pem: String,
    /// SHA-256 of the certificate's DER form.
    pub sha256: [u8; 32],
}

impl ClientCa {
    /// Makes an authority with a new key, valid for ten years. ECDSA P-256.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed("a CA", &error))?;
        let params = ca_params(&key);
        let cert = params.self_signed(&key).map_err(|error| failed("a CA", &error))?;
        Ok(Self {
            cert_pem: cert.pem(),
            key,
            params,
        })
    }

    /// An authority that [`generate`](Self::generate) made, to sign more with it.
    ///
    /// # Errors
    /// [`TlsError`] when one of the two cannot be read, the key is of another certificate, or the authority is none of
    /// these or has expired: what it signs would not be believed.
    pub fn load(cert: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let unusable = |detail: &str| TlsError::Unusable {
            origin: format!("{} with {}", cert.origin(), key.origin()),
            detail: detail.to_owned(),
        };
        let key_pem = key.read_text("private key")?;
        let key = KeyPair::from_pem(&key_pem).map_err(|error| unusable(&error.to_string()))?;
        let params = ca_params(&key);
        let ca = Self {
            cert_pem: cert.read_text("certificate")?,
            key,
            params,
        };
        let now = SystemTime::now();
        if ca.is_believed(&ca.certify::<&str>(&[], now)?, now)? {
            return Ok(ca);
        }
        Err(unusable(
            "they are no pair that `laps cert --signed-by` made, or have expired",
        ))
    }

    /// Makes a key, and a certificate for it, valid for 13 days from `now` on: for `localhost`, the loopback addresses, this
    /// machine's name and `names` (host names or IP addresses).
    ///
    /// # Errors
    /// [`TlsError::Generate`] when a name cannot stand in a certificate, or the system has no random numbers.
    pub fn certify<S: AsRef<str>>(&self, names: &[S], now: SystemTime) -> Result<Signed, TlsError> {
        let (mut params, listed) = server_params(names, now)?;
        params.use_authority_key_identifier_extension = true;
        let failed = |error: rcgen::Error| failed(&listed, &error);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let cert = params
            .signed_by(&key, &Issuer::from_params(&self.params, &self.key))
            .map_err(failed)?;
        Ok(Signed {
            sha256: cert::sha256(cert.der()),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Whether a client that trusts this authority takes what it has signed.
    fn is_believed(&self, signed: &Signed, now: SystemTime) -> Result<bool, TlsError> {
        let roots = authorities(&Pem::Text(self.cert_pem.clone()))?;
        let chain = certificates(&Pem::Text(signed.cert_pem.clone()))?;
        let leaf = chain.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (provider, usage) = (provider(), KeyUsage::server_auth());
        let algorithms = provider.signature_verification_algorithms.all;
        let at = UnixTime::since_unix_epoch(since);
        Ok(leaf.is_some_and(|leaf| {
            let verified = leaf.verify_for_usage(algorithms, &roots.roots, &[], at, usage, None, None);
            verified.is_ok()
        }))
    }

    /// The certificate, PEM: what clients trust.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key, PEM (PKCS #8). Whoever has it can pose as any server to who trusts the authority.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl Signed {
    /// [`sha256`](Self::sha256) in lower-case hex.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        cert::hex(&self.sha256)
    }
}

impl std::fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCa").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed")
            .field("sha256", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// All that does not change while the key stays the same follows from the key, as with the authority of a mesh.
fn ca_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + CA_VALIDITY).into();
    let id = cert::sha256(&key.subject_public_key_info());
    let short = cert::hex(id.get(..4).unwrap_or_default());
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("laps servers {short}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn failed(what: &str, error: &rcgen::Error) -> TlsError {
    TlsError::Generate {
        names: what.to_owned(),
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Lifetime, PeerCa, validity::validity};
    use std::time::Duration;

    fn text(pem: &str) -> Pem {
        Pem::Text(pem.to_owned())
    }

    fn lifetime(pem: &str) -> Lifetime {
        validity(&certificates(&text(pem)).unwrap()[0]).unwrap()
    }

    #[test]
    fn what_clients_trust_outlives_what_servers_show() {
        let ca = ClientCa::generate().unwrap();
        let now = SystemTime::now();
        let first = ca.certify(&["relay.example"], now).unwrap();
        assert!(ca.is_believed(&first, now).unwrap());
        let year = Duration::from_secs(365 * 86_400);
        assert!(lifetime(&first.cert_pem).until < now + Duration::from_secs(14 * 86_400));
        assert!(lifetime(ca.cert_pem()).until > now + 9 * year);
        // Loaded again, it signs what those believe who have had its certificate from the start.
        let again = ClientCa::load(&text(ca.cert_pem()), &text(&ca.key_pem())).unwrap();
        let later = again.certify(&["relay.example"], now + year).unwrap();
        assert!(ca.is_believed(&later, now + year).unwrap());
        assert!(!ca.is_believed(&first, now + year).unwrap(), "it has expired");
    }

    #[test]
    fn a_pair_that_is_none_is_refused() {
        let (ca, other) = (ClientCa::generate().unwrap(), ClientCa::generate().unwrap());
        let mesh = PeerCa::generate().unwrap();
        for (cert, key) in [
            (ca.cert_pem(), other.key_pem()),
            (mesh.cert_pem(), mesh.key_pem()),
            ("none", ca.key_pem()),
            (ca.cert_pem(), "none".to_owned()),
        ] {
            assert!(ClientCa::load(&text(cert), &text(&key)).is_err());
        }
        let now = SystemTime::now();
        let theirs = other.certify::<&str>(&[], now).unwrap();
        assert!(!ca.is_believed(&theirs, now).unwrap());
        let error = ca.certify(&["not a name"], now).unwrap_err().to_string();
        assert!(error.contains("not a name"), "{error}");
    }
}
