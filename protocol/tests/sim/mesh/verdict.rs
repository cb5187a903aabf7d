//! What has to hold when nothing has changed for a while.

use super::world::{Relay, World};
use bytes::Bytes;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::message::Published;
use laps_protocol::peering::node::{NodeId, NodeType};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How far it is to each relay that can be reached. Nothing leads through a stub.
pub(crate) fn hops(world: &World, from: usize) -> BTreeMap<usize, usize> {
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
    let up = world
        .wires
        .iter()
        .filter(|wire| wire.link.is_some() && wire.ends.contains(&of));
    up.map(|wire| {
        if wire.ends[0] == of {
            wire.ends[1]
        } else {
            wire.ends[0]
        }
    })
    .collect()
}

fn stubs(world: &World, of: usize) -> Vec<usize> {
    let all = neighbours(world, of).into_iter();
    all.filter(|to| world.relays[*to].role == NodeType::Stub)
        .collect()
}

/// Edges that an edge reaches, itself included.
fn edges(world: &World, from: usize) -> Vec<usize> {
    let found = hops(world, from).into_keys();
    found
        .filter(|to| world.relays[*to].role == NodeType::Edge)
        .collect()
}

/// What a relay and its stubs publish, but for one of them.
fn published(world: &World, edge: usize, but: Option<usize>) -> BTreeSet<Published> {
    let all = std::iter::once(edge)
        .chain(stubs(world, edge))
        .filter(|relay| Some(*relay) != but);
    all.flat_map(|relay| world.relays[relay].published.iter().cloned())
        .collect()
}

fn subscribed(world: &World, edge: usize, but: Option<usize>) -> BTreeMap<FullTrackName, Vec<Bytes>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for relay in std::iter::once(edge)
        .chain(stubs(world, edge))
        .filter(|relay| Some(*relay) != but)
    {
        for (track, data) in &world.relays[relay].subscribed {
            all.entry(track.clone()).or_default().push(data.clone());
        }
    }
    all
}

fn serves(published: &BTreeSet<Published>, track: &FullTrackName) -> bool {
    published.iter().any(|what| match what {
        Published::Track(published) => published == track,
        Published::Namespace(namespace) => namespace.is_prefix_of(track.namespace()),
    })
}

/// What local users have to know: nodes, publications, and subscriptions with the data they may have.
struct Expected {
    reachable: BTreeSet<NodeId>,
    publishes: BTreeSet<(NodeId, Published)>,
    subscribes: BTreeMap<(NodeId, FullNameHash), Vec<Bytes>>,
}

fn expected(world: &World, index: usize) -> Expected {
    let relay = &world.relays[index];
    let mut expected = Expected {
        reachable: BTreeSet::new(),
        publishes: BTreeSet::new(),
        subscribes: BTreeMap::new(),
    };
    let near = neighbours(world, index);
    let far = hops(world, index).into_keys().filter(|to| match relay.role {
        NodeType::Stub => near.contains(to),
        NodeType::Via | NodeType::Edge => {
            *to != index && (world.relays[*to].role != NodeType::Stub || near.contains(to))
        }
    });
    expected.reachable = far.map(|to| world.relays[to].id).collect();
    let hash = |track: &FullTrackName| TrackHash::of(track).full;
    match relay.role {
        NodeType::Via => {}
        NodeType::Edge => {
            let here = published(world, index, None);
            for edge in edges(world, index).into_iter().filter(|edge| *edge != index) {
                let id = world.relays[edge].id;
                expected
                    .publishes
                    .extend(published(world, edge, None).into_iter().map(|what| (id, what)));
                let all = subscribed(world, edge, None)
                    .into_iter()
                    .filter(|(track, _)| serves(&here, track));
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
                let all = subscribed
                    .iter()
                    .map(|(track, data)| ((*id, hash(track)), vec![data.clone()]));
                expected.subscribes.extend(all);
            }
        }
        NodeType::Stub => {
            let Some(parent) = near.first() else {
                return expected;
            };
            let id = world.relays[*parent].id;
            for edge in edges(world, *parent) {
                let needed = published(world, edge, Some(index)).into_iter().filter(|what| {
                    let one = BTreeSet::from([what.clone()]);
                    relay.subscribed.keys().any(|track| serves(&one, track))
                });
                expected.publishes.extend(needed.map(|what| (id, what)));
                for (track, data) in subscribed(world, edge, Some(index)) {
                    if serves(&relay.published, &track) {
                        expected
                            .subscribes
                            .entry((id, hash(&track)))
                            .or_default()
                            .extend(data);
                    }
                }
            }
        }
    }
    expected
}

/// Complains about the first thing that is not as it has to be.
pub(crate) fn verdict(world: &World) {
    knowledge(world);
    for index in 0..world.relays.len() {
        forwarding(world, index);
    }
}

/// The same, but for where data goes.
pub(crate) fn knowledge(world: &World) {
    for (index, relay) in world.relays.iter().enumerate() {
        let expected = expected(world, index);
        let view = &relay.view;
        let reachable: BTreeSet<_> = view.reachable.keys().copied().collect();
        assert_eq!(reachable, expected.reachable, "nodes that relay {index} reaches");
        assert_eq!(
            view.publishes, expected.publishes,
            "publications that relay {index} knows"
        );
        let keys: Vec<_> = view.subscribes.keys().collect();
        assert!(
            keys.iter().copied().eq(expected.subscribes.keys()),
            "subscriptions that relay {index} knows: {keys:?}, not {:?}",
            expected.subscribes.keys().collect::<Vec<_>>()
        );
        for (key, data) in &view.subscribes {
            assert!(
                expected.subscribes[key].contains(data),
                "data of {key:?} at relay {index}"
            );
        }
        let sizes = relay.base.sizes();
        if relay.role == NodeType::Via {
            // laps peering, "Via": not burdened by the global state of subscriptions.
            assert_eq!((sizes.publishes, sizes.subscribes, sizes.own), (0, 0, 0));
        }
    }
}

/// What an edge says to another one arrives wherever control links of ours lead there, and both know whether it does.
pub(crate) fn spoken(world: &World) {
    let edge = |relay: &usize| world.relays[*relay].role == NodeType::Edge;
    for from in (0..world.relays.len()).filter(edge) {
        let near = by_control(world, from);
        for to in (0..world.relays.len()).filter(edge).filter(|to| *to != from) {
            let id = world.relays[to].id;
            let known = world.relays[from].view.reachable.get(&id);
            if let Some((_, arrives)) = known {
                assert_eq!(
                    *arrives,
                    near.contains(&to),
                    "what relay {from} says to relay {to}"
                );
            }
            let (mut here, mut way) = (from, vec![from]);
            while near.contains(&to) && here != to {
                let link = world.relays[here].base.control_link(id);
                let wire = world
                    .wires
                    .iter()
                    .find(|wire| wire.link.is_some() && wire.link == link);
                let wire = wire.unwrap_or_else(|| panic!("no way to relay {to} after {way:?}: {link:?}"));
                here = wire.ends[usize::from(wire.ends[0] == here)];
                way.push(here);
                assert!(way.len() <= world.relays.len(), "to relay {to} by {way:?}");
            }
        }
    }
}

fn by_control(world: &World, from: usize) -> BTreeSet<usize> {
    let (mut found, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(at) = next.pop() {
        let wires = world.wires.iter().filter(|wire| {
            wire.link.is_some() && wire.ends.contains(&at) && !wire.laps && wire.mode.has_control()
        });
        for to in wires.flat_map(|wire| wire.ends) {
            if found.insert(to) {
                next.push(to);
            }
        }
    }
    found
}

/// Data takes a shortest way, and arrives.
fn forwarding(world: &World, from: usize) {
    let at = |id| world.relays.iter().position(|relay| relay.id == id).unwrap();
    for (to, distance) in hops(world, from) {
        let target = &world.relays[to];
        let far_stub = target.role == NodeType::Stub && distance > 1;
        if to == from || far_stub || (world.relays[from].role == NodeType::Stub && distance > 1) {
            continue;
        }
        let mut here = from;
        for _ in 0..distance {
            let fib = &world.relays[here].view.fib;
            let next = fib.next_node(target.id);
            let next = next.unwrap_or_else(|| panic!("relay {here} has no way to relay {to}"));
            assert!(!fib.links(target.id).is_empty());
            here = at(next);
        }
        assert_eq!(here, to, "data from relay {from}");
    }
}
