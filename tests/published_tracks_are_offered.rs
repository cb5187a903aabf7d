//! A track that is published below a watched prefix is offered to the watcher by PUBLISH, and flows when it accepts.

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
use common::watch::{offers, track_in};
use common::{relay, run, settings};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, MessageParams, Publish, PublishDoneStatus, RequestErrorReason, RequestKind,
    SubscribeFilter,
};

const ALIAS: u64 = 70;

/// D14-NS-8 D14-NS-2 D14-SUB-14 D14-SUB-26 D14-SUB-27: on the publisher's shard and on another.
#[test]
fn objects_flow_when_the_watcher_accepts() {
    for shards in [1, 2] {
        run(move || async move {
            let mut settings = settings(shards);
            let placement = Placement::default();
            placement.watch(&mut settings);
            let relay = relay(settings).await;
            let name = track_in("room/1", "video");
            let mut publisher = placement.raw_on(&relay, 0).await;
            let mut early = placement.raw_on(&relay, shards - 1).await;
            early.watched("room").await;
            let id = publisher.id();
            let params = MessageParams {
                delivery_timeout_ms: Some(900),
                max_cache_duration_ms: Some(7000),
                ..MessageParams::default()
            };
            let publish = Publish {
                track: name.clone(),
                alias: ALIAS,
                group_order: GroupOrder::Descending,
                largest: Some(Location::new(4, 2)),
                forward: true,
                params,
            };
            publisher.say(ControlMessage::Publish(id, publish)).await;
            // Nobody has accepted it yet.
            assert!(!publisher.publish_ok(id).await.forward);
            let mut late = placement.raw_on(&relay, shards - 1).await;
            late.watched("room/1").await;
            for watcher in [&mut early, &mut late] {
                let (offer, publish) = watcher.offered(0).await;
                assert_eq!((offer.0 % 2, &publish.track), (1, &name));
                assert_eq!(publish.largest, Some(Location::new(4, 2)));
                assert_eq!(publish.group_order, GroupOrder::Descending);
                let timeouts = (
                    publish.params.delivery_timeout_ms,
                    publish.params.max_cache_duration_ms,
                );
                assert_eq!(timeouts, (Some(900), Some(7000)));
                assert!(publish.forward, "MOQT-14 §9.13");
                watcher.accept_offer(offer, true).await;
            }
            // MOQT-14 §8.4 [D14-SUB-11]
            let forward = publisher.wait(|log| Raw::updates(log, id).last().map(|update| update.forward));
            assert!(forward.await);
            for watcher in [&mut early, &mut late] {
                // Both have attached when both were asked for twice.
                watcher.settled().await;
            }
            for group in 5..7 {
                publisher.group(ALIAS, group, 2).await;
            }
            for watcher in [&mut early, &mut late] {
                let alias = watcher.offered(0).await.1.alias;
                watcher.until_object(alias, (6, 1)).await;
            }
            // MOQT-14 §9.12 [D14-SUB-19]: the end of the track is the end of what came of the offer.
            publisher
                .publish_done(id, PublishDoneStatus::TrackEnded, Some(2))
                .await;
            for watcher in [&mut early, &mut late] {
                let offer = watcher.offered(0).await.0;
                assert_eq!(watcher.done(offer).await.status, PublishDoneStatus::TrackEnded);
                assert_eq!(offers(&watcher.log).len(), 1);
            }
        });
    }
}

/// D14-SUB-23: no PUBLISH to a client that has not asked, nor to one that watches something else.
#[test]
fn nobody_is_offered_what_it_did_not_ask_for() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        let (mut silent, mut elsewhere) = (raw(&relay).await, raw(&relay).await);
        let mut watcher = raw(&relay).await;
        elsewhere.watched("roo").await;
        watcher.watched("room").await;
        let id = publisher.publish(&track_in("room/1", "video"), ALIAS, true).await;
        publisher.publish_ok(id).await;
        watcher.offered(0).await;
        for client in [&mut silent, &mut elsewhere, &mut publisher] {
            client.settled().await;
            assert_eq!(offers(&client.log), []);
        }
    });
}

/// D14-NS-3 D14-SUB-22: accepting its own PUBLISH is a subscription to oneself.
#[test]
fn the_publisher_is_offered_its_own_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut client = raw(&relay).await;
        client.watched("room").await;
        let id = client.publish(&track_in("room", "own"), ALIAS, true).await;
        client.publish_ok(id).await;
        let (offer, publish) = client.offered(0).await;
        client.accept_offer(offer, true).await;
        client.wait(|log| Raw::updates(log, id).last().map(|_| ())).await;
        client.group(ALIAS, 0, 2).await;
        assert_eq!(client.until_objects(publish.alias, 2).await, [(0, 0), (0, 1)]);
    });
}

/// D14-NS-10: who stops watching keeps what it has, and is offered nothing new.
#[test]
fn subscriptions_outlive_the_watch() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut watcher) = (raw(&relay).await, raw(&relay).await);
        watcher.watched("room").await;
        let id = publisher.publish(&track_in("room", "a"), ALIAS, true).await;
        publisher.publish_ok(id).await;
        let (offer, publish) = watcher.offered(0).await;
        watcher.accept_offer(offer, true).await;
        publisher
            .wait(|log| Raw::updates(log, id).last().map(|_| ()))
            .await;
        watcher.unwatch("room").await;
        watcher.settled().await;
        let other = publisher.publish(&track_in("room", "b"), ALIAS + 1, true).await;
        publisher.publish_ok(other).await;
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(watcher.until_objects(publish.alias, 2).await, [(0, 0), (0, 1)]);
        watcher.settled().await;
        assert_eq!(offers(&watcher.log).len(), 1);
        // Watched again, it hears of the one that it does not know.
        watcher.watched("room").await;
        assert_eq!(watcher.offered(1).await.1.track, track_in("room", "b"));
        watcher.settled().await;
        assert_eq!(offers(&watcher.log).len(), 2);
    });
}

/// D14-VAL-15 D14-NS-2: nobody is offered what it is subscribed to.
#[test]
fn what_is_subscribed_is_not_offered() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut watcher) = (raw(&relay).await, raw(&relay).await);
        let name = track_in("room", "a");
        let id = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(id).await;
        watcher.subscribed(&name, SubscribeFilter::LargestObject).await;
        watcher.watched("room").await;
        let other = publisher.publish(&track_in("room", "b"), ALIAS + 1, true).await;
        publisher.publish_ok(other).await;
        assert_eq!(watcher.offered(0).await.1.track, track_in("room", "b"));
        watcher.settled().await;
        assert_eq!(offers(&watcher.log).len(), 1);
    });
}

/// D14-VAL-15: a SUBSCRIBE that crosses the offer leaves one subscription.
#[test]
fn a_subscribe_that_crosses_the_offer_wins() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut watcher) = (raw(&relay).await, raw(&relay).await);
        let name = track_in("room", "a");
        watcher.watched("room").await;
        let id = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(id).await;
        let (offer, publish) = watcher.offered(0).await;
        let (_, ok) = watcher.subscribed(&name, SubscribeFilter::LargestObject).await;
        watcher.accept_offer(offer, true).await;
        assert_eq!(
            watcher.done(offer).await.status,
            PublishDoneStatus::SubscriptionEnded
        );
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(watcher.until_objects(ok.alias, 2).await, [(0, 0), (0, 1)]);
        assert!(Raw::places(&watcher.log, publish.alias).is_empty());
    });
}

/// D14-SUB-25 D14-NS-8: what the watcher refuses is not offered again, until the track begins anew.
#[test]
fn a_refused_offer_is_not_repeated() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut second) = (raw(&relay).await, raw(&relay).await);
        let mut watcher = raw(&relay).await;
        let name = track_in("room", "a");
        watcher.watched("room").await;
        let id = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(id).await;
        let (offer, _) = watcher.offered(0).await;
        watcher.refuse(offer, RequestKind::Publish).await;
        watcher.settled().await;
        let other = second.publish(&name, ALIAS, true).await;
        second.publish_ok(other).await;
        watcher.settled().await;
        assert_eq!(offers(&watcher.log).len(), 1);
        // A reader hears when the track is over.
        let mut reader = raw(&relay).await;
        let (reading, _) = reader.subscribed(&name, SubscribeFilter::LargestObject).await;
        drop((publisher, second));
        reader.done(reading).await;
        let mut third = raw(&relay).await;
        third.publish(&name, ALIAS + 1, true).await;
        watcher.offered(1).await;
    });
}

/// D14-NS-13: an offer that nobody answered is taken back when the track is over.
#[test]
fn an_unanswered_offer_ends_with_its_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (publisher, mut watcher) = (raw(&relay).await, raw(&relay).await);
        let mut publisher = publisher;
        watcher.watched("room").await;
        publisher.publish(&track_in("room", "a"), ALIAS, true).await;
        let (offer, _) = watcher.offered(0).await;
        drop(publisher);
        assert_eq!(watcher.done(offer).await.status, PublishDoneStatus::TrackEnded);
        // The answer crossed that, and is no news.
        watcher.accept_offer(offer, true).await;
        watcher.settled().await;
    });
}

/// D14-NS-12: after DONE a SUBSCRIBE is answered like any other, and a subscription goes on.
#[test]
fn a_subscribe_after_done_is_no_error() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut publisher, mut client) = (raw(&relay).await, raw(&relay).await);
        let name = track_in("room", "a");
        publisher.announce(name.namespace()).await;
        client.watched("room").await;
        client.until_told(1).await;
        let id = client.subscribe(&name, SubscribeFilter::LargestObject).await;
        publisher.serve(&name, ALIAS).await;
        let alias = client.answer(id).await.unwrap().alias;
        publisher.withdraw("room").await;
        client.until_told(2).await;
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(client.until_objects(alias, 2).await, [(0, 0), (0, 1)]);
        let id = client
            .subscribe(&track_in("room", "b"), SubscribeFilter::LargestObject)
            .await;
        let error = client.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    });
}
