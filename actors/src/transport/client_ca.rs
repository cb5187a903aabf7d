//! What clients trust for longer than a certificate lives: an authority of the operator's own, which signs what servers
//! show.
//!
//! It is another one than that of a mesh ([`PeerCa`](super::PeerCa)): what is given to clients lets nobody in among relays,
//! and what lets relays in is trusted by no client.

use std::time::SystemTime;

use rustls_pki_types::UnixTime;
use webpki::{EndEntityCert, KeyUsage};

use super::{
    authority::{self, Authority, Kind},
    cert::{self, server_params},
    error::TlsError,
    tls::{Pem, authorities, certificates, provider},
};

const SERVERS: Kind = Kind {
    name: "laps servers",
    restrict: |_| (),
};

/// An authority that signs certificates of servers and nothing else.
pub struct ClientCa(Authority);

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
        Authority::generate(&SERVERS).map(Self)
    }

    /// An authority that [`generate`](Self::generate) made, to sign more with it.
    ///
    /// # Errors
    /// [`TlsError`] when one of the two cannot be read, the key is of another certificate, or the authority is none of
    /// these or has expired: what it signs would not be believed.
    pub fn load(cert: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let ca = Self(Authority::load(&SERVERS, cert, key)?);
        let now = SystemTime::now();
        if ca.is_believed(&ca.certify::<&str>(&[], now)?, now)? {
            return Ok(ca);
        }
        let detail = "they are no pair that `laps cert --signed-by` made, or have expired";
        Err(authority::unusable(cert, key, detail.to_owned()))
    }

    /// Makes a key, and a certificate for it, valid for 13 days from `now` on: for `localhost`, the loopback addresses, this
    /// machine's name and `names` (host names or IP addresses).
    ///
    /// # Errors
    /// [`TlsError::Generate`] when a name cannot stand in a certificate, or the system has no random numbers.
    pub fn certify<S: AsRef<str>>(&self, names: &[S], now: SystemTime) -> Result<Signed, TlsError> {
        let (mut params, listed) = server_params(names, now)?;
        params.use_authority_key_identifier_extension = true;
        let (cert, key) = self.0.sign(&listed, &params)?;
        Ok(Signed {
            sha256: cert::sha256(cert.der()),
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Whether a client that trusts this authority takes what it has signed.
    fn is_believed(&self, signed: &Signed, now: SystemTime) -> Result<bool, TlsError> {
        let roots = authorities(&Pem::Text(self.cert_pem().to_owned()))?;
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
        self.0.cert_pem()
    }

    /// The private key, PEM (PKCS #8). Whoever has it can pose as any server to who trusts the authority.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.0.key_pem()
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
