//! A client that says GOAWAY is asked for nothing more, and everybody else goes on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{News, Raw, raw};
use common::{relay, run, settings, track};
use laps_protocol::moqt::message::{ControlMessage, RequestErrorReason, RequestKind, SubscribeFilter};

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

async fn leave(client: &mut Raw) {
    client.say(ControlMessage::Goaway(Bytes::new())).await;
    client.fence().await;
}

fn asked(client: &Raw) -> bool {
    let subscribe = |news: &News| matches!(news, News::Control(ControlMessage::Subscribe(..)));
    client.log.iter().any(subscribe)
}

/// D14-GOAWAY-1: the only publisher is leaving, so the track is not to be had, and it is not asked.
#[test]
fn a_publisher_that_leaves_is_asked_for_no_further_track() {
    run(|| async {
        let relay = relay(settings(1)).await;
        let (old, new) = (track("going", "old"), track("going", "new"));
        let mut publisher = raw(&relay).await;
        publisher.announce(old.namespace()).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&old, NEWEST).await;
        publisher.serve(&old, 7).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        leave(&mut publisher).await;
        publisher.log.clear();
        let refused = subscriber.subscribe(&new, NEWEST).await;
        let (kind, error) = subscriber.refused(refused).await;
        assert_eq!(
            (kind, error.reason),
            (RequestKind::Subscribe, RequestErrorReason::TrackDoesNotExist)
        );
        publisher.fence().await;
        assert!(!asked(&publisher));
        // What ran before goes on.
        publisher.group(7, 0, 2).await;
        subscriber.until_objects(alias, 2).await;
    });
}

/// D14-GOAWAY-1: another publisher of the same namespace serves what the first one is no longer asked for.
#[test]
fn another_publisher_takes_over_from_one_that_leaves() {
    run(|| async {
        let relay = relay(settings(1)).await;
        let video = track("relieved", "video");
        let mut first = raw(&relay).await;
        first.announce(video.namespace()).await;
        let mut second = raw(&relay).await;
        second.announce(video.namespace()).await;
        leave(&mut first).await;
        let mut subscriber = raw(&relay).await;
        let id = subscriber.subscribe(&video, NEWEST).await;
        second.serve(&video, 8).await;
        let alias = subscriber.answer(id).await.unwrap().alias;
        second.group(8, 0, 2).await;
        subscriber.until_objects(alias, 2).await;
        first.fence().await;
        assert!(!asked(&first));
    });
}
