//! A panic in an actor ends what that actor owned, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::{News, Raw, payload, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::{Relay, Settings};
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_protocol::moqt::message::{
    ControlMessage, MessageParams, NamespaceRequest, PublishDoneStatus, RequestErrorReason, SubscribeFilter,
};
use laps_protocol::moqt::object::SubgroupIdMode;

const VIDEO: u64 = 70;
const AUDIO: u64 = 71;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §10.4.3 and §3.4 [D14-CLOSE-8] [D14-TERM-1]
const RESET_INTERNAL_ERROR: u64 = 0;
const CLOSE_INTERNAL_ERROR: u64 = 1;

/// A relay that fails at `kind` when the trigger is pulled: everywhere, or for one name only.
fn failing(kind: &str, name: Option<String>, shards: usize) -> (Settings, Trigger) {
    let mut plan = FaultPlan::new();
    let trigger = match name {
        Some(name) => plan.point_named(kind, name),
        None => plan.point(kind),
    };
    let settings = Settings {
        faults: plan.faults(),
        ..settings(shards)
    };
    (settings, trigger)
}

fn has_done(client: &mut Raw) -> bool {
    client.catch_up();
    client
        .log
        .iter()
        .any(|news| matches!(news, News::Control(ControlMessage::PublishDone(..))))
}

/// A publisher of two tracks, and two subscribers of both, with their aliases for video and audio.
struct Scene {
    publisher: Raw,
    /// Requests that carry video and audio.
    requests: [laps_protocol::moqt::message::RequestId; 2],
    one: Raw,
    two: Raw,
    /// Of each subscriber: its requests and its aliases.
    subs: [[(laps_protocol::moqt::message::RequestId, u64); 2]; 2],
}

async fn scene(relay: &Relay, namespace: &str) -> Scene {
    let (video, audio) = (track(namespace, "video"), track(namespace, "audio"));
    let mut publisher = raw(relay).await;
    publisher.announce(video.namespace()).await;
    let (mut one, mut two) = (raw(relay).await, raw(relay).await);
    let mut subs = Vec::new();
    let first = one.subscribe(&video, NEWEST).await;
    let video_request = publisher.serve(&video, VIDEO).await;
    let second = one.subscribe(&audio, NEWEST).await;
    let audio_request = publisher.serve(&audio, AUDIO).await;
    subs.push([
        (first, one.answer(first).await.unwrap().alias),
        (second, one.answer(second).await.unwrap().alias),
    ]);
    let (first, ok) = two.subscribed(&video, NEWEST).await;
    let (second, also) = two.subscribed(&audio, NEWEST).await;
    subs.push([(first, ok.alias), (second, also.alias)]);
    Scene {
        publisher,
        requests: [video_request, audio_request],
        one,
        two,
        subs: [subs[0], subs[1]],
    }
}

/// Every object of groups 0 to `groups`, two in each.
fn all(groups: u64) -> Vec<(u64, u64)> {
    (0..groups).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

async fn subscription_resumes() {
    let video = track("crash", "video");
    let (settings, trigger) = failing("subscription", Some(video.to_string()), 1);
    let relay = relay(settings).await;
    let mut scene = scene(&relay, "crash").await;
    let [[video_sub, audio_sub], [_, audio_sub_two]] = scene.subs;
    let mut stream = scene.publisher.open(VIDEO, 0, SubgroupIdMode::Zero).await;
    stream.object(0, b"before").await;
    scene.one.until_object(video_sub.1, (0, 0)).await;
    scene.two.until_object(scene.subs[1][0].1, (0, 0)).await;
    // Of the two subscriptions to video one fails; which one is left to chance.
    trigger.arm(1);
    stream.object(1, b"the object that fails it").await;
    trigger.wait_fired(1).await;
    let (mut one, mut two) = (scene.one, scene.two);
    let number = |client: &Raw, alias| Raw::headers(&client.log, alias)[0].0;
    let first_of_one = number(&one, video_sub.1);
    let first_of_two = number(&two, scene.subs[1][0].1);
    let failed_is_one = tokio::select! {
        _ = one.ended(first_of_one) => true,
        _ = two.ended(first_of_two) => false,
    };
    let (failed, spared) = if failed_is_one {
        (&mut one, &mut two)
    } else {
        (&mut two, &mut one)
    };
    let (failed_sub, spared_sub, failed_audio, spared_audio) = if failed_is_one {
        (video_sub, scene.subs[1][0], audio_sub, audio_sub_two)
    } else {
        (scene.subs[1][0], video_sub, audio_sub_two, audio_sub)
    };
    let failed_stream = if failed_is_one { first_of_one } else { first_of_two };
    // Its open stream is reset, never finished. [D14-CLOSE-1]
    assert_eq!(failed.ended(failed_stream).await, Some(RESET_INTERNAL_ERROR));
    spared.until_object(spared_sub.1, (0, 1)).await;
    stream.fin();
    // Video and audio go on; the subscription comes back within a few groups.
    let mut group = 0;
    loop {
        group += 1;
        scene.publisher.group(VIDEO, group, 2).await;
        scene.publisher.group(AUDIO, group - 1, 2).await;
        spared.until_object(spared_sub.1, (group, 1)).await;
        failed.fence().await;
        if Raw::places(&failed.log, failed_sub.1)
            .iter()
            .any(|place| place.0 > 0)
        {
            break;
        }
    }
    let last = group + 3;
    for group in group + 1..=last {
        scene.publisher.group(VIDEO, group, 2).await;
        scene.publisher.group(AUDIO, group - 1, 2).await;
    }
    failed.until_object(failed_sub.1, (last, 1)).await;
    assert!(!has_done(failed), "a restart is not an end");
    // It resumed at the start of a group and lost nothing after that, on the alias that it had.
    let resumed: Vec<_> = Raw::places(&failed.log, failed_sub.1)
        .into_iter()
        .filter(|place| place.0 > 0)
        .collect();
    let first = resumed[0].0;
    let expected: Vec<_> = (first..=last)
        .flat_map(|group| [(group, 0), (group, 1)])
        .collect();
    assert_eq!(resumed, expected);
    // The other subscriber, and the other track of the same session, lost no object.
    let mut spared_places = all(last + 1);
    assert_eq!(
        spared.until_objects(spared_sub.1, spared_places.len()).await,
        spared_places
    );
    spared_places = all(last);
    assert_eq!(
        failed.until_objects(failed_audio.1, spared_places.len()).await,
        spared_places
    );
    assert_eq!(
        spared.until_objects(spared_audio.1, spared_places.len()).await,
        spared_places
    );
    // MOQT-14 §9.12 [D14-SUB-20]: the count goes on over the restart.
    let streams = last + 1;
    scene
        .publisher
        .publish_done(scene.requests[0], PublishDoneStatus::TrackEnded, Some(streams))
        .await;
    let done = failed.done(failed_sub.0).await;
    assert_eq!(done.status, PublishDoneStatus::TrackEnded);
    let seen = Raw::headers(&failed.log, failed_sub.1).len() as u64;
    assert_eq!(done.stream_count, Some(seen));
    assert_eq!(spared.done(spared_sub.0).await.stream_count, Some(streams));
}

/// D14-CLOSE-1 D14-CLOSE-8 D14-SUB-20
#[test]
fn a_failed_subscription_resumes_at_the_next_group() {
    run(subscription_resumes);
}

async fn subscription_gives_up() {
    let video = track("giveup", "video");
    let (settings, trigger) = failing("subscription", Some(video.to_string()), 1);
    let relay = relay(settings).await;
    let audio = track("giveup", "audio");
    let mut publisher = raw(&relay).await;
    publisher.announce(video.namespace()).await;
    let mut subscriber = raw(&relay).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    subscriber.answer(id).await.unwrap();
    let audio_id = subscriber.subscribe(&audio, NEWEST).await;
    publisher.serve(&audio, AUDIO).await;
    let audio_alias = subscriber.answer(audio_id).await.unwrap().alias;
    trigger.arm(u32::MAX);
    // A publisher at its own pace: whenever the subscription is back, an object is not far.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(5));
    let mut group = 0;
    let done = loop {
        tokio::select! {
            done = subscriber.done(id) => break done,
            _ = pace.tick() => {
                publisher.group(VIDEO, group, 1).await;
                publisher.group(AUDIO, group, 2).await;
                group += 1;
            }
        }
    };
    assert_eq!(done.status, PublishDoneStatus::InternalError);
    // Ten restarts in ten seconds are granted; the failure after them is the last.
    assert_eq!(trigger.fired(), 11);
    assert_eq!(
        subscriber.until_objects(audio_alias, all(group).len()).await,
        all(group)
    );
}

#[test]
fn a_subscription_that_keeps_failing_is_ended_on_the_wire() {
    run(subscription_gives_up);
}

async fn track_fails(shards: usize) {
    let video = track("track", "video");
    let (mut settings, trigger) = failing("track", Some(video.to_string()), shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut publisher = placement.raw_on(&relay, 0).await;
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let audio = track("track", "audio");
    publisher.announce(video.namespace()).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    let upstream = publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let audio_id = subscriber.subscribe(&audio, NEWEST).await;
    publisher.serve(&audio, AUDIO).await;
    let audio_alias = subscriber.answer(audio_id).await.unwrap().alias;
    let mut stream = publisher.open(VIDEO, 0, SubgroupIdMode::Zero).await;
    stream.object(0, b"before").await;
    publisher.group(AUDIO, 0, 2).await;
    subscriber.until_object(alias, (0, 0)).await;
    trigger.arm(1);
    stream.object(1, b"the object that fails it").await;
    let done = subscriber.done(id).await;
    assert_eq!(done.status, PublishDoneStatus::InternalError);
    assert_eq!(done.stream_count, Some(1));
    let number = Raw::headers(&subscriber.log, alias)[0].0;
    let code = subscriber.ended(number).await;
    assert_eq!(code, Some(RESET_INTERNAL_ERROR));
    // Nobody had to wait for what could not come.
    let late = placement.values("streams of a track that has ended take too long", "streams");
    assert!(late.is_empty(), "{late:?}");
    // Upstream is told, so that it stops sending. MOQT-14 §9.11
    publisher
        .control(|message| {
            matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
        })
        .await;
    // The next SUBSCRIBE gets a new track.
    let again = subscriber.subscribe(&video, NEWEST).await;
    let (upstream, _) = publisher.asked(&video, 1).await;
    publisher.accept(upstream, VIDEO + 10, None).await;
    let again = subscriber.answer(again).await.unwrap();
    publisher.group(VIDEO + 10, 5, 2).await;
    publisher.group(AUDIO, 1, 2).await;
    assert_eq!(subscriber.until_objects(again.alias, 2).await, [(5, 0), (5, 1)]);
    assert_eq!(subscriber.until_objects(audio_alias, 4).await, all(2));
}

/// D14-CLOSE-8
#[test]
fn a_failed_track_ends_its_subscriptions_and_is_made_anew() {
    run(|| track_fails(1));
}

#[test]
fn a_failed_track_ends_its_subscriptions_on_other_shards_too() {
    run(|| track_fails(2));
}

async fn subscribers_session_fails() {
    let (settings, trigger) = failing("session", None, 1);
    let relay = relay(settings).await;
    let mut scene = scene(&relay, "session").await;
    let [_, [video, audio]] = scene.subs;
    scene.publisher.group(VIDEO, 0, 2).await;
    scene.two.until_objects(video.1, 2).await;
    scene.one.until_objects(scene.subs[0][0].1, 2).await;
    trigger.arm(1);
    // Only the session that something arrives for fails.
    scene
        .one
        .conn
        .send_datagram(bytes::Bytes::from_static(&[0, 9, 9, 9, 9, 1]))
        .unwrap();
    assert_eq!(scene.one.closed().await, CLOSE_INTERNAL_ERROR);
    for group in 1..4 {
        scene.publisher.group(VIDEO, group, 2).await;
    }
    scene.publisher.group(AUDIO, 0, 2).await;
    assert_eq!(scene.two.until_objects(video.1, 8).await, all(4));
    assert_eq!(scene.two.until_objects(audio.1, 2).await, all(1));
    assert!(!has_done(&mut scene.two));
    // Nothing of the failed session reads on: when the other leaves too, upstream is released.
    scene.two.say(ControlMessage::Unsubscribe(video.0)).await;
    let request = scene.requests[0];
    scene
        .publisher
        .control(|message| matches!(message, ControlMessage::Unsubscribe(of) if *of == request).then_some(()))
        .await;
}

/// D14-TERM-1
#[test]
fn a_failed_subscribers_session_ends_alone() {
    run(subscribers_session_fails);
}

async fn connection_fails() {
    // Nothing happens to the actor of a connection, so it has to ask by itself.
    let mut plan = FaultPlan::live();
    let trigger = plan.point("connection");
    let settings = Settings {
        faults: plan.faults(),
        ..settings(1)
    };
    let relay = relay(settings).await;
    let mut alone = raw(&relay).await;
    trigger.arm(1);
    assert_eq!(alone.closed().await, CLOSE_INTERNAL_ERROR);
    let mut next = raw(&relay).await;
    next.announce(track("after", "it").namespace()).await;
    assert_eq!(trigger.fired(), 1);
}

/// D14-TERM-1
#[test]
fn a_failed_connection_ends_with_its_session() {
    run(connection_fails);
}

async fn publishers_session_fails() {
    let (settings, trigger) = failing("session", None, 1);
    let relay = relay(settings).await;
    let mut scene = scene(&relay, "publisher").await;
    let other = track("other", "video");
    let mut bystander = raw(&relay).await;
    bystander.announce(other.namespace()).await;
    let id = scene.one.subscribe(&other, NEWEST).await;
    bystander.serve(&other, 5).await;
    let other_alias = scene.one.answer(id).await.unwrap().alias;
    let mut stream = scene.publisher.open(VIDEO, 0, SubgroupIdMode::Zero).await;
    stream.object(0, &payload(0, 0)).await;
    let [video, audio] = scene.subs[0];
    scene.one.until_object(video.1, (0, 0)).await;
    trigger.arm(1);
    scene
        .publisher
        .conn
        .send_datagram(bytes::Bytes::from_static(&[0, 9, 9, 9, 9, 1]))
        .unwrap();
    assert_eq!(scene.publisher.closed().await, CLOSE_INTERNAL_ERROR);
    // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-NS-13]: what it was sending is reset, its tracks end.
    let number = Raw::headers(&scene.one.log, video.1)[0].0;
    assert!(scene.one.ended(number).await.is_some(), "a reset, not a FIN");
    for request in [video.0, audio.0] {
        let done = scene.one.done(request).await;
        assert_eq!(done.status, PublishDoneStatus::InternalError);
    }
    // Its namespace is withdrawn with it. [D14-NS-13]
    let refused = scene.two.subscribe(&track("publisher", "late"), NEWEST).await;
    let (_, error) = scene.two.refused(refused).await;
    assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    bystander.group(5, 0, 2).await;
    assert_eq!(scene.one.until_objects(other_alias, 2).await, all(1));
}

/// D14-CLOSE-1 D14-NS-13 D14-TERM-1
#[test]
fn a_failed_publishers_session_withdraws_what_it_published() {
    run(publishers_session_fails);
}

async fn announcement_fails() {
    let name = track("announced", "video");
    let (settings, trigger) = failing("announce", Some(name.namespace().to_string()), 1);
    let relay = relay(settings).await;
    trigger.arm(2);
    let mut publisher = raw(&relay).await;
    let id = publisher.id();
    let request = NamespaceRequest {
        namespace: name.namespace().clone(),
        params: MessageParams::default(),
    };
    publisher.say(ControlMessage::PublishNamespace(id, request)).await;
    // MOQT-14 §6.2 [D14-NS-1]: answered once, though two actors died over it.
    publisher
        .control(|message| {
            matches!(message, ControlMessage::PublishNamespaceOk(of) if *of == id).then_some(())
        })
        .await;
    assert_eq!(trigger.fired(), 2);
    let mut subscriber = raw(&relay).await;
    let subscription = subscriber.subscribe(&name, NEWEST).await;
    publisher.serve(&name, VIDEO).await;
    let alias = subscriber.answer(subscription).await.unwrap().alias;
    publisher.group(VIDEO, 0, 2).await;
    assert_eq!(subscriber.until_objects(alias, 2).await, all(1));
    let answers = publisher
        .log
        .iter()
        .filter(|news| matches!(news, News::Control(ControlMessage::PublishNamespaceOk(_))))
        .count();
    assert_eq!(answers, 1);
}

/// D14-NS-1
#[test]
fn a_failed_announcement_is_made_again() {
    run(announcement_fails);
}

/// D14-NS-2 D14-NS-15: the watch is made again, and nothing is told twice or missed.
async fn namespace_subscription_fails() {
    let (settings, trigger) = failing("namespace", Some("live".to_owned()), 1);
    let relay = relay(settings).await;
    let mut publisher = raw(&relay).await;
    for namespace in ["live/a", "live/b"] {
        publisher.announce(&common::watch::ns(namespace)).await;
    }
    let mut watcher = raw(&relay).await;
    trigger.arm(1);
    watcher.watched("live").await;
    assert_eq!(trigger.fired(), 1);
    assert_eq!(watcher.until_told(2).await, ["+live/a", "+live/b"]);
    // It dies over the news that one is gone and another there.
    trigger.arm(1);
    publisher.withdraw("live/a").await;
    publisher.announce(&common::watch::ns("live/c")).await;
    let mut news = watcher.until_told(4).await.split_off(2);
    news.sort();
    assert_eq!(news, ["+live/c", "-live/a"]);
    assert_eq!(trigger.fired(), 2);
    watcher.settled().await;
    assert_eq!(common::watch::told(&watcher.log).len(), 4);
    let answers =
        |news: &&News| matches!(news, News::Control(ControlMessage::SubscribeNamespaceOk(id)) if id.0 == 0);
    assert_eq!(watcher.log.iter().filter(answers).count(), 1);
}

#[test]
fn a_failed_namespace_subscription_is_made_again() {
    run(namespace_subscription_fails);
}
