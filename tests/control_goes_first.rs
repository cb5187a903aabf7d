//! What a peer must know to take objects reaches it before objects use up the credit that its connection gives.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::raw::{Raw, Reading, raw};
use common::{relay, run, settings, track};
use laps_actors::transport::TransportConfig;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::object::SubgroupIdMode;

const NEWEST: SubscribeFilter = SubscribeFilter::LargestObject;
const ALIAS: u64 = 70;

/// A peer that holds its connection's credit back until it knows the alias: it takes no byte of any data stream, and all
/// of them together would use the credit up many times.
///
/// D14-DATA-17 D14-PRIO-3
#[test]
fn the_alias_is_known_before_credit_is_used_up() {
    run(async || {
        let relay = relay(settings(1)).await;
        let name = track("first", "video");
        let mut publisher = raw(&relay).await;
        publisher.announce(name.namespace()).await;
        let mut reader = raw(&relay).await;
        let id = reader.subscribe(&name, NEWEST).await;
        publisher.serve(&name, ALIAS).await;
        let alias = reader.answer(id).await.unwrap().alias;
        // Streams that are open, each in the middle of a group, and have more to say whenever somebody joins.
        let mut open = Vec::new();
        for subgroup in 0..8 {
            let mut stream = publisher.open(ALIAS, 0, SubgroupIdMode::Explicit(subgroup)).await;
            stream.object(subgroup, &[1; 10]).await;
            open.push(stream);
        }
        reader.until_objects(alias, 8).await;
        for round in 1..20u64 {
            let transport = TransportConfig {
                connection_window: 4096,
                ..TransportConfig::default()
            };
            let mut peer = Raw::connect(&relay, Reading::Nothing, transport).await;
            let id = peer.subscribe(&name, NEWEST).await;
            for (subgroup, stream) in open.iter_mut().enumerate() {
                let object = round * 8 + u64::try_from(subgroup).unwrap();
                stream.object(object, &Bytes::from(vec![2; 20_000])).await;
            }
            peer.answer(id).await.unwrap();
        }
    });
}
