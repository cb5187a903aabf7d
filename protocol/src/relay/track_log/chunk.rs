//! What goes into a log, and what the log answers.

use crate::moqt::error::ResetCode;
use crate::moqt::location::{GroupId, Location, SubgroupId};
use crate::moqt::object::{ObjectHeader, ObjectStatus};
use bytes::Bytes;

/// An ingress stream, by a number that its owner chose; unique in the process.
pub type StreamKey = u64;

/// How a subgroup stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// All of it was delivered.
    Fin,
    /// It was cut short.
    Reset(ResetCode),
}

/// One step of a track's life, in the order in which a writer saw it. Payload is shared, never copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Append {
    /// A stream that carries one subgroup.
    SubgroupOpened {
        /// The stream.
        stream: StreamKey,
        /// Its group.
        group: GroupId,
        /// Its subgroup.
        subgroup: SubgroupId,
        /// Publisher priority, 0 the most urgent.
        priority: u8,
        /// Every object carries an extension block.
        has_extensions: bool,
        /// The last object before FIN is the last of its group.
        end_of_group: bool,
    },
    /// The next object on a stream.
    ObjectStarted {
        /// The stream.
        stream: StreamKey,
        /// What stands before the payload; its extension block is checked already.
        header: ObjectHeader,
    },
    /// The next bytes of the object that was started last on the stream.
    Payload {
        /// The stream.
        stream: StreamKey,
        /// The bytes; never past the object's end.
        bytes: Bytes,
    },
    /// Bytes of the object that was started last on the stream that were evicted before a replica asked. Only
    /// [`super::TrackLog::snapshot`] makes these.
    Missing {
        /// The stream.
        stream: StreamKey,
        /// How many.
        bytes: u64,
    },
    /// The end of a stream.
    SubgroupClosed {
        /// The stream.
        stream: StreamKey,
        /// How it ended.
        end: StreamEnd,
    },
    /// One object in one datagram.
    Datagram(LogDatagram),
}

impl Append {
    /// The stream that this is about; none for a datagram.
    #[must_use]
    pub const fn stream(&self) -> Option<StreamKey> {
        match *self {
            Self::SubgroupOpened { stream, .. }
            | Self::ObjectStarted { stream, .. }
            | Self::Payload { stream, .. }
            | Self::Missing { stream, .. }
            | Self::SubgroupClosed { stream, .. } => Some(stream),
            Self::Datagram(_) => None,
        }
    }

    /// Moves small pieces out of the receive buffer that they pin.
    ///
    /// Bytes from the transport are slices of slabs of 4 KiB and more, and a slab lives as long as any slice of it.
    /// With a stream per object, a log full of 100-byte objects would hold forty times what it counts. Whatever is
    /// shorter than [`COPY_BELOW_BYTES`] is copied into an allocation of its own, so that a log never holds more than
    /// about four times its count; longer pieces stay shared. Call this once, where bytes come from the network and
    /// before the chunk is cloned for replicas: [`super::TrackLog::append`] itself never copies.
    #[must_use]
    pub fn settled(mut self) -> Self {
        match &mut self {
            Self::ObjectStarted { header, .. } => settle(&mut header.extensions),
            Self::Payload { bytes, .. } => settle(bytes),
            Self::Datagram(datagram) => {
                settle(&mut datagram.extensions);
                settle(&mut datagram.payload);
            }
            Self::SubgroupOpened { .. } | Self::SubgroupClosed { .. } | Self::Missing { .. } => {}
        }
        self
    }
}

/// Pieces below a quarter of the transport's smallest slab (4 KiB) are copied.
pub const COPY_BELOW_BYTES: usize = 1024;

pub(super) fn settle(bytes: &mut Bytes) {
    if !bytes.is_empty() && bytes.len() < COPY_BELOW_BYTES {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

/// One object that came, and leaves, as a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDatagram {
    /// Its place.
    pub location: Location,
    /// Publisher priority, 0 the most urgent.
    pub priority: u8,
    /// The extension block as received; empty when there is none.
    pub extensions: Bytes,
    /// This object is the last of its group.
    pub end_of_group: bool,
    /// Status; anything but `Normal` has no payload.
    pub status: ObjectStatus,
    /// The payload.
    pub payload: Bytes,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Readers may have something to read.
    Advanced,
    /// Taken note of; nothing to read yet.
    Noted,
    /// The subgroup ended, and this is how its readers see it: not with FIN unless all of it was stored.
    /// MOQT-14 §10.4.3 [D14-CLOSE-1].
    Closed(StreamEnd),
    /// Not stored.
    Ignored(Ignored),
    /// Not stored: the track breaks the rules for tracks. MOQT-14 §2.5 [D14-MAL-1]. The stream that said so, if it is
    /// one, is over here: its readers see a reset, and what follows on it is unknown.
    Malformed(Malformed),
}

impl Appended {
    /// What a replica must be given in place of `chunk`, which this is the answer to.
    ///
    /// What this log evicted may still be whole in a replica, so a replica hears how it goes on. Duplicates must not
    /// reach a replica, because it does not know all that this log knows. A stream ends there as it ended here.
    #[must_use]
    pub fn for_replica(self, chunk: Append) -> Option<Append> {
        match self {
            Self::Advanced | Self::Noted | Self::Ignored(Ignored::Evicted) => Some(chunk),
            Self::Closed(end) => chunk
                .stream()
                .map(|stream| Append::SubgroupClosed { stream, end }),
            Self::Malformed(_) => {
                let end = StreamEnd::Reset(ResetCode::InternalError);
                chunk
                    .stream()
                    .map(|stream| Append::SubgroupClosed { stream, end })
            }
            Self::Ignored(_) => None,
        }
    }

    /// True when readers should be woken.
    #[must_use]
    pub const fn wakes(self) -> bool {
        matches!(self, Self::Advanced | Self::Closed(_) | Self::Malformed(_))
    }
}

/// Why a chunk was not stored although nobody is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ignored {
    /// The object is known, or another stream is bringing this subgroup. MOQT-14 §8.2 [D14-PUB-1].
    Duplicate,
    /// The stream was never opened here, or is closed.
    UnknownStream,
    /// What the chunk belongs to was evicted, or is older than everything in a full log.
    Evicted,
    /// A stream with this key is open; keys are unique.
    StreamKeyInUse,
    /// Payload without bytes.
    Empty,
}

/// What a track did that a track may not do. MOQT-14 §2.5 [D14-MAL-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// An object at or after the end of its group, or an end before an object.
    #[error("an object at or after the end of its group")]
    AfterEndOfGroup,
    /// An object at or after the end of the track, or an end before an object.
    #[error("an object at or after the end of the track")]
    AfterEndOfTrack,
    /// An object after the one at which its subgroup was finished.
    #[error("an object after the last of its subgroup")]
    AfterEndOfSubgroup,
    /// A known object with another status or length. MOQT-14 §8.1 [D14-CACHE-2].
    #[error("an object that is known otherwise")]
    Conflict,
    /// Both streams and datagrams. MOQT-14 §10 [D14-DATA-15].
    #[error("both streams and datagrams")]
    MixedPreference,
    /// A status that has no payload, with payload. MOQT-14 §10.2.1.1 [D14-DATA-7].
    #[error("payload with a status that has none")]
    PayloadWithStatus,
    /// More payload than the object declared, or payload without an object.
    #[error("more payload than declared")]
    PayloadTooLong,
    /// An object before the last one was complete.
    #[error("an object inside another")]
    ObjectUnfinished,
    /// An object id on a stream that is not larger than the one before.
    #[error("object ids that do not ascend")]
    NotAscending,
    /// A group on a fetch stream against the order of groups. MOQT-14 §9.16.3 [D14-FETCH-4].
    #[error("groups against the order of the fetch")]
    GroupOrder,
    /// An extension block that cannot be read, or says a thing twice. MOQT-14 §11 [D14-DATA-10] [D14-DATA-11].
    #[error("extension headers that cannot be read")]
    Extensions,
    /// A gap before an object that is larger than its id. MOQT-14 §11.1, §11.3 [D14-DATA-10].
    #[error("a gap larger than the id it stands before")]
    GapTooLarge,
    /// Two objects of a group with different gaps before the group. MOQT-14 §11.1 [D14-DATA-10].
    #[error("two different gaps before one group")]
    TwoGaps,
    /// A gap over an object that was received. MOQT-14 §11.1, §11.3 [D14-DATA-10].
    #[error("a gap over a received object")]
    GapOverObject,
    /// An object in a gap. MOQT-14 §11.1, §11.3 [D14-DATA-10].
    #[error("an object inside a gap")]
    InsideGap,
    /// A known object with other payload. MOQT-14 §8.1 [D14-CACHE-2] [D14-MAL-3].
    #[error("an object whose payload is known otherwise")]
    Payload,
    /// Two publishers contradict each other. Only [`crate::relay::merge::Merge`] says so: a log does not know who
    /// brought what.
    #[error("two publishers disagree {0}")]
    Disagreement(Dispute),
}

impl Malformed {
    /// True when it takes two publishers to see it, so that the track is malformed whoever is right. MOQT-14 §2.5
    /// [D14-MAL-2].
    #[must_use]
    pub const fn is_disagreement(self) -> bool {
        matches!(self, Self::Disagreement(_))
    }
}

/// What publishers disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Dispute {
    /// Length, status, subgroup or priority of an object.
    #[error("about an object")]
    Object,
    /// The payload of an object.
    #[error("about the payload of an object")]
    Payload,
    /// Where a subgroup, a group or the track ends.
    #[error("about an end")]
    End,
    /// What does not exist.
    #[error("about a gap")]
    Gap,
    /// Whether objects travel on streams or in datagrams.
    #[error("about streams and datagrams")]
    Preference,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(bytes: Bytes) -> Bytes {
        let Append::Payload { bytes, .. } = (Append::Payload { stream: 1, bytes }).settled() else {
            panic!()
        };
        bytes
    }

    #[test]
    fn small_pieces_leave_their_slab_and_large_ones_stay() {
        let slab = Bytes::from(vec![7; 4096]);
        for (len, shared) in [(1, false), (1023, false), (1024, true), (4096, true)] {
            let slice = slab.slice(..len);
            let kept = payload(slice.clone());
            assert_eq!(kept, slice);
            assert_eq!(kept.as_ptr() == slice.as_ptr(), shared, "{len}");
        }
    }

    #[test]
    fn extensions_and_datagrams_are_settled_too() {
        let slab = Bytes::from(vec![7; 4096]);
        let chunk = Append::Datagram(LogDatagram {
            location: Location::ZERO,
            priority: 0,
            extensions: slab.slice(..8),
            end_of_group: false,
            status: ObjectStatus::Normal,
            payload: slab.slice(8..1200),
        });
        let Append::Datagram(kept) = chunk.settled() else {
            panic!()
        };
        assert_ne!(kept.extensions.as_ptr(), slab.as_ptr());
        assert_eq!(kept.payload.as_ptr(), slab.slice(8..).as_ptr());
    }
}
