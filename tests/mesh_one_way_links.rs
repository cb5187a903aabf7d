//! Links for data one way: what the relay that dialled them sends goes by all of its links, and what its peer sends by the one
//! that carries everything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::mesh::{self, Member, objects, patient};
use common::{run, track};
use laps::relay::{Relay, Settings};
use laps_actors::client::Flow;
use laps_actors::transport::PeerCa;
use laps_protocol::peering::message::PeerMode;
use std::time::Duration;

/// Links beside the first: each track takes one of the three by its hash, so that of this many none takes one of the two in
/// one run of half a million.
const BESIDE: usize = 2;
const TRACKS: usize = 12;

fn one_way(settings: &mut Settings) {
    patient(settings);
    let setup = &mut settings.peering.as_mut().unwrap().setup;
    setup.data_links_one_way = true;
    for (_, links) in &mut setup.targets {
        *links += u32::try_from(BESIDE).unwrap();
    }
}

/// How many links a relay has for this, and how many streams came and went by them.
fn links(relay: &Relay, mode: PeerMode) -> (usize, [u64; 2]) {
    let links = relay.links().links().into_iter();
    let of_mode = links.filter(|(_, link)| link.mode == mode);
    of_mode.fold((0, [0, 0]), |(count, [came, went]), (_, link)| {
        let [more_came, more_went] = link.stats.traffic().uni_streams();
        (count + 1, [came + more_came, went + more_went])
    })
}

/// Waits until a relay has these links.
async fn stand(relay: &Relay, mode: PeerMode, count: usize) {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..2000 {
        if links(relay, mode).0 == count {
            return;
        }
        pace.tick().await;
    }
    assert_eq!(links(relay, mode).0, count, "{mode}");
}

async fn carries(from: &Relay, to: &Relay, name: &str) {
    mesh::carries(from, to, &track("mesh", name), Flow::Announce, &objects(3, 4)).await;
}

/// laps peering, "(2) Data Peering", and decision 0042.
#[test]
fn objects_go_both_ways_and_links_one() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 2, &[]).but(patient).start().await;
        let near = Member::edge(&ca, 1, &[&far]).but(one_way).start().await;
        for (relay, mode) in [(&near, PeerMode::DataOut), (&far, PeerMode::DataIn)] {
            stand(relay, mode, BESIDE).await;
            stand(relay, PeerMode::Both, 1).await;
        }
        for number in 0..TRACKS {
            carries(&near, &far, &format!("out-{number}")).await;
            carries(&far, &near, &format!("back-{number}")).await;
        }
        let (_, [came, went]) = links(&near, PeerMode::DataOut);
        assert!(came == 0 && went > 0, "{came} {went}");
        let (_, [came, went]) = links(&far, PeerMode::DataIn);
        assert!(came > 0 && went == 0, "{came} {went}");
        let (_, [came, _]) = links(&near, PeerMode::Both);
        assert!(came >= 3 * TRACKS as u64, "{came} of the other way");
        for (relay, mode) in [(&near, PeerMode::DataOut), (&far, PeerMode::DataIn)] {
            assert_eq!(links(relay, mode).0, BESIDE, "none of them broke a rule");
        }
        for relay in [near, far] {
            relay.drain(Duration::from_secs(2));
        }
    });
}
