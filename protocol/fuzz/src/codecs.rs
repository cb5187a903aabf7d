//! One target per decoder: bytes in any pieces give what they give whole, and what was decoded is encoded to bytes
//! that decode to the same.

use crate::feed::Feed;
use crate::messages::{CODEC, Ids, message};
use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::codec::ControlDecoder;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::{CloseCode, DecodeError, ResetCode};
use laps_protocol::moqt::extensions;
use laps_protocol::moqt::location::ObjectId;
use laps_protocol::moqt::message::{ControlMessage, PublishOk};
use laps_protocol::moqt::object::ObjectStatus;
use laps_protocol::wire::cursor::{Reader, Stop};
use laps_protocol::wire::{kvp, string, varint};

/// Bytes of a control message with the longest header.
const MAX_MESSAGE: usize = 65_535 + 10;

/// Varints, strings and key-value pairs. RFC 9000 §16, MOQT-14 §1.4.
pub(crate) fn wire(data: &[u8]) {
    if let Some((value, len)) = varint::read(data) {
        let mut out = BytesMut::new();
        varint::write(value, &mut out).unwrap();
        assert_eq!(varint::read(&out), Some((value, out.len())));
        assert_eq!(varint::encoded_len(value), Some(out.len()));
        assert!(out.len() <= len && len <= data.len());
        // RFC 9000 §16, Table 4: each length ends where the next begins.
        let fits = |bytes: usize| value < 1 << (bytes * 8 - 2);
        assert!(
            fits(out.len()) && (out.len() == 1 || !fits(out.len() / 2)),
            "{value} in {out:?}"
        );
    } else {
        let first = data.first().copied();
        assert!(first.is_none_or(|first| data.len() < varint::len_of_first_byte(first)));
    }
    let mut feed = Feed::new(data);
    let number = feed.number().wrapping_mul(u64::from(feed.u8() % 5) + 1);
    let mut out = BytesMut::new();
    let written = varint::write(number, &mut out);
    assert_eq!(written.is_ok(), number <= varint::MAX);
    assert_eq!(varint::encoded_len(number).is_some(), written.is_ok());
    assert_eq!(
        varint::read(&out).map(|(value, _)| value),
        written.ok().map(|()| number)
    );
    pairs(&feed.rest());
}

/// Reads pair after pair, and from each shorter beginning less.
fn pairs(data: &Bytes) {
    let mut reader = Reader::new(data);
    while reader.remaining() > 0 {
        let before = reader.position();
        match kvp::read(&mut reader) {
            Ok(pair) => {
                let mut out = BytesMut::new();
                kvp::write(&pair, &mut out).unwrap();
                let out = out.freeze();
                assert_eq!(kvp::read(&mut Reader::new(&out)).as_ref(), Ok(&pair));
                for end in 0..out.len().min(24) {
                    let short = kvp::read(&mut Reader::new(&out.slice(..end)));
                    let Err(Stop::Incomplete { missing }) = short else {
                        panic!("{end} bytes of {out:?} are {short:?}");
                    };
                    assert!(missing > 0 && end + missing <= out.len());
                }
                let wrong = kvp::KeyValue {
                    key: pair.key ^ 1,
                    value: pair.value,
                };
                assert!(kvp::write(&wrong, &mut BytesMut::new()).is_err());
            }
            Err(Stop::Incomplete { missing }) => {
                // MOQT-14 §1.4.2: a longer value is refused before it is waited for.
                assert!(missing > 0 && missing as u64 <= kvp::MAX_VALUE_BYTES);
                break;
            }
            Err(Stop::TooLong { len, max }) => {
                assert!(len > max && max == kvp::MAX_VALUE_BYTES);
                break;
            }
        }
        assert!(reader.position() > before);
    }
    let mut reader = Reader::new(data);
    if let (Ok(max), Ok(first)) = (reader.u8(), reader.u8()) {
        let rest = reader.rest();
        assert_eq!(reader.remaining(), 0);
        let framed: Bytes = [&[first & 0x3f][..], &rest].concat().into();
        let read = string::read(&mut Reader::new(&framed), u64::from(max));
        let len = usize::from(first & 0x3f);
        match read {
            Ok(bytes) => {
                let mut out = BytesMut::new();
                string::write(&bytes, &mut out).unwrap();
                assert!(bytes.len() == len && len <= usize::from(max) && framed.starts_with(&out));
            }
            Err(Stop::TooLong { .. }) => assert!(len > usize::from(max)),
            Err(Stop::Incomplete { missing }) => assert_eq!(missing, len - rest.len()),
        }
    }
}

fn check_code(error: &DecodeError) {
    assert!(matches!(
        error.code,
        CloseCode::ProtocolViolation | CloseCode::KeyValueFormatting
    ));
    assert!(!error.to_string().is_empty());
}

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
                Err(error) => {
                    check_code(&error);
                    assert_eq!((decoder.next(), decoder.buffered()), (Err(error.clone()), 0));
                    return (messages, Some(error));
                }
            }
        }
        assert!(decoder.buffered() < MAX_MESSAGE);
    }
    (messages, None)
}

/// MOQT-14 §9: what was read is written so that it is read as the same.
fn comes_back(message: &ControlMessage) {
    let mut out = BytesMut::new();
    let written = CODEC.encode(message, &mut out);
    match message {
        // What is understood and never said.
        ControlMessage::UnsubscribeNamespaceById(_)
        | ControlMessage::PublishOk(
            _,
            PublishOk {
                group_order: None, ..
            },
        ) => assert!(written.is_err()),
        _ => {
            assert_eq!(written, Ok(()), "{message:?}");
            assert_eq!(decode_control(&[out.freeze()]), (vec![message.clone()], None));
        }
    }
    assert!(!format!("{message:?}").is_empty());
}

/// A control stream, cut anywhere. MOQT-14 §9.
pub(crate) fn control(data: &[u8]) {
    let mut feed = Feed::new(data);
    let cuts = feed.bytes(16);
    let bytes = feed.rest();
    let whole = decode_control(std::slice::from_ref(&bytes));
    let pieces = Feed::new(&cuts).split(bytes.clone());
    assert_eq!(decode_control(&pieces), whole);
    if bytes.len() < 64 {
        let single: Vec<_> = bytes.chunks(1).map(Bytes::copy_from_slice).collect();
        assert_eq!(decode_control(&single), whole);
    }
    whole.0.iter().for_each(comes_back);
}

/// Each kind of message with legal fields, and with some bytes of it changed. MOQT-14 §9.
pub(crate) fn messages(data: &[u8]) {
    let mut feed = Feed::new(data);
    let ids = Ids {
        next: feed.number(),
        known: vec![feed.number()],
    };
    let mut out = BytesMut::new();
    feed.is_ours = true;
    for _ in 0..4 {
        let message = message(&mut feed, &ids);
        let before = out.len();
        if CODEC.encode(&message, &mut out).is_err() {
            assert_eq!(out.len(), before);
            continue;
        }
        // Not every reason has a number in every answer.
        if !matches!(
            message,
            ControlMessage::RequestError(..) | ControlMessage::PublishNamespaceCancel(_)
        ) {
            comes_back(&message);
        }
        if feed.is_over() {
            break;
        }
    }
    let bytes = out.freeze();
    let whole = decode_control(std::slice::from_ref(&bytes));
    assert_eq!(whole.1, None);
    whole.0.iter().for_each(comes_back);
    assert_eq!(decode_control(&feed.split(bytes.clone())), whole);
    let mut damaged = bytes.to_vec();
    while !feed.is_over() && !damaged.is_empty() {
        let at = (usize::from(feed.u8()) << 8 | usize::from(feed.u8())) % damaged.len();
        damaged[at] = feed.u8();
    }
    let damaged: Bytes = damaged.into();
    let (messages, error) = decode_control(std::slice::from_ref(&damaged));
    messages.iter().for_each(comes_back);
    let halves = [
        damaged.slice(..damaged.len() / 2),
        damaged.slice(damaged.len() / 2..),
    ];
    assert_eq!(decode_control(&halves), (messages, error));
}

/// The value of an AUTHORIZATION_TOKEN parameter. MOQT-14 §9.2.1.1.
pub(crate) fn token(data: &[u8]) {
    match CODEC.decode_token(&Bytes::copy_from_slice(data)) {
        Ok(token) => {
            let bytes = CODEC.encode_token(&token).unwrap();
            assert!(bytes.len() <= data.len());
            assert_eq!(CODEC.decode_token(&bytes), Ok(token.clone()));
            //: nothing of the value is shown.
            assert!(format!("{token:?}").len() < 100);
        }
        Err(error) => check_code(&error),
    }
    let made = crate::messages::token(&mut Feed::new(data));
    let bytes = CODEC.encode_token(&made).unwrap();
    assert_eq!(CODEC.decode_token(&bytes), Ok(made));
    for code in data.iter().copied().map(u64::from) {
        if let Some(reason) = CODEC.close_code_from(code) {
            assert_eq!(CODEC.close_code(reason), code);
        }
        let reset = CODEC.reset_code_from(code);
        assert!(CODEC.reset_code(reset) == code || !matches!(reset, ResetCode::Unknown(_)));
    }
}

/// Everything that comes out of these pieces, with payload pieces joined, and how the stream ends.
fn read_stream(pieces: &[Bytes], limits: DataLimits) -> (Vec<StreamItem>, Result<(), DecodeError>) {
    let mut reader = StreamReader::new(CODEC, limits);
    let mut items: Vec<StreamItem> = Vec::new();
    let mut left = 0;
    for piece in pieces {
        reader.push(piece.clone());
        loop {
            let next = match reader.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    check_code(&error);
                    assert_eq!(reader.next(), Err(error.clone()));
                    assert_eq!(reader.fin(), Err(error.clone()));
                    return (items, Err(error));
                }
            };
            match &next {
                StreamItem::Payload(bytes) => {
                    assert!(!bytes.is_empty() && bytes.len() as u64 <= left);
                    left -= bytes.len() as u64;
                }
                _ => assert_eq!(left, 0, "an object begins inside another"),
            }
            match &next {
                StreamItem::Object(header) => left = header.payload_len,
                StreamItem::FetchObject(header) => left = header.payload_len,
                _ => {}
            }
            match (next, items.last_mut()) {
                (StreamItem::Payload(more), Some(StreamItem::Payload(payload))) => {
                    *payload = [&payload[..], &more[..]].concat().into();
                }
                (next, _) => items.push(next),
            }
        }
        assert!(reader.held() as u64 <= limits.max_extension_bytes + 64);
        assert_eq!(reader.buffered(), reader.held());
    }
    let end = reader.fin();
    // MOQT-14 §10.4: no object and no header is cut short by FIN.
    assert!(end.is_err() || (left == 0 && !reader.is_at_header()));
    (items, end)
}

/// The bytes of these items; none when a stream may not say so.
fn write_stream(items: &[StreamItem]) -> Option<Bytes> {
    let mut out = BytesMut::new();
    let (mut has_extensions, mut previous): (bool, Option<ObjectId>) = (false, None);
    for item in items {
        match item {
            StreamItem::SubgroupHeader(header) => {
                has_extensions = header.has_extensions;
                CODEC.encode_subgroup_header(header, &mut out).ok()?;
            }
            StreamItem::FetchHeader(request) => CODEC.encode_fetch_header(*request, &mut out).ok()?,
            StreamItem::Object(header) => {
                CODEC
                    .encode_object_header(has_extensions, previous, header, &mut out)
                    .ok()?;
                assert!(previous.is_none_or(|previous| previous < header.id));
                previous = Some(header.id);
            }
            StreamItem::FetchObject(header) => CODEC.encode_fetch_object_header(header, &mut out).ok()?,
            StreamItem::Payload(bytes) => out.extend_from_slice(bytes),
        }
    }
    Some(out.freeze())
}

/// A subgroup or fetch stream, cut anywhere. MOQT-14 §10.4.
pub(crate) fn stream(data: &[u8]) {
    let mut feed = Feed::new(data);
    let limits = match feed.u8() {
        small @ 0..=63 => DataLimits::default().with_max_extension_bytes(u64::from(small)),
        _ => DataLimits::default(),
    };
    let cuts = feed.bytes(16);
    let bytes = feed.rest();
    let whole = read_stream(std::slice::from_ref(&bytes), limits);
    let pieces = Feed::new(&cuts).split(bytes.clone());
    assert_eq!(read_stream(&pieces, limits), whole);
    if bytes.len() < 64 {
        let single: Vec<_> = bytes.chunks(1).map(Bytes::copy_from_slice).collect();
        assert_eq!(read_stream(&single, limits), whole);
    }
    let again = write_stream(&whole.0).unwrap();
    let (items, end) = read_stream(&[again], limits);
    assert_eq!(items, whole.0);
    assert!(whole.1.is_err() || end.is_ok());
    for item in &whole.0 {
        let (StreamItem::Object(header), extensions) = (item, item) else {
            continue;
        };
        assert!(
            header.payload_len == 0 || header.status == ObjectStatus::Normal,
            "{extensions:?}"
        );
        block(&header.extensions);
    }
}

/// One datagram. MOQT-14 §10.3.
pub(crate) fn datagram(data: &[u8]) {
    let limits = DataLimits::default().with_max_extension_bytes(64);
    let bytes = Bytes::copy_from_slice(data);
    match CODEC.decode_datagram(bytes, &limits) {
        Ok(object) => {
            assert!(object.extensions.len() <= 64);
            assert!(object.status == ObjectStatus::Normal || object.payload.is_empty());
            let mut out = BytesMut::new();
            CODEC.encode_datagram_header(&object, &mut out).unwrap();
            out.put_slice(&object.payload);
            assert_eq!(CODEC.decode_datagram(out.freeze(), &limits), Ok(object.clone()));
            block(&object.extensions);
            assert!(!object.end_of_group || object.status == ObjectStatus::Normal);
        }
        Err(error) => check_code(&error),
    }
}

/// The extension headers of an object. MOQT-14 §11.
pub(crate) fn extensions(data: &[u8]) {
    block(&Bytes::copy_from_slice(data));
}

fn block(block: &Bytes) {
    let known = extensions::inspect(block);
    if let Err(fault) = known {
        assert!(!fault.to_string().is_empty());
    }
    for key in [0x20, 0x21, 0x4d] {
        assert!(!extensions::is_defined(key));
        if let Some(marked) = CODEC.marked(block, key) {
            assert!(marked.starts_with(block) && marked.len() > block.len());
            if let Ok(known) = known {
                assert_eq!(extensions::inspect(&marked), Ok(known));
            }
        }
    }
}
