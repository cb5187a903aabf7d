//! FETCH and TRACK_STATUS at another relay are answered as at the relay of the publisher.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::feeding::Flow;
use common::fetching::{places, range};
use common::mesh::{feeder, two};
use common::raw::{Raw, raw, subscribe};
use common::{run, track};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    ControlMessage, FetchRange, GroupOrderRequest, RequestError, RequestErrorReason, RequestId, RequestKind,
    SubscribeFilter, SubscribeOk,
};
use laps_protocol::moqt::name::FullTrackName;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

async fn status(client: &mut Raw, name: &FullTrackName) -> Result<SubscribeOk, RequestError> {
    let id: RequestId = client.id();
    client
        .say(ControlMessage::TrackStatus(id, subscribe(name, NEWEST)))
        .await;
    client
        .control(|message| match message {
            ControlMessage::TrackStatusOk(of, ok) if *of == id => Some(Ok(ok.clone())),
            ControlMessage::RequestError(of, RequestKind::TrackStatus, error) if *of == id => {
                Some(Err(error.clone()))
            }
            _ => None,
        })
        .await
}

/// D14-FETCH-10 D14-FETCH-12: the cache of the publisher's relay serves who fetches, and joins, at another one.
#[test]
fn the_past_is_fetched_across_relays() {
    for shards in [1, 2] {
        run(move || async move {
            let [near, far] = two(shards).await;
            let name = track("past", "video");
            let mut here = raw(&near).await;
            let id = here.subscribe(&name, NEWEST).await;
            let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
            let alias = here.answer(id).await.unwrap().alias;
            // What ends where is known, so that the publisher has nothing to be asked for.
            feeder.raw.whole_group(ALIAS, 0, 3).await;
            feeder.raw.whole_group(ALIAS, 1, 3).await;
            here.until_objects(alias, 6).await;
            // Nobody reads at the other relay, and it has nothing.
            let mut there = raw(&far).await;
            let (subscription, ok) = there.subscribed(&name, NEWEST).await;
            assert_eq!(ok.largest, Some(Location::new(1, 2)));
            let joining = FetchRange::RelativeJoining {
                subscription,
                groups: 1,
            };
            let fetch = there.fetch(joining, GroupOrderRequest::Publisher).await;
            let (_, joined) = there.fetched_places(fetch).await;
            let all = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
            assert_eq!(joined, all);
            let fetch = there
                .fetch(range(&name, (0, 1), (1, 2)), GroupOrderRequest::Publisher)
                .await;
            let (past, end) = there.fetched(fetch).await;
            assert_eq!((places(&past), end), (all[1..5].to_vec(), None));
        });
    }
}

/// D14-SUB-28: the status of a track at another relay, and that of one that nobody has.
#[test]
fn the_status_is_told_across_relays() {
    run(async || {
        let [near, far] = two(2).await;
        let name = track("status", "video");
        let mut here = raw(&near).await;
        let id = here.subscribe(&name, NEWEST).await;
        let mut feeder = feeder(&near, Flow::Announce, &name, ALIAS).await;
        let alias = here.answer(id).await.unwrap().alias;
        feeder.group(3, 2).await;
        here.until_objects(alias, 2).await;
        let mut there = raw(&far).await;
        let ok = status(&mut there, &name).await.unwrap();
        assert_eq!((ok.alias, ok.largest), (0, Some(Location::new(3, 1))));
        let why = status(&mut there, &track("nobody", "has")).await.unwrap_err();
        assert_eq!(why.reason, RequestErrorReason::TrackDoesNotExist);
    });
}
