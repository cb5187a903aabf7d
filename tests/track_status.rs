//! TRACK_STATUS is answered as SUBSCRIBE would be, and leaves nothing behind.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{News, Raw, raw};
use common::shards::Placement;
use common::status::{ALIAS, NEWEST, answer, ask, said};
use common::{relay, run, settings, track};
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, RequestError, RequestErrorReason, RequestKind, SubscribeFilter, SubscribeOk,
};
use std::time::{Duration, Instant};

async fn of_a_track_that_is_not_live(shards: usize) {
    let mut settings = settings(shards);
    settings.track.linger = Duration::from_millis(50);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("status", "cold");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut client = placement.raw_on(&relay, shards - 1).await;
    let id = ask(&mut client, &name, NEWEST).await;
    // The relay has no subscription, so it subscribes for a moment.
    let (upstream, _) = publisher.asked(&name, 0).await;
    let ok = said(Some(Location::new(8, 1)));
    publisher
        .say(ControlMessage::SubscribeOk(upstream, ok.clone()))
        .await;
    let told = answer(&mut client, id).await.unwrap();
    assert_eq!(told, SubscribeOk { alias: 0, ..ok });
    // No state is left: what the relay made of it ends by itself, and the track can be subscribed to.
    publisher
        .control(|message| {
            matches!(message, ControlMessage::Unsubscribe(id) if *id == upstream).then_some(())
        })
        .await;
    let id = client.subscribe(&name, NEWEST).await;
    let (again, _) = publisher.asked(&name, 1).await;
    publisher
        .accept(again, ALIAS + 1, Some(Location::new(8, 1)))
        .await;
    let alias = client.answer(id).await.unwrap().alias;
    publisher.group(ALIAS + 1, 9, 2).await;
    assert_eq!(client.until_objects(alias, 2).await, [(9, 0), (9, 1)]);
    let stray = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    assert!(!client.log.iter().any(stray));
    assert!(
        Raw::objects(&client.log)
            .iter()
            .all(|object| object.alias == alias)
    );
}

/// D14-SUB-28 D14-VAL-14
#[test]
fn a_track_that_is_not_live_is_asked_for_one_shard() {
    run(|| of_a_track_that_is_not_live(1));
}

/// D14-SUB-28 D14-VAL-14
#[test]
fn a_track_that_is_not_live_is_asked_for_two_shards() {
    run(|| of_a_track_that_is_not_live(2));
}

async fn of_a_live_track(shards: usize) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("status", "live");
    let mut publisher = placement.raw_on(&relay, 0).await;
    let publish = publisher.publish(&name, ALIAS, true).await;
    publisher.publish_ok(publish).await;
    let mut subscriber = placement.raw_on(&relay, 0).await;
    let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
    publisher.group(ALIAS, 3, 2).await;
    subscriber.until_objects(ok.alias, 2).await;
    let mut client = placement.raw_on(&relay, shards - 1).await;
    let id = ask(&mut client, &name, NEWEST).await;
    assert_eq!(
        answer(&mut client, id).await.unwrap().largest,
        Some(Location::new(3, 1))
    );
    // What SUBSCRIBE would be refused is refused here. [D14-SUB-7]
    let over = SubscribeFilter::AbsoluteRange {
        start: Location::ZERO,
        end_group: 2,
    };
    let id = ask(&mut client, &name, over).await;
    let error = answer(&mut client, id).await.unwrap_err();
    assert_eq!(error.reason, RequestErrorReason::InvalidRange);
    // It wants no objects.
    publisher.group(ALIAS, 4, 1).await;
    subscriber.until_objects(ok.alias, 3).await;
    client.fence().await;
    assert!(Raw::objects(&client.log).is_empty());
}

/// D14-SUB-28 D14-SUB-7
#[test]
fn a_live_track_answers_from_what_is_known_one_shard() {
    run(|| of_a_live_track(1));
}

/// D14-SUB-28 D14-SUB-7
#[test]
fn a_live_track_answers_from_what_is_known_two_shards() {
    run(|| of_a_live_track(2));
}

/// D14-SUB-28 D14-SUB-10: the waits of SUBSCRIBE, and the publisher's own words.
#[test]
fn what_is_not_there_is_refused_as_for_subscribe() {
    run(async || {
        let mut settings = settings(1);
        let wait = Duration::from_millis(200);
        settings.session.subscribe_wait = Some(wait);
        let relay = relay(settings).await;
        let name = track("status", "none");
        let mut client = raw(&relay).await;
        let asked = Instant::now();
        let id = ask(&mut client, &name, NEWEST).await;
        let error = answer(&mut client, id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        assert!(asked.elapsed() >= wait);
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let id = ask(&mut client, &name, NEWEST).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        let no = RequestError::new(RequestErrorReason::Unauthorized, "not for you");
        publisher
            .say(ControlMessage::RequestError(
                upstream,
                RequestKind::Subscribe,
                no.clone(),
            ))
            .await;
        assert_eq!(answer(&mut client, id).await.unwrap_err(), no);
    });
}

/// D14-LIM-4 D14-SUB-28: many are bounded, and others are unharmed.
#[test]
fn too_many_are_refused_at_once() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = Some(Duration::from_secs(30));
        settings.session.limits.session.statuses = 2;
        let relay = relay(settings).await;
        let mut greedy = raw(&relay).await;
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(ask(&mut greedy, &track("status", &n.to_string()), NEWEST).await);
        }
        let error = answer(&mut greedy, ids[2]).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        let mut publisher = raw(&relay).await;
        for (alias, n) in [(1, "0"), (2, "1")] {
            let id = publisher.publish(&track("status", n), alias, true).await;
            publisher.publish_ok(id).await;
        }
        for id in &ids[..2] {
            assert_eq!(answer(&mut greedy, *id).await.unwrap().largest, None);
        }
        // There is room again.
        let id = ask(&mut greedy, &track("status", "0"), NEWEST).await;
        answer(&mut greedy, id).await.unwrap();
    });
}

/// D14-REQ-8: one that fails in the relay is answered all the same.
#[test]
fn one_that_fails_is_refused() {
    run(async || {
        let mut plan = FaultPlan::new();
        let trigger = plan.point("status");
        let mut settings = settings(1);
        settings.faults = plan.faults();
        let relay = relay(settings).await;
        let name = track("status", "failing");
        let mut publisher = raw(&relay).await;
        let publish = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(publish).await;
        trigger.arm(1);
        let mut client = raw(&relay).await;
        let id = ask(&mut client, &name, NEWEST).await;
        let error = answer(&mut client, id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        let id = ask(&mut client, &name, NEWEST).await;
        answer(&mut client, id).await.unwrap();
    });
}
