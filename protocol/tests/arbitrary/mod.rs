//! Messages, streams and splits of bytes for property tests.

use bytes::Bytes;
use laps_protocol::moqt::error::CloseCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::moqt::object::*;
use laps_protocol::wire::varint;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

/// Numbers near every change of length, and any others.
pub(crate) fn number() -> BoxedStrategy<u64> {
    prop_oneof![
        0..=varint::MAX,
        0..200_u64,
        Just(63),
        Just(64),
        Just(16_383),
        Just(16_384),
        Just((1 << 30) - 1),
        Just(1 << 30),
        Just(varint::MAX - 1),
        Just(varint::MAX),
    ]
    .boxed()
}

fn id() -> impl Strategy<Value = RequestId> {
    number().prop_map(RequestId)
}

fn some_bytes(max: usize) -> BoxedStrategy<Bytes> {
    vec(any::<u8>(), 0..=max).prop_map(Bytes::from).boxed()
}

fn location() -> BoxedStrategy<Location> {
    (number(), number())
        .prop_map(|(group, object)| Location { group, object })
        .boxed()
}

fn namespace() -> BoxedStrategy<TrackNamespace> {
    vec(some_bytes(20), 1..=32)
        .prop_map(|fields| TrackNamespace::new(fields).unwrap())
        .boxed()
}

fn track() -> BoxedStrategy<FullTrackName> {
    (namespace(), some_bytes(100))
        .prop_map(|(namespace, name)| FullTrackName::new(namespace, name).unwrap())
        .boxed()
}

/// Values of AUTHORIZATION_TOKEN parameters that use a value.
fn tokens() -> BoxedStrategy<Vec<Bytes>> {
    vec(
        some_bytes(20).prop_map(|value| [&[3, 0], &value[..]].concat().into()),
        0..3,
    )
    .boxed()
}

fn unknown() -> BoxedStrategy<Vec<KeyValue>> {
    // Above every number that some message knows.
    let key = 0x12..varint::MAX / 2;
    let even = (key.clone(), number()).prop_map(|(key, number)| KeyValue {
        key: key * 2,
        value: Value::Number(number),
    });
    let odd = (key, some_bytes(40)).prop_map(|(key, bytes)| KeyValue {
        key: key * 2 + 1,
        value: Value::Bytes(bytes),
    });
    vec(prop_oneof![even, odd], 0..4).boxed()
}

/// Parameters of which those that a message may not have are left out.
fn params(timeout: bool, token: bool, cache: bool, new_group: bool) -> BoxedStrategy<MessageParams> {
    let numbers = (option::of(number()), option::of(number()), option::of(number()));
    (numbers, tokens(), unknown())
        .prop_map(move |(numbers, tokens, unknown)| MessageParams {
            delivery_timeout_ms: numbers.0.filter(|_| timeout),
            max_cache_duration_ms: numbers.1.filter(|_| cache),
            new_group_request: numbers.2.filter(|_| new_group),
            authorization_tokens: if token { tokens } else { Vec::new() },
            unknown,
        })
        .boxed()
}

fn setup_params() -> BoxedStrategy<SetupParams> {
    (
        option::of(some_bytes(20)),
        option::of(number()),
        option::of(number()),
        tokens(),
        option::of(some_bytes(20)),
        option::of(some_bytes(20)),
        unknown(),
    )
        .prop_map(
            |(path, requests, cache, authorization_tokens, authority, implementation, unknown)| SetupParams {
                path,
                max_request_id: requests,
                max_auth_token_cache_size: cache,
                authorization_tokens,
                authority,
                implementation,
                unknown,
            },
        )
        .boxed()
}

fn group_order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

fn order_request() -> impl Strategy<Value = GroupOrderRequest> {
    prop_oneof![
        Just(GroupOrderRequest::Publisher),
        group_order().prop_map(GroupOrderRequest::Fixed)
    ]
}

fn filter() -> BoxedStrategy<SubscribeFilter> {
    prop_oneof![
        Just(SubscribeFilter::NextGroupStart),
        Just(SubscribeFilter::LargestObject),
        location().prop_map(SubscribeFilter::AbsoluteStart),
        (location(), number())
            .prop_map(|(start, end_group)| SubscribeFilter::AbsoluteRange { start, end_group }),
    ]
    .boxed()
}

fn subscribe(new_group: bool) -> BoxedStrategy<Subscribe> {
    (
        track(),
        any::<u8>(),
        order_request(),
        any::<bool>(),
        filter(),
        params(true, true, false, new_group),
    )
        .prop_map(
            |(track, priority, group_order, forward, filter, params)| Subscribe {
                track,
                priority,
                group_order,
                forward,
                filter,
                params,
            },
        )
        .boxed()
}

fn subscribe_ok() -> BoxedStrategy<SubscribeOk> {
    (
        number(),
        number(),
        group_order(),
        option::of(location()),
        params(true, false, true, false),
    )
        .prop_map(|(alias, expires_ms, group_order, largest, params)| SubscribeOk {
            alias,
            expires_ms,
            group_order,
            largest,
            params,
        })
        .boxed()
}

fn update() -> BoxedStrategy<SubscribeUpdate> {
    (
        id(),
        location(),
        option::of(0..varint::MAX),
        any::<u8>(),
        any::<bool>(),
        params(true, true, false, true),
    )
        .prop_map(
            |(subscription, start, end_group, priority, forward, params)| SubscribeUpdate {
                subscription,
                start,
                end_group,
                priority,
                forward,
                params,
            },
        )
        .boxed()
}

fn publish() -> BoxedStrategy<Publish> {
    (
        track(),
        number(),
        group_order(),
        option::of(location()),
        any::<bool>(),
        params(true, true, true, false),
    )
        .prop_map(|(track, alias, group_order, largest, forward, params)| Publish {
            track,
            alias,
            group_order,
            largest,
            forward,
            params,
        })
        .boxed()
}

fn publish_ok() -> BoxedStrategy<PublishOk> {
    (
        any::<bool>(),
        any::<u8>(),
        group_order(),
        filter(),
        params(true, false, false, true),
    )
        .prop_map(|(forward, priority, group_order, filter, params)| PublishOk {
            forward,
            priority,
            group_order: Some(group_order),
            filter,
            params,
        })
        .boxed()
}

fn publish_done() -> BoxedStrategy<PublishDone> {
    let status = prop_oneof![
        Just(PublishDoneStatus::TrackEnded),
        Just(PublishDoneStatus::TooFarBehind),
        (8..=varint::MAX).prop_map(PublishDoneStatus::Unknown),
    ];
    (status, option::of(0..varint::MAX), some_bytes(1024))
        .prop_map(|(status, stream_count, phrase)| PublishDone {
            status,
            stream_count,
            phrase,
        })
        .boxed()
}

fn fetch() -> BoxedStrategy<Fetch> {
    let range = prop_oneof![
        (track(), location(), location()).prop_map(|(track, start, end)| FetchRange::Standalone {
            track,
            start,
            end
        }),
        (id(), number())
            .prop_map(|(subscription, groups)| FetchRange::RelativeJoining { subscription, groups }),
        (id(), number())
            .prop_map(|(subscription, group)| FetchRange::AbsoluteJoining { subscription, group }),
    ];
    (
        any::<u8>(),
        order_request(),
        range,
        params(false, true, false, false),
    )
        .prop_map(|(priority, group_order, range, params)| Fetch {
            priority,
            group_order,
            range,
            params,
        })
        .boxed()
}

fn fetch_ok() -> BoxedStrategy<FetchOk> {
    (
        group_order(),
        any::<bool>(),
        location(),
        params(false, false, true, false),
    )
        .prop_map(|(group_order, end_of_track, end, params)| FetchOk {
            group_order,
            end_of_track,
            end,
            params,
        })
        .boxed()
}

fn namespace_request() -> BoxedStrategy<NamespaceRequest> {
    (namespace(), params(false, true, false, false))
        .prop_map(|(namespace, params)| NamespaceRequest { namespace, params })
        .boxed()
}

fn error() -> BoxedStrategy<RequestError> {
    let reason = prop_oneof![
        Just(RequestErrorReason::InternalError),
        Just(RequestErrorReason::Unauthorized),
        Just(RequestErrorReason::Timeout),
        Just(RequestErrorReason::NotSupported),
        (0x13..=varint::MAX).prop_map(RequestErrorReason::Unknown),
    ];
    (reason, some_bytes(1024))
        .prop_map(|(reason, phrase)| RequestError { reason, phrase })
        .boxed()
}

fn request_kind() -> impl Strategy<Value = RequestKind> {
    prop_oneof![
        Just(RequestKind::Subscribe),
        Just(RequestKind::Publish),
        Just(RequestKind::Fetch),
        Just(RequestKind::TrackStatus),
        Just(RequestKind::PublishNamespace),
        Just(RequestKind::SubscribeNamespace),
    ]
}

/// A message made of one body.
fn of<T: std::fmt::Debug + 'static>(
    body: impl Strategy<Value = T> + 'static,
    make: impl Fn(T) -> ControlMessage + 'static,
) -> BoxedStrategy<ControlMessage> {
    body.prop_map(make).boxed()
}

/// A message made of a request id and a body.
fn with_id<T: std::fmt::Debug + 'static>(
    body: impl Strategy<Value = T> + 'static,
    make: impl Fn(RequestId, T) -> ControlMessage + 'static,
) -> BoxedStrategy<ControlMessage> {
    (id(), body).prop_map(move |(id, body)| make(id, body)).boxed()
}

/// Any control message that draft 14 can say.
pub(crate) fn message() -> impl Strategy<Value = ControlMessage> {
    use ControlMessage as M;
    Union::new([
        of((vec(number(), 0..5), setup_params()), |(versions, params)| {
            M::ClientSetup(ClientSetup { versions, params })
        }),
        of((number(), setup_params()), |(version, params)| {
            M::ServerSetup(ServerSetup { version, params })
        }),
        of(some_bytes(8192), M::Goaway),
        of(number(), M::MaxRequestId),
        of(number(), M::RequestsBlocked),
        of(id(), M::Unsubscribe),
        of(id(), M::FetchCancel),
        of(id(), M::PublishNamespaceOk),
        of(id(), M::SubscribeNamespaceOk),
        of(namespace(), |namespace| {
            M::PublishNamespaceDone(Namespace { namespace })
        }),
        of(namespace(), |namespace| {
            M::UnsubscribeNamespace(Namespace { namespace })
        }),
        of((namespace(), error()), |(namespace, error)| {
            M::PublishNamespaceCancel(NamespaceCancel {
                namespace,
                reason: error.reason,
                phrase: error.phrase,
            })
        }),
        with_id((request_kind(), error()), |id, (kind, error)| {
            M::RequestError(id, kind, error)
        }),
        with_id(subscribe(true), M::Subscribe),
        with_id(subscribe_ok(), M::SubscribeOk),
        with_id(update(), M::SubscribeUpdate),
        with_id(subscribe(false), M::TrackStatus),
        with_id(subscribe_ok(), M::TrackStatusOk),
        with_id(publish(), M::Publish),
        with_id(publish_ok(), M::PublishOk),
        with_id(publish_done(), M::PublishDone),
        with_id(fetch(), M::Fetch),
        with_id(fetch_ok(), M::FetchOk),
        with_id(namespace_request(), M::PublishNamespace),
        with_id(namespace_request(), M::SubscribeNamespace),
    ])
}

/// Whole key-value pairs, as bytes.
fn extensions() -> BoxedStrategy<Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        vec(
            prop::sample::select(vec![&[4, 9][..], &[11, 2, 4, 9], &[61, 0]]),
            0..6
        )
        .prop_map(|pairs| pairs.concat().into()),
        some_bytes(300).prop_map(|bytes| {
            let mut out = bytes::BytesMut::new();
            laps_protocol::wire::kvp::write_bytes(0x4d, &bytes, &mut out).unwrap();
            out.freeze()
        }),
    ]
    .boxed()
}

/// Status, extensions and payload that go together.
fn content() -> BoxedStrategy<(ObjectStatus, Bytes, Bytes)> {
    prop_oneof![
        (Just(ObjectStatus::Normal), extensions(), some_bytes(400)),
        (
            Just(ObjectStatus::DoesNotExist),
            Just(Bytes::new()),
            Just(Bytes::new())
        ),
        (Just(ObjectStatus::EndOfGroup), extensions(), Just(Bytes::new())),
        (Just(ObjectStatus::EndOfTrack), extensions(), Just(Bytes::new())),
    ]
    .boxed()
}

/// A subgroup header and its objects with rising ids.
pub(crate) fn subgroup() -> impl Strategy<Value = (SubgroupHeader, Vec<(ObjectHeader, Bytes)>)> {
    let subgroup = prop_oneof![
        Just(SubgroupIdMode::Zero),
        Just(SubgroupIdMode::FirstObject),
        number().prop_map(SubgroupIdMode::Explicit)
    ];
    let header = (
        number(),
        number(),
        subgroup,
        any::<u8>(),
        any::<bool>(),
        any::<bool>(),
    );
    let objects = vec((0..1_u64 << 50, content()), 0..6);
    (header, objects).prop_map(
        |((alias, group, subgroup, priority, has_extensions, end_of_group), objects)| {
            let header = SubgroupHeader {
                alias,
                group,
                subgroup,
                priority,
                has_extensions,
                end_of_group,
            };
            let mut next = 0;
            let objects = objects.into_iter().map(|(gap, (status, extensions, payload))| {
                let id = next + gap;
                next = id + 1;
                let header = ObjectHeader {
                    id,
                    status,
                    extensions: if has_extensions { extensions } else { Bytes::new() },
                    payload_len: payload.len() as u64,
                };
                (header, payload)
            });
            (header, objects.collect())
        },
    )
}

/// Objects of a fetch stream with their payloads.
pub(crate) fn fetch_objects() -> impl Strategy<Value = Vec<(FetchObjectHeader, Bytes)>> {
    let object = (location(), number(), any::<u8>(), content()).prop_map(
        |(location, subgroup, priority, (status, extensions, payload))| {
            let header = FetchObjectHeader {
                location,
                subgroup,
                priority,
                status,
                extensions,
                payload_len: payload.len() as u64,
            };
            (header, payload)
        },
    );
    vec(object, 0..6)
}

/// A datagram that one of the types can say.
pub(crate) fn datagram() -> BoxedStrategy<DatagramObject> {
    (number(), location(), any::<u8>(), content(), any::<bool>())
        .prop_map(
            |(alias, location, priority, (status, extensions, payload), end_of_group)| DatagramObject {
                alias,
                location,
                priority,
                extensions,
                end_of_group: end_of_group && status == ObjectStatus::Normal,
                status,
                payload,
            },
        )
        .boxed()
}

/// `bytes` cut at places that `cuts` choose.
pub(crate) fn split(mut bytes: Bytes, cuts: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let len = cut % (bytes.len() + 1);
        pieces.push(bytes.split_to(len));
    }
    pieces.push(bytes);
    pieces
}

/// How long the pieces are: often one byte, sometimes many, also none.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(0..4_usize, 0..200),
        vec(any::<u16>().prop_map(usize::from), 0..6)
    ]
}

/// The codes that a decoder may end a session with.
pub(crate) fn is_decoder_code(code: CloseCode) -> bool {
    matches!(code, CloseCode::ProtocolViolation | CloseCode::KeyValueFormatting)
}
