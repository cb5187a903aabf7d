//! Who joins a track of a `moq-transport` publisher late gets its past from the relay: the crate answers no FETCH.

use crate::common::cli::Tool;
use crate::common::fetch::{join, order, places};
use crate::common::moq::{MoqPeer, MoqPublisher};
use crate::common::payload;
use crate::common::raw::RawPeer;
use crate::common::relay::{Options, Relay};
use crate::common::stream::Incoming;

const TRACK: (&str, &str) = ("interop/late", "video");

/// Groups 0 and 1 of three objects, of which the relay has everything because somebody watches.
async fn watched() -> (Relay, MoqPeer, MoqPublisher, RawPeer, Vec<Incoming>) {
    let relay = Options::default().patient().start().await;
    let here = MoqPeer::connect(relay.address).await;
    let mut watcher = RawPeer::connect(relay.address).await;
    let mut publisher = here.announce(TRACK.0, TRACK.1);
    let id = watcher.send_subscribe(TRACK.0, TRACK.1).await;
    watcher.expect_subscribe_ok(id).await;
    let mut streams = Vec::new();
    for group in 0..2 {
        publisher.object(group, &payload(group, 0));
        let mut stream = watcher.incoming().await;
        for object in 0..3 {
            if object > 0 {
                publisher.object(group, &payload(group, object));
            }
            stream.object().await.expect("no reset").expect("an object");
        }
        streams.push(stream);
    }
    // The first group has ended with FIN.
    assert_eq!(streams[0].object().await, Ok(None));
    (relay, here, publisher, watcher, streams)
}

/// D14-FETCH-11 D14-LIB-1
#[tokio::test]
async fn our_client_gets_the_current_group() {
    let (relay, mut here, mut publisher, _watcher, _streams) = watched().await;
    let mut joiner = Tool::joiner(&relay, TRACK.0, TRACK.1, 5);
    for object in 0..3 {
        assert_eq!(joiner.line().await, payload(1, object));
    }
    for object in 3..5 {
        publisher.object(1, &payload(1, object));
        assert_eq!(joiner.line().await, payload(1, object));
    }
    joiner.finish().await;
    here.assert_alive().await;
}

/// The group before, too, though its end is not marked and the crate never says where it is: compatibility rule
/// `UpstreamCannotFetch`. The crate survives being asked.
/// D14-FETCH-6
#[tokio::test]
async fn a_raw_client_gets_the_group_before() {
    let (relay, mut here, mut publisher, mut watcher, mut streams) = watched().await;
    let mut joiner = RawPeer::connect(relay.address).await;
    let subscription = joiner.send_subscribe(TRACK.0, TRACK.1).await;
    assert_eq!(joiner.expect_largest(subscription).await, (1, 2));
    let id = joiner.send_join(join::RELATIVE, subscription, 1).await;
    joiner.expect_fetch_ok(id, order::ASCENDING, 0, (1, 3)).await;
    let got = joiner.whole_stream().await.expect("no reset");
    let wanted = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
    assert_eq!(places(&got), (id, wanted.to_vec()));
    publisher.object(1, &payload(1, 3));
    let mut live = joiner.incoming().await;
    let object = live.object().await.expect("no reset").expect("an object");
    assert_eq!((object.id, object.payload), (3, payload(1, 3).into_bytes()));
    streams[1].object().await.expect("no reset").expect("an object");
    watcher.assert_served("watcher/here").await;
    here.assert_alive().await;
}
