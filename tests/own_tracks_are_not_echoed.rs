//! `relay.allow_self = false`: a session does not get back what it alone publishes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::raw::raw;
use common::watch::{offers, told, track_in};
use common::{relay, run, settings};
use laps::relay::Settings;
use laps_protocol::moqt::message::{RequestErrorReason, SubscribeFilter};
use std::time::Duration;

const ALIAS: u64 = 70;
const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;

fn without_echo(wait: Option<Duration>) -> Settings {
    let mut settings = settings(1);
    settings.session.allow_self = false;
    settings.session.subscribe_wait = wait;
    settings
}

/// D14-NS-3 D14-SUB-22: the named deviation of decision 0010.
#[test]
fn a_session_does_not_hear_of_its_own() {
    run(async || {
        let relay = relay(without_echo(Some(Duration::ZERO))).await;
        let (mut client, mut other) = (raw(&relay).await, raw(&relay).await);
        for client in [&mut client, &mut other] {
            client.watched("room").await;
        }
        client.announce(&common::watch::ns("room/1")).await;
        let id = client.publish(&track_in("room/2", "a"), ALIAS, true).await;
        client.publish_ok(id).await;
        // The others do.
        other.until_told(1).await;
        other.offered(0).await;
        client.settled().await;
        assert_eq!((told(&client.log).len(), offers(&client.log).len()), (0, 0));
        for name in [track_in("room/1", "b"), track_in("room/2", "a")] {
            let id = client.subscribe(&name, NEWEST).await;
            let error = client.answer(id).await.unwrap_err();
            assert_eq!(error.reason, RequestErrorReason::TrackDoesNotExist);
        }
        // Once somebody else announces it too, it is told, and of the end with that one's.
        other.announce(&common::watch::ns("room/1")).await;
        assert_eq!(client.until_told(1).await, ["+room/1"]);
        other.withdraw("room/1").await;
        assert_eq!(client.until_told(2).await, ["+room/1", "-room/1"]);
    });
}

/// D14-SUB-10 D14-SUB-22: its SUBSCRIBE waits for somebody else.
#[test]
fn a_subscribe_waits_for_another_publisher() {
    run(async || {
        let relay = relay(without_echo(None)).await;
        let (mut client, mut other) = (raw(&relay).await, raw(&relay).await);
        let name = track_in("room", "a");
        client.announce(name.namespace()).await;
        let id = client.subscribe(&name, NEWEST).await;
        client.settled().await;
        let asked = |news: &common::raw::News| {
            matches!(
                news,
                common::raw::News::Control(laps_protocol::moqt::message::ControlMessage::Subscribe(..))
            )
        };
        assert!(!client.log.iter().any(asked), "it is not asked for its own");
        let publish = other.publish(&name, ALIAS, true).await;
        other.publish_ok(publish).await;
        let ok = client.answer(id).await.unwrap();
        other.group(ALIAS, 0, 2).await;
        client.until_objects(ok.alias, 2).await;
    });
}
