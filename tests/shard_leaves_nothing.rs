//! A shard that failed leaves nothing behind in any table and no descriptor, whatever its clients had asked for.
//!
//! One test alone, because some tables are of the process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod common;

use common::raw::Raw;
use common::shards::Placement;
use common::{PATIENCE, relay, run, settings, track};
use laps::memory::Held;
use laps::relay::Settings;
use laps_actors::supervise::FaultPlan;
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// A client with every kind of request open, an open stream among them, for tracks of both publishers.
async fn asks_for_everything(mut client: Raw, video: [&laps_protocol::moqt::name::FullTrackName; 2]) -> Raw {
    for name in video {
        client.subscribed(name, NEWEST).await;
        client.fetch_range(name, (0, 0), (0, 9)).await;
    }
    client.watched("test").await;
    client.subscribe(&track("nobody", "video"), NEWEST).await;
    let status = client.id();
    let nobody = common::raw::subscribe(&track("nobody", "status"), NEWEST);
    client.say(ControlMessage::TrackStatus(status, nobody)).await;
    client.fence().await;
    client
}

/// Open descriptors of the relay and the test.
fn descriptors() -> u64 {
    Held::by_this_process().unwrap().descriptors
}

async fn nothing_is_left() {
    let mut plan = FaultPlan::new();
    let trigger = plan.point_named("shard", "1");
    let mut settings = Settings {
        faults: plan.faults(),
        transport: TransportConfig {
            idle_timeout: Duration::from_secs(3),
            keep_alive: Some(Duration::from_millis(500)),
            ..TransportConfig::default()
        },
        ..settings(2)
    };
    settings.track.limits.max_age = Duration::from_secs(1);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let opened = descriptors();
    let names = [track("zero", "video"), track("one", "video")];
    let (mut clients, mut streams) = (Vec::new(), Vec::new());
    for (shard, name) in names.iter().enumerate() {
        let mut publisher = placement.raw_on(&relay, shard).await;
        publisher.announce(name.namespace()).await;
        let mut first = placement.raw_on(&relay, 1 - shard).await;
        let id = first.subscribe(name, NEWEST).await;
        publisher.serve(name, 7).await;
        first.answer(id).await.unwrap();
        let published = track("published", &shard.to_string());
        let request = publisher.publish(&published, 8, true).await;
        publisher.publish_ok(request).await;
        for alias in [7, 8] {
            publisher.group(alias, 0, 2).await;
            let mut stream = publisher.open(alias, 1, SubgroupIdMode::Zero).await;
            stream.object(0, b"the group goes on").await;
            streams.push(stream);
        }
        clients.extend([publisher, first]);
    }
    for shard in [0, 1] {
        let client = placement.raw_on(&relay, shard).await;
        clients.push(asks_for_everything(client, [&names[0], &names[1]]).await);
    }
    let full = relay.handle().census(PATIENCE).await.unwrap();
    assert!(full.sum("connections") >= 6, "{full}");
    let lives = || placement.values("child up", "child").len();
    let before = lives();
    trigger.arm(1);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while lives() == before {
        pace.tick().await;
    }
    drop((clients, streams));
    loop {
        let census = relay.handle().census(PATIENCE).await.unwrap();
        // The old thread and its handles of the socket are gone too: there are as many as before anybody came.
        let more = descriptors().saturating_sub(opened);
        if census.is_empty() && more == 0 {
            break;
        }
        // The test's patience bounds this; what is left stands in its log.
        slog::debug!(common::logger(), "still there"; "tables" => %census, "descriptors" => more);
        pace.tick().await;
    }
    assert_eq!(trigger.fired(), 1);
}

/// D14-LIM-2
#[test]
fn a_failed_shard_leaves_nothing_in_any_table() {
    run(nothing_is_left);
}
