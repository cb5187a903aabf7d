//! Meshes of relays on a simulated network: what each one knows in the end, and how little is said for it.
//!
//! The seed alone decides what happens. A failure names the command that replays it; `LAPS_SEEDS=n` runs more seeds
//! or fewer.

#[cfg(test)]
#[path = "sim/common.rs"]
#[allow(dead_code, reason = "shared with the scenarios of two sessions")]
mod common;
#[cfg(test)]
#[path = "sim/mesh/mod.rs"]
mod mesh;

#[cfg(test)]
mod mesh_tests {
    use crate::common::seeds;
    use crate::mesh::{Wiring, World, knowledge, ms, namespace, spoken, track, verdict};
    use laps_protocol::peering::message::{PeerMode, Published};
    use laps_protocol::peering::node::NodeType::{self, Edge, Stub, Via};
    use laps_protocol::sim::Rng;
    use std::time::Duration;

    /// Everything that is due is told, and nobody waits any more.
    const SETTLED: Duration = Duration::from_secs(100);

    fn full(n: usize) -> Wiring {
        (0..n)
            .flat_map(|a| (a + 1..n).map(move |b| (a, b, 10 + 7 * (a + b) as u64)))
            .collect()
    }

    fn ring(n: usize) -> Wiring {
        (0..n).map(|a| (a, (a + 1) % n, 15)).collect()
    }

    fn chain(n: usize) -> Wiring {
        (1..n).map(|b| (b - 1, b, 20)).collect()
    }

    /// The meshes that the promise names, and what each has relays of.
    fn meshes() -> Vec<(&'static str, Vec<NodeType>, Wiring)> {
        vec![
            ("chain of 3", vec![Edge; 3], chain(3)),
            ("chain through a via", vec![Edge, Via, Edge], chain(3)),
            ("chain through vias", vec![Edge, Via, Via, Via, Edge], chain(5)),
            ("triangle", vec![Edge; 3], ring(3)),
            ("ring of 4", vec![Edge; 4], ring(4)),
            ("ring of 4 with vias", vec![Edge, Via, Edge, Via], ring(4)),
            (
                "ring of vias",
                vec![Via, Via, Via, Via, Edge, Edge],
                [ring(4), vec![(4, 0, 9), (5, 2, 9)]].concat(),
            ),
            ("full mesh of 5", vec![Edge; 5], full(5)),
            (
                "diamond",
                vec![Edge, Via, Via, Edge],
                vec![(0, 1, 10), (0, 2, 30), (1, 3, 10), (2, 3, 30)],
            ),
            (
                "star with stubs",
                vec![Edge, Edge, Stub, Stub, Stub],
                vec![(0, 1, 25), (0, 2, 4), (0, 3, 6), (1, 4, 5)],
            ),
            (
                "one via, 5 edges",
                vec![Via, Edge, Edge, Edge, Edge, Edge],
                (1..6).map(|edge| (0, edge, 12)).collect(),
            ),
        ]
    }

    fn random_mesh(rng: &mut Rng) -> (Vec<NodeType>, Wiring) {
        let below = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).unwrap();
        let n = 3 + below(rng, 6);
        let mut roles: Vec<_> = (0..n).map(|_| if rng.one_in(3) { Via } else { Edge }).collect();
        roles[0] = Edge;
        // A tree, and some wires more.
        let mut wiring: Wiring = (1..n).map(|b| (below(rng, b), b, 1 + rng.below(120))).collect();
        for _ in 0..below(rng, 2 * n) {
            let (a, b) = (below(rng, n), below(rng, n));
            if a != b
                && !wiring
                    .iter()
                    .any(|(c, d, _)| (*c, *d) == (a, b) || (*c, *d) == (b, a))
            {
                wiring.push((a, b, 1 + rng.below(120)));
            }
        }
        for _ in 0..below(rng, 3) {
            let edges: Vec<_> = (0..n).filter(|relay| roles[*relay] == Edge).collect();
            wiring.push((edges[below(rng, edges.len())], roles.len(), 1 + rng.below(9)));
            roles.push(Stub);
        }
        (roles, wiring)
    }

    fn users(world: &World) -> Vec<usize> {
        (0..world.relays.len())
            .filter(|relay| world.relays[*relay].role != Via)
            .collect()
    }

    /// Everybody goes, and the tables are empty but for the nodes.
    fn everybody_leaves(world: &mut World) {
        for relay in users(world) {
            for what in world.relays[relay].published.clone() {
                world.unpublish(relay, &what);
            }
            for track in world.relays[relay].subscribed.clone().into_keys() {
                world.unsubscribe(relay, &track);
            }
        }
        world.run(SETTLED);
        verdict(world);
        for (index, relay) in world.relays.iter().enumerate() {
            let sizes = relay.base.sizes();
            let left = (sizes.publishes, sizes.subscribes, sizes.remembered, sizes.own);
            assert_eq!(left, (0, 0, 0, 0), "relay {index}");
        }
    }

    /// Issue 6, "Shown by" 1: one publisher, a subscriber on every relay, each control message counted.
    #[test]
    fn a_subscription_crosses_each_link_at_most_twice() {
        for (name, roles, wiring) in meshes() {
            let mut world = World::new(1, &roles, &wiring);
            world.run(SETTLED);
            verdict(&world);
            let links = wiring.len() as u64;
            let track = track("live/a", 1);
            let count = |world: &mut World, what: &str, change: &mut dyn FnMut(&mut World)| {
                let before = world.infos_sent;
                change(world);
                world.run(SETTLED);
                verdict(world);
                let sent = world.infos_sent - before;
                assert!(
                    sent <= 2 * links,
                    "{name}: {sent} messages on {links} links for {what}"
                );
                sent
            };
            let sent = count(&mut world, "a publisher", &mut |world| {
                world.publish(users(world)[0], Published::Track(track.clone()));
            });
            assert!(sent > 0);
            for relay in users(&world) {
                count(&mut world, "a subscriber", &mut |world| {
                    world.subscribe(relay, &track, 10)
                });
                count(&mut world, "another priority", &mut |world| {
                    world.subscribe(relay, &track, 20)
                });
                let again = count(&mut world, "the same again", &mut |world| {
                    world.subscribe(relay, &track, 20)
                });
                assert_eq!(again, 0, "{name}");
            }
            // laps peering, "Unsubscribe/Subscribe Misuse": back in time is no ripple.
            let relay = users(&world)[1];
            let away = count(&mut world, "a moment away", &mut |world| {
                for _ in 0..10 {
                    world.unsubscribe(relay, &track);
                    world.run(ms(400));
                    world.subscribe(relay, &track, 20);
                }
            });
            assert_eq!(away, 0, "{name}");
            everybody_leaves(&mut world);
        }
    }

    /// One link after the other is lost and comes back: where another way is, nothing is said of any info.
    #[test]
    fn a_lost_link_beside_another_way_ripples_nothing() {
        for (name, roles, wiring) in meshes() {
            let mut world = World::new(2, &roles, &wiring);
            world.run(SETTLED);
            for relay in users(&world) {
                world.publish(relay, Published::Track(track("of", relay as u64)));
                world.subscribe(relay, &track("of", 0), 1);
            }
            world.run(SETTLED);
            verdict(&world);
            for wire in 0..wiring.len() {
                world.cut(wire);
                let relays = world.relays.len();
                let whole = (0..relays).all(|from| crate::mesh::hops(&world, from).len() == relays);
                let before = world.infos_sent;
                world.run(SETTLED);
                verdict(&world);
                assert!(!whole || world.infos_sent == before, "{name}: wire {wire}");
                world.join(wire);
                world.run(SETTLED);
                verdict(&world);
            }
            everybody_leaves(&mut world);
        }
    }

    /// Whatever happens in whatever order, in the end everybody knows what is so: links that flap, relays that are
    /// killed and start again, partitions that heal, publishers and subscribers that come, go, and change their minds.
    #[test]
    fn any_mesh_settles() {
        seeds(300, |seed| {
            let mut rng = Rng::new(seed ^ 0xabcd);
            let meshes = meshes();
            let (roles, wiring) = match rng.below(2) {
                0 => random_mesh(&mut rng),
                _ => {
                    let index = usize::try_from(rng.below(meshes.len() as u64)).unwrap();
                    (meshes[index].1.clone(), meshes[index].2.clone())
                }
            };
            let mut world = World::new(seed, &roles, &wiring);
            // Half of them have neighbours that take their time.
            world.slow = seed % 2 * 3;
            let users = users(&world);
            for _ in 0..2 {
                for _ in 0..rng.below(120) {
                    happens(&mut world, &mut rng, &users);
                    let pause = if rng.one_in(4) {
                        rng.below(12_000)
                    } else {
                        rng.below(100)
                    };
                    world.run(ms(pause));
                }
                for wire in 0..wiring.len() {
                    if !rng.one_in(6) {
                        world.join(wire);
                    }
                }
                world.run(SETTLED);
                verdict(&world);
            }
            for wire in 0..wiring.len() {
                world.join(wire);
            }
            world.run(SETTLED);
            verdict(&world);
            everybody_leaves(&mut world);
        });
    }

    /// laps peering, "Node Information Advertisement Message": of a link that comes and goes as fast as it can, those who are
    /// further away see little, as the world asserts, and know in the end how it is.
    #[test]
    fn a_flapping_link_is_seen_a_few_times() {
        seeds(100, |seed| {
            let mut rng = Rng::new(seed ^ 0xf1a9);
            let meshes = meshes();
            let (_, roles, wiring) = &meshes[usize::try_from(rng.below(meshes.len() as u64)).unwrap()];
            let mut world = World::new(seed, roles, wiring);
            let users = users(&world);
            for _ in 0..10 {
                somebody_acts(&mut world, &mut rng, &users);
            }
            world.run(SETTLED);
            let wire = usize::try_from(rng.below(wiring.len() as u64)).unwrap();
            for _ in 0..200 {
                world.cut(wire);
                world.join(wire);
                world.run(ms(rng.below(50)));
            }
            world.run(SETTLED);
            verdict(&world);
        });
    }

    /// On some wires stamps are lost and nobody can ask, as where a real laps relay is at the other end. Where one way leads
    /// to each relay all settles, however often such a wire is cut.
    #[test]
    fn relays_behind_laps_relays_settle() {
        let meshes = [
            (vec![Edge; 3], chain(3), vec![0, 1]),
            (vec![Edge; 4], vec![(0, 1, 9), (0, 2, 9), (0, 3, 9)], vec![1]),
            (vec![Edge, Edge, Via, Edge, Edge], chain(5), vec![0, 3]),
            (
                vec![Edge; 6],
                vec![(0, 1, 9), (1, 2, 9), (2, 3, 9), (3, 4, 9), (3, 5, 9)],
                vec![2],
            ),
        ];
        seeds(200, |seed| {
            let mut rng = Rng::new(seed ^ 0x1a95);
            let (roles, wiring, laps) = &meshes[usize::try_from(rng.below(4)).unwrap()];
            let mut world = World::with_laps(seed, roles, wiring, laps);
            world.slow = seed % 2 * 3;
            world.run(SETTLED);
            let users = users(&world);
            for _ in 0..rng.below(120) {
                let wire = laps[usize::try_from(rng.below(laps.len() as u64)).unwrap()];
                match rng.below(8) {
                    0 => world.cut(wire),
                    1 => world.join(wire),
                    _ => somebody_acts(&mut world, &mut rng, &users),
                }
                let pause = if rng.one_in(4) {
                    rng.below(12_000)
                } else {
                    rng.below(100)
                };
                world.run(ms(pause));
            }
            for wire in 0..wiring.len() {
                world.join(wire);
            }
            world.run(SETTLED);
            verdict(&world);
            everybody_leaves(&mut world);
        });
    }

    /// Two relays with a laps relay between them, and a longer way of ours: that is the one that they speak by.
    #[test]
    fn messages_arrive_beside_a_laps_relay() {
        for longer in 1..6 {
            let laps = longer + 2;
            let around: Wiring = (0..=longer).map(|relay| (relay, relay + 1, 5)).collect();
            let across = vec![(0, laps, 5), (laps, longer + 1, 5)];
            let wiring = [around, across].concat();
            let wires = [wiring.len() - 2, wiring.len() - 1];
            let mut world = World::with_laps(1, &vec![Edge; longer + 3], &wiring, &wires);
            world.run(SETTLED);
            knowledge(&world);
            spoken(&world);
        }
    }

    /// An address that leads to several relays: links for data, both ways or one way, end at one that the dialler has no
    /// control link to.
    #[test]
    fn messages_arrive_at_a_neighbour_for_data_alone() {
        for between in 0..4 {
            for mode in [PeerMode::Data, PeerMode::DataOut, PeerMode::DataIn] {
                // The last one is dialled for data by the first, or the first by the last.
                let last = between + 1;
                let mut world = World::new(1, &vec![Edge; last + 2], &chain(last + 2));
                world.add_data(0, last + 1, 3, mode);
                world.publish(last + 1, Published::Namespace(namespace("a")));
                world.subscribe(0, &track("a", 1), 1);
                world.run(SETTLED);
                knowledge(&world);
                spoken(&world);
            }
        }
    }

    /// Links for data alone and laps relays give shorter ways for data; relays of ours speak to each other all the same,
    /// and know what they are to know.
    #[test]
    fn messages_take_a_way_of_their_own() {
        seeds(200, |seed| {
            let mut rng = Rng::new(seed ^ 0xc0de);
            let (mut roles, mut wiring) = random_mesh(&mut rng);
            let stubs = roles.iter().filter(|role| **role == Stub).count();
            roles.truncate(roles.len() - stubs);
            wiring.retain(|(_, to, _)| *to < roles.len());
            let ours = roles.len();
            let below = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).unwrap();
            let edges: Vec<_> = (0..ours).filter(|relay| roles[*relay] == Edge).collect();
            let mut laps = Vec::new();
            if rng.one_in(2) && edges.len() > 1 {
                let at = below(&mut rng, edges.len() - 1);
                for edge in [edges[at], edges[at + 1]] {
                    laps.push(wiring.len());
                    wiring.push((edge, ours, 2));
                }
                roles.push(Edge);
            }
            let mut world = World::with_laps(seed, &roles, &wiring, &laps);
            for _ in 0..rng.below(4) {
                let (a, b) = (below(&mut rng, ours), below(&mut rng, ours));
                if a != b {
                    let mode = [PeerMode::Data, PeerMode::DataOut][below(&mut rng, 2)];
                    world.add_data(a, b, 1 + rng.below(50), mode);
                }
            }
            for relay in &edges {
                world.publish(*relay, Published::Track(track("of", *relay as u64)));
            }
            for _ in 0..2 {
                for _ in 0..rng.below(30) {
                    let wire = below(&mut rng, world.wires.len());
                    match rng.below(4) {
                        0 => world.cut(wire),
                        1 if rng.one_in(3) => world.restart(below(&mut rng, ours)),
                        _ => world.join(wire),
                    }
                    let pause = if rng.one_in(4) {
                        rng.below(12_000)
                    } else {
                        rng.below(100)
                    };
                    world.run(ms(pause));
                }
                world.run(SETTLED);
                spoken(&world);
            }
            for wire in 0..world.wires.len() {
                world.join(wire);
            }
            world.run(SETTLED);
            spoken(&world);
            knowledge(&world);
        });
    }

    /// A ring where every relay speaks as real laps relays do: there it storms (RUN); here each change is told a few times.
    #[test]
    fn a_ring_of_laps_links_does_not_storm() {
        seeds(100, |seed| {
            let mut rng = Rng::new(seed ^ 0x5708);
            let (wiring, relays) = if rng.one_in(2) { (ring(3), 3) } else { (full(4), 4) };
            let laps: Vec<_> = (0..wiring.len()).collect();
            let mut world = World::with_laps(seed, &vec![Edge; relays], &wiring, &laps);
            world.run(SETTLED);
            verdict(&world);
            let users = users(&world);
            let (before, mut changes) = (world.infos_sent, 0);
            for _ in 0..40 {
                let user = users[usize::try_from(rng.below(users.len() as u64)).unwrap()];
                let track = track("a", rng.below(2));
                match rng.below(4) {
                    0 => world.publish(user, Published::Track(track)),
                    1 => world.unpublish(user, &Published::Track(track)),
                    2 => world.subscribe(user, &track, 1),
                    _ => world.unsubscribe(user, &track),
                }
                changes += 1;
                world.run(ms(rng.below(6000)));
            }
            world.run(SETTLED);
            verdict(&world);
            let sent = world.infos_sent - before;
            assert!(
                sent <= changes * 2 * wiring.len() as u64,
                "{sent} messages for {changes} changes"
            );
            everybody_leaves(&mut world);
        });
    }

    /// Issue 6, "Bad input": two relays with one id that say the same of themselves, wherever they are. The oldest stays, the
    /// newcomer's links are ended and not taken again, it is reported, and all know in the end what the oldest one has. Once
    /// that is gone the other one is let in.
    #[test]
    fn of_two_relays_with_one_id_the_oldest_stays() {
        let wirings = [
            (4, chain(4)),
            (5, chain(5)),
            (6, chain(6)),
            // Beside the way from one to the other there are others.
            (5, [chain(5), vec![(1, 3, 30)]].concat()),
            (
                6,
                vec![(0, 1, 9), (1, 2, 9), (1, 3, 20), (2, 4, 9), (3, 4, 9), (4, 5, 5)],
            ),
        ];
        seeds(100, |seed| {
            let mut rng = Rng::new(seed ^ 0x7715);
            let (relays, wiring) = &wirings[usize::try_from(rng.below(wirings.len() as u64)).unwrap()];
            let mut wiring = wiring.clone();
            for wire in &mut wiring {
                wire.2 = 1 + rng.below(90);
            }
            let (elder, younger) = if rng.one_in(2) {
                (0, relays - 1)
            } else {
                (relays - 1, 0)
            };
            let roles: Vec<_> = (0..*relays)
                .map(|relay| {
                    if relay != elder && relay != younger && rng.one_in(3) {
                        Via
                    } else {
                        Edge
                    }
                })
                .collect();
            let mut world = World::new(seed, &roles, &wiring);
            world.has_id_of(younger, elder);
            let (theirs, ours) = (track("a", 1), track("a", 2));
            world.publish(elder, Published::Track(ours.clone()));
            world.publish(younger, Published::Track(theirs.clone()));
            world.run(ms(rng.below(60_000)));
            world.subscribe(elder, &theirs, 1);
            world.run(ms(300_000));
            let id = world.relays[elder].id;
            assert!(
                world.twins.iter().any(|(_, node)| *node == id),
                "{:?}",
                world.twins
            );
            let last = wiring
                .iter()
                .position(|(a, b, _)| *a == younger || *b == younger)
                .unwrap();
            assert!(world.wires[last].link.is_none(), "the newcomer has a link");
            for relay in (0..*relays).filter(|relay| *relay != elder && *relay != younger) {
                let view = &world.relays[relay].view;
                assert!(view.reachable.contains_key(&id), "{relay}");
                let of_it: Vec<_> = view.publishes.iter().filter(|(node, _)| *node == id).collect();
                if roles[relay] == Edge {
                    assert_eq!(of_it, [&(id, Published::Track(ours.clone()))], "{relay}");
                }
            }
            assert!(world.knock(last, younger).is_err());
            let first = wiring
                .iter()
                .position(|(a, b, _)| *a == elder || *b == elder)
                .unwrap();
            world.cut(first);
            world.run(SETTLED);
            assert_eq!(world.knock(last, younger), Ok(()));
            world.run(SETTLED);
            for relay in
                (0..*relays).filter(|relay| *relay != elder && *relay != younger && roles[*relay] == Edge)
            {
                let view = &world.relays[relay].view;
                assert!(
                    view.publishes.contains(&(id, Published::Track(theirs.clone()))),
                    "{relay}"
                );
            }
        });
    }

    /// A laps relay beside a way of ours changes nothing, whichever of the two is faster.
    #[test]
    fn a_laps_relay_beside_strict_ways_changes_nothing() {
        seeds(100, |seed| {
            let mut rng = Rng::new(seed ^ 0x57a1);
            let wiring: Wiring = [chain(4), vec![(0, 3, 20), (1, 3, 20)]].concat();
            let wiring: Wiring = wiring
                .iter()
                .map(|(a, b, _)| (*a, *b, 1 + rng.below(90)))
                .collect();
            // The last wires, and one of them when all of ours are up.
            let mut world = World::with_laps(seed, &[Edge; 4], &wiring, &[3, 4]);
            world.run(SETTLED);
            let users = users(&world);
            for _ in 0..rng.below(60) {
                match rng.below(8) {
                    0 => world.cut(3),
                    1 => world.join(3),
                    _ => somebody_acts(&mut world, &mut rng, &users),
                }
                world.run(ms(rng.below(6000)));
            }
            world.join(3);
            world.run(SETTLED);
            for relay in &world.relays {
                for to in world.relays.iter().filter(|to| to.id != relay.id) {
                    assert!(relay.base.control_link(to.id).is_some(), "over a laps relay");
                }
            }
            for relay in users {
                for what in world.relays[relay].published.clone() {
                    for other in &world.relays {
                        let known = other
                            .view
                            .publishes
                            .contains(&(world.relays[relay].id, what.clone()));
                        assert!(known || other.id == world.relays[relay].id);
                    }
                }
            }
            everybody_leaves_quietly(&mut world);
        });
    }

    fn everybody_leaves_quietly(world: &mut World) {
        for relay in users(world) {
            for what in world.relays[relay].published.clone() {
                world.unpublish(relay, &what);
            }
            for track in world.relays[relay].subscribed.clone().into_keys() {
                world.unsubscribe(relay, &track);
            }
        }
        world.run(SETTLED);
        for (index, relay) in world.relays.iter().enumerate() {
            let sizes = relay.base.sizes();
            let left = (sizes.publishes, sizes.subscribes, sizes.remembered, sizes.own);
            assert_eq!(left, (0, 0, 0, 0), "relay {index}");
        }
    }

    fn happens(world: &mut World, rng: &mut Rng, users: &[usize]) {
        let wire = usize::try_from(rng.below(world.wires.len() as u64)).unwrap();
        match rng.below(12) {
            0 => world.cut(wire),
            1 => world.join(wire),
            2 if rng.one_in(3) => {
                world.restart(usize::try_from(rng.below(world.relays.len() as u64)).unwrap())
            }
            2 => world.measure(wire, rng.below(200_000)),
            _ => somebody_acts(world, rng, users),
        }
    }

    fn somebody_acts(world: &mut World, rng: &mut Rng, users: &[usize]) {
        let user = users[usize::try_from(rng.below(users.len() as u64)).unwrap()];
        let track = track(
            ["a", "a/b", "c"][usize::try_from(rng.below(3)).unwrap()],
            rng.below(4),
        );
        match rng.below(9) {
            0 | 1 => world.publish(user, Published::Track(track)),
            2 => world.unpublish(user, &Published::Track(track)),
            3 => world.publish(user, Published::Namespace(track.namespace().clone())),
            4 => world.unpublish(user, &Published::Namespace(namespace("a"))),
            5 | 6 => world.subscribe(user, &track, u8::try_from(rng.below(3)).unwrap()),
            _ => world.unsubscribe(user, &track),
        }
    }
}
