//! What a publisher of one relay writes, a subscriber of another reads, with a third relay between them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::mesh::{self, Member, objects};
use common::{run, track};
use laps_actors::client::Flow;
use laps_actors::transport::PeerCa;
use laps_protocol::peering::node::NodeType;

async fn carries(middle: NodeType, shards: usize, flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let far = Member {
        shards,
        ..Member::edge(&ca, 3, &[])
    };
    let far = far.start().await;
    let middle = Member {
        role: middle,
        ..Member::edge(&ca, 2, &[&far])
    };
    let middle = middle.start().await;
    let near = Member {
        shards,
        ..Member::edge(&ca, 1, &[&middle])
    };
    let near = near.start().await;
    mesh::carries(&near, &far, &track("mesh", "video"), flow, &objects(3, 10)).await;
    for relay in [near, middle, far] {
        relay.drain(std::time::Duration::from_secs(2));
    }
}

#[test]
fn announced_through_an_edge() {
    run(|| carries(NodeType::Edge, 1, Flow::Announce));
}

#[test]
fn announced_through_a_via() {
    run(|| carries(NodeType::Via, 1, Flow::Announce));
}

#[test]
fn published_through_a_via_on_two_shards() {
    run(|| carries(NodeType::Via, 2, Flow::Publish));
}
