//! TLS between relays: both sides show a certificate of the mesh's own authority, and it says which node they are.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use laps_protocol::peering::{message::Dialect, node::NodeId};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    cert,
    error::TlsError,
    peer_cert::node_of,
    tls::{ClientTls, Pem, ServerTls, Verify, authorities, certificates, provider},
};

/// The ALPN token of a link between two relays of ours.
pub const LINK_ALPN: &[u8] = Dialect::Own.alpn().as_bytes();

/// The ALPN token of a link to or from a laps relay, which has none for peers: it is that of MOQT draft 14.
pub const LAPS_ALPN: &[u8] = Dialect::Laps14.alpn().as_bytes();

/// TLS of one kind of links: how this relay is dialled, and how it dials. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerTls {
    server: ServerTls,
    client: ClientTls,
    expiry: Option<Expiry>,
}

impl PeerTls {
    /// For links between our relays, [`LINK_ALPN`]: both sides must show a certificate that one in `ca` has signed and
    /// that names a node, [`ConnHandle::peer_node`](super::ConnHandle::peer_node). Host names play no part.
    ///
    /// `cert` (with intermediate certificates behind it, if there are any) and `key` are this relay's own; they are held
    /// against `ca` here as peers will hold them, and must name `node`.
    ///
    /// # Errors
    /// [`TlsError`] says which file cannot be read, does not belong to another, has expired, or names another node.
    pub fn mutual(ca: &Pem, cert: &Pem, key: &Pem, node: NodeId) -> Result<Self, TlsError> {
        let members = Arc::new(Members::of(ca)?);
        let named = members.check(cert, SystemTime::now())?;
        if named != node {
            return Err(TlsError::OtherNode {
                cert: cert.origin(),
                named,
                node,
            });
        }
        let alpn = [LINK_ALPN.to_vec()];
        let clients: Arc<dyn ClientCertVerifier> = Arc::clone(&members) as _;
        let servers: Arc<dyn ServerCertVerifier> = Arc::clone(&members) as _;
        Ok(Self {
            server: ServerTls::asking(cert, key, &alpn, Some(clients))?,
            client: ClientTls::showing(cert, key, &alpn, servers)?,
            expiry: Some(Expiry {
                members,
                chain: certificates(cert)?.into(),
            }),
        })
    }

    /// Without proof of who the other side is: for laps relays ([`LAPS_ALPN`]), which have no certificates for peers, and
    /// for meshes whose operator wants none ([`LINK_ALPN`]). The server shows a certificate made here, as QUIC cannot do
    /// without one, and the client takes any.
    ///
    /// Who may dial is left to [`Door::admit`](super::Door::admit). A handshake proves the address that it comes from,
    /// so that nobody forges one, but who can read and write what passes between the two can pose as either.
    ///
    /// # Errors
    /// [`TlsError::Generate`] when the system has no random numbers.
    pub fn open(alpn: &[u8]) -> Result<Self, TlsError> {
        let made = cert::generate::<&str>(&[])?;
        let alpn = [alpn.to_vec()];
        Ok(Self {
            server: ServerTls::load(&Pem::Text(made.cert_pem), &Pem::Text(made.key_pem), &alpn)?,
            client: ClientTls::new(&Verify::Insecure, &alpn)?,
            expiry: None,
        })
    }

    /// The side that is dialled.
    #[must_use]
    pub const fn server(&self) -> &ServerTls {
        &self.server
    }

    /// The side that dials.
    #[must_use]
    pub const fn client(&self) -> &ClientTls {
        &self.client
    }

    /// Whether the other side has to prove which node it is.
    #[must_use]
    pub const fn is_mutual(&self) -> bool {
        self.expiry.is_some()
    }

    /// Whether peers will still accept our certificate when `span` has passed. Links that are up outlive it; it is looked
    /// at when one is made.
    #[must_use]
    pub fn lasts(&self, span: Duration) -> bool {
        let Some(expiry) = &self.expiry else { return true };
        let then = SystemTime::now().checked_add(span);
        then.is_some_and(|then| expiry.members.verify(&expiry.chain, unix(then)).is_ok())
    }
}

/// What tells how long our own certificate is good.
#[derive(Clone, Debug)]
struct Expiry {
    members: Arc<Members>,
    chain: Arc<[CertificateDer<'static>]>,
}

/// Decides who is a node of the mesh, whichever side dials.
#[derive(Debug)]
pub(super) struct Members {
    authorities: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Members {
    /// The nodes whose certificates one of those in `ca` has signed.
    pub(super) fn of(ca: &Pem) -> Result<Self, TlsError> {
        let (authorities, provider) = (Arc::new(authorities(ca)?), provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities), Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::Unusable {
                    origin: ca.origin(),
                    detail: error.to_string(),
                })?;
        Ok(Self {
            authorities,
            clients,
            provider,
        })
    }

    /// The node that a chain of our own names, if a peer that dials us or is dialled by us would accept it at `at`.
    pub(super) fn check(&self, chain: &Pem, at: SystemTime) -> Result<NodeId, TlsError> {
        self.verify(&certificates(chain)?, unix(at))
            .map_err(|error| TlsError::NoMember {
                cert: chain.origin(),
                reason: error.to_string(),
            })
    }

    fn verify(&self, chain: &[CertificateDer<'_>], at: UnixTime) -> Result<NodeId, Unfit> {
        let [own, others @ ..] = chain else {
            return Err(Unfit::Tls(CertificateError::BadEncoding.into()));
        };
        self.accept_server(own, others, at)?;
        self.clients.verify_client_cert(own, others, at)?;
        Ok(node_of(own)?)
    }

    fn accept_server(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(own)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.authorities, others, at, algorithms)
    }
}

/// Why a certificate makes nobody a member.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{}", words(.0))]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Name(#[from] super::peer_cert::NodeNameError),
}

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        // A relay is known by its node id, not by where it is reached.
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.accept_server(end_entity, intermediates, now)?;
        names_node(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.clients.verify_client_cert(end_entity, intermediates, now)?;
        names_node(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// A certificate without a node's name is one for another purpose.
fn names_node(cert: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    match node_of(cert) {
        Ok(_) => Ok(()),
        Err(_) => Err(CertificateError::NotValidForName.into()),
    }
}

/// What an operator can act on.
fn words(error: &rustls::Error) -> String {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(fault) = error else {
        return error.to_string();
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the foreign enum is non-exhaustive"
    )]
    match fault {
        // A signature that fails is one of somebody who uses the name of the authority.
        E::UnknownIssuer | E::BadSignature => "the mesh's CA has not signed it".to_owned(),
        E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "it is not for both sides of a connection (clientAuth and serverAuth)".to_owned()
        }
        other => other.to_string(),
    }
}

fn unix(at: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
