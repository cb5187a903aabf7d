//! A relay that is told to end asks its clients to leave, waits until they have, and no longer than its grace.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{News, Raw, payload, raw};
use common::{relay, run, settings, track};
use laps_actors::root::{Outcome, Retire};
use laps_protocol::moqt::message::{ControlMessage, SubscribeFilter};
use laps_protocol::moqt::object::SubgroupIdMode;
use std::time::{Duration, Instant};

const URI: &str = "moqt://elsewhere:33435/live";
const GRACE: Duration = Duration::from_millis(1500);
/// Longer than the whole test: nobody is cut off.
const AGES: Duration = Duration::from_secs(3600);

fn retire(grace: Duration) -> Retire {
    Retire {
        uri: Bytes::from_static(URI.as_bytes()),
        grace,
        deadline: Duration::from_secs(2),
    }
}

async fn asked_to_leave(client: &mut Raw) {
    let uri = client
        .control(|message| match message {
            ControlMessage::Goaway(uri) => Some(uri.clone()),
            _ => None,
        })
        .await;
    assert_eq!(uri, URI);
}

fn goaways(client: &Raw) -> usize {
    let goaway = |news: &&News| matches!(news, News::Control(ControlMessage::Goaway(_)));
    client.log.iter().filter(goaway).count()
}

/// D14-GOAWAY-3 D14-TERM-1: who ignores GOAWAY is closed with GOAWAY_TIMEOUT when the grace is over, not before.
#[test]
fn who_stays_is_cut_off_with_goaway_timeout() {
    run(|| async {
        let relay = relay(settings(2)).await;
        let mut clients = [raw(&relay).await, raw(&relay).await, raw(&relay).await];
        let began = Instant::now();
        assert!(relay.retire(retire(GRACE)));
        for client in &mut clients {
            asked_to_leave(client).await;
            // codepoint-free: GOAWAY_TIMEOUT as it goes over the wire, read by a client that is not ours.
            assert_eq!(client.closed().await, 0x10);
            assert!(began.elapsed() >= GRACE);
            // D14-VAL-11
            assert_eq!(goaways(client), 1);
        }
        assert!(matches!(relay.ended().await, Outcome::Drained));
    });
}

/// D14-GOAWAY-1 D14-GOAWAY-3 D14-GOAWAY-4: GOAWAY changes nothing for what runs, and new requests are served; the relay
/// ends as soon as nobody is left.
#[test]
fn everything_goes_on_until_the_last_client_has_left() {
    run(|| async {
        let relay = relay(settings(2)).await;
        let video = track("leaving", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(video.namespace()).await;
        let mut first = raw(&relay).await;
        let id = first.subscribe(&video, SubscribeFilter::LargestObject).await;
        publisher.serve(&video, 7).await;
        let alias = first.answer(id).await.unwrap().alias;
        let mut stream = publisher.open(7, 0, SubgroupIdMode::Zero).await;
        stream.object(0, &payload(0, 0)).await;
        first.until_objects(alias, 1).await;
        let mut second = raw(&relay).await;

        assert!(relay.retire(retire(AGES)));
        for client in [&mut publisher, &mut first, &mut second] {
            asked_to_leave(client).await;
        }
        // The stream that was open, a new one, and a new subscription.
        stream.object(1, &payload(0, 1)).await;
        let (_, late) = second.subscribed(&video, SubscribeFilter::LargestObject).await;
        publisher.group(7, 1, 2).await;
        let places = first.until_objects(alias, 4).await;
        assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        second.until_objects(late.alias, 2).await;
        let before_upstream = |news: &News| match news {
            News::Control(ControlMessage::Goaway(_)) => Some(true),
            News::Control(ControlMessage::Unsubscribe(_)) => Some(false),
            _ => None,
        };

        let left = Instant::now();
        drop((first, second));
        // D14-GOAWAY-4: the relay's own UNSUBSCRIBE comes when all its subscribers were asked to leave and have left.
        publisher
            .control(|message| matches!(message, ControlMessage::Unsubscribe(_)).then_some(()))
            .await;
        assert_eq!(publisher.log.iter().find_map(before_upstream), Some(true));
        drop(publisher);
        assert!(matches!(relay.ended().await, Outcome::Drained));
        assert!(left.elapsed() < Duration::from_secs(30), "long before the grace");
    });
}
