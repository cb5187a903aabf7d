//! From a version to its bytes and back.

use super::data::DataLimits;
use super::draft14::{self, codepoints, reasons};
use super::error::{CloseCode, DecodeError, EncodeError, ResetCode};
use super::location::ObjectId;
use super::message::{AuthToken, ControlMessage, RequestId, Subscribe};
use super::object::{DatagramObject, FetchObjectHeader, ObjectHeader, SubgroupHeader};
use super::version::Version;
use bytes::{Bytes, BytesMut};

/// The codec of one draft. A plain value: it holds no state of a session or stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// draft-ietf-moq-transport-14.
    Draft14,
}

/// The version with this number in a SETUP; none when this build does not speak it. MOQT-14 §9.3.1 [D14-SETUP-9].
#[must_use]
pub const fn version_from_number(number: u64) -> Option<Version> {
    match number {
        codepoints::VERSION => Some(Version::Draft14),
        _ => None,
    }
}

impl Codec {
    /// The codec of `version`.
    #[must_use]
    pub const fn new(version: Version) -> Self {
        match version {
            Version::Draft14 => Self::Draft14,
        }
    }

    /// Which drafts write an object's header alike: the key under which an encoded header may be shared.
    #[must_use]
    pub const fn family(self) -> u8 {
        match self {
            Self::Draft14 => 0,
        }
    }

    /// The number of the version in a SETUP. MOQT-14 §9.3.1 [D14-SETUP-9].
    #[must_use]
    pub const fn version_number(self) -> u64 {
        match self {
            Self::Draft14 => codepoints::VERSION,
        }
    }

    /// Appends one control message with its type and length.
    ///
    /// # Errors
    /// When the draft cannot say it; `out` is unchanged then.
    pub fn encode(self, message: &ControlMessage, out: &mut BytesMut) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::control::put(message, out),
        })
    }

    /// Appends the body of a SUBSCRIBE, which is the message without its type and length, as relays hand it on to one
    /// another.
    ///
    /// # Errors
    /// When the draft cannot say it; `out` is unchanged then.
    pub fn encode_subscribe_body(
        self,
        id: RequestId,
        subscribe: &Subscribe,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::control::put_subscribe_body(id, subscribe, out),
        })
    }

    /// Reads the whole body of a SUBSCRIBE, as [`Self::encode_subscribe_body`] writes it.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode_subscribe_body(self, body: &Bytes) -> Result<(RequestId, Subscribe), DecodeError> {
        match self {
            Self::Draft14 => draft14::control::read_subscribe_body(body),
        }
    }

    /// Appends the header of a subgroup stream.
    ///
    /// # Errors
    /// When a number does not fit a varint; `out` is unchanged then.
    pub fn encode_subgroup_header(
        self,
        header: &SubgroupHeader,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::data::put_subgroup_header(header, out),
        })
    }

    /// Appends what stands before the payload of one object on a subgroup stream. `has_extensions` is the stream's,
    /// `previous` the object before it on this stream.
    ///
    /// # Errors
    /// When the id is not above `previous`, when there are extensions on a stream without them or on an object that
    /// does not exist, or a payload beside a status; `out` is unchanged then.
    pub fn encode_object_header(
        self,
        has_extensions: bool,
        previous: Option<ObjectId>,
        header: &ObjectHeader,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::data::put_object_header(has_extensions, previous, header, out),
        })
    }

    /// Appends the header of a fetch stream.
    ///
    /// # Errors
    /// When the id does not fit a varint; `out` is unchanged then.
    pub fn encode_fetch_header(self, request: RequestId, out: &mut BytesMut) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::data::put_fetch_header(request, out),
        })
    }

    /// Appends what stands before the payload of one object on a fetch stream.
    ///
    /// # Errors
    /// When a number does not fit a varint, an object that does not exist has extensions, or a payload stands beside
    /// a status; `out` is unchanged then.
    pub fn encode_fetch_object_header(
        self,
        header: &FetchObjectHeader,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::data::put_fetch_object_header(header, out),
        })
    }

    /// The extension block of an object with a mark added under `key`, for objects that may carry one.
    ///
    /// None when the draft has no such key, or it is too large to be written.
    #[must_use]
    pub fn marked(self, block: &Bytes, key: u64) -> Option<Bytes> {
        match self {
            Self::Draft14 => draft14::extensions::marked(block, key),
        }
    }

    /// Appends everything of a datagram that stands before its payload, which is thus never copied here.
    ///
    /// # Errors
    /// When the draft has no type for this mix of payload, status and end of group; `out` is unchanged then.
    pub fn encode_datagram_header(
        self,
        object: &DatagramObject,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        whole_or_nothing(out, |out| match self {
            Self::Draft14 => draft14::datagram::put_header(object, out),
        })
    }

    /// Reads one datagram; payload and extensions are slices of it.
    ///
    /// # Errors
    /// When it is none of the draft's, or its extensions are above the limit.
    pub fn decode_datagram(self, bytes: Bytes, limits: &DataLimits) -> Result<DatagramObject, DecodeError> {
        match self {
            Self::Draft14 => draft14::datagram::read(&bytes, limits),
        }
    }

    /// Reads the value of one AUTHORIZATION_TOKEN parameter.
    ///
    /// # Errors
    /// KEY_VALUE_FORMATTING_ERROR when it is none. MOQT-14 §9.2.1.1 [D14-AUTH-1].
    pub fn decode_token(self, parameter: &Bytes) -> Result<AuthToken, DecodeError> {
        match self {
            Self::Draft14 => draft14::token::decode(parameter),
        }
    }

    /// The value of an AUTHORIZATION_TOKEN parameter.
    ///
    /// # Errors
    /// When a number does not fit a varint.
    pub fn encode_token(self, token: &AuthToken) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        match self {
            Self::Draft14 => draft14::token::encode(token, &mut out)?,
        }
        Ok(out.freeze())
    }

    /// The application error code that closes a session. MOQT-14 §3.4 [D14-TERM-1].
    #[must_use]
    pub fn close_code(self, code: CloseCode) -> u64 {
        match self {
            Self::Draft14 => reasons::close_code(code),
        }
    }

    /// Why the peer closed the session; none for a code that the draft does not define.
    #[must_use]
    pub fn close_code_from(self, code: u64) -> Option<CloseCode> {
        match self {
            Self::Draft14 => reasons::close_code_from(code),
        }
    }

    /// The application error code of RESET_STREAM and STOP_SENDING. MOQT-14 §10.4.3 [D14-CLOSE-8].
    #[must_use]
    pub fn reset_code(self, code: ResetCode) -> u64 {
        match self {
            Self::Draft14 => reasons::reset_code(code),
        }
    }

    /// Why the peer reset or refused a data stream.
    #[must_use]
    pub fn reset_code_from(self, code: u64) -> ResetCode {
        match self {
            Self::Draft14 => reasons::reset_code_from(code),
        }
    }
}

/// Lets `put` append, and takes back what it appended before an error.
fn whole_or_nothing(
    out: &mut BytesMut,
    put: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = put(out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Control messages out of the bytes of one control stream, however they are split.
///
/// Call [`Self::next`] until it gives none after each [`Self::push`]; what is held back then is the start of one
/// message, at most 65535 bytes and a header. An error is final: it is given again by each later call.
#[derive(Debug)]
pub struct ControlDecoder {
    codec: Codec,
    buffer: BytesMut,
    failed: Option<DecodeError>,
}

impl ControlDecoder {
    /// A decoder at the start of a control stream.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            buffer: BytesMut::new(),
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// Bytes taken and not yet given out as messages.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next message, or none when more bytes are needed for it.
    ///
    /// # Errors
    /// When the bytes cannot be a message. Nothing comes after that: draft 14 has no way to skip one (MOQT-14 §9
    /// [D14-ENC-12]).
    #[expect(
        clippy::should_implement_trait,
        reason = "none does not mean that it is over, so this is no iterator"
    )]
    pub fn next(&mut self) -> Result<Option<ControlMessage>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let taken = match self.codec {
            Codec::Draft14 => draft14::control::take(&mut self.buffer),
        };
        taken.inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(hex: &[u8]) -> Result<Option<ControlMessage>, DecodeError> {
        let mut decoder = ControlDecoder::new(Codec::Draft14);
        decoder.push(Bytes::copy_from_slice(hex));
        decoder.next()
    }

    /// D14-MSG-30: any single varint, and only that.
    #[test]
    fn unsubscribe_namespace_with_a_request_id() {
        for (body, id) in [
            (&[0x00][..], 0),
            (&[0x06], 6),
            (&[0x41, 0x00], 256),
            (&[0xc0, 0, 0, 0, 0, 0, 0, 9], 9),
        ] {
            let mut bytes = vec![0x14, 0, u8::try_from(body.len()).unwrap()];
            bytes.extend_from_slice(body);
            let message = ControlMessage::UnsubscribeNamespaceById(RequestId(id));
            assert_eq!(decode(&bytes).unwrap().as_ref(), Some(&message));
            let mut out = BytesMut::new();
            assert!(Codec::Draft14.encode(&message, &mut out).is_err());
            assert!(out.is_empty());
        }
        assert!(decode(&[0x14, 0, 0]).is_err());
        assert!(decode(&[0x14, 0, 2, 0x06, 0x06]).is_err());
    }

    /// D14-ENC-12, D14-MSG-31: a type is refused before its length is there.
    #[test]
    fn an_unknown_type_is_not_waited_for() {
        for reserved in [&[0x01][..], &[0x40, 0x40], &[0x40, 0x41], &[0x3f]] {
            assert_eq!(decode(reserved).unwrap_err().code, CloseCode::ProtocolViolation);
        }
        assert_eq!(decode(&[0x0a]), Ok(None));
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = ControlDecoder::new(Codec::Draft14);
        decoder.push(Bytes::from_static(&[0x3f]));
        let error = decoder.next().unwrap_err();
        decoder.push(Bytes::from_static(&[0x0a, 0, 1, 6]));
        assert_eq!(decoder.next(), Err(error));
        assert_eq!(decoder.buffered(), 0);
    }

    /// D14-ENC-14: too long for the length field, and nothing is left behind.
    #[test]
    fn too_long_a_message_leaves_out_as_it_was() {
        let message = ControlMessage::ClientSetup(crate::moqt::message::ClientSetup {
            versions: vec![u64::MAX >> 2; 9000],
            ..Default::default()
        });
        let mut out = BytesMut::from(&b"before"[..]);
        assert!(matches!(
            Codec::Draft14.encode(&message, &mut out),
            Err(EncodeError::MessageTooLong(_))
        ));
        assert_eq!(out, &b"before"[..]);
    }

    #[test]
    fn versions_have_numbers() {
        for &version in Version::ALL {
            assert_eq!(
                version_from_number(Codec::new(version).version_number()),
                Some(version)
            );
        }
        assert_eq!(version_from_number(0xff00_000d), None);
    }
}
