//! A token in SETUP that is not to be believed ends the session; one that is counts for all its requests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::run;
use common::tokens::{
    SECRET, ask_denied, client, deleting, full, guarded, minted, pass, register, using, value,
};
use laps_protocol::moqt::message::{RequestErrorReason as Reason, RequestKind as Kind, SubscribeFilter};

const UNAUTHORIZED: u64 = 0x2;
const DUPLICATE_ALIAS: u64 = 0x14;
const MALFORMED: u64 = 0x16;
const UNKNOWN_ALIAS: u64 = 0x17;
const EXPIRED: u64 = 0x18;

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
