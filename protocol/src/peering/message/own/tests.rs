use super::*;
use crate::peering::hash::TrackHash;
use crate::peering::message::PublishInfo;
use crate::peering::message::{
    Connect, ConnectResponse, NodeSet, PeerMode, Published, ResponseCode, Sequence, SnsId, Stamp,
    SubscribeInfo,
};
use crate::peering::node::{NodeInfo, NodeType};
use crate::peering::reader::{ControlReader, Incoming};

const STAMP: Stamp = Stamp {
    epoch: 0x0102_0304_0506_0708,
    sequence: Sequence(0x0a0b),
};

/// STAMP on the wire: the life, and the number in 32 bits.
const STAMP_BYTES: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x0a, 0x0b];

fn framed(message_type: u16, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let len = u32::try_from(body.len()).unwrap();
    [&[1][..], &message_type.to_be_bytes(), &len.to_be_bytes(), &body].concat()
}

fn read(dialect: Dialect, bytes: &[u8]) -> Result<Option<Incoming>, String> {
    let mut reader = ControlReader::new(dialect, Limits::default());
    reader.push(bytes);
    reader.next().map_err(|error| error.what.into_owned())
}

fn both_ways(message: &Message, bytes: &[u8]) {
    let mut out = BytesMut::new();
    message.encode(Dialect::Own, &mut out).unwrap();
    assert_eq!(out, bytes, "{message:?}");
    assert_eq!(
        read(Dialect::Own, bytes),
        Ok(Some(Incoming::Message(message.clone())))
    );
}

fn node() -> NodeInfo {
    NodeInfo::new(NodeId(9), NodeType::Edge, Bytes::from_static(b"n"))
}

const NODE_BYTES: [u8; 27] = [
    0, 0, 0, 0, 0, 0, 0, 9, 1, 1, b'n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn subscribe() -> Message {
    Message::SubscribeInfoAdvertise(SubscribeInfo {
        sequence: STAMP.sequence,
        source: NodeId(9),
        track: TrackHash::combined(1, 2),
        data: Bytes::from_static(b"xy"),
    })
}

fn namespace() -> TrackNamespace {
    TrackNamespace::new([Bytes::from_static(b"ab"), Bytes::from_static(b"c")]).unwrap()
}

/// What is said of a node begins with its life and the number of the statement. Decision 0029.
#[test]
fn infos_carry_a_stamp() {
    let connect = Message::Connect(Connect {
        mode: PeerMode::Both,
        node: node(),
    });
    both_ways(
        &connect.stamped(STAMP),
        &framed(1, &[&STAMP_BYTES, &[2], &NODE_BYTES]),
    );
    let accepted = Message::ConnectResponse(ConnectResponse::Accepted(node()));
    both_ways(
        &accepted.stamped(STAMP),
        &framed(2, &[&STAMP_BYTES, &[0, 0], &NODE_BYTES]),
    );
    let refused = Message::ConnectResponse(ConnectResponse::Refused(ResponseCode::NotAuthorized));
    both_ways(&refused.stamped(STAMP), &framed(2, &[&STAMP_BYTES, &[0, 2]]));
    let node = Message::NodeInfoAdvertise(node());
    both_ways(&node.stamped(STAMP), &framed(4, &[&STAMP_BYTES, &NODE_BYTES]));
    let mut plain = BytesMut::new();
    subscribe().encode(Dialect::Laps16, &mut plain).unwrap();
    both_ways(
        &subscribe().stamped(STAMP),
        &framed(6, &[&STAMP_BYTES, &plain[7..]]),
    );
    let publish =
        Message::PublishInfoWithdraw(PublishInfo::new(NodeId(9), Published::Namespace(namespace())));
    let mut plain = BytesMut::new();
    publish.encode(Dialect::Laps16, &mut plain).unwrap();
    both_ways(&publish.stamped(STAMP), &framed(9, &[&STAMP_BYTES, &plain[7..]]));
}

/// Decision 0042. Byte-exact between relays of ours; to laps relays it is not said, and of them not taken.
#[test]
fn one_way_is_asked_of_relays_of_ours_alone() {
    let asks = |mode| Message::Connect(Connect { mode, node: node() }).stamped(STAMP);
    let bytes = framed(1, &[&STAMP_BYTES, &[0xf0], &NODE_BYTES]);
    both_ways(&asks(PeerMode::DataOut), &bytes);
    for dialect in [Dialect::Laps14, Dialect::Laps16] {
        let mut out = BytesMut::new();
        assert!(asks(PeerMode::DataOut).encode(dialect, &mut out).is_err() && out.is_empty());
        let complaint = "peering mode 240 is not defined";
        assert_eq!(
            read(dialect, &framed(1, &[&[0xf0], &NODE_BYTES])),
            Err(complaint.to_owned())
        );
    }
    // What it is for who accepts is not said at all.
    for dialect in [Dialect::Laps14, Dialect::Laps16, Dialect::Own] {
        let mut out = BytesMut::new();
        assert!(asks(PeerMode::DataIn).encode(dialect, &mut out).is_err() && out.is_empty());
    }
}

/// Without a stamp it cannot be said to relays of ours; to laps relays it is said without one.
#[test]
fn stamps_stay_among_relays_of_ours() {
    let mut out = BytesMut::new();
    assert!(subscribe().encode(Dialect::Own, &mut out).is_err() && out.is_empty());
    for dialect in [Dialect::Laps14, Dialect::Laps16] {
        let (mut stamped, mut plain) = (BytesMut::new(), BytesMut::new());
        subscribe().stamped(STAMP).encode(dialect, &mut stamped).unwrap();
        subscribe().encode(dialect, &mut plain).unwrap();
        assert_eq!(stamped, plain);
    }
    assert_eq!(
        subscribe().stamped(Stamp::FIRST).stamped(STAMP).unstamped(),
        (subscribe(), Some(STAMP))
    );
    assert_eq!(Message::Ping(1).stamped(STAMP), Message::Ping(1));
    let wide = framed(4, &[&[0; 8], &[0, 1, 0, 0], &NODE_BYTES]);
    let complaint = "sequence number 65536 has more than 16 bits";
    assert_eq!(read(Dialect::Own, &wide), Err(complaint.to_owned()));
    let short = framed(4, &[&STAMP_BYTES[..11]]);
    assert_eq!(
        read(Dialect::Own, &short),
        Err("the message ends inside a field".to_owned())
    );
}

#[test]
fn messages_that_laps_does_not_have() {
    let number = [0, 0, 0, 0, 0, 0, 0, 5];
    let prefix = [2, 0, 2, b'a', b'b', 0, 1, b'c'];
    let relayed = Relayed {
        target: NodeId(1),
        source: NodeId(2),
        hop_limit: 3,
        kind: 4,
        request_id: 5,
        body: Bytes::from_static(b"body"),
    };
    let ids = [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2];
    let summary = OwnMessage::Summary {
        source: NodeId(1),
        epoch: 2,
        serial: 6,
        digest: Digest { count: 7, sum: 5 },
    };
    let vectors = [
        (
            Message::Relayed(relayed),
            framed(0xf000, &[&ids, &[3, 4], &number, b"body"]),
        ),
        (
            Message::Own(summary),
            framed(0xf001, &[&ids, &[0, 0, 0, 6, 0, 0, 0, 7], &number]),
        ),
        (
            Message::Own(OwnMessage::Watch(namespace())),
            framed(0xf002, &[&prefix]),
        ),
        (
            Message::Own(OwnMessage::Unwatch(namespace())),
            framed(0xf003, &[&prefix]),
        ),
        (Message::Ping(5), framed(0xf004, &[&number])),
        (Message::Pong(5), framed(0xf005, &[&number])),
        (Message::Own(OwnMessage::Leaving), framed(0xf006, &[])),
    ];
    for (message, bytes) in vectors {
        both_ways(&message, &bytes);
        // A laps relay is never told, and to one that is played nothing is known of them.
        let mut out = BytesMut::new();
        assert!(message.encode(Dialect::Laps14, &mut out).is_err() && out.is_empty());
        assert!(matches!(
            read(Dialect::Laps14, &bytes),
            Ok(Some(Incoming::Unknown { .. }))
        ));
        // LEAVING is a word alone, the others are more than that.
        let body: &[u8] = if message.kind() == MessageKind::Leaving {
            &[0]
        } else {
            &[]
        };
        let number = u16::from_be_bytes([bytes[1], bytes[2]]);
        assert!(read(Dialect::Own, &framed(number, &[body])).is_err());
    }
}

#[test]
fn information_bases_speak_through_others() {
    let from = NodeId(2);
    let digest = Digest { count: 7, sum: 5 };
    let messages = [
        NodeMessage::Pull {
            from,
            number: 9,
            have: digest,
            fresh: true,
        },
        NodeMessage::Info {
            from,
            number: 0,
            message: subscribe(),
            stamp: STAMP,
        },
        NodeMessage::PullEnd {
            from,
            number: 255,
            sent: 3,
            digest,
            whole: false,
        },
    ];
    let limits = Limits::default();
    for message in messages {
        let relayed = Relayed::of_infos(NodeId(1), &message).unwrap();
        assert_eq!((relayed.target, relayed.source), (NodeId(1), from));
        assert_eq!(relayed.infos(&limits), Ok(Some(message)));
        // Not a byte less, and not one more.
        for len in 0..relayed.body.len() {
            let body = relayed.body.slice(..len);
            assert!(
                Relayed {
                    body,
                    ..relayed.clone()
                }
                .infos(&limits)
                .is_err(),
                "{len}"
            );
        }
        let body = [&relayed.body[..], &[0]].concat().into();
        assert!(
            Relayed {
                body,
                ..relayed.clone()
            }
            .infos(&limits)
            .is_err()
        );
        assert_eq!(Relayed { kind: 99, ..relayed }.infos(&limits), Ok(None));
    }
}

/// Only infos, so that no answer holds another one.
#[test]
fn an_answer_holds_infos_alone() {
    let mut body = BytesMut::new();
    Message::NodeInfoAdvertise(node())
        .stamped(STAMP)
        .encode(Dialect::Own, &mut body)
        .unwrap();
    let relayed = Relayed {
        target: NodeId(1),
        source: NodeId(2),
        hop_limit: 1,
        kind: node_message::INFO,
        request_id: 0,
        body: body.freeze(),
    };
    assert!(relayed.infos(&Limits::default()).is_err());
    let body = framed(0xf004, &[&[0; 8]]).into();
    assert!(Relayed { body, ..relayed }.infos(&Limits::default()).is_err());
}

/// Decision 0029: a set says whose publishers its data comes from, which laps relays do not.
#[test]
fn sets_carry_their_origin() {
    let set = NodeSet::new(SnsId::FIRST, NodeSet::PRIORITY, [NodeId(8), NodeId(7)]);
    let nodes = [0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8];
    let begin = [0, 0, 0, 1, 2];
    both_ways(
        &Message::NodeSetAdvertise(set.clone()),
        &framed(10, &[&begin, &[0], &nodes]),
    );
    let of_nine = Message::NodeSetAdvertise(set.clone().from_origin(Some(NodeId(9))));
    let origin = [1, 0, 0, 0, 0, 0, 0, 0, 9];
    both_ways(&of_nine, &framed(10, &[&begin, &origin, &nodes]));
    // What a laps relay is told is what laps relays tell.
    let mut out = BytesMut::new();
    of_nine.encode(Dialect::Laps14, &mut out).unwrap();
    assert_eq!(out, framed(10, &[&begin, &nodes]));
    assert_eq!(
        read(Dialect::Laps14, &out),
        Ok(Some(Incoming::Message(Message::NodeSetAdvertise(set))))
    );
    let broken = framed(10, &[&begin, &[2], &nodes]);
    let why = "2 origins of a set, at most one is taken";
    assert_eq!(read(Dialect::Own, &broken), Err(why.to_owned()));
}

/// MOQT-14 §7.2 [D14-PRIO-1]: a set says how urgent each of its nodes is, where that is not the default; laps relays are not
/// told. Whatever stands there is a priority, as many as there are nodes.
#[test]
fn sets_carry_the_priorities_of_their_nodes() {
    let set = NodeSet::urgent(SnsId::FIRST, [(NodeId(8), 255), (NodeId(7), 128)]);
    let nodes = [0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 8];
    let begin = [0, 0, 0, 1, 2];
    let message = Message::NodeSetAdvertise(set.clone());
    both_ways(&message, &framed(10, &[&begin, &[0], &nodes, &[128, 255]]));
    for dialect in [Dialect::Laps14, Dialect::Laps16] {
        let mut out = BytesMut::new();
        message.encode(dialect, &mut out).unwrap();
        assert_eq!(out, framed(10, &[&begin, &nodes]));
    }
    // What is said of all though it is so anyway is no more than not saying it.
    let plain = NodeSet::new(SnsId::FIRST, NodeSet::PRIORITY, [NodeId(8), NodeId(7)]);
    assert_eq!(
        read(Dialect::Own, &framed(10, &[&begin, &[0], &nodes, &[128, 128]])),
        Ok(Some(Incoming::Message(Message::NodeSetAdvertise(plain))))
    );
    for (broken, why) in [
        (&[9][..], "the message ends inside a field"),
        (&[9, 9, 9], "1 bytes after the last field of the message"),
    ] {
        let broken = framed(10, &[&begin, &[0], &nodes, broken]);
        assert_eq!(read(Dialect::Own, &broken), Err(why.to_owned()));
    }
}
