//! What does not move when a relay drains: a FETCH under way, and whoever watches namespaces.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::apart::apart;
use common::raw::raw_at;
use common::{options, run, settings, target, track};
use laps_actors::client::{Change, ClientError, FetchItem, Fetcher, Subscriber, Watcher};
use laps_actors::root::Retire;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, GroupOrderRequest};
use std::time::Duration;

const UP: GroupOrderRequest = GroupOrderRequest::Fixed(GroupOrder::Ascending);

/// The place of the next object; none at the end.
async fn next(fetcher: &mut Fetcher) -> Option<(u64, u64)> {
    loop {
        match fetcher.next().await.unwrap() {
            FetchItem::Accepted(_) => {}
            FetchItem::Object(object) => return Some((object.location.group, object.location.object)),
            FetchItem::Done => return None,
        }
    }
}

/// D14-GOAWAY-1 D14-GOAWAY-3: a fetch goes on in the session that it has, and a new one is refused here.
#[test]
fn a_fetch_under_way_is_finished() {
    run(|| async {
        let relay = apart(settings(1)).await;
        let name = track("past", "video");
        let mut publisher = raw_at(relay.addr).await;
        publisher.announce(name.namespace()).await;
        let subscriber = Subscriber::connect(&target(relay.addr), options()).await.unwrap();
        let mut watcher = Watcher::connect(&target(relay.addr), options()).await.unwrap();
        watcher.watch(name.namespace().clone()).await.unwrap();
        let range = (Location::new(2, 0), Location::new(2, 2));
        let mut fetcher = subscriber.fetch(name.clone(), range, UP).await.unwrap();
        let (asked, _) = publisher.fetch_asked(0).await;
        publisher.accept_fetch(asked, GroupOrder::Ascending, (2, 2)).await;
        let mut stream = publisher.open_fetch(asked).await;
        stream.object((2, 0)).await;
        assert_eq!(next(&mut fetcher).await, Some((2, 0)));
        let uri = Bytes::from_static(b"moqt://127.0.0.1:9");
        let retire = Retire {
            uri: uri.clone(),
            grace: Duration::from_secs(3600),
            deadline: Duration::from_secs(2),
        };
        relay.root.retire(retire).unwrap();
        assert_eq!(
            watcher.next().await.unwrap(),
            Change::Namespace(name.namespace().clone())
        );
        let left = watcher.next().await.unwrap_err();
        assert!(
            matches!(&left, ClientError::AskedAway(to) if *to == uri),
            "{left}"
        );
        assert_eq!(
            left.to_string(),
            "the relay asked to leave, its new address is moqt://127.0.0.1:9"
        );
        let refused = loop {
            match subscriber.fetch(name.clone(), range, UP).await {
                // GOAWAY is on its way.
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&refused, ClientError::AskedAway(to) if *to == uri),
            "{refused}"
        );
        stream.object((2, 1)).await;
        stream.fin();
        assert_eq!(next(&mut fetcher).await, Some((2, 1)));
        assert_eq!(next(&mut fetcher).await, None);
        subscriber.close().await;
        watcher.close().await;
    });
}
