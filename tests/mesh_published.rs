//! Namespaces and published tracks of one relay are told at another.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::mesh::two;
use common::raw::{Raw, raw};
use common::run;
use common::watch::track_in;
use laps_protocol::moqt::message::PublishDoneStatus;

const ALIAS: u64 = 70;

/// D14-NS-8 D14-SUB-26 D14-SUB-27: a track that is published at one relay is offered to who watches at another, and flows
/// when that accepts.
#[test]
fn a_published_track_is_offered_across_relays() {
    for shards in [1, 2] {
        run(move || async move {
            let [near, far] = two(shards).await;
            let name = track_in("room/1", "video");
            let mut watcher = raw(&far).await;
            watcher.watched("room").await;
            let mut publisher = raw(&near).await;
            let request = publisher.publish(&name, ALIAS, true).await;
            assert!(!publisher.publish_ok(request).await.forward, "nobody reads yet");
            let (offer, publish) = watcher.offered(0).await;
            assert_eq!(publish.track, name);
            watcher.accept_offer(offer, true).await;
            publisher
                .wait(|log| Raw::updates(log, request).first().map(|update| update.forward))
                .await;
            publisher.group(ALIAS, 0, 3).await;
            let places = watcher.until_objects(publish.alias, 3).await;
            assert_eq!(places, [(0, 0), (0, 1), (0, 2)]);
            publisher
                .publish_done(request, PublishDoneStatus::TrackEnded, Some(1))
                .await;
            let done = watcher.done(offer).await;
            assert_eq!(
                (done.status, done.stream_count),
                (PublishDoneStatus::TrackEnded, Some(1))
            );
        });
    }
}
