//! What is past is fetched of two relays, each of which has a part of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::mesh::Member;
use common::raw::raw;
use common::watch::ns;
use common::{run, track};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::message::SubscribeFilter;

const ALIAS: u64 = 70;

/// D14-FETCH-10 D14-FETCH-17 D14-PUB-3: a range of which each of two relays has one half, whichever is asked first.
#[test]
fn each_has_a_half() {
    run(async || {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 3, &[]).start().await;
        let one = Member::edge(&ca, 1, &[&far]).start().await;
        let other = Member::edge(&ca, 2, &[&far]).start().await;
        for (number, halves) in [[0, 2], [2, 0]].into_iter().enumerate() {
            let name = track("halves", &number.to_string());
            let known = format!("known/{number}");
            let mut client = raw(&far).await;
            client.watched(&known).await;
            let mut all = Vec::new();
            for (relay, first, who) in [(&one, halves[0], "one"), (&other, halves[1], "other")] {
                let mut publisher = raw(relay).await;
                publisher.announce(name.namespace()).await;
                let mut reader = raw(relay).await;
                let id = reader.subscribe(&name, SubscribeFilter::LargestObject).await;
                publisher.serve(&name, ALIAS).await;
                let alias = reader.answer(id).await.unwrap().alias;
                for group in first..first + 2 {
                    publisher.whole_group(ALIAS, group, 3).await;
                }
                reader.until_objects(alias, 6).await;
                publisher.announce(&ns(&format!("{known}/{who}"))).await;
                all.push((publisher, reader));
            }
            client.until_told(2).await;
            let fetch = client.fetch_range(&name, (0, 0), (3, 0)).await;
            let (_, places) = client.fetched_places(fetch).await;
            let whole = (0..4).flat_map(|group| (0..3).map(move |object| (group, object)));
            assert_eq!(places, whole.collect::<Vec<_>>());
        }
    });
}
