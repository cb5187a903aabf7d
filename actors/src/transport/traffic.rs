//! How much goes over one connection, in both directions.

use s2n_quic::provider::event::events::HandshakeStatus;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Written by the endpoint and by whoever opens and takes streams; read by anybody.
#[derive(Debug, Default)]
pub struct Traffic {
    udp_bytes: [AtomicU64; 2],
    streams: [AtomicU64; 2],
    confirmed: AtomicBool,
}

impl Traffic {
    /// Bytes of UDP payload that came from the peer, and that were sent to it.
    #[must_use]
    pub fn udp_bytes(&self) -> [u64; 2] {
        self.udp_bytes.each_ref().map(|count| count.load(Relaxed))
    }

    /// Unidirectional streams that the peer opened and that were taken, and that were opened here.
    #[must_use]
    pub fn uni_streams(&self) -> [u64; 2] {
        self.streams.each_ref().map(|count| count.load(Relaxed))
    }

    /// Whether both sides know that the handshake is over: a server has found our proof good. RFC 9001 §4.1.2.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Acquire)
    }

    pub(super) fn received(&self, bytes: u16) {
        self.udp_bytes[0].fetch_add(bytes.into(), Relaxed);
    }

    pub(super) fn sent(&self, bytes: u16) {
        self.udp_bytes[1].fetch_add(bytes.into(), Relaxed);
    }

    pub(super) fn took_stream(&self) {
        self.streams[0].fetch_add(1, Relaxed);
    }

    pub(super) fn opened_stream(&self) {
        self.streams[1].fetch_add(1, Relaxed);
    }

    /// The handshake has come so far.
    pub(super) fn shaken(&self, status: &HandshakeStatus) {
        if matches!(status, HandshakeStatus::Confirmed { .. }) {
            self.confirmed.store(true, Release);
        }
    }
}
