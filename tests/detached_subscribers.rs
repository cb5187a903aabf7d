//! With `subscribe.detached` a subscription needs no publisher: it is accepted without one, and goes on with the next.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{News, Raw, raw, subscribe};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestError, RequestErrorReason, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn detached(shards: usize) -> (Settings, Placement) {
    let mut settings = settings(shards);
    settings.session.detached = true;
    let placement = Placement::default();
    placement.watch(&mut settings);
    (settings, placement)
}

fn is_over(client: &Raw) -> bool {
    let over = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    client.log.iter().any(over)
}

/// How a publisher offers the track.
#[derive(Clone, Copy)]
enum Flow {
    Announce,
    Publish,
}

/// Offers the track and serves it from group 0 on.
async fn publish(publisher: &mut Raw, name: &laps_protocol::moqt::name::FullTrackName, flow: Flow) {
    match flow {
        Flow::Announce => {
            publisher.announce(name.namespace()).await;
            publisher.serve(name, ALIAS).await;
        }
        Flow::Publish => {
            let id = publisher.publish(name, ALIAS, true).await;
            // A subscription that has just lost its publisher may be a moment late for the next.
            if !publisher.publish_ok(id).await.forward {
                let update = publisher.wait(|log| Raw::updates(log, id).first().cloned()).await;
                assert!(update.forward);
            }
        }
    }
}

/// Streams of group 0 that have come.
fn beginnings(log: &[News], alias: u64) -> usize {
    let headers = Raw::headers(log, alias);
    headers.iter().filter(|(_, header)| header.group == 0).count()
}

async fn three_lives(shards: usize) {
    let (settings, placement) = detached(shards);
    let relay = relay(settings).await;
    let name = track("detached", "lives");
    let mut subscribers = Vec::new();
    for shard in [0, shards - 1] {
        let mut subscriber = placement.raw_on(&relay, shard).await;
        let (id, ok) = subscriber.subscribed(&name, NEWEST).await;
        // Accepted without content.
        assert_eq!(ok.largest, None);
        subscribers.push((subscriber, id, ok.alias));
    }
    let mut expected = Vec::new();
    // Each life counts from 0, on another shard, by another flow, and ends in another way.
    for (life, flow) in [Flow::Announce, Flow::Publish, Flow::Announce]
        .into_iter()
        .enumerate()
    {
        let mut publisher = placement.raw_on(&relay, (life + 1) % shards).await;
        publish(&mut publisher, &name, flow).await;
        // A subscription that has just lost its publisher may be a moment late for the next: group 0 goes on until all
        // are there.
        let mut first = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        let mut next = 0;
        for (subscriber, _, alias) in &mut subscribers {
            let begun = beginnings(&subscriber.log, *alias);
            while beginnings(&subscriber.log, *alias) == begun {
                first.object(next, b"of the first group").await;
                next += 1;
                subscriber.fence().await;
            }
        }
        first.fin();
        publisher.group(ALIAS, 1, 1).await;
        let mut open = publisher.open(ALIAS, 2, SubgroupIdMode::Zero).await;
        open.object(0, b"of an unfinished group").await;
        expected.extend([(1, 0), (2, 0)]);
        expected.sort_unstable();
        for (subscriber, _, alias) in &mut subscribers {
            let seen = subscriber
                .wait(|log| {
                    let mut seen = Raw::places(log, *alias);
                    seen.retain(|(group, _)| *group > 0);
                    (seen.len() >= expected.len()).then_some(seen)
                })
                .await;
            assert_eq!(seen, expected);
        }
        if life == 1 {
            let done = ControlMessage::PublishDone(
                laps_protocol::moqt::message::RequestId(0),
                laps_protocol::moqt::message::PublishDone {
                    status: PublishDoneStatus::TrackEnded,
                    stream_count: Some(3),
                    phrase: bytes::Bytes::new(),
                },
            );
            open.reset(0);
            publisher.say(done).await;
            publisher.fence().await;
        } else {
            drop(open);
        }
        drop(publisher);
        for (subscriber, ..) in &mut subscribers {
            // What its publisher left unfinished is reset, what was finished is not.
            subscriber
                .wait(|log| {
                    let resets = log.iter().filter(|news| matches!(news, News::Reset(..))).count();
                    (resets == life + 1).then_some(())
                })
                .await;
            assert!(!is_over(subscriber));
        }
    }
    // It ends when the subscriber says so, also without a publisher.
    for (subscriber, id, _) in &mut subscribers {
        subscriber.say(ControlMessage::Unsubscribe(*id)).await;
        subscriber.fence().await;
        assert!(!is_over(subscriber));
        let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
        assert_eq!(ok.largest, None);
    }
}

/// D14-SUB-9 D14-SUB-10 D14-SUB-15 D14-CLOSE-1: the deviation that `subscribe.detached` names (decision 0012).
#[test]
fn a_subscription_outlives_its_publishers_one_shard() {
    run(|| three_lives(1));
}

/// D14-SUB-9 D14-SUB-10 D14-SUB-15 D14-CLOSE-1
#[test]
fn a_subscription_outlives_its_publishers_three_shards() {
    run(|| three_lives(3));
}

/// D14-SUB-15: many that wait are one subscription upstream, and the rule that they deviate from is in the log.
#[test]
fn those_that_wait_are_aggregated_and_named_in_the_log() {
    run(async || {
        let (settings, placement) = detached(2);
        let relay = relay(settings).await;
        let name = track("detached", "many");
        let mut subscribers = Vec::new();
        for n in 0..6 {
            let mut subscriber = placement.raw_on(&relay, n % 2).await;
            let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
            subscribers.push((subscriber, ok.alias));
        }
        let rules = placement.values("subscription is accepted without a publisher", "rule");
        assert!(rules.len() == 6 && rules.iter().all(|rule| rule.contains("D14-SUB-9")));
        let mut publisher = raw(&relay).await;
        publish(&mut publisher, &name, Flow::Announce).await;
        publisher.group(ALIAS, 0, 3).await;
        for (subscriber, alias) in &mut subscribers {
            assert_eq!(
                subscriber.until_objects(*alias, 3).await,
                [(0, 0), (0, 1), (0, 2)]
            );
        }
        publisher.fence().await;
        let asked = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
        assert_eq!(publisher.log.iter().filter(asked).count(), 1);
    });
}

/// D14-SUB-9: what cannot be served even so is refused, and a publisher's refusal is passed on.
#[test]
fn what_is_refused_is_still_refused() {
    run(async || {
        let (mut settings, _) = detached(1);
        settings.session.limits.session.waiting = 1;
        let relay = relay(settings).await;
        let mut subscriber = raw(&relay).await;
        subscriber.subscribed(&track("full", "a"), NEWEST).await;
        let id = subscriber.subscribe(&track("full", "b"), NEWEST).await;
        let error = subscriber.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InternalError);
        let name = track("refusing", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        let no = RequestError::new(RequestErrorReason::Unauthorized, "no");
        publisher
            .say(ControlMessage::RequestError(
                upstream,
                RequestKind::Subscribe,
                no.clone(),
            ))
            .await;
        assert_eq!(subscriber.answer(id).await.unwrap_err(), no);
    });
}

/// D14-SUB-10: one that was accepted is not ended by a publisher that refuses, and has the next one.
#[test]
fn a_refusal_does_not_end_what_was_accepted() {
    run(async || {
        let (settings, _) = detached(1);
        let relay = relay(settings).await;
        let name = track("detached", "refusal");
        let mut subscriber = raw(&relay).await;
        let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        let no = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not yet");
        publisher
            .say(ControlMessage::RequestError(upstream, RequestKind::Subscribe, no))
            .await;
        // It asks again by itself.
        let (again, _) = publisher.asked(&name, 1).await;
        publisher.accept(again, ALIAS, None).await;
        publisher.group(ALIAS, 0, 2).await;
        assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(0, 0), (0, 1)]);
        assert!(!is_over(&subscriber));
    });
}

/// D14-SUB-2 D14-SUB-17: what updates said holds over the lives of a track, except a start in the numbers of the last.
#[test]
fn updates_hold_over_lives() {
    run(async || {
        let (settings, placement) = detached(1);
        let relay = relay(settings).await;
        let name = track("detached", "updates");
        let mut first = raw(&relay).await;
        first.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (upstream, _) = first.asked(&name, 0).await;
        first.accept(upstream, ALIAS, Some(Location::new(5, 3))).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        // Paused, and let go on, with the start that there was; no group after 7.
        let start = Location::new(5, 4);
        subscriber.update(id, start, Some(7), false).await;
        subscriber.fence().await;
        drop(first);
        placement
            .until(
                &mut subscriber,
                "the publisher is gone, the subscription waits for the next",
                "rule",
                1,
            )
            .await;
        subscriber.update(id, start, Some(7), true).await;
        subscriber.fence().await;
        let mut second = raw(&relay).await;
        publish(&mut second, &name, Flow::Publish).await;
        second.group(ALIAS, 0, 1).await;
        assert_eq!(subscriber.until_objects(alias, 1).await, [(0, 0)]);
        second.group(ALIAS, 8, 1).await;
        assert_eq!(
            subscriber.done(id).await.status,
            PublishDoneStatus::SubscriptionEnded
        );
        assert_eq!(Raw::places(&subscriber.log, alias), [(0, 0)]);
    });
}

/// D14-SUB-28: TRACK_STATUS says what SUBSCRIBE would be answered.
#[test]
fn a_status_is_as_detached_as_a_subscription() {
    run(async || {
        let (mut settings, _) = detached(1);
        settings.session.subscribe_wait = Some(Duration::from_secs(30));
        let relay = relay(settings).await;
        let mut client = raw(&relay).await;
        let id = client.id();
        let status = subscribe(&track("detached", "status"), NEWEST);
        client.say(ControlMessage::TrackStatus(id, status)).await;
        let ok = client
            .control(|message| match message {
                ControlMessage::TrackStatusOk(of, ok) if *of == id => Some(ok.clone()),
                _ => None,
            })
            .await;
        assert_eq!((ok.alias, ok.largest), (0, None));
    });
}

/// D14-SUB-10: without the setting there is none of this; a subscription ends with its publisher.
#[test]
fn it_is_off_by_default() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("detached", "off");
        let mut publisher = raw(&relay).await;
        let mut subscriber = raw(&relay).await;
        let publishes = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(publishes).await;
        let (id, _) = subscriber.subscribed(&name, NEWEST).await;
        drop(publisher);
        subscriber.done(id).await;
    });
}

/// D14-SUB-10: one whose actor fails is still accepted, and still outlives its publisher.
#[test]
fn a_failure_in_the_relay_does_not_end_it() {
    run(async || {
        let mut plan = FaultPlan::new();
        let trigger = plan.point("subscription");
        let (mut settings, _) = detached(1);
        settings.faults = plan.faults();
        let relay = relay(settings).await;
        let name = track("detached", "failing");
        let mut subscriber = raw(&relay).await;
        let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
        let mut first = raw(&relay).await;
        publish(&mut first, &name, Flow::Publish).await;
        first.group(ALIAS, 0, 1).await;
        subscriber.until_object(ok.alias, (0, 0)).await;
        trigger.arm(1);
        first.group(ALIAS, 1, 1).await;
        while trigger.armed() > 0 {
            first.fence().await;
        }
        drop(first);
        let mut second = raw(&relay).await;
        publish(&mut second, &name, Flow::Publish).await;
        // It goes on at the next group when it is back, as any subscription does.
        let mut group = 0;
        while !Raw::places(&subscriber.log, ok.alias)
            .iter()
            .any(|place| place.0 >= 100)
        {
            second.group(ALIAS, 100 + group, 1).await;
            group += 1;
            subscriber.fence().await;
        }
        let answered = |news: &&News| matches!(news, News::Control(ControlMessage::SubscribeOk(..)));
        assert_eq!(subscriber.log.iter().filter(answered).count(), 1);
        assert!(!is_over(&subscriber));
    });
}
