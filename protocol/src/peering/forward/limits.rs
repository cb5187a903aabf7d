//! How much of anything is kept, and for how long.

use std::time::Duration;

/// Bounds of everything that forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sets on one link, in each direction.
    pub max_sets_per_link: usize,
    /// Nodes in one set, in each direction.
    pub max_set_nodes: usize,
    /// Nodes in all sets that came in on one link, together. Each takes about 100 bytes with what follows from it.
    pub max_nodes_per_link: usize,
    /// Sets on one link with data of one track. A peer has one for each publisher that it hears the track from; many
    /// more are the sign of a loop in the mesh, each turn of which makes one.
    pub max_sets_per_track: usize,
    /// How long a peer still knows an id and its nodes after new streams take another link to them, so that it can
    /// place streams that are under way to it.
    pub move_grace: Duration,
    /// How long new streams take the link before as well, when the peer of the new one has to read a changed set first:
    /// until then it hands them to the nodes that it knew. What comes twice, an edge takes once.
    pub move_overlap: Duration,
    /// How long a set that its peer has withdrawn is kept for streams and datagrams that are still on their way. As long again
    /// as often as some of that has moved meanwhile, which is limited: see [`crate::relay::draining`].
    pub end_grace: Duration,
    /// How long the first route of what a peer sends waits for laps relays to read their sets. The data waits with it,
    /// so this is less than [`Self::park_for`].
    pub ready_wait: Duration,
    /// Streams that come in on one link and are not over.
    pub max_streams: usize,
    /// Bytes that wait for their set, all of a link together; pieces count more than they have, see [`super::Parked`].
    pub max_parked_bytes: usize,
    /// Streams and datagrams that wait for their set.
    pub max_parked_items: usize,
    /// How long something waits for its set, and the head of a stream towards a laps relay for the header of its payload.
    pub park_for: Duration,
    /// Bytes of a stream that wait for one target; with more, the stream to that target is reset.
    pub max_waiting_bytes: u64,
    /// Bytes of a stream that wait for the fastest of its targets when no more is read of it.
    pub pause_at_bytes: u64,
    /// How long a datagram may wait to be sent.
    pub datagram_ttl: Duration,
    /// Bytes of a datagram, header and all, towards a link of which nothing better is known.
    pub datagram_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sets_per_link: 65_536,
            max_set_nodes: 16_384,
            max_nodes_per_link: 1 << 20,
            max_sets_per_track: 32,
            // Control messages and data of one link are not in order. Both are several round trips and a loss.
            move_grace: Duration::from_secs(1),
            move_overlap: Duration::from_millis(500),
            // What a connection has under way to a peer may be some megabytes, which a slow path takes seconds for.
            end_grace: Duration::from_secs(10),
            ready_wait: Duration::from_secs(1),
            // As many as the transport lets a peer open.
            max_streams: 100_000,
            max_parked_bytes: 4 << 20,
            max_parked_items: 1024,
            park_for: Duration::from_secs(2),
            max_waiting_bytes: 1 << 20,
            pause_at_bytes: 512 << 10,
            datagram_ttl: Duration::from_millis(500),
            // QUIC's least packet without what encloses the datagram. RFC 9000 §14, RFC 9221 §4.
            datagram_bytes: 1150,
        }
    }
}
