//! The certificate that a server shows, which may be another one tomorrow.

use std::{fmt, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use super::{cert, lifetime::Lifetime, validity::validity};

/// One certificate with its key.
struct Leaf {
    certified: Arc<CertifiedKey>,
    known_by: Fingerprints,
    /// None when its times cannot be read.
    lifetime: Option<Lifetime>,
}

impl Leaf {
    fn of(
        chain: Vec<CertificateDer<'static>>,
        secret: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        let certified = CertifiedKey::from_der(chain, secret, provider)?;
        let own = certified.end_entity_cert()?;
        let known_by = Fingerprints {
            certificate: cert::sha256(own),
            key: cert::key_sha256(own).unwrap_or_default(),
        };
        let lifetime = validity(own);
        Ok(Self {
            certified: Arc::new(certified),
            known_by,
            lifetime,
        })
    }
}

/// What handshakes are answered with. All shards of a relay have one; what is changed here counts for the next
/// handshake of each, and touches no connection that stands.
pub(super) struct Shown(watch::Sender<Leaf>);

impl Shown {
    /// Shows the first of `chain`, whose private key is `secret`.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        secret: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        Leaf::of(chain, secret, provider).map(|leaf| Self(watch::Sender::new(leaf)))
    }

    /// From now on shows this one. When it cannot be used the one before is shown on.
    pub(super) fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        secret: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<(), rustls::Error> {
        drop(self.0.send_replace(Leaf::of(chain, secret, provider)?));
        Ok(())
    }

    /// What it is known by.
    pub(super) fn known_by(&self) -> Fingerprints {
        self.0.borrow().known_by
    }

    /// When it is valid.
    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        self.0.borrow().lifetime
    }

    /// For who wants to know of the next one.
    pub(super) fn follow(&self) -> Renewals {
        Renewals(self.0.subscribe())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.borrow().certified))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

/// Tells when a server shows another certificate.
pub struct Renewals(watch::Receiver<Leaf>);

impl Renewals {
    /// Waits for another certificate than the last one that this has told of. None when there will be
    /// none any more.
    pub async fn next(&mut self) -> Option<Fingerprints> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().known_by)
    }
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewals")
    }
}

/// What a certificate is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// SHA-256 of it: another one each time it is renewed.
    pub certificate: [u8; 32],
    /// SHA-256 of its public key (the DER form of SubjectPublicKeyInfo, as RFC 7469 §2.4 pins it): the same for as long
    /// as the key is kept.
    pub key: [u8; 32],
}
