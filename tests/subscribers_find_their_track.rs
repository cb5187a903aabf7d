//! Who may wait for a track, how many may, and what ends the wait.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::raw;
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_protocol::moqt::message::{RequestErrorReason, SubscribeFilter};
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// A relay whose subscribers wait this long.
fn waiting(shards: usize, wait: Option<Duration>) -> Settings {
    let mut settings = settings(shards);
    settings.session.subscribe_wait = wait;
    settings.session.limits.session.waiting = 2;
    settings
}

/// D14-LIM-2: one session cannot use up the room for subscriptions that wait.
#[test]
fn a_session_has_a_share_of_the_waiting_room() {
    run(|| async {
        let mut settings = waiting(2, None);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let tracks = ["a", "b", "c"].map(|name| track("share", name));
        let mut greedy = raw(&relay).await;
        let first = greedy.subscribe(&tracks[0], NEWEST).await;
        let second = greedy.subscribe(&tracks[1], NEWEST).await;
        let third = greedy.subscribe(&tracks[2], NEWEST).await;
        let (_, error) = greedy.refused(third).await;
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        // Others have room, and so has this one when it waits no longer.
        let mut modest = raw(&relay).await;
        let patient = modest.subscribe(&tracks[2], NEWEST).await;
        modest.fence().await;
        let mut publisher = raw(&relay).await;
        for (alias, track) in (7..).zip(&tracks) {
            let id = publisher.publish(track, alias, true).await;
            publisher.publish_ok(id).await;
        }
        greedy.answer(first).await.unwrap();
        greedy.answer(second).await.unwrap();
        modest.answer(patient).await.unwrap();
        let again = greedy.subscribe(&track("share", "d"), NEWEST).await;
        greedy.fence().await;
        let id = publisher.publish(&track("share", "d"), 20, true).await;
        publisher.publish_ok(id).await;
        greedy.answer(again).await.unwrap();
        assert_eq!(
            placement.values("a limit is reached", "limit"),
            ["limits.waiting"],
            "an operator hears of it, by the key"
        );
        drop(greedy);
        let held = placement.until(&mut modest, "session ends", "held", 1).await;
        assert!(held[0].contains("waiting 2 refused 1"), "{held:?}");
    });
}

/// D14-SUB-10: a track that is there is had at once, also by those who may not wait; one that is not, is not.
#[test]
fn no_wait_denies_only_what_does_not_exist() {
    run(|| async {
        let relay = relay(waiting(2, Some(Duration::ZERO))).await;
        let video = track("nowait", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(video.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        publisher.serve(&video, 7).await;
        subscriber.answer(id).await.unwrap();
        let id = subscriber.subscribe(&track("other", "video"), NEWEST).await;
        let (_, error) = subscriber.refused(id).await;
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    });
}

/// D14-SUB-10: a publisher that leaves before it answers is no answer for those who may wait for the next one.
#[test]
fn who_waits_is_not_told_of_a_publisher_that_left() {
    run(|| async {
        let relay = relay(waiting(2, None)).await;
        let video = track("next", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        let mut first = raw(&relay).await;
        first.announce(video.namespace()).await;
        first.asked(&video, 0).await;
        drop(first);
        let mut second = raw(&relay).await;
        let published = second.publish(&video, 7, true).await;
        let ok = subscriber.answer(id).await.unwrap();
        second.publish_ok(published).await;
        second.group(7, 0, 3).await;
        subscriber.until_objects(ok.alias, 3).await;
    });
}
