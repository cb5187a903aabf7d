//! Control messages out of bytes: each field is legal nearly always, so that what they mean is what is tried.

use crate::feed::Feed;
use bytes::{BufMut, Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::*;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};

pub(crate) const CODEC: Codec = Codec::Draft14;

/// Kinds of messages that [`message`] makes.
pub(crate) const KINDS: usize = 30;

/// Some namespace: short ones that are prefixes of each other, mostly.
pub(crate) fn namespace(feed: &mut Feed<'_>) -> TrackNamespace {
    const FIELDS: [&[u8]; 4] = [b"evil", b"good", b"a", b""];
    let fields: Vec<Bytes> = match feed.u8() {
        choice @ 0..=199 => {
            let choice = usize::from(choice);
            let fields = [
                FIELDS[choice % 4],
                FIELDS[(choice / 4) % 4],
                FIELDS[(choice / 16) % 4],
            ];
            let count = 1 + (choice / 64) % 3;
            fields.into_iter().take(count).map(Bytes::from_static).collect()
        }
        count => (0..=usize::from(count) % 32).map(|_| feed.bytes(9)).collect(),
    };
    let or = || TrackNamespace::new([Bytes::from_static(b"evil")]);
    TrackNamespace::new(fields).or_else(|_| or()).unwrap()
}

pub(crate) fn track(feed: &mut Feed<'_>) -> FullTrackName {
    let namespace = namespace(feed);
    let name = match feed.u8() {
        0..=127 => Bytes::from_static(b"t"),
        128..=191 => Bytes::from_static(b"u"),
        _ => feed.bytes(12),
    };
    FullTrackName::new(namespace, name).unwrap()
}

pub(crate) fn location(feed: &mut Feed<'_>) -> Location {
    Location::new(feed.number(), feed.number())
}

fn id(feed: &mut Feed<'_>) -> RequestId {
    RequestId(feed.number())
}

pub(crate) fn token(feed: &mut Feed<'_>) -> AuthToken {
    let alias = feed.number() % 5;
    match feed.below(4) {
        0 => AuthToken::UseValue {
            token_type: feed.number() % 3,
            value: feed.bytes(20),
        },
        1 => AuthToken::Register {
            alias,
            token_type: feed.number() % 3,
            value: feed.bytes(20),
        },
        2 => AuthToken::UseAlias { alias },
        _ => AuthToken::Delete { alias },
    }
}

fn tokens(feed: &mut Feed<'_>) -> Vec<Bytes> {
    let count = match feed.u8() {
        0..=191 => 0,
        count => usize::from(count % 3) + 1,
    };
    let one = |feed: &mut Feed<'_>| match feed.u8() {
        240.. if !feed.is_ours => feed.bytes(12),
        _ => CODEC.encode_token(&token(feed)).unwrap(),
    };
    (0..count).map(|_| one(feed)).collect()
}

/// Parameters that the draft does not know.
fn unknown(feed: &mut Feed<'_>) -> Vec<KeyValue> {
    let count = match feed.u8() {
        0..=223 => 0,
        count => usize::from(count % 3) + 1,
    };
    let one = |feed: &mut Feed<'_>| {
        let key = 0x40 + feed.number() % 1000;
        let value = if key.is_multiple_of(2) {
            Value::Number(feed.number())
        } else {
            Value::Bytes(feed.bytes(30))
        };
        KeyValue { key, value }
    };
    (0..count).map(|_| one(feed)).collect()
}

fn maybe<T>(feed: &mut Feed<'_>, make: impl FnOnce(&mut Feed<'_>) -> T) -> Option<T> {
    (feed.u8() >= 192).then(|| make(feed))
}

/// Which parameters a message may have: timeout, token, cache, new group.
fn params(feed: &mut Feed<'_>, may: [bool; 4]) -> MessageParams {
    if feed.u8() < 128 {
        return MessageParams::default();
    }
    let [timeout, token, cache, new_group] = may;
    MessageParams {
        delivery_timeout_ms: maybe(feed, |feed| feed.number()).filter(|_| timeout),
        max_cache_duration_ms: maybe(feed, |feed| feed.number()).filter(|_| cache),
        new_group_request: maybe(feed, |feed| feed.number()).filter(|_| new_group),
        authorization_tokens: if token { tokens(feed) } else { Vec::new() },
        unknown: unknown(feed),
    }
}

fn setup_params(feed: &mut Feed<'_>) -> SetupParams {
    SetupParams {
        path: maybe(feed, |feed| feed.bytes(20)),
        max_request_id: maybe(feed, |feed| feed.number()),
        max_auth_token_cache_size: maybe(feed, |feed| feed.number()),
        authorization_tokens: tokens(feed),
        authority: maybe(feed, |feed| feed.bytes(20)),
        implementation: maybe(feed, |feed| feed.bytes(20)),
        unknown: unknown(feed),
    }
}

fn order(feed: &mut Feed<'_>) -> GroupOrder {
    if feed.flag() {
        GroupOrder::Descending
    } else {
        GroupOrder::Ascending
    }
}

fn order_request(feed: &mut Feed<'_>) -> GroupOrderRequest {
    match feed.below(3) {
        0 => GroupOrderRequest::Publisher,
        1 => GroupOrderRequest::Fixed(GroupOrder::Ascending),
        _ => GroupOrderRequest::Fixed(GroupOrder::Descending),
    }
}

fn filter(feed: &mut Feed<'_>) -> SubscribeFilter {
    match feed.below(4) {
        0 => SubscribeFilter::LargestObject,
        1 => SubscribeFilter::NextGroupStart,
        2 => SubscribeFilter::AbsoluteStart(location(feed)),
        _ => {
            let start = location(feed);
            let end_group = start.group.saturating_add(feed.number() % 16);
            SubscribeFilter::AbsoluteRange { start, end_group }
        }
    }
}

pub(crate) fn subscribe(feed: &mut Feed<'_>, track: FullTrackName) -> Subscribe {
    Subscribe {
        track,
        priority: feed.u8(),
        group_order: order_request(feed),
        forward: feed.u8() % 8 != 7,
        filter: filter(feed),
        params: params(feed, [true, true, false, true]),
    }
}

pub(crate) fn subscribe_ok(feed: &mut Feed<'_>, alias: u64) -> SubscribeOk {
    SubscribeOk {
        alias,
        expires_ms: feed.number(),
        group_order: order(feed),
        largest: maybe(feed, location),
        params: params(feed, [true, false, true, false]),
    }
}

pub(crate) fn publish(feed: &mut Feed<'_>, track: FullTrackName, alias: u64) -> Publish {
    Publish {
        track,
        alias,
        group_order: order(feed),
        largest: maybe(feed, location),
        forward: feed.u8() % 8 != 7,
        params: params(feed, [true, true, true, false]),
    }
}

pub(crate) fn publish_ok(feed: &mut Feed<'_>) -> PublishOk {
    PublishOk {
        forward: feed.u8() % 4 != 3,
        priority: feed.u8(),
        group_order: Some(order(feed)),
        filter: filter(feed),
        params: params(feed, [true, false, false, true]),
    }
}

pub(crate) fn update(feed: &mut Feed<'_>, subscription: RequestId) -> SubscribeUpdate {
    SubscribeUpdate {
        subscription,
        start: location(feed),
        end_group: maybe(feed, |feed| feed.number().min((1 << 62) - 2)),
        priority: feed.u8(),
        forward: feed.u8() % 4 != 3,
        params: params(feed, [true, true, false, true]),
    }
}

pub(crate) fn fetch(feed: &mut Feed<'_>, track: FullTrackName, subscription: RequestId) -> Fetch {
    Fetch {
        priority: feed.u8(),
        group_order: order_request(feed),
        range: match feed.below(4) {
            0 | 1 => {
                let start = location(feed);
                let end = Location::new(start.group.saturating_add(feed.number() % 8), feed.number());
                FetchRange::Standalone { track, start, end }
            }
            2 => FetchRange::RelativeJoining {
                subscription,
                groups: feed.number(),
            },
            _ => FetchRange::AbsoluteJoining {
                subscription,
                group: feed.number(),
            },
        },
        params: params(feed, [false, true, false, false]),
    }
}

pub(crate) fn fetch_ok(feed: &mut Feed<'_>) -> FetchOk {
    FetchOk {
        group_order: order(feed),
        end_of_track: feed.u8() % 4 == 3,
        end: location(feed),
        params: params(feed, [false, false, true, false]),
    }
}

fn reason(feed: &mut Feed<'_>) -> RequestErrorReason {
    use RequestErrorReason as R;
    const ALL: [RequestErrorReason; 15] = [
        R::InternalError,
        R::Unauthorized,
        R::Timeout,
        R::NotSupported,
        R::TrackDoesNotExist,
        R::InvalidRange,
        R::NoObjects,
        R::InvalidJoiningRequestId,
        R::UnknownStatusInRange,
        R::MalformedTrack,
        R::Uninterested,
        R::NamespacePrefixUnknown,
        R::NamespacePrefixOverlap,
        R::MalformedAuthToken,
        R::ExpiredAuthToken,
    ];
    match feed.u8() {
        choice @ 0..=223 => ALL[usize::from(choice) % ALL.len()],
        _ => R::Unknown(feed.number()),
    }
}

pub(crate) fn request_error(feed: &mut Feed<'_>) -> RequestError {
    RequestError {
        reason: reason(feed),
        phrase: feed.bytes(20),
    }
}

pub(crate) fn request_kind(feed: &mut Feed<'_>) -> RequestKind {
    const ALL: [RequestKind; 6] = [
        RequestKind::Subscribe,
        RequestKind::Publish,
        RequestKind::Fetch,
        RequestKind::TrackStatus,
        RequestKind::PublishNamespace,
        RequestKind::SubscribeNamespace,
    ];
    ALL[feed.below(ALL.len())]
}

pub(crate) fn publish_done(feed: &mut Feed<'_>) -> PublishDone {
    use PublishDoneStatus as S;
    const ALL: [PublishDoneStatus; 8] = [
        S::TrackEnded,
        S::InternalError,
        S::Unauthorized,
        S::SubscriptionEnded,
        S::GoingAway,
        S::Expired,
        S::TooFarBehind,
        S::MalformedTrack,
    ];
    PublishDone {
        status: match feed.u8() {
            choice @ 0..=239 => ALL[usize::from(choice) % ALL.len()],
            _ => S::Unknown(0x100 + feed.number()),
        },
        stream_count: maybe(feed, |feed| feed.number()).filter(|count| *count < (1 << 62) - 1),
        phrase: feed.bytes(20),
    }
}

pub(crate) fn namespace_request(feed: &mut Feed<'_>) -> NamespaceRequest {
    NamespaceRequest {
        namespace: namespace(feed),
        params: params(feed, [false, true, false, false]),
    }
}

/// How the ids of a message are chosen.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The id that the sender's next request has to have.
    pub(crate) next: u64,
    /// What it may say something about: requests of either side.
    pub(crate) known: Vec<u64>,
}

impl Ids {
    /// For a request: right nearly always.
    fn fresh(&self, feed: &mut Feed<'_>) -> RequestId {
        match feed.u8() {
            0..=247 => RequestId(self.next),
            _ => id(feed),
        }
    }

    /// For what is said about a request.
    fn known(&self, feed: &mut Feed<'_>) -> RequestId {
        match feed.u8() {
            choice @ 0..=239 if !self.known.is_empty() => {
                RequestId(self.known[usize::from(choice) % self.known.len()])
            }
            _ => id(feed),
        }
    }
}

/// A message of any kind.
pub(crate) fn message(feed: &mut Feed<'_>, ids: &Ids) -> ControlMessage {
    use ControlMessage as M;
    match feed.below(KINDS) {
        0 => M::Subscribe(ids.fresh(feed), {
            let track = track(feed);
            subscribe(feed, track)
        }),
        1 => M::SubscribeOk(ids.known(feed), {
            let alias = feed.number() % 8;
            subscribe_ok(feed, alias)
        }),
        2 => M::SubscribeUpdate(ids.fresh(feed), {
            let about = ids.known(feed);
            update(feed, about)
        }),
        3 => M::Unsubscribe(ids.known(feed)),
        4 => M::PublishDone(ids.known(feed), publish_done(feed)),
        5 => M::Publish(ids.fresh(feed), {
            let (track, alias) = (track(feed), feed.number() % 8);
            publish(feed, track, alias)
        }),
        6 => M::PublishOk(ids.known(feed), publish_ok(feed)),
        7 | 8 => M::Fetch(ids.fresh(feed), {
            let (track, about) = (track(feed), ids.known(feed));
            fetch(feed, track, about)
        }),
        9 => M::FetchOk(ids.known(feed), fetch_ok(feed)),
        10 => M::FetchCancel(ids.known(feed)),
        11 => M::TrackStatus(ids.fresh(feed), {
            let track = track(feed);
            subscribe(feed, track)
        }),
        12 => M::TrackStatusOk(ids.known(feed), subscribe_ok(feed, 0)),
        13 => M::PublishNamespace(ids.fresh(feed), namespace_request(feed)),
        14 => M::PublishNamespaceOk(ids.known(feed)),
        15 => M::PublishNamespaceDone(Namespace {
            namespace: namespace(feed),
        }),
        16 => M::PublishNamespaceCancel(NamespaceCancel {
            namespace: namespace(feed),
            reason: reason(feed),
            phrase: feed.bytes(20),
        }),
        17 => M::SubscribeNamespace(ids.fresh(feed), namespace_request(feed)),
        18 => M::SubscribeNamespaceOk(ids.known(feed)),
        19 => M::UnsubscribeNamespace(Namespace {
            namespace: namespace(feed),
        }),
        20 | 21 => M::RequestError(ids.known(feed), request_kind(feed), request_error(feed)),
        22 => M::MaxRequestId(feed.number()),
        23 => M::RequestsBlocked(feed.number()),
        24 => M::Goaway(feed.bytes(20)),
        25 => M::ClientSetup(client_setup(feed)),
        26 => M::ServerSetup(ServerSetup {
            version: if feed.u8() < 240 {
                CODEC.version_number()
            } else {
                feed.number()
            },
            params: setup_params(feed),
        }),
        // Requests are what everything else is about.
        27 => M::Subscribe(ids.fresh(feed), {
            let track = track(feed);
            subscribe(feed, track)
        }),
        28 => M::PublishNamespace(ids.fresh(feed), namespace_request(feed)),
        _ => M::MaxRequestId(1 << (feed.u8() % 62)),
    }
}

pub(crate) fn client_setup(feed: &mut Feed<'_>) -> ClientSetup {
    let mut versions = vec![CODEC.version_number()];
    match feed.u8() {
        0..=239 => {}
        count => versions = (0..count % 4).map(|_| 0xff00_000c + feed.number() % 4).collect(),
    }
    ClientSetup {
        versions,
        params: setup_params(feed),
    }
}

/// The bytes of a message, sometimes with damage; a message that cannot be written becomes its raw frame.
pub(crate) fn encoded(feed: &mut Feed<'_>, message: &ControlMessage) -> Bytes {
    let mut out = BytesMut::new();
    if CODEC.encode(message, &mut out).is_err() {
        return frame(feed);
    }
    if feed.u8() >= 250 {
        let len = out.len();
        let at = usize::from(feed.u8()) % len;
        out[at] = feed.u8();
        if feed.flag() {
            out.truncate(at + 1);
        }
    }
    out.freeze()
}

/// A type, the length that goes with what follows, and anything.
pub(crate) fn frame(feed: &mut Feed<'_>) -> Bytes {
    let (kind, body) = (feed.u8() % 0x42, feed.bytes(200));
    let mut out = BytesMut::new();
    laps_protocol::wire::varint::write(u64::from(kind), &mut out).unwrap();
    out.put_u16(u16::try_from(body.len()).unwrap());
    out.extend_from_slice(&body);
    out.freeze()
}
