//! What is written as fast as it goes, from the moment that somebody wants it to the end of the track, arrives whole behind
//! two links, wherever its home is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::{Member, objects, read_to_the_end, wanted, write};
use common::{publisher, run, subscriber, track};
use laps_actors::client::Flow;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::message::PublishDoneStatus;
use laps_protocol::peering::node::NodeType;

const TRACKS: u64 = 4;
const GROUPS: u64 = 20;
const OBJECTS: u64 = 10;

/// Homes of tracks are on either shard, and so are sessions.
async fn everything_arrives(flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let edge = |low| Member {
        shards: 2,
        ..Member::edge(&ca, low, &[])
    };
    let far = edge(3).start().await;
    let middle = Member {
        role: NodeType::Via,
        dials: vec![&far],
        ..edge(2)
    };
    let middle = middle.start().await;
    let near = Member {
        dials: vec![&middle],
        ..edge(1)
    };
    let near = near.start().await;
    let sent = objects(GROUPS, OBJECTS);
    for number in 0..TRACKS {
        let name = track("mesh", &format!("file{number}"));
        let mut subscriber = subscriber(&far).await;
        let mut publisher = publisher(&near).await;
        let asked = async {
            subscriber.subscribe(wanted(&name)).await.unwrap();
            read_to_the_end(&mut subscriber).await
        };
        let written = async {
            let mut writer = publisher.publish(name.clone(), flow).await.unwrap();
            writer.wanted().await.unwrap();
            write(&mut writer, &sent).await;
            writer.finish().await.unwrap();
        };
        let ((got, gone), ()) = futures::join!(asked, written);
        assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
        let missing: Vec<_> = sent.iter().filter(|object| !got.contains(object)).collect();
        let places: Vec<_> = missing.iter().map(|(place, _)| *place).collect();
        assert_eq!((places, got.len()), (Vec::new(), sent.len()), "track {number}");
    }
    for relay in [near, middle, far] {
        relay.drain(std::time::Duration::from_secs(2));
    }
}

#[test]
fn of_an_announced_track() {
    run(|| everything_arrives(Flow::Announce));
}

#[test]
fn of_a_published_track() {
    run(|| everything_arrives(Flow::Publish));
}
