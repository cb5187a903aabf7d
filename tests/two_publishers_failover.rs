//! A second publisher of a track stands by, and takes over when the first is gone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{News, Raw, raw};
use common::shards::Placement;
use common::watch::ns;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};

const ALIAS: u64 = 70;

/// How a publisher offers the track.
#[derive(Clone, Copy)]
enum Flow {
    Announce,
    Publish,
}

async fn takes_over(shards: usize, first_flow: Flow, second_flow: Flow) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("standby", "video");
    let mut first = placement.raw_on(&relay, 0).await;
    let mut first_publish = None;
    match first_flow {
        Flow::Announce => first.announce(name.namespace()).await,
        Flow::Publish => first_publish = Some(first.publish(&name, ALIAS, true).await),
    }
    let mut subscriber = raw(&relay).await;
    let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
    match first_publish {
        None => drop(first.serve(&name, ALIAS).await),
        Some(publish) => drop(first.publish_ok(publish).await),
    }
    let alias = subscriber.answer(id).await.unwrap().alias;
    for group in 0..3 {
        first.group(ALIAS, group, 2).await;
    }
    subscriber.until_objects(alias, 6).await;
    let mut second = placement.raw_on(&relay, shards - 1).await;
    let mut publish = None;
    match second_flow {
        Flow::Announce => second.announce(name.namespace()).await,
        Flow::Publish => {
            let id = second.publish(&name, ALIAS + 1, false).await;
            // MOQT-14 §8.2 [D14-PUB-2]: accepted, and not asked for objects while the first serves.
            assert!(!second.publish_ok(id).await.forward);
            publish = Some(id);
        }
    }
    drop(first);
    match publish {
        None => {
            let (id, _) = second.asked(&name, 0).await;
            second.accept(id, ALIAS + 1, Some(Location::new(2, 1))).await;
        }
        Some(id) => {
            // MOQT-14 §8.4 [D14-SUB-11]
            let forward = second
                .wait(|log| Raw::updates(log, id).first().map(|update| update.forward))
                .await;
            assert!(forward);
        }
    }
    // It begins with what the first had sent already. MOQT-14 §8.2 [D14-PUB-1]
    for group in 2..5 {
        second.group(ALIAS + 1, group, 2).await;
    }
    let expected: Vec<_> = (0..5).flat_map(|group| [(group, 0), (group, 1)]).collect();
    assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
    subscriber.fence().await;
    assert_eq!(Raw::places(&subscriber.log, alias), expected, "no object twice");
    let over = subscriber
        .log
        .iter()
        .any(|news| matches!(news, News::Control(ControlMessage::PublishDone(..))));
    // MOQT-14 §8.4.2 [D14-PUB-4] [D14-PUB-6]: nothing to see downstream.
    assert!(!over);
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_announced() {
    run(|| takes_over(1, Flow::Announce, Flow::Announce));
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_announced_on_another_shard() {
    run(|| takes_over(2, Flow::Announce, Flow::Announce));
}

/// D14-PUB-1 D14-PUB-2 D14-PUB-4 D14-PUB-6 D14-SUB-11
#[test]
fn published_after_announced() {
    run(|| takes_over(1, Flow::Announce, Flow::Publish));
}

/// D14-PUB-1 D14-PUB-2 D14-PUB-4 D14-PUB-6 D14-SUB-11
#[test]
fn published_after_published_on_another_shard() {
    run(|| takes_over(2, Flow::Publish, Flow::Publish));
}

/// D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_published() {
    run(|| takes_over(1, Flow::Publish, Flow::Announce));
}

/// The second announcer announces the namespace again, or a shorter one as well, and takes that back.
async fn still_stands_by(again: bool) {
    let relay = relay(settings(1)).await;
    let name = track("standby", "again");
    let (mut first, mut second, mut subscriber) = (raw(&relay).await, raw(&relay).await, raw(&relay).await);
    first.announce(name.namespace()).await;
    let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
    first.serve(&name, ALIAS).await;
    subscriber.answer(id).await.unwrap();
    second.announce(name.namespace()).await;
    if again {
        second.announce(name.namespace()).await;
    } else {
        second.announce(&ns("test")).await;
        second.withdraw("test").await;
    }
    // What came of it has passed the registry.
    second.settled().await;
    drop(first);
    second.asked(&name, 0).await;
}

/// D14-NS-14 D14-PUB-4
#[test]
fn who_announces_again_still_stands_by() {
    run(|| still_stands_by(true));
}

/// D14-NS-11 D14-PUB-4
#[test]
fn who_withdraws_a_prefix_still_stands_by() {
    run(|| still_stands_by(false));
}

/// Decision 0008, instead of what D14-NS-6 D14-NS-7 D14-SUB-11 D14-SUB-26 ask for.
#[test]
fn further_publishers_stand_by_while_the_first_serves() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("standby", "pinned");
        let mut first = raw(&relay).await;
        first.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
        first.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        first.group(ALIAS, 0, 2).await;
        subscriber.until_objects(alias, 2).await;
        // [D14-NS-6] [D14-NS-7]: not asked, neither as one of several nor because it is new.
        let mut announcer = raw(&relay).await;
        announcer.announce(name.namespace()).await;
        announcer.fence().await;
        let asked = |news: &News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
        assert!(!announcer.log.iter().any(asked));
        // [D14-SUB-26] [D14-SUB-11]: taken with Forward 0, and not told otherwise; what it sends all the same is dropped.
        let mut publisher = raw(&relay).await;
        let publish = publisher.publish(&name, ALIAS + 1, true).await;
        assert!(!publisher.publish_ok(publish).await.forward);
        publisher.group(ALIAS + 1, 9, 2).await;
        publisher.fence().await;
        first.group(ALIAS, 1, 2).await;
        let expected = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
        subscriber.fence().await;
        assert_eq!(Raw::places(&subscriber.log, alias), expected);
        for client in [&mut publisher, &mut announcer] {
            client.fence().await;
        }
        assert!(Raw::updates(&publisher.log, publish).is_empty());
        assert!(!announcer.log.iter().any(asked));
    });
}
