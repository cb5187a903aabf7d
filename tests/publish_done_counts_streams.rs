//! PUBLISH_DONE counts the streams of its subscription exactly, and comes when all of them are over.

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
use common::{relay, run, settings, track};
use laps_actors::client::{Item, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Place of PUBLISH_DONE in the log, and that of the last end of a stream.
fn order(log: &[News]) -> (usize, usize) {
    let done = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    let end = |news: &News| matches!(news, News::Fin(_) | News::Reset(..));
    (
        log.iter().position(done).unwrap(),
        log.iter().rposition(end).unwrap(),
    )
}

/// A publisher that says `upstream_count`, and two subscribers of which one comes late.
async fn streams(shards: usize, upstream_count: Option<u64>) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("count", "video");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut early = placement.raw_on(&relay, shards - 1).await;
    let early_id = early.subscribe(&name, NEWEST).await;
    let upstream = publisher.serve(&name, ALIAS).await;
    let early_alias = early.answer(early_id).await.unwrap().alias;
    publisher.group(ALIAS, 0, 3).await;
    publisher.group(ALIAS, 1, 3).await;
    early.until_objects(early_alias, 6).await;
    let mut late = placement.raw_on(&relay, 0).await;
    let (late_id, ok) = late.subscribed(&name, NEWEST).await;
    let mut first = publisher.open(ALIAS, 2, SubgroupIdMode::Zero).await;
    let mut second = publisher.open(ALIAS, 2, SubgroupIdMode::Explicit(1)).await;
    first.object(0, b"zero").await;
    second.object(1, b"one").await;
    first.object(2, &[2; 100_000]).await;
    second.fin();
    publisher
        .publish_done(upstream, PublishDoneStatus::TrackEnded, upstream_count)
        .await;
    // What PUBLISH_DONE announced may come after it. MOQT-14 §9.12 [D14-SUB-21]
    publisher.fence().await;
    first.object(3, b"three").await;
    first.fin();
    // MOQT-14 §9.12 [D14-SUB-19] [D14-SUB-20]
    let done = early.done(early_id).await;
    assert_eq!(
        (done.status, done.stream_count),
        (PublishDoneStatus::TrackEnded, Some(4))
    );
    let expected = [(2, 0), (2, 1), (2, 2), (2, 3)];
    assert_eq!(Raw::places(&early.log, early_alias)[6..], expected);
    let done = late.done(late_id).await;
    assert_eq!(
        (done.status, done.stream_count),
        (PublishDoneStatus::TrackEnded, Some(2))
    );
    assert_eq!(Raw::places(&late.log, ok.alias), expected);
    for client in [&early, &late] {
        let (done, last) = order(&client.log);
        assert!(done > last, "PUBLISH_DONE overtook a stream");
    }
}

/// D14-SUB-19 D14-SUB-20 D14-SUB-21
#[test]
fn streams_are_counted_one_shard() {
    run(|| streams(1, Some(4)));
}

/// D14-SUB-19 D14-SUB-20 D14-SUB-21
#[test]
fn streams_are_counted_two_shards() {
    run(|| streams(2, Some(4)));
}

/// D14-SUB-19 D14-SUB-20
#[test]
fn streams_are_counted_when_upstream_says_zero() {
    run(|| streams(1, Some(0)));
}

/// D14-SUB-19 D14-SUB-20 D14-SUB-21 D14-LIB-5
#[test]
fn streams_are_counted_when_upstream_does_not_know() {
    run(|| streams(2, None));
}

/// D14-SUB-20
#[test]
fn datagrams_count_no_stream() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("count", "datagrams");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        publisher.datagram(ALIAS, Location::new(0, 0), b"one");
        subscriber
            .wait(|log| (!Raw::datagrams(log, alias).is_empty()).then_some(()))
            .await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(0))
            .await;
        // MOQT-14 §9.12 [D14-SUB-20]
        let done = subscriber.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(0))
        );
    });
}

/// A header that is lost with its stream is not waited for beyond the time that is given, since no stream here says how
/// much of it is to be delivered before the reset counts.
///
/// D14-SETUP-2 D14-CLOSE-6 D14-LIB-5 D14-SUB-21
#[test]
fn a_stream_reset_before_its_header_is_not_waited_for_forever() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("count", "headless");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        publisher.conn.open_uni().await.unwrap().reset(1);
        publisher.group(ALIAS, 1, 2).await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(2))
            .await;
        let done = subscriber.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(1))
        );
        assert_eq!(Raw::places(&subscriber.log, alias), [(1, 0), (1, 1)]);
    });
}

#[test]
fn a_stream_without_objects_is_not_opened_downstream() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("count", "empty");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        // A stream without objects is no stream for the subscriber.
        publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await.fin();
        publisher.group(ALIAS, 1, 2).await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(2))
            .await;
        let done = subscriber.done(id).await;
        assert_eq!(done.stream_count, Some(1));
        assert_eq!(Raw::places(&subscriber.log, alias), [(1, 0), (1, 1)]);
    });
}

/// D14-SUB-21: a stream that never ends is given up after its time, and stopped.
#[test]
fn a_stream_that_never_ends_is_stopped() {
    run(async || {
        let mut settings = settings(1);
        settings.track.done_wait = std::time::Duration::from_millis(20);
        let relay = relay(settings).await;
        let name = track("count", "endless");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.object(0, b"zero").await;
        subscriber.until_objects(alias, 1).await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(1))
            .await;
        let done = subscriber.done(id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TrackEnded, Some(1))
        );
        let number = Raw::headers(&subscriber.log, alias)[0].0;
        assert!(subscriber.ended(number).await.is_some(), "not finished");
        stream.stopped().await;
    });
}

/// D14-LIB-5: our client hears of the end when it has everything that was counted.
#[test]
fn our_client_has_everything_before_the_end() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("count", "client");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = common::subscriber(&relay).await;
        let wanted = Wanted {
            track: name.clone(),
            filter: NEWEST,
            priority: 128,
            new_group: false,
        };
        let (answer, upstream) = tokio::join!(subscriber.subscribe(wanted), publisher.serve(&name, ALIAS));
        answer.unwrap();
        let mut first = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        let mut second = publisher.open(ALIAS, 1, SubgroupIdMode::Zero).await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(2))
            .await;
        publisher.fence().await;
        first.object(0, &[1; 100_000]).await;
        first.fin();
        second.object(0, &[2; 100_000]).await;
        second.fin();
        let mut got = Vec::new();
        loop {
            match subscriber.next().await.unwrap() {
                Item::Object(object) => got.push((object.location.group, object.location.object)),
                Item::Done(gone) => {
                    assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                    break;
                }
                Item::Opened { .. } | Item::Closed { .. } => {}
                Item::Lost => panic!("lost"),
            }
        }
        got.sort_unstable();
        assert_eq!(got, [(0, 0), (1, 0)]);
    });
}
