//! What the relay does not know of a range is asked of the publisher, once, and merged with what it has.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::{asked_range, fetches, places, range};
use common::raw::{Raw, payload, raw};
use common::{relay, run, settings, track};
use laps::relay::Relay;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, FetchRange, GroupOrder, GroupOrderRequest, PublishDoneStatus, RequestErrorReason,
    SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::Duration;

const ALIAS: u64 = 9;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const UP: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Ascending);
const DOWN: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Descending);

struct Stage {
    relay: Relay,
    name: FullTrackName,
    publisher: Raw,
    /// By which the watcher knows the track.
    alias: u64,
}

impl Stage {
    async fn start(namespace: &str) -> Self {
        let mut settings = settings(1);
        settings.track.fetch.wait = Duration::from_millis(50);
        let relay = relay(settings).await;
        let name = track(namespace, "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        Self {
            relay,
            name,
            publisher,
            alias: 0,
        }
    }

    /// Somebody subscribes when groups up to 4 exist, and then sees groups 5 and 7, whole.
    async fn live(&mut self) -> Raw {
        let mut watcher = raw(&self.relay).await;
        let id = watcher.subscribe(&self.name, NEWEST).await;
        let (asked, _) = self.publisher.asked(&self.name, 0).await;
        self.publisher
            .accept(asked, ALIAS, Some(Location::new(4, 1)))
            .await;
        let alias = watcher.answer(id).await.unwrap().alias;
        self.publisher.whole_group(ALIAS, 5, 2).await;
        self.publisher.whole_group(ALIAS, 7, 2).await;
        watcher.until_objects(alias, 4).await;
        self.alias = alias;
        watcher
    }

    async fn fetcher(&self) -> Raw {
        raw(&self.relay).await
    }
}

/// D14-FETCH-6 D14-FETCH-17 D14-CACHE-7 D14-FETCH-5
#[test]
fn holes_are_asked_for_and_merged() {
    run(async || {
        let mut stage = Stage::start("holes").await;
        let _watcher = stage.live().await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (3, 1), (7, 0)), UP).await;
        let (hole, asked) = stage.publisher.fetch_asked(0).await;
        // Groups 3 and 4 are unknown; 5 is here.
        assert_eq!(asked_range(&asked), ((3, 1), (4, 0)));
        stage
            .publisher
            .serve_fetch(hole, GroupOrder::Ascending, (4, 0), &[(3, 1), (4, 1)])
            .await;
        let (hole, asked) = stage.publisher.fetch_asked(1).await;
        // Group 6 was never seen: it may exist.
        assert_eq!(asked_range(&asked), ((6, 0), (6, 0)));
        stage
            .publisher
            .refuse_fetch(hole, RequestErrorReason::NoObjects)
            .await;
        let (ok, got) = fetcher.fetched_places(id).await;
        assert_eq!(got, [(3, 1), (4, 1), (5, 0), (5, 1), (7, 0), (7, 1)]);
        assert_eq!(ok.end, Location::new(7, 0));
        // What was learned stays: the same again, and other parts of it, cost nobody anything.
        for (order, start, end, expected) in [
            (
                UP,
                (3, 1),
                (7, 0),
                vec![(3, 1), (4, 1), (5, 0), (5, 1), (7, 0), (7, 1)],
            ),
            (DOWN, (4, 0), (6, 0), vec![(5, 0), (5, 1), (4, 1)]),
        ] {
            let id = fetcher.fetch(range(&stage.name, start, end), order).await;
            assert_eq!(fetcher.fetched_places(id).await.1, expected);
        }
        stage.publisher.catch_up();
        assert_eq!(fetches(&stage.publisher.log).len(), 2);
    });
}

/// D14-FETCH-6 D14-FETCH-18 D14-CLOSE-1
#[test]
fn a_hole_that_stays_is_a_reset_and_never_a_fin() {
    run(async || {
        let mut stage = Stage::start("stays").await;
        let _watcher = stage.live().await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (5, 0), (7, 0)), UP).await;
        let (hole, _) = stage.publisher.fetch_asked(0).await;
        stage
            .publisher
            .refuse_fetch(hole, RequestErrorReason::InternalError)
            .await;
        let (past, end) = fetcher.fetched(id).await;
        // What came before stays true. MOQT-14 §5.1 [D14-FETCH-18]
        assert_eq!(places(&past), [(5, 0), (5, 1)]);
        assert!(end.is_some());
        // Where nothing was sent yet it is a plain refusal.
        let id = fetcher.fetch(range(&stage.name, (6, 0), (7, 0)), UP).await;
        let (hole, _) = stage.publisher.fetch_asked(1).await;
        stage
            .publisher
            .refuse_fetch(hole, RequestErrorReason::NotSupported)
            .await;
        let error = fetcher.fetch_answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::UnknownStatusInRange);
    });
}

/// D14-FETCH-6
#[test]
fn a_broken_fill_is_tried_once_more() {
    run(async || {
        let mut stage = Stage::start("broken").await;
        let _watcher = stage.live().await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (2, 0), (3, 0)), UP).await;
        let (first, _) = stage.publisher.fetch_asked(0).await;
        let mut stream = stage.publisher.open_fetch(first).await;
        stream.object((2, 0)).await;
        fetcher.until_fetched(id, 1).await;
        stream.reset(0);
        let (second, asked) = stage.publisher.fetch_asked(1).await;
        assert_eq!(asked_range(&asked), ((2, 1), (3, 0)));
        stage
            .publisher
            .serve_fetch(second, GroupOrder::Ascending, (3, 0), &[(2, 1), (3, 0)])
            .await;
        assert_eq!(fetcher.fetched_places(id).await.1, [(2, 0), (2, 1), (3, 0)]);
    });
}

/// D14-FETCH-16
#[test]
fn the_last_to_cancel_cancels_upstream() {
    run(async || {
        let mut stage = Stage::start("cancel").await;
        let _watcher = stage.live().await;
        let (mut one, mut two) = (stage.fetcher().await, stage.fetcher().await);
        let first = one.fetch(range(&stage.name, (1, 0), (3, 0)), UP).await;
        let (hole, _) = stage.publisher.fetch_asked(0).await;
        let second = two.fetch(range(&stage.name, (1, 0), (3, 0)), UP).await;
        let mut stream = stage.publisher.open_fetch(hole).await;
        stream.object((1, 0)).await;
        one.until_fetched(first, 1).await;
        two.until_fetched(second, 1).await;
        one.say(ControlMessage::FetchCancel(first)).await;
        one.fetched(first).await;
        stream.object((1, 1)).await;
        two.until_fetched(second, 2).await;
        stage.publisher.catch_up();
        let cancelled = |log: &[common::raw::News]| {
            log.iter()
                .any(|news| matches!(news, common::raw::News::Control(ControlMessage::FetchCancel(id)) if *id == hole))
        };
        assert!(!cancelled(&stage.publisher.log), "somebody still reads");
        two.say(ControlMessage::FetchCancel(second)).await;
        // MOQT-14 §5.1 [D14-FETCH-16]
        stage.publisher.wait(|log| cancelled(log).then_some(())).await;
        assert_eq!(fetches(&stage.publisher.log).len(), 1, "both shared one");
    });
}

/// D14-FETCH-10 D14-FETCH-2
#[test]
fn a_track_that_nobody_subscribes_to_is_fetched_from_its_publisher() {
    run(async || {
        let mut stage = Stage::start("idle").await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (0, 0), (9, 0)), UP).await;
        let (hole, asked) = stage.publisher.fetch_asked(0).await;
        assert_eq!(asked_range(&asked), ((0, 0), (9, 0)));
        // The publisher says where it ends. MOQT-14 §9.17 [D14-FETCH-10]
        stage
            .publisher
            .serve_fetch(hole, GroupOrder::Ascending, (2, 2), &[(0, 0), (2, 0), (2, 1)])
            .await;
        let (ok, got) = fetcher.fetched_places(id).await;
        assert_eq!(ok.end, Location::new(2, 2));
        assert_eq!(got, [(0, 0), (2, 0), (2, 1)]);
        // No subscription was made for it.
        stage.publisher.catch_up();
        let subscribed = |news: &common::raw::News| {
            matches!(news, common::raw::News::Control(ControlMessage::Subscribe(..)))
        };
        assert!(!stage.publisher.log.iter().any(subscribed));
        // Inside of what is known nobody is asked again; beyond it the track may have gone on.
        let id = fetcher.fetch(range(&stage.name, (0, 0), (2, 1)), UP).await;
        assert_eq!(fetcher.fetched_places(id).await.1, [(0, 0), (2, 0)]);
        let id = fetcher.fetch(range(&stage.name, (5, 0), (9, 0)), UP).await;
        let (hole, asked) = stage.publisher.fetch_asked(1).await;
        assert_eq!(asked_range(&asked), ((5, 0), (9, 0)));
        stage
            .publisher
            .refuse_fetch(hole, RequestErrorReason::InvalidRange)
            .await;
        let error = fetcher.fetch_answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InvalidRange);
    });
}

/// D14-FETCH-4 D14-FETCH-6
#[test]
fn descending_holes_are_asked_in_that_order() {
    run(async || {
        let mut stage = Stage::start("descending").await;
        let _watcher = stage.live().await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (2, 1), (5, 0)), DOWN).await;
        let (hole, asked) = stage.publisher.fetch_asked(0).await;
        assert_eq!(asked_range(&asked), ((2, 1), (4, 0)));
        assert_eq!(asked.group_order, DOWN);
        stage
            .publisher
            .serve_fetch(hole, GroupOrder::Descending, (4, 0), &[(4, 0), (4, 1), (2, 1)])
            .await;
        let got = fetcher.fetched_places(id).await.1;
        assert_eq!(got, [(5, 0), (5, 1), (4, 0), (4, 1), (2, 1)]);
    });
}

/// D14-MAL-1 D14-MAL-2
#[test]
fn a_fill_that_breaks_the_rules_ends_the_track() {
    run(async || {
        let mut stage = Stage::start("malformed").await;
        let mut watcher = stage.live().await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (2, 0), (3, 0)), UP).await;
        let (hole, _) = stage.publisher.fetch_asked(0).await;
        let mut stream = stage.publisher.open_fetch(hole).await;
        stream.object((3, 1)).await;
        fetcher.until_fetched(id, 1).await;
        // MOQT-14 §2.5 [D14-MAL-2]: ids go up in a group.
        stream.object((3, 0)).await;
        let (_, end) = fetcher.fetched(id).await;
        assert!(end.is_some());
        stage
            .publisher
            .control(|message| {
                matches!(message, ControlMessage::FetchCancel(id) if *id == hole).then_some(())
            })
            .await;
        // MOQT-14 §2.5 [D14-MAL-1]: for those who subscribe too. The sessions live on.
        let over = |message: &ControlMessage| match message {
            ControlMessage::PublishDone(_, done) => Some(done.status),
            _ => None,
        };
        assert_eq!(watcher.control(over).await, PublishDoneStatus::MalformedTrack);
        stage.publisher.fence().await;
        watcher.fence().await;
    });
}

/// D14-FETCH-6 D14-CLOSE-1
#[test]
fn objects_that_still_arrive_are_waited_for_and_then_asked_for() {
    run(async || {
        let mut stage = Stage::start("arriving").await;
        let mut watcher = stage.live().await;
        let alias = stage.alias;
        // Subgroup 0 brings objects 0 and 2, and object 1 belongs to a stream that is slow.
        let mut slow = stage.publisher.open(ALIAS, 8, SubgroupIdMode::Explicit(1)).await;
        let mut fast = stage.publisher.open(ALIAS, 8, SubgroupIdMode::Zero).await;
        fast.object(0, &payload(8, 0)).await;
        fast.object(2, &payload(8, 2)).await;
        fast.fin();
        slow.begin(1, payload(8, 1).len() as u64).await;
        watcher.until_object(alias, (8, 2)).await;
        watcher
            .wait(|log| {
                log.iter()
                    .any(|news| matches!(news, common::raw::News::Object(_, header) if header.id == 1))
                    .then_some(())
            })
            .await;
        let mut fetcher = stage.fetcher().await;
        let id = fetcher.fetch(range(&stage.name, (8, 0), (8, 3)), UP).await;
        fetcher.until_fetched(id, 1).await;
        slow.write(payload(8, 1).into()).await;
        assert_eq!(fetcher.fetched_places(id).await.1, [(8, 0), (8, 1), (8, 2)]);
        stage.publisher.catch_up();
        assert_eq!(fetches(&stage.publisher.log), []);
        // Object 5 might come on the slow stream as well. It does not, so after a while it is asked for.
        let mut more = stage.publisher.open(ALIAS, 8, SubgroupIdMode::Explicit(2)).await;
        more.object(6, &payload(8, 6)).await;
        watcher.until_object(alias, (8, 6)).await;
        let id = fetcher.fetch(range(&stage.name, (8, 5), (8, 7)), UP).await;
        let (hole, asked) = stage.publisher.fetch_asked(0).await;
        assert_eq!(asked_range(&asked).0, (8, 5));
        stage
            .publisher
            .refuse_fetch(hole, RequestErrorReason::NoObjects)
            .await;
        assert_eq!(fetcher.fetched_places(id).await.1, [(8, 6)]);
    });
}

/// D14-CACHE-4 D14-FETCH-13
#[test]
fn a_quiet_catalog_is_fetched_anew_when_its_object_has_aged() {
    run(async || {
        let mut settings = settings(1);
        settings.track.limits.max_age = Duration::from_millis(20);
        let relay = relay(settings).await;
        let name = track("quiet", "catalog");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut first = raw(&relay).await;
        let id = first.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = first.answer(id).await.unwrap().alias;
        publisher.whole_group(ALIAS, 0, 1).await;
        first.until_objects(alias, 1).await;
        // The object ages while nothing happens; what a player does first is asked until the relay has forgotten it.
        let mut player = raw(&relay).await;
        let (subscription, ok) = player.subscribed(&name, NEWEST).await;
        assert_eq!(ok.largest, Some(Location::ZERO));
        let mut asked = 0;
        while asked == 0 {
            let join = FetchRange::RelativeJoining {
                subscription,
                groups: 0,
            };
            let id = player.fetch(join, GroupOrderRequest::Publisher).await;
            tokio::select! {
                got = player.fetched_places(id) => assert_eq!(got.1, [(0, 0)]),
                (hole, fetch) = publisher.fetch_asked(0) => {
                    assert_eq!(asked_range(&fetch), ((0, 0), (0, 1)));
                    publisher.serve_fetch(hole, GroupOrder::Ascending, (0, 1), &[(0, 0)]).await;
                    assert_eq!(player.fetched_places(id).await.1, [(0, 0)]);
                    asked += 1;
                }
            }
        }
    });
}
