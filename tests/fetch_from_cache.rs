//! FETCH of what the relay has: ranges, orders, ends, refusals, whichever worker the subscriber is on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::{fetches, past, places, range, stream_of};
use common::raw::{Raw, Reading, payload, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps::relay::{Relay, Settings};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, FetchOk, GroupOrder, GroupOrderRequest, RequestErrorReason, RequestId, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 9;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const UP: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Ascending);
const DOWN: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Descending);

/// A live track with groups 3, 4 and 5 of three objects each, whole, and object 0 of group 6.
struct Live {
    relay: Relay,
    name: FullTrackName,
    publisher: Raw,
    watcher: Raw,
    watcher_alias: u64,
    fetcher: Raw,
}

impl Live {
    async fn start(namespace: &str, shards: usize) -> Self {
        Self::with(namespace, settings(shards)).await
    }

    async fn with(namespace: &str, mut settings: Settings) -> Self {
        let placement = Placement::default();
        let shards = settings.shards;
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let name = track(namespace, "video");
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let mut watcher = raw(&relay).await;
        let id = watcher.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let watcher_alias = watcher.answer(id).await.unwrap().alias;
        for group in 3..=5 {
            publisher.whole_group(ALIAS, group, 3).await;
        }
        let mut last = publisher.open(ALIAS, 6, SubgroupIdMode::Zero).await;
        last.object(0, &payload(6, 0)).await;
        std::mem::forget(last);
        watcher.until_objects(watcher_alias, 10).await;
        let fetcher = placement.raw_on(&relay, shards - 1).await;
        Self {
            relay,
            name,
            publisher,
            watcher,
            watcher_alias,
            fetcher,
        }
    }

    async fn fetch(
        &mut self,
        start: (u64, u64),
        end: (u64, u64),
        order: GroupOrderRequest,
    ) -> (FetchOk, Vec<(u64, u64)>) {
        let id = self.fetcher.fetch(range(&self.name, start, end), order).await;
        self.fetcher.fetched_places(id).await
    }

    async fn refused(&mut self, start: (u64, u64), end: (u64, u64)) -> RequestErrorReason {
        let id = self.fetcher.fetch_range(&self.name, start, end).await;
        self.fetcher.fetch_answer(id).await.unwrap_err().reason
    }
}

fn group(group: u64) -> Vec<(u64, u64)> {
    (0..3).map(|object| (group, object)).collect()
}

/// D14-FETCH-1 D14-FETCH-2 D14-FETCH-3 D14-FETCH-4 D14-FETCH-5 D14-FETCH-9 D14-MSG-15 D14-MSG-16 D14-DATA-19
#[test]
fn a_range_comes_as_it_was_asked_for() {
    for shards in [1, 2] {
        run(async move || {
            let mut live = Live::start("ranges", shards).await;
            // MOQT-14 §9.16.1 [D14-FETCH-3]: object 0 of the end is its whole group, another one is not included.
            let cases = [
                ((3, 0), (3, 0), group(3), (3, 0)),
                ((3, 1), (3, 0), vec![(3, 1), (3, 2)], (3, 0)),
                ((3, 0), (3, 1), vec![(3, 0)], (3, 1)),
                ((3, 0), (3, 3), group(3), (3, 3)),
                ((3, 2), (4, 2), vec![(3, 2), (4, 0), (4, 1)], (4, 2)),
                ((4, 0), (5, 0), [group(4), group(5)].concat(), (5, 0)),
                // MOQT-14 §9.17 [D14-FETCH-9]: beyond the largest object it is where the response ends.
                ((5, 2), (9, 9), vec![(5, 2), (6, 0)], (6, 1)),
                ((6, 0), (6, 0), vec![(6, 0)], (6, 1)),
                ((6, 0), (7, 0), vec![(6, 0)], (6, 1)),
            ];
            for (start, end, expected, ends) in cases {
                let (ok, places) = live.fetch(start, end, UP).await;
                assert_eq!(places, expected, "{start:?} {end:?}");
                assert_eq!((ok.end.group, ok.end.object), ends, "{start:?} {end:?}");
                assert_eq!(ok.group_order, GroupOrder::Ascending);
                assert!(!ok.end_of_track);
            }
            // Nobody had to be asked for any of it.
            live.publisher.catch_up();
            assert_eq!(fetches(&live.publisher.log), []);
        });
    }
}

/// D14-FETCH-4 D14-VAL-1
#[test]
fn groups_come_in_the_order_that_was_asked_for() {
    run(async || {
        let mut live = Live::start("orders", 1).await;
        let (ok, places) = live.fetch((3, 1), (6, 0), DOWN).await;
        assert_eq!(ok.group_order, GroupOrder::Descending);
        let expected = [vec![(6, 0)], group(5), group(4), vec![(3, 1), (3, 2)]].concat();
        assert_eq!(places, expected);
        // MOQT-14 §9.16: 0 is the publisher's order.
        let (ok, places) = live.fetch((3, 0), (4, 0), GroupOrderRequest::Publisher).await;
        assert_eq!(ok.group_order, GroupOrder::Ascending);
        assert_eq!(places, [group(3), group(4)].concat());
    });
}

/// D14-FETCH-7 D14-VAL-8 D14-MSG-17
#[test]
fn ranges_that_cannot_be_are_refused() {
    run(async || {
        let mut live = Live::start("refused", 1).await;
        assert_eq!(
            live.refused((6, 1), (6, 0)).await,
            RequestErrorReason::InvalidRange
        );
        assert_eq!(
            live.refused((7, 0), (9, 0)).await,
            RequestErrorReason::InvalidRange
        );
        assert_eq!(
            live.refused((4, 2), (4, 1)).await,
            RequestErrorReason::InvalidRange
        );
        assert_eq!(
            live.refused((4, 2), (3, 0)).await,
            RequestErrorReason::InvalidRange
        );
        // The group ended before this place, and all of it is known.
        assert_eq!(live.refused((3, 3), (3, 9)).await, RequestErrorReason::NoObjects);
        let id = live
            .fetcher
            .fetch_range(&track("refused", "nobody"), (0, 0), (1, 0))
            .await;
        let other = live.fetcher.fetch_answer(id).await.unwrap_err();
        // The namespace is announced, so its publisher is asked.
        assert_ne!(other.reason, RequestErrorReason::InvalidRange);
        // The session is none the worse for it.
        let (_, places) = live.fetch((3, 0), (3, 0), UP).await;
        assert_eq!(places, group(3));
    });
}

/// D14-FETCH-7 D14-SUB-10
#[test]
fn a_track_that_nobody_publishes_does_not_exist() {
    run(async || {
        let relay = relay(settings(1)).await;
        let mut fetcher = raw(&relay).await;
        let id = fetcher
            .fetch_range(&track("nobody", "video"), (0, 0), (1, 0))
            .await;
        let error = fetcher.fetch_answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
    });
}

/// D14-FETCH-15
#[test]
fn datagrams_come_as_subgroups_of_their_own() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("datagrams", "audio");
        let mut publisher = raw(&relay).await;
        let mut watcher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let id = watcher.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = watcher.answer(id).await.unwrap().alias;
        // What is lost on the way is sent again: the promise is about what came.
        for object in 0..3 {
            loop {
                publisher.datagram(ALIAS, Location::new(2, object), &payload(2, object));
                let look = watcher.wait(|log| {
                    let came = Raw::datagrams(log, alias);
                    came.iter().any(|(place, _)| place.object == object).then_some(())
                });
                if tokio::time::timeout(std::time::Duration::from_millis(500), look)
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        }
        let mut fetcher = raw(&relay).await;
        let id = fetcher.fetch_range(&name, (2, 0), (2, 3)).await;
        let (past, end) = fetcher.fetched(id).await;
        assert_eq!(end, None);
        assert_eq!(places(&past), [(2, 0), (2, 1), (2, 2)]);
        // MOQT-14 §10.4.4 [D14-FETCH-15]
        assert!(
            past.iter()
                .all(|past| past.header.subgroup == past.header.location.object)
        );
    });
}

/// D14-FETCH-16 D14-MSG-18
#[test]
fn a_cancelled_fetch_is_reset_at_once() {
    run(async || {
        let mut live = Live::start("cancel", 1).await;
        // Object 7 of group 6 begins and does not end, so the fetch of it cannot either.
        let mut stream = live.publisher.open(ALIAS, 6, SubgroupIdMode::Explicit(1)).await;
        stream.begin(7, 1000).await;
        stream.write(bytes::Bytes::from_static(b"and no more")).await;
        let alias = live.watcher_alias;
        live.watcher
            .wait(|log| (Raw::headers(log, alias).len() == 5).then_some(()))
            .await;
        let id = live.fetcher.fetch(range(&live.name, (6, 7), (6, 8)), UP).await;
        let number = live
            .fetcher
            .wait(|log| {
                let number = stream_of(log, id)?;
                log.iter()
                    .any(|news| matches!(news, common::raw::News::FetchObject(of, _) if *of == number))
                    .then_some(number)
            })
            .await;
        live.fetcher.say(ControlMessage::FetchCancel(id)).await;
        // MOQT-14 §9.19 [D14-FETCH-16]: even in the middle of an object. CANCELLED [D14-CLOSE-8]
        assert_eq!(live.fetcher.ended(number).await, Some(1));
        // Cancelled twice, or long after: nothing.
        live.fetcher.say(ControlMessage::FetchCancel(id)).await;
        let (_, places) = live.fetch((3, 0), (3, 0), UP).await;
        assert_eq!(places, group(3));
    });
}

/// D14-FETCH-16
#[test]
fn a_stream_that_is_stopped_ends_its_fetch_alone() {
    run(async || {
        let live = Live::start("stopped", 1).await;
        let mut picky = Raw::connect(&live.relay, Reading::StopFirst, TransportConfig::default()).await;
        let first = picky.fetch(range(&live.name, (3, 0), (5, 0)), UP).await;
        // The request is answered all the same.
        picky.fetch_answer(first).await.unwrap();
        let second = picky.fetch(range(&live.name, (4, 0), (4, 0)), UP).await;
        assert_eq!(picky.fetched_places(second).await.1, group(4));
    });
}

/// D14-FETCH-20
#[test]
fn a_session_has_a_bounded_number_of_fetches() {
    run(async || {
        let mut settings = settings(1);
        settings.session.limits.session.fetches = 2;
        let mut live = Live::with("many", settings).await;
        let mut stream = live.publisher.open(ALIAS, 6, SubgroupIdMode::Explicit(1)).await;
        stream.begin(7, 1000).await;
        let alias = live.watcher_alias;
        live.watcher
            .wait(|log| (Raw::headers(log, alias).len() == 5).then_some(()))
            .await;
        let mut ids: Vec<RequestId> = Vec::new();
        for _ in 0..3 {
            ids.push(live.fetcher.fetch(range(&live.name, (6, 7), (6, 8)), UP).await);
        }
        let refused = live.fetcher.fetch_answer(ids[2]).await.unwrap_err();
        assert_eq!(refused.reason, RequestErrorReason::InternalError);
        // The others go on, and one that ends makes room.
        live.fetcher.say(ControlMessage::FetchCancel(ids[0])).await;
        loop {
            let id = live.fetcher.fetch(range(&live.name, (3, 0), (3, 0)), UP).await;
            if live.fetcher.fetch_answer(id).await.is_ok() {
                live.fetcher.fetched(id).await;
                break;
            }
        }
        assert_eq!(past(&live.fetcher.log, ids[1]), []);
        assert!(stream_of(&live.fetcher.log, ids[1]).is_some());
    });
}

/// The operator's `--cache_key`.
#[test]
fn what_the_cache_serves_is_marked_when_asked_for() {
    run(async || {
        let mut settings = settings(1);
        settings.session.cache_key = Some(0x4a);
        let mut live = Live::with("marked", settings).await;
        let id = live.fetcher.fetch(range(&live.name, (3, 0), (3, 0)), UP).await;
        let (past, _) = live.fetcher.fetched(id).await;
        assert_eq!(places(&past), group(3));
        assert!(
            past.iter()
                .all(|past| past.header.extensions.as_ref() == [0x40, 0x4a, 1])
        );
    });
}
