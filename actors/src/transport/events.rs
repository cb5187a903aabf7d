//! The endpoint's event subscriber: what the QUIC stack measures goes into the figures of its connection,
//! which the session side reads.
//!
//! The callbacks run inside the endpoint's own task. A panic there ends every connection of the shard, so they store
//! numbers, wake a task, and do nothing else.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

use super::{
    close::{MAX_REASON, PeerClose},
    conn_stats::ConnStats,
    limits::socket_addr,
    membership::{self, Membership, Refusals},
    totals::EndpointStats,
    unsent::{self, FirstWindows, SendStreams},
};
use s2n_quic::provider::event::{ConnectionInfo, ConnectionMeta, Subscriber, events};

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
