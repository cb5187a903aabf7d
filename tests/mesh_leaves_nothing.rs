//! In a mesh, what a client had asked for leaves with it, on every relay; and what a link had brought leaves with the link.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::mesh::Member;
use common::{publisher, run, subscriber, track};
use laps::relay::{Relay, Settings};
use laps_actors::admin::Listen;
use laps_actors::census::Census;
use laps_actors::client::{Flow, Item, Wanted};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::peering::node::NodeType;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A child may take so long to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Neither the cache nor the mesh remembers for long.
fn forgetful(settings: &mut Settings) {
    settings.track.limits.max_age = Duration::from_secs(1);
    settings.track.linger = Duration::ZERO;
    if let Some(peering) = &mut settings.peering {
        let mesh = &mut peering.setup.settings;
        mesh.unsubscribe_hold = Duration::from_millis(100);
        mesh.unreachable_hold = Duration::from_secs(1);
        mesh.convergence_window = Duration::from_secs(1);
        peering.setup.plane.forward.end_grace = Duration::from_millis(500);
    }
}

async fn census(relay: &Relay) -> Census {
    relay.handle().census(ANSWER).await.unwrap()
}

/// Asks until a relay's tables are as wanted. Each answer is an event of the relay, which has timers of its own.
async fn until(relay: &Relay, what: &str, wanted: impl Fn(&Census) -> bool) {
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let mut asked = 0;
    loop {
        pace.tick().await;
        let census = census(relay).await;
        if wanted(&census) {
            return;
        }
        asked += 1;
        assert!(asked < 800, "{what}: {census}");
    }
}

fn of(census: &Census, table: &str) -> u64 {
    let mut rows = census.rows.iter();
    rows.find(|row| row.table == table)
        .map_or_else(|| panic!("{table} is no table"), |row| row.count)
}

/// The tables that are not empty, but for logs of clients: those are in this process too, and keep theirs until it ends.
fn of_relays(census: &Census) -> Vec<(String, u64)> {
    let occupied = census.occupied().filter(|row| row.table != "process.logs");
    occupied.map(|row| (row.table.clone(), row.count)).collect()
}

async fn page(relay: &Relay) -> String {
    let addr = relay.admin_addr().unwrap();
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    asking.await.unwrap()
}

/// The value of a series whose line begins with this name and has all of these labels.
fn series(page: &str, name: &str, labels: &[&str]) -> f64 {
    let line = page.lines().find(|line| {
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
    });
    let line = line.unwrap_or_else(|| panic!("no {name} with {labels:?} in {page}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// House rule: what was taken is given back. Issue 7, "links and their RTT".
#[test]
fn a_mesh_is_empty_after_all_left_and_again_after_its_links_ended() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let far = Member::edge(&ca, 3, &[]).but(forgetful).start().await;
        let middle = Member {
            role: NodeType::Via,
            ..Member::edge(&ca, 2, &[&far])
        };
        let middle = middle
            .but(|settings| {
                forgetful(settings);
                let addr = ([127, 0, 0, 1], 0).into();
                settings.admin = Some(Listen { addr, required: true });
            })
            .start()
            .await;
        let near = Member::edge(&ca, 1, &[&middle]).but(forgetful).start().await;
        for relay in [&near, &middle, &far] {
            until(relay, "links", |census| of(census, "shard-0.peering_nodes") >= 2).await;
        }
        // The links and their control streams, the nodes, and who waits for news of the registry.
        let idle =
            [census(&near).await, census(&middle).await, census(&far).await].map(|census| of_relays(&census));
        for (table, count) in idle.iter().flatten() {
            let (_, table) = table.split_once('.').unwrap();
            let of_links = ["peering_links", "peering_nodes", "watchers", "watched_prefixes"];
            let streams = ["send_streams", "recv_streams"];
            assert!(
                of_links.contains(&table) && *count <= 2 || streams.contains(&table) && *count == 4,
                "{table} {count}"
            );
        }
        for round in 0..2 {
            let mut publisher = publisher(&near).await;
            let name = track("mesh", &format!("video-{round}"));
            let mut writer = publisher.publish(name.clone(), Flow::Announce).await.unwrap();
            let mut subscriber = subscriber(&far).await;
            let wanted = Wanted {
                track: name,
                filter: SubscribeFilter::LargestObject,
                priority: 128,
                new_group: false,
            };
            subscriber.subscribe(wanted).await.unwrap();
            writer.wanted().await.unwrap();
            let payload = vec![Bytes::from_static(b"an object of a group that goes on")];
            writer.object(Location::new(0, 0), payload).await.unwrap();
            while !matches!(subscriber.next().await.unwrap(), Item::Object(_)) {}
            let (near_now, middle_now, far_now) =
                (census(&near).await, census(&middle).await, census(&far).await);
            for (census, tables) in [
                (
                    &near_now,
                    &[
                        "peering_sets_told",
                        "mesh_subscriptions",
                        "mesh_wishes",
                        "peering_subscribes",
                    ][..],
                ),
                (
                    &middle_now,
                    &["peering_sets_told", "peering_sets_taken", "peering_streams"][..],
                ),
                (
                    &far_now,
                    &[
                        "peering_sets_taken",
                        "peering_bindings",
                        "mesh_node_actors",
                        "mesh_elsewhere",
                        "peering_streams",
                    ][..],
                ),
            ] {
                for table in tables {
                    assert!(of(census, &format!("shard-0.{table}")) > 0, "{table}: {census}");
                }
            }
            // However one leaves.
            if round == 0 {
                subscriber.close().await;
                writer.finish().await.unwrap();
                publisher.close().await;
            } else {
                drop((writer, publisher, subscriber));
            }
            for ((relay, whose), idle) in [(&near, "near"), (&middle, "middle"), (&far, "far")]
                .into_iter()
                .zip(&idle)
            {
                until(relay, whose, |census| {
                    census.silent.is_empty() && of_relays(census) == *idle
                })
                .await;
            }
        }
        let told = page(&middle).await;
        for node in ["node=\"1:1\"", "node=\"1:3\""] {
            let link = [node, "mode=\"both\""];
            let both = |name| {
                ["in", "out"].map(|way| {
                    let way = format!("direction=\"{way}\"");
                    series(&told, name, &[link[0], link[1], &way])
                })
            };
            assert!(series(&told, "laps_link_rtt_seconds", &link) > 0.0);
            assert!(
                both("laps_link_udp_bytes_total")
                    .iter()
                    .all(|bytes| *bytes > 1000.0)
            );
            // Two tracks, a stream for each.
            let streams = both("laps_link_streams_total");
            assert_eq!(streams.iter().sum::<f64>(), 2.0, "{node}: {streams:?}");
            series(&told, "laps_link_lost_packets_total", &link);
        }
        assert_eq!(series(&told, "laps_links", &[]), 2.0);
        let sets = |way: &str| {
            let labels = ["type=\"SUBSCRIBE_NODE_SET_ADV\"", &format!("direction=\"{way}\"")];
            series(&told, "laps_peering_messages_total", &labels)
        };
        assert_eq!((sets("in"), sets("out")), (2.0, 2.0));
        let told_sets = series(&told, "laps_peering_data_total", &["what=\"advertised\""]);
        assert_eq!(told_sets, 2.0);
        assert!(series(&told, "laps_table_entries", &["table=\"peering_nodes\""]) >= 2.0);
        // With its links a relay loses what it knew by them.
        for relay in [near, far] {
            relay.drain(Duration::from_secs(2));
            relay.ended().await;
        }
        until(&middle, "alone", |census| {
            census.silent.is_empty() && of_relays(census).is_empty()
        })
        .await;
        assert!(middle.links().links().is_empty());
        middle.drain(Duration::from_secs(2));
        middle.ended().await;
    });
}
