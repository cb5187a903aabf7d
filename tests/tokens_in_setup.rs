//! A token in SETUP that is not to be believed ends the session; one that is counts for all its requests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::raw::CODEC;
use common::tokens::{
    SECRET, ask_denied, client, deleting, full, guarded, minted, pass, register, showing, using, value,
};
use common::{run, target};
use laps::relay::Relay;
use laps_actors::transport::{ClientEndpoint, ClientTls, TransportConfig, Verify, moqt_alpn};
use laps_protocol::moqt::message::{
    ClientSetup, ControlMessage, NamespaceRequest, RequestErrorReason as Reason, RequestId,
    RequestKind as Kind, SetupParams, SubscribeFilter,
};

const UNAUTHORIZED: u64 = 0x2;
const DUPLICATE_ALIAS: u64 = 0x14;
const MALFORMED: u64 = 0x16;
const UNKNOWN_ALIAS: u64 = 0x17;
const EXPIRED: u64 = 0x18;

/// Sends a SETUP that shows a wrong token, and in one breath with it announces this namespace with the right one;
/// waits for the end.
async fn announces_beside_a_bad_setup(relay: &Relay, namespace: &str) {
    let target = target(relay.local_addr());
    let tls = ClientTls::new(&Verify::Insecure, &moqt_alpn()).unwrap();
    let endpoint = ClientEndpoint::for_remote(target.addr, &tls, &TransportConfig::default()).unwrap();
    let connected = endpoint.connect(target.addr, "localhost").await.unwrap();
    let mut conn = connected.split().handle;
    let (mut control, mut answers) = conn.open_bidi().await.unwrap();
    let setup = ClientSetup {
        versions: vec![CODEC.version_number()],
        params: SetupParams {
            max_request_id: Some(100),
            path: Some(Bytes::from_static(b"/")),
            authority: Some(Bytes::from(target.authority)),
            authorization_tokens: vec![value("sesame")],
            ..SetupParams::default()
        },
    };
    let announced = NamespaceRequest {
        namespace: full(namespace, "").namespace().clone(),
        params: showing(&[value(SECRET)]),
    };
    let mut bytes = BytesMut::new();
    for message in [
        ControlMessage::ClientSetup(setup),
        ControlMessage::PublishNamespace(RequestId(0), announced),
    ] {
        CODEC.encode(&message, &mut bytes).unwrap();
    }
    control.send(&mut [bytes.freeze()]).await.unwrap();
    while answers.receive().await.is_ok_and(|bytes| bytes.is_some()) {}
}

/// D14-SETUP-24: nothing is done for a session that is not let in, whatever its requests show themselves.
#[test]
fn who_is_not_let_in_has_nothing_done() {
    run(async || {
        let relay = guarded().await;
        let mut watcher = client(&relay, &[value(SECRET)]).await;
        watcher.watched("live").await;
        for _ in 0..10 {
            announces_beside_a_bad_setup(&relay, "live/ghost").await;
        }
        let mut publisher = client(&relay, &[value(SECRET)]).await;
        publisher.announce(full("live/real", "").namespace()).await;
        assert_eq!(watcher.until_told(1).await, ["+live/real"]);
    });
}

/// D14-SETUP-24 D14-AUTH-4 D14-AUTH-9 D14-SETUP-20 D14-AUTH-2 D14-AUTH-7
#[test]
fn what_it_shows_decides() {
    run(async || {
        let relay = guarded().await;
        let name = full("live", "video");
        for (shown, code) in [
            (vec![value("sesame")], MALFORMED),
            (vec![value(SECRET), value("")], MALFORMED),
            (vec![register(1, "sesame")], MALFORMED),
            (vec![value(&minted("subscriber", 0))], EXPIRED),
            (
                vec![value(&minted("subscriber", 10)), value(&minted("fetch", 0))],
                EXPIRED,
            ),
            (vec![value(&minted("", 10))], UNAUTHORIZED),
            (vec![register(1, SECRET), register(1, SECRET)], DUPLICATE_ALIAS),
            (vec![value(SECRET), using(1)], UNKNOWN_ALIAS),
            (vec![register(1, SECRET), using(1)], UNKNOWN_ALIAS),
            (vec![register(1, SECRET), deleting(1)], UNKNOWN_ALIAS),
        ] {
            assert_eq!(client(&relay, &shown).await.closed().await, code);
        }
        let long = minted(&"fetch:a ".repeat(60), 10);
        let tokens = [register(1, &long), register(2, &long), register(3, SECRET)];
        let mut member = client(&relay, &tokens).await;
        assert_eq!(
            member.setup.params.max_auth_token_cache_size,
            Some(common::tokens::CACHE)
        );
        let own = full("own", "video");
        assert_eq!(
            ask_denied(&mut member, Kind::PublishNamespace, &own, &[]).await,
            None
        );
        // One of the long ones found no room, and was good for its value only.
        let nobodys = full("nobody", "video");
        let shown = [using(1), using(3)];
        assert_eq!(ask_denied(&mut member, Kind::Fetch, &nobodys, &shown).await, None);
        let denied = ask_denied(&mut member, Kind::Fetch, &nobodys, &[using(2)]).await;
        assert_eq!(denied, Some(Reason::MalformedAuthToken));

        // What counted for all requests counts no longer when its time is over, and ends nothing.
        let token = value(&minted("publisher:live", 10));
        let mut guest = client(&relay, &[token]).await;
        let id = guest.publish(&name, 7, true).await;
        guest.publish_ok(id).await;
        let token = value(&minted("subscriber:live", 10));
        let mut viewer = client(&relay, &[token]).await;
        let (_, ok) = viewer.subscribed(&name, SubscribeFilter::LargestObject).await;
        pass(10);
        let later = full("live", "later");
        for (peer, kind) in [
            (&mut guest, Kind::PublishNamespace),
            (&mut viewer, Kind::Subscribe),
        ] {
            let denied = ask_denied(peer, kind, &later, &[]).await;
            assert_eq!(denied, Some(Reason::ExpiredAuthToken));
        }
        let fresh = value(&minted("publisher:live", 20));
        assert_eq!(
            ask_denied(&mut guest, Kind::Publish, &later, &[fresh]).await,
            None
        );
        guest.group(7, 0, 1).await;
        assert_eq!(viewer.until_objects(ok.alias, 1).await, [(0, 0)]);
    });
}
