//! What holds for any peering message, any data header, any split of the bytes, and any bytes at all.
#![expect(
    clippy::unwrap_used,
    reason = "a test file: the helpers beside the tests fail them"
)]

use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    FetchOk, GroupOrder, GroupOrderRequest, MessageParams, PublishDone, PublishDoneStatus, RequestError,
    RequestErrorReason, RequestId, SubscribeOk,
};
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::error::{DecodeError, ErrorCode};
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::info_base::{Digest, NodeMessage, OwnMessage};
use laps_protocol::peering::limits::Limits;
use laps_protocol::peering::message::*;
use laps_protocol::peering::node::{Degrees, NodeId, NodeInfo, NodeType, PathItem};
use laps_protocol::peering::reader::{ControlReader, Incoming};
use laps_protocol::wire::varint;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;

fn some_bytes(max: usize) -> BoxedStrategy<Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from).boxed()
}

fn node_id() -> BoxedStrategy<NodeId> {
    prop_oneof![any::<u64>(), 0..9_u64].prop_map(NodeId).boxed()
}

fn full_hash() -> BoxedStrategy<FullNameHash> {
    let number = prop_oneof![0..=varint::MAX, Just(0), Just(varint::MAX)];
    number.prop_map(|hash| FullNameHash::new(hash).unwrap()).boxed()
}

fn sns() -> BoxedStrategy<SnsId> {
    let number = prop_oneof![1..=u32::MAX, Just(1), Just(u32::MAX)];
    number.prop_map(|id| SnsId::new(id).unwrap()).boxed()
}

fn node() -> BoxedStrategy<NodeInfo> {
    let item = (node_id(), any::<u64>()).prop_map(|(node, srtt_us)| PathItem { node, srtt_us });
    let place = (any::<u64>(), any::<u64>());
    let known = (node_id(), select(NodeType::ALL), some_bytes(80));
    (known, place, vec(item, 0..9))
        .prop_map(
            |((id, node_type, contact), (longitude, latitude), path)| NodeInfo {
                longitude: Degrees::new(f64::from_bits(longitude)),
                latitude: Degrees::new(f64::from_bits(latitude)),
                path,
                ..NodeInfo::new(id, node_type, contact)
            },
        )
        .boxed()
}

fn track() -> BoxedStrategy<FullTrackName> {
    (namespace(), vec(any::<u8>(), 1..50))
        .prop_map(|(namespace, name)| FullTrackName::new(namespace, name.into()).unwrap())
        .boxed()
}

fn namespace() -> BoxedStrategy<TrackNamespace> {
    let fields = vec(some_bytes(20), 1..=32);
    fields
        .prop_map(|fields| TrackNamespace::new(fields).unwrap())
        .boxed()
}

fn subscribe_info() -> BoxedStrategy<SubscribeInfo> {
    let hash = (any::<u64>(), any::<u64>(), full_hash());
    (any::<u16>(), node_id(), hash, some_bytes(80))
        .prop_map(
            |(sequence, source, (namespace, name, full), data)| SubscribeInfo {
                sequence: Sequence(sequence),
                source,
                track: TrackHash {
                    namespace,
                    name,
                    full,
                },
                data,
            },
        )
        .boxed()
}

fn publish_info() -> BoxedStrategy<PublishInfo> {
    let what = prop_oneof![
        namespace().prop_map(Published::Namespace),
        track().prop_map(Published::Track)
    ];
    (node_id(), full_hash(), what)
        .prop_map(|(source, hash, what)| PublishInfo { source, hash, what })
        .boxed()
}

/// What can be asked in every dialect.
fn laps_modes() -> Vec<PeerMode> {
    let modes = PeerMode::ALL.iter().copied();
    modes.filter(|mode| mode.is_known_to(Dialect::Laps14)).collect()
}

fn message() -> BoxedStrategy<Message> {
    let code = [
        ResponseCode::ConnectionError,
        ResponseCode::NotAuthorized,
        ResponseCode::ModeNotAllowed,
    ];
    prop_oneof![
        (select(laps_modes()), node()).prop_map(|(mode, node)| Message::Connect(Connect { mode, node })),
        node().prop_map(|node| Message::ConnectResponse(ConnectResponse::Accepted(node))),
        select(code.to_vec()).prop_map(|code| Message::ConnectResponse(ConnectResponse::Refused(code))),
        node().prop_map(Message::NodeInfoAdvertise),
        node().prop_map(Message::NodeInfoWithdraw),
        subscribe_info().prop_map(Message::SubscribeInfoAdvertise),
        subscribe_info().prop_map(Message::SubscribeInfoWithdraw),
        publish_info().prop_map(Message::PublishInfoAdvertise),
        publish_info().prop_map(Message::PublishInfoWithdraw),
        (
            sns(),
            any::<u8>(),
            vec((node_id(), prop_oneof![3 => Just(128), 1 => any::<u8>()]), 0..40),
            prop::option::of(node_id())
        )
            .prop_map(|(id, priority, nodes, origin)| {
                let mut set = NodeSet::urgent(id, nodes).from_origin(origin);
                set.priority = priority;
                Message::NodeSetAdvertise(set)
            }),
        sns().prop_map(Message::NodeSetWithdraw),
    ]
    .boxed()
}

fn dialect() -> BoxedStrategy<Dialect> {
    prop_oneof![Just(Dialect::Laps14), Just(Dialect::Laps16), Just(Dialect::Own)].boxed()
}

/// As relays of this dialect say it.
fn said(dialect: Dialect, message: Message) -> Message {
    if dialect == Dialect::Own {
        message.stamped(Stamp {
            epoch: 7,
            sequence: Sequence(u16::MAX),
        })
    } else if let Message::NodeSetAdvertise(set) = message {
        let plain = NodeSet::new(set.id, set.priority, set.nodes().iter().copied());
        Message::NodeSetAdvertise(plain)
    } else {
        message
    }
}

/// What only relays of ours say.
fn own_message() -> BoxedStrategy<Message> {
    let digest = || (any::<u32>(), any::<u64>()).prop_map(|(count, sum)| Digest { count, sum });
    let relayed = (node_id(), node_id(), any::<(u8, u8, u64)>(), some_bytes(80));
    let summary = (node_id(), any::<(u64, u32)>(), digest());
    let infos = prop_oneof![
        (node_id(), digest(), any::<(bool, u8)>()).prop_map(|(from, have, (fresh, number))| {
            NodeMessage::Pull {
                from,
                number,
                have,
                fresh,
            }
        }),
        (node_id(), subscribe_info(), any::<(u64, u8)>()).prop_map(|(from, info, (epoch, number))| {
            NodeMessage::Info {
                from,
                number,
                stamp: Stamp {
                    epoch,
                    sequence: info.sequence,
                },
                message: Message::SubscribeInfoAdvertise(info),
            }
        }),
        (node_id(), any::<(u32, bool, u8)>(), digest()).prop_map(|(from, (sent, whole, number), digest)| {
            NodeMessage::PullEnd {
                from,
                number,
                sent,
                digest,
                whole,
            }
        }),
    ];
    prop_oneof![
        relayed.prop_map(
            |(target, source, (hop_limit, kind, request_id), body)| Message::Relayed(Relayed {
                target,
                source,
                hop_limit,
                kind,
                request_id,
                body,
            })
        ),
        (node_id(), infos).prop_map(|(target, infos)| {
            let relayed = Relayed::of_infos(target, &infos).unwrap();
            assert_eq!(relayed.infos(&Limits::default()), Ok(Some(infos)));
            Message::Relayed(relayed)
        }),
        summary.prop_map(
            |(source, (epoch, serial), digest)| Message::Own(OwnMessage::Summary {
                source,
                epoch,
                serial,
                digest,
            })
        ),
        namespace().prop_map(|prefix| Message::Own(OwnMessage::Watch(prefix))),
        namespace().prop_map(|prefix| Message::Own(OwnMessage::Unwatch(prefix))),
        Just(Message::Own(OwnMessage::Leaving)),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
    ]
    .boxed()
}

/// Bytes of a message of a type that does not exist.
fn unknown() -> BoxedStrategy<(Incoming, Bytes)> {
    (prop_oneof![Just(0_u16), 12..0xf000_u16], some_bytes(60))
        .prop_map(|(message_type, body)| {
            let length = u32::try_from(body.len()).unwrap();
            let mut out = BytesMut::new();
            out.put_u8(1);
            out.put_u16(message_type);
            out.put_u32(length);
            out.put_slice(&body);
            (Incoming::Unknown { message_type, length }, out.freeze())
        })
        .boxed()
}

fn encode(dialect: Dialect, messages: &[Message]) -> Bytes {
    let mut out = BytesMut::new();
    for message in messages {
        said(dialect, message.clone()).encode(dialect, &mut out).unwrap();
    }
    out.freeze()
}

/// `bytes` in pieces that end at these shares of it.
fn split(bytes: &Bytes, cuts: &[u16]) -> Vec<Bytes> {
    let mut ends: Vec<usize> = cuts
        .iter()
        .map(|cut| usize::from(*cut) * bytes.len() / usize::from(u16::MAX))
        .collect();
    ends.sort_unstable();
    let mut rest = bytes.clone();
    let mut at = 0;
    let mut pieces: Vec<Bytes> = ends
        .into_iter()
        .map(|end| rest.split_to(end - std::mem::replace(&mut at, end)))
        .collect();
    pieces.push(rest);
    pieces
}

/// Everything that comes out of these pieces, and the error that ends it.
fn decode(dialect: Dialect, limits: Limits, pieces: &[Bytes]) -> (Vec<Incoming>, Option<DecodeError>) {
    let mut reader = ControlReader::new(dialect, limits);
    let mut found = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(incoming)) => found.push(incoming),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!((reader.next(), reader.buffered()), (Err(error.clone()), 0));
                    return (found, Some(error));
                }
            }
        }
        assert!(reader.buffered() < HEADER_BYTES + limits.max_message_bytes as usize);
    }
    (found, None)
}

fn check_code(error: &DecodeError) -> Result<(), TestCaseError> {
    prop_assert!(matches!(
        error.code,
        ErrorCode::InvalidEncoding | ErrorCode::InvalidMessageType
    ));
    Ok(())
}

/// The head that these pieces begin with, and what is left behind it.
fn read_head(pieces: &[Bytes]) -> Result<Option<(StreamHeader, Bytes)>, DecodeError> {
    let mut reader = StreamHeaderReader::new();
    let mut pieces = pieces.iter().cloned();
    while let Some(mut piece) = pieces.next() {
        if let Some(head) = reader.read(&mut piece)? {
            let rest: Vec<Bytes> = std::iter::once(piece).chain(pieces).collect();
            return Ok(Some((head, rest.concat().into())));
        }
        assert!(piece.is_empty());
    }
    Ok(None)
}

proptest! {
    #[test]
    fn messages_come_back(message in message(), dialect in dialect()) {
        let bytes = encode(dialect, std::slice::from_ref(&message));
        let decoded = decode(dialect, Limits::default(), &[bytes]);
        prop_assert_eq!(decoded, (vec![Incoming::Message(said(dialect, message))], None));
    }

    /// Decision 0029. Whatever is read as an answer is written so that it is read as the same.
    #[test]
    fn answers_come_back(
        (hash, id, kind) in (full_hash(), 0..=varint::MAX, 0..3_u8),
        (number, phrase) in (0..=varint::MAX, some_bytes(60)),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let answer = match kind {
            0 => Answer::Ok(SubscribeOk {
                alias: hash.get(),
                expires_ms: number,
                group_order: GroupOrder::Ascending,
                largest: (number > 9).then(|| Location::new(number, 9)),
                params: MessageParams {
                    delivery_timeout_ms: (number % 2 == 1).then_some(number),
                    ..MessageParams::default()
                },
            }),
            1 => Answer::Error(RequestError { reason: RequestErrorReason::Timeout, phrase }),
            _ => Answer::Done(PublishDone {
                status: PublishDoneStatus::TrackEnded,
                stream_count: (number % 2 == 0).then_some(number),
                phrase,
            }),
        };
        let said = TrackAnswer { track: hash, request: RequestId(id), answer };
        let body = said.encode().unwrap();
        prop_assert_eq!(TrackAnswer::decode(id, &body), Ok(said.clone()));
        let mut bent = body.to_vec();
        bent[at.index(body.len())] ^= 1 << bit;
        if let Ok(read) = TrackAnswer::decode(id, &bent.into()) {
            prop_assert_eq!(TrackAnswer::decode(id, &read.encode().unwrap()), Ok(read));
        }
    }

    /// Decision 0029. The same for what two nodes say of a FETCH.
    #[test]
    fn steps_of_a_fetch_come_back(
        (track, id, kind) in (track(), 0..=varint::MAX, 0..4_u8),
        (group, object, phrase) in (0..=varint::MAX, 0..=varint::MAX, some_bytes(60)),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let step = match kind {
            0 => FetchStep::Fetch(PlainFetch {
                track,
                start: Location::new(group / 2, object),
                end: Location::new(group, object),
                priority: 9,
                group_order: GroupOrderRequest::Publisher,
            }),
            1 => FetchStep::Ok(FetchOk {
                group_order: GroupOrder::Descending,
                end_of_track: group % 2 == 1,
                end: Location::new(group, object),
                params: MessageParams::default(),
            }),
            2 => FetchStep::Error(RequestError { reason: RequestErrorReason::Timeout, phrase }),
            _ => FetchStep::Cancel,
        };
        let decode = |body: &Bytes| FetchMessage::decode(id, body, &Limits::default());
        let said = FetchMessage { request: RequestId(id), step };
        let body = said.encode().unwrap();
        prop_assert_eq!(decode(&body), Ok(said.clone()));
        let mut bent = body.to_vec();
        bent[at.index(body.len())] ^= 1 << bit;
        if let Ok(read) = decode(&bent.into()) {
            prop_assert_eq!(decode(&read.encode().unwrap()), Ok(read));
        }
    }

    /// Decision 0029. A laps relay is never told.
    #[test]
    fn messages_between_relays_of_ours_come_back(message in own_message(), cuts in vec(any::<u16>(), 0..9)) {
        let bytes = encode(Dialect::Own, std::slice::from_ref(&message));
        let decoded = decode(Dialect::Own, Limits::default(), &split(&bytes, &cuts));
        prop_assert_eq!(decoded, (vec![Incoming::Message(message.clone())], None));
        let mut out = BytesMut::new();
        prop_assert!(message.encode(Dialect::Laps14, &mut out).is_err() && out.is_empty());
        let (found, error) = decode(Dialect::Laps14, Limits::default(), &[bytes]);
        let passed_over = matches!(found[..], [Incoming::Unknown { .. }]) && error.is_none();
        prop_assert!(passed_over);
    }

    #[test]
    fn a_message_that_is_not_whole_is_waited_for(
        message in message(),
        dialect in dialect(),
        keep in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(dialect, &[message]);
        let short = bytes.slice(..keep.index(bytes.len()));
        prop_assert_eq!(decode(dialect, Limits::default(), &[short]), (vec![], None));
    }

    /// Where the header says that this is all, an early end is a fault, and never another message.
    #[test]
    fn a_body_that_is_not_whole_is_refused(
        message in message(),
        dialect in dialect(),
        keep in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(dialect, std::slice::from_ref(&message));
        let len = keep.index(bytes.len() - HEADER_BYTES);
        let mut short = bytes[..HEADER_BYTES + len].to_vec();
        short[3..HEADER_BYTES].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        match decode(dialect, Limits::default(), &[short.into()]) {
            (found, Some(error)) => {
                prop_assert!(found.is_empty());
                check_code(&error)?;
            }
            // A node path has no length of its own.
            (found, None) => {
                prop_assert_eq!(found.len(), 1);
                prop_assert!((bytes.len() - HEADER_BYTES - len).is_multiple_of(16));
            }
        }
    }

    /// However the bytes are cut, whatever follows them, and also when some of them are wrong.
    #[test]
    fn control_does_not_depend_on_the_split(
        messages in vec(message(), 0..4),
        unknown in unknown(),
        dialects in (dialect(), dialect()),
        changes in prop_oneof![Just(Vec::new()), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)],
        tail in vec(any::<u8>(), 0..20),
        cuts in vec(any::<u16>(), 0..9),
        max in prop_oneof![Just(256 * 1024_u32), 0..200_u32],
    ) {
        let mut bytes = [&encode(dialects.0, &messages)[..], &unknown.1, &tail].concat();
        for (at, value) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
        }
        let bytes = Bytes::from(bytes);
        let limits = Limits::default().with_max_message_bytes(max);
        let whole = decode(dialects.1, limits, std::slice::from_ref(&bytes));
        prop_assert_eq!(decode(dialects.1, limits, &split(&bytes, &cuts)), whole);
    }

    #[test]
    fn unknown_messages_are_passed_over(
        before in message(),
        unknown in unknown(),
        after in message(),
        dialect in dialect(),
    ) {
        let bytes = [encode(dialect, std::slice::from_ref(&before)), unknown.1, encode(dialect, std::slice::from_ref(&after))];
        let expected = vec![
            Incoming::Message(said(dialect, before)),
            unknown.0,
            Incoming::Message(said(dialect, after)),
        ];
        prop_assert_eq!(decode(dialect, Limits::default(), &[bytes.concat().into()]), (expected, None));
    }

    #[test]
    fn stream_heads_come_back(
        (sns, track, priority, ttl_ms) in (sns(), full_hash(), any::<u8>(), any::<u32>()),
        payload in some_bytes(30),
        cuts in vec(any::<u16>(), 0..9),
    ) {
        let head = StreamHeader { sns, track, priority, ttl_ms };
        let bytes: Bytes = [&head.encode()[..], &payload].concat().into();
        prop_assert_eq!(read_head(&split(&bytes, &cuts)), Ok(Some((head, payload))));
        for len in 0..StreamHeader::LEN {
            prop_assert_eq!(read_head(&[bytes.slice(..len)]), Ok(None));
        }
    }

    #[test]
    fn datagram_heads_come_back((sns, track) in (sns(), full_hash()), payload in some_bytes(30)) {
        let head = DatagramHeader { sns, track };
        let bytes: Bytes = [&head.encode()[..], &payload].concat().into();
        prop_assert_eq!(DatagramHeader::split(bytes.clone()), Ok((head, payload)));
        for len in 0..DatagramHeader::LEN {
            prop_assert!(DatagramHeader::split(bytes.slice(..len)).is_err());
        }
    }

    /// The data of a subscribe info, for what draft 14 can say.
    #[test]
    fn subscribe_data_comes_back(
        track in track(),
        id in 0..=varint::MAX,
        priority in any::<u8>(),
        new_group in prop::option::of(0..=varint::MAX),
    ) {
        let subscribe = laps_subscribe(track, priority, new_group);
        let data = encode_subscribe_data(Dialect::Laps14, RequestId(id), &subscribe).unwrap();
        let parsed = parse_subscribe_data(Dialect::Laps14, &data);
        prop_assert_eq!(parsed, Ok((RequestId(id), subscribe)));
        for len in 0..data.len() {
            prop_assert!(parse_subscribe_data(Dialect::Laps14, &data.slice(..len)).is_err());
        }
    }

    /// Nothing panics, a refusal has a code that fits, and what is taken can be written again so that it is read as the
    /// same.
    #[test]
    fn random_bytes_are_survived(
        bytes in vec(any::<u8>(), 0..300),
        message_type in prop_oneof![0..13_u16, 0xf000..0xf007_u16],
        head_type in 0..4_u8,
        dialect in dialect(),
    ) {
        let mut framed = vec![1];
        framed.put_u16(message_type);
        framed.put_u32(u32::try_from(bytes.len()).unwrap());
        framed.put_slice(&bytes);
        for input in [framed.into(), Bytes::from(bytes.clone())] {
            let (found, error) = decode(dialect, Limits::default(), &[input]);
            if let Some(error) = error {
                check_code(&error)?;
            }
            for incoming in found {
                if let Incoming::Message(message) = &incoming {
                    let unsayable = matches!(
                        message.clone().unstamped().0,
                        Message::ConnectResponse(ConnectResponse::Refused(ResponseCode::Unknown(_)))
                    );
                    let mut out = BytesMut::new();
                    prop_assert_eq!(message.encode(dialect, &mut out).is_err(), unsayable);
                    if !unsayable {
                        let again = decode(dialect, Limits::default(), &[out.freeze()]);
                        prop_assert_eq!(again, (vec![incoming], None));
                    }
                }
            }
        }
        parse_subscribe_data(dialect, &bytes.clone().into()).ok();
        for (len, bytes) in [(19, &bytes), (14, &bytes), (0, &bytes)] {
            let headed: Bytes = [&[len, head_type], &bytes[..]].concat().into();
            for input in [headed, Bytes::from(bytes.clone())] {
                if let Err(error) = read_head(std::slice::from_ref(&input)) {
                    prop_assert_eq!(error.code, ErrorCode::InvalidStartOfStream);
                }
                if let Err(error) = DatagramHeader::split(input) {
                    prop_assert_eq!(error.code, ErrorCode::InvalidStartOfStream);
                }
            }
        }
    }
}
