//! What was refused carries nothing: neither what a publisher sends all the same, nor what a subscriber was not given.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{News, Raw, raw};
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{RequestErrorReason, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const ALIAS: u64 = 70;
const REFUSED: u64 = 71;

/// D14-REQ-9
#[test]
fn objects_for_a_refused_publish_go_nowhere() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("refused", "publish");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        // The session serves the track already, so its PUBLISH is refused; its stream came before that was known.
        let mut early = publisher.open(REFUSED, 3, SubgroupIdMode::Zero).await;
        early.object(0, b"early").await;
        let publish = publisher.publish(&name, REFUSED, true).await;
        publisher.refused(publish).await;
        let late = publisher.open(REFUSED, 4, SubgroupIdMode::Zero).await;
        // Both are stopped, also the one that has nothing more to say.
        let stops = publisher.conn.stats();
        assert_eq!(std::future::poll_fn(|cx| stops.poll_stops(1, cx)).await, 2);
        drop((early, late));
        publisher.group(ALIAS, 5, 2).await;
        assert_eq!(subscriber.until_objects(alias, 2).await, [(5, 0), (5, 1)]);
        assert_eq!(Raw::headers(&subscriber.log, alias).len(), 1);
    });
}

/// D14-REQ-9
#[test]
fn a_refused_subscriber_gets_no_objects() {
    run(async || {
        let mut settings = settings(1);
        settings.session.subscribe_wait = Some(Duration::ZERO);
        let relay = relay(settings).await;
        let name = track("refused", "subscribe");
        let mut refused = raw(&relay).await;
        let id = refused.subscribe(&name, NEWEST).await;
        let error = refused.answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        // The track begins right after; whoever was refused hears nothing of it.
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        publisher.group(ALIAS, 0, 2).await;
        subscriber.until_objects(alias, 2).await;
        refused.fence().await;
        refused.catch_up();
        let data = |news: &News| matches!(news, News::Stream(..) | News::Datagram(_));
        assert!(!refused.log.iter().any(data));
    });
}
