//! Certificates, keys and trust, turned into what the QUIC stack takes.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use laps_protocol::moqt::version::Version;
use nix::unistd::gethostname;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::danger::ClientCertVerifier,
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};

use super::{
    cert,
    error::TlsError,
    lifetime::Lifetime,
    shown::{Fingerprints, Renewals, Shown},
    steering::ResetKey,
};

/// Where PEM text comes from.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// A file, read when the configuration is made.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

impl Pem {
    pub(super) fn origin(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "the given text".to_owned(),
        }
    }

    /// What it holds, as text; PEM is nothing else. `what` names it in errors.
    ///
    /// # Errors
    /// [`TlsError`] when the file cannot be read, or holds no text.
    pub fn read_text(&self, what: &'static str) -> Result<String, TlsError> {
        String::from_utf8(self.read(what)?).map_err(|error| TlsError::Missing {
            what,
            origin: self.origin(),
            detail: Some(error.to_string()),
        })
    }

    fn read(&self, what: &'static str) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::File(path) => fs::read(path).map_err(|source| TlsError::Read {
                what,
                path: path.clone(),
                source,
            }),
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may be a private key.
        f.write_str(&self.origin())
    }
}

/// TLS of a server. Cheap to clone; all shards of a relay share one.
#[derive(Clone)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    /// Whether clients show certificates that name them.
    pub(super) names_peers: bool,
    reset_key: ResetKey,
}

impl ServerTls {
    /// Loads a certificate chain (the server's own one first) and its private key, and offers `alpn` (most wanted
    /// first; see [`moqt_alpn`]).
    ///
    /// # Errors
    /// [`TlsError`] says which file cannot be read, lacks what it should hold, or does not belong to the other.
    pub fn load(cert: &Pem, key: &Pem, alpn: &[Vec<u8>]) -> Result<Self, TlsError> {
        Self::asking(cert, key, alpn, None)
    }

    /// The same, asking clients for certificates that `clients` accepts.
    pub(super) fn asking(
        cert: &Pem,
        key: &Pem,
        alpn: &[Vec<u8>],
        clients: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Self, TlsError> {
        let names_peers = clients.is_some();
        let (chain, secret, provider) = (certificates(cert)?, private_key(key)?, provider());
        let reset_key = ResetKey::derived(secret.secret_der(), &host_name());
        let shown = Shown::new(chain, secret, &provider).map_err(|error| server_error(error, cert, key))?;
        let shown = Arc::new(shown);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map(|builder| {
                let builder = match clients {
                    Some(clients) => builder.with_client_cert_verifier(clients),
                    None => builder.with_no_client_auth(),
                };
                builder.with_cert_resolver(Arc::<Shown>::clone(&shown))
            })
            .map_err(|error| server_error(error, cert, key))?;
        config.alpn_protocols = alpn.to_vec();
        // Nothing here resumes sessions, so tickets would only cost the handshake time.
        config.send_tls13_tickets = 0;
        Ok(Self {
            config: Arc::new(config),
            shown,
            names_peers,
            reset_key,
        })
    }

    /// Shows another certificate to newcomers, wherever this is in use. Connections that stand go on, and what
    /// [`reset_key`](Self::reset_key) gave stays what it is.
    ///
    /// # Errors
    /// As [`load`](Self::load); the certificate before is shown on then.
    pub fn renew(&self, cert: &Pem, key: &Pem) -> Result<(), TlsError> {
        self.shown
            .replace(certificates(cert)?, private_key(key)?, &provider())
            .map_err(|error| server_error(error, cert, key))
    }

    /// For who wants to know when another certificate is shown.
    #[must_use]
    pub fn renewals(&self) -> Renewals {
        self.shown.follow()
    }

    /// The secret behind stateless resets that belongs to the private key at this port of this host: a relay that is
    /// restarted there with the same key tells the connections of the run before that they are over. RFC 9000 §10.3.2
    #[must_use]
    pub fn reset_key(&self, port: u16) -> ResetKey {
        self.reset_key.at(&port.to_be_bytes())
    }

    /// What the certificate that is shown now is known by.
    #[must_use]
    pub fn known_by(&self) -> Fingerprints {
        self.shown.known_by()
    }

    /// When the certificate that is shown now is valid; none when its times cannot be read.
    #[must_use]
    pub fn lifetime(&self) -> Option<Lifetime> {
        self.shown.lifetime()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// How a client decides that a server is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// The name must match and the chain must end in a root of the operating system.
    SystemRoots,
    /// The name must match and the chain must end in one of these certificates.
    Ca(Pem),
    /// The server's own certificate, or its public key, must have this SHA-256; name and dates are not looked at.
    CertSha256([u8; 32]),
    /// Any certificate. Whoever sits on the path can pose as the server.
    Insecure,
}

/// TLS of a client. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    /// Whether servers show certificates that name them.
    pub(super) names_peers: bool,
}

impl ClientTls {
    /// Prepares to verify servers as `verify` says, offering `alpn` (most wanted first; see [`moqt_alpn`]).
    ///
    /// # Errors
    /// [`TlsError`] when the trust anchors cannot be read or there are none.
    pub fn new(verify: &Verify, alpn: &[Vec<u8>]) -> Result<Self, TlsError> {
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match verify {
            Verify::SystemRoots => web_pki(system_roots()?, &provider, "the system's trusted certificates")?,
            Verify::Ca(pem) => web_pki(authorities(pem)?, &provider, &pem.origin())?,
            Verify::CertSha256(hash) => Arc::new(Pinned {
                hash: Some(*hash),
                provider: Arc::clone(&provider),
            }),
            Verify::Insecure => Arc::new(Pinned {
                hash: None,
                provider: Arc::clone(&provider),
            }),
        };
        Ok(Self {
            config: finish(verifying(provider, verifier)?.with_no_client_auth(), alpn),
            names_peers: false,
        })
    }

    /// A client that `servers` decides for, and that shows a certificate of its own, with which servers name it.
    pub(super) fn showing(
        cert: &Pem,
        key: &Pem,
        alpn: &[Vec<u8>],
        servers: Arc<dyn ServerCertVerifier>,
    ) -> Result<Self, TlsError> {
        let config = verifying(provider(), servers)?
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| server_error(error, cert, key))?;
        Ok(Self {
            config: finish(config, alpn),
            names_peers: true,
        })
    }

    /// The ALPN tokens on offer, as one line of text.
    pub(super) fn offered(&self) -> String {
        let tokens: Vec<_> = self
            .config
            .alpn_protocols
            .iter()
            .map(|token| String::from_utf8_lossy(token))
            .collect();
        tokens.join(", ")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("alpn", &self.offered())
            .finish_non_exhaustive()
    }
}

fn verifying(
    provider: Arc<CryptoProvider>,
    servers: Arc<dyn ServerCertVerifier>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Unusable {
            origin: "TLS 1.3".to_owned(),
            detail: error.to_string(),
        })?;
    Ok(builder.dangerous().with_custom_certificate_verifier(servers))
}

fn finish(mut config: ClientConfig, alpn: &[Vec<u8>]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.to_vec();
    // A resumed session would skip the verifier.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// The ALPN tokens of every MOQT draft of this build, the preferred one first.
#[must_use]
pub fn moqt_alpn() -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    for token in Version::ALL.iter().map(|version| version.alpn().to_vec()) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens
}

/// Checks that the server holds the key of its certificate, and that the certificate is the expected one, if any is.
#[derive(Debug)]
struct Pinned {
    hash: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.hash {
            Some(hash) if hash != cert::sha256(end_entity) && Some(hash) != cert::key_sha256(end_entity) => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
            Some(_) | None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn web_pki(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
    origin: &str,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| TlsError::Unusable {
            origin: origin.to_owned(),
            detail: error.to_string(),
        })?;
    Ok(verifier)
}

/// The certificates in `pem` as those that may sign others.
pub(super) fn authorities(pem: &Pem) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| TlsError::Unusable {
            origin: pem.origin(),
            detail: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system store may hold certificates that are too old to parse; they are of no use to anybody.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(TlsError::NoSystemRoots {
            detail: found.errors.first().map(ToString::to_string),
        });
    }
    Ok(roots)
}

pub(super) fn certificates(from: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let missing = |detail| TlsError::Missing {
        what,
        origin: from.origin(),
        detail,
    };
    let bytes = from.read(what)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| missing(Some(error.to_string())))?;
    if chain.is_empty() {
        return Err(missing(None));
    }
    Ok(chain)
}

fn private_key(from: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "private key";
    let bytes = from.read(what)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| TlsError::Missing {
        what,
        origin: from.origin(),
        detail: (!matches!(error, pem::Error::NoItemsFound)).then(|| error.to_string()),
    })
}

/// The name of this host, as Linux has it in /proc/sys/kernel/hostname, with the end of the line; empty where there is none.
///
/// It is asked for and not read from there: `ProcSubset=pid` of a systemd unit hides the file, and two hosts without a
/// name would be one place.
pub(super) fn host_name() -> Vec<u8> {
    let Ok(name) = gethostname() else {
        return Vec::new();
    };
    let mut name = name.into_encoded_bytes();
    name.push(b'\n');
    name
}

fn server_error(error: rustls::Error, cert: &Pem, key: &Pem) -> TlsError {
    if matches!(error, rustls::Error::InconsistentKeys(_)) {
        return TlsError::Mismatch {
            cert: cert.origin(),
            key: key.origin(),
        };
    }
    TlsError::Unusable {
        origin: format!("{} with {}", cert.origin(), key.origin()),
        detail: error.to_string(),
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
