//! The actor over a back end that says what a test tells it.

use super::testing::{Fake, Script, advert, relay};
use super::*;
use crate::root::StopChild;
use laps_protocol::discovery::{Instance, Offer, Sighting};
use laps_protocol::peering::node::NodeId;
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use tokio::sync::watch;

fn log() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

fn start(script: &Script) -> (actix::Addr<DiscoveryActor>, watch::Receiver<Found>) {
    let fakes: Vec<Box<dyn BackEnd>> = vec![Box::new(Fake::new("fake", script.clone()))];
    let watch = Watch::start(fakes, Some(advert())).unwrap();
    let peers = Introductions::default();
    let heard = peers.listen();
    let actor = DiscoveryActor::new(log(), watch, None).telling(Some(peers));
    (actor.start(), heard)
}

/// Waits until these are found.
async fn are_found(heard: &mut watch::Receiver<Found>, expected: &BTreeMap<Instance, PeerFound>) {
    let found = heard.wait_for(|found| **found == *expected);
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.expect("in time").expect("peering is told");
}

#[actix_rt::test]
async fn relays_that_take_relays_are_offered_to_peering() {
    let script = Script::default();
    let (actor, mut heard) = start(&script);
    let peer = |name: &str| Sighting {
        offer: Ok(Offer {
            id: Some(NodeId(7)),
            peer_port: NonZeroU16::new(33434),
            ..Offer::default()
        }),
        ..relay(name, 2)
    };
    script.say(Heard::Seen(relay("no peer", 1)));
    script.say(Heard::Seen(peer("peer")));
    // Our own record, and one that claims to be us.
    script.say(Heard::Seen(Sighting {
        port: advert().port,
        offer: Ok(advert().offer),
        ..relay("us", 3)
    }));
    script.say(Heard::Seen(peer("us")));
    let found = PeerFound {
        node: Some(NodeId(7)),
        node_type: None,
        addresses: vec![([10, 0, 0, 2], 33434).into()],
    };
    let via = Instance::new("peer").unwrap();
    are_found(&mut heard, &BTreeMap::from([(via, found)])).await;
    script.say(Heard::Gone("no peer".to_owned()));
    script.say(Heard::Gone("peer".to_owned()));
    are_found(&mut heard, &BTreeMap::new()).await;
    // It ends when the network has heard that we leave.
    let deadline = Duration::from_secs(1);
    actor.send(StopChild { deadline }).await.unwrap();
    while actor.connected() {
        tokio::task::yield_now().await;
    }
    assert!(script.is_closed());
    assert!(heard.changed().await.is_err(), "nobody else was offered");
}
