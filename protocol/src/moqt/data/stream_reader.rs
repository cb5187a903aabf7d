//! Incremental reader for unidirectional streams.

use super::limits::DataLimits;
use crate::moqt::codec::Codec;
use crate::moqt::draft14;
use crate::moqt::error::DecodeError;
use crate::moqt::location::ObjectId;
use crate::moqt::message::RequestId;
use crate::moqt::object::{FetchObjectHeader, ObjectHeader, SubgroupHeader};
use crate::wire::cursor::{Reader, Stop};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// One piece of a data stream, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// The stream carries one subgroup. The first item, once.
    SubgroupHeader(SubgroupHeader),
    /// The stream answers this fetch. The first item, once.
    FetchHeader(RequestId),
    /// The next object of a subgroup begins.
    Object(ObjectHeader),
    /// The next object of a fetch begins.
    FetchObject(FetchObjectHeader),
    /// The next bytes of the object's payload, never empty. The header said how many come in all.
    Payload(Bytes),
}

/// Why a header was not read.
#[derive(Debug)]
pub(crate) enum Halt {
    /// So many bytes are missing at least.
    Incomplete(usize),
    /// It is no header.
    Malformed(DecodeError),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Incomplete { missing } => Self::Incomplete(missing),
            Stop::TooLong { len, max } => Self::Malformed(DecodeError::violation(
                format!("a field declares {len} bytes, {max} are allowed"),
                "MOQT-14 §1.4.2",
            )),
        }
    }
}

impl From<DecodeError> for Halt {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// What stands next on the stream when no payload is open.
#[derive(Clone, Copy, Debug)]
enum Expect {
    StreamHeader,
    Object {
        has_extensions: bool,
        previous: Option<ObjectId>,
    },
    FetchObject,
}

/// Items out of the bytes of one unidirectional stream, however they are split.
///
/// Call [`Self::next`] until it gives none after each [`Self::push`]. What is held back then is the start of one
/// header: at most [`DataLimits::max_extension_bytes`] and a few numbers. An error is final: it is given again by
/// each later call.
#[derive(Debug)]
pub struct StreamReader {
    codec: Codec,
    limits: DataLimits,
    expect: Expect,
    /// Bytes of the open object's payload that are still to come.
    payload_left: u64,
    /// Bytes pushed and not yet looked at, none of them empty.
    chunks: VecDeque<Bytes>,
    /// The start of a header that came in more than one chunk.
    head: BytesMut,
    /// Bytes to add to `head` before it is worth looking at again.
    wanted: usize,
    failed: Option<DecodeError>,
}

impl StreamReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new(codec: Codec, limits: DataLimits) -> Self {
        Self {
            codec,
            limits,
            expect: Expect::StreamHeader,
            payload_left: 0,
            chunks: VecDeque::new(),
            head: BytesMut::new(),
            wanted: 0,
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if self.failed.is_none() && !bytes.is_empty() {
            self.chunks.push_back(bytes);
        }
    }

    /// The next item, or none when more bytes are needed for it.
    ///
    /// # Errors
    /// When the bytes cannot be what a data stream holds.
    #[expect(
        clippy::should_implement_trait,
        reason = "none does not mean that it is over, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<StreamItem>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.payload_left > 0 {
            return Ok(self.take_payload().map(StreamItem::Payload));
        }
        let item = self.take_header().inspect_err(|error| self.fail(error))?;
        if let Some(item) = &item {
            self.advance(item);
        }
        Ok(item)
    }

    /// Checks that the stream may end here. Call it after [`Self::next`] gave none.
    ///
    /// # Errors
    /// When a header or a payload is open. MOQT-14 §10.4 [D14-DATA-18].
    pub fn fin(&self) -> Result<(), DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.payload_left > 0 {
            return Err(DecodeError::violation(
                format!(
                    "the stream ends {} bytes before its object does",
                    self.payload_left
                ),
                "MOQT-14 §10.4",
            ));
        }
        if self.is_at_header() || !self.chunks.is_empty() {
            return Err(DecodeError::violation(
                "the stream ends inside a header",
                "MOQT-14 §10.4",
            ));
        }
        Ok(())
    }

    /// True while the header of the stream or of an object is not there whole; false between objects and inside a
    /// payload. A peer that stays here for long is shed. MOQT-14 §3.4 [D14-DATA-23].
    #[must_use]
    pub fn is_at_header(&self) -> bool {
        matches!(self.expect, Expect::StreamHeader) || !self.head.is_empty()
    }

    /// Bytes of an unfinished header that this reader holds in memory of its own.
    #[must_use]
    pub fn held(&self) -> usize {
        self.head.len()
    }

    /// Bytes that were pushed and have not become items.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.head.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// As much of the open payload as the next chunk has.
    fn take_payload(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.front_mut()?;
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let piece = chunk.split_to(left.min(chunk.len()));
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.payload_left = self.payload_left.saturating_sub(piece.len() as u64);
        Some(piece)
    }

    fn take_header(&mut self) -> Result<Option<StreamItem>, DecodeError> {
        loop {
            if !self.head.is_empty() {
                if !self.fill_head() {
                    return Ok(None);
                }
                let head = std::mem::take(&mut self.head).freeze();
                match self.parse(&mut Reader::new(&head)) {
                    Ok(item) => return Ok(Some(item)),
                    Err(Halt::Malformed(error)) => return Err(error),
                    Err(Halt::Incomplete(missing)) => {
                        self.head = head.try_into_mut().unwrap_or_else(|head| BytesMut::from(&*head));
                        self.wanted = missing;
                    }
                }
                continue;
            }
            // Most headers lie whole in one chunk and are read where they are.
            let Some(mut chunk) = self.chunks.pop_front() else {
                return Ok(None);
            };
            let mut reader = Reader::new(&chunk);
            let parsed = self.parse(&mut reader);
            let used = reader.position();
            match parsed {
                Ok(item) => {
                    chunk.advance(used);
                    if !chunk.is_empty() {
                        self.chunks.push_front(chunk);
                    }
                    return Ok(Some(item));
                }
                Err(Halt::Malformed(error)) => return Err(error),
                Err(Halt::Incomplete(missing)) => {
                    self.head.extend_from_slice(&chunk);
                    self.wanted = missing;
                }
            }
        }
    }

    /// Moves what `head` wants out of the chunks, never a byte more: what follows the header may be payload, which
    /// is not copied. False when they do not have it.
    fn fill_head(&mut self) -> bool {
        while self.wanted > 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                return false;
            };
            let piece = chunk.split_to(self.wanted.min(chunk.len()));
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
            self.wanted -= piece.len();
            self.head.extend_from_slice(&piece);
        }
        true
    }

    fn parse(&self, reader: &mut Reader<'_>) -> Result<StreamItem, Halt> {
        match (self.codec, self.expect) {
            (Codec::Draft14, Expect::StreamHeader) => draft14::data::read_stream_header(reader),
            (
                Codec::Draft14,
                Expect::Object {
                    has_extensions,
                    previous,
                },
            ) => draft14::data::read_object(reader, has_extensions, previous, &self.limits)
                .map(StreamItem::Object),
            (Codec::Draft14, Expect::FetchObject) => {
                draft14::data::read_fetch_object(reader, &self.limits).map(StreamItem::FetchObject)
            }
        }
    }

    /// What follows `item`.
    fn advance(&mut self, item: &StreamItem) {
        match item {
            StreamItem::SubgroupHeader(header) => {
                self.expect = Expect::Object {
                    has_extensions: header.has_extensions,
                    previous: None,
                };
            }
            StreamItem::FetchHeader(_) => self.expect = Expect::FetchObject,
            StreamItem::Object(header) => {
                if let Expect::Object { previous, .. } = &mut self.expect {
                    *previous = Some(header.id);
                }
                self.payload_left = header.payload_len;
            }
            StreamItem::FetchObject(header) => self.payload_left = header.payload_len,
            StreamItem::Payload(_) => {}
        }
    }

    fn fail(&mut self, error: &DecodeError) {
        self.failed = Some(error.clone());
        self.chunks.clear();
        self.head = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> StreamReader {
        StreamReader::new(Codec::Draft14, DataLimits::default())
    }

    fn drain(reader: &mut StreamReader) -> Vec<StreamItem> {
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    /// D14-LIM-8: a payload of 2^62-1 bytes is only a number.
    #[test]
    fn a_huge_payload_takes_no_memory() {
        let mut reader = reader();
        reader.push(Bytes::from_static(&[0x10, 2, 0, 0x80, 0]));
        reader.push(Bytes::from_static(&[0xff; 8]));
        let items = drain(&mut reader);
        assert!(matches!(&items[1], StreamItem::Object(header) if header.payload_len == (1 << 62) - 1));
        reader.push(Bytes::from_static(b"abc"));
        assert_eq!(
            drain(&mut reader),
            [StreamItem::Payload(Bytes::from_static(b"abc"))]
        );
        assert_eq!(reader.held(), 0);
        assert!(reader.fin().is_err());
    }

    /// D14-DATA-22: payload leaves as slices of what came in.
    #[test]
    fn payload_is_not_copied() {
        let mut reader = reader();
        let bytes = Bytes::from(vec![0x10, 2, 0, 0x80, 0, 4, b'a', b'b', b'c', b'd']);
        let place = bytes.as_ptr().wrapping_add(6);
        let mut start = bytes.clone();
        let rest = start.split_off(5);
        // The length comes alone, so that the header is collected and the payload is not.
        reader.push(start);
        assert_eq!(drain(&mut reader).len(), 1);
        reader.push(rest);
        let items = drain(&mut reader);
        let Some(StreamItem::Payload(payload)) = items.last() else {
            panic!("no payload");
        };
        assert_eq!(payload.as_ptr(), place);
    }

    /// D14-LIM-8: the bound counts before the bytes come, and nothing above it is held.
    #[test]
    fn extensions_above_the_bound_are_refused_at_once() {
        let limits = DataLimits::default().with_max_extension_bytes(10);
        let mut reader = StreamReader::new(Codec::Draft14, limits);
        reader.push(Bytes::from_static(&[0x11, 2, 0, 0x80, 0, 11]));
        assert!(matches!(reader.next(), Ok(Some(StreamItem::SubgroupHeader(_)))));
        let error = reader.next().unwrap_err();
        assert_eq!(reader.next(), Err(error.clone()));
        assert_eq!(reader.fin(), Err(error));
        assert_eq!(reader.held(), 0);
    }

    /// D14-DATA-18, D14-DATA-23.
    #[test]
    fn where_a_stream_may_end() {
        let bytes = [0x11, 2, 0, 0x80, 0, 2, 0x04, 0x09, 1, b'x'];
        let may_end = [4, 10];
        for end in 0..=bytes.len() {
            let mut reader = reader();
            reader.push(Bytes::copy_from_slice(&bytes[..end]));
            drain(&mut reader);
            assert_eq!(reader.fin().is_ok(), may_end.contains(&end), "{end}");
            assert_eq!(reader.is_at_header(), ![4, 9, 10].contains(&end), "{end}");
        }
    }

    /// D14-DATA-3: ids rise to 2^62-1 and no further.
    #[test]
    fn object_ids_do_not_overflow() {
        let mut reader = reader();
        reader.push(Bytes::from_static(&[0x10, 2, 0, 0x80]));
        reader.push(Bytes::from_static(&[0xff; 8]));
        reader.push(Bytes::from_static(&[0, 0]));
        assert!(matches!(
            &drain(&mut reader)[1],
            StreamItem::Object(header) if header.id == (1 << 62) - 1
        ));
        reader.push(Bytes::from_static(&[0]));
        assert!(reader.next().is_err());
    }
}
