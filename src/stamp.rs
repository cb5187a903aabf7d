//! The time stamp at the front of synthetic payloads, from which a subscriber makes its latency histogram.
//!
//! ```text
//! byte  0..8    magic  "LAPSTMP1"
//! byte  8..16   nanoseconds since 1970-01-01T00:00:00Z when the object was made, 64 bits, little endian
//! byte 16..24   sequence number of the object in its track from 0 on, 64 bits, little endian
//! byte 24..     filler, without meaning
//! ```
//!
//! Publisher and subscriber must share a clock for the difference to mean anything: one machine, or PTP.

use bytes::{BufMut, Bytes, BytesMut};
use std::time::{SystemTime, UNIX_EPOCH};

/// First bytes of a stamped payload.
pub const MAGIC: [u8; 8] = *b"LAPSTMP1";
/// Bytes of the stamp, the least a stamped payload has.
pub const STAMP_BYTES: usize = 24;

/// When a payload was made and which of its track it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
    /// Number of the object in its track, from 0 on.
    pub sequence: u64,
}

impl Stamp {
    /// A payload of `size` bytes that begins with this stamp; never shorter than [`STAMP_BYTES`].
    #[must_use]
    pub fn payload(&self, size: usize) -> Bytes {
        let size = size.max(STAMP_BYTES);
        let mut out = BytesMut::with_capacity(size);
        out.put_slice(&MAGIC);
        out.put_u64_le(self.unix_nanos);
        out.put_u64_le(self.sequence);
        out.put_bytes(b'.', size - STAMP_BYTES);
        out.freeze()
    }

    /// The stamp at the front of a payload, if it has one.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.split_first_chunk::<8>()?;
        let (nanos, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, _) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC).then(|| Self {
            unix_nanos: u64::from_le_bytes(*nanos),
            sequence: u64::from_le_bytes(*sequence),
        })
    }

    /// Nanoseconds from the stamp to `now_unix_nanos`; none when the clocks say that it lies in the future.
    #[must_use]
    pub const fn age_nanos(&self, now_unix_nanos: u64) -> Option<u64> {
        now_unix_nanos.checked_sub(self.unix_nanos)
    }
}

/// Nanoseconds since the Unix epoch by this machine's clock; 0 before 1970, the largest number after 2554.
#[must_use]
pub fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
#[must_use]
pub fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_the_documented_one() {
        let payload = Stamp {
            unix_nanos: 0x0102_0304_0506_0708,
            sequence: 9,
        }
        .payload(26);
        assert_eq!(
            payload.as_ref(),
            b"LAPSTMP1\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0.."
        );
    }

    #[test]
    fn a_stamp_comes_back_and_nothing_else_is_one() {
        let stamp = Stamp {
            unix_nanos: 1,
            sequence: u64::MAX,
        };
        assert_eq!(Stamp::read(&stamp.payload(0)), Some(stamp));
        assert_eq!(Stamp::read(&stamp.payload(1200)), Some(stamp));
        assert_eq!(stamp.payload(1200).len(), 1200);
        assert_eq!(Stamp::read(&stamp.payload(0)[..23]), None);
        assert_eq!(Stamp::read(&[0; 64]), None);
        assert_eq!(stamp.age_nanos(5), Some(4));
        assert_eq!(stamp.age_nanos(0), None);
    }
}
