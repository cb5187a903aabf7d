//! What the relay fetches of a publisher ends on both sides, and follows what the publisher has, not what it last heard.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::{asked_range, fetches, range};
use common::raw::{News, raw};
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, GroupOrderRequest, MessageParams, RequestErrorReason, RequestId,
    SubscribeFilter, SubscribeOk,
};
use std::time::Duration;

const ALIAS: u64 = 9;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const UP: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Ascending);

fn cancelled(log: &[News], id: RequestId) -> bool {
    log.iter()
        .any(|news| matches!(news, News::Control(ControlMessage::FetchCancel(of)) if *of == id))
}

/// A track that was published while nobody wanted it has gone on: its publisher knows how far. D14-FETCH-10 D14-SUB-25
#[test]
fn a_paused_publisher_is_asked_how_far_it_got() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("paused", "video");
        let mut publisher = raw(&relay).await;
        let id = publisher.publish(&name, ALIAS, false).await;
        assert!(!publisher.publish_ok(id).await.forward);
        let mut fetcher = raw(&relay).await;
        let id = fetcher.fetch(range(&name, (0, 0), (9, 0)), UP).await;
        let (hole, asked) = publisher.fetch_asked(0).await;
        assert_eq!(asked_range(&asked), ((0, 0), (9, 0)));
        publisher
            .serve_fetch(hole, GroupOrder::Ascending, (1, 1), &[(0, 0), (1, 0)])
            .await;
        let (ok, got) = fetcher.fetched_places(id).await;
        assert_eq!(ok.end, Location::new(1, 1));
        assert_eq!(got, [(0, 0), (1, 0)]);
    });
}

/// D14-FETCH-16
#[test]
fn a_stream_that_was_reset_ends_its_request() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("reset", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut fetcher = raw(&relay).await;
        let id = fetcher.fetch(range(&name, (0, 0), (0, 0)), UP).await;
        let (hole, _) = publisher.fetch_asked(0).await;
        let mut stream = publisher.open_fetch(hole).await;
        stream.object((0, 0)).await;
        fetcher.until_fetched(id, 1).await;
        stream.reset(1);
        publisher.wait(|log| cancelled(log, hole).then_some(())).await;
        // It is tried once more, under another number.
        let (again, asked) = publisher.fetch_asked(1).await;
        assert_eq!(asked_range(&asked), ((0, 1), (0, 0)));
        publisher
            .serve_fetch(again, GroupOrder::Ascending, (0, 2), &[(0, 1)])
            .await;
        assert_eq!(fetcher.fetched_places(id).await.1, [(0, 0), (0, 1)]);
    });
}

/// Who ignores FETCH_CANCEL is not listened to any longer. D14-FETCH-16
#[test]
fn a_stream_that_nobody_wants_is_stopped() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("ignored", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut fetcher = raw(&relay).await;
        let id = fetcher.fetch(range(&name, (0, 0), (0, 0)), UP).await;
        let (hole, _) = publisher.fetch_asked(0).await;
        let mut stream = publisher.open_fetch(hole).await;
        stream.object((0, 0)).await;
        stream.begin((0, 1), 1 << 40).await;
        fetcher.until_fetched(id, 1).await;
        fetcher.say(ControlMessage::FetchCancel(id)).await;
        publisher.wait(|log| cancelled(log, hole).then_some(())).await;
        stream.stopped().await;
    });
}

/// What a publisher sends beside its refusal does not mix with what the next one is asked for. D14-FETCH-17 D14-FETCH-18
#[test]
fn the_next_publisher_is_asked_afresh() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("afresh", "video");
        let mut first = raw(&relay).await;
        first.announce(name.namespace()).await;
        let mut fetcher = raw(&relay).await;
        // The track exists by now, and gets a second publisher.
        let id = fetcher.fetch(range(&name, (0, 0), (1, 0)), UP).await;
        let (hole, _) = first.fetch_asked(0).await;
        let mut second = raw(&relay).await;
        let published = second.publish(&name, ALIAS, false).await;
        second.publish_ok(published).await;
        let mut stream = first.open_fetch(hole).await;
        stream.object((0, 0)).await;
        stream.object((1, 0)).await;
        fetcher.until_fetched(id, 2).await;
        first.refuse_fetch(hole, RequestErrorReason::InternalError).await;
        let (hole, asked) = second.fetch_asked(0).await;
        assert_eq!(asked_range(&asked), ((0, 0), (1, 0)));
        stream.begin((1, 1), 1 << 40).await;
        stream.stopped().await;
        second
            .serve_fetch(hole, GroupOrder::Ascending, (1, 2), &[(0, 0), (1, 0), (1, 1)])
            .await;
        let (ok, got) = fetcher.fetched_places(id).await;
        assert_eq!(ok.end, Location::new(1, 2));
        assert_eq!(got, [(0, 0), (1, 0), (1, 1)]);
    });
}

/// A track at rest is answered for on its publisher's terms. D14-FETCH-4 D14-CACHE-4
#[test]
fn a_track_at_rest_keeps_its_publishers_terms() {
    run(async || {
        let mut settings = settings(1);
        settings.track.linger = Duration::from_millis(1);
        let relay = relay(settings).await;
        let name = track("resting", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut watcher = raw(&relay).await;
        let id = watcher.subscribe(&name, NEWEST).await;
        let (asked, _) = publisher.asked(&name, 0).await;
        let ok = SubscribeOk {
            alias: ALIAS,
            expires_ms: 0,
            group_order: GroupOrder::Descending,
            largest: None,
            params: MessageParams {
                max_cache_duration_ms: Some(50_000),
                ..MessageParams::default()
            },
        };
        publisher.say(ControlMessage::SubscribeOk(asked, ok)).await;
        let alias = watcher.answer(id).await.unwrap().alias;
        publisher.whole_group(ALIAS, 0, 1).await;
        publisher.whole_group(ALIAS, 1, 1).await;
        watcher.until_objects(alias, 2).await;
        watcher.say(ControlMessage::Unsubscribe(id)).await;
        publisher
            .control(|message| {
                matches!(message, ControlMessage::Unsubscribe(of) if *of == asked).then_some(())
            })
            .await;
        let mut fetcher = raw(&relay).await;
        let id = fetcher
            .fetch(range(&name, (0, 0), (1, 0)), GroupOrderRequest::Publisher)
            .await;
        let (ok, got) = fetcher.fetched_places(id).await;
        assert_eq!(ok.group_order, GroupOrder::Descending);
        assert_eq!(ok.params.max_cache_duration_ms, Some(50_000));
        assert_eq!(got, [(1, 0), (0, 0)]);
        assert_eq!(fetches(&publisher.log), []);
    });
}
