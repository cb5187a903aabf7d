//! A Via takes no clients, and tells them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::Member;
use common::{options, run, target};
use laps_actors::client::{ClientError, Publisher, Subscriber};
use laps_actors::transport::PeerCa;
use laps_protocol::peering::node::NodeType;
use std::time::Duration;

/// Issue 6, "Roles": a clear refusal, whichever worker hears the client; not one that promises that trying again helps.
#[test]
fn a_client_of_a_via_is_told_why_it_is_refused() {
    run(async || {
        let ca = PeerCa::generate().unwrap();
        let via = Member {
            role: NodeType::Via,
            shards: 2,
            ..Member::edge(&ca, 1, &[])
        };
        let via = via.start().await;
        assert!(via.peer_addrs()[0].is_some(), "relays may dial it");
        let at = target(via.local_addr());
        for _ in 0..4 {
            let refused = [
                Publisher::connect(&at, options()).await.err().unwrap(),
                Subscriber::connect(&at, options()).await.err().unwrap(),
            ];
            for error in refused {
                let text = error.to_string();
                assert!(
                    text.contains("this relay is a via and takes no clients"),
                    "{text}"
                );
                assert!(matches!(error, ClientError::Broken(_)), "{error:?}");
            }
        }
        via.drain(Duration::from_secs(2));
    });
}
