//! The parameter by which laps' clients ask for a new group: where it is read, where it is not, and its bytes.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: the helpers beside the tests fail them"
)]

use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, RequestId, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

const CODEC: Codec = Codec::Draft14;

fn decode(bytes: &[u8]) -> ControlMessage {
    let mut decoder = ControlDecoder::new(CODEC);
    decoder.push(Bytes::copy_from_slice(bytes));
    decoder.next().unwrap().unwrap()
}

fn encode(message: &ControlMessage) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    CODEC.encode(message, &mut bytes).unwrap();
    bytes.to_vec()
}

fn asking() -> MessageParams {
    MessageParams {
        new_group_request: Some(1),
        ..MessageParams::default()
    }
}

fn subscribe(params: MessageParams) -> Subscribe {
    let namespace = TrackNamespace::new([&b"moq"[..], b"example"].map(Bytes::copy_from_slice)).unwrap();
    Subscribe {
        track: FullTrackName::new(namespace, Bytes::from_static(b"video")).unwrap(),
        priority: 3,
        group_order: GroupOrderRequest::Fixed(GroupOrder::Ascending),
        forward: true,
        filter: SubscribeFilter::LargestObject,
        params,
    }
}

/// The SUBSCRIBE that laps makes, byte for byte, both ways. D14-MSG-6
#[test]
fn laps_asks_in_subscribe() {
    let bytes = [
        &[0x03, 0x00, 0x1b, 0x04, 0x02, 0x03][..],
        b"moq\x07example\x05video",
        &[0x03, 0x01, 0x01, 0x02, 0x01, 0x22, 0x01],
    ]
    .concat();
    let message = ControlMessage::Subscribe(RequestId(4), subscribe(asking()));
    assert_eq!(decode(&bytes), message);
    assert_eq!(encode(&message), bytes);
}

/// D14-PARAM-2: TRACK_STATUS has the fields of SUBSCRIBE, and this parameter is none of them.
#[test]
fn elsewhere_it_is_ignored_and_not_written() {
    let mut bytes = encode(&ControlMessage::Subscribe(RequestId(4), subscribe(asking())));
    let plain = encode(&ControlMessage::TrackStatus(
        RequestId(4),
        subscribe(MessageParams::default()),
    ));
    // The same body under the type of TRACK_STATUS.
    bytes[0] = plain[0];
    let expected = ControlMessage::TrackStatus(RequestId(4), subscribe(MessageParams::default()));
    assert_eq!(decode(&bytes), expected);
    let refused = ControlMessage::TrackStatus(RequestId(4), subscribe(asking()));
    assert!(CODEC.encode(&refused, &mut BytesMut::new()).is_err());
}

/// D14-PARAM-1: to the draft it is unknown, so twice is no breach; the first one counts.
#[test]
fn twice_is_no_breach() {
    let mut bytes = encode(&ControlMessage::Subscribe(RequestId(4), subscribe(asking())));
    let count = bytes.len() - 3;
    bytes[count] = 2;
    bytes.extend_from_slice(&[0x22, 0x09]);
    bytes[2] += 2;
    let expected = ControlMessage::Subscribe(RequestId(4), subscribe(asking()));
    assert_eq!(decode(&bytes), expected);
}
