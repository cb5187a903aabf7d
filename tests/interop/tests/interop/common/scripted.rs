//! A server that follows a test's script: the harness proves its own clients against it, without the relay.

use std::net::SocketAddr;

use super::quic::server_endpoint;
use super::raw::RawPeer;
use super::wire::Frame;
use super::within;

pub(crate) struct Scripted {
    endpoint: quinn::Endpoint,
    pub(crate) address: SocketAddr,
}

impl Scripted {
    pub(crate) fn bind() -> Self {
        let endpoint = server_endpoint();
        let address = endpoint.local_addr().expect("a bound socket");
        Self { endpoint, address }
    }

    /// The next QUIC connection, or why its handshake failed.
    pub(crate) async fn accept_raw(&self) -> Result<quinn::Connection, quinn::ConnectionError> {
        self.endpoint.accept().await.expect("an open endpoint").await
    }

    /// The next session after SETUP, and the CLIENT_SETUP it came with.
    pub(crate) async fn session(&self) -> (RawPeer, Frame) {
        let connection = within("a client", self.accept_raw())
            .await
            .expect("a QUIC connection");
        RawPeer::accept(connection).await
    }
}
