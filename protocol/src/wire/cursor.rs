//! A reader over bytes that may not have arrived whole.

use super::varint;
use bytes::Bytes;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end before the value does. No fault of anybody as long as more may come.
    Incomplete {
        /// So many bytes more are needed at least before another try can get further.
        missing: usize,
    },
    /// A length field above what is allowed. More bytes do not help.
    TooLong {
        /// The length that was declared.
        len: u64,
        /// The largest one allowed.
        max: u64,
    },
}

/// Reads values from the front of `data`, without copying and without taking anything away from it.
///
/// A try that ends with [`Stop`] leaves the position somewhere inside; begin again with a new reader when more bytes
/// are there.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `data`.
    #[must_use]
    pub const fn new(data: &'a Bytes) -> Self {
        Self { data, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.at)
    }

    /// One byte.
    ///
    /// # Errors
    /// When there is none.
    pub fn u8(&mut self) -> Result<u8, Stop> {
        let byte = *self.data.get(self.at).ok_or(Stop::Incomplete { missing: 1 })?;
        self.at += 1;
        Ok(byte)
    }

    /// The next `N` bytes, for an integer of fixed size.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or_else(|| Stop::Incomplete {
            missing: N.saturating_sub(rest.len()),
        })?;
        self.at += N;
        Ok(*array)
    }

    /// One varint. RFC 9000 §16.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn varint(&mut self) -> Result<u64, Stop> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if let Some((value, len)) = varint::read(rest) {
            self.at += len;
            return Ok(value);
        }
        let whole = rest.first().map_or(1, |&first| varint::len_of_first_byte(first));
        Err(Stop::Incomplete {
            missing: whole.saturating_sub(rest.len()),
        })
    }

    /// The next `len` bytes, as a slice that shares memory with the input.
    ///
    /// # Errors
    /// When there are fewer. Nothing is allocated, whatever `len` says.
    pub fn bytes(&mut self, len: u64) -> Result<Bytes, Stop> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let missing = len.saturating_sub(self.remaining());
        if missing > 0 {
            return Err(Stop::Incomplete { missing });
        }
        let end = self.at.saturating_add(len);
        let slice = self.data.slice(self.at..end);
        self.at = end;
        Ok(slice)
    }

    /// Everything that is left.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        let slice = self.data.slice(self.at..);
        self.at = self.data.len();
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_bytes_are_counted() {
        let data = Bytes::from_static(&[0x80, 0, 0]);
        assert_eq!(Reader::new(&data).varint(), Err(Stop::Incomplete { missing: 1 }));
        assert_eq!(
            Reader::new(&Bytes::new()).varint(),
            Err(Stop::Incomplete { missing: 1 })
        );
        assert_eq!(Reader::new(&data).bytes(10), Err(Stop::Incomplete { missing: 7 }));
        assert_eq!(
            Reader::new(&Bytes::new()).u8(),
            Err(Stop::Incomplete { missing: 1 })
        );
        assert_eq!(
            Reader::new(&data).array::<8>(),
            Err(Stop::Incomplete { missing: 5 })
        );
        assert_eq!(Reader::new(&data).array(), Ok([0x80, 0]));
    }

    /// D14-LIM-8: a declared length is not believed.
    #[test]
    fn a_huge_length_is_only_missing() {
        let data = Bytes::from_static(b"abc");
        let mut reader = Reader::new(&data);
        assert!(matches!(reader.bytes(varint::MAX), Err(Stop::Incomplete { .. })));
        assert!(matches!(reader.bytes(u64::MAX), Err(Stop::Incomplete { .. })));
        assert_eq!(reader.bytes(2).unwrap(), &b"ab"[..]);
        assert_eq!(reader.position(), 2);
        assert_eq!(reader.rest(), &b"c"[..]);
        assert_eq!(reader.remaining(), 0);
    }
}
