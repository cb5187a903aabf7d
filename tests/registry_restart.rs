//! A registry that fails is built anew by those who own what it knew, and nobody else notices.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::apart::apart;
use common::fetching::range;
use common::raw::{News, Raw, raw, raw_at};
use common::shards::Placement;
use common::watch::{ns, offers, request, told, track_in};
use common::{relay, run, settings, track};
use laps::relay::{Relay, Settings};
use laps_actors::root::Outcome;
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrderRequest, Namespace, RequestErrorReason, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const VIDEO: u64 = 70;
const AUDIO: u64 = 71;
const SLIDES: u64 = 72;
/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(50);

/// A relay whose registry fails when it hears this name, once for each time that the trigger is armed for.
fn failing(name: &str, shards: usize) -> (Settings, Trigger) {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("registry", name);
    let settings = Settings {
        faults: plan.faults(),
        ..settings(shards)
    };
    (settings, trigger)
}

/// The track that ends a registry which is asked for it.
fn poison() -> FullTrackName {
    track("poison", "track")
}

/// Ends the registry so many times over one question, which is answered by the life after that.
async fn fail(relay: &Relay, trigger: &Trigger, times: u32) {
    let before = trigger.fired();
    trigger.arm(times);
    let mut client = raw(relay).await;
    let id = client.subscribe(&poison(), NEWEST).await;
    let (_, error) = client.refused(id).await;
    assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    assert_eq!(trigger.fired(), before + times);
}

/// How often the relay subscribed to the track.
fn asked(client: &mut Raw, track: &FullTrackName) -> usize {
    client.catch_up();
    let asked = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(_, subscribe)) if subscribe.track == *track);
    client.log.iter().filter(asked).count()
}

/// Every object of groups 0 to `groups`, two in each.
fn all(groups: u64) -> Vec<(u64, u64)> {
    (0..groups).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

async fn nobody_notices(shards: usize) {
    let (mut settings, trigger) = failing(&poison().to_string(), shards);
    settings.session.subscribe_wait = Some(Duration::from_millis(100));
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let (video, audio) = (track_in("live/a", "video"), track_in("live/a", "audio"));
    let slides = track_in("live/b", "slides");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(video.namespace()).await;
    let mut presenter = placement.raw_on(&relay, shards - 1).await;
    let published = presenter.publish(&slides, SLIDES, true).await;
    presenter.publish_ok(published).await;
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    // One that refused is not asked a second time.
    let mut unwilling = placement.raw_on(&relay, 0).await;
    unwilling.announce(video.namespace()).await;
    let (refused, _) = unwilling.asked(&video, 0).await;
    unwilling.refuse(refused, RequestKind::Subscribe).await;
    unwilling.settled().await;
    let slides_alias = subscriber.subscribed(&slides, NEWEST).await.1.alias;
    let mut watcher = placement.raw_on(&relay, 0).await;
    watcher.watched("live").await;
    watcher.offered(0).await;
    assert_eq!(watcher.until_told(1).await, ["+live/a"]);
    // A stream is open over the failures, and whole groups come before, between and after them.
    let mut stream = publisher.open(VIDEO, 0, SubgroupIdMode::Zero).await;
    stream.object(0, b"before").await;
    subscriber.until_object(alias, (0, 0)).await;
    for (group, times) in [(1, 1), (2, 2)] {
        let failure = fail(&relay, &trigger, times);
        let traffic = async {
            publisher.group(VIDEO, group, 2).await;
            presenter.group(SLIDES, group - 1, 2).await;
        };
        futures::join!(failure, traffic);
    }
    stream.object(1, b"after").await;
    stream.fin();
    publisher.group(VIDEO, 3, 2).await;
    let mut got = subscriber.until_objects(alias, 8).await;
    got.sort_unstable();
    assert_eq!(got, all(4));
    assert_eq!(subscriber.until_objects(slides_alias, 4).await, all(2));
    // The same tracks in the same homes: nobody is asked for anything a second time.
    let mut late = placement.raw_on(&relay, 0).await;
    late.subscribed(&video, NEWEST).await;
    late.subscribed(&slides, NEWEST).await;
    assert_eq!(asked(&mut publisher, &video), 1);
    unwilling.settled().await;
    assert_eq!(asked(&mut unwilling, &video), 1);
    let fetch = range(&video, (1, 0), (3, 0));
    let (_, past) = {
        let id = late.fetch(fetch, GroupOrderRequest::Publisher).await;
        late.fetched_places(id).await
    };
    assert_eq!(past, all(4)[2..]);
    // The namespace is known: another track of it is asked of its announcer.
    let id = late.subscribe(&audio, NEWEST).await;
    publisher.serve(&audio, AUDIO).await;
    late.answer(id).await.unwrap();
    // Who watches heard nothing of it, and hears what is new.
    watcher.settled().await;
    assert_eq!(told(&watcher.log), ["+live/a"]);
    assert_eq!(offers(&watcher.log).len(), 1);
    presenter.announce(&ns("live/c")).await;
    assert_eq!(watcher.until_told(2).await, ["+live/a", "+live/c"]);
    let again = presenter.publish(&track_in("live/c", "more"), 80, true).await;
    presenter.publish_ok(again).await;
    watcher.offered(1).await;
}

/// D14-NS-2 D14-NS-13 D14-SUB-10
#[test]
fn subscriptions_and_watches_outlive_the_registry() {
    run(|| nobody_notices(1));
}

#[test]
fn subscriptions_and_watches_of_several_shards_outlive_the_registry() {
    run(|| nobody_notices(3));
}

/// D14-NS-13: what is withdrawn with nobody there to hear of it is gone when the registry is back.
async fn withdrawn_meanwhile(shards: usize) {
    let (mut settings, trigger) = failing("live/new", shards);
    settings.track.linger = Duration::from_millis(10);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut publisher = placement.raw_on(&relay, shards - 1).await;
    for namespace in ["live/gone", "live/stays"] {
        publisher.announce(&ns(namespace)).await;
    }
    let video = track_in("live/gone", "video");
    let mut subscriber = placement.raw_on(&relay, 0).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    let upstream = publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    publisher.group(VIDEO, 0, 2).await;
    subscriber.until_objects(alias, 2).await;
    let mut leaver = placement.raw_on(&relay, 0).await;
    leaver.announce(&ns("live/left")).await;
    let mut watcher = placement.raw_on(&relay, 0).await;
    watcher.watched("live").await;
    watcher.until_told(3).await;
    // The registry dies over the first, so that it does not see to the others.
    trigger.arm(2);
    let announced = publisher.id();
    let withdrawn = Namespace {
        namespace: ns("live/gone"),
    };
    publisher
        .say_all([
            ControlMessage::PublishNamespace(announced, request("live/new")),
            ControlMessage::PublishNamespaceDone(withdrawn),
        ])
        .await;
    trigger.wait_fired(1).await;
    leaver.conn.close(0, "");
    let mut heard = watcher.until_told(6).await.split_off(3);
    heard.sort_unstable();
    assert_eq!(heard, ["+live/new", "-live/gone", "-live/left"]);
    publisher
        .control(|message| {
            matches!(message, ControlMessage::PublishNamespaceOk(of) if *of == announced).then_some(())
        })
        .await;
    watcher.settled().await;
    assert_eq!(told(&watcher.log).len(), 6);
    assert_eq!(trigger.fired(), 2);
    // MOQT-14 §6.2 [D14-NS-12]: what is subscribed goes on, and is not asked for again once it has ended.
    publisher.group(VIDEO, 1, 2).await;
    assert_eq!(subscriber.until_objects(alias, 4).await, all(2));
    subscriber.say(ControlMessage::Unsubscribe(id)).await;
    publisher
        .control(|message| {
            matches!(message, ControlMessage::Unsubscribe(of) if *of == upstream).then_some(())
        })
        .await;
    let again = subscriber.subscribe(&video, NEWEST).await;
    let (_, error) = subscriber.refused(again).await;
    assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    assert_eq!(asked(&mut publisher, &video), 1);
}

#[test]
fn namespaces_withdrawn_meanwhile_are_withdrawn() {
    run(|| withdrawn_meanwhile(1));
}

#[test]
fn namespaces_withdrawn_meanwhile_on_other_shards_are_withdrawn() {
    run(|| withdrawn_meanwhile(2));
}

/// D14-SUB-10 D14-LIM-2: whoever waits for a publisher waits on, in the one place that there is for it.
async fn waiting(shards: usize) {
    let (mut settings, trigger) = failing("waits/for", shards);
    settings.session.subscribe_wait = Some(LONG);
    settings.max_waiting = 1;
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut subscriber = placement.raw_on(&relay, shards - 1).await;
    let video = track_in("waits/for", "video");
    let id = subscriber.subscribe(&video, NEWEST).await;
    subscriber.fence().await;
    // The announcement of what it waits for is what ends the registry.
    trigger.arm(1);
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(video.namespace()).await;
    publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    publisher.group(VIDEO, 0, 2).await;
    assert_eq!(subscriber.until_objects(alias, 2).await, all(1));
    assert_eq!(trigger.fired(), 1);
    // Its place is free again, and there is no other.
    let mut first = placement.raw_on(&relay, 0).await;
    let waits = first.subscribe(&track("nobody", "one"), NEWEST).await;
    first.settled().await;
    trigger.arm(1);
    publisher.withdraw("waits/for").await;
    publisher.announce(video.namespace()).await;
    trigger.wait_fired(2).await;
    first.settled().await;
    let mut second = placement.raw_on(&relay, shards - 1).await;
    let refused = second.subscribe(&track("nobody", "two"), NEWEST).await;
    let (_, error) = second.refused(refused).await;
    assert_eq!(error.reason, RequestErrorReason::InternalError);
    publisher.announce(track("nobody", "one").namespace()).await;
    publisher.serve(&track("nobody", "one"), AUDIO).await;
    first.answer(waits).await.unwrap();
}

#[test]
fn who_waits_for_a_publisher_waits_on() {
    run(|| waiting(1));
}

#[test]
fn who_waits_on_another_shard_waits_on() {
    run(|| waiting(2));
}

/// D14-PUB-2 D14-REQ-10: a PUBLISH, a SUBSCRIBE and a watch over which the registry fails are answered by the next one.
async fn asked_meanwhile() {
    let name = track_in("offered", "video");
    let (settings, trigger) = failing(&name.to_string(), 2);
    let placement = Placement::default();
    let mut settings = settings;
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut publisher = placement.raw_on(&relay, 0).await;
    trigger.arm(2);
    let id = publisher.publish(&name, VIDEO, true).await;
    publisher.publish_ok(id).await;
    assert_eq!(trigger.fired(), 2);
    let mut subscriber = placement.raw_on(&relay, 1).await;
    trigger.arm(2);
    let alias = subscriber.subscribed(&name, NEWEST).await.1.alias;
    assert_eq!(trigger.fired(), 4);
    publisher.group(VIDEO, 0, 2).await;
    assert_eq!(subscriber.until_objects(alias, 2).await, all(1));
}

/// D14-NS-9: what a watcher does not want to hear of it does not hear of again from the next registry.
async fn refused_before(shards: usize) {
    let (mut settings, trigger) = failing(&poison().to_string(), shards);
    settings.session.subscribe_wait = Some(Duration::from_millis(100));
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(&ns("live/a")).await;
    publisher.announce(&ns("live/b")).await;
    let id = publisher.publish(&track_in("live/c", "video"), VIDEO, true).await;
    publisher.publish_ok(id).await;
    let mut watcher = placement.raw_on(&relay, shards - 1).await;
    watcher.watched("live").await;
    let (refused, _) = watcher.announced(0).await;
    watcher.refuse(refused, RequestKind::PublishNamespace).await;
    let (taken, _) = watcher.announced(1).await;
    watcher.take(taken).await;
    watcher.cancel("live/b").await;
    let (offered, _) = watcher.offered(0).await;
    watcher.refuse(offered, RequestKind::Publish).await;
    watcher.settled().await;
    fail(&relay, &trigger, 1).await;
    // Told behind everything that was there before.
    publisher.announce(&ns("live/d")).await;
    let again = publisher.publish(&track_in("live/d", "video"), AUDIO, true).await;
    publisher.publish_ok(again).await;
    assert_eq!(watcher.until_told(3).await, ["+live/a", "+live/b", "+live/d"]);
    let (_, offer) = watcher.offered(1).await;
    assert_eq!(offer.track, track_in("live/d", "video"));
    watcher.settled().await;
    assert_eq!((told(&watcher.log).len(), offers(&watcher.log).len()), (3, 2));
}

#[test]
fn what_a_watcher_refused_is_not_repeated() {
    run(|| refused_before(1));
}

#[test]
fn what_a_watcher_on_another_shard_refused_is_not_repeated() {
    run(|| refused_before(2));
}

/// D14-NS-7: who announces with nobody there to hear of it is asked for the tracks that run.
async fn announced_meanwhile() {
    let (settings, trigger) = failing("live", 2);
    let relay = relay(settings).await;
    let video = track_in("live/a", "video");
    let mut publisher = raw(&relay).await;
    publisher.announce(video.namespace()).await;
    let mut subscriber = raw(&relay).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut second = raw(&relay).await;
    trigger.arm(2);
    second.announce(&ns("live")).await;
    assert_eq!(trigger.fired(), 2);
    second.serve(&video, AUDIO).await;
    second.group(AUDIO, 0, 2).await;
    assert_eq!(subscriber.until_objects(alias, 2).await, all(1));
    assert_eq!(asked(&mut publisher, &video), 1);
}

#[test]
fn who_announces_meanwhile_is_asked() {
    run(announced_meanwhile);
}

#[test]
fn what_is_asked_meanwhile_is_answered() {
    run(asked_meanwhile);
}

/// What ends every registry that hears it costs whoever asks for it, and not the relay.
async fn poisoned() {
    let (settings, trigger) = failing(&poison().to_string(), 2);
    let relay = relay(settings).await;
    trigger.arm(u32::MAX);
    let mut client = raw(&relay).await;
    let id = client.subscribe(&poison(), NEWEST).await;
    let (_, error) = client.refused(id).await;
    assert_eq!(error.reason, RequestErrorReason::InternalError);
    assert_eq!(trigger.fired(), 3);
    let mut publisher = raw(&relay).await;
    publisher.announce(&ns("live")).await;
}

#[test]
fn a_question_that_ends_every_registry_is_refused() {
    run(poisoned);
}

/// More than five in ten seconds is not to be mended here: whoever started the process starts it again.
async fn keeps_failing() {
    let (settings, trigger) = failing("live", 2);
    let relay = apart(settings).await;
    let mut publisher = raw_at(relay.addr).await;
    publisher.announce(&ns("live")).await;
    let mut second = raw_at(relay.addr).await;
    trigger.arm(u32::MAX);
    // From here on, each new registry fails over what is told to it.
    let id = second.id();
    second
        .say(ControlMessage::PublishNamespace(id, request("live")))
        .await;
    let outcome = relay.ended().await;
    assert!(
        matches!(&outcome, Outcome::Escalated { child } if child == "registry"),
        "{outcome:?}"
    );
    assert_eq!(outcome.code(), 70);
    assert_eq!(trigger.fired(), 6);
}

#[test]
fn a_registry_that_keeps_failing_ends_the_relay() {
    run(keeps_failing);
}
