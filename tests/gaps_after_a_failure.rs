//! What a publisher sent to nobody while its reader's subscription was away: the reader is given it, or told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use actix_rt::task::JoinHandle;
use common::fetching::asked_range;
use common::raw::{News, Raw, raw};
use common::{options, relay, run, settings, target, track};
use laps::relay::Relay;
use laps_actors::client::{Item, Moving, Options, Subscriber, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, GroupOrder, RequestErrorReason, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const BEFORE: u64 = 7;
const AFTER: u64 = 8;

/// What a subscriber was given, and how often it was told of a loss.
type Given = (Vec<(u64, u64)>, usize);

/// Reads until so many objects came.
async fn read(subscriber: &mut Subscriber, objects: usize) -> Given {
    let (mut got, mut lost) = (Vec::new(), 0);
    while got.len() < objects {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => got.push((object.location.group, object.location.object)),
            Item::Lost => lost += 1,
            Item::Done(gone) => panic!("over too early: {gone:?}"),
            Item::Opened { .. } | Item::Closed { .. } => {}
        }
    }
    (got, lost)
}

/// A subscriber has groups 0 and 1 when its subscription fails. It is there again, and the publisher says that nothing
/// came since then; the subscriber is to read so many objects more.
async fn back(name: &str, objects: usize) -> (Relay, Raw, JoinHandle<(Given, Subscriber)>) {
    let relay = relay(settings(1)).await;
    let name = track("gap", name);
    let mut publisher = raw(&relay).await;
    publisher.announce(name.namespace()).await;
    let options = Options {
        moving: Moving {
            retry: Duration::from_secs(600),
            ..Moving::default()
        },
        ..options()
    };
    let at = target(relay.local_addr());
    let mut subscriber = Subscriber::connect(&at, options).await.unwrap();
    let wanted = Wanted {
        track: name.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    };
    let (answer, _) = tokio::join!(subscriber.subscribe(wanted), publisher.serve(&name, BEFORE));
    answer.unwrap();
    for group in 0..2 {
        publisher.group(BEFORE, group, 2).await;
    }
    let (mut got, lost) = read(&mut subscriber, 4).await;
    got.sort_unstable();
    assert_eq!((got, lost), (vec![(0, 0), (0, 1), (1, 0), (1, 1)], 0));
    // Another one takes the place of a publisher that is gone without a word.
    drop(publisher);
    let mut publisher = raw(&relay).await;
    publisher.announce(name.namespace()).await;
    let reading = actix_rt::spawn(async move { (read(&mut subscriber, objects).await, subscriber) });
    let (id, _) = publisher.asked(&name, 0).await;
    publisher.accept(id, AFTER, Some(Location::new(1, 1))).await;
    (relay, publisher, reading)
}

/// D14-FETCH-3 D14-SUB-11: what comes between the largest object and the first one is fetched, and given before it.
#[test]
fn what_was_sent_to_nobody_is_fetched() {
    run(|| async {
        let (_relay, mut publisher, reading) = back("fetched", 6).await;
        publisher.group(AFTER, 4, 2).await;
        let (fetch, asked) = publisher.fetch_asked(0).await;
        // MOQT-14 §9.16.1: up to the whole of group 3, and group 1 may have had more objects.
        assert_eq!(asked_range(&asked), ((1, 2), (3, 0)));
        let places = [(2, 0), (2, 1), (3, 0), (3, 1)];
        publisher
            .serve_fetch(fetch, GroupOrder::Ascending, (3, 0), &places)
            .await;
        let (given, subscriber) = reading.await.unwrap();
        assert_eq!(given, ([&places[..], &[(4, 0), (4, 1)]].concat(), 0));
        subscriber.close().await;
    });
}

/// D14-FETCH-7 D14-FETCH-18: what does not exist is no loss; what cannot be had is told, once.
#[test]
fn what_cannot_be_fetched_is_told_and_what_does_not_exist_is_not() {
    run(|| async {
        for (name, reason, losses) in [
            ("nothing", RequestErrorReason::NoObjects, 0),
            ("refused", RequestErrorReason::NotSupported, 1),
        ] {
            let (_relay, mut publisher, reading) = back(name, 2).await;
            publisher.group(AFTER, 4, 2).await;
            let (fetch, _) = publisher.fetch_asked(0).await;
            publisher.refuse_fetch(fetch, reason).await;
            let (given, subscriber) = reading.await.unwrap();
            assert_eq!(given, (vec![(4, 0), (4, 1)], losses), "{name}");
            subscriber.close().await;
        }
    });
}

/// Nothing can lie between an object and the next one of its group, and nothing is fetched.
#[test]
fn what_goes_on_without_a_gap_is_given_as_it_comes() {
    run(|| async {
        let (_relay, mut publisher, reading) = back("smooth", 2).await;
        let mut stream = publisher.open(AFTER, 1, SubgroupIdMode::Zero).await;
        for object in 2..4 {
            stream.object(object, b"goes on").await;
        }
        stream.fin();
        let (given, subscriber) = reading.await.unwrap();
        assert_eq!(given, (vec![(1, 2), (1, 3)], 0));
        publisher.fence().await;
        let fetched = publisher
            .log
            .iter()
            .any(|news| matches!(news, News::Control(ControlMessage::Fetch(..))));
        assert!(!fetched);
        subscriber.close().await;
    });
}
