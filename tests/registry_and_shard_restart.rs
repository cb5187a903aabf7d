//! The registry and a shard fail at the same moment: what was on the shard ends and can be had again, everybody else
//! loses nothing, and nothing is there twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod common;

use common::raw::{News, Raw};
use common::shards::Placement;
use common::watch::{told, track_in};
use common::{relay, run, settings};
use laps::relay::Settings;
use laps_actors::supervise::FaultPlan;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};
use laps_protocol::moqt::name::FullTrackName;

const VIDEO: u64 = 70;
const SLIDES: u64 = 72;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// MOQT-14 §3.4 [D14-TERM-1]
const CLOSE_INTERNAL_ERROR: u64 = 1;

/// How often the relay subscribed to the track.
fn asked(client: &mut Raw, track: &FullTrackName) -> usize {
    client.catch_up();
    let asked = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(_, subscribe)) if subscribe.track == *track);
    client.log.iter().filter(asked).count()
}

/// Every object of groups 0 to `groups`, two in each.
fn all(groups: u64) -> Vec<(u64, u64)> {
    (0..groups).flat_map(|group| [(group, 0), (group, 1)]).collect()
}

async fn both_fail() {
    let mut plan = FaultPlan::live();
    let triggers = [plan.point("registry"), plan.point_named("shard", "1")];
    let mut settings = Settings {
        faults: plan.faults(),
        ..settings(3)
    };
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let (video, slides) = (track_in("live/a", "video"), track_in("live/b", "slides"));
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(video.namespace()).await;
    let mut watcher = placement.raw_on(&relay, 0).await;
    watcher.watched("live").await;
    watcher.until_told(1).await;
    let mut presenter = placement.raw_on(&relay, 1).await;
    presenter.announce(slides.namespace()).await;
    assert_eq!(watcher.until_told(2).await, ["+live/a", "+live/b"]);
    // The track of one who is spared, read from the shard that fails and from one that does not.
    let mut spared = placement.raw_on(&relay, 2).await;
    let id = spared.subscribe(&video, NEWEST).await;
    publisher.serve(&video, VIDEO).await;
    let alias = spared.answer(id).await.unwrap().alias;
    let mut killed = placement.raw_on(&relay, 1).await;
    let killed_alias = killed.subscribed(&video, NEWEST).await.1.alias;
    // And the track of one who is not.
    let ended = spared.subscribe(&slides, NEWEST).await;
    presenter.serve(&slides, SLIDES).await;
    let slides_alias = spared.answer(ended).await.unwrap().alias;
    presenter.group(SLIDES, 0, 2).await;
    spared.until_objects(slides_alias, 2).await;
    publisher.group(VIDEO, 0, 2).await;
    killed.until_objects(killed_alias, 2).await;
    let lives = placement.values("child up", "child").len();
    for trigger in &triggers {
        trigger.arm(1);
    }
    for trigger in &triggers {
        trigger.wait_fired(1).await;
    }
    publisher.group(VIDEO, 1, 2).await;
    for client in [&mut killed, &mut presenter] {
        assert_eq!(client.closed().await, CLOSE_INTERNAL_ERROR);
    }
    spared.done(ended).await;
    assert_eq!(watcher.until_told(3).await[2], "-live/b");
    let up = placement
        .until(&mut publisher, "child up", "child", lives + 2)
        .await;
    let mut back = up[lives..].to_vec();
    back.sort_unstable();
    assert_eq!(back, ["registry", "shard-1"]);
    // Everybody is back: the two on the shard, who are new to a relay that knows the others.
    let mut presenter = placement.raw_on(&relay, 1).await;
    presenter.announce(slides.namespace()).await;
    assert_eq!(watcher.until_told(4).await[3], "+live/b");
    let id = spared.subscribe(&slides, NEWEST).await;
    presenter.serve(&slides, SLIDES + 1).await;
    let slides_alias = spared.answer(id).await.unwrap().alias;
    presenter.group(SLIDES + 1, 7, 2).await;
    assert_eq!(spared.until_objects(slides_alias, 2).await, [(7, 0), (7, 1)]);
    let mut back = placement.raw_on(&relay, 1).await;
    let back_alias = back.subscribed(&video, NEWEST).await.1.alias;
    publisher.group(VIDEO, 2, 2).await;
    back.until_object(back_alias, (2, 1)).await;
    assert_eq!(Raw::places(&back.log, back_alias), all(3)[4..]);
    // Nothing is lost, and nothing is there twice.
    spared.until_object(alias, (2, 1)).await;
    spared.settled().await;
    assert_eq!(Raw::places(&spared.log, alias), all(3));
    publisher.settled().await;
    presenter.settled().await;
    watcher.settled().await;
    assert_eq!(asked(&mut publisher, &video), 1);
    assert_eq!(asked(&mut presenter, &slides), 1);
    assert_eq!(told(&watcher.log), ["+live/a", "+live/b", "-live/b", "+live/b"]);
    for trigger in &triggers {
        assert_eq!(trigger.fired(), 1);
    }
}

/// D14-TERM-1 D14-NS-13 D14-SUB-10
#[test]
fn what_was_on_the_shard_comes_back_and_nobody_else_notices() {
    run(both_fail);
}
