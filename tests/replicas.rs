//! Subscribers on another shard than the publisher see the same track, whenever they come and go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{Raw, payload};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Relay;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

async fn two_shards(linger: Duration) -> (Relay, Placement) {
    let mut settings = settings(2);
    settings.track.linger = linger;
    let placement = Placement::default();
    placement.watch(&mut settings);
    (relay(settings).await, placement)
}

/// D14-SUB-4 D14-DATA-5 D14-CLOSE-1
#[test]
fn a_late_joiner_goes_on_in_the_middle_of_a_subgroup() {
    run(async || {
        let (relay, placement) = two_shards(Duration::from_secs(2)).await;
        let name = track("replica", "late");
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let mut home = placement.raw_on(&relay, 0).await;
        let id = home.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let home_alias = home.answer(id).await.unwrap().alias;
        let mut stream = publisher.open(ALIAS, 4, SubgroupIdMode::Explicit(3)).await;
        stream.object(0, &payload(4, 0)).await;
        stream.object(1, &payload(4, 1)).await;
        home.until_objects(home_alias, 2).await;
        // The first of its shard makes the replica, in the middle of the subgroup; the second finds it there.
        let mut late = Vec::new();
        for object in 2..4 {
            let mut subscriber = placement.raw_on(&relay, 1).await;
            let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
            // MOQT-14 §9.7 [D14-SUB-4]
            assert_eq!(ok.largest, Some(Location::new(4, object - 1)));
            late.push((subscriber, ok.alias));
            stream.object(object, &payload(4, object)).await;
            home.until_object(home_alias, (4, object)).await;
            for (subscriber, alias) in &mut late {
                subscriber.until_object(*alias, (4, object)).await;
            }
        }
        stream.fin();
        for (n, (subscriber, alias)) in late.iter_mut().enumerate() {
            let expected: Vec<_> = (2 + n as u64..4).map(|object| (4, object)).collect();
            assert_eq!(Raw::places(&subscriber.log, *alias), expected);
            let (number, header) = Raw::headers(&subscriber.log, *alias)[0];
            // MOQT-14 §10.4.2 [D14-DATA-5]
            assert_eq!(header.subgroup, SubgroupIdMode::Explicit(3));
            // MOQT-14 §10.4.3 [D14-CLOSE-1]
            assert_eq!(subscriber.ended(number).await, None);
            let got = &Raw::objects(&subscriber.log)[0];
            assert_eq!(got.payload, payload(4, got.location.object));
        }
    });
}

/// One leaves and comes back, while the replica lingers or after it is gone.
async fn comes_back(linger: Duration) {
    let (relay, placement) = two_shards(linger).await;
    let name = track("replica", "back");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut home = placement.raw_on(&relay, 0).await;
    let id = home.subscribe(&name, NEWEST).await;
    publisher.serve(&name, ALIAS).await;
    let home_alias = home.answer(id).await.unwrap().alias;
    let mut subscriber = placement.raw_on(&relay, 1).await;
    for round in 0..20 {
        let (id, ok) = subscriber.subscribed(&name, NEWEST).await;
        publisher.group(ALIAS, 2 * round, 2).await;
        for object in 0..2 {
            subscriber.until_object(ok.alias, (2 * round, object)).await;
        }
        // MOQT-14 §9.7 [D14-SUB-4]: the replica counts from the Largest that it had when it answered. What the home
        // took in before that and the replica had yet to hear of may come too, and nothing else.
        for (group, object) in Raw::places(&subscriber.log, ok.alias) {
            assert!(
                ok.largest < Some(Location::new(group, object)),
                "round {round}: {group}/{object}"
            );
            assert!(
                (2 * round).saturating_sub(1) <= group,
                "round {round}: {group}/{object}"
            );
        }
        subscriber.say(ControlMessage::Unsubscribe(id)).await;
        subscriber.fence().await;
        publisher.group(ALIAS, 2 * round + 1, 2).await;
        home.until_object(home_alias, (2 * round + 1, 1)).await;
    }
    assert_eq!(
        Raw::places(&home.log, home_alias).len(),
        80,
        "home missed nothing"
    );
}

#[test]
fn one_that_leaves_and_comes_back_finds_the_replica() {
    run(|| comes_back(Duration::from_secs(5)));
}

#[test]
fn one_that_leaves_and_comes_back_gets_a_new_replica() {
    run(|| comes_back(Duration::ZERO));
}

/// D14-SUB-19 D14-SUB-20
#[test]
fn the_end_of_the_track_comes_after_all_data() {
    run(async || {
        let (relay, placement) = two_shards(Duration::from_secs(2)).await;
        let name = track("replica", "end");
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let mut far = placement.raw_on(&relay, 1).await;
        let id = far.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = far.answer(id).await.unwrap().alias;
        const GROUPS: u64 = 60;
        for group in 0..GROUPS {
            let mut stream = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            stream.object(0, &[7; 100_000]).await;
            stream.object(1, b"last").await;
            stream.fin();
        }
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(GROUPS))
            .await;
        // MOQT-14 §9.12 [D14-SUB-19] [D14-SUB-20]
        let done = far.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(GROUPS))
        );
        assert_eq!(Raw::places(&far.log, alias).len() as u64, 2 * GROUPS);
    });
}

#[test]
fn upstream_is_released_when_the_last_on_any_shard_leaves() {
    run(async || {
        let (relay, placement) = two_shards(Duration::ZERO).await;
        let name = track("replica", "release");
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let mut far = placement.raw_on(&relay, 1).await;
        let id = far.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        far.answer(id).await.unwrap();
        // Its session ends without a word.
        drop(far);
        // MOQT-14 §9.11
        publisher
            .control(|message| {
                matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
            })
            .await;
    });
}
