//! A track can be had from whoever still publishes it, and from nobody else, when the one that served is let go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::{News, Raw, raw};
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{ControlMessage, RequestErrorReason, RequestId, SubscribeFilter};
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// Waits until the relay has unsubscribed.
async fn let_go(publisher: &mut Raw, id: RequestId) {
    publisher
        .wait(|log| {
            let over =
                |news: &News| matches!(news, News::Control(ControlMessage::Unsubscribe(of)) if *of == id);
            log.iter().any(over).then_some(())
        })
        .await;
}

/// D14-NS-8 D14-SUB-25: the relay keeps what it has of a track that nobody reads any more. When the track is published
/// then, watchers are told of it.
#[test]
fn a_track_at_rest_is_offered_when_it_is_published() {
    run(async || {
        let mut settings = settings(1);
        settings.track.linger = Duration::from_millis(20);
        let relay = relay(settings).await;
        let name = track("rest", "video");
        let (mut first, mut second) = (raw(&relay).await, raw(&relay).await);
        let (mut reader, mut watcher) = (raw(&relay).await, raw(&relay).await);
        watcher.watched("test/rest").await;
        first.announce(name.namespace()).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let served = first.serve(&name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        first.group(ALIAS, 0, 2).await;
        reader.until_objects(alias, 2).await;
        reader.say(ControlMessage::Unsubscribe(id)).await;
        let_go(&mut first, served).await;
        let publish = second.publish(&name, ALIAS + 1, true).await;
        // MOQT-14 §9.13 [D14-SUB-25]
        assert!(!second.publish_ok(publish).await.forward);
        let (offer, offered) = watcher.offered(0).await;
        watcher.accept_offer(offer, true).await;
        second
            .wait(|log| {
                Raw::updates(log, publish)
                    .first()
                    .map(|update| assert!(update.forward))
            })
            .await;
        second.group(ALIAS + 1, 1, 2).await;
        assert_eq!(watcher.until_objects(offered.alias, 2).await, [(1, 0), (1, 1)]);
    });
}

async fn outlives_the_announcer(linger: Duration) {
    let mut settings = settings(1);
    settings.track.dampen = Duration::ZERO;
    settings.track.linger = linger;
    let relay = relay(settings).await;
    let name = track("stay", "video");
    let (mut first, mut second, mut reader) = (raw(&relay).await, raw(&relay).await, raw(&relay).await);
    first.announce(name.namespace()).await;
    let id = reader.subscribe(&name, NEWEST).await;
    let served = first.serve(&name, ALIAS).await;
    reader.answer(id).await.unwrap();
    let publish = second.publish(&name, ALIAS + 1, true).await;
    assert!(second.publish_ok(publish).await.forward);
    reader.say(ControlMessage::Unsubscribe(id)).await;
    let_go(&mut first, served).await;
    let told =
        |nth: usize| move |log: &[News]| Raw::updates(log, publish).get(nth).map(|update| update.forward);
    assert!(!second.wait(told(0)).await);
    let (_, ok) = reader.subscribed(&name, NEWEST).await;
    assert!(second.wait(told(1)).await);
    second.group(ALIAS + 1, 0, 2).await;
    assert_eq!(reader.until_objects(ok.alias, 2).await, [(0, 0), (0, 1)]);
    second.fence().await;
    let over = |news: &News| matches!(news, News::Control(ControlMessage::Unsubscribe(_)));
    assert!(!second.log.iter().any(over));
}

/// D14-SUB-25 D14-PUB-2: a publisher that sent PUBLISH is not let go of with the one that was subscribed to.
#[test]
fn a_publisher_that_offered_the_track_stays() {
    run(|| outlives_the_announcer(Duration::ZERO));
}

/// D14-SUB-25 D14-PUB-2: nor when what the relay keeps of the track is empty.
#[test]
fn a_publisher_that_offered_the_track_stays_when_nothing_is_kept() {
    run(|| outlives_the_announcer(Duration::from_millis(20)));
}

/// D14-NS-12: the subscription that there is outlives the announcement, and no other is made after it.
#[test]
fn who_has_withdrawn_is_not_asked_again() {
    run(async || {
        let mut settings = settings(1);
        settings.track.linger = Duration::from_millis(20);
        settings.session.subscribe_wait = Some(Duration::ZERO);
        let relay = relay(settings).await;
        let name = track("gone", "video");
        let (mut publisher, mut reader) = (raw(&relay).await, raw(&relay).await);
        publisher.announce(name.namespace()).await;
        let id = reader.subscribe(&name, NEWEST).await;
        let served = publisher.serve(&name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        publisher.withdraw("test/gone").await;
        publisher.settled().await;
        publisher.group(ALIAS, 0, 2).await;
        reader.until_objects(alias, 2).await;
        reader.say(ControlMessage::Unsubscribe(id)).await;
        let_go(&mut publisher, served).await;
        let again = reader.subscribe(&name, NEWEST).await;
        let error = reader.answer(again).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        let asked = |news: &&News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
        assert_eq!(publisher.log.iter().filter(asked).count(), 1);
    });
}
