//! A subscriber that does not read costs nobody else anything, and the relay no more than its bounds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::counted::{counted, telling};
use common::race::{Race, small};
use common::raw::{News, Raw, Reading, end, raw};
use common::{relay, run, settings, track};
use laps::relay::Settings;
use laps_actors::track::Budget;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, MessageParams, PublishDoneStatus, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::sync::Arc;
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
/// CANCELLED and DELIVERY_TIMEOUT among the reset codes. MOQT-14 §10.4.3
const CANCELLED: u64 = 1;
const LATE: u64 = 2;

/// The slow one is told that it is too far behind, and of every stream that there was.
async fn too_far_behind(race: &mut Race) {
    let done = race.slow.done(race.slow_id).await;
    assert_eq!(done.status, PublishDoneStatus::TooFarBehind);
    assert!(!done.phrase.is_empty());
    let count = usize::try_from(done.stream_count.unwrap()).unwrap();
    // MOQT-14 §9.12 [D14-SUB-20]: no more and no fewer, those that were reset included.
    race.slow.until_held(count).await;
    race.slow.fence().await;
    let held = |news: &&News| matches!(news, News::Held(_));
    assert_eq!(race.slow.log.iter().filter(held).count(), count);
    // MOQT-14 §10.4.3 [D14-CLOSE-1] [D14-CLOSE-2]: one that did not bring its object whole ends in a reset.
    race.slow.read_held();
    for number in 0..count {
        let end = race.slow.ended(number).await;
        assert!(
            end.is_none_or(|code| code == CANCELLED || code == LATE),
            "{end:?}"
        );
    }
    let whole: Vec<_> = Raw::objects(&race.slow.log)
        .iter()
        .map(|got| got.stream)
        .collect();
    for number in (0..count).filter(|number| !whole.contains(number)) {
        assert!(end(&race.slow.log, number).unwrap().is_some(), "{number}");
    }
}

/// D14-LIM-7 D14-LIM-4 D14-SUB-30 D14-SUB-19 D14-SUB-20 D14-CLOSE-2: one that never reads is kept for up to the bound, and
/// is told when it is beyond; the others have everything.
#[test]
fn one_that_never_reads_ends_too_far_behind_and_slows_nobody() {
    run(async || {
        const LOG: usize = 4 << 20;
        const BEHIND: usize = 2 << 20;
        const BYTES: usize = 100_000;
        let mut settings = settings(1);
        settings.track.limits.max_bytes = LOG;
        settings.session.max_behind = BEHIND as u64;
        settings.transport.send_buffer = 16 << 10;
        let mut race = Race::new(telling(settings)).await;
        // Less than the bound waits for it: everything is kept.
        for _ in 0..BEHIND / BYTES - 2 {
            race.send(BYTES).await;
        }
        race.slow.catch_up();
        assert!(!Race::is_over(&race.slow.log));
        for _ in 0..BEHIND / BYTES {
            race.send(BYTES).await;
        }
        too_far_behind(&mut race).await;
        let reason = ["reason=\"too_far_behind\""];
        assert_eq!(counted(&race.relay, "laps_drops_total", &reason, 1).await, 1);
        // Its session lives, and may ask again.
        let name = track("slow", "video");
        let (_, ok) = race.slow.subscribed(&name, NEWEST).await;
        let next = race.group;
        race.send(100).await;
        race.slow.until_object(ok.alias, (next, 0)).await;
    });
}

/// D14-SUB-30 D14-LIM-4: what the log dropped before it was sent is as much too far as what it still has.
#[test]
fn one_that_falls_out_of_the_log_is_told() {
    run(async || {
        let mut settings = settings(1);
        settings.track.limits.max_bytes = 1 << 20;
        settings.session.max_behind = 1 << 30;
        settings.transport.send_buffer = 16 << 10;
        let mut race = Race::new(telling(settings)).await;
        for _ in 0..40 {
            race.send(100_000).await;
        }
        too_far_behind(&mut race).await;
        counted(&race.relay, "laps_drops_total", &["reason=\"evicted\""], 1).await;
    });
}

/// D14-SUB-30 D14-SUB-19 D14-SUB-20: what is left of a track that has ended is dropped as well, and who still lacked it is
/// told, though no stream is left to wait for.
#[test]
fn one_that_loses_the_rest_of_a_track_that_has_ended_is_told() {
    run(async || {
        const BYTES: usize = 1_000_000;
        let mut settings = settings(1);
        settings.track.budget = Arc::new(Budget::new(BYTES * 5 / 4));
        settings.transport.send_buffer = 16 << 10;
        let relay = relay(settings).await;
        let (name, other) = (track("slow", "ended"), track("slow", "other"));
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut fast = raw(&relay).await;
        let fast_id = fast.subscribe(&name, NEWEST).await;
        let upstream = publisher.serve(&name, ALIAS).await;
        let fast_alias = fast.answer(fast_id).await.unwrap().alias;
        let mut slow = Raw::connect(&relay, Reading::Later, small()).await;
        let (slow_id, _) = slow.subscribed(&name, NEWEST).await;
        let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        stream.object(0, &vec![1; BYTES]).await;
        stream.fin();
        fast.until_object(fast_alias, (0, 0)).await;
        slow.until_held(1).await;
        publisher
            .publish_done(upstream, PublishDoneStatus::TrackEnded, Some(1))
            .await;
        assert_eq!(fast.done(fast_id).await.status, PublishDoneStatus::TrackEnded);
        // Another track needs the room.
        let id = fast.subscribe(&other, NEWEST).await;
        publisher.serve(&other, ALIAS + 1).await;
        let alias = fast.answer(id).await.unwrap().alias;
        for group in 0..4 {
            let mut stream = publisher.open(ALIAS + 1, group, SubgroupIdMode::Zero).await;
            stream.object(0, &vec![1; BYTES / 4]).await;
            stream.fin();
            fast.until_object(alias, (group, 0)).await;
        }
        slow.read_held();
        let done = slow.done(slow_id).await;
        assert_eq!(
            (done.status, done.stream_count),
            (PublishDoneStatus::TooFarBehind, Some(1))
        );
        assert!(slow.ended(0).await.is_some());
    });
}

/// The newest group comes to the slow one from its start, and all that follow, but little of what was before.
async fn hears_the_newest(race: &mut Race) {
    let last = race.group - 1;
    race.slow.read_held();
    race.slow.until_object(race.slow_alias, (last, 0)).await;
    race.send(100).await;
    race.slow.until_object(race.slow_alias, (last + 1, 0)).await;
    assert!(!Race::is_over(&race.slow.log));
    let got = Raw::places(&race.slow.log, race.slow_alias);
    assert!(got.len() < 30, "{got:?}");
}

async fn goes_on_with_the_newest(settings: Settings, timeout_ms: Option<u64>) {
    let by_the_namespace = !settings.session.skips.below.is_empty();
    let mut race = Race::new(telling(settings)).await;
    if timeout_ms.is_some() {
        let id = race.slow.id();
        let update = SubscribeUpdate {
            subscription: race.slow_id,
            start: Location::ZERO,
            end_group: None,
            priority: 128,
            forward: true,
            params: MessageParams {
                delivery_timeout_ms: timeout_ms,
                ..MessageParams::default()
            },
        };
        race.slow.say(ControlMessage::SubscribeUpdate(id, update)).await;
        race.slow.fence().await;
    }
    for _ in 0..60 {
        race.send(100_000).await;
    }
    hears_the_newest(&mut race).await;
    // MOQT-14 §10.4.3 [D14-CLOSE-1]: what was given up is reset, and nothing else.
    let whole: Vec<_> = Raw::objects(&race.slow.log)
        .iter()
        .map(|got| got.stream)
        .collect();
    let last = whole.iter().copied().max().unwrap();
    for number in 0..=last {
        let end = race.slow.ended(number).await;
        assert_eq!(end, (!whole.contains(&number)).then_some(LATE), "{number}");
    }
    assert!(whole.len() <= last, "nothing was given up");
    let late = ["direction=\"out\"", "reason=\"delivery_timeout\""];
    counted(&race.relay, "laps_stream_resets_total", &late, 1).await;
    if by_the_namespace {
        counted(
            &race.relay,
            "laps_drops_total",
            &["reason=\"skipped_to_newest\""],
            1,
        )
        .await;
    }
}

fn skipping() -> Settings {
    let mut settings = settings(1);
    settings.track.limits.max_bytes = 4 << 20;
    settings.session.max_behind = 1 << 20;
    settings.transport.send_buffer = 16 << 10;
    settings
}

/// D14-SUB-30 D14-LIM-7: in a namespace that skips, it goes on with the newest group.
#[test]
fn by_its_namespace_one_skips_to_the_newest_group() {
    run(async || {
        let mut settings = skipping();
        settings.session.skips.below = vec![track("slow", "").namespace().clone()];
        goes_on_with_the_newest(settings, None).await;
    });
}

/// D14-SUB-30 D14-LIM-7: in a namespace that skips, it does so as well when little waits for it, but for long.
#[test]
fn by_the_time_one_skips_to_the_newest_group() {
    run(async || {
        let mut settings = skipping();
        // All of it would be kept.
        settings.track.limits.max_bytes = 64 << 20;
        settings.session.max_behind = 64 << 20;
        settings.session.skips.below = vec![track("slow", "").namespace().clone()];
        settings.session.skips.max_wait = Some(Duration::from_millis(1));
        goes_on_with_the_newest(settings, None).await;
    });
}

/// D14-LIM-7 D14-SUB-30: what one costs whose connection takes nothing does not grow with what goes by, and it has the newest
/// group as soon as it has taken what was begun.
#[test]
fn one_that_takes_nothing_costs_no_stream_for_each_skip() {
    run(async || {
        let mut settings = skipping();
        settings.track.limits.max_bytes = 64 << 20;
        settings.session.skips.below = vec![track("slow", "").namespace().clone()];
        // Nothing of this goes by the clock.
        settings.session.skips.max_wait = Some(Duration::from_hours(1));
        let mut race = Race::new(settings).await;
        // Twenty times the bound.
        for _ in 0..210 {
            race.send(100_000).await;
        }
        race.slow.fence().await;
        let held = |news: &&News| matches!(news, News::Held(_));
        let begun = race.slow.log.iter().filter(held).count();
        assert!((1..=3).contains(&begun), "{begun}");
        hears_the_newest(&mut race).await;
    });
}

/// D14-SUB-30: a group that alone is too much is given up for the next, and the subscription goes on.
#[test]
fn one_that_skips_gives_up_a_group_that_is_too_large() {
    run(async || {
        let mut settings = skipping();
        settings.track.limits.max_bytes = 16 << 20;
        settings.session.skips.below = vec![track("slow", "").namespace().clone()];
        let mut race = Race::new(settings).await;
        let mut stream = race.publisher.open(ALIAS, 0, SubgroupIdMode::Zero).await;
        for object in 0..30 {
            stream.object(object, &vec![1; 100_000]).await;
            race.fast.until_object(race.fast_alias, (0, object)).await;
        }
        stream.fin();
        race.group = 1;
        race.send(100).await;
        race.slow.read_held();
        race.slow.until_object(race.slow_alias, (1, 0)).await;
        assert!(!Race::is_over(&race.slow.log));
        let got = Raw::places(&race.slow.log, race.slow_alias);
        assert!(got.len() < 15, "{got:?}");
        assert_eq!(race.slow.ended(0).await, Some(LATE));
    });
}

/// D14-SUB-30 D14-TO-1: who asks for a DELIVERY_TIMEOUT, however long, skips as well.
#[test]
fn with_a_timeout_one_skips_to_the_newest_group() {
    run(|| goes_on_with_the_newest(skipping(), Some(600_000)));
}

/// D14-LIM-1
#[test]
fn one_with_too_many_open_streams_gets_the_next_when_one_ends() {
    run(async || {
        let mut settings = settings(1);
        settings.session.max_open_streams = 2;
        let relay = relay(settings).await;
        let name = track("slow", "streams");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let mut streams = Vec::new();
        for group in 0..4 {
            let mut stream = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            stream.object(0, b"first").await;
            streams.push(stream);
        }
        // [D14-LIM-1]
        subscriber.until_objects(alias, 2).await;
        publisher.fence().await;
        subscriber.fence().await;
        assert_eq!(Raw::headers(&subscriber.log, alias).len(), 2);
        for (open, stream) in streams.into_iter().enumerate() {
            stream.fin();
            // One ends, one more begins, and nothing was lost by waiting.
            subscriber.until_objects(alias, (open + 3).min(4)).await;
        }
        let got = Raw::places(&subscriber.log, alias);
        assert_eq!(got, [(0, 0), (1, 0), (2, 0), (3, 0)]);
    });
}

/// D14-DATA-16 D14-LIM-4
#[test]
fn streams_that_wait_for_their_alias_are_bounded() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.session.early_streams = 2;
        settings.session.alias_wait = Duration::from_secs(20);
        let relay = relay(settings).await;
        let name = track("slow", "alias");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        let mut waiting = Vec::new();
        for group in 0..3 {
            let mut stream = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            stream.object(0, b"first").await;
            publisher.fence().await;
            waiting.push(stream);
        }
        // MOQT-14 §10.4.2 [D14-DATA-16] [D14-LIM-4]: the third is refused with CANCELLED, the others wait.
        assert_eq!(waiting.pop().unwrap().stopped().await, 1);
        publisher.accept(upstream, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(0, 0), (1, 0)]);
    });
}
