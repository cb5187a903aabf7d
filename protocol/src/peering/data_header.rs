//! What stands before the payload on data streams and in datagrams. laps peering, "Data Header Messages".
//!
//! The payload is MOQT's and is handed on as it is: the head is a small array of its own, so that one payload can be sent
//! behind many heads without being copied. Bytes of a stream behind its head have no header (EXISTING_STREAM).
//!
//! Towards a laps relay the whole head and the MOQT SUBGROUP_HEADER have to be in the first write of a stream, or the
//! relay loses the stream.

use super::error::{DecodeError, ErrorCode};
use super::hash::FullNameHash;
use super::message::SnsId;
use super::message::codepoints::data_type;
use bytes::{Buf, Bytes};

/// The head of a datagram. laps peering, "Datagram Data", with the hash and without the length, as laps does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DatagramHeader {
    /// Who is to get it.
    pub sns: SnsId,
    /// The track.
    pub track: FullNameHash,
}

/// The head of a stream. laps peering, "Start of New Stream Data", with the hash and without the length, as laps does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamHeader {
    /// Who is to get it.
    pub sns: SnsId,
    /// The track.
    pub track: FullNameHash,
    /// The publisher's priority, 0 the most urgent.
    pub priority: u8,
    /// How long each object may be under way after it was received, in milliseconds (the document has microseconds, laps
    /// does not).
    pub ttl_ms: u32,
}

impl DatagramHeader {
    /// Bytes of it.
    pub const LEN: usize = 14;

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut head = [0; Self::LEN];
        put(&mut head, data_type::DATAGRAM, self.sns, self.track);
        head
    }

    /// Takes a datagram apart; the payload is a slice of it.
    ///
    /// # Errors
    /// When it does not begin with a whole head.
    pub fn split(mut datagram: Bytes) -> Result<(Self, Bytes), DecodeError> {
        const SECTION: &str = "laps peering, \"Datagram Data\"";
        let Some(&head) = datagram.first_chunk::<{ Self::LEN }>() else {
            let len = datagram.len();
            return Err(breach(
                format!("a datagram of {len} bytes ends in its header"),
                SECTION,
            ));
        };
        check_common(&head, data_type::DATAGRAM, SECTION)?;
        let (sns, track) = target(&head, SECTION)?;
        datagram.advance(Self::LEN);
        Ok((Self { sns, track }, datagram))
    }

    /// The same head for the next link, as a Via sends it on. laps peering, "FIB".
    #[must_use]
    pub const fn rewrite_sns_id(self, sns: SnsId) -> Self {
        Self { sns, ..self }
    }
}

impl StreamHeader {
    /// Bytes of it.
    pub const LEN: usize = 19;

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut head = [0; Self::LEN];
        put(&mut head, data_type::NEW_STREAM, self.sns, self.track);
        let [.., priority, a, b, c, d] = &mut head;
        *priority = self.priority;
        [*a, *b, *c, *d] = self.ttl_ms.to_be_bytes();
        head
    }

    /// The same head for the next link, as a Via sends it on. laps peering, "FIB".
    #[must_use]
    pub const fn rewrite_sns_id(self, sns: SnsId) -> Self {
        Self { sns, ..self }
    }
}

/// Reads the head of one stream, however its bytes are split.
#[derive(Clone, Debug, Default)]
pub struct StreamHeaderReader {
    head: [u8; StreamHeader::LEN],
    filled: usize,
}

impl StreamHeaderReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of the head that are there. A stream that ends with none or some was not begun as it has to be.
    #[must_use]
    pub const fn filled(&self) -> usize {
        self.filled
    }

    /// Takes from the front of `bytes` what belongs to the head, and gives the head once it is whole; what is left in
    /// `bytes` then is payload. Not to be called after that, or after an error.
    ///
    /// # Errors
    /// INVALID_START_OF_STREAM as soon as the bytes can be no head.
    pub fn read(&mut self, bytes: &mut Bytes) -> Result<Option<StreamHeader>, DecodeError> {
        const SECTION: &str = "laps peering, \"Start of New Stream Data\"";
        let room = self.head.get_mut(self.filled..).unwrap_or_default();
        let len = room.len().min(bytes.len());
        let (Some(room), Some(taken)) = (room.get_mut(..len), bytes.get(..len)) else {
            return Ok(None);
        };
        room.copy_from_slice(taken);
        bytes.advance(len);
        self.filled += len;
        let there = self.head.get(..self.filled).unwrap_or_default();
        check_common(there, data_type::NEW_STREAM, SECTION)?;
        if self.filled < StreamHeader::LEN {
            return Ok(None);
        }
        let (sns, track) = target(&self.head, SECTION)?;
        let [.., priority, a, b, c, d] = self.head;
        Ok(Some(StreamHeader {
            sns,
            track,
            priority,
            ttl_ms: u32::from_be_bytes([a, b, c, d]),
        }))
    }
}

fn breach(what: String, section: &'static str) -> DecodeError {
    DecodeError::new(ErrorCode::InvalidStartOfStream, what, section)
}

/// Fills in what both heads have in common. laps peering, "Data Common Header".
fn put<const N: usize>(head: &mut [u8; N], kind: u8, sns: SnsId, track: FullNameHash) {
    let common = [u8::try_from(N).unwrap_or(u8::MAX), kind];
    let fields = common
        .into_iter()
        .chain(sns.get().to_be_bytes())
        .chain(track.get().to_be_bytes());
    head.iter_mut().zip(fields).for_each(|(to, byte)| *to = byte);
}

/// Checks length and type, as far as they are there. laps peering, "Data Common Header".
fn check_common(head: &[u8], kind: u8, section: &'static str) -> Result<(), DecodeError> {
    let len = match kind {
        data_type::DATAGRAM => DatagramHeader::LEN,
        _ => StreamHeader::LEN,
    };
    if let Some(&found) = head.first().filter(|found| usize::from(**found) != len) {
        return Err(breach(
            format!("a data header of {found} bytes, where it has {len}"),
            section,
        ));
    }
    if let Some(&found) = head.get(1).filter(|found| **found != kind) {
        return Err(breach(
            format!("a data header of type {found}, where it is {kind}"),
            section,
        ));
    }
    Ok(())
}

/// What both heads say of where the data goes.
fn target(head: &[u8], section: &'static str) -> Result<(SnsId, FullNameHash), DecodeError> {
    let id = head.get(2..).and_then(|rest| rest.first_chunk());
    let hash = head.get(6..).and_then(|rest| rest.first_chunk());
    let id = id.copied().map_or(0, u32::from_be_bytes);
    let hash = hash.copied().map_or(0, u64::from_be_bytes);
    let sns = SnsId::new(id).ok_or_else(|| breach("SNS id 0 is reserved".to_owned(), section))?;
    let track = FullNameHash::new(hash).ok_or_else(|| {
        breach(
            format!("full name hash {hash:016x} has more than 62 bits"),
            section,
        )
    })?;
    Ok((sns, track))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(head: &[u8]) -> Result<Option<StreamHeader>, DecodeError> {
        StreamHeaderReader::new().read(&mut Bytes::copy_from_slice(head))
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(read: Result<T, DecodeError>, words: &str) {
        let error = read.unwrap_err();
        assert_eq!(
            (error.code, &*error.what),
            (ErrorCode::InvalidStartOfStream, words)
        );
    }

    /// As soon as it is known, without waiting for the rest. laps peering, "Start of New Stream Data".
    #[test]
    fn what_does_not_begin_a_stream() {
        for len in [0, 14, 18, 20, 255] {
            let words = format!("a data header of {len} bytes, where it has 19");
            refused(stream(&[len]), &words);
        }
        for kind in [0, 1, 3, 255] {
            let words = format!("a data header of type {kind}, where it is 2");
            refused(stream(&[19, kind]), &words);
        }
        assert_eq!(stream(&[19, 2]), Ok(None));
        let mut head = StreamHeader {
            sns: SnsId::FIRST,
            track: FullNameHash::MAX,
            priority: 0,
            ttl_ms: 0,
        }
        .encode();
        assert!(stream(&head).unwrap().is_some());
        head[5] = 0;
        refused(stream(&head), "SNS id 0 is reserved");
        head[5] = 1;
        head[6] = 0x40;
        refused(
            stream(&head),
            "full name hash 40ffffffffffffff has more than 62 bits",
        );
    }

    #[test]
    fn what_is_no_datagram() {
        let split = |bytes: &[u8]| DatagramHeader::split(Bytes::copy_from_slice(bytes));
        refused(split(&[14]), "a datagram of 1 bytes ends in its header");
        let mut head = DatagramHeader {
            sns: SnsId::FIRST,
            track: FullNameHash::MAX,
        }
        .encode();
        assert!(split(&head).is_ok());
        head[1] = 2;
        refused(split(&head), "a data header of type 2, where it is 0");
        head[0] = 19;
        refused(split(&head), "a data header of 19 bytes, where it has 14");
    }
}
