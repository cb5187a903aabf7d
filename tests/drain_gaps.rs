//! What a subscriber that moves gets when the two relays do not join smoothly.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::apart::{Apart, apart};
use common::fetching::asked_range;
use common::raw::{News, Raw, raw_at};
use common::{options, run, settings, target, track};
use laps_actors::client::{Flow, Item, Publisher, Subscriber, Wanted};
use laps_actors::root::{Outcome, Retire};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, PublishDoneStatus, RequestErrorReason, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;

/// Nobody is cut off.
const AGES: Duration = Duration::from_secs(3600);

fn go(relay: &Apart, to: &Apart, grace: Duration) {
    let retire = Retire {
        uri: Bytes::from(format!("moqt://{}", to.addr)),
        grace,
        deadline: Duration::from_secs(2),
    };
    relay.root.retire(retire).unwrap();
}

fn newest(track: &FullTrackName) -> Wanted {
    Wanted {
        track: track.clone(),
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    }
}

/// Reads until so many objects came; whether something was lost on the way.
async fn read(subscriber: &mut Subscriber, objects: usize) -> (Vec<(u64, u64)>, bool) {
    let (mut got, mut lost) = (Vec::new(), false);
    while got.len() < objects {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => got.push((object.location.group, object.location.object)),
            Item::Lost => lost = true,
            Item::Done(gone) => panic!("over too early: {gone:?}"),
            Item::Opened { .. } | Item::Closed { .. } => {}
        }
    }
    (got, lost)
}

/// D14-GOAWAY-3 D14-GOAWAY-5: a subscriber that reads nothing until the old relay has cut it off finds all that came
/// there, and the rest at the new one.
#[test]
fn a_subscriber_that_is_cut_off_misses_nothing() {
    run(|| async {
        let (first, second) = (apart(settings(1)).await, apart(settings(1)).await);
        let name = track("cut", "video");
        let at = target(first.addr);
        let mut publisher = Publisher::connect(&at, options()).await.unwrap();
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = Subscriber::connect(&at, options()).await.unwrap();
        subscriber.subscribe(newest(&name)).await.unwrap();
        writer.wanted().await.unwrap();
        let payload = || vec![Bytes::from_static(b"x")];
        for object in 0..100 {
            writer
                .object(Location::new(object / 10, object % 10), payload())
                .await
                .unwrap();
        }
        go(&first, &second, Duration::from_millis(1500));
        let ended = actix_rt::spawn(first.ended());
        let mut object = 100;
        while !ended.is_finished() {
            writer
                .object(Location::new(object / 10, object % 10), payload())
                .await
                .unwrap();
            object += 1;
            tokio::task::yield_now().await;
            if object.is_multiple_of(50) {
                // As fast as the relays take it, and not so fast that the log of the one who does not read runs over.
                raw_at(second.addr).await.fence().await;
            }
        }
        assert!(matches!(ended.await.unwrap(), Outcome::Drained));
        writer
            .object(Location::new(object / 10, object % 10), payload())
            .await
            .unwrap();
        let finished = actix_rt::spawn(writer.finish());
        let (mut got, lost) = read(&mut subscriber, object as usize + 1).await;
        assert!(!lost);
        got.sort_unstable();
        let expected: Vec<_> = (0..=object).map(|object| (object / 10, object % 10)).collect();
        assert_eq!(got, expected, "each once");
        subscriber.close().await;
        finished.await.unwrap().unwrap();
        publisher.close().await;
    });
}

/// A publisher on both relays, the second time later, and a subscriber that was sent from one to the other in between.
async fn later(name: &FullTrackName) -> (Apart, Apart, Raw, Subscriber) {
    let (first, mut impatient) = (apart(settings(1)).await, settings(1));
    // Refused again and again, until the publisher is there.
    impatient.session.subscribe_wait = Some(Duration::from_millis(1));
    let second = apart(impatient).await;
    let mut publisher = raw_at(first.addr).await;
    publisher.announce(name.namespace()).await;
    let mut subscriber = Subscriber::connect(&target(first.addr), options()).await.unwrap();
    let wanted = newest(name);
    let (answer, _) = tokio::join!(subscriber.subscribe(wanted), publisher.serve(name, 7));
    answer.unwrap();
    publisher.group(7, 0, 2).await;
    assert_eq!(read(&mut subscriber, 2).await, (vec![(0, 0), (0, 1)], false));
    go(&first, &second, AGES);
    publisher
        .control(|message| matches!(message, ControlMessage::Goaway(_)).then_some(()))
        .await;
    // It is served where it is while nobody publishes there.
    publisher.group(7, 1, 2).await;
    assert_eq!(read(&mut subscriber, 2).await, (vec![(1, 0), (1, 1)], false));
    (first, second, publisher, subscriber)
}

/// D14-GOAWAY-4 D14-GOAWAY-5: the publisher comes later, and until then the old relay delivers; then UNSUBSCRIBE.
#[test]
fn a_subscriber_waits_for_its_publisher_at_the_next_relay() {
    run(|| async {
        let name = track("later", "video");
        let (first, second, mut old, mut subscriber) = later(&name).await;
        let mut new = raw_at(second.addr).await;
        new.announce(name.namespace()).await;
        let (id, asked) = new.asked(&name, 0).await;
        assert!(asked.forward);
        new.accept(id, 8, Some(Location::new(1, 1))).await;
        // To both, as a publisher that moves does; the next group comes from the new relay alone.
        old.group(7, 2, 2).await;
        new.group(8, 2, 2).await;
        new.group(8, 3, 2).await;
        let (mut got, lost) = read(&mut subscriber, 4).await;
        got.sort_unstable();
        assert_eq!(got, [(2, 0), (2, 1), (3, 0), (3, 1)]);
        assert!(!lost);
        {
            let left = old.control(|message| matches!(message, ControlMessage::Unsubscribe(_)).then_some(()));
            let mut left = std::pin::pin!(left);
            // It is read on while it leaves.
            loop {
                tokio::select! {
                    () = &mut left => break,
                    more = subscriber.next() => {
                        assert!(matches!(more.unwrap(), Item::Closed { .. }), "nothing more was sent");
                    }
                }
            }
        }
        let order = old.log.iter().filter_map(|news| match news {
            News::Control(ControlMessage::Goaway(_)) => Some("GOAWAY"),
            News::Control(ControlMessage::Unsubscribe(_)) => Some("UNSUBSCRIBE"),
            _ => None,
        });
        assert_eq!(order.collect::<Vec<_>>(), ["GOAWAY", "UNSUBSCRIBE"]);
        drop((old, new));
        first.ended().await;
        subscriber.close().await;
    });
}

/// Groups 2 to 5 were published while the subscriber moved, and the old publisher leaves without them.
async fn hole(name: &FullTrackName) -> (Apart, Apart, Raw, Subscriber) {
    let (first, second, mut old, subscriber) = later(name).await;
    let mut new = raw_at(second.addr).await;
    new.announce(name.namespace()).await;
    let (id, _) = new.asked(name, 0).await;
    new.accept(id, 8, Some(Location::new(5, 1))).await;
    let subscribe = old.asked(name, 0).await.0;
    old.publish_done(subscribe, PublishDoneStatus::GoingAway, Some(2))
        .await;
    (first, second, new, subscriber)
}

/// The old session is dead, so that the rest of the group in which the new one began may be missing too, and is asked for.
async fn nothing_more(new: &mut Raw) {
    let (rest, asked) = new.fetch_asked(1).await;
    assert_eq!(asked_range(&asked), ((5, 2), (5, 0)));
    new.refuse_fetch(rest, RequestErrorReason::NoObjects).await;
}

/// D14-GOAWAY-5 D14-FETCH-3: what neither session delivers is fetched at the new relay, and comes before what is live.
#[test]
fn what_neither_session_delivers_is_fetched() {
    run(|| async {
        let name = track("hole", "video");
        let (_first, _second, mut new, mut subscriber) = hole(&name).await;
        new.group(8, 6, 2).await;
        let reading = actix_rt::spawn(async move {
            let got = read(&mut subscriber, 10).await;
            (got, subscriber)
        });
        let (fetch, asked) = new.fetch_asked(0).await;
        // Group 1 may have had more objects, and the last one that is wanted is object 1 of group 5.
        assert_eq!(asked_range(&asked), ((1, 2), (5, 2)));
        let places: Vec<_> = (2..=5).flat_map(|group| [(group, 0), (group, 1)]).collect();
        new.serve_fetch(fetch, GroupOrder::Ascending, (5, 2), &places)
            .await;
        nothing_more(&mut new).await;
        let ((got, lost), subscriber) = reading.await.unwrap();
        assert_eq!(got, [&places[..], &[(6, 0), (6, 1)]].concat());
        assert!(!lost);
        subscriber.close().await;
    });
}

/// D14-GOAWAY-5 D14-FETCH-7: what does not exist is not missing.
#[test]
fn what_does_not_exist_is_not_missing() {
    run(|| async {
        let name = track("nothing", "video");
        let (_first, _second, mut new, mut subscriber) = hole(&name).await;
        new.group(8, 6, 2).await;
        let reading = actix_rt::spawn(async move { read(&mut subscriber, 2).await });
        let (fetch, _) = new.fetch_asked(0).await;
        new.refuse_fetch(fetch, RequestErrorReason::NoObjects).await;
        nothing_more(&mut new).await;
        assert_eq!(reading.await.unwrap(), (vec![(6, 0), (6, 1)], false));
    });
}

/// D14-GOAWAY-5 D14-FETCH-18: what cannot be fetched either is told, and what came of it stays true.
#[test]
fn what_cannot_be_fetched_is_told() {
    run(|| async {
        let name = track("refused", "video");
        let (_first, _second, mut new, mut subscriber) = hole(&name).await;
        new.group(8, 6, 2).await;
        let reading = actix_rt::spawn(async move { read(&mut subscriber, 2).await });
        let (fetch, _) = new.fetch_asked(0).await;
        new.refuse_fetch(fetch, RequestErrorReason::NotSupported).await;
        assert_eq!(reading.await.unwrap(), (vec![(6, 0), (6, 1)], true));

        let name = track("broken", "video");
        let (_first, _second, mut new, mut subscriber) = hole(&name).await;
        new.group(8, 6, 2).await;
        let begin = async {
            let (fetch, _) = new.fetch_asked(0).await;
            let mut stream = new.open_fetch(fetch).await;
            stream.object((2, 0)).await;
            stream
        };
        let (begun, stream) = tokio::join!(read(&mut subscriber, 1), begin);
        assert_eq!(begun, (vec![(2, 0)], false));
        let reading = actix_rt::spawn(async move { read(&mut subscriber, 2).await });
        stream.reset(0);
        // The relay tries it once more.
        let (again, asked) = new.fetch_asked(1).await;
        assert_eq!(asked_range(&asked), ((2, 1), (5, 2)));
        new.refuse_fetch(again, RequestErrorReason::InternalError).await;
        assert_eq!(reading.await.unwrap(), (vec![(6, 0), (6, 1)], true));
    });
}

/// D14-FETCH-16: who wants nothing more fetches nothing more.
#[test]
fn who_unsubscribes_cancels_the_fetch() {
    run(|| async {
        let name = track("cancelled", "video");
        let (_first, _second, mut new, mut subscriber) = hole(&name).await;
        let fetch = {
            let mut asked = std::pin::pin!(new.fetch_asked(0));
            loop {
                tokio::select! {
                    (id, _) = &mut asked => break id,
                    more = subscriber.next() => assert!(matches!(more.unwrap(), Item::Closed { .. })),
                }
            }
        };
        subscriber.unsubscribe();
        new.control(|message| {
            matches!(message, ControlMessage::FetchCancel(id) if *id == fetch).then_some(())
        })
        .await;
        subscriber.close().await;
    });
}
