//! A watcher whose window of request ids is used up misses nothing: it hears how things are when it has room again.

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
use common::watch::{ns, told};
use common::{relay, run, settings};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::ControlMessage;
use std::collections::BTreeSet;

/// What the peer knows after all it was told.
fn known(log: &[News]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for told in told(log) {
        let (sign, name) = told.split_at(1);
        let changed = if sign == "+" {
            known.insert(name.to_owned())
        } else {
            known.remove(name)
        };
        assert!(changed, "{told} twice: {:?}", self::told(log));
    }
    known
}

/// D14-NS-2 D14-REQ-6 D14-LIM-3
#[test]
fn nothing_is_lost_while_the_window_is_closed() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut publisher = raw(&relay).await;
        for n in 0..10 {
            publisher.announce(&ns(&format!("live/{n}"))).await;
        }
        // Ids 1, 3 and 5.
        let transport = TransportConfig::default();
        let mut watcher = Raw::connect_with(relay.local_addr(), Reading::Everything, transport, 6).await;
        watcher.watched("live").await;
        assert_eq!(watcher.until_told(3).await, ["+live/0", "+live/1", "+live/2"]);
        let blocked = |message: &ControlMessage| match message {
            ControlMessage::RequestsBlocked(maximum) => Some(*maximum),
            _ => None,
        };
        assert_eq!(watcher.control(blocked).await, 6);
        // An end needs no id, and comes at once.
        publisher.withdraw("live/1").await;
        assert_eq!(watcher.until_told(4).await[3..], ["-live/1"]);
        // These come and go while the watcher has no room.
        for _ in 0..20 {
            for n in 5..9 {
                publisher.withdraw(&format!("live/{n}")).await;
                publisher.announce(&ns(&format!("live/{n}"))).await;
            }
        }
        publisher.withdraw("live/9").await;
        publisher.settled().await;
        watcher.settled().await;
        assert_eq!(told(&watcher.log).len(), 4);
        watcher.say(ControlMessage::MaxRequestId(10)).await;
        watcher.until_told(6).await;
        watcher.say(ControlMessage::MaxRequestId(1000)).await;
        watcher.until_told(9).await;
        watcher.settled().await;
        let there = [0, 2, 3, 4, 5, 6, 7, 8].map(|n| format!("live/{n}"));
        assert_eq!(known(&watcher.log), BTreeSet::from(there));
        // Each but the one that was withdrawn was told of once.
        assert_eq!(told(&watcher.log).len(), 10, "{:?}", told(&watcher.log));
    });
}

/// D14-LIM-3: a short prefix with many namespaces below it, and a watcher that reads slowly.
#[test]
fn a_burst_waits_for_a_peer_that_reads_slowly() {
    const NAMESPACES: usize = 3000;
    run(async || {
        let mut settings = settings(1);
        // A bound that the burst as a whole is far above.
        settings.session.max_control_backlog = 1 << 16;
        settings.transport.send_buffer = 8192;
        let relay = relay(settings).await;
        let mut publisher = raw(&relay).await;
        let names: Vec<_> = (0..NAMESPACES).map(|n| format!("live/{n:05}")).collect();
        for part in names.chunks(500) {
            let mut requests = Vec::new();
            for name in part {
                let id = publisher.id();
                requests.push(ControlMessage::PublishNamespace(id, common::watch::request(name)));
            }
            publisher.say_all(requests).await;
        }
        publisher.settled().await;
        let window = TransportConfig {
            bidi_stream_window: 4096,
            ..TransportConfig::default()
        };
        let mut watcher = Raw::connect_with(relay.local_addr(), Reading::Everything, window, 1 << 20).await;
        watcher.watched("live").await;
        watcher.until_told(NAMESPACES).await;
        assert_eq!(known(&watcher.log).len(), NAMESPACES);
        // It lives, and hears what comes after.
        publisher.announce(&ns("live/last")).await;
        watcher.until_told(NAMESPACES + 1).await;
    });
}
