//! Datagrams that a publisher of one relay sends reach a subscriber of another, with a Via between them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use common::feeding::Flow;
use common::mesh::{Member, feeder, patient};
use common::raw::{Raw, raw};
use common::{PATIENCE, run, track};
use laps::relay::Settings;
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::peering::node::NodeType;

const COUNT: u64 = 40;

/// A machine that is busy with other tests is slow, and none of them may be too old then.
fn slow(settings: &mut Settings) {
    patient(settings);
    let plane = &mut settings.peering.as_mut().unwrap().setup.plane;
    plane.forward.datagram_ttl = PATIENCE;
    plane.forward.park_for = PATIENCE;
    plane.binding_wait = PATIENCE;
}

/// MOQT-14 §10.3.1 [D14-DATA-12], §10.2.1 [D14-DATA-14]; laps peering, "Datagram Data".
async fn datagrams_arrive(flow: Flow) {
    let ca = PeerCa::generate().unwrap();
    let far = Member::edge(&ca, 3, &[]).but(slow).start().await;
    let via = Member {
        role: NodeType::Via,
        ..Member::edge(&ca, 2, &[&far])
    };
    let via = via.but(slow).start().await;
    let near = Member::edge(&ca, 1, &[&via]).but(slow).start().await;
    let name = track("datagrams", "audio");
    let mut subscriber = raw(&far).await;
    let id = subscriber.subscribe(&name, SubscribeFilter::LargestObject).await;
    let mut publisher = feeder(&near, flow, &name, 9).await;
    let alias = subscriber.answer(id).await.unwrap().alias;
    let mut sent = Vec::new();
    for n in 0..COUNT {
        let (place, payload) = (
            Location::new(n / 10, n % 10),
            format!("datagram {n}").into_bytes(),
        );
        publisher.raw.datagram(publisher.alias, place, &payload);
        sent.push((place, payload));
    }
    let got = subscriber.wait(|log| {
        let got = Raw::datagrams(log, alias);
        (got.len() >= sent.len()).then_some(got)
    });
    let mut got = got.await;
    got.sort();
    assert_eq!(got, sent);
    // MOQT-14 §10.2.1: never moved to a stream.
    assert!(Raw::headers(&subscriber.log, alias).is_empty());
}

#[test]
fn of_an_announced_track() {
    run(|| datagrams_arrive(Flow::Announce));
}

#[test]
fn of_a_published_track() {
    run(|| datagrams_arrive(Flow::Publish));
}
