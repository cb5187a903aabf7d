//! Each part of what links two relays fails once, on either of them: a subscriber beside the other one than its publisher goes
//! on by itself, gets nothing twice, and loses nothing but what goes with a whole peering.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::mesh::{Member, wanted};
use common::{options, publisher, run, target, track};
use laps::relay::Relay;
use laps_actors::client::{Flow, Item, Moving, Options, Subscriber, TrackWriter};
use laps_actors::supervise::FaultPlan;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Objects a group.
const GOP: u64 = 10;
/// Between two objects.
const PACE: Duration = Duration::from_millis(10);
/// Objects after which something fails, and how many come after that.
const BEFORE: usize = 45;
const AFTER: usize = 100;

/// Where something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The relay beside which the publisher is.
    Publisher,
    /// The relay beside which the subscriber is, which dials.
    Subscriber,
}

const BOTH: [Side; 2] = [Side::Publisher, Side::Subscriber];

const fn place(number: u64) -> Location {
    Location::new(number / GOP, number % GOP)
}

/// Writes objects at a pace of its own until that is enough, and ends the track; says how many there are.
async fn write(mut writer: TrackWriter, mut enough: oneshot::Receiver<()>, written: Rc<Cell<u64>>) {
    writer.wanted().await.unwrap();
    let mut pace = tokio::time::interval(PACE);
    while enough.try_recv().is_err() {
        pace.tick().await;
        let number = written.get();
        let payload = Bytes::from(vec![number as u8; 100]);
        writer.object(place(number), vec![payload]).await.unwrap();
        written.set(number + 1);
    }
    writer.finish().await.unwrap();
}

/// Two relays, one of which fails where the trigger says.
async fn relays(plan: &FaultPlan, side: Side) -> [Relay; 2] {
    let ca = PeerCa::generate().unwrap();
    let failing = |here: Side| {
        let faults = if here == side {
            plan.faults()
        } else {
            Default::default()
        };
        move |settings: &mut laps::relay::Settings| {
            settings.faults = faults;
        }
    };
    let near = Member::edge(&ca, 1, &[])
        .but(failing(Side::Publisher))
        .start()
        .await;
    let far = Member::edge(&ca, 2, &[&near]).but(failing(Side::Subscriber));
    let far = far.start().await;
    [near, far]
}

/// The part with this point fails; objects that are lost with it, at most.
async fn comes_back(kind: &'static str, side: Side, may_lose: u64) {
    let mut plan = FaultPlan::live();
    let trigger = plan.point(kind);
    let [near, far] = relays(&plan, side).await;
    let name = track("back", "video");
    let mut publisher = publisher(&near).await;
    let writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let stays = Options {
        moving: Moving {
            retry: Duration::from_secs(600),
            ..Moving::default()
        },
        ..options()
    };
    let mut subscriber = Subscriber::connect(&target(far.local_addr()), stays)
        .await
        .unwrap();
    subscriber.subscribe(wanted(&name)).await.unwrap();
    let (enough, until) = oneshot::channel();
    let written = Rc::new(Cell::new(0));
    let writing = actix_rt::spawn(write(writer, until, Rc::clone(&written)));
    let (mut enough, mut got, mut newer) = (Some(enough), BTreeMap::new(), None);
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let number = object.location.group * GOP + object.location.object;
                assert_eq!(object.payload.concat(), vec![number as u8; 100]);
                *got.entry(object.location).or_insert(0) += 1;
                if got.len() == BEFORE {
                    trigger.arm(1);
                    trigger.wait_fired(1).await;
                }
                if got.len() < BEFORE + AFTER {
                    continue;
                }
                // What is fetched of a track does not outlive the track. On a busy machine that may take longer than all of
                // these objects: it is over when what was written since comes, and nothing more is missing before it.
                let newer = *newer.get_or_insert_with(|| written.get());
                let missing = (number + 1).saturating_sub(got.len() as u64);
                if number >= newer
                    && missing <= may_lose
                    && let Some(enough) = enough.take()
                {
                    enough.send(()).unwrap();
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
    writing.await.unwrap();
    let expected: BTreeMap<_, _> = (0..written.get()).map(|number| (place(number), 1)).collect();
    let lost: Vec<_> = expected
        .keys()
        .filter(|place| !got.contains_key(*place))
        .collect();
    assert!(lost.len() as u64 <= may_lose, "{lost:?}");
    assert!(
        got.iter()
            .all(|(place, times)| expected.get(place) == Some(times)),
        "{got:?}"
    );
    assert_eq!(trigger.fired(), 1);
    subscriber.close().await;
    publisher.close().await;
    for relay in [near, far] {
        relay.drain(Duration::from_secs(2));
    }
}

/// With who knows what other relays want goes what was not sent yet.
const PEERING: u64 = 30;

fn each(kind: &'static str, sides: &[Side], may_lose: u64) {
    for &side in sides {
        run(move || comes_back(kind, side, may_lose));
    }
}

#[test]
fn a_link() {
    each("peer_link", &BOTH, 0);
}

#[test]
fn the_information_bases() {
    each("info_base", &BOTH, 0);
}

#[test]
fn the_peering() {
    each("peering", &BOTH, PEERING);
}

#[test]
fn the_plane() {
    each("plane", &BOTH, PEERING);
}

#[test]
fn who_knows_what_nodes_publish() {
    each("mesh", &BOTH, PEERING);
}

#[test]
fn who_stands_for_a_node() {
    each("node", &[Side::Subscriber], 0);
}

#[test]
fn who_serves_other_nodes() {
    each("origin", &BOTH, PEERING);
}

#[test]
fn who_tells_the_mesh_of_publications() {
    each("publications", &BOTH, 0);
}
