//! What is measured: what the messages of a large mesh do to the information bases of one edge.

use crate::measure::{Measured, computed, resident, timed};
use bytes::Bytes;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::{FullTrackName, TrackNamespace};
use laps_protocol::peering::hash::TrackHash;
use laps_protocol::peering::info_base::{InfoBase, Kin, Limits, LinkId, LinkUp, Output, Settings, Stamp};
use laps_protocol::peering::message::{
    Dialect, Message, PeerMode, PublishInfo, Published, Sequence, SubscribeInfo, encode_subscribe_data,
    laps_subscribe,
};
use laps_protocol::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use std::collections::BTreeMap;
use std::time::Instant;

/// What is measured together.
pub(crate) const PARTS: [fn(usize) -> Measured; 4] = [subscriptions, publications, stubs, plain_map];

/// What takes memory, in this order.
pub(crate) const TAKES: [&str; 3] = ["bytes a subscription", "bytes a node", "bytes a publication"];

/// The phases of [`plain_map`]: n log n by what it is, whatever this machine makes of that.
pub(crate) const PLAIN: [&str; 2] = ["put into a plain map", "take out of it"];

/// Tracks that a stub subscribes to.
const OF_A_STUB: usize = 100;
const NEIGHBOURS: [u64; 2] = [1, 2];

fn node(number: usize) -> NodeId {
    NodeId(1_000_000 + number as u64)
}

fn track(number: usize) -> FullTrackName {
    let fields = [
        "example.org".to_owned(),
        format!("room-{}", number / 10),
        "camera".to_owned(),
    ];
    let namespace = TrackNamespace::new(fields.map(Bytes::from)).expect("a short namespace");
    FullTrackName::new(namespace, Bytes::from(format!("video-{}", number % 10))).expect("a short name")
}

/// The statement `sequence` of one node about one track.
fn subscription(entry: usize, tracks: usize, nodes: usize, sequence: u16) -> SubscribeInfo {
    let number = entry % tracks;
    subscription_of(node((number + entry / tracks * 7) % nodes), number, sequence)
}

fn subscription_of(source: NodeId, number: usize, sequence: u16) -> SubscribeInfo {
    let track = track(number);
    let subscribe = laps_subscribe(track.clone(), 128, None);
    let data = encode_subscribe_data(Dialect::Laps14, RequestId(0), &subscribe).expect("a short message");
    SubscribeInfo {
        sequence: Sequence(sequence),
        source,
        track: TrackHash::of(&track),
        data,
    }
}

fn drain(base: &mut InfoBase) -> usize {
    std::iter::from_fn(|| base.poll_output())
        .map(|output| usize::from(matches!(output, Output::Send { .. })))
        .sum()
}

/// An edge with its two neighbours.
fn edge(now: Instant) -> InfoBase {
    let (settings, limits) = (Settings::default(), Limits::default());
    let mut base = InfoBase::new(NodeId(9), NodeType::Edge, 1, settings, limits, now);
    for low in NEIGHBOURS {
        join(&mut base, now, low, NodeType::Edge);
    }
    base
}

/// A link with the number of the node at its end.
fn join(base: &mut InfoBase, now: Instant, low: u64, kind: NodeType) {
    let up = LinkUp {
        node: NodeInfo::new(NodeId(low), kind, Bytes::new()),
        mode: PeerMode::Both,
        kin: Kin::Ours(1),
        srtt_us: 10_000 * low,
    };
    base.link_up(now, LinkId(u32::try_from(low).unwrap_or(1)), up);
    drain(base);
}

const STAMP: Stamp = Stamp {
    epoch: 1,
    sequence: Sequence(0),
};

/// Publications of all nodes, one for each track.
fn publications(entries: usize) -> Measured {
    let (now, tracks) = (Instant::now(), entries / 10);
    let (mut base, mut measured) = (edge(now), Measured::default());
    let info = |number| PublishInfo::new(node(number % (tracks / 10)), Published::Track(track(number)));
    let before = resident();
    let mut say = |what, make: fn(PublishInfo) -> Message, sequence| {
        let stamp = Stamp {
            sequence: Sequence(sequence),
            ..STAMP
        };
        let time = timed(
            tracks,
            |number| make(info(number)),
            |message| {
                base.handle_message(now, LinkId(1), message, stamp);
                drain(&mut base);
            },
        );
        measured.note(what, time, tracks);
        (base.sizes().publishes, resident())
    };
    let (there, after) = say("publish", Message::PublishInfoAdvertise, 1);
    assert_eq!(there, tracks);
    let (left, _) = say("unpublish", Message::PublishInfoWithdraw, 2);
    assert_eq!(left, 0);
    measured.bytes = vec![after.saturating_sub(before) / tracks];
    measured
}

/// Stubs that subscribe to tracks, others that publish as many, and the end of that.
fn stubs(entries: usize) -> Measured {
    const FIRST: usize = 1000;
    let (now, stubs) = (Instant::now(), (entries / 1000).max(1));
    let (mut base, mut measured) = (edge(now), Measured::default());
    let time = timed(
        stubs,
        |stub| (FIRST + stub) as u64,
        |stub| join(&mut base, now, stub, NodeType::Stub),
    );
    measured.note("a stub joins", time, stubs);
    let count = stubs * OF_A_STUB;
    // One after the other, so that all of them have some at any time.
    let wish = |entry: usize, sequence| {
        let stub = FIRST + entry % stubs;
        let link = LinkId(u32::try_from(stub).unwrap_or(1));
        (link, subscription_of(NodeId(stub as u64), entry, sequence))
    };
    let mut told = 0;
    let time = timed(
        count,
        |entry| wish(entry, 1),
        |(link, info)| {
            base.handle_message(now, link, Message::SubscribeInfoAdvertise(info), STAMP);
            drain(&mut base);
        },
    );
    measured.note("a stub subscribes", time, count);
    let time = timed(
        count,
        |number| PublishInfo::new(node(number % 100), Published::Track(track(number))),
        |info| {
            base.handle_message(now, LinkId(1), Message::PublishInfoAdvertise(info), STAMP);
            told += drain(&mut base);
        },
    );
    measured.note("publish beside stubs", time, count);
    assert_eq!(told, 2 * count, "the other neighbour, and the stub");
    let time = timed(
        count,
        |entry| wish(entry, 2),
        |(link, info)| {
            base.handle_message(now, link, Message::SubscribeInfoWithdraw(info), STAMP);
            drain(&mut base);
        },
    );
    measured.note("a stub unsubscribes", time, count);
    measured
}

/// Nodes and their subscriptions, and the end of both.
fn subscriptions(entries: usize) -> Measured {
    let (nodes, tracks) = (entries / 100, entries / 10);
    let mut measured = Measured::default();
    let mut now = Instant::now();
    let mut base = edge(now);
    let tell = |number: usize| {
        let neighbour = NEIGHBOURS[number % 2];
        let info = NodeInfo::new(
            node(number / 2),
            NodeType::Edge,
            Bytes::from_static(b"relay.example.org"),
        );
        let hop = |id, srtt_us| PathItem {
            node: NodeId(id),
            srtt_us,
        };
        (
            neighbour,
            info.via(hop(500 + neighbour, 3000)).via(hop(neighbour, 4000)),
        )
    };
    let before = resident();
    let time = timed(2 * nodes, tell, |(neighbour, info)| {
        let link = LinkId(u32::try_from(neighbour).unwrap_or(1));
        base.handle_message(now, link, Message::NodeInfoAdvertise(info), STAMP);
        drain(&mut base);
    });
    measured.note("add a node", time, nodes);
    let node_bytes = resident().saturating_sub(before) / nodes;
    let before = resident();
    let mut flooded = 0;
    let time = timed(
        entries,
        |entry| subscription(entry, tracks, nodes, 1),
        |info| {
            base.handle_message(now, LinkId(1), Message::SubscribeInfoAdvertise(info), STAMP);
            flooded += drain(&mut base);
        },
    );
    measured.note("add", time, entries);
    let bytes = resident().saturating_sub(before) / entries;
    assert_eq!(
        (base.sizes().subscribes, base.sizes().nodes, flooded),
        (entries, nodes + 2, entries)
    );
    let time = timed(
        entries / 10,
        |entry| subscription(entry * 10, tracks, nodes, 2),
        |info| {
            base.handle_message(now, LinkId(2), Message::SubscribeInfoWithdraw(info), STAMP);
            drain(&mut base);
        },
    );
    measured.note("withdraw", time, entries / 10);
    let mut once = |base: &mut InfoBase, what, count, step: &mut dyn FnMut(&mut InfoBase)| {
        let begin = computed();
        step(base);
        drain(base);
        measured.note(what, computed().saturating_sub(begin), count);
    };
    once(&mut base, "recompute a node", nodes, &mut |base| {
        base.link_srtt(now, LinkId(1), 90_000)
    });
    once(&mut base, "lose a link, node", nodes, &mut |base| {
        base.link_down(now, LinkId(1))
    });
    let left = base.sizes().subscribes;
    assert_eq!(left, entries - entries / 10, "what takes another way stays");
    once(&mut base, "lose the last, node", nodes, &mut |base| {
        base.link_down(now, LinkId(2))
    });
    now += Settings::default().unreachable_hold;
    // In turns, so that none of them holds up the shard.
    once(&mut base, "purge", left, &mut |base| {
        while base.poll_timeout().is_some_and(|due| due <= now) {
            base.handle_timeout(now);
            drain(base);
        }
    });
    let sizes = base.sizes();
    assert_eq!((sizes.subscribes, sizes.nodes), (0, 0));
    measured.bytes = vec![bytes, node_bytes];
    measured
}

/// The yardstick: a sorted map with as many entries as there are subscriptions, each about as large, that come and go in no
/// order.
fn plain_map(entries: usize) -> Measured {
    // Splitmix: a permutation of the numbers, the same in each run.
    let key = |entry: usize| {
        let mixed = (entry as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    let (mut map, mut measured) = (BTreeMap::new(), Measured::default());
    let time = timed(entries, key, |key| {
        map.insert(key, vec![1_u8; 150].into_boxed_slice());
    });
    measured.note(PLAIN[0], time, entries);
    // A large prime steps through all of them.
    let other = |entry: usize| key(entry * 999_999_937 % entries);
    let time = timed(entries, other, |key| {
        map.remove(&key);
    });
    assert!(map.is_empty());
    measured.note(PLAIN[1], time, entries);
    measured
}
