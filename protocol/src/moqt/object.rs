//! Objects and what carries them, without the bytes of any draft.

use super::location::{GroupId, Location, ObjectId, SubgroupId};
use bytes::Bytes;

/// The number that stands for a track on data streams of one session. MOQT-14 §10.1.
pub type TrackAlias = u64;

/// What an object says beside its payload. MOQT-14 §10.2.1.1 [D14-DATA-7].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ObjectStatus {
    /// An ordinary object; its payload may be empty.
    #[default]
    Normal,
    /// No object stands at this place, and none ever will.
    DoesNotExist,
    /// No object with this or a larger id stands in the group.
    EndOfGroup,
    /// No object stands at or after this place.
    EndOfTrack,
}

/// What stands at the start of a stream that carries one subgroup. MOQT-14 §10.4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// The track, by its alias in this session.
    pub alias: TrackAlias,
    /// The group.
    pub group: GroupId,
    /// How the subgroup is named.
    pub subgroup: SubgroupIdMode,
    /// Publisher priority, 0 the most urgent. MOQT-14 §7.1.
    pub priority: u8,
    /// Every object on this stream carries an extension block (which may be empty).
    pub has_extensions: bool,
    /// The last object before FIN is the last of its group. MOQT-14 §10.4.2 [D14-DATA-6].
    pub end_of_group: bool,
}

/// The three ways in which a subgroup stream names its subgroup. MOQT-14 §10.4.2 [D14-DATA-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubgroupIdMode {
    /// Subgroup 0, without a field.
    Zero,
    /// The id of the first object on the stream, without a field.
    FirstObject,
    /// A field of its own.
    Explicit(SubgroupId),
}

/// What stands before the payload of one object on a subgroup stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHeader {
    /// Object id, already resolved from its delta.
    pub id: ObjectId,
    /// Status; anything but `Normal` has no payload.
    pub status: ObjectStatus,
    /// The extension block exactly as received, without its length; empty when there is none.
    pub extensions: Bytes,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

/// One object in one datagram. MOQT-14 §10.3.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramObject {
    /// The track, by its alias in this session.
    pub alias: TrackAlias,
    /// Place of the object.
    pub location: Location,
    /// Publisher priority, 0 the most urgent.
    pub priority: u8,
    /// The extension block exactly as received, without its length; empty when there is none.
    pub extensions: Bytes,
    /// This object is the last of its group.
    pub end_of_group: bool,
    /// Status; anything but `Normal` has no payload.
    pub status: ObjectStatus,
    /// The payload.
    pub payload: Bytes,
}

/// What stands before the payload of one object on a fetch stream. MOQT-14 §10.4.4 [D14-DATA-19].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchObjectHeader {
    /// Place of the object.
    pub location: Location,
    /// Subgroup; equal to the object id for an object that was sent as a datagram.
    pub subgroup: SubgroupId,
    /// Publisher priority, 0 the most urgent.
    pub priority: u8,
    /// Status; anything but `Normal` has no payload.
    pub status: ObjectStatus,
    /// The extension block exactly as received, without its length; empty when there is none.
    pub extensions: Bytes,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}
