//! Several relays in one process: the end of one is not the end of the others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::reading::{object, wants};
use common::{publisher, relay, run, settings, subscriber, track};
use laps_actors::client::Flow;
use laps_actors::root::Outcome;
use laps_protocol::moqt::location::Location;
use std::time::Duration;

/// Objects that pass after the end; whatever it does to another relay it does before the last of them.
const AFTER: u64 = 50;

/// One relay ends, at once or once its parts have, and the clients of another one, which do not come back by themselves,
/// go on.
fn ends_alone(deadline: Duration) {
    run(async move || {
        let (ends, stays) = (relay(settings(2)).await, relay(settings(2)).await);
        let name = track("alone", "video");
        let mut publisher = publisher(&stays).await;
        let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
        let mut subscriber = subscriber(&stays).await;
        wants(&mut subscriber, &name).await;
        writer.wanted().await.unwrap();
        assert!(ends.drain(deadline));
        assert!(matches!(ends.ended().await, Outcome::Drained));
        for group in 0..AFTER {
            let payload = Bytes::from(group.to_string());
            let at = Location::new(group, 0);
            writer.object(at, vec![payload.clone()]).await.unwrap();
            assert_eq!(object(&mut subscriber).await, (group, 0, payload.to_vec()));
        }
        assert!(stays.drain(deadline));
        assert!(matches!(stays.ended().await, Outcome::Drained));
    });
}

#[test]
fn at_once() {
    ends_alone(Duration::ZERO);
}

#[test]
fn in_order() {
    ends_alone(Duration::from_secs(2));
}
