//! How much memory a relay needs at most, for what it serves: the formula of README, "How much memory".
//!
//! The constants are measured (decision 0024) and rounded up; the soak and the flood benchmark hold a running relay to
//! them, and a test holds README to them.

/// Bytes of a relay that serves nobody: program, runtime, certificate, logger.
pub const BASE: u64 = 32 << 20;
/// Bytes of a shard that serves nobody: its thread, its endpoint, and the rings it receives into and sends from.
pub const SHARD: u64 = 16 << 20;
/// Bytes of a connection with its session.
pub const CONNECTION: u64 = 64 << 10;
/// Bytes of a request of a peer: a subscription, an announced namespace, a watched prefix, a FETCH, a TRACK_STATUS.
pub const REQUEST: u64 = 24 << 10;
/// Bytes of a track, or of its copy on another shard, without its objects.
pub const TRACK: u64 = 32 << 10;
/// Bytes of an open stream, of either direction, with what the stack holds of it while its reader keeps up.
pub const STREAM: u64 = 32 << 10;
/// Bytes that the stack holds for a connection whose peer reads more slowly than it is sent to.
pub const SLOW_READER: u64 = 2 << 20;
/// Bytes of memory for a hundred bytes of the cache budget: pieces of packets keep the whole packets.
pub const CACHE_PERCENT: u64 = 200;

/// What of the configuration counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// `workers.threads`.
    pub shards: u64,
    /// `cache.max_mb`, in bytes.
    pub cache: u64,
    /// `transport.connection_window_bytes`.
    pub window: u64,
}

/// What is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections.
    pub connections: u64,
    /// Requests of all kinds, those of our PUBLISH included.
    pub requests: u64,
    /// Tracks and their copies on other shards.
    pub tracks: u64,
    /// Open streams of both directions.
    pub streams: u64,
    /// Connections whose peers read more slowly than they are sent to.
    pub slow_readers: u64,
    /// Connections whose peers send faster than the relay takes it.
    pub floods: u64,
}

/// Bytes that a relay with `frame` needs at most in memory to serve `load`.
#[must_use]
pub const fn bound(frame: Frame, load: Load) -> u64 {
    let cache = frame.cache.saturating_mul(CACHE_PERCENT) / 100;
    BASE.saturating_add(SHARD.saturating_mul(frame.shards))
        .saturating_add(cache)
        .saturating_add(CONNECTION.saturating_mul(load.connections))
        .saturating_add(REQUEST.saturating_mul(load.requests))
        .saturating_add(TRACK.saturating_mul(load.tracks))
        .saturating_add(STREAM.saturating_mul(load.streams))
        .saturating_add(SLOW_READER.saturating_mul(load.slow_readers))
        .saturating_add(frame.window.saturating_mul(load.floods))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_nothing_overflows() {
        let frame = Frame {
            shards: 2,
            cache: 100,
            window: 7,
        };
        let idle = bound(frame, Load::default());
        assert_eq!(idle, BASE + 2 * SHARD + CACHE_PERCENT);
        let one = Load {
            connections: 1,
            requests: 1,
            tracks: 1,
            streams: 1,
            slow_readers: 1,
            floods: 1,
        };
        let each = CONNECTION + REQUEST + TRACK + STREAM + SLOW_READER + 7;
        assert_eq!(bound(frame, one), idle + each);
        let endless = Load {
            connections: u64::MAX,
            ..one
        };
        assert_eq!(bound(frame, endless), u64::MAX);
    }
}
