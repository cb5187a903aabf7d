//! All publishers of a track feed it at once, and whoever reads it does not see one of them go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::feeding::{Feeder, Flow};
use common::raw::{CODEC, News, Raw, raw};
use common::shards::Placement;
use common::watch::ns;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, PublishDoneStatus, RequestError, RequestErrorReason, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::object::{ObjectHeader, ObjectStatus, SubgroupIdMode};
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn asked(log: &[News]) -> usize {
    let subscribe = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
    log.iter().filter(subscribe).count()
}

fn is_over(log: &[News]) -> bool {
    log.iter()
        .any(|news| matches!(news, News::Control(ControlMessage::PublishDone(..))))
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
    let id = subscriber.subscribe(&name, NEWEST).await;
    match first_publish {
        None => drop(first.serve(&name, ALIAS).await),
        Some(publish) => drop(first.publish_ok(publish).await),
    }
    let alias = subscriber.answer(id).await.unwrap().alias;
    for group in 0..3 {
        first.group(ALIAS, group, 2).await;
    }
    subscriber.until_objects(alias, 6).await;
    // MOQT-14 §8.4 [D14-NS-7] [D14-SUB-26]: asked at once, while the first one serves, with Forward 1.
    let second = placement.raw_on(&relay, shards - 1).await;
    let mut second = Feeder::join(second, second_flow, &name, ALIAS + 1, Some(Location::new(2, 1))).await;
    // It begins with what the first has sent already, and the two go on together. MOQT-14 §8.2 [D14-PUB-1]
    second.group(2, 2).await;
    for group in 3..5 {
        first.group(ALIAS, group, 2).await;
        second.group(group, 2).await;
    }
    subscriber.until_objects(alias, 10).await;
    drop(first);
    for group in 5..7 {
        second.group(group, 2).await;
    }
    let expected: Vec<_> = (0..7).flat_map(|group| [(group, 0), (group, 1)]).collect();
    assert_eq!(subscriber.until_objects(alias, expected.len()).await, expected);
    subscriber.fence().await;
    assert_eq!(Raw::places(&subscriber.log, alias), expected, "no object twice");
    // MOQT-14 §8.4.2 [D14-PUB-4] [D14-PUB-6]: nothing to see downstream.
    assert!(!is_over(&subscriber.log));
    let reset = |news: &News| matches!(news, News::Reset(..));
    assert!(!subscriber.log.iter().any(reset));
}

/// D14-NS-7 D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_announced() {
    run(|| takes_over(1, Flow::Announce, Flow::Announce));
}

/// D14-NS-7 D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_announced_on_another_shard() {
    run(|| takes_over(2, Flow::Announce, Flow::Announce));
}

/// D14-PUB-1 D14-PUB-2 D14-PUB-4 D14-PUB-6 D14-SUB-26
#[test]
fn published_after_announced() {
    run(|| takes_over(1, Flow::Announce, Flow::Publish));
}

/// D14-PUB-1 D14-PUB-2 D14-PUB-4 D14-PUB-6 D14-SUB-26
#[test]
fn published_after_published_on_another_shard() {
    run(|| takes_over(2, Flow::Publish, Flow::Publish));
}

/// D14-NS-7 D14-PUB-1 D14-PUB-4 D14-PUB-6
#[test]
fn announced_after_published() {
    run(|| takes_over(1, Flow::Publish, Flow::Announce));
}

/// The second announcer announces the namespace again, or a shorter one as well, and takes that back.
async fn is_asked_once(again: bool) {
    let relay = relay(settings(1)).await;
    let name = track("standby", "again");
    let (first, mut subscriber) = (raw(&relay).await, raw(&relay).await);
    let id = subscriber.subscribe(&name, NEWEST).await;
    let first = Feeder::join(first, Flow::Announce, &name, ALIAS, None).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut second = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
    if again {
        second.raw.announce(name.namespace()).await;
    } else {
        second.raw.announce(&ns("test")).await;
        second.raw.withdraw("test").await;
    }
    // What came of it has passed the registry.
    second.raw.settled().await;
    drop(first);
    second.group(0, 2).await;
    subscriber.until_objects(alias, 2).await;
    assert_eq!(asked(&second.raw.log), 1);
}

/// D14-NS-14 D14-PUB-4
#[test]
fn who_announces_again_is_asked_once() {
    run(|| is_asked_once(true));
}

/// D14-NS-14 D14-PUB-4
#[test]
fn who_withdraws_a_prefix_still_serves() {
    run(|| is_asked_once(false));
}

/// D14-NS-6 D14-NS-11 D14-PUB-3: the longest match and the shorter ones, exactly those, and each once (decision 0015).
#[test]
fn every_publisher_that_matches_is_asked() {
    run(async || {
        let relay = relay(settings(2)).await;
        let name = track("all", "video");
        let mut publishers = Vec::new();
        for namespace in ["test", "test/all", "test/all", "test/al", "test/all/video"] {
            let mut publisher = raw(&relay).await;
            publisher.announce(&ns(namespace)).await;
            publishers.push(publisher);
        }
        // One of them twice.
        publishers[1].announce(&ns("test")).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        for (alias, publisher) in (ALIAS..).zip(publishers.iter_mut().take(3)) {
            publisher.serve(&name, alias).await;
        }
        subscriber.answer(id).await.unwrap();
        for (number, publisher) in publishers.iter_mut().enumerate() {
            publisher.settled().await;
            assert_eq!(asked(&publisher.log), usize::from(number < 3), "{number}");
        }
    });
}

/// D14-PUB-5: a track that there is is had by its full name, whoever announced what.
#[test]
fn the_full_name_goes_before_the_namespace() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("exact", "video");
        let mut publisher = raw(&relay).await;
        let publish = publisher.publish(&name, ALIAS, true).await;
        publisher.publish_ok(publish).await;
        let mut silent = raw(&relay).await;
        silent.announce(&ns("test")).await;
        // The one that announced a prefix is asked too, and its answer is not waited for.
        let mut subscriber = raw(&relay).await;
        let (_, ok) = subscriber.subscribed(&name, NEWEST).await;
        silent.asked(&name, 0).await;
        publisher.group(ALIAS, 0, 1).await;
        subscriber.until_objects(ok.alias, 1).await;
        // Another name beside it is no track, only something to ask the announcer for.
        let other = track("exact", "audio");
        let id = subscriber.subscribe(&other, NEWEST).await;
        silent.serve(&other, ALIAS).await;
        subscriber.answer(id).await.unwrap();
    });
}

/// D14-SUB-11 D14-SUB-26: all of them hear whether objects are wanted, each once.
#[test]
fn forward_is_told_to_all() {
    run(async || {
        let mut settings = settings(2);
        settings.track.dampen = Duration::ZERO;
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let name = track("forward", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut feeders = Vec::new();
        for (number, flow) in [Flow::Announce, Flow::Publish, Flow::Announce]
            .into_iter()
            .enumerate()
        {
            let client = placement.raw_on(&relay, number % 2).await;
            feeders.push(Feeder::join(client, flow, &name, ALIAS, None).await);
        }
        subscriber.answer(id).await.unwrap();
        for (round, forward) in [false, true, false].into_iter().enumerate() {
            subscriber.update(id, Location::ZERO, None, forward).await;
            for feeder in &mut feeders {
                assert_eq!(feeder.told(round).await, forward);
            }
        }
        // One who comes now is told too: by its PUBLISH_OK.
        let mut late = raw(&relay).await;
        let publish = late.publish(&name, ALIAS, true).await;
        assert!(!late.publish_ok(publish).await.forward);
        for feeder in &mut feeders {
            feeder.raw.settled().await;
            assert_eq!(Raw::updates(&feeder.raw.log, feeder.request).len(), 3);
        }
    });
}

/// D14-PUB-3: the first to accept is enough; later subscribers hear the largest place of all.
#[test]
fn the_first_ok_is_passed_on() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("first", "video");
        let (mut silent, mut refuses, mut serves, mut knows) = (
            raw(&relay).await,
            raw(&relay).await,
            raw(&relay).await,
            raw(&relay).await,
        );
        for publisher in [&mut silent, &mut refuses, &mut serves, &mut knows] {
            publisher.announce(name.namespace()).await;
        }
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (refused, _) = refuses.asked(&name, 0).await;
        let error = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not here");
        refuses
            .say(ControlMessage::RequestError(
                refused,
                RequestKind::Subscribe,
                error,
            ))
            .await;
        silent.asked(&name, 0).await;
        let (accepted, _) = serves.asked(&name, 0).await;
        serves.accept(accepted, ALIAS, Some(Location::new(3, 1))).await;
        let ok = subscriber.answer(id).await.unwrap();
        assert_eq!(ok.largest, Some(Location::new(3, 1)));
        let (accepted, _) = knows.asked(&name, 0).await;
        knows.accept(accepted, ALIAS, Some(Location::new(7, 2))).await;
        knows.group(ALIAS, 8, 1).await;
        subscriber.until_objects(ok.alias, 1).await;
        let mut late = raw(&relay).await;
        let (_, ok) = late.subscribed(&name, NEWEST).await;
        assert_eq!(ok.largest, Some(Location::new(8, 0)));
    });
}

/// D14-PUB-3: an error only when every publisher refused.
#[test]
fn all_have_to_refuse() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("refuse", "video");
        let (mut first, mut second) = (raw(&relay).await, raw(&relay).await);
        first.announce(name.namespace()).await;
        second.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (one, _) = first.asked(&name, 0).await;
        let (other, _) = second.asked(&name, 0).await;
        let refuse = |id, words| {
            let error = RequestError::new(RequestErrorReason::Unauthorized, words);
            ControlMessage::RequestError(id, RequestKind::Subscribe, error)
        };
        first.say(refuse(one, "no")).await;
        first.settled().await;
        subscriber.fence().await;
        let answered =
            |news: &News| matches!(news, News::Control(ControlMessage::RequestError(of, ..)) if *of == id);
        assert!(!subscriber.log.iter().any(answered));
        second.say(refuse(other, "nor here")).await;
        let error = subscriber.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::Unauthorized);
    });
}

/// D14-PUB-4: PUBLISH_DONE of one is no end, PUBLISH_DONE of the last is; the words are the last one's.
#[test]
fn the_last_publisher_ends_the_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("last", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut second = Feeder::join(raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        first.group(0, 1).await;
        subscriber.until_objects(alias, 1).await;
        let done = PublishDoneStatus::TrackEnded;
        first.raw.publish_done(first.request, done, Some(1)).await;
        first.raw.settled().await;
        second.group(1, 1).await;
        subscriber.until_objects(alias, 2).await;
        assert!(!is_over(&subscriber.log));
        let done = PublishDoneStatus::GoingAway;
        second.raw.publish_done(second.request, done, Some(1)).await;
        assert_eq!(subscriber.done(id).await.status, PublishDoneStatus::GoingAway);
    });
}

/// Group 1 begins with one object, and the track ends behind it.
async fn ends_the_track(feeder: &mut Feeder) {
    let mut stream = feeder.raw.open(feeder.alias, 1, SubgroupIdMode::Zero).await;
    stream.object(0, b"last").await;
    let end = ObjectHeader {
        id: 1,
        status: ObjectStatus::EndOfTrack,
        extensions: Bytes::new(),
        payload_len: 0,
    };
    let mut bytes = BytesMut::new();
    CODEC
        .encode_object_header(false, Some(0), &end, &mut bytes)
        .unwrap();
    stream.write(bytes.freeze()).await;
    stream.fin();
}

/// D14-PUB-4: what was told of the end holds, though the one that is waited for does not live to finish.
#[test]
fn the_end_is_the_tracks_and_not_that_of_who_is_late() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("end", "late");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut second = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut open = second.raw.open(ALIAS, 0, SubgroupIdMode::Explicit(1)).await;
        open.begin(7, 100).await;
        open.write(Bytes::from_static(b"a part of it")).await;
        subscriber
            .wait(|log| {
                log.iter()
                    .any(|news| matches!(news, News::Payload(..)))
                    .then_some(())
            })
            .await;
        ends_the_track(&mut first).await;
        subscriber.until_object(alias, (1, 0)).await;
        let done = PublishDoneStatus::TrackEnded;
        first.raw.publish_done(first.request, done, Some(1)).await;
        first.raw.settled().await;
        assert!(!is_over(&subscriber.log));
        drop(open);
        drop(second);
        assert_eq!(subscriber.done(id).await.status, PublishDoneStatus::TrackEnded);
    });
}

/// D14-PUB-3 D14-PUB-4: one that refuses when nobody is left says nothing about how the track ended.
#[test]
fn the_end_is_that_of_who_fed_the_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("end", "refused");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut second = raw(&relay).await;
        second.announce(name.namespace()).await;
        let (request, _) = second.asked(&name, 0).await;
        first.group(0, 1).await;
        subscriber.until_objects(alias, 1).await;
        let done = PublishDoneStatus::TrackEnded;
        first.raw.publish_done(first.request, done, Some(1)).await;
        first.raw.settled().await;
        assert!(!is_over(&subscriber.log));
        let error = RequestError::new(RequestErrorReason::TrackDoesNotExist, "not here");
        second
            .say(ControlMessage::RequestError(
                request,
                RequestKind::Subscribe,
                error,
            ))
            .await;
        assert_eq!(subscriber.done(id).await.status, PublishDoneStatus::TrackEnded);
    });
}

/// D14-PUB-4: the end of the track that was seen is believed of one of them.
#[test]
fn an_end_that_was_seen_ends_the_track() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("end", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut second = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        ends_the_track(&mut first).await;
        subscriber.until_object(alias, (1, 0)).await;
        let done = PublishDoneStatus::TrackEnded;
        first.raw.publish_done(first.request, done, Some(1)).await;
        assert_eq!(subscriber.done(id).await.status, PublishDoneStatus::TrackEnded);
        second.released().await;
    });
}

/// D14-PUB-2: beyond the bound a PUBLISH is refused, and an announcer is asked when there is room.
#[test]
fn the_number_of_publishers_is_bounded() {
    run(async || {
        let mut settings = settings(1);
        settings.track.max_publishers = 2;
        let relay = relay(settings).await;
        let name = track("bound", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut second = Feeder::join(raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut third = raw(&relay).await;
        let publish = third.publish(&name, ALIAS, true).await;
        let (kind, error) = third.refused(publish).await;
        assert_eq!(
            (kind, error.reason),
            (RequestKind::Publish, RequestErrorReason::InternalError)
        );
        assert_eq!(error.phrase, "the track has too many publishers");
        third.announce(name.namespace()).await;
        third.settled().await;
        assert_eq!(asked(&third.log), 0);
        drop(first);
        third.serve(&name, ALIAS).await;
        third.group(ALIAS, 0, 1).await;
        second.group(1, 1).await;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(0, 0), (1, 0)]);
    });
}

/// D14-PUB-2 D14-PUB-6: publishers that were killed, whose connections live on, take no place from those that come back.
#[test]
fn who_brings_nothing_makes_way() {
    run(async || {
        let mut settings = settings(1);
        settings.track.max_publishers = 2;
        settings.track.upstream_timeout = Duration::from_millis(300);
        let relay = relay(settings).await;
        let name = track("bound", "killed");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut killed = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut too = Feeder::join(raw(&relay).await, Flow::Publish, &name, ALIAS, None).await;
        // It is asked when one of them has been silent for long enough, and they are let go of for no other reason.
        let mut third = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        killed.released().await;
        third.group(0, 1).await;
        let mut fourth = raw(&relay).await;
        loop {
            let publish = fourth.publish(&name, ALIAS, true).await;
            let accepted = |message: &ControlMessage| match message {
                ControlMessage::PublishOk(id, _) if *id == publish => Some(true),
                ControlMessage::RequestError(id, ..) if *id == publish => Some(false),
                _ => None,
            };
            if fourth.control(accepted).await {
                break;
            }
            third.group(0, 1).await;
        }
        too.released().await;
        fourth.group(ALIAS, 1, 1).await;
        third.group(2, 1).await;
        assert_eq!(subscriber.until_objects(alias, 3).await, [(0, 0), (1, 0), (2, 0)]);
        assert!(!is_over(&subscriber.log));
    });
}

/// D14-SUB-25 D14-NS-6: nobody reads any more, so all are let go of; the next reader brings all of them back.
#[test]
fn all_are_let_go_of_and_asked_again() {
    run(async || {
        let mut settings = settings(1);
        settings.track.linger = Duration::from_millis(20);
        let relay = relay(settings).await;
        let name = track("rest", "video");
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let mut first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let mut second = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        first.group(0, 1).await;
        second.group(1, 1).await;
        subscriber.until_objects(alias, 2).await;
        subscriber.say(ControlMessage::Unsubscribe(id)).await;
        for feeder in [&mut first, &mut second] {
            feeder.released().await;
        }
        let again = subscriber.subscribe(&name, NEWEST).await;
        for feeder in [&mut first, &mut second] {
            let (request, _) = feeder.raw.asked(&name, 1).await;
            feeder.alias += 1;
            feeder
                .raw
                .accept(request, feeder.alias, Some(Location::new(1, 0)))
                .await;
        }
        let ok = subscriber.answer(again).await.unwrap();
        first.group(2, 1).await;
        second.group(3, 1).await;
        assert_eq!(subscriber.until_objects(ok.alias, 2).await, [(2, 0), (3, 0)]);
    });
}

/// D14-PUB-7: of two relays that announce a track to each other, the one that reads it is not subscribed to while
/// somebody else publishes it, and does not take over from that one.
#[test]
fn who_reads_a_track_does_not_feed_it() {
    run(async || {
        let relay = relay(settings(2)).await;
        let name = track("loop", "video");
        let (mut publisher, mut other, mut reader) =
            (raw(&relay).await, raw(&relay).await, raw(&relay).await);
        publisher.announce(name.namespace()).await;
        other.announce(name.namespace()).await;
        // It is asked, since it does not read yet; and is let go of when it does.
        let read = reader.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let asked_of_other = other.serve(&name, ALIAS).await;
        let alias = reader.answer(read).await.unwrap().alias;
        let looped = other.subscribe(&name, NEWEST).await;
        let ok = other.answer(looped).await.unwrap();
        other
            .control(|message| {
                matches!(message, ControlMessage::Unsubscribe(of) if *of == asked_of_other).then_some(())
            })
            .await;
        // One that reads already is not asked at all.
        let mut third = raw(&relay).await;
        third.subscribed(&name, NEWEST).await;
        third.announce(name.namespace()).await;
        third.settled().await;
        assert_eq!(asked(&third.log), 0);
        publisher.group(ALIAS, 0, 1).await;
        reader.until_objects(alias, 1).await;
        other.until_objects(ok.alias, 1).await;
        drop(publisher);
        reader.done(read).await;
        other.done(looped).await;
        assert_eq!((asked(&other.log), asked(&third.log)), (1, 0));
    });
}
