//! Byte vectors of laps peering, made by laps' own code or seen on the wire between it and others: each decodes to what
//! it means and encodes to itself.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test file: the helpers beside the tests fail them"
)]

use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::{Codec, ControlDecoder};
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::message::{ControlMessage, RequestId};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::hash::{self, FullNameHash, TrackHash};
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::*;
use laps_protocol::peering::node::{Degrees, NodeId, NodeInfo, NodeType, PathItem};
use laps_protocol::peering::reader::{ControlReader, Incoming};
use std::collections::BTreeMap;

/// Kind and bytes of every vector by its id.
fn table() -> BTreeMap<&'static str, (&'static str, Bytes)> {
    include_str!("vectors/peering.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let (id, kind) = (words.next().unwrap(), words.next().unwrap());
            let digits: String = words.collect();
            let bytes = (0..digits.len()).step_by(2);
            let bytes = bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
            (id, (kind, bytes.collect()))
        })
        .collect()
}

fn of_kind(kind: &str) -> Vec<(&'static str, Bytes)> {
    let rows = table().into_iter().filter(|(_, (of, _))| *of == kind);
    rows.map(|(id, (_, bytes))| (id, bytes)).collect()
}

fn vector(id: &str) -> Bytes {
    table()
        .remove(id)
        .unwrap_or_else(|| panic!("{id} is not in the table"))
        .1
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

fn namespace(fields: &[&'static str]) -> TrackNamespace {
    TrackNamespace::new(fields.iter().map(|field| Bytes::from_static(field.as_bytes()))).unwrap()
}

fn track(fields: &[&'static str], name: &'static str) -> FullTrackName {
    FullTrackName::new(namespace(fields), Bytes::from_static(name.as_bytes())).unwrap()
}

fn full(hash: u64) -> FullNameHash {
    FullNameHash::new(hash).unwrap()
}

fn sns(id: u32) -> SnsId {
    SnsId::new(id).unwrap()
}

/// Inputs of every length at which the function takes another way, and long ones.
#[test]
fn hashes_of_bytes() {
    let rows = of_kind("hash");
    assert_eq!(rows.len(), 29);
    for (id, expected) in rows {
        let len = id[1..].parse().unwrap();
        let input: Vec<u8> = (b'a'..=b'z').cycle().take(len).collect();
        assert_eq!(hash::hash(&input), number(&expected), "{id}");
    }
}

#[test]
fn hashes_of_tracks() {
    let long = [
        "conf.example.com",
        "room-1234567890",
        "user-abcdefghijklmnopqrstuvwxyz",
        "camera-front-high-definition-stream",
    ];
    let longest = "1080p60-h264-high-profile-video-track-with-a-long-name-to-exceed-64-bytes";
    let tracks = [
        ("T1", track(&["moq", "example"], "video")),
        ("T2", track(&["moqexample"], "video")),
        ("T3", track(&["mo", "qexample"], "video")),
        ("T4", track(&["moq", "example"], "")),
        ("T5", track(&["a"], "b")),
        ("T6", track(&["chat"], "1")),
        ("T7", track(&["perf", "audio", "1"], "1")),
        ("T8", track(&["perf/audio/1"], "1")),
        ("T9", track(&long, longest)),
        ("T10", track(&["", "x"], "n")),
    ];
    assert_eq!(tracks.len(), of_kind("track").len());
    for (id, track) in tracks {
        let expected = vector(id);
        let found = TrackHash::of(&track);
        let numbers = [found.namespace, found.name, found.full.get()];
        assert_eq!(numbers, [0, 8, 16].map(|at| number(&expected[at..])), "{id}");
        assert!(found.is_consistent());
    }
    assert_eq!(hash::combine(0, 0x1122_3344_5566_7788), 0x156a_c016_08f7_8f23);
    assert_eq!(
        hash::combine(0x156a_c016_08f7_8f23, 0x99aa_bbcc_ddee_ff00),
        0x0faf_b054_f971_8e1a
    );
}

/// Fields are kept apart, which the hash of a namespace does not do.
#[test]
fn hashes_of_prefixes() {
    let prefixes =
        |fields: &[&'static str]| -> Vec<u64> { hash::prefix_hashes(&namespace(fields)).collect() };
    let whole = prefixes(&["moq", "example"]);
    assert_eq!(whole[..1], prefixes(&["moq"]));
    assert_eq!(
        whole[1],
        hash::combine(hash::combine(0, hash::hash(b"moq")), hash::hash(b"example"))
    );
    assert_ne!(whole[1], prefixes(&["moqexample"])[0]);
}

#[test]
fn node_ids_of_laps_relays() {
    let names = [
        ("N1", "moq-server", "34837.63809:14769.34198"),
        ("N2", "relay-a", "47486.3824:14257.32649"),
        ("N3", "relay-b", "60323.32915:48020.7492"),
        ("N4", "relay-c", "51749.12009:4921.23067"),
        ("N5", "r1", "41351.46186:60020.46934"),
        ("N6", "r2", "7641.44685:443.20433"),
        ("N7", "r3", "52000.18661:11397.18503"),
        ("N8", "", "21822.37776:7750.10862"),
        ("N9", "a", "17741.57060:35009.60779"),
    ];
    assert_eq!(names.len(), of_kind("node").len());
    for (id, endpoint, text) in names {
        let node = hash::endpoint_node_id(endpoint);
        assert_eq!(node.0, number(&vector(id)), "{id}");
        assert_eq!(node.to_string(), text);
        assert_eq!(text.parse(), Ok(node));
        assert_eq!(node.0.to_string().parse(), Ok(node));
    }
}

#[test]
fn node_ids_as_text() {
    let texts = [
        ("X1", "1.2:1234"),
        ("X2", "1:1"),
        ("X3", "100.2:9001.2001"),
        ("X4", "123456:789.100"),
    ];
    assert_eq!(texts.len(), of_kind("text").len());
    for (id, text) in texts {
        assert_eq!(text.parse(), Ok(NodeId(number(&vector(id)))), "{id}");
    }
}

/// The node of most vectors.
fn node_a() -> NodeInfo {
    NodeInfo {
        longitude: Degrees::new(-122.5),
        latitude: Degrees::new(37.25),
        ..plain("1.2:1234", "relay-a.example")
    }
}

fn plain(id: &str, contact: &'static str) -> NodeInfo {
    NodeInfo::new(
        id.parse().unwrap(),
        NodeType::Edge,
        Bytes::from_static(contact.as_bytes()),
    )
}

/// Node `a` behind two others, the numbers of the second all different.
fn far_node() -> NodeInfo {
    let hop = |node: &str, srtt_us| PathItem {
        node: node.parse().unwrap(),
        srtt_us,
    };
    node_a()
        .via(hop("10:20", 1500))
        .via(hop("10:21", 0x0102_0304_0506_0708))
}

fn connect(mode: PeerMode, node: NodeInfo) -> Message {
    Message::Connect(Connect { mode, node })
}

/// What laps makes of a subscriber to `track`.
fn subscribe_info(sequence: u16, source: &str, track: FullTrackName) -> SubscribeInfo {
    SubscribeInfo {
        sequence: Sequence(sequence),
        source: source.parse().unwrap(),
        track: TrackHash::of(&track),
        data: subscribe_data(RequestId(4), track, None),
    }
}

fn subscribe_data(id: RequestId, track: FullTrackName, new_group: Option<u64>) -> Bytes {
    // The priority of the vectors that laps' classes wrote.
    let subscribe = laps_subscribe(track, 3, new_group);
    encode_subscribe_data(Dialect::Laps14, id, &subscribe).unwrap()
}

/// As seen on the wire: another request, another priority.
fn seen_info(source: &str) -> SubscribeInfo {
    let track = track(&["fake", "ns"], "t1");
    let subscribe = laps_subscribe(track.clone(), 0x80, None);
    SubscribeInfo {
        data: encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).unwrap(),
        ..subscribe_info(1, source, track)
    }
}

fn publish(source: &str, what: Published) -> PublishInfo {
    PublishInfo::new(source.parse().unwrap(), what)
}

fn set(id: u32, nodes: &[&str]) -> Message {
    let nodes = nodes.iter().map(|node| node.parse().unwrap());
    Message::NodeSetAdvertise(NodeSet::new(sns(id), NodeSet::PRIORITY, nodes))
}

/// What the messages of draft-14 relays mean.
fn expected() -> Vec<(&'static str, Message)> {
    const RELAY_A: &str = "47486.3824:14257.32649";
    const FAKE: &str = "1.2:3.4";
    let video = || track(&["moq", "example"], "video");
    let moq_example = || Published::Namespace(namespace(&["moq", "example"]));
    let info = |sequence, source| subscribe_info(sequence, source, video());
    let empty = SubscribeInfo {
        data: Bytes::new(),
        ..info(0, "1.2:1234")
    };
    let many_c = || NodeInfo {
        node_type: NodeType::Via,
        contact: vec![b'c'; 100].into(),
        ..node_a()
    };
    let stub = NodeInfo {
        node_type: NodeType::Stub,
        contact: Bytes::new(),
        ..node_a()
    };
    let own = PathItem {
        node: NodeId(0x1111),
        srtt_us: 0,
    };
    let refused = |code| Message::ConnectResponse(ConnectResponse::Refused(code));
    let accepted = |node| Message::ConnectResponse(ConnectResponse::Accepted(node));
    use Message::{NodeInfoAdvertise, NodeInfoWithdraw, NodeSetWithdraw, PublishInfoAdvertise};
    use Message::{PublishInfoWithdraw, SubscribeInfoAdvertise, SubscribeInfoWithdraw};
    vec![
        ("C1", connect(PeerMode::Both, node_a())),
        ("C2", connect(PeerMode::Both, plain(RELAY_A, "relay-a"))),
        ("C3", connect(PeerMode::Control, node_a())),
        ("C4", connect(PeerMode::Data, node_a())),
        ("C5", accepted(node_a())),
        ("C6", refused(ResponseCode::ConnectionError)),
        ("C7", refused(ResponseCode::NotAuthorized)),
        ("C8", NodeInfoAdvertise(node_a())),
        ("C9", NodeInfoAdvertise(far_node())),
        ("C10", NodeInfoWithdraw(far_node())),
        ("C11", NodeInfoAdvertise(many_c())),
        ("C12", NodeInfoAdvertise(stub)),
        ("C13", SubscribeInfoAdvertise(info(1, "1.2:1234"))),
        ("C14", SubscribeInfoAdvertise(info(1, "1.2:1234"))),
        ("C15", SubscribeInfoWithdraw(info(2, "1.2:1234"))),
        ("C16", SubscribeInfoAdvertise(empty)),
        ("C17", PublishInfoAdvertise(publish("1.2:1234", moq_example()))),
        ("C18", PublishInfoWithdraw(publish("1.2:1234", moq_example()))),
        (
            "C19",
            PublishInfoAdvertise(publish("1.2:1234", Published::Track(video()))),
        ),
        (
            "C20",
            PublishInfoWithdraw(publish("1.2:1234", Published::Track(video()))),
        ),
        ("C21", set(7, &["103.2:1", "100.2:1", "100.2:2"])),
        ("C22", NodeSetWithdraw(sns(7))),
        ("W1", connect(PeerMode::Both, plain(FAKE, "fakepeer"))),
        ("W2", accepted(plain(RELAY_A, "relay-a"))),
        ("W3", PublishInfoAdvertise(publish(RELAY_A, moq_example()))),
        (
            "W4",
            PublishInfoAdvertise(publish(FAKE, Published::Namespace(namespace(&["fake", "ns"])))),
        ),
        ("W5", SubscribeInfoAdvertise(info(1, FAKE))),
        ("W6", set(2, &[FAKE])),
        ("W7", SubscribeInfoWithdraw(info(2, FAKE))),
        ("W8", NodeSetWithdraw(sns(2))),
        ("W9", SubscribeInfoAdvertise(seen_info(RELAY_A))),
        ("W10", SubscribeInfoWithdraw(seen_info(RELAY_A))),
        ("W11", connect(PeerMode::Both, plain(RELAY_A, "relay-a"))),
        ("W12", set(1, &[RELAY_A])),
        ("W13", NodeInfoAdvertise(plain("0:4369", "n1"))),
        ("W14", NodeInfoAdvertise(plain("0:4369", "n1").via(own))),
    ]
}

fn decode(dialect: Dialect, bytes: &Bytes) -> Message {
    let mut reader = ControlReader::new(dialect, Limits::default());
    reader.push(bytes);
    let Some(Incoming::Message(message)) = reader.next().unwrap() else {
        panic!("no message in {bytes:?}");
    };
    assert_eq!(reader.buffered(), 0);
    message
}

fn both_ways(dialect: Dialect, id: &str, message: &Message) {
    let bytes = vector(id);
    assert_eq!(&decode(dialect, &bytes), message, "{id}");
    let mut out = BytesMut::new();
    message.encode(dialect, &mut out).unwrap();
    assert_eq!(out, bytes, "{id}");
}

/// Each message of draft-14 relays, both ways.
#[test]
fn messages_of_draft_14_relays() {
    let expected = expected();
    assert_eq!(expected.len(), of_kind("ctrl14").len());
    for (id, message) in expected {
        both_ways(Dialect::Laps14, id, &message);
    }
}

/// What draft-16 relays write otherwise, both ways; the rest is as from the others.
#[test]
fn messages_of_draft_16_relays() {
    let relay_a = "47486.3824:14257.32649";
    let video = Published::Track(track(&["moq", "example"], "video"));
    let moq_example = Published::Namespace(namespace(&["moq", "example"]));
    let mut seen = seen_info(relay_a);
    // The SUBSCRIBE of a draft that is not spoken: handed on as it is.
    seen.data = vector("W17").slice(7 + 38..);
    let expected = [
        ("W15", Message::PublishInfoAdvertise(publish(relay_a, video))),
        (
            "W16",
            Message::PublishInfoAdvertise(publish(relay_a, moq_example)),
        ),
        ("W17", Message::SubscribeInfoAdvertise(seen)),
    ];
    assert_eq!(expected.len(), of_kind("ctrl16").len());
    for (id, message) in expected {
        both_ways(Dialect::Laps16, id, &message);
    }
    for (id, message) in self::expected() {
        if !matches!(
            message,
            Message::PublishInfoAdvertise(_) | Message::PublishInfoWithdraw(_)
        ) {
            both_ways(Dialect::Laps16, id, &message);
        }
    }
}

/// A bare node info is what stands behind the header of NODE_INFO_ADV.
#[test]
fn node_info_alone() {
    assert_eq!(vector("C8").slice(7..), vector("I1"));
}

/// The body of a SUBSCRIBE, without type and length.
#[test]
fn subscribe_data_is_a_subscribe() {
    let video = track(&["moq", "example"], "video");
    for (id, new_group) in [("S1", None), ("S2", Some(1))] {
        let whole = vector(id);
        let body = whole.slice(3..);
        let subscribe = laps_subscribe(video.clone(), 3, new_group);
        assert_eq!(
            subscribe_data(RequestId(4), video.clone(), new_group),
            body,
            "{id}"
        );
        assert_eq!(
            parse_subscribe_data(Dialect::Laps14, &body),
            Ok((RequestId(4), subscribe.clone()))
        );
        let mut decoder = ControlDecoder::new(Codec::Draft14);
        decoder.push(whole);
        assert_eq!(
            decoder.next(),
            Ok(Some(ControlMessage::Subscribe(RequestId(4), subscribe)))
        );
        assert!(parse_subscribe_data(Dialect::Laps14, &body.slice(..20)).is_err());
        assert!(parse_subscribe_data(Dialect::Laps16, &body).is_err());
    }
    assert!(parse_subscribe_data(Dialect::Laps14, &Bytes::new()).is_err());
}

#[test]
fn data_headers() {
    let video = full(0x0f0d_3fd7_dd1d_ccfe);
    let datagram = DatagramHeader {
        sns: sns(0x12345),
        track: video,
    };
    assert_eq!(datagram.encode()[..], vector("D1")[..]);
    let with_payload: Bytes = [&vector("D1")[..], b"payload"].concat().into();
    let (header, payload) = DatagramHeader::split(with_payload).unwrap();
    assert_eq!((header, &payload[..]), (datagram, &b"payload"[..]));
    let stream = StreamHeader {
        sns: sns(0x12345),
        track: video,
        priority: 3,
        ttl_ms: 5000,
    };
    assert_eq!(stream.encode()[..], vector("D2")[..]);
    assert_eq!(
        StreamHeaderReader::new().read(&mut vector("D2")),
        Ok(Some(stream))
    );
    // A Via changes the id and nothing else.
    let next = stream.rewrite_sns_id(sns(2)).encode();
    assert_eq!(
        (&next[..2], &next[2..6], &next[6..]),
        (&vector("D2")[..2], &[0, 0, 0, 2][..], &vector("D2")[6..])
    );
    let next = datagram.rewrite_sns_id(sns(2)).encode();
    assert_eq!(
        (&next[..2], &next[2..6], &next[6..]),
        (&vector("D1")[..2], &[0, 0, 0, 2][..], &vector("D1")[6..])
    );
}

/// As seen on the wire: the head, and behind it a MOQT stream whose alias is the hash of the track.
#[test]
fn streams_begin_with_a_head() {
    for (id, expected, hash) in [
        ("U1", 2, TrackHash::of(&track(&["moq", "example"], "video"))),
        ("U2", 1, TrackHash::of(&track(&["fake", "ns"], "t1"))),
    ] {
        let mut bytes = vector(id);
        let whole = bytes.clone();
        let header = StreamHeaderReader::new().read(&mut bytes).unwrap().unwrap();
        assert_eq!(
            (header.sns, header.track, header.priority, header.ttl_ms),
            (sns(expected), hash.full, 0x80, 5000),
            "{id}"
        );
        assert_eq!(header.encode()[..], whole[..StreamHeader::LEN]);
        let mut stream = StreamReader::new(Codec::Draft14, DataLimits::default());
        stream.push(bytes);
        let Ok(Some(StreamItem::SubgroupHeader(subgroup))) = stream.next() else {
            panic!("{id} has no SUBGROUP_HEADER behind its head");
        };
        assert_eq!((subgroup.alias, subgroup.group), (hash.full.get(), 0), "{id}");
    }
}

/// No vector is left out: the tests of most kinds count the rows of theirs, and of the others each is named here.
#[test]
fn every_vector_is_used() {
    let counted = ["hash", "track", "node", "text", "ctrl14", "ctrl16"];
    let named = ["S1", "S2", "I1", "D1", "D2", "U1", "U2"];
    let table = table();
    let rows = include_str!("vectors/peering.txt").lines();
    let rows = rows.filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(rows.count(), table.len(), "two rows with one id");
    let others = table.iter().filter(|(_, (kind, _))| !counted.contains(kind));
    let others: Vec<_> = others.map(|(id, _)| *id).collect();
    for id in &others {
        assert!(named.contains(id), "no test has {id}");
    }
    assert_eq!(others.len(), named.len());
    // All that laps and others were seen to write: a row that is taken out is missed too.
    assert_eq!(table.len(), 98);
}
