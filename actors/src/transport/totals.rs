//! Live figures of an endpoint.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;

/// Live figures of one endpoint.
#[derive(Debug, Default)]
pub struct EndpointStats {
    pub(super) dropped_packets: AtomicU64,
    pub(super) failed_handshakes: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) open_connections: AtomicU64,
    pub(super) untold_refusals: AtomicU64,
    pub(super) idle_waker: AtomicWaker,
}

impl EndpointStats {
    /// UDP packets that belonged to no connection (count). A rise on a real network card speaks against GRO.
    #[must_use]
    pub fn dropped_packets(&self) -> u64 {
        self.dropped_packets.load(Relaxed)
    }

    /// Connections that ended before their handshake was done, in the first packet (count).
    #[must_use]
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Relaxed)
    }

    /// Connections begun, handshakes included (count).
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Connections begun and not yet ended (count).
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.open_connections.load(Acquire)
    }

    /// Peers turned away for their certificate of which [`Refusals`](super::Refusals) had no room to tell (count).
    #[must_use]
    pub fn untold_refusals(&self) -> u64 {
        self.untold_refusals.load(Relaxed)
    }

    /// Waits until no connection is left, those included that still repeat their close frame. It wakes one task, the
    /// last that asked.
    pub fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.idle_waker.register(cx.waker());
        if self.open_connections() == 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
