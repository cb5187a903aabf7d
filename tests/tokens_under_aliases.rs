//! Aliases of tokens on the wire: what they stand for, what breaks them, and what that costs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{CODEC, Raw};
use common::run;
use common::tokens::{
    CACHE, SECRET, ask, ask_denied, client, deleting, denied, full, guarded, minted, pass, register, showing,
    using, value,
};
use laps::relay::Relay;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestErrorReason as Reason, RequestKind as Kind, SubscribeFilter,
    SubscribeUpdate,
};

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const PROTOCOL_VIOLATION: u64 = 0x3;
const KEY_VALUE_FORMATTING: u64 = 0x6;
const CACHE_OVERFLOW: u64 = 0x13;
const DUPLICATE_ALIAS: u64 = 0x14;
const UNKNOWN_ALIAS: u64 = 0x17;

/// D14-AUTH-3 D14-AUTH-5 D14-AUTH-7 D14-AUTH-9: all of it is for the sender to know, so its messages say it in one
/// breath.
#[test]
fn an_alias_is_what_was_registered() {
    run(async || {
        let relay = guarded().await;
        let mut peer = client(&relay, &[]).await;
        let name = full("live", "video");
        let status = Kind::TrackStatus;
        // Unauthorized: the token is for something else, and is registered all the same.
        let fetch = minted("fetch:live", 10);
        let denied_first = ask(&mut peer, status, &name, &[register(1, &fetch)]).await;
        // Refused for another token, and registered all the same.
        let second = ask(&mut peer, status, &name, &[register(2, SECRET), using(9)]).await;
        let third = ask(&mut peer, Kind::Fetch, &name, &[using(1)]).await;
        let fourth = ask(&mut peer, status, &name, &[using(1), using(2)]).await;
        assert_eq!(denied(&mut peer, denied_first).await, Some(Reason::Unauthorized));
        assert_eq!(denied(&mut peer, second).await, Some(Reason::MalformedAuthToken));
        assert_eq!(denied(&mut peer, third).await, None);
        assert_eq!(denied(&mut peer, fourth).await, None);
        // Not a token at all: it has its place, and is refused each time.
        for shown in [register(3, "sesame"), using(3), using(3)] {
            assert_eq!(
                ask_denied(&mut peer, status, &name, &[shown]).await,
                Some(Reason::MalformedAuthToken)
            );
        }
        // Over, it keeps its alias and its size: what is registered beside it must fit beside it.
        pass(10);
        let denied = ask_denied(&mut peer, Kind::Fetch, &name, &[using(1)]).await;
        assert_eq!(denied, Some(Reason::ExpiredAuthToken));
        let used = |value: &str| 16 + value.len() as u64;
        let left = CACHE - used(&fetch) - used(SECRET) - used("sesame") - used("");
        let left = usize::try_from(left).unwrap();
        let fill = "x".repeat(left);
        let denied = ask_denied(&mut peer, status, &name, &[register(4, &fill)]).await;
        assert_eq!(denied, Some(Reason::MalformedAuthToken));
        // Deleted, it is unknown, what it allowed stays allowed, and its value may come again.
        let kept = full("kept", "video");
        let allowed = ask(&mut peer, Kind::PublishNamespace, &kept, &[using(2)]).await;
        assert_eq!(common::tokens::denied(&mut peer, allowed).await, None);
        assert_eq!(
            ask_denied(&mut peer, status, &name, &[value(SECRET), deleting(2)]).await,
            None
        );
        assert_eq!(
            ask_denied(&mut peer, status, &name, &[using(2)]).await,
            Some(Reason::MalformedAuthToken)
        );
        assert_eq!(
            ask_denied(&mut peer, status, &name, &[deleting(2)]).await,
            Some(Reason::MalformedAuthToken)
        );
        let mut other = client(&relay, &[value(SECRET)]).await;
        let id = other.subscribe(&kept, NEWEST).await;
        peer.serve(&kept, 5).await;
        other.answer(id).await.unwrap();
        assert_eq!(
            ask_denied(&mut peer, status, &name, &[register(2, SECRET)]).await,
            None
        );
        // Another byte, and it is over.
        ask(&mut peer, status, &name, &[register(5, "")]).await;
        assert_eq!(peer.closed().await, CACHE_OVERFLOW);
        // Nobody else was touched.
        assert_eq!(ask_denied(&mut other, status, &name, &[]).await, None);
    });
}

/// D14-AUTH-2: and of two sessions none has aliases of the other.
#[test]
fn an_alias_is_registered_once() {
    run(async || {
        let relay = guarded().await;
        let name = full("live", "once");
        let mut one = client(&relay, &[]).await;
        let mut two = client(&relay, &[]).await;
        for peer in [&mut one, &mut two] {
            let registered = ask_denied(peer, Kind::TrackStatus, &name, &[register(1, SECRET)]).await;
            assert_eq!(registered, None);
        }
        ask(&mut one, Kind::TrackStatus, &name, &[register(1, SECRET)]).await;
        assert_eq!(one.closed().await, DUPLICATE_ALIAS);
        assert_eq!(
            ask_denied(&mut two, Kind::TrackStatus, &name, &[using(1)]).await,
            None
        );
    });
}

/// A TRACK_STATUS whose one parameter is these bytes, and says that it has as many as `length`.
async fn raw_parameter(peer: &mut Raw, token: &[u8], length: u8) {
    let id = peer.id();
    let asked = ControlMessage::TrackStatus(id, common::raw::subscribe(&full("live", "x"), NEWEST));
    let mut bytes = bytes::BytesMut::new();
    CODEC.encode(&asked, &mut bytes).unwrap();
    // The last byte counts the parameters, of which there are none. The two before the payload are its length.
    let mut bytes = bytes.to_vec();
    *bytes.last_mut().unwrap() = 1;
    bytes.push(0x3);
    bytes.push(length);
    bytes.extend_from_slice(token);
    let payload = u16::try_from(bytes.len() - 3).unwrap().to_be_bytes();
    bytes[1..3].copy_from_slice(&payload);
    peer.say_bytes(Bytes::from(bytes)).await;
}

/// D14-AUTH-1: what is not a token structure, or not as long as it says.
#[test]
fn a_token_that_lies_about_its_length_ends_the_session() {
    run(async || {
        let relay = guarded().await;
        for (token, length, code) in [
            (&[][..], 0, KEY_VALUE_FORMATTING),
            // An alias type that is none; one that ends inside the alias; inside the type; with bytes after the alias.
            (&[4, 0][..], 2, KEY_VALUE_FORMATTING),
            (&[2, 0x40], 2, KEY_VALUE_FORMATTING),
            (&[3, 0xc0, 0], 3, KEY_VALUE_FORMATTING),
            (&[1, 1], 2, KEY_VALUE_FORMATTING),
            (&[0, 1, 7], 3, KEY_VALUE_FORMATTING),
            (&[2, 1, 7], 3, KEY_VALUE_FORMATTING),
            // Longer than the message.
            (&[3, 0, b'x'], 60, PROTOCOL_VIOLATION),
            // Shorter than what is there.
            (&[3, 0, b'x'], 2, PROTOCOL_VIOLATION),
        ] {
            let mut peer = client(&relay, &[value(SECRET)]).await;
            raw_parameter(&mut peer, token, length).await;
            assert_eq!(peer.closed().await, code, "{token:?}");
        }
        let mut peer = client(&relay, &[value(SECRET)]).await;
        assert_eq!(
            ask_denied(&mut peer, Kind::TrackStatus, &full("live", "x"), &[]).await,
            None
        );
    });
}

/// A relay, one who publishes, and one who subscribes by a token of its own and has had an object.
async fn subscribed(relay: &Relay, name: &str) -> (Raw, Raw, laps_protocol::moqt::message::RequestId) {
    let name = full(&format!("live/{name}"), "video");
    let mut publisher = client(relay, &[value(SECRET)]).await;
    publisher.announce(name.namespace()).await;
    let mut subscriber = client(relay, &[]).await;
    let token = value(&minted("subscribe:live", 1_000_000));
    let id = ask(&mut subscriber, Kind::Subscribe, &name, &[token]).await;
    publisher.serve(&name, 7).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    publisher.group(7, 0, 1).await;
    subscriber.until_objects(alias, 1).await;
    (publisher, subscriber, id)
}

async fn update(peer: &mut Raw, subscription: laps_protocol::moqt::message::RequestId, tokens: &[Bytes]) {
    let id = peer.id();
    let update = SubscribeUpdate {
        subscription,
        start: Location::ZERO,
        end_group: None,
        priority: 1,
        forward: true,
        params: showing(tokens),
    };
    peer.say(ControlMessage::SubscribeUpdate(id, update)).await;
}

/// D14-AUTH-11 D14-AUTH-3 D14-AUTH-4: an update has no answer, so what is wrong with it is said by the end of its
/// subscription, or of the session.
#[test]
fn a_token_in_an_update_is_judged() {
    run(async || {
        let relay = guarded().await;
        let (mut publisher, mut peer, id) = subscribed(&relay, "update").await;
        let alias = peer.answer(id).await.unwrap().alias;
        // None, and a good one.
        update(&mut peer, id, &[]).await;
        update(&mut peer, id, &[value(SECRET)]).await;
        peer.fence().await;
        publisher.group(7, 1, 1).await;
        assert_eq!(peer.until_objects(alias, 2).await, [(0, 0), (1, 0)]);
        // One for something else: the subscription ends, and the session lives.
        update(&mut peer, id, &[value(&minted("fetch", 1_000_000))]).await;
        let done = peer.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::Unauthorized, Some(2))
        );
        for (wrong, name) in [("sesame", "malformed"), (&*minted("subscribe", 0), "expired")] {
            let (_publisher, mut peer, id) = subscribed(&relay, name).await;
            update(&mut peer, id, &[value(wrong)]).await;
            assert_eq!(peer.done(id).await.status, PublishDoneStatus::Unauthorized);
            let name = full("nobody", "video");
            assert_eq!(
                ask_denied(&mut peer, Kind::TrackStatus, &name, &[value(SECRET)]).await,
                None
            );
        }
        let (_publisher, mut peer, id) = subscribed(&relay, "unknown").await;
        update(&mut peer, id, &[using(1)]).await;
        assert_eq!(peer.closed().await, UNKNOWN_ALIAS);
    });
}
