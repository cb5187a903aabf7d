//! The subscriber node sets of a relay: what it tells peers and what they tell it. laps peering, "Source Routing".
//!
//! There is one set for each source and link: an origin has one for each (track, link out), a relay in the middle one
//! for each (link in, id, link out). It keeps its id while nodes come and go, and is withdrawn when none is left.
//! Inputs are taken as they come and worked out when outputs are asked for, so several changes in a row are told as
//! one.
//!
//! With each node goes how urgent the data is to it: its subscriber priority, which the origin hears from the node's relay
//! and every relay in between copies. What leaves by a link is as urgent as it is to the most urgent node behind that link.
//!
//! A node never gets data back over the peer that it came from. A node to which no link leads is kept, and looked at
//! again whenever routes or links change. A stub is nobody's business but its edge's: the edge hands data to it as the
//! origin of what it has in its own log, and everybody else names the edge.
//!
//! When new streams take another link to a node, the node stays in the set of the link before for a while
//! (`move_grace`): the peer there needs it for streams that are under way to it. When the new link has a set of that
//! source already, its peer may get data before it has read that the set became larger, so new streams take both links
//! for a while (`move_overlap`).

mod ending;
mod link;
mod moved;
mod output;
mod resolve;
#[cfg(test)]
mod tests;
mod turns;

pub use output::{JoinCause, Joined, Lost, Output, Refusal, Rerouted};

use super::counters::Counters;
use super::limits::Limits;
use super::route::{LinkId, Route, Routes, Source};
use crate::peering::hash::FullNameHash;
use crate::peering::message::{NodeSet, Priorities, SnsId, sorted};
use crate::peering::node::{NodeId, NodeType};
use crate::relay::draining::Draining;
use link::Link;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;
use turns::Later;

/// The sets of one relay. Inputs first, in any number, then [`Self::poll_output`] until there is nothing more.
#[derive(Debug)]
pub struct NodeSets<R> {
    me: NodeId,
    role: NodeType,
    limits: Limits,
    routes: R,
    links: BTreeMap<LinkId, Link>,
    sets: BTreeMap<Source, Set>,
    /// To be worked out.
    dirty: BTreeSet<Source>,
    /// To be worked out as far as it is allowed.
    later: Later,
    /// Nodes of those in this turn; none where there are no turns.
    allowance: Option<usize>,
    /// To be worked out when a set on some link ends, because there was no room for one.
    crowded: BTreeSet<Source>,
    /// To be worked out at a time.
    due: BTreeSet<(Instant, Source)>,
    /// Links whose control streams were replaced, and when what was not told again is over.
    moved: BTreeSet<(Instant, LinkId)>,
    outputs: VecDeque<Output>,
    /// Of the latest route.
    version: u64,
    /// Nodes to which no link leads, those of all sources together.
    stranded: usize,
    counters: Counters,
}

/// Who is to get the data of one source, and how.
#[derive(Debug, Default)]
struct Set {
    /// Who is to get it, each once, ascending.
    wanted: Vec<NodeId>,
    /// How urgent it is to each of them.
    priorities: Priorities,
    /// Whose publishers it comes from, as far as the peers in between say.
    origin: Option<NodeId>,
    /// What the links were told.
    out: BTreeMap<LinkId, OutSet>,
    /// The latest route; none before the first one.
    route: Option<Arc<Route>>,
    /// Until when the first route waits for laps relays to read their sets.
    waits_until: Option<Instant>,
    /// Those of the wanted that no link leads to, ascending.
    stranded: Vec<NodeId>,
    /// Those of the stranded to which a link led before.
    astray: BTreeSet<NodeId>,
    /// When it is forgotten, since the peer has withdrawn it.
    ends_at: Option<Instant>,
    /// How far its data was when it was to be forgotten.
    draining: Option<Draining>,
}

/// One set on one link.
#[derive(Debug)]
struct OutSet {
    id: SnsId,
    /// What the peer was told last, ascending, and whose data it is.
    told: Vec<NodeId>,
    priorities: Priorities,
    origin: Option<NodeId>,
    /// How urgent what leaves under the id is, as it was said last.
    priority: u8,
    /// Those of them that have another link now.
    leaving: BTreeMap<NodeId, Leaving>,
    /// Whether data may come. A laps relay must have read the set first.
    ready: bool,
    /// Why it came into the route, while it is not there yet.
    cause: JoinCause,
}

/// A node that has another link now.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// Until when new streams take this link as well.
    served_until: Instant,
    /// Until when the peer has to know it. Not before the other.
    known_until: Instant,
}

impl OutSet {
    /// The nodes that new streams reach by this link.
    fn assigned(&self) -> impl Iterator<Item = NodeId> + '_ {
        let told = self.told.iter().copied();
        told.filter(|node| !self.leaving.contains_key(node))
    }

    /// What the peer was told last.
    fn message(&self) -> NodeSet {
        let told = self.told.iter().enumerate();
        let told = told.map(|(at, node)| (*node, self.priorities.at(at)));
        NodeSet::urgent(self.id, told).from_origin(self.origin)
    }
}

/// What is known of a source, for tests and for who looks in.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Who is to get its data, ascending.
    pub wanted: &'a [NodeId],
    /// Whose publishers it comes from; where a laps relay is in between, the first of ours behind that names the laps relay.
    pub origin: Option<NodeId>,
    /// Its route; none before the first one came out.
    pub route: Option<&'a Arc<Route>>,
    /// Those of the wanted that no link leads to.
    pub stranded: &'a [NodeId],
    /// What the peers were told: the link, the id, the nodes, and how many of those new streams reach otherwise.
    pub told: Vec<(LinkId, SnsId, &'a [NodeId], usize)>,
}

impl<R: Routes> NodeSets<R> {
    /// Those of the relay `me`, without links.
    ///
    /// As the roles have it, laps peering, "Relay Types": a Via has no subscribers of its own, and what comes to a Stub
    /// goes no further.
    #[must_use]
    pub fn new(me: NodeId, role: NodeType, limits: Limits, routes: R) -> Self {
        Self {
            me,
            role,
            limits,
            routes,
            links: BTreeMap::new(),
            sets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            later: Later::default(),
            allowance: None,
            crowded: BTreeSet::new(),
            due: BTreeSet::new(),
            moved: BTreeSet::new(),
            outputs: VecDeque::new(),
            version: 0,
            stranded: 0,
            counters: Counters::default(),
        }
    }

    /// A link over which data may go is up. `laps` says that a laps relay is at the other end: it gets no data of a set
    /// before [`Self::set_delivered`] says that it has read it. What a peer sends has no route until then, for a while,
    /// so that its first streams wait here and are not lost there. Nothing when the link is up already.
    pub fn link_up(&mut self, link: LinkId, peer: NodeId, laps: bool) {
        self.add(link, Link::new(peer, laps));
    }

    /// The same of a link to a stub of this relay. laps peering, "Stub": it has its subscribers and publishers behind it and
    /// nobody else, and its edge is the only relay that it knows to want its data. So its sets may name this relay alone,
    /// and no origin but itself: data that it says to be of another one would come into that one's tracks.
    pub fn stub_up(&mut self, link: LinkId, peer: NodeId, laps: bool) {
        self.add(link, Link::new(peer, laps).of_a_stub());
    }

    fn add(&mut self, link: LinkId, state: Link) {
        if self.links.contains_key(&link) {
            return;
        }
        self.links.insert(link, state);
        self.later.extend(self.sets.keys().copied());
    }

    /// A link is gone, with all sets on it. laps peering, "SNS Withdrawal": state ends with the session.
    pub fn link_down(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else {
            return;
        };
        // What was to be told there has no use any more.
        self.outputs.retain(|output| match output {
            Output::Advertise { link: to, .. }
            | Output::Prioritise { link: to, .. }
            | Output::Withdraw { link: to, .. } => *to != link,
            Output::Route(_)
            | Output::Ended(_)
            | Output::Lost(_)
            | Output::Back { .. }
            | Output::Refused { .. } => true,
        });
        self.dirty.extend(gone.out.into_values());
        self.moved.retain(|(_, moved)| *moved != link);
        let from_there = self.sets.range(of_link(link));
        let from_there: Vec<Source> = from_there.map(|(source, _)| *source).collect();
        for source in from_there {
            self.end(source);
        }
    }

    /// Links lead elsewhere now.
    pub fn set_routes(&mut self, routes: R) {
        self.routes = routes;
        self.later.extend(self.sets.keys().copied());
    }

    /// The relays, and stubs of this one, that are to get a track of which this relay has the data, each with its subscriber
    /// priority. None ends it. This relay itself is left out: its own subscribers have the data already.
    pub fn set_targets(&mut self, track: FullNameHash, nodes: impl IntoIterator<Item = (NodeId, u8)>) {
        let nodes = nodes.into_iter().filter(|(node, _)| *node != self.me);
        let (wanted, priorities) = sorted(nodes);
        let source = Source::Track(track);
        match self.sets.get_mut(&source) {
            Some(set) if (&set.wanted, &set.priorities) == (&wanted, &priorities) => return,
            Some(set) => (set.wanted, set.priorities) = (wanted, priorities),
            None if wanted.is_empty() => return,
            None => {
                let set = Set {
                    wanted,
                    priorities,
                    origin: Some(self.me),
                    ..Set::default()
                };
                self.sets.insert(source, set);
            }
        }
        self.dirty.insert(source);
    }

    /// A peer told a set, new or changed. laps peering, "SNS Advertisement".
    pub fn advertised(&mut self, link: LinkId, set: &NodeSet) {
        if !self.links.contains_key(&link) {
            self.counters.sets_unknown += 1;
            return;
        }
        if !self.is_of_the_peer(link, set) {
            return self.refuse(link, set.id, Refusal::Stub);
        }
        let source = Source::Ingress(link, set.id);
        if self
            .sets
            .get(&source)
            .is_some_and(|before| before.ends_at.is_some())
        {
            self.end_ingress(source);
        }
        if !self.sets.contains_key(&source) {
            self.make_room(link, set.nodes().len());
        }
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.said_since |= state.unsaid.remove(&set.id);
        // laps peering, "Source Routing": laps relays do not say whose data it is. It is taken for that of the one which it
        // comes by; of who is behind that nothing is known. Behind a stub there is nobody.
        let speaks_for_itself = state.laps || state.stub;
        let origin = set.origin.or_else(|| speaks_for_itself.then_some(state.peer));
        let before = self.sets.get(&source);
        let without = state.in_nodes - before.map_or(0, |set| set.wanted.len());
        let nodes = set.nodes();
        let refusal = if nodes.len() > self.limits.max_set_nodes {
            Some(Refusal::Nodes)
        } else if before.is_none() && state.in_sets >= self.limits.max_sets_per_link {
            Some(Refusal::Sets)
        } else if without + nodes.len() > self.limits.max_nodes_per_link {
            Some(Refusal::LinkNodes)
        } else {
            None
        };
        if let Some(why) = refusal {
            return self.refuse(link, set.id, why);
        }
        self.counters.sets_taken += 1;
        let same = |before: &Set| {
            (before.wanted.as_slice(), before.origin) == (nodes, origin)
                && before.priorities == *set.priorities()
        };
        if before.is_some_and(same) {
            return;
        }
        state.in_sets += usize::from(before.is_none());
        state.in_nodes = without + nodes.len();
        let kept = self.sets.entry(source).or_default();
        (kept.wanted, kept.origin) = (nodes.to_vec(), origin);
        kept.priorities.clone_from(set.priorities());
        self.dirty.insert(source);
    }

    /// Whether a set is the peer's to tell: see [`Self::stub_up`].
    fn is_of_the_peer(&self, link: LinkId, set: &NodeSet) -> bool {
        let stub = self.links.get(&link).filter(|state| state.stub);
        stub.is_none_or(|stub| {
            set.origin.is_none_or(|origin| origin == stub.peer)
                && set.nodes().iter().all(|node| *node == self.me)
        })
    }

    /// Says that a set is not taken, once for each link and reason.
    fn refuse(&mut self, link: LinkId, sns: SnsId, why: Refusal) {
        self.counters.sets_refused += 1;
        let state = self.links.get_mut(&link);
        if state.is_some_and(|state| state.refused.insert(why)) {
            self.outputs.push_back(Output::Refused { link, sns, why });
        }
    }

    /// A laps relay has read the set `sns`, as far as one can know: data may come. Also right, and without effect, for
    /// other peers and for sets that are gone.
    pub fn set_delivered(&mut self, link: LinkId, sns: SnsId) {
        let source = self.links.get(&link).and_then(|state| state.out.get(&sns));
        let Some(&source) = source else { return };
        let out = self.sets.get_mut(&source).and_then(|set| set.out.get_mut(&link));
        if let Some(out) = out.filter(|out| out.id == sns && !out.ready) {
            out.ready = true;
            self.dirty.insert(source);
        }
    }

    /// What is to be done next; none when all is done for now, or as much as [`Self::allow`] allows.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            self.come_due(now);
            if self.outputs.is_empty() {
                let source = self.next_source()?;
                self.resolve(source, now);
            }
        }
    }

    /// When [`Self::take_unsaid`] and [`Self::poll_output`] are to be asked again although nothing happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.moved.first().map(|(at, _)| *at)).min()
    }

    /// How often something happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Nodes to which no link leads, those of all sources together.
    #[must_use]
    pub const fn stranded(&self) -> usize {
        self.stranded
    }

    /// Every source there is, in order.
    pub fn sources(&self) -> impl Iterator<Item = Source> + '_ {
        self.sets.keys().copied()
    }

    /// Whether any peer sends what is for others than this relay.
    #[must_use]
    pub fn leads_on(&self) -> bool {
        let mut sets = self
            .sets
            .iter()
            .filter(|(source, _)| matches!(source, Source::Ingress(..)));
        sets.any(|(_, set)| set.wanted.iter().any(|node| *node != self.me))
    }

    /// What is known of a source.
    #[must_use]
    pub fn view(&self, source: Source) -> Option<View<'_>> {
        let set = self.sets.get(&source)?;
        let told = set.out.iter();
        let told = told.map(|(link, out)| (*link, out.id, out.told.as_slice(), out.leaving.len()));
        Some(View {
            wanted: &set.wanted,
            origin: set.origin,
            route: set.route.as_ref(),
            stranded: &set.stranded,
            told: told.collect(),
        })
    }

    /// The links that new data of a source takes, the id that it has there, and the nodes that it reaches by them.
    #[must_use]
    pub fn assigned(&self, source: Source) -> Vec<(LinkId, SnsId, Vec<NodeId>)> {
        let Some(set) = self.sets.get(&source) else {
            return Vec::new();
        };
        let assigned = |(link, out): (&LinkId, &OutSet)| (*link, out.id, out.assigned().collect());
        set.out.iter().map(assigned).collect()
    }

    /// Whose data goes out on a link under an id.
    #[must_use]
    pub fn source_of(&self, link: LinkId, sns: SnsId) -> Option<Source> {
        self.links.get(&link)?.out.get(&sns).copied()
    }

    /// Everything that the peer of a link was told, which is to be told anew when it may be lost.
    pub fn told_on(&self, link: LinkId) -> impl Iterator<Item = NodeSet> + '_ {
        let outs = self.sets.values().filter_map(move |set| set.out.get(&link));
        outs.map(OutSet::message)
    }

    /// Forgets a source, and withdraws all that was told of it.
    fn end(&mut self, source: Source) {
        let Some(set) = self.sets.remove(&source) else {
            return;
        };
        self.dirty.remove(&source);
        self.later.remove(source);
        self.crowded.remove(&source);
        self.stranded -= set.stranded.len();
        if set.route.is_some() {
            self.outputs.push_back(Output::Ended(source));
        }
        for (link, out) in set.out {
            self.withdraw(link, out.id);
        }
    }

    /// Ends a set of ours, if its link is up; who found no room on some link is looked at again.
    fn withdraw(&mut self, link: LinkId, sns: SnsId) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.out.remove(&sns);
        self.counters.withdrawn += 1;
        self.outputs.push_back(Output::Withdraw { link, sns });
        // All that ends in a turn makes room before that is given away: each of these is looked at once for all of it.
        self.later.extend(std::mem::take(&mut self.crowded).into_iter());
    }
}

/// All that a peer may tell on a link.
fn of_link(link: LinkId) -> RangeInclusive<Source> {
    let last = SnsId::new(u32::MAX).unwrap_or(SnsId::FIRST);
    Source::Ingress(link, SnsId::FIRST)..=Source::Ingress(link, last)
}
