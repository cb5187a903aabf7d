//! Nodes that join a track in the middle: what is open by then goes to them by streams of their own.
//!
//! A link's streams go to the nodes that its set named when they began (decision 0029), so who joins later would miss the
//! rest of those, and of a group without end everything. On one relay a subscriber gets the rest, so it does here: a
//! subscription aside, under a set that has only those who joined, goes on with what is open, and is over when that is.
//! Where they become many, they are put together (`gather`).

use super::OriginActor;
use super::gather::Gathering;
use super::routing::spec;
use super::slot::{Plan, Slot};
use super::track::{Track, together};
use crate::limits::Kind;
use crate::peering::plane::{LinkOut, OutRoute, aside};
use actix::{AsyncContext, Context};
use laps_protocol::moqt::message::{RequestId, SubscribeOk};
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::Answer;
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long those who join in a row are waited for, to be sent what is open once.
pub(super) const TOGETHER: Duration = Duration::from_millis(2);
/// Sets of subscriptions aside that one track has at most, but for one in which others are put together: those of a link are
/// bounded. Beyond it who joins has to wait for a place.
pub(super) const MOST: usize = 16;

/// Those who joined one track.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Who is to be sent what is open, as soon as nobody else joins.
    waiting: BTreeSet<NodeId>,
    /// Who is to be sent that as soon as there is a place, and has been told that it has the track: so it gets all of it.
    put_off: BTreeSet<NodeId>,
    /// Subscriptions aside, and for whom.
    pub(super) groups: BTreeMap<RequestId, Group>,
    /// Some of them are being put together.
    pub(super) gathering: Option<Gathering>,
}

/// Some who joined together.
#[derive(Debug)]
pub(super) struct Group {
    /// The name of their set: who joined over several links has one.
    pub(super) set: FullNameHash,
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) slot: Slot,
    /// Another one has taken over what is open of it.
    pub(super) gave_way: bool,
}

impl Aside {
    /// For tests: all of them.
    #[cfg(test)]
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> + '_ {
        self.groups.values().map(|group| &group.slot)
    }

    /// Whether what is open is to come to the node by a subscription aside that has not been accepted, so that its answer
    /// waits for that.
    pub(super) fn is_awaited_by(&self, node: NodeId) -> bool {
        let mut groups = self.groups.values();
        self.waiting.contains(&node)
            || groups.any(|group| group.slot.accepted.is_none() && group.nodes.contains(&node))
    }

    /// There are as many sets as there may be.
    fn is_full(&self) -> bool {
        let sets = self.groups.values().map(|group| group.set);
        sets.collect::<BTreeSet<_>>().len() >= MOST
    }
}

impl OriginActor {
    /// These nodes came into the set of a link whose subscription runs.
    pub(super) fn join(&mut self, ctx: &mut Context<Self>, hash: FullNameHash, nodes: &[NodeId]) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let first = track.aside.waiting.is_empty();
        track.aside.waiting.extend(nodes);
        if first && !track.aside.waiting.is_empty() {
            ctx.run_later(TOGETHER, move |actor, ctx| actor.step_aside(ctx, hash));
        }
    }

    fn step_aside(&mut self, ctx: &mut Context<Self>, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let nodes = std::mem::take(&mut track.aside.waiting);
        let live = track.live();
        let nodes: BTreeSet<_> = nodes.intersection(&live).copied().collect();
        if track.aside.is_full() {
            track.aside.put_off.extend(nodes);
        } else if !nodes.is_empty() {
            self.begin_asides(ctx, hash, &nodes, false);
        }
        // Whom nothing leads to, or for whom there is no room, gets what begins from here on.
        self.welcome(hash, None);
        self.gather(ctx, hash);
    }

    /// Those who were put off have their turn, if there is a place; where there are many sets, some are put together, so
    /// that there is one.
    ///
    /// It may be that nobody joins any more, so each change by which that becomes possible comes here.
    pub(super) fn take_up(&mut self, ctx: &mut Context<Self>, hash: FullNameHash) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        if !track.aside.put_off.is_empty() && !track.aside.is_full() {
            let nodes: Vec<_> = std::mem::take(&mut track.aside.put_off).into_iter().collect();
            self.join(ctx, hash, &nodes);
        }
        self.gather(ctx, hash);
    }

    /// Begins a subscription aside on each link that leads to some of these nodes, of which all lack some of what is open if
    /// `lacking`; the value is the name of their set, none when there is no such link, or none that has room.
    pub(super) fn begin_asides(
        &mut self,
        ctx: &Context<Self>,
        hash: FullNameHash,
        nodes: &BTreeSet<NodeId>,
        lacking: bool,
    ) -> Option<FullNameHash> {
        // A set is named by what its data goes to; this one is named by chance.
        let set = aside(hash, self.next_request);
        let urgent = self.tracks.get(&hash)?.urgent();
        let targets = urgent.into_iter().filter(|(node, _)| nodes.contains(node));
        self.outlets.set_targets(set, targets.collect());
        for route in self.outlets.route(set) {
            if let Some(link) = self.outlets.link(route.link) {
                self.begin_aside(ctx, (hash, set), link, route, lacking);
            }
        }
        let mut begun = self.tracks.get(&hash)?.aside.groups.values();
        if begun.any(|group| group.set == set) {
            return Some(set);
        }
        self.outlets.set_targets(set, BTreeMap::new());
        None
    }

    fn begin_aside(
        &mut self,
        ctx: &Context<Self>,
        (hash, set): (FullNameHash, FullNameHash),
        link: LinkOut,
        route: OutRoute,
        lacking: bool,
    ) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let (Some(wish), Ok(place)) = (
            track.wish(&route.nodes),
            link.account.request(Kind::Subscriptions),
        ) else {
            return;
        };
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.counters.asides += 1;
        let (mut spec, heads) = spec(request, (&track.name, hash), &route, &wish, false, &self.stubs);
        spec.rewinds = lacking || track.rewinds(&route.nodes, &self.elsewhere);
        let plan = Plan {
            request,
            spec,
            heads,
            wish,
            nodes: route.nodes.clone(),
            place,
        };
        let slot = Slot::start(ctx, &self.env, link, plan);
        self.asides.insert(request, hash);
        self.asides_by_child.insert(slot.child, request);
        let nodes = route.nodes.into_iter().collect();
        let group = Group {
            set,
            nodes,
            slot,
            gave_way: false,
        };
        track.aside.groups.insert(request, group);
    }

    /// A subscription aside was accepted: those whom it is for have the track as it says.
    pub(super) fn aside_accepted(&mut self, ctx: &mut Context<Self>, request: RequestId, ok: SubscribeOk) {
        let overlap = self.limits.join_overlap;
        let Some((hash, group)) = self.aside(request) else {
            return;
        };
        group.slot.accepted = Some(ok.clone());
        let nodes = group.nodes.clone();
        for (node, request) in self.accept_nodes(hash, &nodes) {
            self.answer(node, hash, request, Answer::Ok(ok.clone()));
        }
        // Those who lost their link were not told before this either.
        self.welcome(hash, None);
        if overlap.is_zero() {
            self.leave_to_others(ctx, request);
        } else {
            ctx.run_later(overlap, move |actor, ctx| actor.leave_to_others(ctx, request));
        }
    }

    /// What begins comes to all by the subscriptions of their links from now on, and this one can be put together with others.
    fn leave_to_others(&mut self, ctx: &mut Context<Self>, request: RequestId) {
        if let Some((hash, group)) = self.aside(request) {
            group.slot.leave(true);
            self.take_up(ctx, hash);
        }
    }

    /// A subscription aside is over, has failed, or could not be had.
    pub(super) fn aside_over(&mut self, ctx: &mut Context<Self>, request: RequestId) {
        let Some((hash, group)) = self.aside(request) else {
            return;
        };
        let (link, nodes) = (group.slot.link(), group.slot.nodes.clone());
        self.drop_aside(hash, request);
        if let Some(track) = self.tracks.get_mut(&hash) {
            track.cuts.leave(link, nodes);
        }
        if self.outlets.link(link).is_none() {
            self.settle(ctx, hash, &[]);
        } else {
            self.welcome(hash, None);
            self.take_up(ctx, hash);
        }
    }

    /// What was open of a track has no use for a node any more. How urgent it is to the others is looked at when the track is
    /// settled.
    pub(super) fn leave_aside(&mut self, hash: FullNameHash, node: NodeId) {
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        track.aside.waiting.remove(&node);
        track.aside.put_off.remove(&node);
        let mut empty = Vec::new();
        for (request, group) in &mut track.aside.groups {
            if group.nodes.remove(&node) && group.nodes.is_empty() {
                empty.push(*request);
            }
        }
        for request in empty {
            self.drop_aside(hash, request);
        }
    }

    /// Each subscription aside is as urgent as it is by now to the most urgent of those whom it is for, and so is its set.
    pub(super) fn prioritise_asides(&mut self, hash: FullNameHash) {
        let Some(Track { nodes, aside, .. }) = self.tracks.get_mut(&hash) else {
            return;
        };
        let mut sets = BTreeMap::<FullNameHash, BTreeMap<NodeId, u8>>::new();
        for group in aside.groups.values_mut() {
            if let Some(wish) = together(nodes, &group.nodes) {
                group.slot.prioritise(wish.priority());
            }
            let named = group.nodes.iter();
            let named = named.filter_map(|id| Some((*id, nodes.get(id)?.wish.urgency())));
            sets.entry(group.set).or_default().extend(named);
        }
        for (set, nodes) in sets {
            self.outlets.set_targets(set, nodes);
        }
    }

    /// A track is over, or a link of it; the value is for whom they were.
    pub(super) fn end_asides(&mut self, hash: FullNameHash, by: impl Fn(LinkId) -> bool) -> BTreeSet<NodeId> {
        let groups = self.tracks.get(&hash).into_iter();
        let groups = groups.flat_map(|track| &track.aside.groups);
        let over = groups.filter(|(_, group)| by(group.slot.link()));
        let over: Vec<_> = over
            .map(|(request, group)| (*request, group.slot.nodes.clone()))
            .collect();
        let mut nodes = BTreeSet::new();
        for (request, group) in over {
            nodes.extend(group);
            self.drop_aside(hash, request);
        }
        nodes
    }

    fn drop_aside(&mut self, hash: FullNameHash, request: RequestId) {
        self.asides.remove(&request);
        let Some(track) = self.tracks.get_mut(&hash) else {
            return;
        };
        let Some(group) = track.aside.groups.remove(&request) else {
            return;
        };
        self.asides_by_child.remove(&group.slot.child);
        if !track.aside.groups.values().any(|other| other.set == group.set) {
            self.outlets.set_targets(group.set, BTreeMap::new());
        }
    }

    fn aside(&mut self, request: RequestId) -> Option<(FullNameHash, &mut Group)> {
        let hash = *self.asides.get(&request)?;
        let group = self.tracks.get_mut(&hash)?.aside.groups.get_mut(&request)?;
        Some((hash, group))
    }
}
