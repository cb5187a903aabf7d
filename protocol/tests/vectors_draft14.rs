//! Byte vectors of draft 14: each decodes to what it means and encodes to itself; each wrong one ends as it must.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test file: the helpers beside the tests fail them"
)]

#[path = "vectors/control.rs"]
mod control;
#[path = "vectors/table.rs"]
mod table;

use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::error::{CloseCode, DecodeError};
use laps_protocol::moqt::message::{ControlMessage, PublishOk};

const CODEC: Codec = Codec::Draft14;

fn decode_control(bytes: Bytes) -> Result<ControlMessage, DecodeError> {
    let mut decoder = ControlDecoder::new(CODEC);
    decoder.push(bytes);
    let message = decoder.next()?.expect("the message is whole");
    assert_eq!(decoder.buffered(), 0);
    Ok(message)
}

/// D14-MSG-1 to D14-MSG-30.
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

/// D14-ENC-6, -7, -11, -12; D14-VAL-1 to -7, -11.
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
