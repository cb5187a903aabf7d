//! What a session owes its requests when they cross, end early, or end with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::counted::{counted, telling};
use common::raw::{Raw, Reading, payload, raw};
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_actors::session;
use laps_actors::supervise::FaultPlan;
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestErrorReason, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Waits for an alias to be explained take so long that a test which waits for their end has failed.
fn patient(shards: usize) -> Settings {
    let settings = settings(shards);
    Settings {
        session: session::Config {
            alias_wait: Duration::from_secs(3600),
            ..settings.session
        },
        ..settings
    }
}

/// D14-NS-13 D14-SUB-10: a publisher whose session ends while its PUBLISH is being placed publishes nothing.
#[test]
fn a_publish_that_is_in_flight_ends_with_its_session() {
    run(|| async {
        let relay = relay(settings(2)).await;
        let track = track("inflight", "video");
        let mut publisher = raw(&relay).await;
        // The session ends in the turn in which it asks the registry.
        publisher.publish_and_garbage(&track, 7).await;
        publisher.closed().await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&track, NEWEST).await;
        let (kind, error) = subscriber.refused(id).await;
        assert_eq!(
            (kind, error.reason),
            (RequestKind::Subscribe, RequestErrorReason::TrackDoesNotExist)
        );
        // The name is free again.
        let mut publisher = raw(&relay).await;
        let id = publisher.publish(&track, 7, true).await;
        publisher.publish_ok(id).await;
        let (_, ok) = subscriber.subscribed(&track, NEWEST).await;
        publisher.group(7, 0, 3).await;
        subscriber.until_objects(ok.alias, 3).await;
    });
}

/// D14-PUB-4: PUBLISH_DONE that comes before the track is placed ends it when it is.
#[test]
fn a_track_that_is_over_before_it_is_placed_ends() {
    run(|| async {
        let relay = relay(settings(2)).await;
        let track = track("short", "video");
        let mut publisher = raw(&relay).await;
        let id = publisher.publish_and_done(&track, 7).await;
        publisher.publish_ok(id).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&track, NEWEST).await;
        match subscriber.answer(id).await {
            // It was still ending.
            Ok(_) => {
                let done = subscriber.done(id).await;
                assert_ne!(done.status, PublishDoneStatus::SubscriptionEnded);
            }
            Err(error) => assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist),
        }
    });
}

/// D14-DATA-20 D14-SUB-18: streams of an ended subscription are refused at once, and its datagrams go nowhere.
#[test]
fn what_comes_late_for_an_ended_subscription_is_refused_at_once() {
    run(|| async {
        let mut settings = patient(1);
        settings.track.linger = Duration::ZERO;
        let relay = relay(settings).await;
        let video = track("late", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(video.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        let upstream = publisher.serve(&video, 7).await;
        subscriber.answer(id).await.unwrap();
        subscriber.say(ControlMessage::Unsubscribe(id)).await;
        let gone = |message: &ControlMessage| {
            matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
        };
        publisher.control(gone).await;
        let mut stream = publisher.open(7, 0, SubgroupIdMode::Zero).await;
        stream.object(0, &payload(0, 0)).await;
        stream.stopped().await;
    });
}

/// D14-TERM-1: a session that can no longer write ends, instead of living on in silence.
#[test]
fn a_session_ends_with_its_writer() {
    run(|| async {
        let mut plan = FaultPlan::new();
        let trigger = plan.point("egress");
        let relay = relay(Settings {
            faults: plan.faults(),
            ..settings(1)
        })
        .await;
        let video = track("writer", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(video.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        publisher.serve(&video, 7).await;
        subscriber.answer(id).await.unwrap();
        trigger.arm(1);
        publisher.group(7, 0, 1).await;
        assert_eq!(subscriber.closed().await, 1);
    });
}

/// D14-CLOSE-7: a stream that its subscriber stops while nothing is sent on it makes room for the next one.
#[test]
fn an_idle_stream_that_is_stopped_makes_room_for_the_next() {
    run(|| async {
        let mut settings = settings(1);
        settings.session.max_open_streams = 1;
        let relay = relay(telling(settings)).await;
        let video = track("idle", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(video.namespace()).await;
        let mut subscriber = Raw::connect(&relay, Reading::StopFirst, TransportConfig::default()).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        publisher.serve(&video, 7).await;
        let ok = subscriber.answer(id).await.unwrap();
        let mut idle = publisher.open(7, 0, SubgroupIdMode::Zero).await;
        idle.object(0, &payload(0, 0)).await;
        publisher.group(7, 1, 2).await;
        let places = subscriber.until_objects(ok.alias, 2).await;
        assert_eq!(places, [(1, 0), (1, 1)]);
        let why = ["direction=\"out\"", "reason=\"stopped\""];
        assert_eq!(counted(&relay, "laps_stream_resets_total", &why, 1).await, 1);
        idle.write(Bytes::new()).await;
    });
}
