//! With a secret configured every request of every session is judged by itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::run;
use common::tokens::{ALL, SECRET, ask_denied, client, full, guarded, minted, value};
use laps_protocol::moqt::message::{RequestErrorReason as Reason, RequestKind as Kind};

/// The code for `reason`: PUBLISH_ERROR has one for all. MOQT-14 §9.15
fn told(kind: Kind, reason: Reason) -> Option<Reason> {
    Some(if kind == Kind::Publish {
        Reason::Unauthorized
    } else {
        reason
    })
}

/// D14-AUTH-11 D14-AUTH-4 D14-SETUP-24: nothing is allowed without a token, whatever is asked, and the session lives.
#[test]
fn without_a_token_nothing_is_allowed() {
    run(async || {
        let relay = guarded().await;
        let mut stranger = client(&relay, &[]).await;
        let name = full("live", "video");
        for kind in ALL {
            let denied = ask_denied(&mut stranger, kind, &name, &[]).await;
            assert_eq!(denied, told(kind, Reason::Unauthorized), "{kind:?}");
            for wrong in [value("sesame"), value(""), value("a.b.c")] {
                let denied = ask_denied(&mut stranger, kind, &name, &[wrong]).await;
                assert_eq!(denied, told(kind, Reason::MalformedAuthToken), "{kind:?}");
            }
            let late = value(&minted("publisher subscriber", 0));
            let denied = ask_denied(&mut stranger, kind, &name, &[late]).await;
            assert_eq!(denied, told(kind, Reason::ExpiredAuthToken), "{kind:?}");
            let secret = value(SECRET);
            // A token that is not to be believed counts for more than one that is.
            let both = [secret.clone(), value("sesame")];
            let denied = ask_denied(&mut stranger, kind, &name, &both).await;
            assert_eq!(denied, told(kind, Reason::MalformedAuthToken), "{kind:?}");
            assert_eq!(
                ask_denied(&mut stranger, kind, &name, &[secret]).await,
                None,
                "{kind:?}"
            );
        }
    });
}

/// D14-AUTH-11: each action by itself, in SETUP as well as in the request.
#[test]
fn a_token_allows_what_it_says() {
    run(async || {
        let relay = guarded().await;
        for (word, allowed) in [
            ("subscribe", &[Kind::Subscribe][..]),
            ("fetch", &[Kind::Fetch]),
            ("track_status", &[Kind::TrackStatus]),
            ("publish", &[Kind::Publish]),
            ("publish_namespace", &[Kind::PublishNamespace]),
            ("subscribe_namespace", &[Kind::SubscribeNamespace]),
            ("publisher", &[Kind::Publish, Kind::PublishNamespace]),
            (
                "subscriber",
                &[
                    Kind::Subscribe,
                    Kind::Fetch,
                    Kind::TrackStatus,
                    Kind::SubscribeNamespace,
                ],
            ),
        ] {
            let token = value(&minted(&format!("{word}:live/{word}"), 10));
            let mut by_setup = client(&relay, std::slice::from_ref(&token)).await;
            let mut by_request = client(&relay, &[]).await;
            for kind in ALL {
                let inside = full(&format!("live/{word}"), "video");
                let denied = (!allowed.contains(&kind)).then_some(Reason::Unauthorized);
                let shown = std::slice::from_ref(&token);
                assert_eq!(
                    ask_denied(&mut by_setup, kind, &inside, &[]).await,
                    denied,
                    "{word} {kind:?}"
                );
                assert_eq!(
                    ask_denied(&mut by_request, kind, &inside, shown).await,
                    denied,
                    "{word} {kind:?}"
                );
            }
            // Beside it, and above it, which for a prefix would also overlap what is watched by now.
            let mut elsewhere = client(&relay, std::slice::from_ref(&token)).await;
            for kind in ALL {
                for outside in [full("other", "video"), full("live", "video")] {
                    let denied = ask_denied(&mut elsewhere, kind, &outside, &[]).await;
                    assert_eq!(denied, Some(Reason::Unauthorized), "{word} {kind:?}");
                }
            }
        }
    });
}

/// D14-AUTH-11: a subscriber that adds nothing to a subscription upstream is judged all the same.
#[test]
fn each_subscriber_of_a_track_needs_a_token_of_its_own() {
    run(async || {
        let relay = guarded().await;
        let name = full("live", "shared");
        let mut publisher = client(&relay, &[value(SECRET)]).await;
        publisher.announce(name.namespace()).await;
        let viewer = || value(&minted("subscriber:live", 10));
        let mut first = client(&relay, &[viewer()]).await;
        let id = common::tokens::ask(&mut first, Kind::Subscribe, &name, &[]).await;
        publisher.serve(&name, 7).await;
        first.answer(id).await.unwrap();
        let mut second = client(&relay, &[]).await;
        for kind in [Kind::Subscribe, Kind::Fetch, Kind::TrackStatus] {
            let denied = ask_denied(&mut second, kind, &name, &[]).await;
            assert_eq!(denied, Some(Reason::Unauthorized));
        }
        // What it showed once counts for that request, and for no other.
        let id = common::tokens::ask(&mut second, Kind::Subscribe, &name, &[viewer()]).await;
        let alias = second.answer(id).await.unwrap().alias;
        let denied = ask_denied(&mut second, Kind::TrackStatus, &name, &[]).await;
        assert_eq!(denied, Some(Reason::Unauthorized));
        publisher.group(7, 0, 1).await;
        assert_eq!(second.until_objects(alias, 1).await, [(0, 0)]);
    });
}
