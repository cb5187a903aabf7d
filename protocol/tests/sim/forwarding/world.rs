//! The mesh at work, on virtual time.

use super::Sabotage;
use super::plan::{Change, Plan};
use super::relay::{Did, Key, Relay, Table};
use super::truth::{Published, Truth, Verdict};
use crate::common::base;
use bytes::Bytes;
use laps_protocol::peering::data_header::StreamHeader;
use laps_protocol::peering::forward::ingress::{self, InStream, Ingress, StopCause};
use laps_protocol::peering::forward::node_sets::{self, JoinCause};
use laps_protocol::peering::forward::pipeline::{self, Step};
use laps_protocol::peering::forward::{Limits, LinkId, Source, Target};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{NodeSet, SnsId};
use laps_protocol::peering::node::{NodeId, NodeType};
use laps_protocol::sim::Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

enum Event {
    Change(Change),
    /// A relay gets new routes.
    Routes(usize),
    Begin(usize),
    More {
        number: usize,
        left: u64,
    },
    Arrive {
        link: usize,
        to: usize,
        what: What,
    },
    Time(usize),
}

enum What {
    Advertise(NodeSet),
    Withdraw(SnsId),
    /// A laps relay has read a set.
    Delivered(SnsId),
    Piece {
        stream: InStream,
        piece: Piece,
    },
    Stop(InStream),
}

struct Piece {
    bytes: Bytes,
    /// How much of it is payload.
    payload: u64,
    end: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    Fin,
    Reset(u64),
}

pub(crate) struct World {
    plan: Plan,
    sabotage: Sabotage,
    /// Whether all that relays say is shown.
    traced: bool,
    rng: Rng,
    start: Instant,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    relays: Vec<Relay>,
    dead: BTreeSet<usize>,
    drained: BTreeSet<usize>,
    /// Subscribers of each relay and track.
    wants: BTreeMap<(usize, usize), u32>,
    /// How urgent a track is to the nodes that a relay which has it was told of.
    urgent: BTreeMap<(usize, usize), BTreeMap<NodeId, u8>>,
    /// How urgent what leaves a relay is, as it says.
    priorities: HashMap<(usize, LinkId, SnsId), u8>,
    /// When the last thing arrives of a stream (or of the control messages) of a link, in one direction.
    last: HashMap<(usize, usize, Option<u64>), u64>,
    /// What came while it was not wanted.
    held: HashMap<(usize, usize, InStream), VecDeque<Piece>>,
    truth: Truth,
    verdict: Verdict,
}

const fn node(relay: usize) -> NodeId {
    NodeId(100 + relay as u64)
}

fn id(link: usize) -> LinkId {
    LinkId(u32::try_from(link).unwrap())
}

fn track(track: usize) -> FullNameHash {
    FullNameHash::new(7 + track as u64).unwrap()
}

impl World {
    pub(crate) fn new(plan: Plan, sabotage: Sabotage) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x5eed);
        let mut limits = Limits::default();
        if rng.one_in(3) {
            limits.pause_at_bytes = 500;
        }
        match sabotage {
            Sabotage::NoPark => limits.max_parked_items = 0,
            Sabotage::NoGrace => (limits.move_grace, limits.move_overlap) = (Duration::ZERO, Duration::ZERO),
            Sabotage::NoOverlap => limits.move_overlap = Duration::ZERO,
            _ => {}
        }
        let relays = plan.nodes.iter().enumerate().map(|(relay, kind)| {
            let mut limits = limits.clone();
            // A laps relay drops what it has no set for.
            if plan.laps == Some(relay) {
                limits.max_parked_items = 0;
            }
            Relay::new(node(relay), *kind, limits)
        });
        let relays: Vec<Relay> = relays.collect();
        let n = relays.len();
        Self {
            sabotage,
            traced: std::env::var_os("LAPS_TRACE").is_some(),
            rng,
            start: base(),
            now: 0,
            events: BTreeMap::new(),
            next_event: 0,
            relays,
            dead: BTreeSet::new(),
            drained: BTreeSet::new(),
            wants: BTreeMap::new(),
            urgent: BTreeMap::new(),
            priorities: HashMap::new(),
            last: HashMap::new(),
            held: HashMap::new(),
            truth: Truth::default(),
            verdict: Verdict {
                sent: vec![0; n],
                streams: vec![0; n],
                most_sets: vec![0; n],
                told: vec![0; n],
                ..Verdict::default()
            },
            plan,
        }
    }

    pub(crate) fn run(mut self) -> Result<Verdict, String> {
        for (at, (a, b)) in self.plan.links.clone().into_iter().enumerate() {
            let asks = |to| self.plan.laps == Some(to) && self.sabotage != Sabotage::LapsUnasked;
            self.relays[a].sets.link_up(id(at), node(b), asks(b));
            self.relays[b].sets.link_up(id(at), node(a), asks(a));
            for end in [a, b] {
                let ingress = Ingress::new(self.relays[end].limits.clone());
                self.relays[end].ingress.insert(id(at), ingress);
            }
        }
        for relay in 0..self.relays.len() {
            let table = self.table(relay);
            self.relays[relay].sets.set_routes(table);
        }
        for (at, changes) in self.plan.changes.clone() {
            for change in changes {
                self.at(at, Event::Change(change));
            }
        }
        for name in 0..self.plan.tracks {
            let first = 1 + self.rng.below(100);
            self.at(first, Event::Begin(name));
        }
        let mut turns = 0;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            let relays = self.happens(event)?;
            for relay in relays {
                self.turn(relay)?;
            }
            turns += 1;
            if turns > 300_000 {
                return Err("a storm".to_owned());
            }
        }
        self.end()
    }

    /// Nobody wants anything any more: nothing is to be left.
    fn end(mut self) -> Result<Verdict, String> {
        let mut counts = std::mem::take(&mut self.verdict.counts);
        self.truth.judge(&self.plan, &mut counts)?;
        *counts.entry("priorities").or_default() += self.judge_priorities()?;
        for name in 0..self.plan.tracks {
            for relay in 0..self.relays.len() {
                self.relays[relay].sets.set_targets(track(name), []);
                self.turn(relay)?;
            }
        }
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            for relay in self.happens(event)? {
                self.turn(relay)?;
            }
        }
        for (at, relay) in self.relays.iter().enumerate() {
            let sets = relay.sets.sources().count();
            let ingress = relay.ingress.values();
            let streams: usize = ingress
                .map(|ingress| ingress.streams() + ingress.parked().len() + ingress.routes())
                .sum();
            if sets + streams + relay.own.len() + relay.sets.stranded() > 0 {
                return Err(format!(
                    "relay {at} keeps {sets} sets and {streams} streams\n{:?}",
                    self.plan
                ));
            }
            let all = relay.all_counters();
            if all.bad_starts + all.foreign + all.crowded_tracks + all.lanes_overrun > 0 {
                return Err(format!("relay {at} saw {:?}", all.each()));
            }
            *counts.entry("parked").or_default() += all.parked;
        }
        counts.insert("published streams", self.truth.published.len() as u64);
        let published = self
            .truth
            .published
            .iter()
            .map(|stream| stream.bytes.len() as u64);
        counts.insert("published bytes", published.sum());
        self.verdict.counts = counts;
        Ok(self.verdict)
    }

    /// All is quiet: what leaves each relay is as urgent as it is to the most urgent of those behind the link, however far
    /// away those are. The value is how much of it is not of the default priority.
    fn judge_priorities(&self) -> Result<u64, String> {
        let mut urgent = 0;
        for (at, relay) in self.relays.iter().enumerate() {
            for source in relay.sets.sources() {
                for (link, sns, nodes) in relay.sets.assigned(source) {
                    let truth = self.truth_of(at, source);
                    let of = |node| truth.and_then(|truth| truth.get(node).copied()).unwrap_or(128);
                    let most = nodes.iter().map(of).min().unwrap_or(128);
                    let said = self.priorities.get(&(at, link, sns)).copied().unwrap_or(128);
                    if said != most {
                        return Err(format!(
                            "relay {at} sends at {said}, not at {most}, {:?}",
                            self.plan
                        ));
                    }
                    urgent += u64::from(most != 128);
                }
            }
        }
        Ok(urgent)
    }

    /// How urgent the data of a source is, as the relay that has the track was told; none behind a laps relay.
    fn truth_of(&self, relay: usize, source: Source) -> Option<&BTreeMap<NodeId, u8>> {
        match source {
            Source::Track(name) => {
                let name = (0..self.plan.tracks).find(|at| track(*at) == name)?;
                self.urgent.get(&(relay, name))
            }
            Source::Ingress(link, sns) => {
                let from = self.other(link.0 as usize, relay);
                if self.plan.laps == Some(from) || self.plan.laps == Some(relay) {
                    return None;
                }
                let source = self.relays[from].sets.source_of(link, sns)?;
                self.truth_of(from, source)
            }
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((at, self.next_event), event);
    }

    fn count(&mut self, what: &'static str) {
        *self.verdict.counts.entry(what).or_default() += 1;
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    /// Does it, and says which relays have something to say now.
    fn happens(&mut self, event: Event) -> Result<Vec<usize>, String> {
        let now = self.instant();
        Ok(match event {
            Event::Change(change) => self.change(change)?,
            Event::Routes(relay) => {
                let table = self.table(relay);
                self.relays[relay].sets.set_routes(table);
                vec![relay]
            }
            Event::Begin(name) => {
                self.begin(name);
                vec![0]
            }
            Event::More { number, left } => {
                self.more(number, left);
                vec![0]
            }
            Event::Time(relay) => vec![relay],
            Event::Arrive { link, to, what } => {
                if self.dead.contains(&link) {
                    return Ok(vec![]);
                }
                let from = self.other(link, to);
                match what {
                    What::Advertise(set) => {
                        self.relays[to].sets.advertised(id(link), &set);
                        if self.plan.laps == Some(to) {
                            let sns = set.id;
                            self.arrive(link, from, None, What::Delivered(sns));
                        }
                    }
                    What::Withdraw(sns) if self.sabotage != Sabotage::KeepsSets => {
                        self.relays[to].sets.withdrawn(id(link), sns, now);
                    }
                    What::Withdraw(_) => {}
                    What::Delivered(sns) => self.relays[to].sets.set_delivered(id(link), sns),
                    What::Stop(stream) => {
                        if let Some(key) = self.relays[to].back.get(&(id(link), stream.0)).copied() {
                            self.relays[to].stopped(key, Target::Link(id(link)));
                        }
                    }
                    What::Piece { stream, piece } => {
                        let held = self.held.entry((link, to, stream)).or_default();
                        if matches!(piece.end, Some(End::Reset(_))) {
                            held.clear();
                        }
                        held.push_back(piece);
                        self.read(link, to, stream, now);
                    }
                }
                vec![to, from]
            }
        })
    }

    fn other(&self, link: usize, relay: usize) -> usize {
        let (a, b) = self.plan.links[link];
        if relay == a { b } else { a }
    }

    /// Takes what came of a stream, as far as it is wanted.
    fn read(&mut self, link: usize, to: usize, stream: InStream, now: Instant) {
        let from = self.other(link, to);
        let mut paused = false;
        while let Some(held) = self.held.get_mut(&(link, to, stream)) {
            let ingress = self.relays[to].ingress.get_mut(&id(link)).unwrap();
            let Some(piece) = held.front() else { break };
            let wanted = ingress.wants_data(stream);
            if piece.end.is_none() && !wanted {
                paused = true;
                break;
            }
            let piece = held.pop_front().unwrap();
            if !piece.bytes.is_empty() {
                ingress.bytes(stream, piece.bytes, now);
            }
            match piece.end {
                None => {}
                Some(End::Fin) => ingress.fin(stream),
                Some(End::Reset(code)) => ingress.reset(stream, code),
            }
            if let Some(key) = self.relays[from].back.get(&(id(link), stream.0)).copied() {
                self.relays[from].taken(key, Target::Link(id(link)), piece.payload);
            }
        }
        if paused {
            self.count("paused");
        }
    }

    fn change(&mut self, change: Change) -> Result<Vec<usize>, String> {
        match change {
            Change::Subscribers {
                relay,
                track: name,
                count,
            } => {
                let before = self.wants.insert((relay, name), count).unwrap_or_default();
                match (before, count) {
                    (0, 1..) => self.count("joined"),
                    (1.., 0) => self.count("left"),
                    _ => {}
                }
                Ok(self.targets(name))
            }
            Change::Drain { relay, drained } => {
                if drained {
                    self.drained.insert(relay);
                } else {
                    self.drained.remove(&relay);
                }
                self.learn();
                Ok(vec![])
            }
            Change::Death(link) => {
                if !self.dead.insert(link) {
                    return Ok(vec![]);
                }
                self.count("died");
                let (a, b) = self.plan.links[link];
                for end in [a, b] {
                    self.relays[end].link_down(id(link));
                }
                self.priorities.retain(|(_, at, _), _| *at != id(link));
                self.learn();
                for end in [a, b] {
                    self.turn(end)?;
                    let gone = &self.relays[end].ingress[&id(link)];
                    if gone.parked().len() + gone.routes() > 0 {
                        return Err(format!("relay {end} keeps what a dead link told it"));
                    }
                }
                Ok(vec![])
            }
        }
    }

    /// Tells the origin, and edges with stubs, who wants a track.
    fn targets(&mut self, name: usize) -> Vec<usize> {
        let mut by_edge = BTreeMap::<usize, BTreeMap<NodeId, u8>>::new();
        for (&(relay, of), count) in &self.wants {
            if of != name || *count == 0 {
                continue;
            }
            // Any, and another one whenever others subscribe.
            let others = usize::try_from(*count).unwrap() * 53;
            let priority = (relay * 37 + name * 71 + others).to_le_bytes()[0];
            let mut named = relay;
            if self.relays[relay].kind == NodeType::Stub {
                let link = self.plan.links.iter().position(|(_, to)| *to == relay).unwrap();
                named = self.plan.links[link].0;
                by_edge.entry(named).or_default().insert(node(relay), priority);
            }
            let known = by_edge.entry(0).or_default().entry(node(named));
            known
                .and_modify(|known| *known = priority.min(*known))
                .or_insert(priority);
        }
        by_edge.entry(0).or_default();
        for (edge, nodes) in &by_edge {
            self.relays[*edge].sets.set_targets(
                track(name),
                nodes.iter().map(|(node, priority)| (*node, *priority)),
            );
            self.urgent.insert((*edge, name), nodes.clone());
        }
        // What else is told at this moment is one turn with this.
        let more =
            |((at, _), event): (&(u64, u64), &Event)| *at == self.now && matches!(event, Event::Change(_));
        if self.events.first_key_value().is_some_and(more) {
            return vec![];
        }
        by_edge.into_keys().collect()
    }

    /// Every relay hears of a change in its time.
    fn learn(&mut self) {
        for relay in 0..self.relays.len() {
            let at = self.now + self.rng.below(3 * self.plan.delay);
            self.at(at, Event::Routes(relay));
        }
    }

    /// The shortest ways from a relay; those with the lowest numbers of equal ones.
    fn table(&self, from: usize) -> Table {
        let mut table = Table::new();
        let mut seen = BTreeSet::from([from]);
        let mut ring: Vec<(usize, Option<usize>)> = vec![(from, None)];
        while !ring.is_empty() {
            let mut next = BTreeMap::<usize, usize>::new();
            for (at, first) in ring {
                let passes = self.relays[at].kind != NodeType::Stub && !self.drained.contains(&at);
                if at != from && !passes {
                    continue;
                }
                for (link, (a, b)) in self.plan.links.iter().enumerate() {
                    if self.dead.contains(&link) || (*a != at && *b != at) {
                        continue;
                    }
                    let to = if *a == at { *b } else { *a };
                    // Stubs are known to their edge alone.
                    if seen.contains(&to) || (self.relays[to].kind == NodeType::Stub && at != from) {
                        continue;
                    }
                    let first = first.unwrap_or(to);
                    let best = next.entry(to).or_insert(first);
                    *best = first.min(*best);
                }
            }
            for (to, first) in &next {
                let links = self.plan.links.iter().enumerate().filter(|(link, (a, b))| {
                    !self.dead.contains(link) && ((*a, *b) == (from, *first) || (*b, *a) == (from, *first))
                });
                table.insert(node(*to), links.map(|(link, _)| id(link)).collect());
            }
            seen.extend(next.keys());
            ring = next.into_iter().map(|(to, first)| (to, Some(first))).collect();
        }
        table
    }

    fn begin(&mut self, name: usize) {
        let number = self.truth.published.len();
        let bytes = u32::try_from(number).unwrap().to_be_bytes().to_vec();
        let header = StreamHeader {
            sns: SnsId::FIRST,
            track: track(name),
            priority: 128,
            ttl_ms: 0,
        };
        let now = self.instant();
        self.relays[0].begin(number as u64, header, Bytes::from(bytes.clone()), now);
        self.truth.published.push(Published {
            track: name,
            bytes,
            began: self.now,
            ended: u64::MAX / 2,
            fin: false,
        });
        let left = self.rng.below(6);
        let at = self.now + self.rng.below(40);
        self.at(at, Event::More { number, left });
        let next = self.now + 10 + self.rng.below(150);
        if next < self.plan.until {
            self.at(next, Event::Begin(name));
        }
    }

    fn more(&mut self, number: usize, left: u64) {
        let now = self.instant();
        let fin = !self.rng.one_in(12) || !self.plan.resets;
        let len = 1 + self.rng.below(1500);
        let piece: Vec<u8> = (0..len).map(|_| self.rng.next().to_le_bytes()[0]).collect();
        let stream = &mut self.truth.published[number];
        let relay = &mut self.relays[0];
        let pipeline = relay.own.get_mut(&(number as u64));
        if left > 0 {
            stream.bytes.extend_from_slice(&piece);
            if let Some(pipeline) = pipeline {
                pipeline.data(Bytes::from(piece), now, &mut relay.counters);
            }
            let at = self.now + self.rng.below(60);
            return self.at(
                at,
                Event::More {
                    number,
                    left: left - 1,
                },
            );
        }
        (stream.ended, stream.fin) = (self.now, fin);
        match (pipeline, fin) {
            (None, _) => {}
            (Some(pipeline), true) => pipeline.fin(&mut relay.counters),
            (Some(pipeline), false) => pipeline.reset(3, &mut relay.counters),
        }
    }

    /// Lets a relay say all that it has to say.
    fn turn(&mut self, relay: usize) -> Result<(), String> {
        let now = self.instant();
        while let Some(did) = self.relays[relay].poll(now) {
            if self.traced {
                eprintln!("{:>6} relay {relay}: {did:?}", self.now);
            }
            match did {
                Did::Sets(output) => self.set_output(relay, output)?,
                Did::In(link, output) => self.ingress_output(relay, link, output)?,
                Did::Own(number, pipeline::Output::Send(target, step)) => {
                    self.step(relay, Key::Own(number), target, step)?;
                }
                Did::Own(..) => {}
            }
        }
        let sources = self.relays[relay].sets.sources().count();
        self.verdict.most_sets[relay] = self.verdict.most_sets[relay].max(sources);
        if let Some(due) = self.relays[relay].due() {
            let at = u64::try_from(due.duration_since(self.start).as_micros().div_ceil(1000)).unwrap();
            if at <= self.now {
                return Err(format!("relay {relay} is late"));
            }
            let known = |((when, _), event): (&(u64, u64), &Event)| {
                *when == at && matches!(event, Event::Time(who) if *who == relay)
            };
            if !self.events.range((at, 0)..(at + 1, 0)).any(known) {
                self.at(at, Event::Time(relay));
            }
        }
        Ok(())
    }

    fn set_output(&mut self, relay: usize, output: node_sets::Output) -> Result<(), String> {
        use node_sets::Output;
        match output {
            Output::Advertise { link, set } => {
                self.verdict.told[relay] += 1;
                let to = self.other(link.0 as usize, relay);
                let laps = self.plan.laps == Some(to);
                let plain = || NodeSet::new(set.id, set.priority, set.nodes().iter().copied());
                let set = if laps {
                    plain().from_origin(set.origin)
                } else {
                    set
                };
                self.arrive(link.0 as usize, to, None, What::Advertise(set));
            }
            Output::Prioritise { link, sns, priority } => {
                self.priorities.insert((relay, link, sns), priority);
            }
            Output::Withdraw { link, sns } => {
                self.priorities.remove(&(relay, link, sns));
                let to = self.other(link.0 as usize, relay);
                self.arrive(link.0 as usize, to, None, What::Withdraw(sns));
            }
            Output::Route(change) => {
                if change
                    .joined
                    .iter()
                    .any(|joined| joined.cause == JoinCause::Moved)
                {
                    self.count("joined by a move");
                }
                match change.source {
                    Source::Track(name) => {
                        self.relays[relay].tracks.insert(name, change.route);
                    }
                    Source::Ingress(link, sns) => {
                        let lost = self.sabotage == Sabotage::LosesRoutes && change.route.version() % 3 == 2;
                        if let Some(ingress) = self.relays[relay].ingress.get_mut(&link).filter(|_| !lost) {
                            ingress.set_route(sns, change.route);
                        }
                    }
                }
            }
            Output::Ended(Source::Track(name)) => {
                self.relays[relay].tracks.remove(&name);
            }
            Output::Ended(Source::Ingress(link, sns)) => {
                if let Some(ingress) = self.relays[relay].ingress.get_mut(&link) {
                    ingress.remove_route(sns);
                }
            }
            Output::Lost(lost) => {
                let dead = self.dead.contains(&(lost.link.0 as usize));
                if !dead || lost.nodes.is_empty() {
                    return Err(format!("nothing was lost on {:?}", lost.link));
                }
                self.count("lost");
            }
            Output::Back { nodes, .. } => {
                if nodes.is_empty() {
                    return Err("nobody is back".to_owned());
                }
                self.count("back");
            }
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn ingress_output(&mut self, relay: usize, link: LinkId, output: ingress::Output) -> Result<(), String> {
        use ingress::Output;
        match output {
            Output::Send { stream, target, step } => self.step(relay, Key::In(link, stream), target, step),
            Output::Stop { stream, why } => {
                if matches!(
                    why,
                    StopCause::BadStart(_) | StopCause::Foreign | StopCause::Crowded
                ) {
                    return Err(format!("relay {relay}: {why}"));
                }
                self.held.remove(&(link.0 as usize, relay, stream));
                let to = self.other(link.0 as usize, relay);
                self.arrive(link.0 as usize, to, Some(stream.0), What::Stop(stream));
                Ok(())
            }
            Output::Resume { stream } => {
                let now = self.instant();
                self.read(link.0 as usize, relay, stream, now);
                let from = self.other(link.0 as usize, relay);
                self.at(self.now, Event::Time(from));
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    }

    /// Sends something of a stream on, or takes it for the relay's own subscribers.
    fn step(&mut self, relay: usize, key: Key, target: Target, step: Step) -> Result<(), String> {
        let (Target::Link(link), at) = (target, self.now) else {
            return self.local(relay, key, step);
        };
        let index = link.0 as usize;
        if self.dead.contains(&index) {
            return Ok(());
        }
        let to = self.other(index, relay);
        let laps = self.plan.laps == Some(to);
        let (mut bytes, head, end) = match step {
            Step::Open { header, first } => {
                let stream = self.relays[relay].next;
                self.relays[relay].next += 1;
                self.relays[relay].out.insert((link, key), stream);
                self.relays[relay].back.insert((link, stream), key);
                self.verdict.streams[relay] += 1;
                self.relays[to]
                    .ingress
                    .get_mut(&link)
                    .unwrap()
                    .opened(InStream(stream));
                if laps {
                    self.count("laps");
                }
                (
                    Bytes::from([&header.encode()[..], &first].concat()),
                    StreamHeader::LEN,
                    None,
                )
            }
            Step::Data(bytes) => (bytes, 0, None),
            Step::Fin => (Bytes::new(), 0, Some(End::Fin)),
            Step::Reset(cause) => (Bytes::new(), 0, Some(End::Reset(cause.code()))),
        };
        let stream = self.relays[relay].out[&(link, key)];
        self.verdict.sent[relay] += (bytes.len() - head) as u64;
        if self.sabotage == Sabotage::SendsTwice && at % 5 == 0 && head == 0 && !bytes.is_empty() {
            bytes = Bytes::from([&bytes[..], &bytes[..1]].concat());
        }
        let mut head = head;
        loop {
            // A laps relay has to get its first write in one piece.
            let cut = if laps && head > 0 {
                bytes.len()
            } else {
                1 + usize::try_from(self.rng.below(1200)).unwrap()
            };
            let piece = bytes.split_to(cut.min(bytes.len()));
            let in_head = head.min(piece.len());
            head -= in_head;
            let last = bytes.is_empty();
            let piece = Piece {
                payload: (piece.len() - in_head) as u64,
                bytes: piece,
                end: end.filter(|_| last),
            };
            let stream = InStream(stream);
            self.arrive(index, to, Some(stream.0), What::Piece { stream, piece });
            if last {
                return Ok(());
            }
        }
    }

    /// Streams to the relay's own subscribers, and to its stubs.
    fn local(&mut self, relay: usize, key: Key, step: Step) -> Result<(), String> {
        let Key::In(link, stream) = key else {
            return Err(format!("relay {relay} subscribes to itself"));
        };
        let now = self.instant();
        let mut taken = 0;
        let this = &mut self.relays[relay];
        match step {
            Step::Open { header, first } => {
                taken = first.len() as u64;
                this.sink.insert((link, stream), first.to_vec());
                let number = this.next;
                this.next += 1;
                this.copies.insert((link, stream), number);
                this.begin(number, header, first, now);
            }
            Step::Data(bytes) => {
                taken = bytes.len() as u64;
                this.sink
                    .get_mut(&(link, stream))
                    .unwrap()
                    .extend_from_slice(&bytes);
                if let Some(copy) = this.own.get_mut(&this.copies[&(link, stream)]) {
                    copy.data(bytes, now, &mut this.counters);
                }
            }
            Step::Fin | Step::Reset(_) => {
                let bytes = this.sink.remove(&(link, stream)).unwrap();
                let copy = this.own.get_mut(&this.copies[&(link, stream)]);
                let fin = step == Step::Fin;
                if let Some(copy) = copy {
                    if fin {
                        copy.fin(&mut this.counters);
                    } else {
                        copy.reset(0, &mut this.counters);
                    }
                }
                self.truth.ended(relay, &bytes, fin)?;
            }
        }
        self.relays[relay].taken(key, Target::Local, taken);
        Ok(())
    }

    /// Something is under way; streams, and control messages, each keep their order.
    fn arrive(&mut self, link: usize, to: usize, stream: Option<u64>, what: What) {
        let at = self.now + 1 + self.rng.below(self.plan.delay);
        let last = self.last.entry((link, to, stream)).or_default();
        *last = at.max(*last);
        let at = *last;
        self.at(at, Event::Arrive { link, to, what });
    }
}
