//! A link dies that is not one of the relay beside which the publisher is: what was on its way there comes to the readers all
//! the same, each object once. Issue 6, "Failover".

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/road.rs"]
#[allow(
    dead_code,
    clippy::disallowed_types,
    unreachable_pub,
    reason = "each test file uses the part it needs"
)]
mod road;

use bytes::Bytes;
use common::mesh::{Member, id, wanted};
use common::{publisher, run, subscriber, track};
use laps::relay::Relay;
use laps_actors::client::{Flow, Item, Subscriber, TrackWriter};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::node::NodeType;
use road::{Road, Terms};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::watch;

/// The road lets nothing through.
const BLOCKED: Terms = Terms {
    delay: Duration::ZERO,
    loss_percent: 100,
};
/// Between two objects.
const PACE: Duration = Duration::from_millis(5);

fn road_to(relay: &Relay) -> Road {
    let to = relay.peer_addrs()[0].unwrap();
    Road::open(Ipv4Addr::LOCALHOST.into(), to, Terms::default(), 1).unwrap()
}

/// A relay that takes these roads, and links to these relays.
async fn member(ca: &PeerCa, low: u64, role: NodeType, roads: &[&Road], dials: &[&Relay]) -> Relay {
    let doors: Vec<_> = roads.iter().map(|road| road.door().to_string()).collect();
    let member = Member {
        role,
        ..Member::edge(ca, low, dials)
    };
    let member = member.but(move |settings| {
        let setup = &mut settings.peering.as_mut().unwrap().setup;
        for door in doors {
            setup.targets.push((door.parse().unwrap(), 1));
        }
    });
    member.start().await
}

/// Whether a relay has a link to this node that stands.
fn has_link(relay: &Relay, node: u64) -> bool {
    relay
        .links()
        .links()
        .iter()
        .any(|(_, link)| link.node == id(node))
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Objects of a group, each at its pace, until that is enough. The value is how many there are.
async fn write(mut writer: TrackWriter, each: u64, enough: watch::Receiver<bool>) -> u64 {
    writer.wanted().await.unwrap();
    let (mut number, mut pace) = (0, tokio::time::interval(PACE));
    while !*enough.borrow() {
        pace.tick().await;
        let payload = Bytes::from(number.to_string());
        let place = Location::new(number / each, number % each);
        writer.object(place, vec![payload]).await.unwrap();
        number += 1;
    }
    writer.finish().await.unwrap();
    number
}

/// Reads to the end of the track; `seen` hears how many have come.
async fn read(
    mut subscriber: Subscriber,
    name: FullTrackName,
    seen: watch::Sender<usize>,
) -> BTreeMap<u64, usize> {
    subscriber.subscribe(wanted(&name)).await.unwrap();
    let mut got = BTreeMap::new();
    loop {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => {
                let number = String::from_utf8(object.payload.concat())
                    .unwrap()
                    .parse()
                    .unwrap();
                *got.entry(number).or_default() += 1;
                seen.send_replace(got.len());
            }
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Done(done) => {
                assert_eq!(done.status, PublishDoneStatus::TrackEnded);
                return got;
            }
            Item::Lost => panic!("objects were lost"),
        }
    }
}

/// Nothing lost, nothing twice.
fn whole(who: &str, got: &BTreeMap<u64, usize>, written: u64) {
    let lost: Vec<_> = (0..written).filter(|number| !got.contains_key(number)).collect();
    let twice: Vec<_> = got.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!((lost, twice), (vec![], vec![]), "{who}, of {written}");
}

/// Two vias have a road between them that dies; another way, which is longer, leads around it.
async fn between_two_vias(each: u64) {
    let ca = PeerCa::generate().unwrap();
    let third = member(&ca, 3, NodeType::Via, &[], &[]).await;
    let road = road_to(&third);
    let fifth = member(&ca, 5, NodeType::Via, &[], &[&third]).await;
    let second = member(&ca, 2, NodeType::Via, &[&road], &[&fifth]).await;
    let near = member(&ca, 1, NodeType::Edge, &[], &[&second]).await;
    let far = member(&ca, 4, NodeType::Edge, &[], &[&third]).await;
    until(|| has_link(&second, 3) && has_link(&second, 5) && has_link(&third, 5)).await;
    let name = track("mesh", "beyond");
    let mut publisher = publisher(&near).await;
    let writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let (enough, until_then) = watch::channel(false);
    let (seen, mut counts) = watch::channel(0);
    let reads = actix_rt::spawn(read(subscriber(&far).await, name, seen));
    let written = actix_rt::spawn(write(writer, each, until_then));
    counts.wait_for(|count| *count > 50).await.unwrap();
    road.set(BLOCKED);
    until(|| !has_link(&second, 3)).await;
    // The road stays dead.
    let before = *counts.borrow();
    counts.wait_for(|count| *count > before + 100).await.unwrap();
    enough.send_replace(true);
    let written = written.await.unwrap();
    whole("the reader", &reads.await.unwrap(), written);
}

#[test]
fn a_link_between_two_vias_between_groups() {
    run(|| between_two_vias(1));
}

#[test]
fn a_link_between_two_vias_of_a_group_without_end() {
    run(|| between_two_vias(u64::MAX));
}

/// The road to the reader's relay dies, and comes back; `others` read beside another relay, by the same via.
async fn before_the_reader(each: u64, others: bool) {
    let ca = PeerCa::generate().unwrap();
    let via = member(&ca, 2, NodeType::Via, &[], &[]).await;
    let road = road_to(&via);
    let near = member(&ca, 1, NodeType::Edge, &[], &[&via]).await;
    let far = member(&ca, 3, NodeType::Edge, &[&road], &[]).await;
    let other = member(&ca, 4, NodeType::Edge, &[], &[&via]).await;
    let name = track("mesh", "beyond");
    let mut publisher = publisher(&near).await;
    let writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let (enough, until_then) = watch::channel(false);
    let (seen, mut counts) = watch::channel(0);
    let reads = actix_rt::spawn(read(subscriber(&far).await, name.clone(), seen));
    let (heard, mut there) = watch::channel(0);
    let beside = match others {
        true => Some(actix_rt::spawn(read(subscriber(&other).await, name, heard))),
        false => None,
    };
    let written = actix_rt::spawn(write(writer, each, until_then));
    counts.wait_for(|count| *count > 50).await.unwrap();
    if others {
        there.wait_for(|count| *count > 10).await.unwrap();
    }
    road.set(BLOCKED);
    until(|| !has_link(&via, 3) && !has_link(&far, 2)).await;
    road.set(Terms::default());
    let before = *counts.borrow();
    counts.wait_for(|count| *count > before + 100).await.unwrap();
    enough.send_replace(true);
    let written = written.await.unwrap();
    whole("the reader", &reads.await.unwrap(), written);
    if let Some(beside) = beside {
        let got = beside.await.unwrap();
        let first = *got.keys().next().unwrap();
        let missing: Vec<_> = (first..written)
            .filter(|number| got.get(number) != Some(&1))
            .collect();
        assert_eq!(missing, Vec::<u64>::new(), "the other reader");
    }
}

#[test]
fn the_link_of_the_reader_between_groups() {
    run(|| before_the_reader(1, false));
}

#[test]
fn the_link_of_the_reader_of_a_group_without_end() {
    run(|| before_the_reader(u64::MAX, false));
}

#[test]
fn the_link_of_one_reader_of_two_of_a_group_without_end() {
    run(|| before_the_reader(u64::MAX, true));
}
