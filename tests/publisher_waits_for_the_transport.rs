//! A publisher that writes more than its log keeps, as fast as it can, loses nothing: it waits for the transport.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{options, relay, run, settings, target, track};
use laps_actors::client::{Flow, Item, Publisher, Subscriber, Wanted};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDoneStatus, SubscribeFilter};
use laps_protocol::relay::track_log::StreamEnd;

const GROUPS: u64 = 48;
const OBJECTS: u64 = 16;
/// With the counts above 48 MiB in all, six times what the publisher's log keeps.
const BYTES: usize = 64 << 10;

#[test]
fn more_than_the_log_keeps_arrives_whole() {
    run(|| async {
        // Relay and subscriber keep everything, so only the publisher could lose something.
        let mut roomy = settings(1);
        roomy.track.limits.max_bytes = 256 << 20;
        roomy.session.max_behind = 256 << 20;
        let relay = relay(roomy).await;
        let target = target(relay.local_addr());
        let (mut small, mut large) = (options(), options());
        small.track.limits.max_bytes = 8 << 20;
        large.track.limits.max_bytes = 256 << 20;
        let mut publisher = Publisher::connect(&target, small).await.unwrap();
        let mut subscriber = Subscriber::connect(&target, large).await.unwrap();
        let name = track("waits", "video");
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let wanted = Wanted {
            track: name,
            filter: SubscribeFilter::LargestObject,
            priority: 128,
            new_group: false,
        };
        subscriber.subscribe(wanted).await.unwrap();
        writer.wanted().await.unwrap();
        let payload = Bytes::from(vec![7; BYTES]);
        let writing = actix_rt::spawn(async move {
            for group in 0..GROUPS {
                for object in 0..OBJECTS {
                    let at = Location::new(group, object);
                    writer.object(at, vec![payload.clone()]).await.unwrap();
                }
            }
            writer.finish().await.unwrap();
        });
        let mut got = 0;
        loop {
            match subscriber.next().await.unwrap() {
                Item::Object(object) => {
                    assert_eq!(object.len(), BYTES);
                    got += 1;
                }
                Item::Done(gone) => {
                    assert_eq!(gone.status, PublishDoneStatus::TrackEnded);
                    break;
                }
                Item::Closed { group, end, .. } => assert_eq!(end, StreamEnd::Fin, "group {group}"),
                Item::Opened { .. } => {}
                Item::Lost => panic!("objects were lost"),
            }
        }
        assert_eq!(got, GROUPS * OBJECTS);
        writing.await.unwrap();
        relay.drain(std::time::Duration::from_secs(2));
    });
}
