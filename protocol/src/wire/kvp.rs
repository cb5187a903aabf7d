//! Key-value pairs: a number behind an even type, bytes behind an odd one. MOQT-14 §1.4.2.

use super::cursor::{Reader, Stop};
use super::{string, varint};
use bytes::{Bytes, BytesMut};

/// Most bytes the value of one pair may have. MOQT-14 §1.4.2 [D14-ENC-4].
pub const MAX_VALUE_BYTES: u64 = 65_535;

/// The value of a key-value pair: a number for even types, bytes for odd ones. MOQT-14 §1.4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Value of an even type.
    Number(u64),
    /// Value of an odd type.
    Bytes(Bytes),
}

/// One key-value pair. Whether `value` fits the parity of `key` is checked when encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Type.
    pub key: u64,
    /// Value.
    pub value: Value,
}

/// Why a pair cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// Type or value above 2^62-1.
    TooLarge(u64),
    /// The value does not go with the parity of this type, or has more than [`MAX_VALUE_BYTES`].
    Mismatch(u64),
}

impl From<varint::TooLarge> for WriteError {
    fn from(error: varint::TooLarge) -> Self {
        Self::TooLarge(error.0)
    }
}

/// Reads one pair whose type stands there as it is (drafts up to 15).
///
/// # Errors
/// When the pair is not whole, or its value declares more than [`MAX_VALUE_BYTES`].
pub fn read(reader: &mut Reader<'_>) -> Result<KeyValue, Stop> {
    let key = reader.varint()?;
    // MOQT-14 §1.4.2 [D14-ENC-3]
    let value = if key.is_multiple_of(2) {
        Value::Number(reader.varint()?)
    } else {
        // MOQT-14 §1.4.2 [D14-ENC-4]
        Value::Bytes(string::read(reader, MAX_VALUE_BYTES)?)
    };
    Ok(KeyValue { key, value })
}

/// Appends one pair with its type as it is (drafts up to 15).
///
/// # Errors
/// When the value does not go with the type; `out` may hold a part of the pair then.
pub fn write(pair: &KeyValue, out: &mut BytesMut) -> Result<(), WriteError> {
    match &pair.value {
        Value::Number(number) => write_number(pair.key, *number, out),
        Value::Bytes(bytes) => write_bytes(pair.key, bytes, out),
    }
}

/// Appends a pair of an even type.
///
/// # Errors
/// As [`write()`].
pub fn write_number(key: u64, number: u64, out: &mut BytesMut) -> Result<(), WriteError> {
    if !key.is_multiple_of(2) {
        return Err(WriteError::Mismatch(key));
    }
    varint::write(key, out)?;
    varint::write(number, out)?;
    Ok(())
}

/// Appends a pair of an odd type.
///
/// # Errors
/// As [`write()`].
pub fn write_bytes(key: u64, bytes: &[u8], out: &mut BytesMut) -> Result<(), WriteError> {
    if key.is_multiple_of(2) || bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err(WriteError::Mismatch(key));
    }
    varint::write(key, out)?;
    string::write(bytes, out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-ENC-3, D14-ENC-4.
    #[test]
    fn length_above_65535_is_too_long() {
        let fits = Bytes::from_static(&[0x01, 0x80, 0x00, 0xff, 0xff]);
        assert_eq!(
            read(&mut Reader::new(&fits)),
            Err(Stop::Incomplete { missing: 65_535 })
        );
        let long = Bytes::from_static(&[0x01, 0x80, 0x01, 0x00, 0x00]);
        assert!(matches!(
            read(&mut Reader::new(&long)),
            Err(Stop::TooLong { len: 65_536, .. })
        ));
    }

    #[test]
    fn parity_decides_the_kind() {
        let mut out = BytesMut::new();
        assert_eq!(write_number(3, 1, &mut out), Err(WriteError::Mismatch(3)));
        assert_eq!(write_bytes(2, b"", &mut out), Err(WriteError::Mismatch(2)));
        assert_eq!(
            write_bytes(1, &[0; 65_536], &mut out),
            Err(WriteError::Mismatch(1))
        );
        assert!(out.is_empty());
    }
}
