//! `[limits]`: what is too large, and how much of what is too much.

use super::sections::Config;
use laps_actors::limits::{self, Gauge, PerKind, UNLIMITED};
use serde::{Deserialize, Serialize};

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Mebibytes of the largest object that is kept.
    pub max_object_mb: u64,
    /// Publishers that may feed one track at once.
    pub publishers_per_track: u64,
    /// Subscriptions of one session.
    pub subscriptions: u64,
    /// Tracks that one session publishes.
    pub tracks: u64,
    /// Namespaces that one session announces.
    pub namespaces: u64,
    /// Prefixes that one session watches.
    pub watches: u64,
    /// TRACK_STATUS requests of one session.
    pub statuses: u64,
    /// Subscriptions and TRACK_STATUS requests of one session that wait for a publisher.
    pub waiting: u64,
    /// Those of all sessions.
    pub waiting_total: u64,
    /// Data streams of one session that are read at once.
    pub streams: u64,
    /// Data streams of one subscription that are written at once.
    pub subscription_streams: u64,
    /// Data streams of one session whose track alias is not known yet.
    pub early_streams: u64,
    /// Bytes of datagrams and streams of one session whose track alias is not known yet.
    pub early_bytes: u64,
    /// Bits of an IPv4 address that sessions are counted together by.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that sessions are counted together by.
    pub prefix_v6: u8,
    /// Connections of one address prefix.
    pub prefix_connections: u64,
    /// Open requests of one address prefix.
    pub prefix_requests: u64,
    /// Announced namespaces of one address prefix.
    pub prefix_namespaces: u64,
    /// Fetches of one address prefix.
    pub prefix_fetches: u64,
    /// Bytes of one address prefix whose track alias is not known yet.
    pub prefix_early_bytes: u64,
    /// Handshakes that one address prefix may begin in a second.
    pub prefix_handshakes_per_s: u64,
    /// Mebibytes of memory that the relay may use.
    pub memory_mb: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_object_mb: 64,
            publishers_per_track: 8,
            subscriptions: 10_000,
            tracks: 10_000,
            namespaces: 5_000,
            watches: 2_000,
            statuses: 256,
            waiting: 1_000,
            waiting_total: 100_000,
            streams: 4_096,
            subscription_streams: 1_024,
            early_streams: 256,
            early_bytes: 1 << 20,
            prefix_v4: 32,
            prefix_v6: 56,
            prefix_connections: 10_000,
            prefix_requests: 100_000,
            prefix_namespaces: 50_000,
            prefix_fetches: 10_000,
            prefix_early_bytes: 64 << 20,
            prefix_handshakes_per_s: 500,
            memory_mb: 0,
        }
    }
}

impl Config {
    /// What a session and an address prefix may have.
    #[must_use]
    pub fn peer_limits(&self) -> limits::Limits {
        let keys = &self.limits;
        limits::Limits {
            session: PerKind {
                subscriptions: bound(keys.subscriptions),
                tracks: bound(keys.tracks),
                namespaces: bound(keys.namespaces),
                watches: bound(keys.watches),
                statuses: bound(keys.statuses),
                waiting: bound(keys.waiting),
                fetches: self.fetch.max_per_session,
                streams: bound(keys.streams),
                early_streams: bound(keys.early_streams),
                early_bytes: bound(keys.early_bytes),
                ..PerKind::all(UNLIMITED)
            },
            prefix: PerKind {
                connections: bound(keys.prefix_connections),
                requests: bound(keys.prefix_requests),
                namespaces: bound(keys.prefix_namespaces),
                fetches: bound(keys.prefix_fetches),
                early_bytes: bound(keys.prefix_early_bytes),
                ..PerKind::all(UNLIMITED)
            },
            prefix_v4: keys.prefix_v4,
            prefix_v6: keys.prefix_v6,
            prefix_handshakes: bound(keys.prefix_handshakes_per_s),
        }
    }

    /// What measures how loaded the relay is.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::system(self.limits.memory_mb.saturating_mul(1 << 20))
    }
}

/// 0 is no bound.
pub(super) const fn bound(key: u64) -> u64 {
    match key {
        0 => UNLIMITED,
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_bound() {
        let mut config = Config::default();
        config.limits.streams = 0;
        config.limits.prefix_requests = 0;
        config.limits.waiting = 0;
        let limits = config.peer_limits();
        assert_eq!(
            (limits.session.streams, limits.prefix.requests),
            (UNLIMITED, UNLIMITED)
        );
        assert_eq!(limits.session.waiting, UNLIMITED);
    }
}
