//! What happens in a run: the mesh, the tracks, and who comes, goes and dies when. All times in milliseconds.

use laps_protocol::peering::node::NodeType;
use laps_protocol::sim::Rng;
use std::collections::BTreeMap;

/// The mesh. The first relay is the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Chain(usize),
    Ring(usize),
    /// Origin, two ways, an edge.
    Diamond,
    /// Origin, a Via, edges.
    Star {
        edges: usize,
    },
    /// Origin, two Vias that each reach all edges; the last of several only by the second.
    TwoVias {
        edges: usize,
    },
    Mesh(usize),
    /// Two links side by side from the origin to a Via, and one from there to each of two edges.
    Parallel,
    /// Origin, Via, edge, and two stubs behind the edge.
    Stubs,
}

/// Something that happens to the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A relay's subscribers of a track become so many.
    Subscribers { relay: usize, track: usize, count: u32 },
    /// A link dies.
    Death(usize),
    /// A relay is not to be passed through any more, or is again.
    Drain { relay: usize, drained: bool },
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: Vec<NodeType>,
    /// Which relays a link joins.
    pub(crate) links: Vec<(usize, usize)>,
    /// The one that behaves as a laps relay.
    pub(crate) laps: Option<usize>,
    pub(crate) tracks: usize,
    /// The most that a message or a piece of a stream takes.
    pub(crate) delay: u64,
    pub(crate) changes: BTreeMap<u64, Vec<Change>>,
    /// When the last stream begins.
    pub(crate) until: u64,
    /// Some streams are reset by the publisher.
    pub(crate) resets: bool,
}

impl Plan {
    /// Tracks that all edges want from the begin to the end, and nothing that changes.
    pub(crate) fn quiet(seed: u64, shape: Shape, subscribers: u32) -> Self {
        let mut plan = Self::empty(seed, shape);
        let wants = plan.subscribers();
        let all = wants.into_iter().flat_map(|relay| [(relay, 0), (relay, 1)]);
        let all = all.map(|(relay, track)| Change::Subscribers {
            relay,
            track,
            count: subscribers,
        });
        plan.changes.insert(0, all.collect());
        plan
    }

    /// What a seed says.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let shape = match rng.below(8) {
            0 => Shape::Chain(3 + small(&mut rng, 3)),
            1 => Shape::Ring(4 + small(&mut rng, 2)),
            2 => Shape::Diamond,
            3 => Shape::Star {
                edges: 1 + small(&mut rng, 5),
            },
            4 | 5 => Shape::TwoVias {
                edges: 1 + small(&mut rng, 4),
            },
            6 => Shape::Mesh(3 + small(&mut rng, 3)),
            _ => Shape::Parallel,
        };
        let mut plan = Self::empty(seed, shape);
        plan.resets = true;
        plan.delay = [2, 20, 150][small(&mut rng, 3)];
        if rng.one_in(3) {
            plan.laps = Some(plan.nodes.len() - 1);
        }
        for relay in plan.subscribers() {
            for track in 0..plan.tracks {
                let early = rng.one_in(2);
                let at = if early { 0 } else { rng.below(plan.until / 2) };
                plan.subscribe(at, relay, track, 1);
                if rng.one_in(4) {
                    plan.subscribe(at + 1 + rng.below(plan.until / 2), relay, track, 0);
                }
            }
        }
        let planned = matches!(shape, Shape::Diamond | Shape::TwoVias { .. });
        match rng.below(3) {
            // One way is drained, and perhaps comes back.
            0 if planned => {
                // Nobody is reached by it alone.
                let relay = match shape {
                    Shape::Diamond => 1 + small(&mut rng, 2),
                    _ => 1,
                };
                let at = 500 + rng.below(1500);
                plan.at(at, Change::Drain { relay, drained: true });
                if rng.one_in(2) {
                    let back = at + rng.below(3000);
                    plan.at(
                        back,
                        Change::Drain {
                            relay,
                            drained: false,
                        },
                    );
                }
            }
            1 => {
                for _ in 0..=rng.below(2) {
                    let link = small(&mut rng, plan.links.len());
                    let at = 500 + rng.below(2500);
                    plan.at(at, Change::Death(link));
                }
            }
            _ => {}
        }
        plan
    }

    /// Relays that may have subscribers: all but the origin and Vias.
    fn subscribers(&self) -> Vec<usize> {
        let others = self.nodes.iter().enumerate().skip(1);
        let others = others.filter(|(_, kind)| **kind != NodeType::Via);
        others.map(|(relay, _)| relay).collect()
    }

    fn subscribe(&mut self, at: u64, relay: usize, track: usize, count: u32) {
        self.at(at, Change::Subscribers { relay, track, count });
    }

    fn at(&mut self, at: u64, change: Change) {
        self.changes.entry(at).or_default().push(change);
    }

    fn empty(seed: u64, shape: Shape) -> Self {
        use NodeType::{Edge, Stub, Via};
        let (nodes, pairs): (Vec<NodeType>, Vec<(usize, usize)>) = match shape {
            Shape::Chain(n) => (vec![Edge; n], (1..n).map(|at| (at - 1, at)).collect()),
            Shape::Ring(n) => (vec![Edge; n], (0..n).map(|at| (at, (at + 1) % n)).collect()),
            Shape::Diamond => (vec![Edge, Via, Via, Edge], vec![(0, 1), (0, 2), (1, 3), (2, 3)]),
            Shape::Star { edges } => {
                let nodes = [vec![Edge, Via], vec![Edge; edges]].concat();
                let to_edges = (0..edges).map(|edge| (1, 2 + edge));
                (nodes, [(0, 1)].into_iter().chain(to_edges).collect())
            }
            Shape::TwoVias { edges } => {
                let nodes = [vec![Edge, Via, Via], vec![Edge; edges]].concat();
                let to_edges = (0..edges).flat_map(|edge| [(1, 3 + edge), (2, 3 + edge)]);
                let to_edges = to_edges.filter(|link| edges == 1 || *link != (1, 2 + edges));
                (nodes, [(0, 1), (0, 2)].into_iter().chain(to_edges).collect())
            }
            Shape::Mesh(n) => {
                let pairs = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b)));
                (vec![Edge; n], pairs.collect())
            }
            Shape::Parallel => (vec![Edge, Via, Edge, Edge], vec![(0, 1), (0, 1), (1, 2), (1, 3)]),
            Shape::Stubs => (
                vec![Edge, Via, Edge, Stub, Stub],
                vec![(0, 1), (1, 2), (2, 3), (2, 4)],
            ),
        };
        Self {
            seed,
            nodes,
            links: pairs,
            laps: None,
            tracks: 2,
            delay: 20,
            changes: BTreeMap::new(),
            until: 4000,
            resets: false,
        }
    }
}

fn small(rng: &mut Rng, below: usize) -> usize {
    usize::try_from(rng.below(below as u64)).unwrap()
}
