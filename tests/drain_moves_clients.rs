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
use common::paced::Paced;
use common::{options, run, settings, target, track};
use laps_actors::client::{Flow, Moving, Notice, Options, Step};
use laps_actors::root::{Outcome, Retire};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

async fn moves(shards: usize, flow: Flow, filter: SubscribeFilter) {
    let (first, second) = (apart(settings(shards)).await, apart(settings(shards)).await);
    let name = track("moving", "video");
    let (published, subscribed) = (Moves::default(), Moves::default());
    let at = target(first.addr);
    let (publisher, subscriber) = ((&at, noted(&published)), (&at, noted(&subscribed)));
    let mut track = Paced::begin(name, (flow, filter), publisher, subscriber).await;
    let (mut first, mut left) = (Some(first), None);
    while let Some(count) = track.next().await {
        if count == 205 {
            go(first.as_ref().unwrap(), &format!("moqt://{}", second.addr));
        }
        // The first relay ends when both have left it, and that is when enough was seen.
        if left.is_none() && !subscribed.lock().unwrap().is_empty() {
            left = Some(actix_rt::spawn(first.take().unwrap().ended()));
        }
        if left.as_ref().is_some_and(|left| left.is_finished()) && count.is_multiple_of(23) {
            track.ends();
        }
        track.goes_on();
    }
    assert!(matches!(left.unwrap().await.unwrap(), Outcome::Drained));
    track.came_once().await;
    let there = [format!("moqt://{}", second.addr)];
    assert_eq!(*published.lock().unwrap(), there);
    assert_eq!(*subscribed.lock().unwrap(), there);
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
