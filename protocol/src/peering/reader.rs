//! Control messages out of the bytes of a control stream.

use super::error::DecodeError;
use super::limits::Limits;
use super::message::{Dialect, HEADER_BYTES, Header, Message};
use bytes::{Buf, BytesMut};

/// One thing that stood on a control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message(Message),
    /// A message of a type that this build does not know; it was passed over. laps peering, "Control Messages".
    Unknown {
        /// Its type.
        message_type: u16,
        /// Bytes of its body.
        length: u32,
    },
}

/// Control messages out of the bytes of one control stream, however they are split.
///
/// Call [`Self::next`] until it gives none after each [`Self::push`]; what is held back then is the start of one message,
/// below [`Limits::max_message_bytes`] and a header. An error is final: it is given again by each later call.
#[derive(Debug)]
pub struct ControlReader {
    dialect: Dialect,
    limits: Limits,
    buffer: BytesMut,
    failed: Option<DecodeError>,
}

impl ControlReader {
    /// A reader at the start of a control stream.
    #[must_use]
    pub fn new(dialect: Dialect, limits: Limits) -> Self {
        Self {
            dialect,
            limits,
            buffer: BytesMut::new(),
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Bytes taken and not yet given out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What stands next, or none when more bytes are needed for it.
    ///
    /// # Errors
    /// When the bytes cannot be a message, as soon as that is known, or declare more than the limits allow.
    #[expect(
        clippy::should_implement_trait,
        reason = "none does not mean that it is over, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Incoming>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }

    fn take(&mut self) -> Result<Option<Incoming>, DecodeError> {
        let Some(header) = Header::read(&self.buffer, self.dialect, &self.limits)? else {
            return Ok(None);
        };
        let length = header.length as usize;
        if self.buffer.len() - HEADER_BYTES < length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(length).freeze();
        let Some(kind) = header.kind else {
            return Ok(Some(Incoming::Unknown {
                message_type: header.number,
                length: header.length,
            }));
        };
        let message = Message::decode(kind, &body, self.dialect, &self.limits)?;
        Ok(Some(Incoming::Message(message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::error::ErrorCode;

    fn read(limits: Limits, bytes: &[u8]) -> Result<Option<Incoming>, DecodeError> {
        let mut reader = ControlReader::new(Dialect::Laps14, limits);
        reader.push(bytes);
        reader.next()
    }

    fn refused(limits: Limits, bytes: &[u8]) -> String {
        let error = read(limits, bytes).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidEncoding, "{error}");
        error.what.into_owned()
    }

    /// Header and body.
    fn framed(message_type: u8, body: &[u8]) -> Vec<u8> {
        let len = u8::try_from(body.len()).unwrap();
        [&[1, 0, message_type, 0, 0, 0, len], body].concat()
    }

    #[test]
    fn a_wrong_header_is_not_waited_for() {
        let limits = Limits::default();
        assert_eq!(
            refused(limits, &[2]),
            "version 2 of the peering protocol is not spoken"
        );
        let error = read(limits, &[1, 0, 3]).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidMessageType);
        assert_eq!(read(limits, &[1, 0, 4, 0, 0]), Ok(None));
        assert_eq!(
            refused(limits, &[1, 0, 4, 0, 4, 0, 1]),
            "NODE_INFO_ADV declares 262145 bytes, at most 262144 are taken"
        );
        assert_eq!(
            refused(limits, &[1, 1, 0, 0xff, 0xff, 0xff, 0xff]),
            "a message of type 256 declares 4294967295 bytes, at most 262144 are taken"
        );
    }

    /// Also of a type that nobody knows.
    #[test]
    fn a_message_may_be_as_long_as_it_may() {
        let limits = Limits::default().with_max_message_bytes(4);
        assert!(matches!(
            read(limits, &framed(11, &[0, 0, 0, 1])),
            Ok(Some(Incoming::Message(_)))
        ));
        let unknown = Incoming::Unknown {
            message_type: 99,
            length: 4,
        };
        assert_eq!(read(limits, &framed(99, &[0; 4])), Ok(Some(unknown)));
        assert_eq!(
            refused(limits, &framed(99, &[0; 5])),
            "a message of type 99 declares 5 bytes, at most 4 are taken"
        );
    }

    /// Each bound, from what is just allowed to what is too much; the complaint says what.
    #[test]
    fn what_is_too_large_is_named() {
        let node = |contact: &[u8], items: usize| {
            let len = u8::try_from(contact.len()).unwrap();
            let head = [&[0; 8][..], &[1, len], contact, &[0; 16]].concat();
            framed(4, &[head, vec![0; items * 16]].concat())
        };
        let limits = Limits::default().with_max_contact_bytes(2).with_max_path_items(1);
        assert!(read(limits, &node(b"ab", 1)).is_ok());
        assert_eq!(
            refused(limits, &node(b"abc", 1)),
            "bytes of a contact: 3, at most 2 are taken"
        );
        assert_eq!(
            refused(limits, &node(b"ab", 2)),
            "nodes on a path: 2, at most 1 are taken"
        );

        let set = |count: u8| {
            let head = [0, 0, 0, 1, 2, 0, count];
            framed(10, &[&head[..], &vec![0; usize::from(count) * 8]].concat())
        };
        let limits = Limits::default().with_max_set_nodes(2);
        assert!(read(limits, &set(2)).is_ok());
        assert_eq!(refused(limits, &set(3)), "nodes in a set: 3, at most 2 are taken");

        let info = |len: u8| framed(6, &[&[0; 37][..], &[len], &vec![0; usize::from(len)]].concat());
        let limits = Limits::default().with_max_subscribe_data_bytes(2);
        assert!(read(limits, &info(2)).is_ok());
        assert_eq!(
            refused(limits, &info(3)),
            "bytes of subscribe data: 3, at most 2 are taken"
        );
    }

    /// A count or a length is not believed: what is not there is not made room for, and is a fault.
    #[test]
    fn declared_sizes_are_checked_against_what_is_there() {
        let limits = Limits::default();
        let ends = "the message ends inside a field";
        assert_eq!(refused(limits, &framed(10, &[0, 0, 0, 1, 2, 0x40, 0])), ends);
        let info = [&[0; 36][..], &[0x40, 0]].concat();
        assert_eq!(refused(limits, &framed(6, &info)), ends);
        let contact = [&[0; 8][..], &[1, 0x43, 0xff]].concat();
        assert_eq!(refused(limits, &framed(4, &contact)), ends);
        assert_eq!(
            refused(limits, &framed(11, &[0, 0, 0, 1, 9])),
            "1 bytes after the last field of the message"
        );
    }

    #[test]
    fn values_that_are_not_defined_are_refused() {
        let limits = Limits::default();
        assert_eq!(refused(limits, &framed(11, &[0; 4])), "SNS id 0 is reserved");
        assert_eq!(refused(limits, &framed(1, &[3])), "peering mode 3 is not defined");
        let node = [&[0; 8][..], &[3]].concat();
        assert_eq!(refused(limits, &framed(4, &node)), "node type 3 is not defined");
        let hash = [&[0; 8][..], &[0x40], &[0; 7]].concat();
        assert_eq!(
            refused(limits, &framed(8, &hash)),
            "full name hash 4000000000000000 has more than 62 bits"
        );
        let path = [&[0; 26][..], &[0; 15]].concat();
        assert_eq!(
            refused(limits, &framed(4, &path)),
            "a node path of 15 bytes, where each item has 16"
        );
        let nameless = [&[0; 16][..], &[0, 0, 0]].concat();
        assert_eq!(
            refused(limits, &framed(8, &nameless)),
            "a namespace needs at least one field"
        );
    }

    /// The draft-16 relays' flags say what draft-14 relays say by an empty name.
    #[test]
    fn publish_flags_are_checked() {
        let body = |name: &[u8], flags: &[u8]| {
            let len = u8::try_from(name.len()).unwrap();
            framed(8, &[&[0; 16][..], &[1, 0, 1, b'a', 0, len], name, flags].concat())
        };
        let read = |bytes: Vec<u8>| {
            let mut reader = ControlReader::new(Dialect::Laps16, Limits::default());
            reader.push(&bytes);
            reader.next().map_err(|error| error.what.into_owned())
        };
        assert!(matches!(read(body(b"", &[1])), Ok(Some(Incoming::Message(_)))));
        assert!(matches!(read(body(b"", &[0])), Ok(Some(Incoming::Message(_)))));
        assert!(matches!(read(body(b"n", &[0])), Ok(Some(Incoming::Message(_)))));
        assert_eq!(
            read(body(b"n", &[1])).unwrap_err(),
            "a namespace with the name of a track"
        );
        assert_eq!(
            read(body(b"n", &[2])).unwrap_err(),
            "publish flags 2 are not defined"
        );
        assert_eq!(
            read(body(b"n", &[])).unwrap_err(),
            "the message ends inside a field"
        );
        let empty_name = Message::decode(
            super::super::message::MessageKind::PublishInfoAdvertise,
            &body(b"", &[0]).split_off(HEADER_BYTES).into(),
            Dialect::Laps16,
            &Limits::default(),
        );
        // A track with an empty name can be said to draft-16 relays alone.
        let mut out = BytesMut::new();
        assert!(
            empty_name
                .clone()
                .unwrap()
                .encode(Dialect::Laps14, &mut out)
                .is_err()
        );
        assert!(out.is_empty());
        assert!(empty_name.unwrap().encode(Dialect::Laps16, &mut out).is_ok());
    }
}
