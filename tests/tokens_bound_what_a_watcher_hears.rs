//! A watcher is told and offered what its tokens cover, for as long as they do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::run;
use common::tokens::{SECRET, ask, ask_denied, client, denied, full, guarded, minted, pass, value};
use laps_protocol::moqt::message::{ControlMessage, RequestKind as Kind};
use laps_protocol::moqt::name::FullTrackName;

/// What the relay has announced and offered so far.
fn heard(peer: &common::raw::Raw) -> (Vec<String>, Vec<FullTrackName>) {
    let (mut namespaces, mut tracks) = (Vec::new(), Vec::new());
    for news in &peer.log {
        match news {
            common::raw::News::Control(ControlMessage::PublishNamespace(_, request)) => {
                namespaces.push(request.namespace.to_string());
            }
            common::raw::News::Control(ControlMessage::Publish(_, publish)) => {
                tracks.push(publish.track.clone());
            }
            _ => {}
        }
    }
    (namespaces, tracks)
}

/// D14-AUTH-11 D14-LIM-3: a short prefix is for those whose token is as wide.
#[test]
fn a_prefix_has_to_lie_inside() {
    run(async || {
        let relay = guarded().await;
        let token = value(&minted("subscriber:live/cam1", 1_000_000));
        let mut peer = client(&relay, &[token]).await;
        for (prefix, allowed) in [
            ("live", false),
            ("live/cam2", false),
            ("live/cam1/left", true),
            ("live/cam1/right", true),
        ] {
            let denied = ask_denied(&mut peer, Kind::SubscribeNamespace, &full(prefix, ""), &[]).await;
            assert_eq!(denied.is_none(), allowed, "{prefix}");
        }
    });
}

/// D14-AUTH-11 D14-NS-8: the tokens of SUBSCRIBE_NAMESPACE, too, say what may be offered.
#[test]
fn what_is_told_is_covered() {
    run(async || {
        let relay = guarded().await;
        let name = full("live", "video");
        let mut publisher = client(&relay, &[value(SECRET)]).await;
        publisher.announce(name.namespace()).await;
        let id = publisher.publish(&name, 7, true).await;
        publisher.publish_ok(id).await;
        // May know of namespaces and not of tracks; may have both; may have both for a while.
        let mut lists = client(&relay, &[]).await;
        let mut watches = client(&relay, &[]).await;
        let mut guest = client(&relay, &[]).await;
        for (peer, scope, seconds) in [
            (&mut lists, "subscribe_namespace:live", 1000),
            (&mut watches, "subscriber:live", 1000),
            (&mut guest, "subscribe_namespace:live subscribe:live", 10),
        ] {
            let token = value(&minted(scope, seconds));
            let id = ask(peer, Kind::SubscribeNamespace, &full("live", ""), &[token]).await;
            assert_eq!(denied(peer, id).await, None);
        }
        let until = async |peer: &mut common::raw::Raw, what: usize| {
            peer.wait(|log| {
                let told = log.iter().filter(|news| {
                    matches!(
                        news,
                        common::raw::News::Control(
                            ControlMessage::PublishNamespace(..) | ControlMessage::Publish(..)
                        )
                    )
                });
                (told.count() >= what).then_some(())
            })
            .await;
        };
        until(&mut watches, 2).await;
        until(&mut guest, 2).await;
        until(&mut lists, 1).await;
        let all = (vec!["live".to_owned()], vec![name.clone()]);
        assert_eq!(heard(&watches), all);
        assert_eq!(heard(&guest), all);
        pass(10);
        let later = full("live/later", "video");
        publisher.announce(later.namespace()).await;
        let id = publisher.publish(&later, 8, true).await;
        publisher.publish_ok(id).await;
        until(&mut watches, 4).await;
        until(&mut lists, 2).await;
        // The relay has told the guest all that it would, when it has told it of what a new token is good for.
        let token = value(&minted("subscriber:other", 1000));
        let id = ask(&mut guest, Kind::SubscribeNamespace, &full("other", ""), &[token]).await;
        assert_eq!(denied(&mut guest, id).await, None);
        let mark = full("other", "mark");
        let id = publisher.publish(&mark, 9, true).await;
        publisher.publish_ok(id).await;
        until(&mut guest, 3).await;
        assert_eq!(heard(&guest), (vec!["live".to_owned()], vec![name, mark]));
        assert!(heard(&lists).1.is_empty());
    });
}
