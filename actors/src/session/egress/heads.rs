//! What stands before MOQT's bytes on a link between relays.

use bytes::Bytes;
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::SnsId;

/// The data headers of one subscription on a link. laps peering, "Data Header Messages".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Who is to get it.
    pub sns: SnsId,
    /// The track.
    pub track: FullNameHash,
    /// How long each object may be under way, in milliseconds.
    pub ttl_ms: u32,
}

impl Heads {
    /// The head of a stream whose publisher gave it this priority.
    #[must_use]
    pub fn of_stream(&self, priority: u8) -> Bytes {
        let Self { sns, track, ttl_ms } = *self;
        let head = StreamHeader {
            sns,
            track,
            priority,
            ttl_ms,
        };
        Bytes::copy_from_slice(&head.encode())
    }

    /// The head of each datagram.
    #[must_use]
    pub fn of_datagram(&self) -> [u8; DatagramHeader::LEN] {
        let Self { sns, track, .. } = *self;
        DatagramHeader { sns, track }.encode()
    }
}
