//! What stands before MOQT's bytes on a link between relays.

use bytes::Bytes;
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::SnsId;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The data headers of one subscription on a link. laps peering, "Data Header Messages". Clones share what changes.
#[derive(Clone, Debug)]
pub struct Heads {
    track: FullNameHash,
    /// Who is to get it.
    sns: Rc<Cell<SnsId>>,
    endless_ms: u32,
}

impl Heads {
    /// Those of data of this track. Where nothing says how long an object may be under way, its head says `endless_ms`:
    /// 0 to a relay of ours, which has no end then.
    #[must_use]
    pub fn new(track: FullNameHash, sns: SnsId, endless_ms: u32) -> Self {
        Self {
            track,
            sns: Rc::new(Cell::new(sns)),
            endless_ms,
        }
    }

    /// The relays that get the data have another id: what begins from here on goes to that one. laps peering, "FIB".
    pub fn set_sns(&self, sns: SnsId) {
        self.sns.set(sns);
    }

    /// The head of a stream whose publisher gave it this priority, and whose objects may be under way for `timeout`.
    #[must_use]
    pub fn of_stream(&self, priority: u8, timeout: Option<Duration>) -> Bytes {
        let ttl_ms = timeout.map_or(self.endless_ms, |timeout| {
            // A part of a millisecond is not none.
            u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1)
        });
        let head = StreamHeader {
            sns: self.sns.get(),
            track: self.track,
            priority,
            ttl_ms,
        };
        Bytes::copy_from_slice(&head.encode())
    }

    /// The head of each datagram.
    #[must_use]
    pub fn of_datagram(&self) -> [u8; DatagramHeader::LEN] {
        DatagramHeader {
            sns: self.sns.get(),
            track: self.track,
        }
        .encode()
    }
}
