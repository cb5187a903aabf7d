//! An endpoint that publishes a track may subscribe to it, and gets its own objects.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::raw::Raw;
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{ControlMessage, RequestId, SubscribeFilter};

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// How the endpoint offers its track.
#[derive(Clone, Copy)]
enum Flow {
    Announce,
    Publish,
}

/// Writes a group and waits until both have it.
async fn echoed(client: &mut Raw, alias: u64, group: u64, other: &mut (Raw, u64)) {
    client.group(ALIAS, group, 2).await;
    for object in 0..2 {
        client.until_object(alias, (group, object)).await;
        other.0.until_object(other.1, (group, object)).await;
    }
}

/// The endpoint and somebody else subscribe, each on its shard; the endpoint leaves its own track and comes back.
async fn echo(flow: Flow, shards: usize) {
    let mut settings = settings(shards);
    settings.track.dampen = std::time::Duration::ZERO;
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("self", "video");
    let mut client = placement.raw_on(&relay, shards - 1).await;
    let (own, alias): (RequestId, u64);
    match flow {
        Flow::Announce => {
            client.announce(name.namespace()).await;
            own = client.subscribe(&name, NEWEST).await;
            client.serve(&name, ALIAS).await;
            alias = client.answer(own).await.unwrap().alias;
        }
        Flow::Publish => {
            let publish = client.publish(&name, ALIAS, true).await;
            assert!(!client.publish_ok(publish).await.forward);
            let (id, ok) = client.subscribed(&name, NEWEST).await;
            (own, alias) = (id, ok.alias);
            // MOQT-14 §8.4 [D14-SUB-26]: its own wish counts like any other's.
            let wanted = client
                .wait(|log| Raw::updates(log, publish).first().map(|update| update.forward))
                .await;
            assert!(wanted);
        }
    }
    let mut other = placement.raw_on(&relay, 0).await;
    let (_, ok) = other.subscribed(&name, NEWEST).await;
    let mut other = (other, ok.alias);
    echoed(&mut client, alias, 0, &mut other).await;
    // It leaves its own track, which goes on for the other.
    client.say(ControlMessage::Unsubscribe(own)).await;
    client.fence().await;
    client.group(ALIAS, 1, 1).await;
    other.0.until_object(other.1, (1, 0)).await;
    let (_, ok) = client.subscribed(&name, NEWEST).await;
    assert_ne!(ok.alias, alias);
    echoed(&mut client, ok.alias, 2, &mut other).await;
    assert_eq!(Raw::places(&client.log, alias), [(0, 0), (0, 1)]);
    assert_eq!(Raw::places(&client.log, ok.alias), [(2, 0), (2, 1)]);
}

/// D14-SUB-22 D14-SUB-1
#[test]
fn an_announced_track_is_echoed_one_shard() {
    run(|| echo(Flow::Announce, 1));
}

/// D14-SUB-22 D14-SUB-1
#[test]
fn an_announced_track_is_echoed_two_shards() {
    run(|| echo(Flow::Announce, 2));
}

/// D14-SUB-22 D14-SUB-1 D14-SUB-26
#[test]
fn a_published_track_is_echoed_one_shard() {
    run(|| echo(Flow::Publish, 1));
}

/// D14-SUB-22 D14-SUB-1 D14-SUB-26
#[test]
fn a_published_track_is_echoed_two_shards() {
    run(|| echo(Flow::Publish, 2));
}
