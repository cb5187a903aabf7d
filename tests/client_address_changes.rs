//! A client whose address changes falls silent for a while, and is suspected to have lost its relay. The suspicion proves
//! wrong: the session goes on, and every object comes once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::nat::Nat;
use common::{options, relay, run, settings, target, track};
use laps_actors::client::{Flow, Item, Moving, Notice, Options, Publisher, Subscriber, TrackWriter, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Objects a group.
const GOP: u64 = 10;
/// Objects that are on their way at most: the publisher goes at the pace of the subscriber.
const AHEAD: usize = 15;
/// Objects before the network fails, and how many come after that.
const BEFORE: usize = 55;
const AFTER: usize = 100;

/// What a client logs.
struct Said(mpsc::UnboundedSender<String>);

impl Drain for Said {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        self.0.send(record.msg().to_string()).ok();
        Ok(())
    }
}

/// A client that comes back when its session is lost, with what it tells of that, and what it logs.
fn watched(steps: &Arc<Mutex<Vec<String>>>) -> (Options, mpsc::UnboundedReceiver<String>) {
    let (said, heard) = mpsc::unbounded_channel();
    let (steps, options) = (Arc::clone(steps), options());
    let options = Options {
        moving: Moving {
            retry: Duration::from_secs(600),
            notice: Notice::new(move |step| steps.lock().unwrap().push(format!("{step:?}"))),
            ..Moving::default()
        },
        log: Logger::root(slog::Duplicate(Said(said), options.log.clone()).fuse(), o!()),
        ..options
    };
    (options, heard)
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

/// The network takes nothing to the client until that suspects its relay; then it does, and brings the client's packets
/// from another port. Nobody else gets through, so another session cannot take the place of this one.
async fn fails(nat: Nat, mut heard: mpsc::UnboundedReceiver<String>) -> Nat {
    nat.only_this_client();
    nat.deafen(true);
    while let Some(said) = heard.recv().await {
        if said.contains("the relay is silent") {
            break;
        }
    }
    nat.rebind();
    nat.deafen(false);
    nat
}

/// Who is behind the network that fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Publisher,
    Subscriber,
}

async fn survives(who: Who) {
    let mut settings = settings(2);
    // The publisher goes at the pace of the subscriber, so it is not to be stopped while that one hears nothing.
    settings.track.dampen = Duration::from_secs(3600);
    let relay = relay(settings).await;
    let (name, direct) = (track("roams", "video"), target(relay.local_addr()));
    let nat = Nat::before(relay.local_addr()).await;
    let port = nat.port();
    let steps = Arc::default();
    let (roaming, heard) = watched(&steps);
    let (to_publisher, to_subscriber) = match who {
        Who::Publisher => ((target(nat.door), roaming), (direct, options())),
        Who::Subscriber => ((direct, options()), (target(nat.door), roaming)),
    };
    let mut publisher = Publisher::connect(&to_publisher.0, to_publisher.1).await.unwrap();
    let writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let mut subscriber = Subscriber::connect(&to_subscriber.0, to_subscriber.1)
        .await
        .unwrap();
    let wanted = Wanted {
        track: name,
        filter: SubscribeFilter::LargestObject,
        priority: 128,
        new_group: false,
    };
    subscriber.subscribe(wanted).await.unwrap();
    let (permit, permits) = mpsc::unbounded_channel();
    let written = actix_rt::spawn(write(writer, permits));
    for _ in 0..AHEAD {
        permit.send(()).unwrap();
    }
    let (mut permit, mut way) = (Some(permit), Some((nat, heard)));
    let (mut got, mut failed) = (Vec::new(), None);
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let number = object.location.group * GOP + object.location.object;
                assert_eq!(object.payload.concat(), vec![number as u8; 100]);
                got.push(object.location);
                if got.len() == BEFORE {
                    failed = way.take().map(|(nat, heard)| actix_rt::spawn(fails(nat, heard)));
                }
                if got.len() == BEFORE + AFTER {
                    permit = None;
                }
                if let Some(permit) = &permit {
                    permit.send(()).unwrap();
                }
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Lost => panic!("objects were lost"),
            Item::Done(gone) => {
                assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                break;
            }
        }
    }
    let expected: Vec<_> = (0..written.await.unwrap()).map(place).collect();
    got.sort();
    assert_eq!(got, expected, "each object once");
    let nat = failed.unwrap().await.unwrap();
    assert_ne!(nat.port(), port, "the address has changed");
    assert_eq!(
        *steps.lock().unwrap(),
        Vec::<String>::new(),
        "it is the session of before"
    );
    subscriber.close().await;
    publisher.close().await;
}

/// D14-TERM-1
#[test]
fn of_a_subscriber() {
    run(|| survives(Who::Subscriber));
}

#[test]
fn of_a_publisher() {
    run(|| survives(Who::Publisher));
}
