//! What comes out of the sets of nodes, and who is told of it.

use super::{Links, OutRoute, TrackRerouted};
use crate::peering::mesh::SendToNode;
use crate::supervise::mailbox;
use actix::Recipient;
use laps_protocol::peering::fib::Fib;
use laps_protocol::peering::forward::node_sets::{JoinCause, Lost, Output, Rerouted};
use laps_protocol::peering::forward::{LinkId, NodeSets, Source};
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{LostNodes, Message, NodeSet, SnsId};
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Nodes of sets that are looked at in one turn when links or routes are others: some milliseconds.
pub(super) const TURN: usize = 16_384;

/// The sets, and what is remembered of their routes.
pub(super) struct Core {
    pub(super) sets: NodeSets<Fib>,
    links: Links,
    origin: Option<Recipient<TrackRerouted>>,
    /// Tracks whose routes changed since they were asked for.
    rerouted: BTreeSet<FullNameHash>,
    /// What links are told at the end of this turn, by set.
    telling: BTreeMap<(LinkId, SnsId), Telling>,
    /// Why, and when, each link came into the route of a track of this relay.
    joined: HashMap<FullNameHash, BTreeMap<LinkId, (JoinCause, u64)>>,
    /// To whom links lead again, by track of this relay: something of it was for them and went nowhere.
    back: HashMap<FullNameHash, BTreeSet<NodeId>>,
    /// What of other nodes' tracks was lost here, by origin: who lacks it. Told at the end of this turn.
    lost: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Who takes that to the origins.
    bases: Option<Recipient<SendToNode>>,
}

/// What is to be told of a set. That it is over does not take the place of what it was: its data does not wait for the end of
/// the turn, and whoever has it and never hears whom it is for loses it.
#[derive(Default)]
struct Telling {
    /// The latest.
    set: Option<NodeSet>,
    over: bool,
}

impl Core {
    pub(super) fn new(mut sets: NodeSets<Fib>, links: Links) -> Self {
        // Turns are given by who runs the plane.
        sets.allow(0);
        Self {
            sets,
            links,
            origin: None,
            rerouted: BTreeSet::new(),
            telling: BTreeMap::new(),
            joined: HashMap::new(),
            back: HashMap::new(),
            lost: BTreeMap::new(),
            bases: None,
        }
    }

    /// By whom origins are told what was lost of theirs.
    pub(super) fn speak_by(&mut self, bases: Recipient<SendToNode>) {
        self.bases = Some(bases);
    }

    /// The nodes to which links lead again, since that was asked last.
    pub(super) fn take_back(&mut self, track: FullNameHash) -> BTreeSet<NodeId> {
        self.back.remove(&track).unwrap_or_default()
    }

    /// Who is told of routes from now on; what it does not know yet it is told now.
    pub(super) fn tell_origin(&mut self, origin: Recipient<TrackRerouted>) {
        for track in &self.rerouted {
            mailbox::signal(&origin, TrackRerouted(*track));
        }
        self.origin = Some(origin);
    }

    pub(super) fn route(&mut self, track: FullNameHash) -> Vec<OutRoute> {
        self.rerouted.remove(&track);
        let source = Source::Track(track);
        let nodes = self.sets.assigned(source).into_iter();
        let mut nodes: BTreeMap<_, _> = nodes.map(|(link, _, nodes)| (link, nodes)).collect();
        let route = self.sets.view(source).and_then(|view| view.route);
        let egress = route.into_iter().flat_map(|route| route.egress());
        let joined = self.joined.get(&track);
        let out = egress.map(|egress| {
            let joined = joined.and_then(|joined| joined.get(&egress.link)).copied();
            let (cause, joined) = joined.unwrap_or((JoinCause::Asked, 0));
            OutRoute {
                link: egress.link,
                sns: egress.sns,
                laps: egress.laps,
                nodes: nodes.remove(&egress.link).unwrap_or_default(),
                cause,
                joined,
            }
        });
        out.collect()
    }

    /// A link is up, to a stub of this relay or not, and to a laps relay or not.
    pub(super) fn link_up(&mut self, link: LinkId, peer: NodeId, (stub, laps): (bool, bool)) {
        if stub {
            self.sets.stub_up(link, peer, laps);
        } else {
            self.sets.link_up(link, peer, laps);
        }
    }

    /// All that the peer of a link was told.
    pub(super) fn told_on(&self, link: LinkId) -> Vec<Message> {
        let told = self.sets.told_on(link);
        told.map(Message::NodeSetAdvertise).collect()
    }

    /// Sets that the peers of these links were told, and sets that peers told.
    pub(super) fn sizes<'a>(&self, links: impl Iterator<Item = &'a LinkId>) -> (usize, usize) {
        let told = links.map(|link| self.sets.told_on(*link).count()).sum();
        let sources = self.sets.sources();
        (
            told,
            sources
                .filter(|source| matches!(source, Source::Ingress(..)))
                .count(),
        )
    }

    /// The peer of a link withdrew a set.
    pub(super) fn withdrawn(&mut self, link: LinkId, sns: SnsId, now: Instant) {
        let state = self.links.borrow().get(&link).cloned();
        if let Some(state) = state {
            state.withdrawn(sns);
        }
        self.sets.withdrawn(link, sns, now);
    }

    /// Sets whose withdrawal was lost with a control stream are taken back as if it had come.
    fn withdraw_unsaid(&mut self, now: Instant) {
        for (link, sns) in self.sets.take_unsaid(now) {
            self.withdrawn(link, sns, now);
        }
    }

    /// Sets that were withdrawn stay while data of theirs goes on: its next relay is to know them until it is there.
    fn wait_for_data(&mut self, now: Instant) {
        for (link, sns) in self.sets.ending(now) {
            if let Some(state) = self.links.borrow().get(&link) {
                self.sets.still_carries(link, sns, state.progress(sns), now);
            }
        }
    }

    /// Does what came out of the sets. True when links are to be told something.
    pub(super) fn drain(&mut self, now: Instant) -> bool {
        let mut changed = BTreeSet::new();
        self.withdraw_unsaid(now);
        self.wait_for_data(now);
        while let Some(output) = self.sets.poll_output(now) {
            match output {
                Output::Advertise { link, set } => {
                    if let Some(Source::Track(track)) = self.sets.source_of(link, set.id) {
                        // Who gets it is another, if not by which link.
                        changed.insert(track);
                    }
                    // laps peering, "SNS Advertisement": the same id gets a new set, and what it was before has no use.
                    let id = set.id;
                    self.telling.entry((link, id)).or_default().set = Some(set);
                }
                // This relay's own subscriptions know it themselves.
                Output::Prioritise { link, sns, priority } => {
                    if let Some(Source::Ingress(..)) = self.sets.source_of(link, sns)
                        && let Some(state) = self.links.borrow().get(&link)
                    {
                        state.out.urgencies.set(sns, priority);
                    }
                }
                Output::Withdraw { link, sns } => {
                    if let Some(state) = self.links.borrow().get(&link) {
                        state.out.urgencies.forget(sns);
                    }
                    self.telling.entry((link, sns)).or_default().over = true;
                }
                Output::Route(rerouted) => changed.extend(self.reroute(rerouted)),
                Output::Ended(source) => changed.extend(self.end(source)),
                Output::Lost(Lost {
                    source: Source::Track(track),
                    ..
                }) => {
                    changed.insert(track);
                }
                Output::Lost(Lost { source, nodes, .. }) => {
                    self.lose(source, nodes.into_iter().map(|(node, _)| node));
                }
                Output::Back {
                    source: Source::Track(track),
                    nodes,
                } => {
                    self.back.entry(track).or_default().extend(nodes);
                    changed.insert(track);
                }
                Output::Back { source, nodes } => self.lose(source, nodes),
                Output::Refused { link, why, .. } => {
                    if let Some(state) = self.links.borrow().get(&link) {
                        state.once.warn("a subscriber node set is not taken", &why);
                    }
                }
                _ => {}
            }
        }
        for track in changed {
            // One message until it has looked: there may be many changes in a row.
            if self.rerouted.insert(track)
                && let Some(origin) = &self.origin
            {
                mailbox::signal(origin, TrackRerouted(track));
            }
        }
        !self.telling.is_empty() || !self.lost.is_empty()
    }

    /// Something that came from a peer did not get to these nodes. A relay in between keeps nothing, so its origin is told,
    /// who sends it again: nobody else sees that it is missing. Where a laps relay is on the way, who that is is not known.
    fn lose(&mut self, source: Source, nodes: impl IntoIterator<Item = NodeId>) {
        if let Some(origin) = self.sets.view(source).and_then(|view| view.origin) {
            self.lost.entry(origin).or_default().extend(nodes);
        }
    }

    /// Tells links what changed in this turn.
    pub(super) fn tell(&mut self) {
        let mut by_link = BTreeMap::<LinkId, Vec<Message>>::new();
        for ((link, sns), Telling { set, over }) in std::mem::take(&mut self.telling) {
            let messages = by_link.entry(link).or_default();
            messages.extend(set.map(Message::NodeSetAdvertise));
            messages.extend(over.then_some(Message::NodeSetWithdraw(sns)));
        }
        for (link, messages) in by_link {
            if let Some(state) = self.links.borrow().get(&link) {
                state.tell(messages);
            }
        }
        for (target, nodes) in std::mem::take(&mut self.lost) {
            self.tell_lost(target, nodes.into_iter().collect());
        }
    }

    fn tell_lost(&self, target: NodeId, mut nodes: Vec<NodeId>) {
        let Some(bases) = &self.bases else { return };
        while !nodes.is_empty() {
            let rest = nodes.split_off(nodes.len().min(LostNodes::MOST));
            let (kind, request_id) = (LostNodes::KIND, 0);
            let body = LostNodes(std::mem::replace(&mut nodes, rest)).encode();
            let say = SendToNode {
                target,
                kind,
                request_id,
                body,
            };
            mailbox::signal(bases, say);
        }
    }

    /// A link is gone.
    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.sets.link_down(link);
        self.telling.retain(|(to, _), _| *to != link);
    }

    /// Forgets a source; the value is the track of this relay that it was of.
    fn end(&mut self, source: Source) -> Option<FullNameHash> {
        match source {
            Source::Track(track) => {
                self.joined.remove(&track);
                self.back.remove(&track);
                Some(track)
            }
            Source::Ingress(link, sns) => {
                let state = self.links.borrow().get(&link).cloned();
                if let Some(state) = state {
                    state.remove_route(sns);
                }
                None
            }
        }
    }

    /// Takes a new route to whoever it is for; the value is the track of this relay that it is of.
    fn reroute(&mut self, rerouted: Rerouted) -> Option<FullNameHash> {
        let Rerouted {
            source,
            route,
            joined,
            left,
        } = rerouted;
        match source {
            Source::Track(track) => {
                let known = self.joined.entry(track).or_default();
                known.retain(|link, _| !left.contains(link));
                let joined = joined.iter();
                known.extend(joined.map(|joined| (joined.link, (joined.cause, route.version()))));
                Some(track)
            }
            Source::Ingress(link, sns) => {
                let origin = self.sets.view(source).and_then(|view| view.origin);
                let state = self.links.borrow().get(&link).cloned();
                if let Some(state) = state {
                    state.set_route(sns, route, origin);
                }
                None
            }
        }
    }
}
