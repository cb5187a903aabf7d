//! Byte vectors of draft 14: each decodes to what it means and encodes to itself; each wrong one ends as it must.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test file: the helpers beside the tests fail them"
)]

#[path = "vectors/control.rs"]
mod control;
#[path = "vectors/data.rs"]
mod data;
#[path = "vectors/table.rs"]
mod table;

use bytes::{Buf, Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use laps_protocol::moqt::message::{AuthToken, ClientSetup, ControlMessage, GroupOrderRequest, KeyValue};
use laps_protocol::moqt::message::{MessageParams, NamespaceRequest, PublishOk, RequestId, SetupParams};
use laps_protocol::moqt::message::{Subscribe, SubscribeFilter, Value};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::session::{Action, Config, ControlStream, Input, Output, Role, Session};
use laps_protocol::moqt::version::Version;
use laps_protocol::wire::cursor::Reader;
use laps_protocol::wire::{kvp, varint};
use std::time::Instant;

const CODEC: Codec = Codec::Draft14;

fn decode_control(bytes: Bytes) -> Result<ControlMessage, DecodeError> {
    let mut decoder = ControlDecoder::new(CODEC);
    decoder.push(bytes);
    let message = decoder.next()?.expect("the message is whole");
    assert_eq!(decoder.buffered(), 0);
    Ok(message)
}

/// Each message of the table, both ways.
///
/// D14-MSG-1 D14-MSG-2 D14-MSG-3 D14-MSG-4 D14-MSG-5 D14-MSG-6 D14-MSG-7 D14-MSG-8 D14-MSG-9 D14-MSG-10 D14-MSG-11
/// D14-MSG-12 D14-MSG-13 D14-MSG-14 D14-MSG-15 D14-MSG-16 D14-MSG-17 D14-MSG-18 D14-MSG-19 D14-MSG-20 D14-MSG-21
/// D14-MSG-22 D14-MSG-23 D14-MSG-24 D14-MSG-25 D14-MSG-26 D14-MSG-27 D14-MSG-28 D14-MSG-29 D14-MSG-30 D14-SETUP-21
/// D14-PARAM-3 D14-PARAM-4 D14-PARAM-5 D14-VAL-10 D14-ENC-13
#[test]
fn control_messages() {
    let expected = control::expected();
    assert_eq!(expected.len(), 46);
    for (id, message) in expected {
        let bytes = table::bytes(id);
        assert_eq!(decode_control(bytes.clone()).as_ref(), Ok(&message), "{id}");
        let mut out = BytesMut::new();
        CODEC.encode(&message, &mut out).unwrap();
        assert_eq!(out, bytes, "{id}");
    }
}

/// In the order of the vectors: D14-ENC-12, D14-VAL-1, D14-VAL-3, D14-VAL-5, D14-ENC-7 twice, D14-VAL-2, D14-VAL-4,
/// D14-ENC-11 twice, D14-VAL-7, D14-ENC-6, D14-VAL-11.
#[test]
fn wrong_control_messages() {
    for id in [
        "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "N10", "N11", "N13", "N14",
    ] {
        let id = format!("V14-{id}");
        let error = decode_control(table::bytes(&id)).expect_err(&id);
        assert_eq!(error.code, CloseCode::ProtocolViolation, "{id}: {error}");
    }
}

/// The same in an established session, after a request that is fine: each ends it, whichever side it is.
///
/// D14-ENC-6 D14-ENC-7 D14-ENC-11 D14-ENC-12 D14-VAL-1 D14-VAL-2 D14-VAL-3 D14-VAL-4 D14-VAL-5 D14-VAL-7 D14-VAL-11
#[test]
fn wrong_control_messages_end_the_session() {
    for id in [
        "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "N10", "N11", "N13", "N14",
    ] {
        for client in [false, true] {
            let id = format!("V14-{id}");
            let (mut session, now) = established(client);
            let stream = ControlStream(0);
            // REQUESTS_BLOCKED 0 asks for nothing.
            let fine = Bytes::from_static(&[0x1a, 0, 1, 0]);
            session.handle_input(now, Input::StreamBytes(stream, fine));
            assert!(!session.is_closed());
            session.handle_input(now, Input::StreamBytes(stream, table::bytes(&id)));
            let last = std::iter::from_fn(|| session.poll_output()).last();
            assert!(
                matches!(
                    last,
                    Some(Output::Action(Action::Close {
                        code: CloseCode::ProtocolViolation,
                        ..
                    }))
                ),
                "{id}: {last:?}"
            );
        }
    }
}

/// A session after SETUP, with the bytes of the vectors.
fn established(client: bool) -> (Session, Instant) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may read the clock once, for a base of virtual time"
    )]
    let now = Instant::now();
    let stream = ControlStream(0);
    let (role, opened, setup) = if client {
        (Role::Client, Input::StreamOpened(stream), "V14-C4")
    } else {
        (Role::Server, Input::StreamAccepted(stream), "V14-C1")
    };
    let mut session = Session::new(role, Version::Draft14, Config::default(), now);
    session.handle_input(now, opened);
    session.handle_input(now, Input::StreamBytes(stream, table::bytes(setup)));
    assert!(session.established().is_some());
    while session.poll_output().is_some() {}
    (session, now)
}

/// V14-N12, D14-VAL-2: understood by a named compatibility rule, never sent.
#[test]
fn publish_ok_with_group_order_0() {
    let message = decode_control(table::bytes("V14-N12")).unwrap();
    assert!(matches!(
        &message,
        ControlMessage::PublishOk(
            _,
            PublishOk {
                group_order: None,
                ..
            }
        )
    ));
    assert!(CODEC.encode(&message, &mut BytesMut::new()).is_err());
}

/// V14-N25: an empty PATH is decoded; whether it is a path is for the session to say.
#[test]
fn an_empty_path_is_decoded() {
    let ControlMessage::ClientSetup(setup) = decode_control(table::bytes("V14-N25")).unwrap() else {
        panic!("not a CLIENT_SETUP");
    };
    assert_eq!(setup.params.path, Some(Bytes::new()));
}

/// All items of a stream, and the reader after them.
fn read_stream(bytes: Bytes) -> (Vec<StreamItem>, Result<(), DecodeError>) {
    let mut reader = StreamReader::new(CODEC, DataLimits::default());
    let mut items = Vec::new();
    reader.push(bytes);
    loop {
        match reader.next() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, reader.fin()),
            Err(error) => return (items, Err(error)),
        }
    }
}

/// The bytes that say these items.
fn write_stream(items: &[StreamItem]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut has_extensions = false;
    let mut previous = None;
    for item in items {
        match item {
            StreamItem::SubgroupHeader(header) => {
                has_extensions = header.has_extensions;
                CODEC.encode_subgroup_header(header, &mut out).unwrap();
            }
            StreamItem::FetchHeader(request) => CODEC.encode_fetch_header(*request, &mut out).unwrap(),
            StreamItem::Object(header) => {
                CODEC
                    .encode_object_header(has_extensions, previous, header, &mut out)
                    .unwrap();
                previous = Some(header.id);
            }
            StreamItem::FetchObject(header) => CODEC.encode_fetch_object_header(header, &mut out).unwrap(),
            StreamItem::Payload(payload) => out.extend_from_slice(payload),
        }
    }
    out
}

/// D14-DATA-1, D14-DATA-2.
#[test]
fn subgroup_headers() {
    let expected = data::subgroup_headers();
    assert_eq!(expected.len(), 12);
    for (id, header) in expected {
        let (items, _) = read_stream(table::bytes(id));
        assert_eq!(items, [StreamItem::SubgroupHeader(header)], "{id}");
        assert_eq!(write_stream(&items), table::bytes(id), "{id}");
    }
}

/// Subgroups and fetches with their objects. D14-DATA-3, D14-DATA-4, D14-DATA-7, D14-DATA-9, D14-DATA-18, D14-DATA-19.
#[test]
fn whole_streams() {
    let expected = data::streams();
    assert_eq!(expected.len(), 7 + 5);
    for (id, meaning) in expected {
        let (items, end) = read_stream(table::bytes(id));
        assert_eq!(items, meaning, "{id}");
        assert_eq!(end, Ok(()), "{id}");
        assert_eq!(write_stream(&items), table::bytes(id), "{id}");
    }
}

/// D14-DATA-12.
#[test]
fn datagrams() {
    let expected = data::datagrams();
    assert_eq!(expected.len(), 10);
    for (id, object) in expected {
        let bytes = table::bytes(id);
        let decoded = CODEC.decode_datagram(bytes.clone(), &DataLimits::default());
        assert_eq!(decoded.as_ref(), Ok(&object), "{id}");
        let mut out = BytesMut::new();
        CODEC.encode_datagram_header(&object, &mut out).unwrap();
        out.extend_from_slice(&object.payload);
        assert_eq!(out, bytes, "{id}");
    }
}

/// V14-N15 to V14-N17 (D14-DATA-1, D14-VAL-13), V14-N22 (D14-DATA-7), V14-N23 (D14-DATA-8), V14-N24 (D14-DATA-18).
#[test]
fn wrong_streams() {
    for id in ["N15", "N16", "N17", "N22", "N23", "N24"] {
        let id = format!("V14-{id}");
        let error = read_stream(table::bytes(&id)).1.expect_err(&id);
        assert_eq!(error.code, CloseCode::ProtocolViolation, "{id}: {error}");
    }
}

/// V14-N24: every byte of it is fine, only the end is not.
#[test]
fn an_early_end_is_seen_at_the_end() {
    let (items, end) = read_stream(table::bytes("V14-N24"));
    assert_eq!(items.len(), 3);
    assert!(end.is_err());
}

/// V14-N21: the one in this list that is right.
#[test]
fn an_object_that_does_not_exist() {
    let (items, end) = read_stream(table::bytes("V14-N21"));
    assert_eq!((items.len(), end), (2, Ok(())));
}

/// V14-N18, V14-N19 (D14-DATA-12, D14-VAL-13), V14-N20 (D14-DATA-13).
#[test]
fn wrong_datagrams() {
    for id in ["N18", "N19", "N20"] {
        let id = format!("V14-{id}");
        let error = CODEC
            .decode_datagram(table::bytes(&id), &DataLimits::default())
            .expect_err(&id);
        assert_eq!(error.code, CloseCode::ProtocolViolation, "{id}: {error}");
    }
}

/// V14-P1, V14-P2: numbers and a pair of them. D14-ENC-1.
#[test]
fn numbers() {
    for (id, numbers) in [
        ("V14-P1", &[37, 15_293, 494_878_333, 151_288_809_941_952_652][..]),
        ("V14-P2", &[12_345, 67_890]),
    ] {
        let bytes = table::bytes(id);
        let mut reader = Reader::new(&bytes);
        let mut out = BytesMut::new();
        for &number in numbers {
            assert_eq!(reader.varint(), Ok(number), "{id}");
            varint::write(number, &mut out).unwrap();
        }
        assert_eq!(reader.remaining(), 0);
        assert_eq!(out, bytes);
    }
}

/// V14-P3, V14-P4: a namespace and a reason phrase, inside the smallest messages that have one.
#[test]
fn namespace_and_phrase() {
    let namespace = table::bytes("V14-P3");
    let mut bytes = BytesMut::from(&[0x06, 0, u8::try_from(namespace.len() + 2).unwrap(), 0][..]);
    bytes.extend_from_slice(&namespace);
    bytes.extend_from_slice(&[0]);
    let fields = ["test", "path", "to", "resource"].map(|field| Bytes::from_static(field.as_bytes()));
    let message = ControlMessage::PublishNamespace(
        RequestId(0),
        NamespaceRequest {
            namespace: TrackNamespace::new(fields).unwrap(),
            params: Default::default(),
        },
    );
    check_both_ways(bytes.freeze(), &message);

    let phrase = table::bytes("V14-P4");
    let mut bytes = BytesMut::from(&[0x19, 0, u8::try_from(phrase.len() + 2).unwrap(), 0, 0][..]);
    bytes.extend_from_slice(&phrase);
    let ControlMessage::RequestError(.., error) = decode_control(bytes.freeze()).unwrap() else {
        panic!("not an error answer");
    };
    assert_eq!(error.phrase, &b"testreason"[..]);
}

/// V14-P5, V14-P6: key-value pairs. D14-ENC-3.
#[test]
fn pairs() {
    let number = Value::Number(100);
    let bytes = Value::Bytes(Bytes::from_static(&[1, 2, 3, 4, 5]));
    for (id, key, value) in [("V14-P5", 100, number), ("V14-P6", 1, bytes)] {
        let pair = KeyValue { key, value };
        let hex = table::bytes(id);
        assert_eq!(kvp::read(&mut Reader::new(&hex)).as_ref(), Ok(&pair), "{id}");
        let mut out = BytesMut::new();
        kvp::write(&pair, &mut out).unwrap();
        assert_eq!(out, hex, "{id}");
    }
}

/// V14-P7: an extension block, length in bytes. D14-DATA-4.
#[test]
fn extension_block() {
    let block = table::bytes("V14-P7");
    let mut bytes = BytesMut::from(&[0x11, 2, 0, 0x80, 0][..]);
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(&[0, 0]);
    let (items, end) = read_stream(bytes.clone().freeze());
    assert_eq!(end, Ok(()));
    let StreamItem::Object(header) = &items[1] else {
        panic!("no object");
    };
    let mut inner = block.clone();
    inner.advance(1);
    assert_eq!(header.extensions, inner);
    assert_eq!(write_stream(&items), bytes);
}

/// V14-P8 to V14-P11. D14-AUTH-1.
#[test]
fn tokens() {
    let value = Bytes::from_static(b"tok");
    for (id, token) in [
        (
            "V14-P8",
            AuthToken::UseValue {
                token_type: 0,
                value: value.clone(),
            },
        ),
        (
            "V14-P9",
            AuthToken::Register {
                alias: 1,
                token_type: 0,
                value,
            },
        ),
        ("V14-P10", AuthToken::UseAlias { alias: 1 }),
        ("V14-P11", AuthToken::Delete { alias: 1 }),
    ] {
        let bytes = table::bytes(id);
        assert_eq!(CODEC.decode_token(&bytes).as_ref(), Ok(&token), "{id}");
        assert_eq!(CODEC.encode_token(&token).unwrap(), bytes, "{id}");
    }
}

/// D14-AUTH-1, D14-ENC-5: a token that cannot be read ends the session with a code of its own, wherever it stands.
#[test]
fn a_token_that_is_none() {
    for token in [&[][..], &[4], &[1, 1], &[2, 1, 0]] {
        let setup = ControlMessage::ClientSetup(ClientSetup {
            versions: vec![CODEC.version_number()],
            params: SetupParams {
                authorization_tokens: vec![Bytes::copy_from_slice(token)],
                ..SetupParams::default()
            },
        });
        let mut out = BytesMut::new();
        CODEC.encode(&setup, &mut out).unwrap();
        let error = decode_control(out.freeze()).unwrap_err();
        assert_eq!(error.code, CloseCode::KeyValueFormatting, "{token:?}");
    }
}

/// D14-PARAM-1, D14-PARAM-2, D14-SETUP-12: seen in FETCH_OK, where only MAX_CACHE_DURATION belongs.
#[test]
fn parameters_known_unknown_and_misplaced() {
    let fetch_ok = |params: &[u8]| {
        let mut bytes = BytesMut::from(&[0x18, 0, u8::try_from(5 + params.len()).unwrap()][..]);
        bytes.extend_from_slice(&[12, 1, 0, 5, 0]);
        bytes.extend_from_slice(params);
        decode_control(bytes.freeze())
    };
    // Two unknown ones of the same type, a misplaced DELIVERY_TIMEOUT twice and a misplaced token that is none.
    let message = fetch_ok(&[6, 0x20, 1, 0x20, 2, 2, 5, 2, 5, 3, 0, 4, 9]).unwrap();
    let ControlMessage::FetchOk(_, body) = message else {
        panic!("not a FETCH_OK");
    };
    assert_eq!(body.params.max_cache_duration_ms, Some(9));
    assert_eq!(body.params.delivery_timeout_ms, None);
    assert_eq!(body.params.unknown.len(), 2);
    let twice = fetch_ok(&[2, 4, 9, 4, 9]).unwrap_err();
    assert_eq!(twice.code, CloseCode::ProtocolViolation);
}

/// D14-ENC-9, D14-ENC-10: names are bytes, may be empty, and come back as they are.
#[test]
fn names_are_bytes() {
    let fields = [&b""[..], b"\xff\xfe/\x00", "e\u{301}".as_bytes()].map(Bytes::copy_from_slice);
    let subscribe = |name: Bytes| {
        let namespace = TrackNamespace::new(fields.clone()).unwrap();
        ControlMessage::Subscribe(
            RequestId(0),
            Subscribe {
                track: FullTrackName::new(namespace, name).unwrap(),
                priority: 128,
                group_order: GroupOrderRequest::Publisher,
                forward: true,
                filter: SubscribeFilter::LargestObject,
                params: MessageParams::default(),
            },
        )
    };
    for name in [&b""[..], b"\x80"] {
        let message = subscribe(Bytes::copy_from_slice(name));
        let mut out = BytesMut::new();
        CODEC.encode(&message, &mut out).unwrap();
        assert_eq!(decode_control(out.freeze()), Ok(message));
    }
}

/// D14-ENC-8: 4096 bytes of namespace and name together, not one more.
#[test]
fn the_longest_name() {
    let subscribe = |name_len: u16| {
        let mut bytes = BytesMut::from(&[3][..]);
        // Request id, one field of 96 bytes, the name, four bytes of fields, no parameters.
        bytes.extend_from_slice(&(1 + 1 + 2 + 96 + 2 + name_len + 5).to_be_bytes());
        bytes.extend_from_slice(&[0, 1, 0x40, 96]);
        bytes.extend_from_slice(&[b'n'; 96]);
        bytes.extend_from_slice(&(0x4000 | name_len).to_be_bytes());
        bytes.extend(std::iter::repeat_n(b't', usize::from(name_len)));
        bytes.extend_from_slice(&[128, 0, 1, 2, 0]);
        decode_control(bytes.freeze())
    };
    assert!(subscribe(4000).is_ok());
    assert_eq!(subscribe(4001).unwrap_err().code, CloseCode::ProtocolViolation);
}

/// D14-PARAM-3, D14-PARAM-4, D14-PARAM-5: what a message may not have is not written either.
#[test]
fn a_misplaced_parameter_is_not_written() {
    let message = ControlMessage::PublishNamespace(
        RequestId(0),
        NamespaceRequest {
            namespace: TrackNamespace::new([Bytes::from_static(b"live")]).unwrap(),
            params: MessageParams {
                delivery_timeout_ms: Some(1),
                ..MessageParams::default()
            },
        },
    );
    let mut out = BytesMut::new();
    assert!(CODEC.encode(&message, &mut out).is_err());
    assert!(out.is_empty());
}

/// D14-SETUP-13: the same number is one thing in SETUP and another elsewhere.
#[test]
fn setup_parameters_have_numbers_of_their_own() {
    let setup = decode_control(table::bytes("V14-C5")).unwrap();
    let ok = decode_control(table::bytes("V14-C16")).unwrap();
    assert!(matches!(
        setup,
        ControlMessage::ServerSetup(setup) if setup.params.max_auth_token_cache_size == Some(4096)
    ));
    assert!(matches!(
        ok,
        ControlMessage::SubscribeOk(_, ok) if ok.params.max_cache_duration_ms == Some(60_000)
    ));
}

/// D14-AUTH-10: a token shown in a log, alone or in its message, does not show its value.
#[test]
fn a_token_keeps_its_secret() {
    let token = format!("{:?}", CODEC.decode_token(&table::bytes("V14-P9")).unwrap());
    let setup = format!("{:?}", decode_control(table::bytes("V14-C6")).unwrap());
    let subscribe = format!("{:?}", decode_control(table::bytes("V14-C12")).unwrap());
    for shown in [token, setup, subscribe] {
        assert!(!shown.replace("token", "").contains("tok"), "{shown}");
    }
}

fn check_both_ways(bytes: Bytes, message: &ControlMessage) {
    assert_eq!(decode_control(bytes.clone()).as_ref(), Ok(message));
    let mut out = BytesMut::new();
    CODEC.encode(message, &mut out).unwrap();
    assert_eq!(out, bytes);
}

/// The table is whole: 91 vectors that decode, 25 wrong or doubtful ones, in the groups of their kinds.
#[test]
fn no_vector_is_missing() {
    let groups = [
        ("P", 11, "val"),
        ("C", 46, "ctrl"),
        ("S", 12, "sghdr"),
        ("D", 7, "uni"),
        ("G", 10, "dgram"),
        ("F", 5, "uni"),
        ("N", 25, ""),
    ];
    let all = table::all();
    assert_eq!(all.len(), 91 + 25);
    for (letter, count, kind) in groups {
        for number in 1..=count {
            let id = format!("V14-{letter}{number}");
            let found: Vec<_> = all.iter().filter(|vector| vector.id == id).collect();
            assert_eq!(found.len(), 1, "{id}");
            assert!(kind.is_empty() || found[0].kind == kind, "{id}");
        }
    }
}
