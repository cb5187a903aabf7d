//! A FETCH that is being answered when the registry fails goes on to its end, and nobody is asked for it again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::{asked_range, fetches, range};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest, SubscribeFilter};

const VIDEO: u64 = 70;
const UP: GroupOrder = GroupOrder::Ascending;

async fn goes_on(shards: usize) {
    let mut plan = FaultPlan::live();
    let trigger = plan.point("registry");
    let mut settings = Settings {
        faults: plan.faults(),
        ..settings(shards)
    };
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let video = track("past", "video");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(video.namespace()).await;
    let mut watcher = placement.raw_on(&relay, 0).await;
    let id = watcher.subscribe(&video, SubscribeFilter::LargestObject).await;
    let (asked, _) = publisher.asked(&video, 0).await;
    publisher.accept(asked, VIDEO, Some(Location::new(4, 1))).await;
    let alias = watcher.answer(id).await.unwrap().alias;
    publisher.whole_group(VIDEO, 5, 2).await;
    watcher.until_objects(alias, 2).await;
    // Groups 3 and 4 are not known, so they are asked for; the answer has begun when the registry fails.
    let mut fetcher = placement.raw_on(&relay, shards - 1).await;
    let wanted = range(&video, (3, 0), (5, 0));
    let order = GroupOrderRequest::Fixed(UP);
    let id = fetcher.fetch(wanted.clone(), order).await;
    let (hole, fetch) = publisher.fetch_asked(0).await;
    assert_eq!(asked_range(&fetch), ((3, 0), (4, 0)));
    publisher.accept_fetch(hole, UP, (4, 0)).await;
    let mut answer = publisher.open_fetch(hole).await;
    answer.object((3, 0)).await;
    fetcher.until_fetched(id, 1).await;
    let lives = placement.values("child up", "child").len();
    trigger.arm(1);
    trigger.wait_fired(1).await;
    // In the middle of it, and behind it.
    answer.object((3, 1)).await;
    fetcher.until_fetched(id, 2).await;
    placement
        .until(&mut watcher, "child up", "child", lives + 1)
        .await;
    answer.object((4, 0)).await;
    answer.fin();
    let whole = [(3, 0), (3, 1), (4, 0), (5, 0), (5, 1)];
    assert_eq!(fetcher.fetched_places(id).await.1, whole);
    // What it brought is there for others, who find the track where it was.
    let mut late = placement.raw_on(&relay, shards - 1).await;
    let id = late.fetch(wanted, order).await;
    assert_eq!(late.fetched_places(id).await.1, whole);
    publisher.catch_up();
    assert_eq!(fetches(&publisher.log).len(), 1);
    assert_eq!(trigger.fired(), 1);
}

/// D14-FETCH-5 D14-FETCH-6
#[test]
fn on_the_shard_of_the_publisher() {
    run(|| goes_on(1));
}

#[test]
fn from_another_shard() {
    run(|| goes_on(3));
}
