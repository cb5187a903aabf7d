//! A relay that drains lets nobody new in, and keeps its address to itself until it is gone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::apart::apart;
use common::raw::{Raw, raw, raw_at};
use common::{options, relay, run, settings, target};
use laps::relay::{Relay, RelayError};
use laps_actors::client::{ClientError, Subscriber};
use laps_actors::root::{Outcome, Retire};
use laps_actors::transport::ConnectError;
use laps_protocol::moqt::message::ControlMessage;
use std::time::Duration;

fn retire() -> Retire {
    Retire {
        uri: Bytes::new(),
        grace: Duration::from_secs(3600),
        deadline: Duration::from_secs(2),
    }
}

async fn asked_to_leave(client: &mut Raw) {
    client
        .control(|message| matches!(message, ControlMessage::Goaway(_)).then_some(()))
        .await;
}

/// D14-GOAWAY-3: a connection that comes while the relay drains is refused at once, and the others stay.
#[test]
fn a_newcomer_is_refused_while_the_others_stay() {
    run(|| async {
        let relay = relay(settings(2)).await;
        let mut client = raw(&relay).await;
        assert!(relay.retire(retire()));
        asked_to_leave(&mut client).await;
        for _ in 0..8 {
            let refused = Subscriber::connect(&target(relay.local_addr()), options()).await;
            assert!(
                matches!(refused, Err(ClientError::Connect(ConnectError::Refused { .. }))),
                "{refused:?}"
            );
        }
        client.fence().await;
        drop(client);
        assert!(matches!(relay.ended().await, Outcome::Drained));
    });
}

/// D14-GOAWAY-6: one relay serves an address at a time (decision 0013): another cannot have the port while this one
/// drains, and can as soon as it is gone.
#[test]
fn the_address_is_free_again_when_the_relay_is_gone() {
    run(|| async {
        for shards in [1, 2] {
            let first = apart(settings(shards)).await;
            let mut client = raw_at(first.addr).await;
            first.root.retire(retire()).unwrap();
            asked_to_leave(&mut client).await;
            let mut here = settings(shards);
            here.port = first.addr.port();
            let second = Relay::start(here.clone()).await;
            assert!(matches!(second, Err(RelayError::Bind(_))), "{second:?}");
            drop(client);
            assert!(matches!(first.ended().await, Outcome::Drained));
            let second = apart(here).await;
            raw_at(second.addr).await.fence().await;
            second.root.retire(retire()).unwrap();
            second.ended().await;
        }
    });
}
