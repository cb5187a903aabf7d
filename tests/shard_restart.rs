//! One shard of four fails under load: what was on it comes back, and the other three do not notice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod common;

use common::nat::Nat;
use common::raw::{News, Raw};
use common::shards::Placement;
use common::{relay, run, settings, track, watch};
use laps::relay::{Relay, Settings};
use laps_actors::root::Outcome;
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_actors::transport::{ConnError, TransportConfig};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, PublishDoneStatus, SubscribeFilter};
use std::time::Duration;

const VIDEO: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §3.4 [D14-TERM-1]
const CLOSE_INTERNAL_ERROR: u64 = 1;
/// Registry and four shards.
const CHILDREN: usize = 5;

/// A relay of four shards whose shard 1 fails when the trigger is pulled.
struct Scene {
    relay: Relay,
    placement: Placement,
    trigger: Trigger,
}

impl Scene {
    async fn new() -> Self {
        let mut plan = FaultPlan::new();
        let trigger = plan.point_named("shard", "1");
        let mut settings = Settings {
            faults: plan.faults(),
            ..settings(4)
        };
        let placement = Placement::default();
        placement.watch(&mut settings);
        Self {
            relay: relay(settings).await,
            placement,
            trigger,
        }
    }

    async fn on(&self, shard: usize) -> Raw {
        self.placement.raw_on(&self.relay, shard).await
    }

    /// A client on this shard behind a NAT of its own.
    async fn behind_nat_on(&self, shard: usize) -> (Nat, Raw) {
        loop {
            let nat = Nat::before(self.relay.local_addr()).await;
            let client = Raw::connect_to(
                nat.door,
                common::raw::Reading::Everything,
                TransportConfig::default(),
            )
            .await;
            let port = format!(":{})", nat.port());
            let peers = self.placement.values("connection accepted", "peer");
            let shards = self.placement.values("connection accepted", "shard");
            let mut placed = peers.iter().zip(&shards);
            if placed.any(|(peer, on)| peer.ends_with(&port) && *on == shard.to_string()) {
                return (nat, client);
            }
        }
    }

    /// Waits until shard 1 has begun its life number `lives`.
    async fn until_back(&self, client: &mut Raw, lives: usize) {
        let up = CHILDREN + lives - 1;
        self.placement.until(client, "child up", "child", up).await;
    }
}

/// Waits until the connection has ended, however it did.
async fn gone(client: &mut Raw) -> ConnError {
    client
        .wait(|log| {
            let mut ends = log.iter().filter_map(|news| {
                let News::Closed(error) = news else { return None };
                Some(*error)
            });
            ends.next()
        })
        .await
}

fn has_done(client: &mut Raw) -> bool {
    client.catch_up();
    let done = |news: &News| matches!(news, News::Control(ControlMessage::PublishDone(..)));
    client.log.iter().any(done)
}

/// Every object of groups 0 to `groups`, two in each.
fn all(groups: u64) -> Vec<(u64, u64)> {
    (0..groups).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

async fn others_lose_nothing() {
    let scene = Scene::new().await;
    let video = track("zero", "video");
    let mut publisher = scene.on(0).await;
    publisher.announce(video.namespace()).await;
    let mut killed = scene.on(1).await;
    let mut spared = [
        scene.behind_nat_on(0).await,
        scene.behind_nat_on(2).await,
        scene.behind_nat_on(3).await,
    ];
    let id = killed.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    let killed_alias = killed.answer(id).await.unwrap().alias;
    let mut aliases = Vec::new();
    for (_, client) in &mut spared {
        let (_, ok) = client.subscribed(&video, NEWEST).await;
        aliases.push(ok.alias);
    }
    let mut group = 0;
    while group < 10 {
        publisher.group(VIDEO, group, 2).await;
        group += 1;
    }
    killed.until_object(killed_alias, (9, 1)).await;
    scene.trigger.arm(1);
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    // It says nothing, and learns of the end all the same: what is left on the shard says so.
    let end = loop {
        tokio::select! {
            end = gone(&mut killed) => break end,
            _ = pace.tick() => {
                publisher.group(VIDEO, group, 2).await;
                group += 1;
            }
        }
    };
    let closed = ConnError::Peer {
        code: CLOSE_INTERNAL_ERROR,
    };
    assert_eq!(end, closed);
    scene.until_back(&mut publisher, 2).await;
    // The group of sockets is as it was: the others keep their places also when they come from elsewhere.
    for (nat, client) in &mut spared {
        let before = nat.port();
        nat.rebind();
        client.fence().await;
        assert_ne!(nat.port(), before);
    }
    for _ in 0..10 {
        publisher.group(VIDEO, group, 2).await;
        group += 1;
    }
    for ((_, client), alias) in spared.iter_mut().zip(&aliases) {
        let wanted = all(group);
        assert_eq!(client.until_objects(*alias, wanted.len()).await, wanted);
        assert!(!has_done(client));
    }
    // The shard takes newcomers, with a copy of the track of its own.
    let mut back = scene.on(1).await;
    let (_, ok) = back.subscribed(&video, NEWEST).await;
    let next = group;
    publisher.group(VIDEO, next, 2).await;
    back.until_object(ok.alias, (next, 1)).await;
    for ((_, client), alias) in spared.iter_mut().zip(&aliases) {
        client.until_object(*alias, (next, 1)).await;
    }
    assert_eq!(scene.trigger.fired(), 1);
}

/// D14-TERM-1: the clients of three shards lose nothing when the fourth fails, also when their addresses change later.
#[test]
fn the_other_shards_lose_neither_a_connection_nor_an_object() {
    run(others_lose_nothing);
}

async fn told_by_reset() {
    let scene = Scene::new().await;
    let mut other = scene.on(2).await;
    let (nat, mut killed) = scene.behind_nat_on(1).await;
    // It does not hear the last words of its shard.
    nat.deafen(true);
    scene.trigger.arm(1);
    scene.until_back(&mut other, 2).await;
    nat.deafen(false);
    let id = killed.id();
    killed.try_say(ControlMessage::Unsubscribe(id)).await;
    // RFC 9000 §10.3: the next life has the key that the first one promised its tokens with.
    assert_eq!(gone(&mut killed).await, ConnError::StatelessReset);
}

#[test]
fn a_client_that_missed_the_end_is_told_by_a_stateless_reset() {
    run(told_by_reset);
}

async fn tracks_there_end() {
    let scene = Scene::new().await;
    let video = track("one", "video");
    let mut publisher = scene.on(1).await;
    publisher.announce(video.namespace()).await;
    let offered = track("one", "offered");
    publisher.publish(&offered, 5, true).await;
    let mut subscriber = scene.on(0).await;
    subscriber.watched("test").await;
    let mut told = subscriber.until_told(1).await;
    assert_eq!(told, ["+test/one"]);
    let (offer, _) = subscriber.offered(0).await;
    subscriber.accept_offer(offer, true).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    publisher.group(VIDEO, 0, 2).await;
    subscriber.until_object(alias, (0, 1)).await;
    scene.trigger.arm(1);
    // MOQT-14 §9.12: the track has lost the home it lived in.
    let done = subscriber.done(id).await;
    assert_eq!(done.status, PublishDoneStatus::InternalError);
    told = subscriber.until_told(2).await;
    assert_eq!(told[1], "-test/one");
    scene.until_back(&mut subscriber, 2).await;
    // What comes back is new: the registry has nothing of the old life, and the next SUBSCRIBE works.
    let mut publisher = scene.on(1).await;
    publisher.announce(video.namespace()).await;
    told = subscriber.until_told(3).await;
    assert_eq!(told[2], "+test/one");
    let id = subscriber.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO + 1).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    publisher.group(VIDEO + 1, 7, 2).await;
    assert_eq!(subscriber.until_objects(alias, 2).await, [(7, 0), (7, 1)]);
    let again = watch::offers(&subscriber.log).len();
    publisher.publish(&offered, 6, true).await;
    let (offer, publish) = subscriber.offered(again).await;
    assert_eq!(publish.track, offered);
    subscriber.accept_offer(offer, true).await;
}

/// D14-NS-13
#[test]
fn tracks_of_the_failed_shard_end_and_can_be_had_again() {
    run(tracks_there_end);
}

async fn publisher_there_is_lost() {
    let scene = Scene::new().await;
    let video = track("both", "video");
    let (mut first, mut second) = (scene.on(2).await, scene.on(1).await);
    first.announce(video.namespace()).await;
    second.announce(video.namespace()).await;
    let mut subscriber = scene.on(3).await;
    let id = subscriber.subscribe(&video, NEWEST).await;
    for (publisher, alias) in [(&mut first, VIDEO), (&mut second, VIDEO + 1)] {
        let (asked, _) = publisher.asked(&video, 0).await;
        publisher.accept(asked, alias, None::<Location>).await;
    }
    let alias = subscriber.answer(id).await.unwrap().alias;
    first.group(VIDEO, 0, 2).await;
    second.group(VIDEO + 1, 0, 2).await;
    // What only the second has, so that it is known to be heard.
    second.group(VIDEO + 1, 1, 2).await;
    subscriber.until_object(alias, (1, 1)).await;
    scene.trigger.arm(1);
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    let mut group = 2;
    loop {
        tokio::select! {
            _ = gone(&mut second) => break,
            _ = pace.tick() => {
                first.group(VIDEO, group, 2).await;
                group += 1;
            }
        }
    }
    scene.until_back(&mut first, 2).await;
    first.group(VIDEO, group, 2).await;
    let wanted = all(group + 1);
    assert_eq!(subscriber.until_objects(alias, wanted.len()).await, wanted);
    assert!(!has_done(&mut subscriber));
}

/// D14-NS-13
#[test]
fn a_track_at_home_elsewhere_loses_only_its_publisher() {
    run(publisher_there_is_lost);
}

async fn too_often() {
    let scene = Scene::new().await;
    scene.trigger.arm(u32::MAX);
    let outcome = scene.relay.ended().await;
    assert!(
        matches!(&outcome, Outcome::Escalated { child } if child == "shard-1"),
        "{outcome}"
    );
    assert_eq!(outcome.code(), 70);
    // Three returns in thirty seconds are granted; the failure after them is the last.
    assert_eq!(scene.trigger.fired(), 4);
    // The first return waits for nothing, the others ever longer, less a fifth at most.
    let waits = scene.placement.values("child restarts", "after_ms");
    let waits: Vec<u64> = waits.iter().map(|wait| wait.parse().unwrap()).collect();
    assert!(matches!(waits[..], [0, 200..=250, 400..=500]), "{waits:?}");
}

#[test]
fn a_shard_that_keeps_failing_ends_the_relay() {
    run(too_often);
}
