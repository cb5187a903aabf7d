//! V14-C1 to V14-C46: what each control message means.

use bytes::Bytes;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

const DRAFT_13: u64 = 0xff00_000d;
const DRAFT_14: u64 = 0xff00_000e;

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn namespace(fields: &[&'static str]) -> TrackNamespace {
    TrackNamespace::new(fields.iter().copied().map(text)).unwrap()
}

fn cam1() -> TrackNamespace {
    namespace(&["live", "cam1"])
}

fn video() -> FullTrackName {
    FullTrackName::new(cam1(), text("video")).unwrap()
}

fn none() -> MessageParams {
    MessageParams::default()
}

fn max_requests(maximum: u64) -> SetupParams {
    SetupParams {
        max_request_id: Some(maximum),
        ..SetupParams::default()
    }
}

fn client(versions: &[u64], params: SetupParams) -> ControlMessage {
    let versions = versions.to_vec();
    ControlMessage::ClientSetup(ClientSetup { versions, params })
}

fn server(params: SetupParams) -> ControlMessage {
    let version = DRAFT_14;
    ControlMessage::ServerSetup(ServerSetup { version, params })
}

/// SUBSCRIBE to ("live", "cam1") "video" with priority 128.
fn subscribe(group_order: GroupOrderRequest, forward: bool, filter: SubscribeFilter) -> Subscribe {
    Subscribe {
        track: video(),
        priority: 128,
        group_order,
        forward,
        filter,
        params: none(),
    }
}

fn error(id: u64, kind: RequestKind, reason: RequestErrorReason, phrase: &'static str) -> ControlMessage {
    ControlMessage::RequestError(RequestId(id), kind, RequestError::new(reason, phrase))
}

fn cached(duration_ms: u64) -> MessageParams {
    MessageParams {
        max_cache_duration_ms: Some(duration_ms),
        ..none()
    }
}

fn timeout(timeout_ms: u64) -> MessageParams {
    MessageParams {
        delivery_timeout_ms: Some(timeout_ms),
        ..none()
    }
}

/// Every control vector with its meaning.
pub(crate) fn expected() -> Vec<(&'static str, ControlMessage)> {
    use GroupOrder::{Ascending, Descending};
    use GroupOrderRequest::{Fixed, Publisher};
    vec![
        // D14-MSG-1.
        ("V14-C1", client(&[DRAFT_14], max_requests(100))),
        (
            "V14-C2",
            client(
                &[DRAFT_13],
                SetupParams {
                    path: Some(text("testpath")),
                    ..SetupParams::default()
                },
            ),
        ),
        (
            // D14-SETUP-21: 5 is AUTHORITY, 7 is the implementation.
            "V14-C3",
            client(
                &[DRAFT_13, DRAFT_14],
                SetupParams {
                    path: Some(text("/moq")),
                    authority: Some(text("example.com")),
                    implementation: Some(text("laps2")),
                    ..max_requests(1000)
                },
            ),
        ),
        // D14-MSG-2.
        ("V14-C4", server(max_requests(1000))),
        (
            "V14-C5",
            server(SetupParams {
                max_auth_token_cache_size: Some(4096),
                ..max_requests(100)
            }),
        ),
        (
            "V14-C6",
            client(
                &[DRAFT_14],
                SetupParams {
                    authorization_tokens: vec![text("\x01\x01\x00tok")],
                    ..max_requests(100)
                },
            ),
        ),
        // D14-MSG-3.
        ("V14-C7", ControlMessage::Goaway(Bytes::new())),
        ("V14-C8", ControlMessage::Goaway(text("moqt://relay2.example"))),
        // D14-MSG-4.
        ("V14-C9", ControlMessage::MaxRequestId(256)),
        // D14-MSG-5.
        ("V14-C10", ControlMessage::RequestsBlocked(100)),
        (
            // D14-MSG-6.
            "V14-C11",
            ControlMessage::Subscribe(
                RequestId(0),
                subscribe(Publisher, true, SubscribeFilter::LargestObject),
            ),
        ),
        (
            // D14-PARAM-3, D14-PARAM-4.
            "V14-C12",
            ControlMessage::Subscribe(
                RequestId(2),
                Subscribe {
                    priority: 64,
                    params: MessageParams {
                        authorization_tokens: vec![text("\x03\x00tok")],
                        ..timeout(500)
                    },
                    ..subscribe(Fixed(Ascending), true, SubscribeFilter::NextGroupStart)
                },
            ),
        ),
        (
            "V14-C13",
            ControlMessage::Subscribe(
                RequestId(4),
                subscribe(
                    Fixed(Descending),
                    true,
                    SubscribeFilter::AbsoluteStart(Location::new(5, 0)),
                ),
            ),
        ),
        (
            // D14-VAL-10: the end group as it is.
            "V14-C14",
            ControlMessage::Subscribe(
                RequestId(6),
                subscribe(
                    Publisher,
                    false,
                    SubscribeFilter::AbsoluteRange {
                        start: Location::new(5, 2),
                        end_group: 9,
                    },
                ),
            ),
        ),
        (
            // D14-MSG-7.
            "V14-C15",
            ControlMessage::SubscribeOk(
                RequestId(0),
                SubscribeOk {
                    alias: 1,
                    expires_ms: 0,
                    group_order: Ascending,
                    largest: None,
                    params: none(),
                },
            ),
        ),
        (
            // D14-PARAM-5.
            "V14-C16",
            ControlMessage::SubscribeOk(
                RequestId(2),
                SubscribeOk {
                    alias: 256,
                    expires_ms: 30_000,
                    group_order: Descending,
                    largest: Some(Location::new(10, 3)),
                    params: cached(60_000),
                },
            ),
        ),
        (
            // D14-MSG-8.
            "V14-C17",
            error(
                0,
                RequestKind::Subscribe,
                RequestErrorReason::TrackDoesNotExist,
                "no track",
            ),
        ),
        (
            // D14-MSG-9.
            "V14-C18",
            ControlMessage::SubscribeUpdate(
                RequestId(8),
                SubscribeUpdate {
                    subscription: RequestId(0),
                    start: Location::new(6, 0),
                    end_group: None,
                    priority: 16,
                    forward: true,
                    params: none(),
                },
            ),
        ),
        (
            // D14-VAL-10: the end group plus one.
            "V14-C19",
            ControlMessage::SubscribeUpdate(
                RequestId(10),
                SubscribeUpdate {
                    subscription: RequestId(6),
                    start: Location::new(5, 2),
                    end_group: Some(9),
                    priority: 128,
                    forward: false,
                    params: none(),
                },
            ),
        ),
        // D14-MSG-10.
        ("V14-C20", ControlMessage::Unsubscribe(RequestId(6))),
        (
            // D14-MSG-11.
            "V14-C21",
            ControlMessage::PublishDone(
                RequestId(0),
                PublishDone {
                    status: PublishDoneStatus::TrackEnded,
                    stream_count: Some(2),
                    phrase: text("Track Ended"),
                },
            ),
        ),
        (
            "V14-C22",
            ControlMessage::PublishDone(
                RequestId(2),
                PublishDone {
                    status: PublishDoneStatus::TooFarBehind,
                    stream_count: None,
                    phrase: Bytes::new(),
                },
            ),
        ),
        (
            // D14-MSG-12, D14-ENC-13.
            "V14-C23",
            ControlMessage::Publish(
                RequestId(1),
                Publish {
                    track: video(),
                    alias: 7,
                    group_order: Ascending,
                    largest: None,
                    forward: true,
                    params: none(),
                },
            ),
        ),
        (
            "V14-C24",
            ControlMessage::Publish(
                RequestId(3),
                Publish {
                    track: video(),
                    alias: 212,
                    group_order: Ascending,
                    largest: Some(Location::new(2, 3)),
                    forward: false,
                    params: timeout(2000),
                },
            ),
        ),
        (
            // D14-MSG-13.
            "V14-C25",
            ControlMessage::PublishOk(
                RequestId(1),
                PublishOk {
                    forward: true,
                    priority: 128,
                    group_order: Some(Ascending),
                    filter: SubscribeFilter::LargestObject,
                    params: none(),
                },
            ),
        ),
        (
            "V14-C26",
            ControlMessage::PublishOk(
                RequestId(3),
                PublishOk {
                    forward: false,
                    priority: 127,
                    group_order: Some(Descending),
                    filter: SubscribeFilter::AbsoluteRange {
                        start: Location::new(12_345, 67_890),
                        end_group: 23_456,
                    },
                    params: none(),
                },
            ),
        ),
        (
            // D14-MSG-14.
            "V14-C27",
            error(
                1,
                RequestKind::Publish,
                RequestErrorReason::Uninterested,
                "no subs",
            ),
        ),
        (
            // D14-FETCH-3: object 0 at the end is the whole group.
            // D14-MSG-15.
            "V14-C28",
            ControlMessage::Fetch(
                RequestId(12),
                Fetch {
                    priority: 128,
                    group_order: Fixed(Ascending),
                    range: FetchRange::Standalone {
                        track: video(),
                        start: Location::ZERO,
                        end: Location::new(5, 0),
                    },
                    params: none(),
                },
            ),
        ),
        (
            "V14-C29",
            ControlMessage::Fetch(
                RequestId(14),
                Fetch {
                    priority: 128,
                    group_order: Publisher,
                    range: FetchRange::RelativeJoining {
                        subscription: RequestId(0),
                        groups: 2,
                    },
                    params: none(),
                },
            ),
        ),
        (
            "V14-C30",
            ControlMessage::Fetch(
                RequestId(16),
                Fetch {
                    priority: 128,
                    group_order: Fixed(Descending),
                    range: FetchRange::AbsoluteJoining {
                        subscription: RequestId(0),
                        group: 5,
                    },
                    params: none(),
                },
            ),
        ),
        (
            // D14-MSG-16.
            "V14-C31",
            ControlMessage::FetchOk(
                RequestId(14),
                FetchOk {
                    group_order: Ascending,
                    end_of_track: false,
                    end: Location::new(10, 4),
                    params: none(),
                },
            ),
        ),
        (
            "V14-C32",
            ControlMessage::FetchOk(
                RequestId(12),
                FetchOk {
                    group_order: Descending,
                    end_of_track: true,
                    end: Location::new(5, 0),
                    params: cached(60_000),
                },
            ),
        ),
        (
            // D14-MSG-17.
            "V14-C33",
            error(12, RequestKind::Fetch, RequestErrorReason::NoObjects, ""),
        ),
        // D14-MSG-18.
        ("V14-C34", ControlMessage::FetchCancel(RequestId(14))),
        (
            // D14-MSG-19.
            "V14-C35",
            ControlMessage::TrackStatus(
                RequestId(18),
                subscribe(Publisher, true, SubscribeFilter::LargestObject),
            ),
        ),
        (
            // D14-MSG-20.
            "V14-C36",
            ControlMessage::TrackStatusOk(
                RequestId(18),
                SubscribeOk {
                    alias: 0,
                    expires_ms: 0,
                    group_order: Ascending,
                    largest: Some(Location::new(10, 3)),
                    params: none(),
                },
            ),
        ),
        (
            // D14-MSG-21.
            "V14-C37",
            error(18, RequestKind::TrackStatus, RequestErrorReason::Unauthorized, ""),
        ),
        (
            // D14-MSG-22.
            "V14-C38",
            ControlMessage::PublishNamespace(
                RequestId(0),
                NamespaceRequest {
                    namespace: namespace(&["media"]),
                    params: none(),
                },
            ),
        ),
        // D14-MSG-23.
        ("V14-C39", ControlMessage::PublishNamespaceOk(RequestId(0))),
        (
            // D14-MSG-24.
            "V14-C40",
            error(
                0,
                RequestKind::PublishNamespace,
                RequestErrorReason::Unauthorized,
                "denied",
            ),
        ),
        (
            // D14-MSG-25.
            "V14-C41",
            ControlMessage::PublishNamespaceDone(Namespace { namespace: cam1() }),
        ),
        (
            // D14-MSG-26.
            "V14-C42",
            ControlMessage::PublishNamespaceCancel(NamespaceCancel {
                namespace: cam1(),
                reason: RequestErrorReason::ExpiredAuthToken,
                phrase: text("expired"),
            }),
        ),
        (
            // D14-MSG-27.
            "V14-C43",
            ControlMessage::SubscribeNamespace(
                RequestId(0),
                NamespaceRequest {
                    namespace: namespace(&["live"]),
                    params: none(),
                },
            ),
        ),
        // D14-MSG-28.
        ("V14-C44", ControlMessage::SubscribeNamespaceOk(RequestId(0))),
        (
            // D14-MSG-29.
            "V14-C45",
            error(
                2,
                RequestKind::SubscribeNamespace,
                RequestErrorReason::NamespacePrefixOverlap,
                "overlap",
            ),
        ),
        (
            // D14-MSG-30.
            "V14-C46",
            ControlMessage::UnsubscribeNamespace(Namespace {
                namespace: namespace(&["live"]),
            }),
        ),
    ]
}
