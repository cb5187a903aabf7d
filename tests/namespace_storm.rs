//! A storm of namespaces leaves the others unharmed and the memory bounded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{Raw, Reading, raw};
use common::shards::Placement;
use common::watch::{ns, request, told};
use common::{relay, run, settings};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::{ControlMessage, Namespace};

/// As many as the default window lets a peer have open.
const OPEN: usize = 4900;

async fn lives(bystander: &mut Raw, watcher: &mut Raw, name: &str) {
    bystander.announce(&ns(name)).await;
    let name = format!("+{name}");
    watcher.wait(|log| told(log).contains(&name).then_some(())).await;
}

/// D14-LIM-2 D14-LIM-3 D14-NS-1
#[test]
fn thousands_of_announcements_at_once() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut bystander, mut watcher) = (raw(&relay).await, raw(&relay).await);
        watcher.watched("live").await;
        let transport = TransportConfig::default();
        let mut all = Raw::connect_with(relay.local_addr(), Reading::Everything, transport, 1 << 20).await;
        all.watched("storm").await;
        let mut storm = raw(&relay).await;
        let requests: Vec<_> = (0..OPEN)
            .map(|n| {
                let id = storm.id();
                ControlMessage::PublishNamespace(id, request(&format!("storm/{n}")))
            })
            .collect();
        storm.say_all(requests).await;
        lives(&mut bystander, &mut watcher, "live/during").await;
        all.until_told(OPEN).await;
        drop(storm);
        all.until_told(2 * OPEN).await;
        lives(&mut bystander, &mut watcher, "live/after").await;
    });
}

/// D14-LIM-2 D14-LIM-3: what comes and goes faster than anybody can be told of it is never told, and the registry's
/// questions of one session are few at any time.
#[test]
fn announcing_and_withdrawing_in_circles() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let (mut bystander, mut watcher) = (raw(&relay).await, raw(&relay).await);
        watcher.watched("live").await;
        let mut storm = raw(&relay).await;
        let namespace = ns("live/flash");
        for _ in 0..40 {
            let mut messages = Vec::new();
            for _ in 0..250 {
                let id = storm.id();
                messages.push(ControlMessage::PublishNamespace(id, request("live/flash")));
                messages.push(ControlMessage::PublishNamespaceDone(Namespace {
                    namespace: namespace.clone(),
                }));
            }
            storm.say_all(messages).await;
        }
        storm.settled().await;
        lives(&mut bystander, &mut watcher, "live/after").await;
        let flashes = told(&watcher.log)
            .iter()
            .filter(|told| told.ends_with("flash"))
            .count();
        assert!(flashes < 10_000, "{flashes}");
        drop(storm);
        // The storm's is the first session that ends.
        let peaks = placement
            .until(&mut bystander, "session ends", "registry_questions", 1)
            .await;
        let peak: usize = peaks[0].parse().unwrap();
        assert!(peak < 5000, "{peak}");
    });
}

/// D14-LIM-2 D14-NS-4
#[test]
fn thousands_of_watches_at_once() {
    run(async || {
        let relay = relay(settings(1)).await;
        let (mut bystander, mut watcher) = (raw(&relay).await, raw(&relay).await);
        watcher.watched("live").await;
        for n in 0..50 {
            bystander.announce(&ns(&format!("storm/{n}"))).await;
        }
        let mut storm = raw(&relay).await;
        for round in 0..4 {
            let mut messages = Vec::new();
            for n in 0..1000 {
                let prefix = format!("storm/{n}");
                messages.push(ControlMessage::SubscribeNamespace(storm.id(), request(&prefix)));
                if round % 2 == 0 {
                    let namespace = ns(&prefix);
                    messages.push(ControlMessage::UnsubscribeNamespace(Namespace { namespace }));
                }
            }
            storm.say_all(messages).await;
        }
        lives(&mut bystander, &mut watcher, "live/during").await;
        storm.settled().await;
        // Those that stayed are served.
        bystander.announce(&ns("storm/777/x")).await;
        storm
            .wait(|log| told(log).contains(&"+storm/777/x".to_owned()).then_some(()))
            .await;
        drop(storm);
        lives(&mut bystander, &mut watcher, "live/after").await;
    });
}
