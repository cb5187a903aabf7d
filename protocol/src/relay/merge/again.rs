//! A stream that has its subgroup to itself and brings an object that is known: its bytes are compared with those that
//! are kept, as far as they are.

use super::member::At;
use crate::moqt::location::{GroupId, Location, ObjectId};
use crate::moqt::object::ObjectHeader;
use crate::relay::track_log::TrackLog;
use bytes::Bytes;

/// The object, and how much of it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    at: At,
    len: u64,
}

impl Again {
    pub(super) fn start(header: &ObjectHeader) -> Self {
        Self {
            at: At {
                verified: false,
                ..At::start(header.id)
            },
            len: header.payload_len,
        }
    }

    /// Whether the next bytes are those that are kept; true when they cannot be compared. MOQT-14 §8.1 [D14-MAL-3].
    pub(super) fn is_same(&mut self, log: &TrackLog, group: GroupId, bytes: &Bytes) -> bool {
        let place = Location::new(group, self.at.id);
        let same = log.compare(place, self.at.offset, bytes, &mut self.at.hint);
        self.at.offset += bytes.len() as u64;
        same != Some(false)
    }

    /// The object's id.
    pub(super) const fn id(&self) -> ObjectId {
        self.at.id
    }

    /// The place in the object, and the length of that.
    pub(super) const fn inside(self) -> (At, u64) {
        (self.at, self.len)
    }
}
