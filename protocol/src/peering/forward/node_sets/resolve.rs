//! From the nodes that want the data of a source to a set for each link, and to a route.

use super::{JoinCause, Joined, Leaving, Lost, NodeSets, OutSet, Output, Rerouted, Set};
use crate::peering::fib;
use crate::peering::forward::route::{Egress, LinkId, Route, Routes, Source};
use crate::peering::message::{NodeSet, Priorities};
use crate::peering::node::{NodeId, NodeType};
use crate::relay::scheduler::DEFAULT_PRIORITY;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// How the nodes of a source are reached, each in one of these ways.
#[derive(Default)]
struct Plan {
    /// By this relay's own subscribers.
    local: bool,
    /// The link that leads to each.
    links: BTreeMap<NodeId, LinkId>,
    /// The same by link, ascending.
    sets: BTreeMap<LinkId, Vec<NodeId>>,
    /// Not at all, ascending.
    stranded: Vec<NodeId>,
    /// Those of them that are because links lead back only.
    loops: u64,
    /// Those of them that are because links have no room.
    crowded: u64,
}

impl<R: Routes> NodeSets<R> {
    /// Works out one source, and says what became different.
    pub(super) fn resolve(&mut self, source: Source, now: Instant) {
        self.later.remove(source);
        let Some(mut set) = self.sets.remove(&source) else {
            return;
        };
        if set.wanted.is_empty() && matches!(source, Source::Track(_)) {
            self.sets.insert(source, set);
            return self.end(source);
        }
        let plan = self.plan(source, &set);
        self.count(&set, &plan);
        if plan.crowded > 0 {
            self.crowded.insert(source);
        }
        let before: BTreeMap<NodeId, LinkId> = set
            .out
            .iter()
            .flat_map(|(link, out)| out.assigned().map(|node| (node, *link)))
            .collect();
        let mut ended = Vec::new();
        // Those whose peers have a set already, which they may go by when the next stream comes.
        let known: BTreeSet<LinkId> = set.out.keys().copied().collect();
        let links: BTreeSet<LinkId> = set.out.keys().chain(plan.sets.keys()).copied().collect();
        let mut lost = Vec::new();
        for link in links {
            if self.links.contains_key(&link) {
                if self.tell(source, &mut set, link, (&plan, &before, &known), now) {
                    ended.extend(set.out.remove(&link).map(|out| (link, out.id)));
                }
            } else if let Some(out) = set.out.remove(&link) {
                lost.push((link, out));
            }
        }
        for (link, out) in lost {
            self.report_lost(source, link, &out, &set, &plan);
        }
        self.reroute(source, &mut set, &plan, now);
        for (link, id) in ended {
            self.withdraw(link, id);
        }
        self.report_back(source, &mut set, &plan, &before);
        set.stranded = plan.stranded;
        self.sets.insert(source, set);
    }

    /// Finds a link for each node.
    fn plan(&self, source: Source, set: &Set) -> Plan {
        let (seed, from) = match source {
            Source::Track(track) => (track.get(), None),
            Source::Ingress(link, sns) => (u64::from(link.0) << 32 | u64::from(sns.get()), Some(link)),
        };
        let from = from.and_then(|link| self.links.get(&link)).map(|link| link.peer);
        let mut plan = Plan::default();
        for &node in &set.wanted {
            // laps peering, "Relay Types": a Via takes no clients, and what comes to a Stub goes no further.
            let ours = node == self.me;
            if ours && self.role != NodeType::Via {
                plan.local = true;
                continue;
            }
            if ours || (self.role == NodeType::Stub && from.is_some()) {
                plan.stranded.push(node);
                continue;
            }
            let up = self.routes.links_to(node).iter();
            let up = up.filter_map(|link| Some((*link, self.links.get(link)?)));
            // Data never goes back to who sent it, by no link.
            let (mut any, mut forward) = (false, false);
            let best = up
                .inspect(|_| any = true)
                .filter(|(_, state)| Some(state.peer) != from)
                .inspect(|_| forward = true)
                .filter(|(link, state)| {
                    let room = self.limits.max_sets_per_link;
                    let told = set.out.contains_key(link) || plan.sets.contains_key(link);
                    let len = plan.sets.get(link).map_or(0, Vec::len);
                    (told || state.out.len() < room) && len < self.limits.max_set_nodes
                });
            // Equally good links share the sources; each source keeps to one, so that its nodes stay together.
            let best = fib::share(seed, best.map(|(link, _)| link));
            if let Some(link) = best {
                plan.links.insert(node, link);
                plan.sets.entry(link).or_default().push(node);
            } else {
                plan.stranded.push(node);
                plan.loops += u64::from(any && !forward);
                plan.crowded += u64::from(forward);
            }
        }
        plan
    }

    fn count(&mut self, set: &Set, plan: &Plan) {
        self.stranded = self.stranded - set.stranded.len() + plan.stranded.len();
        let new = plan.stranded.iter();
        let new = new
            .filter(|node| set.stranded.binary_search(node).is_err())
            .count();
        let new = u64::try_from(new).unwrap_or(u64::MAX);
        self.counters.nodes_stranded += new;
        self.counters.loops_cut += plan.loops.min(new);
        self.counters.nodes_crowded_out += plan.crowded.min(new);
    }

    /// Brings what one link is told up to date. True when it has no node any more, and its set has to go.
    fn tell(
        &mut self,
        source: Source,
        wanted: &mut Set,
        link: LinkId,
        (plan, before, known): (&Plan, &BTreeMap<NodeId, LinkId>, &BTreeSet<LinkId>),
        now: Instant,
    ) -> bool {
        let assigned = plan.sets.get(&link).map_or(&[][..], Vec::as_slice);
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        if !wanted.out.contains_key(&link) && assigned.is_empty() {
            return false;
        }
        let laps = state.laps;
        let listed = wanted
            .route
            .as_ref()
            .is_some_and(|route| route.to(link).is_some());
        let out = wanted.out.entry(link).or_insert_with(|| OutSet {
            id: state.allocate(source),
            told: Vec::new(),
            priorities: Priorities::default(),
            origin: None,
            priority: DEFAULT_PRIORITY,
            leaving: BTreeMap::new(),
            ready: !laps,
            cause: JoinCause::Asked,
        });
        for node in assigned {
            let cause = match before.get(node) {
                Some(same) if *same == link => continue,
                None => JoinCause::Asked,
                Some(other) if self.links.contains_key(other) => JoinCause::Moved,
                Some(_) => JoinCause::Died,
            };
            self.counters.nodes_moved += u64::from(cause == JoinCause::Moved);
            if !listed {
                out.cause = out.cause.max(cause);
            }
        }
        // Who is reached otherwise now stays for a while; who wants nothing any more, or cannot be reached, does not.
        let room = self.limits.max_set_nodes - assigned.len();
        let elsewhere = |node: &&NodeId| plan.links.get(node).is_some_and(|other| *other != link);
        let leaving = out.told.iter().filter(elsewhere).map(|node| {
            let overlap = plan.links.get(node).is_some_and(|link| known.contains(link));
            let begun = || self.leaving(overlap, now);
            (*node, out.leaving.get(node).copied().unwrap_or_else(begun))
        });
        let leaving = leaving.filter(|(_, leaving)| leaving.known_until > now);
        let leaving: BTreeMap<NodeId, Leaving> = leaving.take(room).collect();
        let due = leaving.values();
        let due = due.flat_map(|leaving| [leaving.served_until, leaving.known_until]);
        let due = due.filter(|at| *at > now).min();
        self.due.extend(due.map(|at| (at, source)));
        out.leaving = leaving;
        let nodes = assigned.iter().chain(out.leaving.keys()).copied();
        let nodes = nodes.map(|node| (node, wanted.priorities.of(&wanted.wanted, node)));
        let set = NodeSet::urgent(out.id, nodes).from_origin(wanted.origin);
        if set.nodes().is_empty() {
            return true;
        }
        let priority = set.most_urgent();
        if std::mem::replace(&mut out.priority, priority) != priority {
            let sns = out.id;
            self.outputs.push_back(Output::Prioritise { link, sns, priority });
        }
        let same = out.priorities == *set.priorities();
        out.priorities.clone_from(set.priorities());
        // laps peering, "Source Routing": the same id gets a new set. Laps relays do not hear of priorities.
        if out.told != set.nodes() || out.origin != set.origin || !(same || laps) {
            (out.told, out.origin) = (set.nodes().to_vec(), set.origin);
            self.counters.advertised += 1;
            self.outputs.push_back(Output::Advertise { link, set });
        }
        false
    }

    /// How long a node stays that is reached otherwise from now on.
    fn leaving(&self, overlap: bool, now: Instant) -> Leaving {
        let after = |time| now.checked_add(time).unwrap_or(now);
        let served_until = if overlap {
            after(self.limits.move_overlap)
        } else {
            now
        };
        Leaving {
            served_until,
            known_until: after(self.limits.move_grace).max(served_until),
        }
    }

    /// Says who was on a link that died, or had been until a moment ago: what was open there was theirs.
    fn report_lost(&mut self, source: Source, link: LinkId, out: &OutSet, set: &Set, plan: &Plan) {
        let nodes: Vec<(NodeId, Option<LinkId>)> = out
            .told
            .iter()
            .copied()
            .filter(|node| set.wanted.binary_search(node).is_ok())
            .map(|node| (node, plan.links.get(&node).copied()))
            .collect();
        self.counters.nodes_lost += u64::try_from(nodes.len()).unwrap_or(u64::MAX);
        if !nodes.is_empty() {
            self.outputs.push_back(Output::Lost(Lost { source, link, nodes }));
        }
    }

    /// Says to whom links lead again, and notes to whom none does any more.
    fn report_back(&mut self, source: Source, set: &mut Set, plan: &Plan, before: &BTreeMap<NodeId, LinkId>) {
        let stranded = |node: &NodeId| plan.stranded.binary_search(node).is_ok();
        let back = set.astray.extract_if(.., |node| !stranded(node));
        // Who is not wanted any more has nobody to miss anything.
        let nodes: Vec<_> = back.filter(|node| plan.links.contains_key(node)).collect();
        let lost = plan.stranded.iter().filter(|node| before.contains_key(node));
        set.astray.extend(lost);
        // What comes before there is a route waits for it, so nobody has missed anything yet.
        if !nodes.is_empty() && set.route.is_some() {
            self.outputs.push_back(Output::Back { source, nodes });
        }
    }

    /// Makes the route that follows from what the links were told, and says so if it leads elsewhere than before.
    fn reroute(&mut self, source: Source, set: &mut Set, plan: &Plan, now: Instant) {
        if set.route.is_none()
            && matches!(source, Source::Ingress(..))
            && set.out.values().any(|out| !out.ready)
        {
            let until = now.checked_add(self.limits.ready_wait).unwrap_or(now);
            let until = *set.waits_until.get_or_insert(until);
            if now < until {
                self.due.insert((until, source));
                return;
            }
        }
        // While a laps relay has not read its set yet, the link before it goes on.
        let waits = |node: &NodeId| {
            let out = plan.links.get(node).and_then(|link| set.out.get(link));
            out.is_some_and(|out| !out.ready)
        };
        let egress = set.out.iter().filter(|(_, out)| {
            let serves = out.told.len() > out.leaving.len();
            let overlaps = || out.leaving.values().any(|leaving| leaving.served_until > now);
            out.ready && (serves || overlaps() || out.leaving.keys().any(waits))
        });
        let egress = egress.map(|(link, out)| Egress {
            link: *link,
            sns: out.id,
            laps: self.links.get(link).is_some_and(|state| state.laps),
        });
        let route = Route::new(self.version + 1, plan.local, egress);
        let before = set.route.take();
        if let Some(same) = before.as_ref().filter(|before| before.leads_as(&route)) {
            set.route = Some(Arc::clone(same));
            return;
        }
        self.version += 1;
        let was = |link| before.as_ref().is_some_and(|before| before.to(link).is_some());
        let mut joined = Vec::new();
        for egress in route.egress() {
            let out = set.out.get_mut(&egress.link);
            if let Some(out) = out.filter(|_| !was(egress.link)) {
                joined.push(Joined {
                    link: egress.link,
                    cause: std::mem::replace(&mut out.cause, JoinCause::Asked),
                });
            }
        }
        let left = before.iter().flat_map(|before| before.egress());
        let left = left.map(|egress| egress.link);
        let left = left.filter(|link| route.to(*link).is_none()).collect();
        let route = Arc::new(route);
        set.route = Some(Arc::clone(&route));
        self.outputs.push_back(Output::Route(Rerouted {
            source,
            route,
            joined,
            left,
        }));
    }
}
