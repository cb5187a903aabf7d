//! QUIC by quinn: an endpoint that takes any certificate, and how a connection ended.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// [D14-SETUP-3]: the ALPN of draft-14 over raw QUIC.
pub(crate) const ALPN: &[u8] = b"moq-00";

/// Takes any certificate: these tests are about MOQT, and the relay makes itself a new one at every start.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn transport() -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(1)));
    transport.max_concurrent_uni_streams(10_000_u32.into());
    Arc::new(transport)
}

/// A client endpoint on loopback that offers `alpn`.
pub(crate) fn client_endpoint(alpn: &[u8]) -> quinn::Endpoint {
    let provider = provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(tls).expect("QUIC over TLS 1.3"),
    ));
    config.transport_config(transport());
    let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a UDP socket");
    endpoint.set_default_client_config(config);
    endpoint
}

/// A server endpoint on loopback with a fresh certificate: the harness proves its clients against it.
pub(crate) fn server_endpoint() -> quinn::Endpoint {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .expect("a matching key");
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).expect("QUIC over TLS 1.3");
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport());
    quinn::Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).expect("a UDP socket")
}

/// Dials and completes the QUIC handshake.
pub(crate) async fn dial(
    address: SocketAddr,
    alpn: &[u8],
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    let endpoint = client_endpoint(alpn);
    let connecting = endpoint.connect(address, "localhost").expect("a valid address");
    let connection = connecting.await?;
    Ok((endpoint, connection))
}

/// How a connection ended, seen from our side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// CONNECTION_CLOSE of the application: a MOQT session termination code and its reason.
    Session { code: u64, reason: String },
    /// CONNECTION_CLOSE of QUIC itself.
    Transport { code: u64, reason: String },
    /// Nothing came any more, or the peer forgot us.
    Silent(String),
}

impl From<quinn::ConnectionError> for Ended {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as E;
        match error {
            E::ApplicationClosed(close) => Self::Session {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            E::ConnectionClosed(close) => Self::Transport {
                code: close.error_code.into(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            E::TransportError(error) => Self::Transport {
                code: error.code.into(),
                reason: error.reason,
            },
            E::VersionMismatch | E::Reset | E::TimedOut | E::LocallyClosed | E::CidsExhausted => {
                Self::Silent(error.to_string())
            }
        }
    }
}
