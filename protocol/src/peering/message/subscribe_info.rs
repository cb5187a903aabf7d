//! SUBSCRIBE_INFO_ADV and SUBSCRIBE_INFO_WD. laps peering, "Subscribe Information".

use super::fields::{FieldReader, put_track_hash};
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::hash::TrackHash;
use crate::peering::node::NodeId;
use bytes::{BufMut, Bytes, BytesMut};

/// The number of a statement of one node about one track, which says which of two is the newer one. It wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sequence(pub u16);

impl Sequence {
    /// The number of the next statement.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this was said after `other`: it is up to half of all numbers ahead. RFC 1982 §3.2.
    ///
    /// Of two numbers that lie half of all apart neither is newer. laps takes any number that is not the same for a
    /// newer one, which makes a ring of relays tell itself the same for ever.
    #[must_use]
    pub const fn is_newer_than(self, other: Self) -> bool {
        matches!(self.0.wrapping_sub(other.0), 1..=0x7fff)
    }
}

/// What one node says of its subscribers to one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeInfo {
    /// Which of the statements of `source` about this track it is.
    pub sequence: Sequence,
    /// The node that has the subscribers.
    pub source: NodeId,
    /// The track. What the peer claims: see [`TrackHash::is_consistent`].
    pub track: TrackHash,
    /// The SUBSCRIBE, without type and length, for [`super::parse_subscribe_data`]. Handed on as it is, also where it
    /// cannot be read. Owns its memory.
    pub data: Bytes,
}

pub(super) fn read(r: &mut FieldReader<'_>) -> Result<SubscribeInfo, DecodeError> {
    let sequence = Sequence(r.u16()?);
    let source = r.node_id()?;
    let track = r.track_hash()?;
    // The document has no length here, as laps does.
    let data_len = u64::from(r.u32()?);
    let data_len = r.at_most(
        "bytes of subscribe data",
        data_len,
        r.limits.max_subscribe_data_bytes,
    )?;
    Ok(SubscribeInfo {
        sequence,
        source,
        track,
        data: r.bytes(data_len)?,
    })
}

pub(super) fn put(info: &SubscribeInfo, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u16(info.sequence.0);
    out.put_u64(info.source.0);
    put_track_hash(&info.track, out);
    let size = info.data.len();
    out.put_u32(u32::try_from(size).map_err(|_| EncodeError::TooLarge {
        what: "bytes of subscribe data",
        size,
        max: u32::MAX as usize,
    })?);
    out.extend_from_slice(&info.data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_one_is_ahead_by_less_than_half() {
        for (newer, older) in [(1, 0), (0, 0xffff), (0x7fff, 0), (0x8000, 1), (2, 0xfff0)] {
            assert!(Sequence(newer).is_newer_than(Sequence(older)), "{newer} {older}");
            assert!(!Sequence(older).is_newer_than(Sequence(newer)), "{newer} {older}");
        }
        for apart in [0, 0x8000] {
            assert!(!Sequence(apart).is_newer_than(Sequence(0)));
            assert!(!Sequence(0).is_newer_than(Sequence(apart)));
        }
        assert!(Sequence(0xffff).next().is_newer_than(Sequence(0xffff)));
    }
}
