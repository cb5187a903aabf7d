//! What a peer says that it may not say, or too much of, is refused or bounded and told once, and the mesh goes on: a track
//! over another link is not disturbed. The peer is a laps relay by all that it has said before. Issue 6, "Bad input".

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and cares for one thing among many"
)]

mod common;

use bytes::Bytes;
use common::bystander::Bystander;
use common::laps_peer::{Heard, LapsPeer, bytes_of, heads, listens, objects, set_of, vector};
use common::lines::{Lines, log};
use common::mesh::id;
use common::own_peer::OwnPeer;
use common::reading::{name, object, wants};
use common::{run, subscriber};
use laps::relay::{Relay, Settings};
use laps_actors::transport::PeerCa;
use laps_protocol::moqt::name::TrackNamespace;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::message::{Message, PublishInfo, Published};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// A relay with a bystander, its log, and where laps relays dial it.
async fn tried(change: impl FnOnce(&mut Settings) + 'static) -> (Relay, SocketAddr, Bystander, Lines) {
    let ca = PeerCa::generate().unwrap();
    let (log, lines) = log();
    let change = move |settings: &mut Settings| {
        listens(settings);
        settings.log = log;
        change(settings);
    };
    let (relay, bystander) = Bystander::beside(&ca, change).await;
    let addr = relay.peer_addrs()[1].unwrap();
    (relay, addr, bystander, lines)
}

/// A control message of a type, without a body.
fn of_type(number: u16) -> Bytes {
    let [high, low] = number.to_be_bytes();
    Bytes::copy_from_slice(&[1, high, low, 0, 0, 0, 0])
}

/// laps peering, "QUIC APP Error Codes": how links end, by what was said on them.
#[test]
fn links_end_with_the_code_of_what_was_wrong() {
    run(|| async {
        let (_relay, addr, mut bystander, mut lines) = tried(|_| {}).await;
        let mut ends = async |said: &[Bytes], code: ErrorCode, why: &str| {
            let mut laps = LapsPeer::reach(addr).await;
            for message in said {
                laps.say(message).await;
            }
            assert_eq!(laps.closed().await, code.number(), "{why}");
            lines.line(&[code.name(), why]).await;
            assert_eq!(lines.count(&[why]), 1, "{why}");
            bystander.goes_on().await;
        };
        let connect = vector("W1");
        let first = "NODE_INFO_ADV where CONNECT has to be";
        ends(&[vector("C8")], ErrorCode::ConnectMissing, first).await;
        let none = "a message of type 99 where CONNECT has to be";
        ends(&[of_type(99)], ErrorCode::ConnectMissing, none).await;
        let reserved = [connect.clone(), of_type(3)];
        let object = "a data object on a control stream";
        ends(&reserved, ErrorCode::InvalidMessageType, object).await;
        let mut version = of_type(4).to_vec();
        version[0] = 2;
        let version = [connect.clone(), version.into()];
        ends(&version, ErrorCode::InvalidEncoding, "version 2").await;
        let twice = [connect.clone(), vector("C5")];
        let again = "CONNECT_RESPONSE on a link that stands";
        ends(&twice, ErrorCode::InvalidMessageType, again).await;
        // A mode of data alone has no information bases, and one of control alone no sets.
        let infos = [vector("C4"), vector("W3")];
        ends(&infos, ErrorCode::InvalidMessageType, "on a link for data alone").await;
        let sets = [vector("C3"), vector("W6")];
        let no_data = "on a link that takes no data of this peer";
        ends(&sets, ErrorCode::InvalidMessageType, no_data).await;
        // Half a message, and then nothing more.
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        laps.say(&vector("W3").slice(..20)).await;
        laps.end_control();
        assert_eq!(laps.closed().await, ErrorCode::ConnectMissing.number());
        lines
            .line(&["the control stream ended and no new one came"])
            .await;
        bystander.goes_on().await;
    });
}

/// laps peering, "Protocol Response Codes": who is refused is told so, and then the link is closed.
#[test]
fn who_has_the_id_of_another_is_told_so() {
    run(|| async {
        let (_relay, addr, mut bystander, mut lines) = tried(|_| {}).await;
        let connect = |node: NodeInfo| {
            use laps_protocol::peering::message::{Connect, PeerMode};
            let mode = PeerMode::Both;
            bytes_of(&Message::Connect(Connect { mode, node }))
        };
        let node = |low, contact: &'static str| {
            NodeInfo::new(id(low), NodeType::Edge, Bytes::from_static(contact.as_bytes()))
        };
        let refused = async |node: NodeInfo| {
            let mut laps = LapsPeer::reach(addr).await;
            laps.say(&connect(node)).await;
            laps.said_bytes(&vector("C6")).await;
            assert_eq!(laps.closed().await, ErrorCode::Close.number());
        };
        // Its own id has whoever looks whether it is well: answered the same, and no line for an operator.
        refused(node(1, "")).await;
        // The oldest stays: the bystander's relay is 1:2, and has a link.
        refused(node(2, "elsewhere")).await;
        lines.line(&["link closes", "this node"]).await;
        let _first = LapsPeer::dial(addr, &connect(node(7, "one"))).await;
        refused(node(7, "another")).await;
        bystander.goes_on().await;
    });
}

/// laps peering, "Sending/Receiving Control Messages": the newest stream of the dialler counts, and the old one is reset
/// with SWITCH_NEW_STREAM; all is said again on the new one.
#[test]
fn the_newest_control_stream_counts() {
    run(|| async {
        let (_relay, addr, mut bystander, _) = tried(|_| {}).await;
        let mut laps = LapsPeer::dial(addr, &vector("W1")).await;
        let told = |log: &[Heard], stream| {
            let node = |heard: &Heard| {
                matches!(heard, Heard::Said(on, Message::NodeInfoAdvertise(info), _)
                    if *on == stream && info.id == id(2))
            };
            log.iter().any(node).then_some(())
        };
        laps.wait(|log| told(log, 0)).await;
        laps.another_control(&vector("W1")).await;
        laps.wait(|log| told(log, 1)).await;
        let code = laps.wait(|log| {
            log.iter().find_map(|heard| match heard {
                Heard::Over(0, code) => Some(*code),
                _ => None,
            })
        });
        assert_eq!(code.await, Some(ErrorCode::SwitchNewStream.number()));
        laps.is_content();
        bystander.goes_on().await;
    });
}

/// Streams that do not begin as they have to, and data of another track than its set's, are refused one by one; what else
/// the link carries goes on. Issue 6: "an SNS for a foreign track", "half a header".
#[test]
fn bad_streams_end_alone() {
    run(|| async {
        let (relay, addr, mut bystander, mut lines) = tried(|_| {}).await;
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        laps.say(&vector("W3")).await;
        let video = name(&["moq", "example"], "video");
        let mut subscriber = subscriber(&relay).await;
        wants(&mut subscriber, &video).await;
        laps.said(|message| matches!(message, Message::SubscribeInfoAdvertise(_)).then_some(()))
            .await;
        laps.say(&set_of(2, &[id(1)])).await;
        let _first = laps.open(&[heads(2, 0), objects(&["one"])]).await;
        assert_eq!(object(&mut subscriber).await, (0, 0, b"one".to_vec()));

        let start = ErrorCode::InvalidStartOfStream.number();
        for _ in 0..2 {
            for bytes in [&[20, 2][..], &[19, 0], &[14, 2]] {
                let stream = laps.open(&[Bytes::copy_from_slice(bytes)]).await;
                assert_eq!(std::future::poll_fn(|cx| stream.poll_stopped(cx)).await, start);
            }
            let mut half = laps.open(&[heads(2, 9).slice(..10)]).await;
            half.finish().unwrap();
            // The same set, and another track.
            let mut other = heads(2, 9).to_vec();
            other[13] ^= 1;
            let other = laps.open(&[other.into(), objects(&["not of it"])]).await;
            std::future::poll_fn(|cx| other.poll_stopped(cx)).await;
        }
        for words in [
            "a stream does not begin as it has to",
            "data of another track than that of its SNS id",
        ] {
            lines.line(&[words]).await;
        }
        let _second = laps.open(&[heads(2, 1), objects(&["two"])]).await;
        assert_eq!(object(&mut subscriber).await, (1, 0, b"two".to_vec()));
        assert_eq!(lines.count(&["WARN", "a stream does not begin as it has to"]), 1);
        assert_eq!(lines.count(&["WARN", "data of another track"]), 1);
        bystander.goes_on().await;
    });
}

/// A peer that tells of more nodes, or of more publications, than are taken, and of nodes by way of this relay. Others are
/// told of no more than what is taken.
#[test]
fn what_a_peer_tells_of_is_bounded() {
    const NODES: usize = 300;
    const INFOS: usize = 200;
    run(|| async {
        let bounds = |settings: &mut Settings| {
            let limits = &mut settings.peering.as_mut().unwrap().setup.limits;
            (limits.max_nodes, limits.max_publishes) = (NODES, INFOS);
        };
        let (_relay, addr, mut bystander, mut lines) = tried(bounds).await;
        let mut witness = LapsPeer::dial(addr, &vector("W1")).await;
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        let node = |number: usize, path: &[NodeId]| {
            let far = NodeId(0xf000_0000 + number as u64);
            let item = |&node: &NodeId| PathItem { node, srtt_us: 1 };
            bytes_of(&Message::NodeInfoAdvertise(NodeInfo {
                path: path.iter().map(item).collect(),
                ..NodeInfo::new(far, NodeType::Edge, Bytes::new())
            }))
        };
        let relay_a = common::laps_peer::RELAY_A;
        let publishes = |number: usize| {
            let fields = [Bytes::from(number.to_string())];
            let what = Published::Namespace(TrackNamespace::new(fields).unwrap());
            bytes_of(&Message::PublishInfoAdvertise(PublishInfo::new(relay_a, what)))
        };
        for number in 5000..5005 {
            laps.say(&node(number, &[id(1), relay_a])).await;
        }
        let many: Vec<Bytes> = (0..1000).map(|number| node(number, &[relay_a])).collect();
        laps.say(&many.concat().into()).await;
        bystander.goes_on().await;
        let many: Vec<Bytes> = (0..1000).map(publishes).collect();
        laps.say(&many.concat().into()).await;
        bystander.goes_on().await;
        // What comes first is taken, and told.
        let first = publishes(INFOS / 2);
        witness.said_bytes(&first).await;
        for words in ["by way of this relay", "more nodes", "more publications"] {
            lines.line(&["a peer is not believed", words]).await;
        }
        laps.say(&vector("W8")).await;
        bystander.goes_on().await;
        witness.is_content();
        let (mut nodes, mut infos) = (BTreeSet::new(), BTreeSet::new());
        for heard in &witness.log {
            match heard {
                Heard::Said(_, Message::NodeInfoAdvertise(info), _) => drop(nodes.insert(info.id)),
                Heard::Said(_, Message::PublishInfoAdvertise(info), _) => drop(infos.insert(info.hash)),
                _ => {}
            }
        }
        assert!((1..=NODES).contains(&nodes.len()), "{}", nodes.len());
        let loops = (5000..5005).map(|number| NodeId(0xf000_0000 + number));
        assert!(loops.into_iter().all(|node| !nodes.contains(&node)));
        assert!((INFOS / 2..=INFOS).contains(&infos.len()), "{}", infos.len());
        assert_eq!(lines.count(&["a peer is not believed"]), 3);
    });
}

/// Nodes that the tables of a relay hold.
async fn nodes_known(relay: &Relay) -> u64 {
    let census = relay.handle().census(std::time::Duration::from_secs(5)).await;
    let census = census.unwrap();
    let row = census
        .rows
        .iter()
        .find(|row| row.table == "shard-0.peering_nodes");
    row.unwrap().count
}

/// Issue 6, "a peer that advertises a million nodes": what is kept of them is as much as the bound says, however many more
/// are told and taken off the link; a track over another link goes on meanwhile, and nothing stays when the peer has gone.
#[test]
fn far_more_nodes_than_there_may_be() {
    const MOST: usize = 2_000;
    const TOLD: usize = 20_000;
    run(|| async {
        let bound = |settings: &mut Settings| {
            settings.peering.as_mut().unwrap().setup.limits.max_nodes = MOST;
        };
        let (relay, addr, mut bystander, mut lines) = tried(bound).await;
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        let node = |number: usize| {
            let far = NodeInfo::new(NodeId(0xf000_0000 + number as u64), NodeType::Edge, Bytes::new());
            let item = PathItem {
                node: common::laps_peer::RELAY_A,
                srtt_us: 1,
            };
            bytes_of(&Message::NodeInfoAdvertise(NodeInfo {
                path: vec![item],
                ..far
            }))
        };
        for first in (0..TOLD).step_by(1000) {
            let some: Vec<Bytes> = (first..first + 1000).map(node).collect();
            laps.say(&some.concat().into()).await;
            bystander.goes_on().await;
        }
        let heard = || {
            let mut kinds = relay.links().messages();
            kinds.find(|(kind, _)| *kind == "NODE_INFO_ADV").unwrap().1[0]
        };
        while heard() < TOLD as u64 {
            bystander.goes_on().await;
        }
        assert_eq!(nodes_known(&relay).await, MOST as u64);
        lines
            .line(&["WARN", "a peer is not believed", "more nodes"])
            .await;
        assert_eq!(lines.count(&["a peer is not believed"]), 1);
        drop(laps);
        // The bystander's relay alone.
        while nodes_known(&relay).await > 1 {
            bystander.goes_on().await;
        }
    });
}

/// Issue 6, "a loop, a forged path". Relays of ours put themselves on the path of each node that they tell of, once.
#[test]
fn paths_that_cannot_be_true() {
    run(|| async {
        let ca = PeerCa::generate().unwrap();
        let (log, mut lines) = log();
        let change = |settings: &mut Settings| {
            listens(settings);
            settings.log = log;
        };
        let (relay, mut bystander) = Bystander::beside(&ca, change).await;
        let mut witness = LapsPeer::dial(relay.peer_addrs()[1].unwrap(), &vector("W1")).await;
        let mut liar = OwnPeer::dial(relay.peer_addrs()[0].unwrap(), &ca, 9).await;
        let far = |low: u64, path: &[u64]| {
            let item = |&low: &u64| PathItem {
                node: id(low),
                srtt_us: 1,
            };
            Message::NodeInfoAdvertise(NodeInfo {
                path: path.iter().map(item).collect(),
                ..NodeInfo::new(id(low), NodeType::Edge, Bytes::new())
            })
        };
        for number in 0..5 {
            // By way of the relay that is told, without who tells it, over one node twice, over the node itself.
            for (low, path) in [
                (100 + number, &[1, 9][..]),
                (200 + number, &[8]),
                (300 + number, &[8, 8, 9]),
                (400 + number, &[400 + number, 9]),
            ] {
                liar.say(far(low, path)).await;
            }
            bystander.goes_on().await;
        }
        liar.say(far(500, &[8, 9])).await;
        let told = |message: &Message| match message {
            Message::NodeInfoAdvertise(info) => Some(info.id),
            _ => None,
        };
        witness
            .said(|message| told(message).filter(|node| *node == id(500)))
            .await;
        for words in ["by way of this relay", "a path that cannot be true"] {
            lines.line(&["WARN", "a peer is not believed", words]).await;
        }
        bystander.goes_on().await;
        assert_eq!(lines.count(&["a peer is not believed"]), 2);
        witness.is_content();
        let believed = witness.log.iter().filter_map(|heard| match heard {
            Heard::Said(_, message, _) => told(message),
            _ => None,
        });
        let believed: BTreeSet<_> = believed.collect();
        assert_eq!(believed, [2, 9, 500].map(id).into());
    });
}

/// Messages that mean nothing, as fast as they can be sent, are passed over.
#[test]
fn a_flood_drowns_nobody() {
    run(|| async {
        let (_relay, addr, mut bystander, mut lines) = tried(|_| {}).await;
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        let unknown = of_type(99).repeat(5_000);
        // The same subscription with ever another number is news each time, and goes nowhere but to the laps relay.
        let mut churn = Vec::new();
        for number in 1..=5_000_u16 {
            let mut info = vector("W5").to_vec();
            info[7..9].copy_from_slice(&number.to_be_bytes());
            churn.extend_from_slice(&info);
        }
        laps.say(&unknown.into()).await;
        bystander.goes_on().await;
        laps.say(&churn.into()).await;
        for _ in 0..5 {
            bystander.goes_on().await;
        }
        // It is served all the same.
        laps.say(&vector("W3")).await;
        let mut other = LapsPeer::dial(addr, &vector("W1")).await;
        other.said_bytes(&vector("W3")).await;
        lines.line(&["message of an unknown type", "99"]).await;
        assert_eq!(lines.count(&["INFO", "message of an unknown type"]), 1);
        bystander.goes_on().await;
    });
}

/// laps hashes a namespace without separators, so that `moq/example` and `moqexample` are one to it. The second is refused,
/// and what is published under one name never comes out under the other.
#[test]
fn names_with_one_hash_are_never_mixed() {
    run(|| async {
        let (relay, addr, mut bystander, mut lines) = tried(|_| {}).await;
        let (known, twin) = (name(&["moq", "example"], "video"), name(&["moqexample"], "video"));
        assert_eq!(TrackHash::of(&known), TrackHash::of(&twin));
        let mut laps = LapsPeer::dial(addr, &vector("W11")).await;
        laps.say(&vector("W3")).await;
        let mut reads = subscriber(&relay).await;
        wants(&mut reads, &known).await;
        laps.said(|message| matches!(message, Message::SubscribeInfoAdvertise(_)).then_some(()))
            .await;

        let mut second = LapsPeer::dial(addr, &vector("W1")).await;
        let what = Published::Namespace(twin.namespace().clone());
        let source = common::laps_peer::FAKE_PEER;
        let advert = bytes_of(&Message::PublishInfoAdvertise(PublishInfo::new(source, what)));
        second.say(&advert).await;
        second.say(&advert).await;
        lines
            .line(&["a peer is not believed", "hash of another name"])
            .await;
        // Whoever wants the second name waits for a publisher, and is not given the first.
        let mut twins = subscriber(&relay).await;
        let waits = actix_rt::spawn(async move {
            wants(&mut twins, &twin).await;
            object(&mut twins).await;
        });
        laps.say(&set_of(2, &[id(1)])).await;
        for group in 0..3 {
            let mut stream = laps.open(&[heads(2, group), objects(&["known"])]).await;
            let got = object(&mut reads).await;
            assert_eq!(got, (u64::from(group), 0, b"known".to_vec()));
            stream.finish().unwrap();
        }
        assert!(!waits.is_finished(), "an object of another track");
        waits.abort();
        assert_eq!(lines.count(&["a peer is not believed"]), 1);
        bystander.goes_on().await;
    });
}
