//! What holds whatever happens.

use super::*;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Debug)]
enum Step {
    Up(u32),
    Down(u32),
    Routes(Vec<(u64, Vec<u32>)>),
    Targets(u64, Vec<(u64, u8)>),
    Told(u32, u32, Vec<(u64, u8)>),
    Withdrawn(u32, u32),
    Delivered(u32, u32),
    Moved(u32),
    Wait(u64),
    Drain,
}

/// Peers are 1, 2, 3; links 1 to 6 lead to them, the first three and the others; the last is to a laps relay.
const LINKS: u32 = 6;

const fn peer(link: u32) -> NodeId {
    NodeId(((link - 1) % 3 + 1) as u64)
}

fn nodes() -> impl Strategy<Value = Vec<(u64, u8)>> {
    let node = prop_oneof![5 => 1..10_u64, 1 => Just(ME)];
    let priority = prop_oneof![3 => Just(128), 1 => any::<u8>()];
    prop::collection::vec((node, priority), 0..8)
}

fn step() -> impl Strategy<Value = Step> {
    let route = (1..10_u64, prop::collection::vec(1..=LINKS, 0..3));
    let link = || 1..=LINKS;
    prop_oneof![
        2 => link().prop_map(Step::Up),
        1 => link().prop_map(Step::Down),
        2 => prop::collection::vec(route, 0..12).prop_map(Step::Routes),
        3 => (1..4_u64, nodes()).prop_map(|(track, nodes)| Step::Targets(track, nodes)),
        4 => (link(), 1..4_u32, nodes()).prop_map(|(link, id, nodes)| Step::Told(link, id, nodes)),
        2 => (link(), 1..4_u32).prop_map(|(link, id)| Step::Withdrawn(link, id)),
        2 => (link(), 1..9_u32).prop_map(|(link, id)| Step::Delivered(link, id)),
        1 => link().prop_map(Step::Moved),
        1 => (0..3000_u64).prop_map(Step::Wait),
        5 => Just(Step::Drain),
    ]
}

/// What the other ends of the links, and the data plane, make of what is said.
#[derive(Default)]
struct World {
    /// Numbers of links are not given again.
    life: HashMap<u32, u32>,
    up: HashMap<LinkId, NodeId>,
    peers: HashMap<(LinkId, SnsId), NodeSet>,
    /// How urgent what leaves is.
    priorities: HashMap<(LinkId, SnsId), u8>,
    latest: HashMap<LinkId, u32>,
    routes: HashMap<Source, Arc<Route>>,
    versions: HashSet<u64>,
}

impl World {
    fn link(&self, link: u32) -> LinkId {
        LinkId(self.life.get(&link).copied().unwrap_or_default() * 10 + link)
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::Advertise { link, set } => {
                assert!(self.up.contains_key(&link), "told to a dead link");
                assert!(!set.nodes().is_empty());
                let (id, laps) = (set.id.get(), link.0 % 10 == LINKS);
                let nodes = set.nodes().to_vec();
                let known = self.peers.insert((link, set.id), set.clone());
                assert_ne!(known.as_ref(), Some(&set), "told twice");
                if laps {
                    let known = known.as_ref().map(|known| (known.nodes(), known.origin));
                    assert_ne!(known, Some((nodes.as_slice(), set.origin)), "told for nothing");
                }
                if known.is_none() {
                    let latest = self.latest.entry(link).or_default();
                    assert!(id > *latest, "an id was given again");
                    *latest = id;
                }
            }
            Output::Prioritise { link, sns, priority } => {
                assert!(self.up.contains_key(&link), "of a dead link");
                let known = self.priorities.insert((link, sns), priority);
                assert_ne!(known.unwrap_or(128), priority, "said twice");
            }
            Output::Withdraw { link, sns } => {
                assert!(self.peers.remove(&(link, sns)).is_some(), "nothing to withdraw");
                self.priorities.remove(&(link, sns));
                let used =
                    |route: &Arc<Route>| route.egress().iter().any(|to| (to.link, to.sns) == (link, sns));
                assert!(!self.routes.values().any(used), "withdrawn while data goes there");
            }
            Output::Route(change) => {
                assert!(self.versions.insert(change.route.version()));
                for to in change.route.egress() {
                    assert!(self.peers.contains_key(&(to.link, to.sns)), "data before its set");
                }
                let before = self.routes.insert(change.source, Arc::clone(&change.route));
                let links = |route: &Route| route.egress().iter().map(|to| to.link).collect::<BTreeSet<_>>();
                let (was, is) = (
                    before.map(|route| links(&route)).unwrap_or_default(),
                    links(&change.route),
                );
                let joined: BTreeSet<LinkId> = change.joined.iter().map(|joined| joined.link).collect();
                assert_eq!(joined, &is - &was);
                assert_eq!(change.left.into_iter().collect::<BTreeSet<_>>(), &was - &is);
            }
            Output::Ended(source) => assert!(self.routes.remove(&source).is_some()),
            Output::Lost(lost) => assert!(!self.up.contains_key(&lost.link) && !lost.nodes.is_empty()),
            Output::Back { source, nodes } => {
                assert!(!nodes.is_empty() && self.routes.contains_key(&source));
            }
            Output::Refused { .. } => panic!("nothing is beyond a bound here"),
        }
    }

    /// Nothing is open: what follows holds between any two turns.
    fn check(&self, sets: &NodeSets<Table>) {
        let mut told = HashMap::new();
        let (mut stranded, mut sources) = (0, 0);
        for source in sets.sources() {
            let view = sets.view(source).unwrap();
            let set = &sets.sets[&source];
            assert_eq!(self.routes.get(&source), view.route);
            let nowhere = Arc::new(Route::new(0, set.wanted.contains(&NodeId(ME)), []));
            let route = view.route.unwrap_or(&nowhere);
            let waits = view.route.is_none();
            assert!(!waits || set.out.values().any(|out| !out.ready));
            sources += usize::from(!waits);
            // The parts make up the whole, and are apart.
            let assigned = set.out.values().flat_map(OutSet::assigned);
            let here = route.is_local().then_some(NodeId(ME));
            let mut parts: Vec<NodeId> = assigned
                .chain(here)
                .chain(view.stranded.iter().copied())
                .collect();
            parts.sort_unstable();
            assert_eq!(parts, view.wanted, "{source:?}");
            stranded += view.stranded.len();
            let from = match source {
                Source::Ingress(link, _) => Some(self.up[&link]),
                Source::Track(_) => None,
            };
            for (link, id, nodes, leaving) in view.told {
                assert_ne!(Some(self.up[&link]), from, "back to where it came from");
                assert!(
                    nodes.is_sorted_by(|a, b| a < b) && nodes.iter().all(|node| view.wanted.contains(node))
                );
                assert!(told.insert((link, id), nodes.to_vec()).is_none());
                let out = &set.out[&link];
                // MOQT-14 §7.2: it is as urgent as to the most urgent of those it goes to, whoever else wants it.
                let urgent = |node: &NodeId| set.priorities.of(&set.wanted, *node);
                let most = nodes.iter().map(urgent).min();
                let known = self.priorities.get(&(link, id)).copied();
                assert_eq!(Some(known.unwrap_or(128)), most);
                if link.0 % 10 != LINKS {
                    let peer = self.peers[&(link, id)].with_priorities();
                    assert!(peer.eq(nodes.iter().map(|node| (*node, urgent(node)))));
                }
                let listed = route.to(link).is_some();
                // Each link that serves somebody is in the route, as soon as its peer can know.
                assert!(waits || listed || !out.ready || leaving == nodes.len());
                assert!(!listed || out.ready);
                let late = |leaving: &Leaving| leaving.served_until > leaving.known_until;
                assert!(!out.leaving.values().any(late));
            }
        }
        let heard = self.peers.iter().map(|(id, set)| (*id, set.nodes().to_vec()));
        assert_eq!(told, heard.collect());
        assert_eq!(stranded, sets.stranded());
        assert_eq!(self.routes.len(), sources);
        for (link, state) in &sets.links {
            let range = |source: &&Source| matches!(source, Source::Ingress(from, _) if from == link);
            let mine: Vec<&Source> = sets.sets.keys().filter(range).collect();
            let nodes: usize = mine.iter().map(|source| sets.sets[source].wanted.len()).sum();
            assert_eq!((state.in_sets, state.in_nodes), (mine.len(), nodes));
        }
    }
}

fn apply(world: &mut World, relay: &mut Relay, step: Step) {
    let list = |nodes: Vec<(u64, u8)>| nodes.into_iter().map(|(node, priority)| (NodeId(node), priority));
    match step {
        Step::Up(link) => {
            let id = world.link(link);
            world.up.insert(id, peer(link));
            relay.sets.link_up(id, peer(link), link == LINKS);
        }
        Step::Down(link) => {
            let id = world.link(link);
            relay.sets.link_down(id);
            world.up.remove(&id);
            world.peers.retain(|(at, _), _| *at != id);
            world.priorities.retain(|(at, _), _| *at != id);
            *world.life.entry(link).or_default() += 1;
        }
        Step::Routes(routes) => {
            let to = |links: Vec<u32>| links.into_iter().map(|link| world.link(link)).collect();
            let routes = routes.into_iter().map(|(node, links)| (NodeId(node), to(links)));
            relay.sets.set_routes(routes.collect());
        }
        Step::Targets(name, nodes) => relay.sets.set_targets(track(name), list(nodes)),
        Step::Told(link, id, nodes) => {
            let link = world.link(link);
            relay
                .sets
                .advertised(link, &NodeSet::urgent(sns(id), list(nodes)));
        }
        Step::Withdrawn(link, id) => relay.sets.withdrawn(world.link(link), sns(id), relay.now),
        Step::Delivered(link, id) => relay.sets.set_delivered(world.link(link), sns(id)),
        Step::Moved(link) => relay.sets.control_moved(world.link(link), relay.now),
        Step::Wait(ms) => relay.now += Duration::from_millis(ms),
        Step::Drain => {}
    }
}

fn drain(world: &mut World, relay: &mut Relay) {
    for (link, sns) in relay.sets.take_unsaid(relay.now) {
        relay.sets.withdrawn(link, sns, relay.now);
    }
    while let Some(output) = relay.sets.poll_output(relay.now) {
        world.obey(output);
    }
}

/// Where a laps relay has not read its set yet, what comes waits for that: who has another way by then missed nothing.
#[test]
fn who_finds_another_way_before_there_is_a_route_missed_nothing() {
    let set = vec![(5, 128), (7, 128), (8, 128)];
    let turns = [
        vec![
            Step::Up(LINKS),
            Step::Up(4),
            Step::Told(4, 1, set),
            Step::Routes(vec![(5, vec![LINKS])]),
        ],
        vec![Step::Up(5), Step::Routes(vec![(7, vec![LINKS])])],
        vec![Step::Routes(vec![(7, vec![5]), (5, vec![5])])],
    ];
    let mut relay = Relay::new(NodeType::Edge, Limits::default(), &[]);
    let mut world = World::default();
    for turn in turns {
        for step in turn {
            apply(&mut world, &mut relay, step);
        }
        drain(&mut world, &mut relay);
        world.check(&relay.sets);
    }
    assert!(world.routes.is_empty(), "it waits still");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Issue 6: what goes out, what stays here and what cannot be reached make up what was asked for, and nothing goes
    /// back. Peers and data plane hear all of it once, in an order in which no data comes before its set.
    #[test]
    fn the_parts_make_up_the_whole(steps in prop::collection::vec(step(), 0..80)) {
        let mut relay = Relay::new(NodeType::Edge, Limits::default(), &[]);
        let mut world = World::default();
        for step in steps {
            // A link that dies with things to be said is looked at in the same turn.
            let drains = matches!(step, Step::Drain | Step::Down(_));
            apply(&mut world, &mut relay, step);
            if drains {
                drain(&mut world, &mut relay);
                world.check(&relay.sets);
            }
        }
        // As long as it takes to miss a set that was not told again, twice, and to end it.
        for _ in 0..6 {
            relay.now += Duration::from_secs(6);
            drain(&mut world, &mut relay);
        }
        world.check(&relay.sets);
        // In peace nobody is told more than what is so.
        prop_assert_eq!(relay.sets.poll_timeout(), None);
        let leaving = |set: &Set| set.out.values().any(|out| !out.leaving.is_empty());
        prop_assert!(!relay.sets.sets.values().any(leaving));
        for link in 1..=LINKS {
            apply(&mut world, &mut relay, Step::Down(link));
        }
        for name in 1..4 {
            apply(&mut world, &mut relay, Step::Targets(name, vec![]));
        }
        drain(&mut world, &mut relay);
        prop_assert!(world.priorities.is_empty() && world.peers.is_empty() && world.routes.is_empty() && relay.sets.stranded() == 0);
        prop_assert!(relay.sets.due.is_empty() && !relay.sets.is_behind() && relay.sets.moved.is_empty() && relay.sets.crowded.is_empty() && relay.sets.sets.is_empty());
    }
}
