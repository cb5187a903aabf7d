//! Who was let in as a node of the mesh, and who was not.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use laps_protocol::peering::node::NodeId;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;

use super::{
    error::{ConnError, certificate_fault},
    peer_cert::node_of,
};

/// Refusals that wait to be told. Each is a line in the log; who knocks more often than that is read is only counted, by
/// [`EndpointStats::untold_refusals`](super::EndpointStats::untold_refusals).
const MAX_REFUSALS: usize = 16;

/// The endpoint's side of [`Refusals`].
#[derive(Debug)]
pub(super) struct Membership(mpsc::Sender<Refusal>);

/// Handshakes that were refused for the other side's certificate or address. At most 16 wait to be read.
#[derive(Debug)]
pub struct Refusals(mpsc::Receiver<Refusal>);

/// A handshake that was refused for the other side's certificate or address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it came from. Nobody forges it where the certificate is at fault, which comes after the address is proved.
    pub from: SocketAddr,
    /// What is wrong.
    pub fault: &'static str,
}

impl Membership {
    /// Somebody knocked whose address is none that is let in. What cannot be told is forgotten: whoever floods a port
    /// comes by here with each packet.
    pub(super) fn stranger(&self, from: SocketAddr) {
        let fault = "its address is none that is let in";
        self.0.try_send(Refusal { from, fault }).ok();
    }

    pub(super) fn new() -> (Self, Refusals) {
        let (refused, refusals) = mpsc::channel(MAX_REFUSALS);
        (Self(refused), Refusals(refusals))
    }

    /// A connection ended; false when that is to be told and cannot be. Runs inside the endpoint: it does not wait.
    pub(super) fn tell(&self, from: Option<SocketAddr>, end: ConnError) -> bool {
        let ConnError::Transport {
            code, by_peer: false, ..
        } = end
        else {
            return true;
        };
        match (from, certificate_fault(code)) {
            (Some(from), Some(fault)) => self.0.try_send(Refusal { from, fault }).is_ok(),
            _ => true,
        }
    }
}

impl Refusals {
    /// The next one; none when the endpoint is gone.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Refusal>> {
        self.0.poll_recv(cx)
    }

    /// [`poll_recv`](Self::poll_recv) as a future.
    pub async fn recv(&mut self) -> Option<Refusal> {
        self.0.recv().await
    }
}

impl futures::Stream for Refusals {
    type Item = Refusal;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Refusal>> {
        self.poll_recv(cx)
    }
}

/// The node that a chain names which TLS has verified: its first certificate, whose key the peer has shown to hold.
pub(super) fn verified(chain: &[Vec<u8>]) -> Option<NodeId> {
    let own = CertificateDer::from_slice(chain.first()?);
    node_of(&own).ok()
}
