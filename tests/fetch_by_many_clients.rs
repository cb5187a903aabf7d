//! Two hundred clients fetch a whole track at once: each gets it, the publisher is asked a few times, nobody else is
//! disturbed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::fetching::range;
use common::raw::{Raw, raw};
use common::{publisher, relay, run, settings, track};
use futures::future::join_all;
use laps_actors::client::Flow;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest, SubscribeFilter};

const CLIENTS: usize = 200;
const GROUPS: u64 = 20;
const OBJECTS: u64 = 8;
const SIZE: usize = 2000;

/// D14-FETCH-20 D14-FETCH-6 D14-LIM-7
#[test]
fn each_gets_the_whole_track() {
    run(async || {
        let mut settings = settings(2);
        // A fifth of what they fetch: whoever is slow finds that it is gone, and it is asked for again.
        settings.track.limits.max_bytes = 128 * 1024;
        let relay = relay(settings).await;
        let name = track("many", "film");
        let mut origin = publisher(&relay).await;
        let mut film = origin.publish(name.clone(), Flow::Announce).await.unwrap();
        for group in 0..GROUPS {
            for object in 0..OBJECTS {
                let payload = vec![Bytes::from(vec![u8::try_from(group).unwrap(); SIZE])];
                film.object(Location::new(group, object), payload).await.unwrap();
            }
        }
        // Somebody else's track is live meanwhile.
        let live = track("live", "video");
        let mut other = raw(&relay).await;
        other.announce(live.namespace()).await;
        let mut watcher = raw(&relay).await;
        let id = watcher.subscribe(&live, SubscribeFilter::LargestObject).await;
        other.serve(&live, 3).await;
        let alias = watcher.answer(id).await.unwrap().alias;

        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(raw(&relay).await);
        }
        let everything = clients.iter_mut().map(async |client: &mut Raw| {
            let id = client
                .fetch(
                    range(&name, (0, 0), (GROUPS - 1, 0)),
                    GroupOrderRequest::Fixed(GroupOrder::Ascending),
                )
                .await;
            let ok = client.fetch_answer(id).await.unwrap();
            let (past, end) = client.fetched(id).await;
            (ok, past, end)
        });
        let undisturbed = async {
            for group in 0..10 {
                other.group(3, group, 1).await;
                watcher.until_object(alias, (group, 0)).await;
            }
        };
        let (all, ()) = futures::join!(join_all(everything), undisturbed);
        for (ok, past, end) in all {
            assert_eq!(end, None);
            assert_eq!(ok.end.group, GROUPS - 1);
            assert_eq!(past.len() as u64, GROUPS * OBJECTS);
            let mut expected = (0..GROUPS).flat_map(|group| (0..OBJECTS).map(move |object| (group, object)));
            for object in past {
                let place = object.header.location;
                assert_eq!(expected.next(), Some((place.group, place.object)));
                assert_eq!(object.payload, vec![u8::try_from(place.group).unwrap(); SIZE]);
            }
        }
    });
}
