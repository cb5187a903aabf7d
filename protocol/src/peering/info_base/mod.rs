//! What a relay knows of its mesh: nodes, publications and subscriptions. laps peering, "Information Bases".
//!
//! [`InfoBase`] is one machine without IO. It is given links, messages, commands of local users and the time, one input
//! after the other; after each one [`InfoBase::poll_output`] is asked until there is nothing more.
//!
//! | file | what it holds |
//! |---|---|
//! | `links` | the links, and what counts as their round trip time |
//! | `nodes` | nodes and ways to them, and with that the FIB; in `nodes/telling`, what neighbours are told of them |
//! | `crowds` | who makes room when there are too many nodes |
//! | `twins` | two relays with one id |
//! | `ledger` | the newest word of each node about each info, withdrawn ones for a while, and which word is newer |
//! | `names` | the names behind the hashes |
//! | `infos`, `publishes`, `subscribes` | infos of other nodes: what is kept, told to local users and handed on |
//! | `held` | what links are to be told that have no room |
//! | `put_off` | what laps relays say of nodes that say it themselves |
//! | `own` | publications and subscriptions of this relay and its stubs |
//! | `stubs`, `stub_index` | what an edge tells its stubs, and which of them a change concerns |
//! | `speakers` | in whose name a neighbour may say something to a node |
//! | `leaving` | ways around a relay that is about to end |
//! | `sync`, `answers` | how relays find out that they missed something, and what they are told then |
//!
//! **Flooding.** A node gives each statement about one of its infos one [`Stamp`] for all its links. A relay takes what is
//! newer than what it knows, and hands that on to all control links but the one it came on and the one to its node. So a
//! change crosses each link at most twice, in rings and meshes too.
//!
//! **Life.** An info lives as long as its node can be reached, and [`Settings::unreachable_hold`] longer: when another way
//! is found in that time nothing has happened. Infos of nodes that no relay tells of, as a laps relay may pass them on,
//! live as long as the link they came on. Those of laps relays, which tell all again whenever a link comes up, go at once.
//!
//! **Catching up.** A laps relay is told everything when its link comes up. Between relays of ours nothing is told twice:
//! a relay that sees a node appear asks it for its infos ([`NodeMessage::Pull`]), also through Vias, which keep none; and
//! each node tells regularly of its infos as a whole ([`OwnMessage::Summary`]), so that whoever lost one asks again.

mod answers;
mod crowds;
mod held;
mod infos;
mod leaving;
mod ledger;
mod links;
mod message;
mod names;
mod nodes;
mod own;
mod publishes;
mod put_off;
mod settings;
mod speakers;
mod stub_index;
mod stubs;
mod subscribes;
mod sync;
#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]
mod tests;
mod twins;

pub use links::{Kin, LinkId, LinkUp, RefuseReason};
pub use message::{
    Command, CommandError, Digest, InfoKey, NodeMessage, Output, OwnMessage, Report, ReportKind,
};
pub use settings::{Counters, Limits, Settings};

use super::fib::Fib;
pub use super::message::Stamp;

use super::message::{Message, PeerMode};
use super::node::{NodeId, NodeType};
use links::{Link, Links};
use nodes::Nodes;
use own::Own;
use publishes::Publishes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use subscribes::Subscribes;
use sync::Sync;

/// Infos of nodes that are gone which are taken out in one turn: there may be millions, and whoever runs the machine has
/// more to do.
const PURGED_AT_ONCE: usize = 4096;

/// The information bases of one relay.
#[derive(Debug)]
pub struct InfoBase {
    node: NodeId,
    role: NodeType,
    epoch: u64,
    settings: Settings,
    limits: Limits,
    counters: Counters,
    links: Links,
    nodes: Nodes,
    fib: Fib,
    fib_changed: bool,
    publishes: Publishes,
    subscribes: Subscribes,
    /// What a Via handed on.
    seen: ledger::Ledger<infos::Seen>,
    own: Own,
    stubs: stub_index::StubIndex,
    /// Nodes that cannot be reached, and when their infos go.
    departed: BTreeMap<NodeId, Instant>,
    departures: BTreeSet<(Instant, NodeId)>,
    /// Nodes that only a laps relay speaks of, and its link.
    bound: BTreeMap<NodeId, LinkId>,
    put_off: put_off::PutOff,
    sync: Sync,
    /// This relay is about to end.
    leaving: bool,
    out: VecDeque<Output>,
    held: held::Held,
}

impl InfoBase {
    /// Empty bases of the relay `node`.
    ///
    /// `epoch` is the number of this life of the relay: greater than that of any earlier one and never 0, such as the time
    /// of the start in microseconds of the epoch. By it others tell what it says now from what it said before. A new
    /// machine has to be told of its links and its local publications and subscriptions again, and its links have to be
    /// new ones: what others told before, they do not tell again.
    #[must_use]
    pub fn new(
        node: NodeId,
        role: NodeType,
        epoch: u64,
        settings: Settings,
        limits: Limits,
        now: Instant,
    ) -> Self {
        Self {
            node,
            role,
            epoch: epoch.max(1),
            settings,
            limits,
            counters: Counters::default(),
            links: Links::default(),
            nodes: Nodes::default(),
            fib: Fib::default(),
            fib_changed: false,
            publishes: Publishes::default(),
            subscribes: Subscribes::default(),
            seen: ledger::Ledger::default(),
            own: Own::default(),
            stubs: stub_index::StubIndex::default(),
            departed: BTreeMap::new(),
            departures: BTreeSet::new(),
            bound: BTreeMap::new(),
            put_off: put_off::PutOff::default(),
            sync: Sync::new(node, &settings, now),
            leaving: false,
            out: VecDeque::new(),
            held: held::Held::default(),
        }
    }

    /// A link was established and CONNECT exchanged. Called again for the same link it changes its mode.
    ///
    /// When the link is refused an output says so; the caller closes it and need not tell that it is down.
    pub fn link_up(&mut self, now: Instant, id: LinkId, up: LinkUp) {
        if self.links.get(id).is_some() {
            self.link_down(now, id);
        }
        if let Err(reason) = self.admits(&up) {
            self.counters.refused_links += 1;
            self.out.push_back(Output::Refused { link: id, reason });
            return;
        }
        let peer = up.node.id;
        let link = Link {
            peer,
            peer_type: up.node.node_type,
            mode: up.mode,
            kin: up.kin,
            srtt_us: up.srtt_us.min(self.limits.max_srtt_us),
            takes_data: false,
            sends_data: false,
            leaving: false,
            heard: BTreeSet::new(),
            told: BTreeMap::new(),
            greeted: false,
            reported: BTreeSet::new(),
            stub: (up.node.node_type == NodeType::Stub && up.mode.has_control()).then(Box::default),
        };
        let before = self.links.data_ways(peer);
        let life = self.nodes.known_life(peer);
        self.links.insert(id, link);
        // A link that only brings data is no way to its peer, and is not to keep up what was learned by one that is.
        if up.mode != PeerMode::DataIn {
            self.insert_peer(id, &up.node, up.kin.epoch());
        }
        self.neighbour_changed(peer, before);
        if up.mode.has_control() && up.node.node_type != NodeType::Stub {
            self.nodes.touch_all();
        }
        self.settle_nodes(now);
        self.say_leaving(id);
        if up.mode.has_control() {
            self.greet(now, id);
        }
        // Data reached the peer, or another way led to it: what was flooded on the control link before this one, and did
        // not arrive, is asked for.
        let known = life.filter(|life| *life != 0 && *life == self.life(peer));
        if let Some(life) = known.filter(|_| up.mode.has_control()) {
            self.appeared(now, peer, up.node.node_type, life);
        }
    }

    /// Whether [`Self::link_up`] would take this link, for who has to answer its peer before. Two links that are asked for
    /// at once may both be taken, and the second one refused then.
    ///
    /// # Errors
    /// Why it would not.
    pub fn admits(&self, up: &LinkUp) -> Result<(), RefuseReason> {
        let stub = |kind| kind == NodeType::Stub;
        let (peer, kind) = (&up.node, up.node.node_type);
        if peer.id == self.node {
            return Err(RefuseReason::OurOwnId);
        }
        if self.links.len() >= self.limits.max_links {
            return Err(RefuseReason::TooManyLinks);
        }
        // laps peering, "Stub": must peer directly with Edge relays.
        if (stub(self.role) && kind != NodeType::Edge) || (stub(kind) && self.role != NodeType::Edge) {
            return Err(RefuseReason::StubsNeedEdges);
        }
        if self.role == NodeType::Via && !up.kin.is_ours() {
            return Err(RefuseReason::LapsNeedsAnEdge);
        }
        // laps peering, "Node ID": only the first (oldest) will work.
        let known = self.nodes.identity(peer.id);
        if known.is_some_and(|known| !nodes::same_node(known, peer)) {
            return Err(RefuseReason::DuplicateNodeId);
        }
        if self.nodes.is_younger_twin(peer.id, up.kin.epoch()) {
            return Err(RefuseReason::DuplicateNodeId);
        }
        // A relay that nobody gave a contact says the same of itself as any other one: only its life tells them apart.
        if self.links.other_life(peer.id, up.kin) {
            return Err(RefuseReason::OtherLife);
        }
        // laps peering, "Connection Establishment": one connection for control.
        if up.mode.has_control() && self.links.control(peer.id).is_some() {
            return Err(RefuseReason::SecondControlLink);
        }
        Ok(())
    }

    /// The round trip time of a link was measured, in microseconds.
    pub fn link_srtt(&mut self, now: Instant, id: LinkId, srtt_us: u64) {
        let measured = srtt_us.min(self.limits.max_srtt_us);
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let counts = links::damped(link.srtt_us, measured);
        if std::mem::replace(&mut link.srtt_us, counts) != counts {
            self.nodes.measured(now, &link.heard);
            self.look_at_nodes(now);
        }
    }

    /// A link is gone, and with it all that was learned by it. laps peering, "Connection Establishment".
    pub fn link_down(&mut self, now: Instant, id: LinkId) {
        let Some(gone) = self.links.get(id) else { return };
        let (peer, before) = (gone.peer, self.links.data_ways(gone.peer));
        let Some(gone) = self.links.remove(id) else { return };
        self.put_off.link_down(id);
        self.held.link_down(id);
        self.forget_ways(id, gone.heard);
        self.neighbour_changed(peer, before);
        self.settle_nodes(now);
        self.unheard(now, id);
        if let Some(stub) = gone.stub {
            self.stub_gone(now, id, peer, *stub);
        }
        self.sync.answers.link_down(id);
        let bound: Vec<_> = self
            .bound
            .iter()
            .filter(|(_, link)| **link == id)
            .map(|(node, _)| *node)
            .collect();
        for node in bound {
            self.bound.remove(&node);
            self.depart(now, node, Duration::ZERO);
        }
        if self.own.parent == Some(id) {
            self.choose_parent(now);
        }
        self.purge_due(now);
    }

    fn neighbour_changed(&mut self, peer: NodeId, before: (bool, bool)) {
        self.fib_changed |= self.fib.set_links(peer, &self.links.data(peer));
        if self.links.data_ways(peer) == before {
            return;
        }
        if self
            .nodes
            .info(peer)
            .is_some_and(|info| info.node_type == NodeType::Stub)
        {
            // It is told of no nodes, and leads to no other.
            self.nodes.touch(peer);
        } else {
            // What neighbours are told depends on whether they take data, and send it.
            self.nodes.touch_all();
        }
    }

    /// A control message came on a link: node, subscribe and publish infos, and nothing else.
    ///
    /// `stamp` is what a relay of ours sends along: see [`Output::Send`].
    pub fn handle_message(&mut self, now: Instant, from: LinkId, message: Message, stamp: Stamp) {
        self.counters.received += 1;
        let Some(link) = self.links.get(from) else { return };
        if !link.mode.has_control() {
            self.counters.out_of_place += 1;
            return;
        }
        match message {
            Message::NodeInfoAdvertise(info) => {
                self.node_advertised(from, info, stamp.epoch);
                self.settle_nodes(now);
                self.purge_due(now);
            }
            Message::NodeInfoWithdraw(info) => {
                self.node_withdrawn(from, info.id);
                self.settle_nodes(now);
                self.purge_due(now);
            }
            message @ (Message::SubscribeInfoAdvertise(_)
            | Message::SubscribeInfoWithdraw(_)
            | Message::PublishInfoAdvertise(_)
            | Message::PublishInfoWithdraw(_)) => self.info_came(now, from, message, stamp),
            // Who gets which data is the business of the session, and so is CONNECT.
            Message::Connect(_)
            | Message::ConnectResponse(_)
            | Message::NodeSetAdvertise(_)
            | Message::NodeSetWithdraw(_)
            | Message::Stamped(_)
            | Message::Relayed(_)
            | Message::Own(_)
            | Message::Ping(_)
            | Message::Pong(_) => self.counters.out_of_place += 1,
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let departures = self.departures.first().map(|(at, _)| *at);
        let times = [
            self.nodes.due(),
            self.publishes.ledger.due(),
            self.subscribes.ledger.due(),
            self.seen.due(),
            self.own.due(),
            departures,
            self.sync.due(),
        ];
        times.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.look_at_nodes(now);
        self.own_due(now);
        self.publishes.ledger.forget(now, usize::MAX, false);
        self.subscribes.ledger.forget(now, usize::MAX, false);
        self.seen.forget(now, self.limits.max_seen, true);
        self.purge_due(now);
        self.sync_due(now);
    }

    /// Takes out what nodes had that cannot be reached, as much as may go in one turn. For the rest the timeout is due.
    fn purge_due(&mut self, now: Instant) {
        let mut most = PURGED_AT_ONCE;
        while let Some((at, node)) = self.departures.first().copied().filter(|(at, _)| *at <= now) {
            let Some(left) = self.purge(node, most) else {
                return;
            };
            most = left;
            self.departures.remove(&(at, node));
            self.departed.remove(&node);
        }
    }

    /// The next thing to be done; none when all that followed from the last input is done.
    ///
    /// After a new link, or a relay's request, there may be as many as there are infos. They are made one at a time, so a
    /// caller may stop in between, and go on when there is room.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.poll_output_where(|_| true)
    }

    /// The same, but of what links are told, only what goes to those that have room. The rest waits here, in order, and of
    /// what is said of one thing the newest; a link for which more than [`Limits::max_held`] waits is to be ended.
    pub fn poll_output_where(&mut self, has_room: impl Fn(LinkId) -> bool) -> Option<Output> {
        if let Some(output) = self.held.next(&has_room) {
            return Some(output);
        }
        while let Some(output) = self.out.pop_front() {
            let Some(link) = output.waits_for() else {
                return Some(output);
            };
            if !self.held.waits_for(link) && has_room(link) {
                return Some(output);
            }
            if self.links.get(link).is_some() && !self.held.push(link, output, self.limits.max_held) {
                self.held.link_down(link);
                let reason = RefuseReason::TooFarBehind;
                return Some(Output::EndLink { link, reason });
            }
        }
        while let Some(at) = self.answer_with_room(&has_room) {
            self.turn_to(at);
            if let Some(output) = self.next_of_first() {
                return Some(output);
            }
        }
        None
    }

    /// The link on which a message for `node` goes on its way, as those of [`Output::ToNode`] do; none when there is no way
    /// of relays of ours with control links, as others hand none on. It need not be the way of the data.
    #[must_use]
    pub fn control_link(&self, node: NodeId) -> Option<LinkId> {
        let best = self.nodes.best(node)?;
        match best.control {
            Some(control) => self.links.control(control.peer),
            None => self.heard_by(node).map(|(link, _)| link),
        }
    }

    /// Where data is sent, as last told.
    #[must_use]
    pub const fn fib(&self) -> &Fib {
        &self.fib
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// How much is kept.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            links: self.links.len(),
            nodes: self.nodes.reachable(),
            publishes: self.publishes.ledger.alive(),
            subscribes: self.subscribes.ledger.alive(),
            remembered: self.publishes.ledger.len() + self.subscribes.ledger.len() + self.seen.len()
                - self.publishes.ledger.alive()
                - self.subscribes.ledger.alive(),
            own: self.own.len(),
            held: self.held.len(),
        }
    }

    fn report(&mut self, from: LinkId, kind: ReportKind) {
        let link = self.links.get_mut(from);
        if link.is_some_and(|link| link.reported.insert(kind)) {
            self.out
                .push_back(Output::Report(Report::Link { link: from, kind }));
        }
    }

    fn over_limit(&mut self, from: LinkId, kind: ReportKind) {
        self.counters.over_limit += 1;
        self.report(from, kind);
    }
}

/// How much is kept of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Links that are up.
    pub links: usize,
    /// Nodes that can be reached.
    pub nodes: usize,
    /// Publish infos of other nodes.
    pub publishes: usize,
    /// Subscribe infos of other nodes.
    pub subscribes: usize,
    /// What is remembered of infos that are over, or, on a Via, were handed on.
    pub remembered: usize,
    /// Publications and subscriptions of this relay and its stubs, those included that are withdrawn and remembered.
    pub own: usize,
    /// What waits for links that have no room.
    pub held: usize,
}

/// A time after `now`; none where time ends.
fn after(now: Instant, duration: Duration) -> Option<Instant> {
    now.checked_add(duration)
}
