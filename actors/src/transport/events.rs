//! The endpoint's event subscriber: what the QUIC stack measures, kept in atomics that the session side reads.
//!
//! The callbacks run inside the endpoint's own task. A panic there ends every connection of the shard, so they store
//! numbers, wake a task, and do nothing else.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    close::{MAX_REASON, PeerClose},
    limits::socket_addr,
    membership::{self, Membership, Refusals},
    totals::EndpointStats,
    traffic::Traffic,
    unsent::{self, FirstWindows, SendStreams, Waiting},
};
use futures::task::AtomicWaker;
use laps_protocol::peering::node::NodeId;
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber, events};

/// Live figures of one connection. Written by the endpoint, read by anybody; values may lag by one packet.
#[derive(Debug)]
pub struct ConnStats {
    mtu: AtomicU64,
    smoothed_rtt_us: AtomicU64,
    min_rtt_us: AtomicU64,
    congestion_window: AtomicU64,
    bytes_in_flight: AtomicU64,
    lost_packets: AtomicU64,
    stream_bytes_sent: AtomicU64,
    waiting: Waiting,
    unanswered_us: AtomicU64,
    stops: AtomicU64,
    stop_waker: AtomicWaker,
    closed: AtomicBool,
    heard: AtomicU64,
    traffic: Traffic,
    peer_close: OnceLock<PeerClose>,
    peer_node: OnceLock<NodeId>,
    /// Bytes of the shortest frame with which a unidirectional stream of ours began.
    #[cfg(test)]
    shortest_begin: AtomicU64,
}

/// Bytes around the payload of a DATAGRAM frame that fills a packet: short header with the longest connection id
/// (1 + 20), packet number (4), AEAD tag (16), frame type and length (1 + 2). RFC 9000 §17.3.1, RFC 9221 §4.
const DATAGRAM_OVERHEAD: u64 = 44;

/// Smallest UDP payload that every QUIC path carries. RFC 9000 §14.
const MIN_UDP_PAYLOAD: u64 = 1200;

impl ConnStats {
    fn new() -> Self {
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

    fn count_stop(&self) {
        self.stops.fetch_add(1, Release);
        self.stop_waker.wake();
    }

    fn end(&self) {
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
    fn asked(&self) {
        // The clock is read once for each packet that comes, and not for each that goes.
        if self.unanswered_us.load(Relaxed) == 0 {
            let now = u64::try_from(epoch().elapsed().as_micros()).unwrap_or(u64::MAX);
            self.unanswered_us.store(now.max(1), Relaxed);
        }
    }

    /// The peer is there.
    fn answered(&self) {
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

/// The subscriber of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Events {
    endpoint: Arc<EndpointStats>,
    /// What is told of those whose certificate was refused; none where nobody has to show one.
    members: Option<Membership>,
}

impl Events {
    /// For an endpoint whose peers are named by their certificates.
    pub(super) fn of_members() -> (Self, Refusals) {
        let (members, refusals) = Membership::new();
        let events = Self {
            members: Some(members),
            ..Self::default()
        };
        (events, refusals)
    }

    pub(super) fn stats(&self) -> Arc<EndpointStats> {
        Arc::clone(&self.endpoint)
    }
}

/// What the stack keeps per connection for us; its drop counts the connection out.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) stats: Arc<ConnStats>,
    pub(super) streams: SendStreams,
    /// Where the handshake came from.
    remote: Option<SocketAddr>,
    endpoint: Arc<EndpointStats>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.stats.end();
        if self.endpoint.open_connections.fetch_sub(1, AcqRel) == 1 {
            self.endpoint.idle_waker.wake();
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a dozen kinds of frames are of no interest here, as new ones would be"
)]
impl Subscriber for Events {
    type ConnectionContext = Tally;

    fn create_connection_context(&mut self, _: &ConnectionMeta, _: &ConnectionInfo<'_>) -> Tally {
        self.endpoint.connections.fetch_add(1, Relaxed);
        self.endpoint.open_connections.fetch_add(1, Relaxed);
        let stats = Arc::new(ConnStats::new());
        Tally {
            streams: SendStreams::new(Arc::clone(&stats)),
            stats,
            remote: None,
            endpoint: self.stats(),
        }
    }

    fn on_connection_started(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::ConnectionStarted<'_>,
    ) {
        context.remote = Some(socket_addr(&event.path.remote_addr));
    }

    fn on_mtu_updated(&mut self, context: &mut Tally, _: &ConnectionMeta, event: &events::MtuUpdated) {
        context.stats.mtu.store(event.mtu.into(), Relaxed);
    }

    fn on_recovery_metrics(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::RecoveryMetrics<'_>,
    ) {
        let stats = &context.stats;
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        stats.smoothed_rtt_us.store(us(event.smoothed_rtt), Relaxed);
        stats.min_rtt_us.store(us(event.min_rtt), Relaxed);
        stats
            .congestion_window
            .store(event.congestion_window.into(), Relaxed);
        stats.bytes_in_flight.store(event.bytes_in_flight.into(), Relaxed);
    }

    fn on_frame_received(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::FrameReceived<'_>,
    ) {
        match event.frame {
            events::Frame::StopSending { id, error_code, .. } => {
                context.streams.stop(id, error_code);
                context.stats.count_stop();
            }
            events::Frame::MaxStreamData { id, value, .. } => context.streams.widen(id, value),
            events::Frame::MaxData { value, .. } => context.stats.waiting.widen(value),
            _ => {}
        }
    }

    fn on_packet_received(&mut self, context: &mut Tally, _: &ConnectionMeta, _: &events::PacketReceived) {
        context.stats.answered();
    }

    fn on_datagram_received(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::DatagramReceived,
    ) {
        context.stats.traffic.received(event.len);
    }

    fn on_datagram_sent(&mut self, context: &mut Tally, _: &ConnectionMeta, event: &events::DatagramSent) {
        context.stats.traffic.sent(event.len);
    }

    fn on_handshake_status_updated(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::HandshakeStatusUpdated,
    ) {
        context.stats.traffic.shaken(&event.status);
    }

    fn on_frame_sent(&mut self, context: &mut Tally, _: &ConnectionMeta, event: &events::FrameSent) {
        // RFC 9000 §13.2: these alone are not acknowledged.
        let silent = matches!(
            event.frame,
            events::Frame::Padding { .. } | events::Frame::Ack { .. } | events::Frame::ConnectionClose { .. }
        );
        if !silent {
            context.stats.asked();
        }
        #[cfg(test)]
        if let events::Frame::Stream {
            id, offset: 0, len, ..
        } = event.frame
            && id & 2 != 0
        {
            context.stats.shortest_begin.fetch_min(len.into(), Relaxed);
        }
        match event.frame {
            events::Frame::Stream {
                id,
                offset,
                len,
                is_fin,
                ..
            } => context
                .streams
                .sent(id, offset.saturating_add(len.into()), is_fin),
            events::Frame::ResetStream { id, .. } => context.streams.reset(id),
            _ => {}
        }
    }

    fn on_transport_parameters_received(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::TransportParametersReceived<'_>,
    ) {
        let theirs = &event.transport_parameters;
        context.streams.set_first_windows(FirstWindows {
            uni: theirs.initial_max_stream_data_uni,
            // "Local" and "remote" are as the peer sees it. RFC 9000 §18.2.
            bidi_ours: theirs.initial_max_stream_data_bidi_remote,
            bidi_theirs: theirs.initial_max_stream_data_bidi_local,
        });
        if let Some(max) = unsent::take_first_window() {
            context.stats.waiting.begin(max);
        }
    }

    fn on_packet_lost(&mut self, context: &mut Tally, _: &ConnectionMeta, event: &events::PacketLost<'_>) {
        if !event.is_mtu_probe {
            context.stats.lost_packets.fetch_add(1, Relaxed);
        }
    }

    fn on_tx_stream_progress(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::TxStreamProgress,
    ) {
        let bytes = u64::try_from(event.bytes).unwrap_or(u64::MAX);
        context.stats.stream_bytes_sent.fetch_add(bytes, Relaxed);
        context.stats.waiting.progress();
    }

    fn on_connection_close_frame_received(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::ConnectionCloseFrameReceived<'_>,
    ) {
        let reason = event.frame.reason.unwrap_or_default();
        let kept = reason.get(..MAX_REASON).unwrap_or(reason);
        context.stats.peer_close.get_or_init(|| PeerClose {
            code: event.frame.error_code,
            by_application: event.frame.frame_type.is_none(),
            reason: crate::words::shown(kept),
        });
    }

    fn on_connection_closed(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::ConnectionClosed,
    ) {
        context.stats.end();
        if let Some(members) = &self.members
            && !members.tell(context.remote, event.error.into())
        {
            self.endpoint.untold_refusals.fetch_add(1, Relaxed);
        }
    }

    fn on_tls_exporter_ready(
        &mut self,
        context: &mut Tally,
        _: &ConnectionMeta,
        event: &events::TlsExporterReady<'_>,
    ) {
        if self.members.is_some()
            && let Ok(chain) = event.session.peer_cert_chain_der()
            && let Some(node) = membership::verified(&chain)
        {
            context.stats.peer_node.get_or_init(|| node);
        }
    }

    fn on_endpoint_datagram_dropped(
        &mut self,
        _: &events::EndpointMeta,
        _: &events::EndpointDatagramDropped,
    ) {
        self.endpoint.dropped_packets.fetch_add(1, Relaxed);
    }

    fn on_endpoint_connection_attempt_failed(
        &mut self,
        _: &events::EndpointMeta,
        _: &events::EndpointConnectionAttemptFailed,
    ) {
        self.endpoint.failed_handshakes.fetch_add(1, Relaxed);
    }
}
