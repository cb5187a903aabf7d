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

use common::raw::{News, Raw, Reading, raw};
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// D14-LIM-7 D14-LIM-4 D14-SUB-30: it loses objects and is told so, and its session goes on.
#[test]
fn one_that_never_reads_slows_nobody_and_is_bounded() {
    run(async || {
        const LOG: usize = 4 << 20;
        const GROUPS: u64 = 800;
        const BYTES: usize = 100_000;
        let mut settings = settings(1);
        settings.track.limits.max_bytes = LOG;
        let relay = relay(settings).await;
        let name = track("slow", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut fast = raw(&relay).await;
        let id = fast.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = fast.answer(id).await.unwrap().alias;
        // The connection's window is what stops it.
        let small = TransportConfig {
            connection_window: 64 * 1024,
            ..TransportConfig::default()
        };
        let mut slow = Raw::connect(&relay, Reading::Nothing, small).await;
        let (slow_id, _) = slow.subscribed(&name, NEWEST).await;
        let mut before = 0;
        for group in 0..GROUPS {
            let mut stream = publisher.open(ALIAS, group, SubgroupIdMode::Zero).await;
            stream.object(0, &vec![1; BYTES]).await;
            stream.fin();
            // The fast one has each group before the next is sent, whatever the slow one does. [D14-LIM-7]
            fast.until_object(alias, (group, 0)).await;
            fast.log.clear();
            if group == GROUPS / 8 {
                before = resident();
            }
        }
        // Ten times the log went by since; a queue for the slow one would hold all of it. [D14-LIM-4]
        let grown = resident().saturating_sub(before);
        let went_by = (GROUPS as usize * 7 / 8) * BYTES;
        assert!(
            grown < went_by / 4,
            "{grown} bytes more, of {went_by} that went by"
        );
        // What it did not take was in the log alone, and went by with it.
        assert_eq!(slow.done(slow_id).await.status, PublishDoneStatus::TooFarBehind);
        // The slow one is still served: its control stream works.
        slow.fence().await;
        assert!(!slow.log.iter().any(|news| matches!(news, News::Closed(_))));
    });
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
        settings.session.alias_wait = std::time::Duration::from_secs(20);
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
