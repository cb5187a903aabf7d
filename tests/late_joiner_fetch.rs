//! A subscriber that comes in the middle of a group and joins it by FETCH has every object of the group exactly once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::fetching::{fetches, past, places};
use common::raw::{Raw, RawStream, payload, raw};
use common::shards::Placement;
use common::{relay, run, settings, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{FetchRange, GroupOrderRequest, RequestErrorReason, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;

const ALIAS: u64 = 5;
const GROUP: u64 = 7;
const OBJECTS: u64 = 12;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

/// One subgroup's stream as a list of writes: what stands before each payload, then its two halves.
async fn step(stream: &mut RawStream, id: u64, part: u64) {
    let bytes = bytes::Bytes::from(payload(GROUP, id));
    let half = bytes.len() / 2;
    match part {
        0 => stream.begin(id, bytes.len() as u64).await,
        1 => stream.write(bytes.slice(..half)).await,
        _ => stream.write(bytes.slice(half..)).await,
    }
}

/// Joins after `at` of the writes of the group, of `subgroups` interleaved streams.
async fn join_after(at: u64, subgroups: u64, shards: usize) {
    let placement = Placement::default();
    let mut settings = settings(shards);
    placement.watch(&mut settings);
    let relay = relay(settings).await;
    let name = track("late", "video");
    let mut publisher = placement.raw_on(&relay, 0).await;
    publisher.announce(name.namespace()).await;
    let mut first = raw(&relay).await;
    let id = first.subscribe(&name, NEWEST).await;
    publisher.serve(&name, ALIAS).await;
    let first_alias = first.answer(id).await.unwrap().alias;
    publisher.whole_group(ALIAS, GROUP - 1, 1).await;
    first.until_objects(first_alias, 1).await;

    let mut streams = Vec::new();
    for subgroup in 0..subgroups {
        streams.push(
            publisher
                .open(ALIAS, GROUP, SubgroupIdMode::Explicit(subgroup))
                .await,
        );
    }
    let mut late = placement.raw_on(&relay, shards - 1).await;
    let mut joined = None;
    // Streams take turns by parts of objects, so several objects are incomplete at a time.
    let writes = (0..OBJECTS / subgroups).flat_map(|turn| {
        (0..3).flat_map(move |part| (0..subgroups).map(move |s| (turn * subgroups + s, part, s)))
    });
    for (number, (id, part, subgroup)) in writes.enumerate() {
        if number as u64 == at {
            // What was written is on its way; the relay is somewhere in the middle of it.
            let subscription = late.subscribe(&name, NEWEST).await;
            let range = FetchRange::RelativeJoining {
                subscription,
                groups: 0,
            };
            // [D14-FETCH-14]: in one breath, before the SUBSCRIBE is answered.
            let fetch = late.fetch(range, GroupOrderRequest::Publisher).await;
            joined = Some((subscription, fetch));
            // The rest follows when the relay has decided, so that there is a before and an after.
            late.answer(subscription).await.unwrap();
        }
        step(&mut streams[usize::try_from(subgroup).unwrap()], id, part).await;
    }
    streams.into_iter().for_each(RawStream::fin);
    let (subscription, fetch) = joined.unwrap();
    let ok = late.answer(subscription).await.unwrap();
    let largest = ok.largest.unwrap();
    let answer = late.fetch_answer(fetch).await.unwrap();
    // MOQT-14 §9.16.2.1 [D14-FETCH-12]: up to the largest place that SUBSCRIBE_OK reported.
    assert_eq!(answer.end, Location::new(largest.group, largest.object + 1));
    let (fetched, end) = late.fetched(fetch).await;
    assert_eq!(end, None, "{at} {subgroups} {shards}");
    let before = places(&fetched);
    for object in &fetched {
        assert_eq!(
            object.payload,
            payload(object.header.location.group, object.header.location.object)
        );
    }
    let expected: Vec<_> = (0..OBJECTS).map(|object| (GROUP, object)).collect();
    let missing: Vec<_> = if largest.group == GROUP {
        expected
            .iter()
            .copied()
            .filter(|place| !before.contains(place))
            .collect()
    } else {
        assert_eq!(before, [(GROUP - 1, 0)]);
        expected.clone()
    };
    late.until_objects(ok.alias, missing.len()).await;
    late.wait(|log| {
        let headers = Raw::headers(log, ok.alias);
        headers
            .iter()
            .all(|(number, _)| common::raw::end(log, *number).is_some())
            .then_some(())
    })
    .await;
    // Exactly once: nothing that was fetched came live too.
    assert_eq!(
        Raw::places(&late.log, ok.alias),
        missing,
        "{at} {subgroups} {shards}"
    );
    assert!(before.is_sorted());
    publisher.catch_up();
    assert_eq!(fetches(&publisher.log), [], "the relay had all of it");
}

/// D14-FETCH-11 D14-FETCH-12 D14-FETCH-13 D14-FETCH-14 D14-SUB-4 D14-SUB-5
#[test]
fn every_object_of_the_group_comes_exactly_once() {
    for shards in [1, 2] {
        for subgroups in [1, 3] {
            for at in [0, 1, 2, 5, 9, 17, 28, 35] {
                run(move || join_after(at, subgroups, shards));
            }
        }
    }
}

/// D14-FETCH-11 D14-FETCH-13
#[test]
fn joins_that_cannot_be_are_refused() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("refused", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut late = raw(&relay).await;
        let subscription = late.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let ok = late.answer(subscription).await.unwrap();
        assert_eq!(ok.largest, None);
        let join = |groups| FetchRange::RelativeJoining { subscription, groups };
        let id = late.fetch(join(0), GroupOrderRequest::Publisher).await;
        // MOQT-14 §9.16.2 [D14-FETCH-11]: the track had no objects.
        assert_eq!(
            late.fetch_answer(id).await.unwrap_err().reason,
            RequestErrorReason::InvalidRange
        );
        let other = FetchRange::AbsoluteJoining {
            subscription: laps_protocol::moqt::message::RequestId(subscription.0 + 1000),
            group: 0,
        };
        let id = late.fetch(other, GroupOrderRequest::Publisher).await;
        let error = late.fetch_answer(id).await.unwrap_err();
        assert_eq!(error.reason, RequestErrorReason::InvalidJoiningRequestId);
        assert_eq!(past(&late.log, id), []);
    });
}
