//! A small certificate authority of the operator's own: its key, and what it signs with it. What may stand in what it signs
//! is for who has it: [`PeerCa`](super::PeerCa) for the nodes of a mesh, [`ClientCa`](super::ClientCa) for servers.

use std::time::SystemTime;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
};

use super::{
    cert::{self, BACKDATED, CA_VALIDITY},
    error::TlsError,
    tls::Pem,
};

/// What one kind of authority is called, and what it may not do.
pub(super) struct Kind {
    /// What stands in its name before a part of its key's hash.
    pub(super) name: &'static str,
    /// What its certificate says beside that.
    pub(super) restrict: fn(&mut CertificateParams),
}

/// A certificate that may sign others, with its key. ECDSA P-256.
pub(super) struct Authority {
    cert_pem: String,
    key: KeyPair,
    /// Those of the certificate, as far as what it signs depends on them: they follow from the key, so that it signs without
    /// reading that.
    params: CertificateParams,
}

impl Authority {
    /// One with a new key, valid for ten years.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub(super) fn generate(kind: &Kind) -> Result<Self, TlsError> {
        let failed = |error: rcgen::Error| failed("a CA", &error);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let params = params(kind, &key);
        Ok(Self {
            cert_pem: params.self_signed(&key).map_err(failed)?.pem(),
            key,
            params,
        })
    }

    /// One that [`generate`](Self::generate) made. Whether the two are a pair shows what it signs.
    ///
    /// # Errors
    /// [`TlsError`] when one of the two cannot be read.
    pub(super) fn load(kind: &Kind, cert: &Pem, key: &Pem) -> Result<Self, TlsError> {
        let key_pem = key.read_text("private key")?;
        let pair = KeyPair::from_pem(&key_pem).map_err(|error| unusable(cert, key, error.to_string()))?;
        Ok(Self {
            cert_pem: cert.read_text("certificate")?,
            params: params(kind, &pair),
            key: pair,
        })
    }

    /// Makes a key, and a certificate for it.
    ///
    /// # Errors
    /// [`TlsError::Generate`], which names `what`, when the system has no random numbers.
    pub(super) fn sign(
        &self,
        what: &str,
        params: &CertificateParams,
    ) -> Result<(Certificate, KeyPair), TlsError> {
        let failed = |error: rcgen::Error| failed(what, &error);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let issuer = Issuer::from_params(&self.params, &self.key);
        Ok((params.signed_by(&key, &issuer).map_err(failed)?, key))
    }

    /// The certificate, PEM.
    pub(super) fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The private key, PEM (PKCS #8). Secret.
    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Who has this key and poses as an authority.
    #[cfg(test)]
    pub(super) fn posing(kind: &Kind, name: DistinguishedName, key: KeyPair) -> Self {
        let mut params = params(kind, &key);
        params.distinguished_name = name;
        Self {
            cert_pem: String::new(),
            key,
            params,
        }
    }
}

/// A name that is no more than this.
pub(super) fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// All that does not change while the key stays the same follows from the key.
fn params(kind: &Kind, key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + CA_VALIDITY).into();
    let id = cert::sha256(&key.subject_public_key_info());
    let short = cert::hex(id.get(..4).unwrap_or_default());
    params.distinguished_name = named(&format!("{} {short}", kind.name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (kind.restrict)(&mut params);
    params
}

/// What an authority cannot be made of.
pub(super) fn unusable(cert: &Pem, key: &Pem, detail: String) -> TlsError {
    TlsError::Unusable {
        origin: format!("{} with {}", cert.origin(), key.origin()),
        detail,
    }
}

/// A certificate for `what` cannot be made.
pub(super) fn failed(what: &str, error: &rcgen::Error) -> TlsError {
    TlsError::Generate {
        names: what.to_owned(),
        detail: error.to_string(),
    }
}
