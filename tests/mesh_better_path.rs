//! A better path that appears while a track flows takes over, and nothing is lost or comes twice.

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
use common::{PATIENCE, publisher, run, subscriber, track};
use laps::relay::{Relay, Settings};
use laps_actors::client::{Flow, Item, Subscriber};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::peering::node::NodeType;
use road::{Road, Terms};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Objects of a group, each behind the other on one stream.
const EACH: u64 = 3;
/// Groups that are published before the next is when the reader has them.
const AHEAD: u64 = 4;

/// The road lets nothing through.
const BLOCKED: Terms = Terms {
    delay: std::time::Duration::ZERO,
    loss_percent: 100,
};

/// A machine that is busy with other tests is no dead link.
fn lives(settings: &mut Settings) {
    let setup = &mut settings.peering.as_mut().unwrap().setup;
    setup.times.keep_alive = PATIENCE;
    setup.transport.idle_timeout = PATIENCE;
}

/// Bytes of streams that a relay has sent to a node, on links that stand by now.
fn sent_to(relay: &Relay, node: u64) -> u64 {
    let links = relay.links().links().into_iter();
    let to = links.filter(|(_, link)| link.node == id(node));
    to.map(|(_, link)| link.stats.stream_bytes_sent()).sum()
}

/// Counts what comes until something of this group, or of one behind it, does; or until the end of the track.
async fn read_to(subscriber: &mut Subscriber, seen: &mut BTreeMap<Location, usize>, group: Option<u64>) {
    let far_enough = |seen: &BTreeMap<Location, usize>| {
        let newest = seen.last_key_value();
        newest.is_some_and(|(place, _)| group.is_some_and(|group| place.group >= group))
    };
    while !far_enough(seen) {
        match subscriber.next().await.unwrap() {
            Item::Object(object) => *seen.entry(object.location).or_default() += 1,
            Item::Opened { .. } | Item::Closed { .. } => {}
            Item::Done(done) if group.is_none() => {
                assert_eq!(done.status, PublishDoneStatus::TrackEnded);
                return;
            }
            other @ (Item::Lost | Item::Done(_)) => panic!("{other:?}"),
        }
    }
}

/// Issue 6, "Failover": a planned change loses nothing. The reader's relay is reached by a via, and then directly. Where the
/// road to the via `dies` as soon as something goes by the new link, which is noticed a while later, what it had is fetched.
async fn a_direct_link_takes_over(shards: usize, dies: bool) {
    let lives: fn(&mut Settings) = if dies { |_| {} } else { lives };
    let ca = PeerCa::generate().unwrap();
    let far = Member {
        shards,
        ..Member::edge(&ca, 3, &[])
    };
    let far = far.but(lives).start().await;
    let via = Member {
        role: NodeType::Via,
        ..Member::edge(&ca, 2, &[&far])
    };
    let via = via.but(lives).start().await;
    let door = Road::open(
        Ipv4Addr::LOCALHOST.into(),
        far.peer_addrs()[0].unwrap(),
        BLOCKED,
        1,
    )
    .unwrap();
    let target = door.door().to_string();
    let to_via = via.peer_addrs()[0].unwrap();
    let road = Road::open(Ipv4Addr::LOCALHOST.into(), to_via, Terms::default(), 2).unwrap();
    let by_road = road.door().to_string();
    let near = Member {
        shards,
        ..Member::edge(&ca, 1, &[])
    };
    let near = near.but(move |settings| {
        lives(settings);
        let setup = &mut settings.peering.as_mut().unwrap().setup;
        for target in [by_road, target] {
            setup.targets.push((target.parse().unwrap(), 1));
        }
    });
    let near = near.start().await;
    let name = track("mesh", "moves");
    let mut publisher = publisher(&near).await;
    let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
    let mut reader = subscriber(&far).await;
    reader.subscribe(wanted(&name)).await.unwrap();
    writer.wanted().await.unwrap();
    let (mut seen, mut group) = (BTreeMap::new(), 0);
    let payload = Bytes::from(vec![7; 2000]);
    // For as long as it takes until much has come by the new link.
    let mut moved = None;
    while moved.is_none_or(|moved| group < moved + 200) {
        for object in 0..EACH {
            let place = Location::new(group, object);
            writer.object(place, vec![payload.clone()]).await.unwrap();
        }
        if group == 50 {
            door.set(Terms::default());
        }
        if group >= AHEAD {
            read_to(&mut reader, &mut seen, Some(group - AHEAD)).await;
        }
        if dies && sent_to(&near, 3) > 0 {
            road.set(BLOCKED);
        }
        if moved.is_none() && sent_to(&near, 3) > 200_000 {
            moved = Some(group);
        }
        group += 1;
    }
    let finished = actix_rt::spawn(writer.finish());
    read_to(&mut reader, &mut seen, None).await;
    finished.await.unwrap().unwrap();
    let all = (0..group).flat_map(|group| (0..EACH).map(move |object| Location::new(group, object)));
    let lost: Vec<_> = all.filter(|place| !seen.contains_key(place)).collect();
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(
        (lost, twice),
        (vec![], vec![]),
        "of {group} groups, moved at {moved:?}"
    );
    assert!(dies || sent_to(&near, 2) > 0);
}

#[test]
fn a_direct_link_takes_over_one_shard() {
    run(|| a_direct_link_takes_over(1, false));
}

#[test]
fn a_direct_link_takes_over_two_shards() {
    run(|| a_direct_link_takes_over(2, false));
}

#[test]
fn the_road_before_dies_one_shard() {
    run(|| a_direct_link_takes_over(1, true));
}

#[test]
fn the_road_before_dies_two_shards() {
    run(|| a_direct_link_takes_over(2, true));
}
