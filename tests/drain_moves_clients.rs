//! A relay that drains sends its clients to another one that knows nothing of it: our publisher and our subscriber go
//! there, and the subscriber gets every object once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::apart::{Apart, apart};
use common::{options, run, settings, target, track};
use laps_actors::client::{
    Flow, Item, Moving, Notice, Options, Publisher, Step, Subscriber, TrackWriter, Wanted,
};
use laps_actors::root::{Outcome, Retire};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::relay::track_log::StreamEnd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Objects a group.
const GOP: u64 = 10;
/// Objects that are on their way at most: the publisher goes at the pace of the subscriber.
const AHEAD: usize = 15;

type Moves = Arc<Mutex<Vec<String>>>;

fn noted(moves: &Moves) -> Options {
    let moves = Arc::clone(moves);
    Options {
        moving: Moving {
            notice: Notice::new(move |step| match step {
                Step::Moved(to) => moves.lock().unwrap().push(to.to_owned()),
                other => panic!("no move: {other:?}"),
            }),
            ..Moving::default()
        },
        ..options()
    }
}

fn go(relay: &Apart, to: &str) {
    let retire = Retire {
        uri: Bytes::from(to.to_owned()),
        grace: Duration::from_secs(3600),
        deadline: Duration::from_secs(2),
    };
    relay.root.retire(retire).unwrap();
}

const fn place(number: u64) -> Location {
    Location::new(number / GOP, number % GOP)
}

/// Writes an object for each permit, and ends the track when there are no more.
async fn write(mut writer: TrackWriter, mut permits: mpsc::UnboundedReceiver<()>) -> u64 {
    writer.wanted().await.unwrap();
    let mut number = 0;
    while permits.recv().await.is_some() {
        let payload = Bytes::from(vec![number as u8; 100]);
        writer.object(place(number), vec![payload]).await.unwrap();
        number += 1;
    }
    writer.finish().await.unwrap();
    number
}

async fn moves(shards: usize, flow: Flow, filter: SubscribeFilter) {
    let (first, second) = (apart(settings(shards)).await, apart(settings(shards)).await);
    let name = track("moving", "video");
    let (published, subscribed) = (Moves::default(), Moves::default());
    let mut publisher = Publisher::connect(&target(first.addr), noted(&published))
        .await
        .unwrap();
    let writer = publisher.publish(name.clone(), flow).await.unwrap();
    let mut subscriber = Subscriber::connect(&target(first.addr), noted(&subscribed))
        .await
        .unwrap();
    let wanted = Wanted {
        track: name,
        filter,
        priority: 128,
        new_group: false,
    };
    subscriber.subscribe(wanted).await.unwrap();
    let (permit, permits) = mpsc::unbounded_channel();
    let written = actix_rt::spawn(write(writer, permits));
    for _ in 0..AHEAD {
        permit.send(()).unwrap();
    }
    let mut permit = Some(permit);
    let mut first = Some(first);
    let (mut got, mut opened, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = None;
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let number = object.location.group * GOP + object.location.object;
                assert_eq!(object.payload.concat(), vec![number as u8; 100]);
                got.push(object.location);
                if got.len() == 205 {
                    go(first.as_ref().unwrap(), &format!("moqt://{}", second.addr));
                }
                // The first relay ends when both have left it, and that is when enough was seen.
                if left.is_none() && !subscribed.lock().unwrap().is_empty() {
                    left = Some(actix_rt::spawn(first.take().unwrap().ended()));
                }
                if left.as_ref().is_some_and(|left| left.is_finished()) && got.len().is_multiple_of(23) {
                    permit = None;
                }
                if let Some(permit) = &permit {
                    permit.send(()).unwrap();
                }
            }
            Item::Opened { group, .. } => opened.push(group),
            Item::Closed { group, end, .. } => {
                assert_eq!(end, StreamEnd::Fin, "group {group}");
                closed.push(group);
            }
            Item::Lost => panic!("objects were lost"),
            Item::Done(gone) => {
                assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                break;
            }
        }
    }
    assert!(matches!(left.unwrap().await.unwrap(), Outcome::Drained));
    let expected: Vec<_> = (0..written.await.unwrap()).map(place).collect();
    got.sort();
    assert_eq!(got, expected, "each object once");
    for mut groups in [opened, closed] {
        groups.sort_unstable();
        let all: Vec<_> = (0..=expected.last().unwrap().group).collect();
        assert_eq!(groups, all, "each stream once");
    }
    let there = [format!("moqt://{}", second.addr)];
    assert_eq!(*published.lock().unwrap(), there);
    assert_eq!(*subscribed.lock().unwrap(), there);
    subscriber.close().await;
    publisher.close().await;
    go(&second, "");
    second.ended().await;
}

/// D14-GOAWAY-2 D14-GOAWAY-3 D14-GOAWAY-5
#[test]
fn an_announced_track_moves() {
    run(|| moves(1, Flow::Announce, SubscribeFilter::LargestObject));
}

/// D14-GOAWAY-2 D14-GOAWAY-3 D14-GOAWAY-5
#[test]
fn an_announced_track_moves_across_shards() {
    run(|| moves(2, Flow::Announce, SubscribeFilter::NextGroupStart));
}

/// D14-GOAWAY-2 D14-GOAWAY-5
#[test]
fn a_published_track_moves() {
    run(|| moves(1, Flow::Publish, SubscribeFilter::AbsoluteStart(Location::ZERO)));
}

/// D14-GOAWAY-2 D14-GOAWAY-5
#[test]
fn a_published_track_moves_across_shards() {
    run(|| moves(2, Flow::Publish, SubscribeFilter::LargestObject));
}
