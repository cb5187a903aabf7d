//! QUIC variable-length integers. RFC 9000 §16.

use bytes::{BufMut, BytesMut};

/// The largest number a varint can carry. RFC 9000 §16.
pub const MAX: u64 = (1 << 62) - 1;

/// A number above [`MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not fit a QUIC varint")]
pub struct TooLarge(pub u64);

/// Bytes of a varint that starts with `first`: 1, 2, 4 or 8.
#[must_use]
pub const fn len_of_first_byte(first: u8) -> usize {
    1 << (first >> 6)
}

/// Reads one varint from the front of `data`, of any of the four lengths.
///
/// Gives the number and the bytes it took, or none when `data` ends too early.
#[must_use]
pub fn read(data: &[u8]) -> Option<(u64, usize)> {
    let (&first, _) = data.split_first()?;
    let len = len_of_first_byte(first);
    let (_, rest) = data.get(..len)?.split_first()?;
    let start = u64::from(first & 0x3f);
    // MOQT-14 §1.4 [D14-ENC-1]: longer forms than needed are legal to receive.
    let value = rest
        .iter()
        .fold(start, |value, &byte| value << 8 | u64::from(byte));
    Some((value, len))
}

/// Appends `value` in its shortest form. MOQT-14 §1.4 [D14-ENC-1].
///
/// # Errors
/// When `value` is above [`MAX`]; `out` is unchanged then.
pub fn write(value: u64, out: &mut BytesMut) -> Result<(), TooLarge> {
    let prefix: u64 = match encoded_len(value) {
        Some(1) => 0,
        Some(2) => 1,
        Some(4) => 2,
        Some(_) => 3,
        None => return Err(TooLarge(value)),
    };
    let len = 1_usize << prefix;
    out.put_uint(value | prefix << (len * 8 - 2), len);
    Ok(())
}

/// Bytes of the shortest form of `value`; none when it is above [`MAX`].
#[must_use]
pub const fn encoded_len(value: u64) -> Option<usize> {
    match value {
        0..=0x3f => Some(1),
        0x40..=0x3fff => Some(2),
        0x4000..=0x3fff_ffff => Some(4),
        0x4000_0000..=MAX => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides of each change of length. RFC 9000 §16, §A.1.
    const BOUNDARIES: &[(u64, &[u8])] = &[
        (0, &[0x00]),
        (37, &[0x25]),
        (63, &[0x3f]),
        (64, &[0x40, 0x40]),
        (15_293, &[0x7b, 0xbd]),
        (16_383, &[0x7f, 0xff]),
        (16_384, &[0x80, 0x00, 0x40, 0x00]),
        (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        (1_073_741_823, &[0xbf, 0xff, 0xff, 0xff]),
        (1_073_741_824, &[0xc0, 0, 0, 0, 0x40, 0, 0, 0]),
        (
            151_288_809_941_952_652,
            &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
        ),
        (MAX, &[0xff; 8]),
    ];

    #[test]
    fn boundaries_both_ways() {
        for &(value, bytes) in BOUNDARIES {
            let mut out = BytesMut::new();
            write(value, &mut out).unwrap();
            assert_eq!(out, bytes, "{value}");
            assert_eq!(read(bytes), Some((value, bytes.len())));
            assert_eq!(encoded_len(value), Some(bytes.len()));
        }
    }

    #[test]
    fn an_early_end_is_no_number() {
        for &(_, bytes) in BOUNDARIES {
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), None);
            }
        }
    }

    /// D14-ENC-1.
    #[test]
    fn longer_forms_are_read() {
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)));
        assert_eq!(read(&[0x80, 0, 0, 0x25, 0xff]), Some((37, 4)));
        assert_eq!(read(&[0xc0, 0, 0, 0, 0, 0, 0, 0x25]), Some((37, 8)));
    }

    #[test]
    fn too_large_writes_nothing() {
        let mut out = BytesMut::from(&b"x"[..]);
        for value in [MAX + 1, u64::MAX] {
            assert_eq!(write(value, &mut out), Err(TooLarge(value)));
        }
        assert_eq!(out, &b"x"[..]);
    }
}
