//! A SUBSCRIBE that comes before its publisher waits, within a bound, and then misses nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{Raw, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_protocol::moqt::message::{RequestErrorReason, SubscribeFilter};
use std::time::{Duration, Instant};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn waiting(shards: usize, wait: Option<Duration>) -> Settings {
    let mut settings = settings(shards);
    settings.session.subscribe_wait = wait;
    settings
}

/// D14-SUB-10
#[test]
fn the_wait_ends_with_track_does_not_exist() {
    run(async || {
        let wait = Duration::from_millis(300);
        let relay = relay(waiting(1, Some(wait))).await;
        let mut subscriber = raw(&relay).await;
        let asked = Instant::now();
        let id = subscriber.subscribe(&track("wait", "none"), NEWEST).await;
        // MOQT-14 §8.4 [D14-SUB-10]
        let error = subscriber.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        assert!(asked.elapsed() >= wait);
    });
}

#[test]
fn without_a_wait_a_published_track_is_still_found() {
    run(async || {
        let relay = relay(waiting(2, Some(Duration::ZERO))).await;
        let mut publisher = raw(&relay).await;
        let name = track("wait", "zero");
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        subscriber.answer(id).await.unwrap();
        let id = subscriber.subscribe(&track("nobody", "zero"), NEWEST).await;
        let error = subscriber.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    });
}

/// How the publisher offers the track that is waited for.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Announce,
    Publish,
}

/// Three wait, the publisher writes at once, and each of the three has every object.
async fn all_that_waited(shards: usize, wait: Option<Duration>, flow: Flow) {
    let mut settings = waiting(shards, wait);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("waited", "video");
    let mut subscribers = Vec::new();
    for n in 0..3 {
        let mut subscriber = placement.raw_on(&relay, n % shards).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        subscriber.fence().await;
        subscribers.push((subscriber, id));
    }
    let mut publisher = placement.raw_on(&relay, shards - 1).await;
    match flow {
        Flow::Announce => {
            publisher.announce(name.namespace()).await;
            publisher.serve(&name, ALIAS).await;
        }
        Flow::Publish => {
            publisher.publish(&name, ALIAS, true).await;
        }
    }
    for group in 0..5 {
        publisher.group(ALIAS, group, 4).await;
    }
    let expected: Vec<_> = (0..5)
        .flat_map(|group| (0..4).map(move |object| (group, object)))
        .collect();
    for (subscriber, id) in &mut subscribers {
        let ok = subscriber.answer(*id).await.unwrap();
        // Nothing had been forwarded when they were attached.
        assert_eq!(ok.largest, None);
        assert_eq!(subscriber.until_objects(ok.alias, expected.len()).await, expected);
    }
    if flow == Flow::Announce {
        // MOQT-14 §8.3 [D14-SUB-15]: one upstream subscription serves them all.
        publisher.fence().await;
        let asked = |news: &common::raw::News| {
            matches!(
                news,
                common::raw::News::Control(laps_protocol::moqt::message::ControlMessage::Subscribe(..))
            )
        };
        assert_eq!(publisher.log.iter().filter(|news| asked(news)).count(), 1);
    }
}

/// D14-SUB-15
#[test]
fn all_that_waited_get_the_first_object_one_shard() {
    run(|| all_that_waited(1, Some(Duration::from_secs(20)), Flow::Announce));
}

/// D14-SUB-15
#[test]
fn all_that_waited_get_the_first_object_two_shards() {
    run(|| all_that_waited(2, Some(Duration::from_secs(20)), Flow::Announce));
}

#[test]
fn all_that_waited_for_a_publish_get_the_first_object_one_shard() {
    run(|| all_that_waited(1, None, Flow::Publish));
}

#[test]
fn all_that_waited_for_a_publish_get_the_first_object_two_shards() {
    run(|| all_that_waited(2, None, Flow::Publish));
}

/// D14-LIM-4
#[test]
fn too_many_that_wait_are_refused_at_once() {
    run(async || {
        let mut settings = waiting(1, None);
        settings.max_waiting = 2;
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let mut subscriber = raw(&relay).await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(subscriber.subscribe(&track("full", name), NEWEST).await);
        }
        // [D14-LIM-4]
        let error = subscriber.answer(ids[2]).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        // An operator hears of it by the key, and not of each.
        for _ in 0..50 {
            let id = subscriber.subscribe(&track("full", "c"), NEWEST).await;
            subscriber.answer(id).await.unwrap_err();
        }
        let told = placement.values("a limit is reached", "limit");
        assert_eq!(told[0], "limits.waiting_total");
        assert!(told.len() < 25, "{}", told.len());
        // The others go on waiting, and are served.
        let mut publisher = raw(&relay).await;
        publisher.announce(track("full", "a").namespace()).await;
        for (name, alias, id) in [("a", 1, ids[0]), ("b", 2, ids[1])] {
            publisher.serve(&track("full", name), alias).await;
            subscriber.answer(id).await.unwrap();
        }
        assert!(Raw::objects(&subscriber.log).is_empty());
    });
}
