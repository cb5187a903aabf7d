//! What holds for any message, any stream, any split of the bytes, and any bytes at all.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: the helpers beside the tests fail them"
)]

mod arbitrary;

use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::DecodeError;
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use laps_protocol::wire::varint;
use proptest::collection::vec;
use proptest::prelude::*;

const CODEC: Codec = Codec::Draft14;
/// Bytes of a control message with the longest header.
const MAX_MESSAGE: usize = 65_535 + 10;

/// Everything that comes out of these pieces: messages, then the error if there is one.
fn decode_control(pieces: &[Bytes]) -> (Vec<ControlMessage>, Option<DecodeError>) {
    let mut decoder = ControlDecoder::new(CODEC);
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece.clone());
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(decoder.buffered() < MAX_MESSAGE);
    }
    (messages, None)
}

/// Everything that comes out of these pieces, with payload pieces joined, and how the stream ends.
fn read_stream(pieces: &[Bytes], limits: DataLimits) -> (Vec<StreamItem>, Result<(), DecodeError>) {
    let mut reader = StreamReader::new(CODEC, limits);
    let mut items: Vec<StreamItem> = Vec::new();
    for piece in pieces {
        reader.push(piece.clone());
        loop {
            match (reader.next(), items.last_mut()) {
                (Ok(Some(StreamItem::Payload(more))), Some(StreamItem::Payload(payload))) => {
                    *payload = [&payload[..], &more[..]].concat().into();
                }
                (Ok(Some(item)), _) => items.push(item),
                (Ok(None), _) => break,
                (Err(error), _) => return (items, Err(error)),
            }
        }
        assert!(reader.held() as u64 <= limits.max_extension_bytes + 64);
    }
    (items, reader.fin())
}

fn encode(messages: &[ControlMessage]) -> Bytes {
    let mut out = BytesMut::new();
    for message in messages {
        CODEC.encode(message, &mut out).unwrap();
    }
    out.freeze()
}

/// A stream of these items, and the bytes that say it.
fn subgroup_stream() -> impl Strategy<Value = (Vec<StreamItem>, Bytes)> {
    arbitrary::subgroup().prop_map(|(header, objects)| {
        let mut out = BytesMut::new();
        let mut items = vec![StreamItem::SubgroupHeader(header)];
        let mut previous = None;
        CODEC.encode_subgroup_header(&header, &mut out).unwrap();
        for (object, payload) in objects {
            CODEC
                .encode_object_header(header.has_extensions, previous, &object, &mut out)
                .unwrap();
            out.extend_from_slice(&payload);
            previous = Some(object.id);
            items.push(StreamItem::Object(object));
            items.extend(
                Some(payload)
                    .filter(|payload| !payload.is_empty())
                    .map(StreamItem::Payload),
            );
        }
        (items, out.freeze())
    })
}

/// The same for a fetch.
fn fetch_stream() -> impl Strategy<Value = (Vec<StreamItem>, Bytes)> {
    (arbitrary::number(), arbitrary::fetch_objects()).prop_map(|(id, objects)| {
        let mut out = BytesMut::new();
        let mut items = vec![StreamItem::FetchHeader(RequestId(id))];
        CODEC.encode_fetch_header(RequestId(id), &mut out).unwrap();
        for (object, payload) in objects {
            CODEC.encode_fetch_object_header(&object, &mut out).unwrap();
            out.extend_from_slice(&payload);
            items.push(StreamItem::FetchObject(object));
            items.extend(
                Some(payload)
                    .filter(|payload| !payload.is_empty())
                    .map(StreamItem::Payload),
            );
        }
        (items, out.freeze())
    })
}

fn any_stream() -> impl Strategy<Value = (Vec<StreamItem>, Bytes)> {
    prop_oneof![subgroup_stream(), fetch_stream()]
}

/// `bytes` with some of them changed and an end that may come early.
fn damaged(bytes: &Bytes, changes: &[(usize, u8)], keep: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    for &(at, value) in changes {
        let at = at % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }
    bytes.truncate(keep.max(1));
    bytes.into()
}

proptest! {
    /// D14-ENC-1.
    #[test]
    fn varints_come_back(value in arbitrary::number(), tail in any::<[u8; 3]>()) {
        let mut out = BytesMut::new();
        varint::write(value, &mut out).unwrap();
        let len = out.len();
        prop_assert_eq!(Some(len), varint::encoded_len(value));
        out.put_slice(&tail);
        prop_assert_eq!(varint::read(&out), Some((value, len)));
    }

    #[test]
    fn control_messages_come_back(message in arbitrary::message()) {
        let bytes = encode(std::slice::from_ref(&message));
        prop_assert_eq!(decode_control(&[bytes]), (vec![message], None));
    }

    /// However the bytes are cut, and whatever follows them.
    #[test]
    fn control_does_not_depend_on_the_split(
        messages in vec(arbitrary::message(), 0..4),
        changes in prop_oneof![Just(Vec::new()), vec((any::<usize>(), any::<u8>()), 0..3)],
        tail in vec(any::<u8>(), 0..20),
        cuts in arbitrary::cuts(),
    ) {
        let bytes: Bytes = [&encode(&messages)[..], &tail].concat().into();
        let bytes = damaged(&bytes, &changes, usize::MAX);
        let whole = decode_control(std::slice::from_ref(&bytes));
        prop_assert_eq!(decode_control(&arbitrary::split(bytes, &cuts)), whole);
    }

    #[test]
    fn streams_come_back((items, bytes) in any_stream(), cuts in arbitrary::cuts()) {
        let limits = DataLimits::default();
        prop_assert_eq!(read_stream(&arbitrary::split(bytes, &cuts), limits), (items, Ok(())));
    }

    /// Also when they are damaged, end early or pass the limit.
    #[test]
    fn streams_do_not_depend_on_the_split(
        (_, bytes) in any_stream(),
        changes in vec((any::<usize>(), any::<u8>()), 0..3),
        keep in 0..600_usize,
        limit in prop_oneof![Just(65_536_u64), 0..300_u64],
        cuts in arbitrary::cuts(),
    ) {
        let bytes = damaged(&bytes, &changes, keep);
        let limits = DataLimits::default().with_max_extension_bytes(limit);
        let whole = read_stream(std::slice::from_ref(&bytes), limits);
        prop_assert_eq!(read_stream(&arbitrary::split(bytes, &cuts), limits), whole);
    }

    #[test]
    fn datagrams_come_back(object in arbitrary::datagram()) {
        let mut out = BytesMut::new();
        CODEC.encode_datagram_header(&object, &mut out).unwrap();
        out.extend_from_slice(&object.payload);
        let decoded = CODEC.decode_datagram(out.freeze(), &DataLimits::default());
        prop_assert_eq!(decoded, Ok(object));
    }

    /// Nothing panics, and a refusal has a code that fits the fault.
    #[test]
    fn random_bytes_are_survived(
        bytes in vec(any::<u8>(), 0..300),
        message_type in 0..0x24_u8,
        stream_type in prop_oneof![Just(5_u8), 0x10..0x1e_u8],
        datagram_type in prop_oneof![0..8_u8, 0x20..0x22_u8],
    ) {
        let len = u16::try_from(bytes.len()).unwrap();
        let framed = [&[message_type], &len.to_be_bytes()[..], &bytes].concat();
        if let (_, Some(error)) = decode_control(&[framed.into()]) {
            prop_assert!(arbitrary::is_decoder_code(error.code));
        }
        let limits = DataLimits::default();
        if let (_, Err(error)) = read_stream(&[[&[stream_type], &bytes[..]].concat().into()], limits) {
            prop_assert!(arbitrary::is_decoder_code(error.code));
        }
        if let Err(error) = CODEC.decode_datagram([&[datagram_type], &bytes[..]].concat().into(), &limits) {
            prop_assert!(arbitrary::is_decoder_code(error.code));
        }
        decode_control(&[bytes.clone().into()]);
        read_stream(&[bytes.clone().into()], limits).1.ok();
        CODEC.decode_datagram(bytes.into(), &limits).ok();
    }
}
