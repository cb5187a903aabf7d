//! What QUIC does for a link between two relays, and when such a link is dead.

use std::time::Duration;

use laps_protocol::peering::liveness;

use super::limits::{Congestion, TransportConfig};

/// The times of a link.
///
/// A dead link has to be noticed within max(900 ms, 3 [`keep_alive`](Self::keep_alive) + 4 sRTT), and a link whose other
/// side stands still for 700 ms is not dead. QUIC alone cannot do both:
///
/// - *Its idle timeout* begins anew with the first packet that we send after the last that we heard, and timers of a
///   thread that stood still itself expire before it reads what has come meanwhile. One below 900 ms would end live
///   links. It is a backstop here: it frees a connection that nobody looks after any more. RFC 9000 §10.1
/// - *Its probes* (PTO) repeat what may be lost. They end nothing, however long they stay unanswered. RFC 9002 §6.2
/// - *Its keep-alive* has both sides send a PING when nothing came or went for `keep_alive`. Its timer begins anew with
///   what is received, so that a live peer may be silent for two of them, which with a stall of 700 ms is too long.
///
/// So links between our relays say PINGs of their own at a steady pace, and
/// [`Liveness`](laps_protocol::peering::liveness::Liveness) looks whether [`ConnStats::heard`](super::ConnStats::heard) has
/// grown. The keep-alive is for links to laps relays, which know no such PING.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTimes {
    /// Longest time in which neither side sends anything.
    pub keep_alive: Duration,
    /// When QUIC itself gives a silent connection up.
    pub idle_timeout: Duration,
    /// How long one attempt to look a name up, and to shake hands with one address, may take.
    pub connect: Duration,
}

impl LinkTimes {
    /// How often a link is looked at.
    pub const LOOK: Duration = liveness::LOOK;

    /// How long nothing may be heard on a link with this round trip before it is dead.
    #[must_use]
    pub fn silence(&self, srtt: Duration) -> Duration {
        liveness::silence(self.keep_alive, srtt)
    }
}

impl Default for LinkTimes {
    /// At a round trip of 170 ms, where the two halves of the rule meet, a link lives for 790 ms of silence with this
    /// keep-alive.
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_millis(75),
            idle_timeout: Duration::from_secs(5),
            connect: Duration::from_secs(3),
        }
    }
}

impl TransportConfig {
    /// Settings of a link: what all tracks between two relays need together, and the times of `times`. All are fields
    /// that may be changed.
    #[must_use]
    pub fn for_links(times: LinkTimes) -> Self {
        Self {
            // A stream for each subgroup of each track.
            max_uni_streams: 100_000,
            max_bidi_streams: 1_000,
            // 5 Gbit/s over 100 ms.
            connection_window: 64 * MIB,
            uni_stream_window: 4 * MIB,
            bidi_stream_window: 4 * MIB,
            send_buffer: 1 << 20,
            keep_alive: Some(times.keep_alive),
            idle_timeout: times.idle_timeout,
            handshake_timeout: times.connect,
            congestion: Congestion::Bbr,
            // Of all tracks, where those of a client's connection are of its own.
            datagram_recv_queue: 4_096,
            datagram_send_queue: 4_096,
            // Peers are few, and every one of them proves who it is.
            retry_above_handshakes: 16,
            max_connections: 1_024,
            ..Self::default()
        }
    }
}

const MIB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(700);

    #[test]
    fn a_death_is_noticed_in_time_and_a_stall_is_none() {
        let times = LinkTimes::default();
        for ms in 0..2_000 {
            let srtt = Duration::from_millis(ms);
            let silence = times.silence(srtt);
            let promised = Duration::from_millis(900).max(times.keep_alive * 3 + srtt * 4);
            assert!(silence + srtt / 2 + LinkTimes::LOOK <= promised, "{srtt:?}");
            assert!(silence >= STALL + times.keep_alive, "{srtt:?}: {silence:?}");
        }
    }

    #[test]
    fn the_idle_timeout_is_never_the_first_to_end_a_link() {
        let times = LinkTimes::default();
        assert!(times.silence(Duration::from_secs(1)) < times.idle_timeout);
    }

    #[test]
    fn the_settings_are_accepted_by_the_stack() {
        let config = TransportConfig::for_links(LinkTimes::default());
        config.limits().unwrap();
        assert!(config.keep_alive.unwrap() < config.idle_timeout);
        assert!(config.datagram_frame > 0);
    }
}
