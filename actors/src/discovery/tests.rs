//! The actor over a back end that says what a test tells it.

use super::testing::{Fake, Script, advert, relay};
use super::*;
use crate::root::StopChild;
use laps_protocol::discovery::{Offer, Sighting};
use laps_protocol::peering::node::NodeId;
use std::num::NonZeroU16;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Takes what discovery offers.
struct Peering(UnboundedSender<Result<PeerFound, PeerLost>>);

impl Actor for Peering {
    type Context = Context<Self>;
}

impl Handler<PeerFound> for Peering {
    type Result = ();

    fn handle(&mut self, msg: PeerFound, _: &mut Self::Context) {
        self.0.send(Ok(msg)).ok();
    }
}

impl Handler<PeerLost> for Peering {
    type Result = ();

    fn handle(&mut self, msg: PeerLost, _: &mut Self::Context) {
        self.0.send(Err(msg)).ok();
    }
}

fn log() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

fn start(
    script: &Script,
) -> (
    actix::Addr<DiscoveryActor>,
    UnboundedReceiver<Result<PeerFound, PeerLost>>,
) {
    let (told, heard) = unbounded_channel();
    let peering = Peering(told).start();
    let fakes: Vec<Box<dyn BackEnd>> = vec![Box::new(Fake::new("fake", script.clone()))];
    let watch = Watch::start(fakes, Some(advert())).unwrap();
    let actor = DiscoveryActor::new(log(), watch, None).telling(Peers {
        found: peering.clone().recipient(),
        lost: peering.recipient(),
    });
    (actor.start(), heard)
}

async fn next(heard: &mut UnboundedReceiver<Result<PeerFound, PeerLost>>) -> Result<PeerFound, PeerLost> {
    let next = tokio::time::timeout(Duration::from_secs(20), heard.recv()).await;
    next.expect("in time").expect("peering is told")
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
    script.say(Heard::Gone("no peer".to_owned()));
    script.say(Heard::Gone("peer".to_owned()));
    let via = Instance::new("peer").unwrap();
    let found = PeerFound {
        via: via.clone(),
        node: Some(NodeId(7)),
        addresses: vec![([10, 0, 0, 2], 33434).into()],
    };
    assert_eq!(next(&mut heard).await, Ok(found));
    assert_eq!(next(&mut heard).await, Err(PeerLost { via }));
    // It ends when the network has heard that we leave.
    let deadline = Duration::from_secs(1);
    actor.send(StopChild { deadline }).await.unwrap();
    while actor.connected() {
        tokio::task::yield_now().await;
    }
    assert!(script.is_closed());
    assert!(heard.recv().await.is_none(), "nobody else was offered");
}
