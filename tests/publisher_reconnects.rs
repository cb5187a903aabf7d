//! A publisher that comes back within milliseconds is accepted, however its last connection ended.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::raw;
use common::watch::{ns, told};
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::SubscribeFilter;

const ALIAS: u64 = 70;
const TIMES: u64 = 20;

/// D14-NS-13 D14-PUB-2
#[test]
fn announced_again_twenty_times() {
    for shards in [1, 2] {
        run(move || async move {
            let relay = relay(settings(shards)).await;
            let name = track("again", "video");
            let mut watcher = raw(&relay).await;
            watcher.watched("test/again").await;
            for n in 0..TIMES {
                let mut publisher = raw(&relay).await;
                publisher.announce(name.namespace()).await;
                // The one who serves a SUBSCRIBE is this one, not one of those before.
                let mut subscriber = raw(&relay).await;
                let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
                publisher.serve(&name, ALIAS + n).await;
                let alias = subscriber.answer(id).await.unwrap().alias;
                publisher.group(ALIAS + n, 0, 2).await;
                assert_eq!(subscriber.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
                // No PUBLISH_NAMESPACE_DONE, no PUBLISH_DONE: the connection is closed, and the next one is opened.
                drop(publisher);
            }
            let last = watcher.wait(|log| told(log).last().cloned().filter(|last| last.starts_with('-')));
            assert_eq!(last.await, "-test/again");
        });
    }
}

/// D14-NS-13 D14-NS-8 D14-PUB-2
#[test]
fn published_again_twenty_times() {
    for shards in [1, 2] {
        run(move || async move {
            let relay = relay(settings(shards)).await;
            let name = track("again", "video");
            let mut watcher = raw(&relay).await;
            watcher.watched("test").await;
            for n in 0..TIMES {
                let mut publisher = raw(&relay).await;
                let id = publisher.publish(&name, ALIAS + n, true).await;
                publisher.publish_ok(id).await;
                publisher.group(ALIAS + n, n, 1).await;
                // It may be taken as a second publisher of the life before, or begin a new one.
                let mut subscriber = raw(&relay).await;
                let (_, ok) = subscriber.subscribed(&name, SubscribeFilter::LargestObject).await;
                publisher.group(ALIAS + n, 1000 + n, 2).await;
                subscriber.until_object(ok.alias, (1000 + n, 1)).await;
                drop(publisher);
            }
            watcher.offered(0).await;
        });
    }
}

/// D14-NS-13: the session ends and the next one begins in the same instant, so that the new PUBLISH meets the end of
/// the track.
#[test]
fn published_while_the_track_is_torn_down() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("again", "torn");
        let mut next = raw(&relay).await;
        let alias_of = |n: u64| ALIAS + n;
        for n in 0..TIMES {
            let mut publisher = std::mem::replace(&mut next, raw(&relay).await);
            let id = publisher.publish(&name, alias_of(n), true).await;
            publisher.publish_ok(id).await;
            publisher.conn.close(0, "gone");
            let id = next.publish(&name, alias_of(n), true).await;
            next.publish_ok(id).await;
            next.announce(&ns("test/again")).await;
            next.publish_done(
                id,
                laps_protocol::moqt::message::PublishDoneStatus::TrackEnded,
                Some(0),
            )
            .await;
        }
    });
}
