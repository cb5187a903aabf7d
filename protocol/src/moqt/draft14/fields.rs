//! The fields that control messages are made of.

use super::codepoints::{filter, group_order};
use crate::moqt::error::{DecodeError, EncodeError};
use crate::moqt::location::Location;
use crate::moqt::message::{GroupOrder, GroupOrderRequest, RequestId, SubscribeFilter};
use crate::moqt::name::{FullTrackName, NameError, TrackNamespace};
use crate::wire::cursor::{Reader, Stop};
use crate::wire::{string, varint};
use bytes::{BufMut, Bytes, BytesMut};

/// Most bytes of a reason phrase. MOQT-14 §1.4.3 [D14-ENC-6].
const MAX_PHRASE_BYTES: usize = 1024;

/// Reads the payload of one control message, which is there whole: what is missing never comes.
pub(super) struct FieldReader<'a> {
    reader: Reader<'a>,
    section: &'static str,
}

impl<'a> FieldReader<'a> {
    /// A reader of `payload`; complaints name `section`.
    pub(super) const fn new(payload: &'a Bytes, section: &'static str) -> Self {
        Self {
            reader: Reader::new(payload),
            section,
        }
    }

    /// The section that defines the message.
    pub(super) const fn section(&self) -> &'static str {
        self.section
    }

    /// A violation of the section that defines the message.
    pub(super) fn violation(&self, what: String) -> DecodeError {
        DecodeError::violation(what, self.section)
    }

    /// What `stop` means within a message whose length is known.
    pub(super) fn fault(&self, stop: Stop) -> DecodeError {
        match stop {
            // MOQT-14 §9 [D14-ENC-11]: the length does not match the fields.
            Stop::Incomplete { .. } => {
                DecodeError::violation("the message ends inside a field", self.section)
            }
            Stop::TooLong { len, max } => {
                self.violation(format!("a field declares {len} bytes, {max} are allowed"))
            }
        }
    }

    /// The underlying reader, for structures that are read by [`crate::wire`].
    pub(super) const fn raw(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    /// True when every byte was read.
    pub(super) const fn is_at_end(&self) -> bool {
        self.reader.remaining() == 0
    }

    /// Checks that nothing is left.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        // MOQT-14 §9 [D14-ENC-11]
        match self.reader.remaining() {
            0 => Ok(()),
            left => Err(self.violation(format!("{left} bytes after the last field of the message"))),
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.reader.u8().map_err(|stop| self.fault(stop))
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        self.reader.varint().map_err(|stop| self.fault(stop))
    }

    pub(super) fn request_id(&mut self) -> Result<RequestId, DecodeError> {
        self.varint().map(RequestId)
    }

    /// A byte string behind its length.
    pub(super) fn string(&mut self, max: usize) -> Result<Bytes, DecodeError> {
        string::read(&mut self.reader, max as u64).map_err(|stop| self.fault(stop))
    }

    /// A reason phrase. MOQT-14 §1.4.3 [D14-ENC-6]: bytes, so that bad UTF-8 ends nothing.
    pub(super) fn phrase(&mut self) -> Result<Bytes, DecodeError> {
        self.string(MAX_PHRASE_BYTES)
    }

    pub(super) fn location(&mut self) -> Result<Location, DecodeError> {
        let group = self.varint()?;
        let object = self.varint()?;
        Ok(Location { group, object })
    }

    /// A namespace or prefix. Owns its memory: it outlives the message by far and must not keep the receive buffer.
    pub(super) fn namespace(&mut self) -> Result<TrackNamespace, DecodeError> {
        let count = self.varint()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // MOQT-14 §2.4.1 [D14-ENC-7]: checked here first, so that a large count is not looped over.
        if count > crate::moqt::name::MAX_NAMESPACE_FIELDS {
            return Err(name_fault(NameError::TooManyFields(count)));
        }
        let mut fields = Vec::with_capacity(count);
        for _ in 0..count {
            fields.push(self.string(usize::from(u16::MAX))?);
        }
        let mut memory = Bytes::from(fields.concat());
        let fields = fields.iter().map(|field| memory.split_to(field.len()));
        TrackNamespace::new(fields).map_err(name_fault)
    }

    /// A namespace and a track name.
    pub(super) fn track(&mut self) -> Result<FullTrackName, DecodeError> {
        let namespace = self.namespace()?;
        let name = self.string(usize::from(u16::MAX))?;
        FullTrackName::new(namespace, Bytes::copy_from_slice(&name)).map_err(name_fault)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            // MOQT-14 §9.7, §9.8 [D14-VAL-3] [D14-VAL-4]
            other => Err(self.violation(format!("{field} is {other}, only 0 and 1 are defined"))),
        }
    }

    /// A group order that a subscriber asks for. MOQT-14 §9.7 [D14-VAL-1].
    pub(super) fn group_order_request(&mut self) -> Result<GroupOrderRequest, DecodeError> {
        match self.u8()? {
            group_order::PUBLISHER => Ok(GroupOrderRequest::Publisher),
            byte => self.order_of(byte).map(GroupOrderRequest::Fixed),
        }
    }

    /// A group order that is settled. MOQT-14 §9.8 [D14-VAL-2].
    pub(super) fn group_order(&mut self) -> Result<GroupOrder, DecodeError> {
        let byte = self.u8()?;
        self.order_of(byte)
    }

    /// A settled group order, or none for 0, which PUBLISH_OK forbids and some peers send. [D14-VAL-2]
    pub(super) fn group_order_or_zero(&mut self) -> Result<Option<GroupOrder>, DecodeError> {
        match self.u8()? {
            // MOQT-14 §9.14 DEVIATION [D14-VAL-2]: taken as "keep the publisher's"; the session notes it.
            group_order::PUBLISHER => Ok(None),
            byte => self.order_of(byte).map(Some),
        }
    }

    fn order_of(&self, byte: u8) -> Result<GroupOrder, DecodeError> {
        match byte {
            group_order::ASCENDING => Ok(GroupOrder::Ascending),
            group_order::DESCENDING => Ok(GroupOrder::Descending),
            other => Err(self.violation(format!("Group Order is {other}, which is not allowed here"))),
        }
    }

    /// Content Exists, and the largest place if it is 1. MOQT-14 §9.8 [D14-VAL-4].
    pub(super) fn largest(&mut self) -> Result<Option<Location>, DecodeError> {
        if self.flag("Content Exists")? {
            self.location().map(Some)
        } else {
            Ok(None)
        }
    }

    /// A filter type with its places. MOQT-14 §9.7 [D14-VAL-5].
    pub(super) fn filter(&mut self) -> Result<SubscribeFilter, DecodeError> {
        match self.varint()? {
            filter::NEXT_GROUP_START => Ok(SubscribeFilter::NextGroupStart),
            filter::LARGEST_OBJECT => Ok(SubscribeFilter::LargestObject),
            filter::ABSOLUTE_START => self.location().map(SubscribeFilter::AbsoluteStart),
            filter::ABSOLUTE_RANGE => Ok(SubscribeFilter::AbsoluteRange {
                start: self.location()?,
                // MOQT-14 §9.7 [D14-VAL-10]: the group itself; an end before the start is answered, not closed on.
                end_group: self.varint()?,
            }),
            other => Err(self.violation(format!("filter type {other:#x} is not defined"))),
        }
    }
}

fn name_fault(error: NameError) -> DecodeError {
    // MOQT-14 §2.4.1 [D14-ENC-7] [D14-ENC-8]
    DecodeError::violation(error.to_string(), "MOQT-14 §2.4.1")
}

/// Writes the payload of one control message.
pub(super) struct FieldWriter<'a> {
    pub(super) out: &'a mut BytesMut,
}

impl FieldWriter<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    pub(super) fn varint(&mut self, value: u64) -> Result<(), EncodeError> {
        Ok(varint::write(value, self.out)?)
    }

    pub(super) fn request_id(&mut self, id: RequestId) -> Result<(), EncodeError> {
        self.varint(id.0)
    }

    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        Ok(string::write(bytes, self.out)?)
    }

    pub(super) fn phrase(&mut self, phrase: &[u8]) -> Result<(), EncodeError> {
        if phrase.len() > MAX_PHRASE_BYTES {
            return Err(EncodeError::PhraseTooLong(phrase.len()));
        }
        self.string(phrase)
    }

    pub(super) fn location(&mut self, location: Location) -> Result<(), EncodeError> {
        self.varint(location.group)?;
        self.varint(location.object)
    }

    pub(super) fn namespace(&mut self, namespace: &TrackNamespace) -> Result<(), EncodeError> {
        self.varint(namespace.fields().len() as u64)?;
        namespace.fields().iter().try_for_each(|field| self.string(field))
    }

    pub(super) fn track(&mut self, track: &FullTrackName) -> Result<(), EncodeError> {
        self.namespace(track.namespace())?;
        self.string(track.name())
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(super) fn group_order(&mut self, order: GroupOrder) {
        self.u8(match order {
            GroupOrder::Ascending => group_order::ASCENDING,
            GroupOrder::Descending => group_order::DESCENDING,
        });
    }

    pub(super) fn group_order_request(&mut self, order: GroupOrderRequest) {
        match order {
            GroupOrderRequest::Publisher => self.u8(group_order::PUBLISHER),
            GroupOrderRequest::Fixed(order) => self.group_order(order),
        }
    }

    pub(super) fn largest(&mut self, largest: Option<Location>) -> Result<(), EncodeError> {
        self.flag(largest.is_some());
        largest.map_or(Ok(()), |location| self.location(location))
    }

    pub(super) fn filter(&mut self, filter: &SubscribeFilter) -> Result<(), EncodeError> {
        match *filter {
            SubscribeFilter::NextGroupStart => self.varint(filter::NEXT_GROUP_START),
            SubscribeFilter::LargestObject => self.varint(filter::LARGEST_OBJECT),
            SubscribeFilter::AbsoluteStart(start) => {
                self.varint(filter::ABSOLUTE_START)?;
                self.location(start)
            }
            SubscribeFilter::AbsoluteRange { start, end_group } => {
                self.varint(filter::ABSOLUTE_RANGE)?;
                self.location(start)?;
                self.varint(end_group)
            }
        }
    }
}
