//! What has to hold when nothing has changed for a while.

use super::world::{Relay, World, data};
use bytes::Bytes;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::info_base::{Command, Digest, NodeMessage, Output};
use laps_protocol::peering::message::{Message, Published};
use laps_protocol::peering::node::{NodeId, NodeType};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A relay that is asked for its infos names what its local users want, whatever was said of it.
pub(super) fn own_infos(world: &mut World, index: usize) {
    if world.relays[index].role != NodeType::Edge {
        return;
    }
    let asker = NodeId(0xffff);
    let pull = NodeMessage::Pull {
        from: asker,
        number: 1,
        have: Digest {
            count: u32::MAX,
            sum: 1,
        },
        fresh: false,
    };
    world.drain(index);
    let Relay {
        id,
        base,
        published,
        subscribed,
        ..
    } = &mut world.relays[index];
    base.handle_node_message(world.now, pull);
    let (mut said_published, mut said_subscribed, mut ended) = (BTreeSet::new(), BTreeMap::new(), false);
    while let Some(output) = base.poll_output() {
        let Output::ToNode { node, message } = output else {
            panic!("{output:?} to who only asks");
        };
        if node != asker {
            // An answer to somebody else that was under way.
            continue;
        }
        assert!(!ended);
        match message {
            NodeMessage::Info { from, message, .. } => {
                assert_eq!(from, *id);
                match message {
                    Message::PublishInfoAdvertise(info) if info.source == *id => {
                        said_published.insert(info.what);
                    }
                    Message::SubscribeInfoAdvertise(info) if info.source == *id => {
                        said_subscribed.insert(info.track.full, info.data);
                    }
                    _ => {}
                }
            }
            NodeMessage::PullEnd { .. } => ended = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(ended, "an answer without an end");
    assert!(
        said_published.is_superset(published),
        "relay {index}: {said_published:?}"
    );
    for track in subscribed.keys() {
        assert!(
            said_subscribed.contains_key(&TrackHash::of(track).full),
            "relay {index}: {track:?}"
        );
    }
}

/// How far it is to each relay that can be reached. Nothing leads through a stub.
fn hops(world: &World, from: usize) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::from([(from, 0)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at != from && world.relays[at].role == NodeType::Stub {
            continue;
        }
        let here = found[&at];
        for to in neighbours(world, at) {
            found.entry(to).or_insert_with(|| {
                next.push_back(to);
                here + 1
            });
        }
    }
    found
}

fn neighbours(world: &World, of: usize) -> Vec<usize> {
    let peers = world.relays[of].links.values();
    peers
        .map(|(peer, _)| usize::try_from(peer.0 - 1).unwrap())
        .collect()
}

fn stubs(world: &World, of: usize) -> Vec<usize> {
    let all = neighbours(world, of).into_iter();
    all.filter(|to| world.relays[*to].role == NodeType::Stub)
        .collect()
}

fn edges(world: &World, from: usize) -> Vec<usize> {
    let found = hops(world, from).into_keys();
    found
        .filter(|to| world.relays[*to].role == NodeType::Edge)
        .collect()
}

/// An edge and its stubs, but for one of them.
fn household(world: &World, edge: usize, but: Option<usize>) -> Vec<usize> {
    let all = std::iter::once(edge).chain(stubs(world, edge));
    all.filter(|relay| Some(*relay) != but).collect()
}

fn all_published(world: &World, edge: usize, but: Option<usize>) -> BTreeSet<Published> {
    let all = household(world, edge, but).into_iter();
    all.flat_map(|relay| world.relays[relay].published.iter().cloned())
        .collect()
}

fn all_subscribed(world: &World, edge: usize, but: Option<usize>) -> BTreeMap<FullTrackName, Vec<Bytes>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for relay in household(world, edge, but) {
        for (track, data) in &world.relays[relay].subscribed {
            all.entry(track.clone()).or_default().push(data.clone());
        }
    }
    all
}

fn serves(what: &Published, track: &FullTrackName) -> bool {
    match what {
        Published::Track(published) => published == track,
        Published::Namespace(namespace) => namespace.is_prefix_of(track.namespace()),
    }
}

/// What a relay has to know of others: publications, and subscriptions with the data they may have.
#[derive(Default)]
struct Expected {
    publishes: BTreeSet<(NodeId, Published)>,
    subscribes: BTreeMap<(NodeId, FullNameHash), Vec<Bytes>>,
}

fn of_edge(world: &World, index: usize) -> Expected {
    let mut expected = Expected::default();
    let here = all_published(world, index, None);
    let hash = |track: &FullTrackName| TrackHash::of(track).full;
    for edge in edges(world, index).into_iter().filter(|edge| *edge != index) {
        let id = world.relays[edge].id;
        let there = all_published(world, edge, None).into_iter();
        expected.publishes.extend(there.map(|what| (id, what)));
        let all = all_subscribed(world, edge, None).into_iter();
        let all = all.filter(|(track, _)| here.iter().any(|what| serves(what, track)));
        expected
            .subscribes
            .extend(all.map(|(track, data)| ((id, hash(&track)), data)));
    }
    for stub in stubs(world, index) {
        let Relay {
            id,
            published,
            subscribed,
            ..
        } = &world.relays[stub];
        expected
            .publishes
            .extend(published.iter().cloned().map(|what| (*id, what)));
        let all = subscribed.iter();
        expected
            .subscribes
            .extend(all.map(|(track, data)| ((*id, hash(track)), vec![data.clone()])));
    }
    expected
}

fn of_stub(world: &World, index: usize) -> Expected {
    let mut expected = Expected::default();
    let relay = &world.relays[index];
    let Some(parent) = neighbours(world, index).first().copied() else {
        return expected;
    };
    let id = world.relays[parent].id;
    for edge in edges(world, parent) {
        for what in all_published(world, edge, Some(index)) {
            let watched = relay
                .watched
                .iter()
                .any(|prefix| prefix.is_prefix_of(what.namespace()));
            if watched || relay.subscribed.keys().any(|track| serves(&what, track)) {
                expected.publishes.insert((id, what));
            }
        }
        for (track, data) in all_subscribed(world, edge, Some(index)) {
            if relay.published.iter().any(|what| serves(what, &track)) {
                let key = (id, TrackHash::of(&track).full);
                expected.subscribes.entry(key).or_default().extend(data);
            }
        }
    }
    expected
}

/// Complains about the first thing that is not as it has to be.
pub(super) fn verdict(world: &World) {
    for (index, relay) in world.relays.iter().enumerate() {
        let near = neighbours(world, index);
        let far = hops(world, index).into_keys().filter(|to| match relay.role {
            NodeType::Stub => near.contains(to),
            NodeType::Via | NodeType::Edge => {
                *to != index && (world.relays[*to].role != NodeType::Stub || near.contains(to))
            }
        });
        let far: BTreeSet<NodeId> = far.map(|to| world.relays[to].id).collect();
        let reachable: BTreeSet<NodeId> = relay.view.reachable.keys().copied().collect();
        assert_eq!(reachable, far, "nodes that relay {index} reaches");
        let expected = match relay.role {
            NodeType::Via => Expected::default(),
            NodeType::Edge => of_edge(world, index),
            NodeType::Stub => of_stub(world, index),
        };
        let publishes: BTreeSet<_> = relay.view.publishes.keys().cloned().collect();
        assert_eq!(
            publishes, expected.publishes,
            "publications that relay {index} knows"
        );
        let keys: Vec<_> = relay.view.subscribes.keys().collect();
        let right: Vec<_> = expected.subscribes.keys().collect();
        assert_eq!(keys, right, "subscriptions that relay {index} knows");
        for (key, data) in &relay.view.subscribes {
            assert!(
                expected.subscribes[key].contains(data),
                "data of {key:?} at relay {index}"
            );
        }
        if relay.role == NodeType::Via {
            // laps peering, "Via": not burdened by the global state of subscriptions.
            let sizes = relay.base.sizes();
            assert_eq!((sizes.publishes, sizes.subscribes, sizes.own), (0, 0, 0));
        }
        forwarding(world, index);
    }
}

/// Data takes a shortest way, and arrives.
fn forwarding(world: &World, from: usize) {
    for (to, distance) in hops(world, from) {
        let target = &world.relays[to];
        let stub = target.role == NodeType::Stub || world.relays[from].role == NodeType::Stub;
        if to == from || (stub && distance > 1) {
            continue;
        }
        let mut here = from;
        for _ in 0..distance {
            let next = world.relays[here].base.fib().next_node(target.id);
            let next = next.unwrap_or_else(|| panic!("relay {here} has no way to relay {to}"));
            here = usize::try_from(next.0 - 1).unwrap();
        }
        assert_eq!(here, to, "data from relay {from}");
    }
}

/// A change crosses each link at most twice. laps peering, "Information Bases".
pub(super) fn twice_at_most(world: &mut World) {
    let track = super::world::track(5);
    let wires = world.wires.iter().filter(|wire| wire.link.is_some()).count() as u64;
    let before = world.infos_sent;
    let command = Command::Subscribe {
        data: data(&track, 9),
        track: track.clone(),
    };
    assert!(!super::refused(world, 0, command));
    world.run(std::time::Duration::from_secs(20));
    let sent = world.infos_sent - before;
    assert!(sent <= 2 * wires, "{sent} messages on {wires} links");
    assert!(!super::refused(world, 0, Command::Unsubscribe(track)));
}
