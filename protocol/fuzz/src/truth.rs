//! What a track is made of, by rules: nobody has to remember what was published.

use crate::mutate::Rng;
use crate::wire::Got;
use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{FetchObjectHeader, ObjectHeader, ObjectStatus};
use std::sync::LazyLock;

/// Groups of a track.
pub(crate) const GROUPS: u64 = 6;
/// Where a payload may begin in the noise, and bytes of that: longer than the longest payload behind the last start.
const NOISE_STARTS: u64 = 6_007;
const NOISE_LEN: usize = 8_192;
/// What payloads are cut from, so that none has to be made.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut rng = Rng::new(0x1a95);
    (0..NOISE_LEN).map(|_| rng.next().to_le_bytes()[0]).collect()
});
/// Priority of everything.
pub(crate) const PRIORITY: u8 = 100;

/// A track; each `version` of it has other payload, and sometimes other lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) version: u8,
    /// Payload is so many times longer.
    pub(crate) scale: u64,
}

impl Truth {
    /// Objects of a group.
    pub(crate) const fn size(group: u64) -> u64 {
        2 + group % 4
    }

    /// Whether a group has two subgroups.
    const fn is_split(group: u64) -> bool {
        group % 3 == 1
    }

    pub(crate) const fn subgroups(group: u64) -> u64 {
        if Self::is_split(group) { 2 } else { 1 }
    }

    pub(crate) const fn subgroup_of(at: Location) -> u64 {
        if Self::is_split(at.group) {
            at.object % 2
        } else {
            0
        }
    }

    /// The first object of a subgroup from `from` on; none when it has no more.
    pub(crate) fn next(group: u64, subgroup: u64, from: u64) -> Option<u64> {
        let step = if Self::is_split(group) { 2 } else { 1 };
        let first = if from % step == subgroup % step {
            from
        } else {
            from + 1
        };
        (first < Self::size(group)).then_some(first)
    }

    pub(crate) const fn has_extensions(group: u64) -> bool {
        group % 4 == 2
    }

    /// The last place of the track.
    pub(crate) const fn largest() -> Location {
        Location::new(GROUPS - 1, Self::size(GROUPS - 1) - 1)
    }

    pub(crate) fn payload(&self, at: Location) -> Bytes {
        let len = (at.group * 13 + at.object * 7 + u64::from(self.version / 4)) % 40 * self.scale;
        let begin = (at.group * 31 + at.object * 17 + u64::from(self.version) * 101) * 7 % NOISE_STARTS;
        let end = usize::try_from(begin + len).unwrap();
        NOISE.slice(usize::try_from(begin).unwrap()..end)
    }

    pub(crate) fn header(&self, at: Location) -> ObjectHeader {
        let extensions = if Self::has_extensions(at.group) {
            Bytes::from_static(&[0x20, 7])
        } else {
            Bytes::new()
        };
        ObjectHeader {
            id: at.object,
            status: ObjectStatus::Normal,
            extensions,
            payload_len: self.payload(at).len() as u64,
        }
    }

    pub(crate) fn fetched(&self, at: Location) -> FetchObjectHeader {
        let ObjectHeader {
            status,
            extensions,
            payload_len,
            ..
        } = self.header(at);
        FetchObjectHeader {
            location: at,
            subgroup: Self::subgroup_of(at),
            priority: PRIORITY,
            status,
            extensions,
            payload_len,
        }
    }

    /// All places, in order.
    pub(crate) fn places() -> impl Iterator<Item = Location> {
        (0..GROUPS).flat_map(|group| (0..Self::size(group)).map(move |object| Location::new(group, object)))
    }

    /// Whether this is the object at its place, as this version has it.
    pub(crate) fn made(&self, got: &Got) -> bool {
        if got.at.group >= GROUPS || got.at.object >= Self::size(got.at.group) {
            return false;
        }
        let header = self.header(got.at);
        got.subgroup == Self::subgroup_of(got.at)
            && got.status == header.status
            && got.priority == PRIORITY
            && got.extensions == header.extensions
            && got.payload == self.payload(got.at)
    }
}
