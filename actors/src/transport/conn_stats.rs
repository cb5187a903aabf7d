//! Live figures of one connection, kept in atomics that the session side reads.

use super::close::PeerClose;
use super::traffic::Traffic;
use super::unsent::Waiting;
use futures::task::AtomicWaker;
use laps_protocol::peering::node::NodeId;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Live figures of one connection. Written by the endpoint, read by anybody; values may lag by one packet.
#[derive(Debug)]
pub struct ConnStats {
    pub(super) mtu: AtomicU64,
    pub(super) smoothed_rtt_us: AtomicU64,
    pub(super) min_rtt_us: AtomicU64,
    pub(super) congestion_window: AtomicU64,
    pub(super) bytes_in_flight: AtomicU64,
    pub(super) lost_packets: AtomicU64,
    pub(super) stream_bytes_sent: AtomicU64,
    pub(super) waiting: Waiting,
    unanswered_us: AtomicU64,
    stops: AtomicU64,
    stop_waker: AtomicWaker,
    closed: AtomicBool,
    heard: AtomicU64,
    pub(super) traffic: Traffic,
    pub(super) peer_close: OnceLock<PeerClose>,
    pub(super) peer_node: OnceLock<NodeId>,
    /// Bytes of the shortest frame with which a unidirectional stream of ours began.
    #[cfg(test)]
    pub(super) shortest_begin: AtomicU64,
}

/// Bytes around the payload of a DATAGRAM frame that fills a packet: short header with the longest connection id
/// (1 + 20), packet number (4), AEAD tag (16), frame type and length (1 + 2). RFC 9000 §17.3.1, RFC 9221 §4.
const DATAGRAM_OVERHEAD: u64 = 44;

/// Smallest UDP payload that every QUIC path carries. RFC 9000 §14.
const MIN_UDP_PAYLOAD: u64 = 1200;

impl ConnStats {
    pub(super) fn new() -> Self {
        Self {
            mtu: AtomicU64::new(MIN_UDP_PAYLOAD),
            smoothed_rtt_us: AtomicU64::new(0),
            min_rtt_us: AtomicU64::new(0),
            congestion_window: AtomicU64::new(0),
            bytes_in_flight: AtomicU64::new(0),
            lost_packets: AtomicU64::new(0),
            stream_bytes_sent: AtomicU64::new(0),
            waiting: Waiting::new(),
            unanswered_us: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            stop_waker: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            traffic: Traffic::default(),
            peer_close: OnceLock::new(),
            peer_node: OnceLock::new(),
            #[cfg(test)]
            shortest_begin: AtomicU64::new(u64::MAX),
        }
    }

    /// Largest UDP payload the path is known to carry (bytes); grows as the stack probes the path.
    #[must_use]
    pub fn mtu(&self) -> u64 {
        self.mtu.load(Relaxed)
    }

    /// Largest datagram payload that fits a packet of this path (bytes), whatever the peer's limit is.
    #[must_use]
    pub fn max_datagram(&self) -> usize {
        usize::try_from(self.mtu().saturating_sub(DATAGRAM_OVERHEAD)).unwrap_or(usize::MAX)
    }

    /// Smoothed round trip, or none before the first measurement.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        micros(&self.smoothed_rtt_us)
    }

    /// Smallest round trip seen, or none before the first measurement.
    #[must_use]
    pub fn min_rtt(&self) -> Option<Duration> {
        micros(&self.min_rtt_us)
    }

    /// Congestion window (bytes); zero before the first acknowledgement.
    #[must_use]
    pub fn congestion_window(&self) -> u64 {
        self.congestion_window.load(Relaxed)
    }

    /// Bytes sent and not yet acknowledged or lost.
    #[must_use]
    pub fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight.load(Relaxed)
    }

    /// Packets declared lost, path probes excluded (count).
    #[must_use]
    pub fn lost_packets(&self) -> u64 {
        self.lost_packets.load(Relaxed)
    }

    /// Stream bytes that left for the first time (bytes since the start): what is used up of the peer's window for
    /// the connection.
    #[must_use]
    pub fn stream_bytes_sent(&self) -> u64 {
        self.stream_bytes_sent.load(Relaxed)
    }

    /// Stream bytes that were written and have not left, although the peer's windows for their streams take them
    /// (bytes).
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.waiting.unsent()
    }

    /// Bytes of objects beyond those written that the peer's window for the connection takes (bytes); a small part of
    /// that window is the control stream's. MOQT-14 §10.4.2 [D14-DATA-17]
    #[must_use]
    pub fn window_for_objects(&self) -> u64 {
        self.waiting.window_for_objects(self.stream_bytes_sent())
    }

    /// Has the task woken when at most `unsent` bytes are [unsent](Self::unsent), or when
    /// [`window_for_objects`](Self::window_for_objects) has grown. The task that asked last is woken, and looks again: what it waits
    /// for may be true already.
    pub fn wake_at(&self, unsent: u64, cx: &Context<'_>) {
        self.waiting.poll(unsent, cx);
    }

    /// For tests: how many bytes the shortest frame had with which a unidirectional stream of ours began.
    #[cfg(test)]
    pub(crate) fn shortest_begin(&self) -> u64 {
        self.shortest_begin.load(Relaxed)
    }

    pub(super) fn recount(&self, before: u64, now: u64) {
        self.waiting.recount(before, now);
    }

    pub(super) fn wake_for_room(&self) {
        self.waiting.wake();
    }

    /// Waits until the peer has stopped more than `seen` of our streams (count since the start) or the connection
    /// ended; the value is the new count. It wakes one task, the last that asked. One stream's own stop is told by
    /// [`SendGuard::poll_stopped`](super::SendGuard::poll_stopped).
    pub fn poll_stops(&self, seen: u64, cx: &mut Context<'_>) -> Poll<u64> {
        self.stop_waker.register(cx.waker());
        let stops = self.stops.load(Acquire);
        if stops > seen || self.is_closed() {
            Poll::Ready(stops)
        } else {
            Poll::Pending
        }
    }

    pub(super) fn count_stop(&self) {
        self.stops.fetch_add(1, Release);
        self.stop_waker.wake();
    }

    pub(super) fn end(&self) {
        self.closed.store(true, Release);
        self.stop_waker.wake();
    }

    /// Since when something that a live peer answers is on its way and nothing at all came back; none while the peer is
    /// heard, and while there is nothing to answer. RFC 9000 §13.2.1
    #[must_use]
    pub fn unanswered_since(&self) -> Option<Instant> {
        micros(&self.unanswered_us).and_then(|after| epoch().checked_add(after))
    }

    /// Something that is to be answered leaves.
    pub(super) fn asked(&self) {
        // The clock is read once for each packet that comes, and not for each that goes.
        if self.unanswered_us.load(Relaxed) == 0 {
            let now = u64::try_from(epoch().elapsed().as_micros()).unwrap_or(u64::MAX);
            self.unanswered_us.store(now.max(1), Relaxed);
        }
    }

    /// The peer is there.
    pub(super) fn answered(&self) {
        self.unanswered_us.store(0, Relaxed);
        // Nobody else writes it.
        self.heard.store(self.heard() + 1, Relaxed);
    }

    /// Packets of the peer that arrived (count). Whoever looks at it now and then learns since when it is silent, without
    /// a clock being read for each packet.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// How much has gone over the connection.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The node that the peer's certificate names, on an endpoint where that is asked for.
    pub(super) fn peer_node(&self) -> Option<NodeId> {
        self.peer_node.get().copied()
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Acquire)
    }

    /// What the peer said when it closed, if it did.
    #[must_use]
    pub fn peer_close(&self) -> Option<&PeerClose> {
        self.peer_close.get()
    }
}

/// Where the times of [`ConnStats`] count from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn micros(cell: &AtomicU64) -> Option<Duration> {
    Some(cell.load(Relaxed))
        .filter(|us| *us != 0)
        .map(Duration::from_micros)
}
