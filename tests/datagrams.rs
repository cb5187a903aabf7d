//! Datagrams reach every subscriber by both flows, also those that overtake the message that names their alias.

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
use common::raw::{Raw, Reading, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};

const ALIAS: u64 = 9;
const COUNT: u64 = 40;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

async fn until_datagrams(subscriber: &mut Raw, alias: u64, count: usize) -> Vec<(Location, Vec<u8>)> {
    subscriber
        .wait(|log| {
            let got = Raw::datagrams(log, alias);
            (got.len() >= count).then_some(got)
        })
        .await
}

/// MOQT-14 §10.3.1 [D14-DATA-12]
async fn datagrams_arrive(shards: usize, announced: bool) {
    let mut settings = settings(shards);
    let placement = Placement::default();
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("datagrams", "audio");
    let mut publisher = placement.raw_on(&relay, 0).await;
    let mut subscribers = Vec::new();
    for n in 0..3 {
        let mut subscriber = placement.raw_on(&relay, n % shards).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        subscribers.push((subscriber, id));
    }
    if announced {
        publisher.announce(name.namespace()).await;
        publisher.serve(&name, ALIAS).await;
    } else {
        let id = publisher.publish(&name, ALIAS, false).await;
        assert!(publisher.publish_ok(id).await.forward);
    }
    let mut aliases = Vec::new();
    for (subscriber, id) in &mut subscribers {
        aliases.push(subscriber.answer(*id).await.unwrap().alias);
    }
    let mut sent = Vec::new();
    for n in 0..COUNT {
        let (place, payload) = (
            Location::new(n / 10, n % 10),
            format!("datagram {n}").into_bytes(),
        );
        publisher.datagram(ALIAS, place, &payload);
        sent.push((place, payload));
    }
    for ((subscriber, _), alias) in subscribers.iter_mut().zip(aliases) {
        let mut got = until_datagrams(subscriber, alias, sent.len()).await;
        got.sort();
        assert_eq!(got, sent);
        // MOQT-14 §10.2.1 [D14-DATA-14]: never moved to a stream.
        assert!(Raw::headers(&subscriber.log, alias).is_empty());
    }
}

/// D14-DATA-12 D14-DATA-14
#[test]
fn announced_one_shard() {
    run(|| datagrams_arrive(1, true));
}

/// D14-DATA-12 D14-DATA-14
#[test]
fn announced_two_shards() {
    run(|| datagrams_arrive(2, true));
}

/// D14-DATA-12 D14-DATA-14
#[test]
fn published_one_shard() {
    run(|| datagrams_arrive(1, false));
}

/// D14-DATA-12 D14-DATA-14
#[test]
fn published_two_shards() {
    run(|| datagrams_arrive(2, false));
}

/// D14-DATA-14
#[test]
fn one_that_does_not_fit_is_dropped_and_counted() {
    run(async || {
        let mut settings = settings(1);
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(telling(settings)).await;
        let name = track("oversized", "audio");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut roomy = raw(&relay).await;
        let roomy_id = roomy.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let roomy_alias = roomy.answer(roomy_id).await.unwrap().alias;
        let narrow = TransportConfig {
            datagram_frame: 600,
            ..TransportConfig::default()
        };
        let mut narrow = Raw::connect(&relay, Reading::Everything, narrow).await;
        let (narrow_id, ok) = narrow.subscribed(&name, NEWEST).await;
        // What is lost on the way is sent again, until the one with room has it.
        let mut object = 0;
        loop {
            publisher.datagram(ALIAS, Location::new(0, object), &[7; 900]);
            publisher.fence().await;
            roomy.fence().await;
            if !Raw::datagrams(&roomy.log, roomy_alias).is_empty() {
                break;
            }
            object += 1;
        }
        let mut group = 1;
        while Raw::datagrams(&narrow.log, ok.alias).is_empty() {
            publisher.datagram(ALIAS, Location::new(group, 0), b"small");
            publisher.fence().await;
            narrow.fence().await;
            group += 1;
        }
        // MOQT-14 §10.3 [D14-DATA-14]: neither whole, nor cut, nor on a stream; and the subscription goes on.
        let got = Raw::datagrams(&narrow.log, ok.alias);
        assert!(
            got.iter()
                .all(|(place, payload)| place.group > 0 && payload == b"small")
        );
        assert!(Raw::headers(&narrow.log, ok.alias).is_empty());
        assert!(Raw::headers(&roomy.log, roomy_alias).is_empty());
        narrow.say(ControlMessage::Unsubscribe(narrow_id)).await;
        let lost = placement
            .until(&mut narrow, "subscription ends", "datagrams_lost", 1)
            .await;
        assert_ne!(lost[0], "0");
        counted(&relay, "laps_drops_total", &["reason=\"datagram_unsent\""], 1).await;
    });
}

/// D14-DATA-16
#[test]
fn what_comes_before_its_alias_is_delivered_after_it() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("early", "audio");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        // MOQT-14 §10.3 [D14-DATA-16]
        for object in 0..5 {
            publisher.datagram(ALIAS, Location::new(0, object), b"early");
        }
        publisher.fence().await;
        publisher.accept(upstream, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        let got = until_datagrams(&mut subscriber, alias, 5).await;
        assert_eq!(got.len(), 5);
    });
}

/// D14-LIM-4
#[test]
fn early_datagrams_are_bounded_and_counted() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.session.early_bytes = 3000;
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let name = track("bounded", "audio");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        let (upstream, _) = publisher.asked(&name, 0).await;
        for object in 0..10 {
            publisher.datagram(ALIAS, Location::new(0, object), &[7; 800]);
        }
        publisher.fence().await;
        publisher.accept(upstream, ALIAS, None).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        publisher.datagram(ALIAS, Location::new(1, 0), b"last");
        subscriber
            .wait(|log| {
                let last = |got: &(Location, Vec<u8>)| got.0 == Location::new(1, 0);
                Raw::datagrams(log, alias).iter().any(last).then_some(())
            })
            .await;
        // [D14-LIM-4]: three of 800 bytes and their overhead fit, seven do not.
        assert_eq!(Raw::datagrams(&subscriber.log, alias).len(), 4);
        publisher.conn.close(0, "");
        let refused = placement
            .until(&mut subscriber, "session ends", "refused_early", 1)
            .await;
        assert_eq!(refused, ["7"]);
    });
}
