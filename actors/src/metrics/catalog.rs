//! The names of what shards count, in one table: what a tool for Prometheus sees, and what it says about it.
//!
//! A name ends in the unit where it has one, and the writer appends `_total`. Each series has the label `shard` beside
//! those here.

use super::tally::Count;

/// Series that have a name in common.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// They count bytes.
    pub(super) is_bytes: bool,
    pub(super) series: &'static [(Labels, Count)],
}

pub(super) type Labels = &'static [(&'static str, &'static str)];

const fn family(name: &'static str, help: &'static str, series: &'static [(Labels, Count)]) -> Family {
    Family {
        name,
        help,
        is_bytes: false,
        series,
    }
}

const fn bytes(name: &'static str, help: &'static str, series: &'static [(Labels, Count)]) -> Family {
    Family {
        is_bytes: true,
        ..family(name, help, series)
    }
}

/// All of them; a test sees to it that every count is in one.
pub(super) const FAMILIES: &[Family] = &[
    family(
        "laps_connections",
        "Connections that were let in",
        &[(&[], Count::Connections)],
    ),
    family(
        "laps_connections_closed_at_once",
        "Connections that were turned away after their handshake",
        &[(&[], Count::ConnectionsRefused)],
    ),
    family(
        "laps_requests_over_limit",
        "Requests and streams that were refused for what a session or its address prefix may have",
        &[(&[], Count::RequestsRefused)],
    ),
    family(
        "laps_objects_received",
        "Objects that peers sent",
        &[
            (&[("via", "stream")], Count::StreamObjectsIn),
            (&[("via", "datagram")], Count::DatagramObjectsIn),
            (&[("via", "fetch")], Count::FetchObjectsIn),
        ],
    ),
    bytes(
        "laps_payload_received",
        "Payload of objects that peers sent",
        &[
            (&[("via", "stream")], Count::StreamBytesIn),
            (&[("via", "datagram")], Count::DatagramBytesIn),
            (&[("via", "fetch")], Count::FetchBytesIn),
        ],
    ),
    family(
        "laps_objects_sent",
        "Objects that were given to the transport, once for each receiver",
        &[
            (&[("via", "stream")], Count::StreamObjectsOut),
            (&[("via", "datagram")], Count::DatagramObjectsOut),
            (&[("via", "fetch")], Count::FetchObjectsOut),
        ],
    ),
    bytes(
        "laps_payload_sent",
        "Payload of objects that was given to the transport, once for each receiver",
        &[
            (&[("via", "stream")], Count::StreamBytesOut),
            (&[("via", "datagram")], Count::DatagramBytesOut),
            (&[("via", "fetch")], Count::FetchBytesOut),
        ],
    ),
    family(
        "laps_data_streams",
        "Data streams that were opened by peers (in), and for subscriptions (out)",
        &[
            (&[("direction", "in")], Count::StreamsIn),
            (&[("direction", "out")], Count::StreamsOut),
        ],
    ),
    family(
        "laps_stream_resets",
        "Data streams that were broken off by their sender, by reason; stopped is by their receiver",
        &[
            (
                &[("direction", "in"), ("reason", "internal_error")],
                Count::ResetInInternal,
            ),
            (
                &[("direction", "in"), ("reason", "cancelled")],
                Count::ResetInCancelled,
            ),
            (
                &[("direction", "in"), ("reason", "delivery_timeout")],
                Count::ResetInTimeout,
            ),
            (
                &[("direction", "in"), ("reason", "session_closed")],
                Count::ResetInSessionClosed,
            ),
            (
                &[("direction", "in"), ("reason", "unknown")],
                Count::ResetInUnknown,
            ),
            (
                &[("direction", "out"), ("reason", "internal_error")],
                Count::ResetOutInternal,
            ),
            (
                &[("direction", "out"), ("reason", "cancelled")],
                Count::ResetOutCancelled,
            ),
            (
                &[("direction", "out"), ("reason", "delivery_timeout")],
                Count::ResetOutTimeout,
            ),
            (
                &[("direction", "out"), ("reason", "session_closed")],
                Count::ResetOutSessionClosed,
            ),
            (
                &[("direction", "out"), ("reason", "unknown")],
                Count::ResetOutUnknown,
            ),
            (
                &[("direction", "out"), ("reason", "stopped")],
                Count::StoppedByPeer,
            ),
        ],
    ),
    family(
        "laps_drops",
        "What was not delivered: datagrams (track_busy, datagram_unsent), streams or datagrams of a subscriber \
         (evicted, expired), its jumps to the newest group, and subscriptions (too_far_behind)",
        &[
            (&[("reason", "track_busy")], Count::DropBusyTrack),
            (&[("reason", "datagram_unsent")], Count::DropDatagramUnsent),
            (&[("reason", "evicted")], Count::DropEvicted),
            (&[("reason", "expired")], Count::DropExpired),
            (&[("reason", "skipped_to_newest")], Count::DropSkippedToNewest),
            (&[("reason", "too_far_behind")], Count::DropTooFarBehind),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_a_name_and_no_two_share_a_series() {
        let series: Vec<_> = FAMILIES.iter().flat_map(|family| family.series).collect();
        for (at, (_, count)) in series.iter().enumerate() {
            assert!(series[..at].iter().all(|(_, other)| other != count), "{count:?}");
        }
        assert_eq!(series.len(), super::super::tally::COUNTS);
    }
}
