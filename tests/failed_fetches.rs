//! A FETCH goes on when its actor fails, and a session ends when too many of its requests do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::places;
use common::raw::{News, Raw, payload, raw, subscribe};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_actors::supervise::{FaultPlan, Trigger};
use laps_protocol::moqt::message::{
    ControlMessage, GroupOrder, RequestErrorReason, RequestId, RequestKind, SubscribeFilter,
};
use laps_protocol::moqt::name::FullTrackName;

/// MOQT-14 §10.4.3 and §3.4 [D14-CLOSE-8] [D14-TERM-1]
const RESET_INTERNAL_ERROR: u64 = 0;
const CLOSE_INTERNAL_ERROR: u64 = 1;
const UP: GroupOrder = GroupOrder::Ascending;

/// A relay that fails at `kind`, a publisher of everything below a namespace, and who fetches from the last shard.
struct Scene {
    trigger: Trigger,
    name: FullTrackName,
    publisher: Raw,
    fetcher: Raw,
    _relay: laps::relay::Relay,
}

impl Scene {
    async fn new(kind: &str, shards: usize) -> Self {
        let mut plan = FaultPlan::new();
        let trigger = plan.point(kind);
        let mut settings = settings(shards);
        settings.faults = plan.faults();
        let placement = Placement::default();
        placement.watch(&mut settings);
        let relay = relay(settings).await;
        let name = track("crash", "video");
        let mut publisher = placement.raw_on(&relay, 0).await;
        publisher.announce(name.namespace()).await;
        let fetcher = placement.raw_on(&relay, shards - 1).await;
        Self {
            trigger,
            name,
            publisher,
            fetcher,
            _relay: relay,
        }
    }

    fn answers(&self, id: RequestId) -> usize {
        let of_it = |news: &&News| {
            matches!(news, News::Control(
                ControlMessage::FetchOk(of, _) | ControlMessage::RequestError(of, RequestKind::Fetch, _),
            ) if *of == id)
        };
        self.fetcher.log.iter().filter(of_it).count()
    }

    /// Fetches again, and gets all of it.
    async fn goes_on(&mut self) {
        let id = self.fetcher.fetch_range(&self.name, (3, 0), (3, 0)).await;
        let mut nth = 0;
        let upstream = loop {
            let (upstream, fetch) = self.publisher.fetch_asked(nth).await;
            if common::fetching::asked_range(&fetch).0 == (3, 0) {
                break upstream;
            }
            nth += 1;
        };
        self.publisher.serve_fetch(upstream, UP, (3, 0), &[(3, 0)]).await;
        assert_eq!(self.fetcher.fetched_places(id).await.1, [(3, 0)]);
    }
}

async fn resumes(shards: usize) {
    let mut scene = Scene::new("fetch", shards).await;
    // Before there is a stream it just begins again.
    scene.trigger.arm(2);
    let id = scene.fetcher.fetch_range(&scene.name, (0, 0), (0, 6)).await;
    scene.trigger.wait_fired(2).await;
    let (upstream, _) = scene.publisher.fetch_asked(0).await;
    let mut stream = scene.publisher.open_fetch(upstream).await;
    for object in 0..5_u64 {
        // It fails over what the track has just given it.
        let before = scene.trigger.fired();
        scene.trigger.arm(1);
        stream.object((0, object)).await;
        if object == 2 {
            scene.publisher.accept_fetch(upstream, UP, (0, 6)).await;
        }
        scene.trigger.wait_fired(before + 1).await;
        if object >= 2 {
            let count = usize::try_from(object).unwrap() + 1;
            scene.fetcher.until_fetched(id, count).await;
        }
    }
    stream.object((0, 5)).await;
    stream.fin();
    let (past, end) = scene.fetcher.fetched(id).await;
    assert_eq!(end, None, "nothing is missing");
    assert_eq!(
        places(&past),
        (0..6).map(|object| (0, object)).collect::<Vec<_>>()
    );
    for object in past {
        let place = object.header.location;
        assert_eq!(object.payload, payload(place.group, place.object));
    }
    assert_eq!(scene.answers(id), 1);
    scene.goes_on().await;
}

/// D14-FETCH-1 D14-FETCH-5: seven actors die over one FETCH, and its peer sees one stream without a hole.
#[test]
fn a_failed_fetch_goes_on_where_it_was() {
    run(|| resumes(1));
}

/// D14-FETCH-1 D14-FETCH-5
#[test]
fn a_failed_fetch_goes_on_from_another_shard() {
    run(|| resumes(2));
}

async fn tears() {
    let mut scene = Scene::new("fetch_write", 1).await;
    let id = scene.fetcher.fetch_range(&scene.name, (0, 0), (0, 6)).await;
    let (upstream, _) = scene.publisher.fetch_asked(0).await;
    scene.publisher.accept_fetch(upstream, UP, (0, 6)).await;
    let mut stream = scene.publisher.open_fetch(upstream).await;
    stream.object((0, 0)).await;
    scene.fetcher.until_fetched(id, 1).await;
    scene.trigger.arm(1);
    stream.object((0, 1)).await;
    let (past, end) = scene.fetcher.fetched(id).await;
    assert_eq!((places(&past), end), (vec![(0, 0)], Some(RESET_INTERNAL_ERROR)));
    assert_eq!(scene.trigger.fired(), 1);
    assert_eq!(scene.answers(id), 1);
    scene.goes_on().await;
}

/// D14-FETCH-5 D14-FETCH-6: what the peer has is not known any more, so the stream is reset and nothing begins anew.
#[test]
fn a_write_that_fails_in_the_midst_ends_the_fetch() {
    run(tears);
}

async fn gives_up() {
    let mut scene = Scene::new("fetch", 1).await;
    scene.trigger.arm(u32::MAX);
    let id = scene.fetcher.fetch_range(&scene.name, (0, 0), (0, 6)).await;
    let error = scene.fetcher.fetch_answer(id).await.unwrap_err();
    assert_eq!(error.reason, RequestErrorReason::InternalError);
    // Ten restarts in ten seconds are granted; the failure after them is the last.
    assert_eq!(scene.trigger.fired(), 11);
    scene.trigger.arm(0);
    scene.goes_on().await;
}

/// D14-REQ-8
#[test]
fn a_fetch_that_keeps_failing_is_refused() {
    run(gives_up);
}

async fn session_gives_up() {
    let mut scene = Scene::new("status", 1).await;
    let mut bystander = raw(&scene._relay).await;
    scene.trigger.arm(u32::MAX);
    for _ in 0..10 {
        let id = scene.fetcher.id();
        let status = subscribe(&scene.name, SubscribeFilter::LargestObject);
        scene.fetcher.say(ControlMessage::TrackStatus(id, status)).await;
        let (_, error) = scene.fetcher.refused(id).await;
        assert_eq!(error.reason, RequestErrorReason::InternalError);
    }
    // Ten requests are less than a session.
    scene.fetcher.fence().await;
    let id = scene.fetcher.id();
    let status = subscribe(&scene.name, SubscribeFilter::LargestObject);
    scene.fetcher.say(ControlMessage::TrackStatus(id, status)).await;
    assert_eq!(scene.fetcher.closed().await, CLOSE_INTERNAL_ERROR);
    assert_eq!(scene.trigger.fired(), 11);
    bystander.fence().await;
    scene.publisher.fence().await;
}

/// D14-TERM-1 D14-TERM-3
#[test]
fn a_session_whose_requests_keep_failing_ends_alone() {
    run(session_gives_up);
}
