//! Byte strings behind their length.

use super::cursor::{Reader, Stop};
use super::varint::{self, TooLarge};
use bytes::{Bytes, BytesMut};

/// Reads a varint length of at most `max` and so many bytes.
///
/// # Errors
/// [`Stop::TooLong`] as soon as the length is known, before any of its bytes are waited for.
pub fn read(reader: &mut Reader<'_>, max: u64) -> Result<Bytes, Stop> {
    let len = reader.varint()?;
    if len > max {
        return Err(Stop::TooLong { len, max });
    }
    reader.bytes(len)
}

/// Appends the length of `bytes` and `bytes`.
///
/// # Errors
/// When the length does not fit a varint, which no memory can hold.
pub fn write(bytes: &[u8], out: &mut BytesMut) -> Result<(), TooLarge> {
    varint::write(bytes.len() as u64, out)?;
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_before_the_bytes_are_there() {
        let data = Bytes::from_static(&[5, b'a']);
        assert_eq!(
            read(&mut Reader::new(&data), 4),
            Err(Stop::TooLong { len: 5, max: 4 })
        );
        assert_eq!(
            read(&mut Reader::new(&data), 5),
            Err(Stop::Incomplete { missing: 4 })
        );
    }

    #[test]
    fn there_and_back() {
        let mut out = BytesMut::new();
        write(b"video", &mut out).unwrap();
        assert_eq!(out, &b"\x05video"[..]);
        assert_eq!(read(&mut Reader::new(&out.freeze()), 5).unwrap(), &b"video"[..]);
    }
}
