//! Two laps relays publish one track into a mesh of ours. They name no origin of what they send, yet the data of each is its
//! own: a reader has each object once, and what one of them brings does not end with the other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::laps_peer::{FAKE_PEER, LapsPeer, RELAY_A, bytes_of, heads, listens, objects, set_of, vector};
use common::mesh::{Member, id};
use common::reading::{name, object, wants};
use common::{run, subscriber};
use laps::relay::{Relay, Settings};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::message::{Message, PublishInfo, Published};
use laps_protocol::peering::node::NodeId;
use std::time::Duration;

/// The relay that a laps relay dials.
#[derive(Clone, Copy)]
enum At {
    /// The one that has the reader.
    Readers,
    /// One that has a link to that.
    Between,
}

/// How the first of the two ends.
#[derive(Clone, Copy)]
enum Ends {
    /// It withdraws what it has published.
    Withdraws,
    /// Its link is over.
    Dies,
}

/// The track of the vectors.
fn video() -> FullTrackName {
    name(&["moq", "example"], "video")
}

fn settings(settings: &mut Settings) {
    listens(settings);
    // What a laps relay has withdrawn is waited for as long, for more of it may be on its way.
    settings.track.done_wait = Duration::from_millis(20);
}

fn publishes(node: NodeId) -> PublishInfo {
    PublishInfo::new(node, Published::Namespace(video().namespace().clone()))
}

/// A laps relay that publishes the track at a relay.
async fn publisher(relay: &Relay, connect: &str, node: NodeId) -> LapsPeer {
    let mut laps = LapsPeer::dial(relay.peer_addrs()[1].unwrap(), &vector(connect)).await;
    laps.say(&bytes_of(&Message::PublishInfoAdvertise(publishes(node))))
        .await;
    laps
}

/// It is asked for the track, for the node `2`.
async fn is_asked(laps: &mut LapsPeer) {
    laps.said(|message| match message {
        Message::SubscribeInfoAdvertise(info) => {
            (info.source == id(2) && info.track == TrackHash::of(&video())).then_some(())
        }
        _ => None,
    })
    .await;
    laps.say(&set_of(2, &[id(2)])).await;
}

async fn each_is_its_own(places: [At; 2], ends: Ends) {
    let ca = PeerCa::generate().unwrap();
    let readers = Member::edge(&ca, 2, &[]).but(settings).start().await;
    let between = Member::edge(&ca, 1, &[&readers]).but(settings).start().await;
    let [one, other] = places.map(|at| match at {
        At::Readers => &readers,
        At::Between => &between,
    });
    let mut one = publisher(one, "W11", RELAY_A).await;
    let mut other = publisher(other, "W1", FAKE_PEER).await;
    let mut reader = subscriber(&readers).await;
    wants(&mut reader, &video()).await;
    is_asked(&mut one).await;
    is_asked(&mut other).await;

    let mut first = one.open(&[heads(2, 0), objects(&["at 0"])]).await;
    assert_eq!(object(&mut reader).await, (0, 0, b"at 0".to_vec()));
    let mut second = other.open(&[heads(2, 0), objects(&["at 0", "at 1"])]).await;
    assert_eq!(object(&mut reader).await, (0, 1, b"at 1".to_vec()));
    first.send(&mut [objects(&["at 1", "at 2"])]).await.unwrap();
    assert_eq!(object(&mut reader).await, (0, 2, b"at 2".to_vec()));

    match ends {
        Ends::Withdraws => {
            one.say(&bytes_of(&Message::PublishInfoWithdraw(publishes(RELAY_A))))
                .await;
            // Nobody reads it any more.
            std::future::poll_fn(|cx| first.poll_stopped(cx)).await;
        }
        Ends::Dies => drop(one),
    }
    second.send(&mut [objects(&["at 2", "at 3"])]).await.unwrap();
    assert_eq!(object(&mut reader).await, (0, 3, b"at 3".to_vec()));
    second.finish().unwrap();
    let _third = other.open(&[heads(2, 1), objects(&["next"])]).await;
    assert_eq!(object(&mut reader).await, (1, 0, b"next".to_vec()));
    other.is_content();
}

#[test]
fn both_are_linked_to_the_reader_s_relay() {
    run(|| each_is_its_own([At::Readers, At::Readers], Ends::Withdraws));
}

#[test]
fn the_link_of_one_of_two_dies() {
    run(|| each_is_its_own([At::Readers, At::Readers], Ends::Dies));
}

#[test]
fn both_are_behind_a_relay_of_ours() {
    run(|| each_is_its_own([At::Between, At::Between], Ends::Withdraws));
}

#[test]
fn the_link_of_one_of_two_behind_a_relay_of_ours_dies() {
    run(|| each_is_its_own([At::Between, At::Between], Ends::Dies));
}

#[test]
fn the_second_is_behind_a_relay_of_ours() {
    run(|| each_is_its_own([At::Readers, At::Between], Ends::Withdraws));
}

#[test]
fn the_first_is_behind_a_relay_of_ours() {
    run(|| each_is_its_own([At::Between, At::Readers], Ends::Withdraws));
}
