//! Data from link to link: node sets that peers tell and change, routes and links that come and go, and streams and
//! datagrams of any bytes in any pieces. What each target gets is compared with what came in.

mod steps;
mod stream;

use crate::feed::Feed;
use bytes::Bytes;
use laps_protocol::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use laps_protocol::peering::forward::ingress::{Output as Out, StopCause};
use laps_protocol::peering::forward::node_sets::Output as SetOutput;
use laps_protocol::peering::forward::pipeline::Step;
use laps_protocol::peering::forward::{InStream, Ingress, Limits, LinkId, NodeSets, Route, Source, Target};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{NodeSet, SnsId};
use laps_protocol::peering::node::{NodeId, NodeType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const ME: NodeId = NodeId(9);
/// Places of links: three peers with two links each, of which the last leads to a laps relay.
const PLACES: usize = 6;

type Table = BTreeMap<NodeId, Vec<LinkId>>;

/// What a target got of a stream.
#[derive(Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    taken: usize,
    fin: bool,
    /// Reset, refused, or its link is gone.
    over: bool,
}

/// What came in as one stream, and what went out of it.
#[derive(Debug, Default)]
struct Stream {
    reader: StreamHeaderReader,
    header: Option<StreamHeader>,
    payload: Vec<u8>,
    longest: usize,
    fin: bool,
    reset: bool,
    stopped: bool,
    /// Where it goes: the route of its begin.
    route: Option<Arc<Route>>,
    got: BTreeMap<Target, Got>,
}

/// One link that is up, and what comes in on it.
#[derive(Debug)]
struct Link {
    peer: NodeId,
    /// A laps relay is at the other end, which hears of no priorities.
    laps: bool,
    ingress: Ingress,
    routes: BTreeMap<SnsId, Arc<Route>>,
    streams: BTreeMap<InStream, Stream>,
    next: u64,
    datagrams: Vec<(DatagramHeader, Bytes, BTreeSet<Target>)>,
    /// The most that a datagram towards it may have.
    room: usize,
    /// What the peer was told.
    told: BTreeMap<SnsId, NodeSet>,
    /// How urgent what leaves is.
    priorities: BTreeMap<SnsId, u8>,
    /// From whose publishers the data of each set that it told comes, as it said last.
    origins: BTreeMap<SnsId, Option<NodeId>>,
    last_id: u32,
}

struct World {
    now: Instant,
    limits: Limits,
    sets: NodeSets<Table>,
    links: BTreeMap<LinkId, Link>,
    places: [Option<LinkId>; PLACES],
    next_link: u32,
    tracks: BTreeMap<FullNameHash, Arc<Route>>,
    versions: BTreeSet<u64>,
}

fn limits(small: bool) -> Limits {
    let mut limits = Limits::default();
    if small {
        limits.max_sets_per_link = 2;
        limits.max_set_nodes = 4;
        limits.max_nodes_per_link = 6;
        limits.max_sets_per_track = 1;
    }
    limits.max_streams = 6;
    limits.max_parked_bytes = 600;
    limits.max_parked_items = 4;
    limits.max_waiting_bytes = 160;
    limits.pause_at_bytes = 60;
    limits.datagram_bytes = 60;
    limits
}

fn sns(feed: &mut Feed<'_>) -> SnsId {
    SnsId::new(1 + u32::from(feed.u8() % 3)).unwrap()
}

fn name(feed: &mut Feed<'_>) -> FullNameHash {
    FullNameHash::new(1 + u64::from(feed.u8() % 3)).unwrap()
}

/// The same, each as urgent as it happens to be.
fn urgent_nodes(feed: &mut Feed<'_>) -> Vec<(NodeId, u8)> {
    let nodes = nodes(feed);
    let priorities = if feed.flag() { feed.u8() } else { 128 };
    let at = |(at, node): (usize, NodeId)| (node, priorities.wrapping_add(if at == 1 { 3 } else { 0 }));
    nodes.into_iter().enumerate().map(at).collect()
}

fn nodes(feed: &mut Feed<'_>) -> Vec<NodeId> {
    let bits = feed.u8();
    let all = (0..8)
        .filter(|bit| bits & 1 << bit != 0)
        .map(|bit| NodeId(bit + 1));
    all.chain(feed.flag().then_some(ME)).collect()
}

const fn peer(place: usize) -> NodeId {
    NodeId(place as u64 % 3 + 1)
}

impl World {
    fn up(&mut self, place: usize) {
        if self.places[place].is_some() {
            return;
        }
        self.next_link += 1;
        let id = LinkId(self.next_link);
        self.places[place] = Some(id);
        let mut ingress = Ingress::new(self.limits.clone());
        for (other, link) in &self.links {
            ingress.set_datagram_bytes(*other, link.room);
        }
        let link = Link {
            peer: peer(place),
            laps: place == PLACES - 1,
            ingress,
            routes: BTreeMap::new(),
            streams: BTreeMap::new(),
            next: 0,
            datagrams: Vec::new(),
            room: self.limits.datagram_bytes,
            told: BTreeMap::new(),
            priorities: BTreeMap::new(),
            origins: BTreeMap::new(),
            last_id: 0,
        };
        self.links.insert(id, link);
        self.sets.link_up(id, peer(place), place == PLACES - 1);
    }

    fn down(&mut self, place: usize) {
        let Some(id) = self.places[place].take() else {
            return;
        };
        let (now, mut gone) = (self.now, self.links.remove(&id).unwrap());
        gone.ingress.closed();
        gone.routes.clear();
        for stream in gone.streams.values_mut() {
            stream.reset = true;
        }
        // Those who are left are told: there is no other end to take anything on the link that is gone.
        gone.drain(now, id, &self.links);
        for stream in gone.streams.values() {
            assert!(stream.got.values().all(|got| got.fin || got.over), "{stream:?}");
        }
        // What came in whole goes on to those who have not taken it yet.
        let whole = gone.streams.values().filter(|stream| stream.fin).count();
        let left = gone.ingress.streams();
        assert!(left <= whole && (left > 0 || gone.ingress.poll_timeout().is_none()));
        assert_eq!((gone.ingress.parked().len(), gone.ingress.routes()), (0, 0));
        for link in self.links.values_mut() {
            link.ingress.link_down(id);
            for stream in link.streams.values_mut() {
                stream.got.entry(Target::Link(id)).or_default().over = true;
            }
        }
        self.drain();
        self.sets.link_down(id);
        self.settle();
    }

    /// All that the links have to say.
    fn drain(&mut self) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            if let Some(mut link) = self.links.remove(&id) {
                link.drain(self.now, id, &self.links);
                self.links.insert(id, link);
            }
        }
    }

    /// All that the sets have to say, and what has to hold then.
    fn settle(&mut self) {
        while let Some(output) = self.sets.poll_output(self.now) {
            self.obey(output);
        }
        self.drain();
        self.parts_make_up_the_whole();
    }

    fn obey(&mut self, output: SetOutput) {
        match output {
            SetOutput::Advertise { link, set } => {
                let link = self.links.get_mut(&link).expect("told to a link that is down");
                assert!(!set.nodes().is_empty() && set.nodes().len() <= self.limits.max_set_nodes);
                let id = set.id;
                if !link.told.contains_key(&id) {
                    assert!(id.get() > link.last_id, "an id was given again");
                    link.last_id = id.get();
                }
                let known = link.told.insert(id, set);
                assert_ne!(known.as_ref(), link.told.get(&id), "told twice");
                assert!(link.told.len() <= self.limits.max_sets_per_link);
            }
            SetOutput::Prioritise { link, sns, priority } => {
                let link = self.links.get_mut(&link).expect("of a link that is down");
                let known = link.priorities.insert(sns, priority);
                assert_ne!(known.unwrap_or(128), priority, "said twice");
            }
            SetOutput::Withdraw { link, sns } => {
                let link_is = self.links.get_mut(&link).expect("told to a link that is down");
                assert!(link_is.told.remove(&sns).is_some(), "nothing to withdraw");
                link_is.priorities.remove(&sns);
                let all = self.links.values().flat_map(|link| link.routes.values());
                let goes_there = |route: &Arc<Route>| route.to(link).is_some_and(|to| to.sns == sns);
                assert!(
                    !all.chain(self.tracks.values()).any(goes_there),
                    "data still goes there"
                );
            }
            SetOutput::Route(change) => {
                let route = change.route;
                assert!(self.versions.insert(route.version()));
                for to in route.egress() {
                    assert!(
                        self.links[&to.link].told.contains_key(&to.sns),
                        "data before its set"
                    );
                }
                for link in change.left {
                    assert!(route.to(link).is_none());
                }
                assert!(change.joined.iter().all(|joined| route.to(joined.link).is_some()));
                match change.source {
                    Source::Track(track) => drop(self.tracks.insert(track, route)),
                    Source::Ingress(from, sns) => {
                        let link = self.links.get_mut(&from).expect("a route for what does not come");
                        link.route(sns, route);
                        self.drain();
                    }
                }
            }
            SetOutput::Ended(Source::Track(track)) => assert!(self.tracks.remove(&track).is_some()),
            SetOutput::Ended(Source::Ingress(from, sns)) => {
                if let Some(link) = self.links.get_mut(&from) {
                    assert!(link.routes.remove(&sns).is_some());
                    link.ingress.remove_route(sns);
                }
            }
            SetOutput::Lost(lost) => {
                assert!(!self.links.contains_key(&lost.link) && !lost.nodes.is_empty());
            }
            // Said ahead of the route that leads there.
            SetOutput::Back { nodes, .. } => assert!(!nodes.is_empty() && nodes.is_sorted_by(|a, b| a < b)),
            SetOutput::Refused { .. } => assert!(self.limits.max_set_nodes == 4),
            other => panic!("{other:?}"),
        }
    }

    /// Each node of a set is reached by one link, or is here, or cannot be reached; and nothing goes back.
    fn parts_make_up_the_whole(&self) {
        let mut stranded = 0;
        for source in self.sets.sources() {
            let view = self.sets.view(source).unwrap();
            // The first route of what comes in waits until laps relays have read their sets.
            let Some(route) = view.route else {
                assert!(matches!(source, Source::Ingress(..)) && self.sets.poll_timeout().is_some());
                assert!(
                    view.told
                        .iter()
                        .any(|(link, ..)| self.places.last() == Some(&Some(*link)))
                );
                stranded += view.stranded.len();
                continue;
            };
            let from = match source {
                Source::Ingress(link, sns) => {
                    assert_eq!(self.links[&link].routes.get(&sns), Some(route));
                    // Decision 0029: whoever is in between copies what was said, or names the laps relay that said nothing.
                    assert_eq!(self.links[&link].origins.get(&sns), Some(&view.origin));
                    Some(self.links[&link].peer)
                }
                Source::Track(track) => {
                    assert_eq!(self.tracks.get(&track), Some(route));
                    assert_eq!(view.origin, Some(ME));
                    None
                }
            };
            let here = usize::from(view.wanted.contains(&ME) && route.is_local());
            assert_eq!(here == 1, route.is_local());
            let mut count = here + view.stranded.len();
            let mut reached: BTreeSet<NodeId> = view.stranded.iter().copied().collect();
            reached.extend(route.is_local().then_some(ME));
            for (link, id, nodes, leaving) in &view.told {
                let link = &self.links[link];
                assert_ne!(Some(link.peer), from, "back to where it came from");
                let told = &link.told[id];
                assert_eq!((told.nodes(), told.origin), (*nodes, view.origin));
                let most = link.priorities.get(id).copied().unwrap_or(128);
                assert!(link.laps || told.most_urgent() == most);
                count += nodes.len() - leaving;
                reached.extend(*nodes);
            }
            assert_eq!(count, view.wanted.len(), "{view:?}");
            assert!(reached.iter().eq(view.wanted), "{view:?}");
            assert!(
                route
                    .egress()
                    .iter()
                    .all(|to| Some(self.links[&to.link].peer) != from)
            );
            stranded += view.stranded.len();
        }
        assert_eq!(stranded, self.sets.stranded());
        let told: usize = self
            .sets
            .sources()
            .map(|source| self.sets.view(source).unwrap().told.len())
            .sum();
        assert_eq!(
            told,
            self.links.values().map(|link| link.told.len()).sum::<usize>()
        );
    }
}

impl Link {
    /// The data of an id takes another route: what waited for it begins.
    fn route(&mut self, sns: SnsId, route: Arc<Route>) {
        self.ingress.set_route(sns, Arc::clone(&route));
        for stream in self.streams.values_mut() {
            if stream.header.is_some_and(|header| header.sns == sns) && stream.route.is_none() {
                stream.route = Some(Arc::clone(&route));
            }
        }
        self.routes.insert(sns, route);
    }

    fn bytes(&mut self, id: InStream, piece: &Bytes, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.fin || stream.reset || stream.stopped {
            return;
        }
        let mut rest = piece.clone();
        if stream.header.is_none() {
            // What is no header is refused, which is looked at where it comes out.
            if let Ok(header) = stream.reader.read(&mut rest) {
                stream.header = header;
                stream.route = header.and_then(|header| self.routes.get(&header.sns).cloned());
            }
        }
        if stream.header.is_some() {
            stream.payload.extend_from_slice(&rest);
            stream.longest = stream.longest.max(rest.len());
        }
        self.ingress.bytes(id, piece.clone(), now);
    }

    /// All that is to be done now, and that it may be done.
    fn drain(&mut self, now: Instant, me: LinkId, others: &BTreeMap<LinkId, Self>) {
        while let Some(output) = self.ingress.poll_output(now) {
            match output {
                Out::Send { stream, target, step } => {
                    let stream = self.streams.get_mut(&stream).unwrap();
                    assert!(!stream.stopped, "goes on although it was refused");
                    stream.send(me, self.peer, target, step, others);
                }
                Out::Stop { stream, why } => {
                    let stream = self.streams.get_mut(&stream).unwrap();
                    assert!(!std::mem::replace(&mut stream.stopped, true) && !stream.reset);
                    assert!(why.code().number() > 0 && !why.to_string().is_empty());
                    let begun = stream.got.values().any(|got| !got.over);
                    assert!(!begun, "refused while somebody reads it");
                    let bad = matches!(why, StopCause::BadStart(_));
                    assert_eq!(bad, stream.header.is_none() && why != StopCause::TooMany);
                }
                Out::Resume { stream } => assert!(!self.streams[&stream].stopped),
                Out::Datagram {
                    target,
                    header,
                    payload,
                    expires,
                } => {
                    let mut sent = self.datagrams.iter_mut();
                    let sent = sent
                        .find(|(_, sent, _)| *sent == payload)
                        .expect("what nobody sent");
                    assert!(sent.2.insert(target), "twice to one target");
                    assert!(expires >= now || self.ingress.counters().parked > 0);
                    assert_eq!(header.track, sent.0.track);
                    match target {
                        Target::Local => assert_eq!(header, sent.0),
                        Target::Link(to) => {
                            assert!(
                                to != me && others[&to].peer != self.peer,
                                "back to where it came from"
                            );
                            assert!(DatagramHeader::LEN + payload.len() <= others[&to].room);
                            assert!(others[&to].told.contains_key(&header.sns));
                        }
                    }
                }
                Out::Foreign { bound, found, .. } => assert_ne!(bound, found),
                Out::BadDatagram(error) => assert!(!error.to_string().is_empty()),
                other => panic!("{other:?}"),
            }
        }
        assert!(self.ingress.poll_timeout().is_none_or(|at| at > now));
        self.within_bounds();
        for (id, stream) in &self.streams {
            stream.who_has_it(self.ingress.wants_data(*id));
        }
    }

    fn within_bounds(&self) {
        let parked = self.ingress.parked();
        assert!(parked.bytes() <= 600 && parked.len() <= 4 && self.ingress.streams() <= 6);
        assert_eq!(self.ingress.routes(), self.routes.len(), "routes");
    }
}

/// laps peering, "Data Forwarding".
pub(crate) fn forward(data: &[u8]) {
    let mut feed = Feed::new(data);
    let choice = feed.u8();
    let limits = limits(choice & 3 == 3);
    let role = NodeType::ALL[usize::from(choice >> 2) % 3];
    let mut world = World {
        now: crate::base(),
        sets: NodeSets::new(ME, role, limits.clone(), Table::new()),
        limits,
        links: BTreeMap::new(),
        places: [None; PLACES],
        next_link: 0,
        tracks: BTreeMap::new(),
        versions: BTreeSet::new(),
    };
    (0..PLACES)
        .filter(|place| choice & 0x80 != 0 && *place != 1)
        .for_each(|place| world.up(place));
    // Who is where at first, so that short inputs get somewhere.
    let all = (1..9).map(|node| (NodeId(node), world.places.iter().flatten().copied().collect()));
    let table: Table = all.collect();
    world.sets.set_routes(table);
    while !feed.is_over() {
        steps::step(&mut world, &mut feed);
    }
    // In peace nobody is told more than what is so, and what waited went on or was given up.
    for _ in 0..8 {
        world.settle();
        world.now += Duration::from_secs(3);
        world.settle();
    }
    assert_eq!(world.sets.poll_timeout(), None);
    for link in world.links.values() {
        assert!(link.ingress.parked().is_empty());
        for sum in link.ingress.counters().each() {
            assert!(sum.1 < 1_000_000, "{sum:?}");
        }
    }
    for source in world.sets.sources().collect::<Vec<_>>() {
        let view = world.sets.view(source).unwrap();
        assert!(view.told.iter().all(|(.., leaving)| *leaving == 0));
    }
    (0..PLACES).for_each(|place| world.down(place));
    (1..4).for_each(|track| world.sets.set_targets(FullNameHash::new(track).unwrap(), []));
    world.settle();
    world.now += Duration::from_secs(3);
    world.settle();
    assert!(world.sets.sources().next().is_none() && world.tracks.is_empty() && world.sets.stranded() == 0);
    assert_eq!(world.sets.poll_timeout(), None);
}
