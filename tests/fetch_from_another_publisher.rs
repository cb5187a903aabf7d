//! A FETCH that one publisher does not serve is asked of another one, before anybody hears that it failed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::feeding::{Feeder, Flow};
use common::fetching::{asked_range, fetches};
use common::raw::{Raw, payload, raw};
use common::{relay, run, settings, track};
use laps::relay::{Relay, Settings};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    GroupOrder, PublishDoneStatus, RequestErrorReason, RequestId, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use std::time::Duration;

const ALIAS: u64 = 9;
const UP: GroupOrder = GroupOrder::Ascending;
const PAST: [(u64, u64); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// Two publishers that know groups 0 to 4, a subscriber that sees what comes, and one that fetches.
struct Stage {
    relay: Relay,
    name: FullTrackName,
    first: Feeder,
    second: Feeder,
    subscriber: Raw,
    subscription: RequestId,
    fetcher: Raw,
}

impl Stage {
    async fn start(what: &str, silence: Duration) -> Self {
        let mut settings = settings(2);
        settings.track.fetch.upstream = silence;
        Self::with(what, settings).await
    }

    async fn with(what: &str, settings: Settings) -> Self {
        let relay = relay(settings).await;
        let name = track("another", what);
        let mut subscriber = raw(&relay).await;
        let subscription = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
        let largest = Some(Location::new(4, 1));
        let first = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, largest).await;
        let second = Feeder::join(raw(&relay).await, Flow::Announce, &name, ALIAS, largest).await;
        subscriber.answer(subscription).await.unwrap();
        let fetcher = raw(&relay).await;
        Self {
            relay,
            name,
            first,
            second,
            subscriber,
            subscription,
            fetcher,
        }
    }

    /// Somebody wants groups 0 and 1, and the older publisher is asked for them.
    async fn fetch(&mut self) -> (RequestId, RequestId) {
        let id = self.fetcher.fetch_range(&self.name, (0, 0), (1, 0)).await;
        let (asked, fetch) = self.first.raw.fetch_asked(0).await;
        assert_eq!(asked_range(&fetch), ((0, 0), (1, 0)));
        (id, asked)
    }

    /// The other one is asked for the same, and serves it.
    async fn served_by_the_second(&mut self, id: RequestId) {
        let (asked, fetch) = self.second.raw.fetch_asked(0).await;
        assert_eq!(asked_range(&fetch), ((0, 0), (1, 0)));
        self.second.raw.serve_fetch(asked, UP, (1, 0), &PAST).await;
        assert_eq!(self.fetcher.fetched_places(id).await.1, PAST);
    }
}

const LONG: Duration = Duration::from_secs(30);

/// D14-FETCH-6 D14-FETCH-17
#[test]
fn who_refuses_is_replaced() {
    run(async || {
        let mut stage = Stage::start("refuses", LONG).await;
        let (id, asked) = stage.fetch().await;
        let no = RequestErrorReason::NotSupported;
        stage.first.raw.refuse_fetch(asked, no).await;
        stage.served_by_the_second(id).await;
    });
}

/// D14-FETCH-6 D14-FETCH-17 D14-FETCH-18: it vanishes inside an object; what it brought stays true.
#[test]
fn who_vanishes_is_replaced() {
    run(async || {
        let mut stage = Stage::start("vanishes", LONG).await;
        let (id, asked) = stage.fetch().await;
        stage.first.raw.accept_fetch(asked, UP, (1, 0)).await;
        let mut stream = stage.first.raw.open_fetch(asked).await;
        stream.object((0, 0)).await;
        let half = payload(0, 1);
        stream.begin((0, 1), half.len() as u64).await;
        stream.write(Bytes::copy_from_slice(&half[..7])).await;
        stage.fetcher.until_fetched(id, 1).await;
        let Stage {
            first,
            second,
            mut fetcher,
            ..
        } = stage;
        drop(stream);
        drop(first);
        let mut second = second;
        let (asked, _) = second.raw.fetch_asked(0).await;
        second.raw.serve_fetch(asked, UP, (1, 0), &PAST).await;
        assert_eq!(fetcher.fetched_places(id).await.1, PAST);
    });
}

/// D14-LIM-6 D14-FETCH-6 D14-FETCH-17: one that brings a byte now and then is given up like one that says nothing, and
/// what it began is brought to its end by another.
#[test]
fn who_trickles_is_replaced() {
    run(async || {
        let mut stage = Stage::start("trickles", Duration::from_millis(300)).await;
        let (id, asked) = stage.fetch().await;
        stage.first.raw.accept_fetch(asked, UP, (1, 0)).await;
        let mut stream = stage.first.raw.open_fetch(asked).await;
        let object = payload(0, 0);
        stream.begin((0, 0), object.len() as u64).await;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let mut bytes = object.iter().take(object.len() - 1);
        let trickle = async {
            loop {
                pace.tick().await;
                if let Some(byte) = bytes.next() {
                    stream.try_write(Bytes::from(vec![*byte])).await;
                }
            }
        };
        let (asked, _) = tokio::select! {
            asked = stage.second.raw.fetch_asked(0) => asked,
            () = trickle => unreachable!("it never ends"),
        };
        stage.second.raw.serve_fetch(asked, UP, (1, 0), &PAST).await;
        assert_eq!(stage.fetcher.fetched_places(id).await.1, PAST);
    });
}

/// D14-FETCH-17: the older publisher falls silent, as one does that roams: a FETCH goes to the other at once, and to the
/// first again when it speaks.
#[test]
fn who_has_fallen_silent_is_asked_last() {
    run(async || {
        let mut settings = settings(2);
        settings.track.fetch.upstream = LONG;
        settings.track.silent_after = Duration::from_secs(1);
        let mut stage = Stage::with("roams", settings).await;
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let answer = stage.subscriber.answer(stage.subscription).await.unwrap();
        let mut group = 5;
        // Both have a pace; then one has none any more.
        for turn in 0..200 {
            pace.tick().await;
            if turn < 10 {
                stage.first.group(group, 1).await;
            }
            stage.second.group(group, 1).await;
            stage.subscriber.until_object(answer.alias, (group, 0)).await;
            group += 1;
        }
        let id = stage.fetcher.fetch_range(&stage.name, (0, 0), (1, 0)).await;
        stage.served_by_the_second(id).await;
        assert!(fetches(&stage.first.raw.log).is_empty());
        // Its session lives on, and what it brings is taken.
        stage.first.group(group, 1).await;
        stage.subscriber.until_object(answer.alias, (group, 0)).await;
        stage.fetcher.fetch_range(&stage.name, (2, 0), (2, 0)).await;
        let (_, fetch) = stage.first.raw.fetch_asked(0).await;
        assert_eq!(asked_range(&fetch), ((2, 0), (2, 0)));
    });
}

/// D14-FETCH-6 D14-FETCH-17: one that says nothing is given up, and is not asked first again.
#[test]
fn who_is_silent_is_replaced() {
    run(async || {
        let mut stage = Stage::start("silent", Duration::from_millis(100)).await;
        let (id, _) = stage.fetch().await;
        stage.served_by_the_second(id).await;
        let id = stage.fetcher.fetch_range(&stage.name, (2, 0), (2, 0)).await;
        let (asked, _) = stage.second.raw.fetch_asked(1).await;
        stage.second.raw.serve_fetch(asked, UP, (2, 0), &[(2, 0)]).await;
        stage.fetcher.fetched_places(id).await;
        stage.first.raw.catch_up();
        assert_eq!(fetches(&stage.first.raw.log).len(), 1);
    });
}

/// D14-MAL-1 D14-MAL-2: one that breaks the rules for tracks is let go of, and the other one is asked.
#[test]
fn who_breaks_the_rules_is_replaced() {
    run(async || {
        let mut stage = Stage::start("breaks", LONG).await;
        let (id, asked) = stage.fetch().await;
        stage.first.raw.accept_fetch(asked, UP, (1, 0)).await;
        let mut stream = stage.first.raw.open_fetch(asked).await;
        stream.object((0, 0)).await;
        stream.object((0, 0)).await;
        stage.first.released().await;
        stage.served_by_the_second(id).await;
        stage.subscriber.fence().await;
        drop(stream);
    });
}

/// D14-MAL-1: when there is no other one the track ends for those who subscribe too.
#[test]
fn a_track_that_only_one_publishes_is_malformed() {
    run(async || {
        let mut stage = Stage::start("alone", LONG).await;
        drop(stage.second);
        let id = stage.fetcher.fetch_range(&stage.name, (0, 0), (1, 0)).await;
        let (asked, _) = stage.first.raw.fetch_asked(0).await;
        stage.first.raw.accept_fetch(asked, UP, (1, 0)).await;
        let mut stream = stage.first.raw.open_fetch(asked).await;
        stream.object((1, 0)).await;
        stream.object((0, 0)).await;
        let error = stage.fetcher.fetch_answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::MalformedTrack);
        let done = stage.subscriber.done(stage.subscription).await;
        assert_eq!(done.status, PublishDoneStatus::MalformedTrack);
        stage.first.released().await;
        stage.fetcher.fence().await;
        drop((stream, stage.relay));
    });
}
