//! What happens to an info of another node, whichever kind it is. laps peering, "Publish Information" and "Subscribe
//! Information".

use super::ledger::{How, Said, Verdict, Weight, judge};
use super::{InfoBase, InfoKey, LinkId, Output, Report, ReportKind, Stamp, after};
use crate::peering::hash::FullNameHash;
use crate::peering::message::Message;
use crate::peering::node::{NodeId, NodeType};
use std::time::{Duration, Instant};

/// Where an info came from, and to whom it may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) said: Said,
    /// Relays of ours have it, or get it by themselves.
    pub(super) only_to_laps: bool,
}

/// What a Via remembers of an info that it handed on.
#[derive(Debug)]
pub(super) struct Seen {
    /// What it said, as a hash.
    content: u64,
    /// Since when its node could be reached: see [`super::nodes::Nodes::met`].
    met: u64,
}

impl Weight for Seen {
    fn bytes(&self) -> usize {
        0
    }
}

impl InfoBase {
    /// An info came on a link.
    pub(super) fn info_came(&mut self, now: Instant, from: LinkId, message: Message, stamp: Stamp) {
        let Some(link) = self.links.get(from) else { return };
        if link.is_stub() {
            self.stub_said(now, from, message);
            return;
        }
        // A stub hears of everything from one relay, which puts itself in the place of all nodes.
        let how = match (
            link.kin.is_ours() && self.role != NodeType::Stub,
            source_of(&message),
        ) {
            (true, _) => How::Stamped,
            (false, Some(source)) if source == link.peer => How::InOrderByOrigin,
            (false, _) => How::InOrder,
        };
        if self.role == NodeType::Stub && self.own.parent != Some(from) {
            self.counters.out_of_place += 1;
            return;
        }
        let itself = source_of(&message).filter(|source| {
            how != How::Stamped && self.role == NodeType::Edge && self.nodes.is_strict(*source, &self.links)
        });
        if let Some(source) = itself {
            return self.put_off(from, source, message, stamp);
        }
        let stamp = said_by(&message, stamp, link.kin.is_ours());
        let said = Said {
            stamp,
            alive: true,
            from,
            how,
        };
        let arrival = Arrival {
            said,
            only_to_laps: false,
        };
        self.info_said(now, message, arrival);
    }

    /// A node, or a relay on its behalf, said something of one of its infos.
    pub(super) fn info_said(&mut self, now: Instant, message: Message, mut arrival: Arrival) {
        let epoch = arrival.said.stamp.map_or(0, |stamp| stamp.epoch);
        if let Some(source) = source_of(&message) {
            if self.nodes.is_younger_twin(source, epoch) {
                self.counters.old += 1;
                return;
            }
            self.purge_rest(now, source);
        }
        let put_off = self.put_off_of(&message);
        match message {
            Message::SubscribeInfoAdvertise(info) => self.subscribe_said(now, info, arrival),
            Message::SubscribeInfoWithdraw(info) => {
                arrival.said.alive = false;
                self.subscribe_said(now, info, arrival);
            }
            Message::PublishInfoAdvertise(info) => self.publish_said(now, info, arrival),
            Message::PublishInfoWithdraw(info) => {
                arrival.said.alive = false;
                self.publish_said(now, info, arrival);
            }
            // Who gets which data is the business of the session, and so is CONNECT.
            Message::NodeInfoAdvertise(_)
            | Message::NodeInfoWithdraw(_)
            | Message::Connect(_)
            | Message::ConnectResponse(_)
            | Message::NodeSetAdvertise(_)
            | Message::NodeSetWithdraw(_)
            | Message::Stamped(_)
            | Message::Relayed(_)
            | Message::Own(_)
            | Message::Ping(_)
            | Message::Pong(_) => self.counters.out_of_place += 1,
        }
        if let Some(at) = put_off {
            self.said_itself(at);
        }
    }

    /// Whether an info is to be looked at at all.
    pub(super) fn is_from_elsewhere(&mut self, source: NodeId) -> bool {
        if source == self.node {
            // laps peering, "Subscribe Information": not back to the one that originated it. Who sent it may know no
            // better; taking it would replace what is so with what was so.
            self.counters.echoes += 1;
            return false;
        }
        true
    }

    pub(super) fn forged_hash(&mut self, from: LinkId) {
        self.counters.forged += 1;
        self.report(from, ReportKind::ForgedHash);
    }

    pub(super) fn collided(&mut self, hash: FullNameHash, source: NodeId, first: bool) {
        self.counters.collisions += 1;
        if first {
            self.out
                .push_back(Output::Report(Report::NameCollision { hash, source }));
        }
    }

    /// Counts what changes nothing; gives the stamp of what does.
    pub(super) fn count(&mut self, verdict: Verdict) -> Option<Stamp> {
        match verdict {
            Verdict::New(stamp) => return Some(stamp),
            Verdict::Known => self.counters.duplicates += 1,
            Verdict::Old => self.counters.old += 1,
        }
        None
    }

    /// A Via hands on what is new to it and forgets it after the convergence window. laps peering, "Via".
    pub(super) fn seen(
        &mut self,
        now: Instant,
        source: NodeId,
        key: InfoKey,
        content: u64,
        said: &Said,
    ) -> Option<Stamp> {
        // Relays beyond this one have dropped what a node had that came back, and a laps relay gives it the number it had.
        let met = self.nodes.met(source);
        let known = self.seen.get(source, key).filter(|known| known.value.met == met);
        let via_is_up = known.is_some_and(|known| self.links.get(known.via).is_some());
        let same = known.is_some_and(|known| known.value.content == content);
        let verdict = judge(known, via_is_up, same, said);
        let stamp = self.count(verdict)?;
        self.seen
            .enter(source, key, said, stamp, Seen { content, met }, 0);
        self.seen
            .bury(source, key, after(now, self.settings.convergence_window));
        self.seen.forget(now, self.limits.max_seen, true);
        Some(stamp)
    }

    /// To all control links but the one it came on and those to its node. laps peering, "Subscribe Information
    /// Advertisement Message".
    pub(super) fn flood(
        &mut self,
        source: NodeId,
        arrival: Option<&Arrival>,
        stamp: Stamp,
        message: &Message,
    ) {
        let from = arrival.map(|arrival| arrival.said.from);
        let only_to_laps = arrival.is_some_and(|arrival| arrival.only_to_laps);
        for (id, link) in self.links.for_infos() {
            // A stub speaks to its edge alone, and hands nothing on.
            let to_stubs_parent =
                self.role != NodeType::Stub || (source == self.node && self.own.parent == Some(id));
            if Some(id) == from
                || link.peer == source
                || !to_stubs_parent
                || (only_to_laps && link.kin.is_ours())
            {
                continue;
            }
            self.counters.sent += 1;
            self.out.push_back(Output::Send {
                link: id,
                message: message.clone(),
                stamp,
            });
        }
    }

    /// An info of this node was entered: it lives as long as the node.
    pub(super) fn alive_by(&mut self, now: Instant, source: NodeId, from: LinkId) {
        let by_laps = self.links.get(from).is_some_and(|link| !link.kin.is_ours());
        if by_laps {
            self.sync.told_by_laps.insert(source);
        }
        if self.nodes.best(source).is_some() {
            return;
        }
        if by_laps {
            self.bound.entry(source).or_insert(from);
        } else {
            self.depart(now, source, self.settings.unreachable_hold);
        }
    }

    /// A node can be reached no longer; its infos wait for it for a while.
    pub(super) fn depart(&mut self, now: Instant, node: NodeId, hold: Duration) {
        let present = self.nodes.best(node).is_some() || self.bound.contains_key(&node);
        let has_any = self.publishes.ledger.has(node) || self.subscribes.ledger.has(node);
        if present || !has_any || self.departed.contains_key(&node) {
            return;
        }
        if let Some(at) = after(now, hold) {
            self.departed.insert(node, at);
            self.departures.insert((at, node));
        }
    }

    /// What follows from another way to a node, or none.
    pub(super) fn reachability(&mut self, now: Instant, node: NodeId, old: Option<&super::nodes::Best>) {
        match (old, self.nodes.best(node).is_some()) {
            (None, true) => {
                self.purge_rest(now, node);
                if let Some(at) = self.departed.remove(&node) {
                    self.departures.remove(&(at, node));
                }
                self.bound.remove(&node);
                self.lives(now, node);
            }
            (Some(old), false) => {
                self.out.push_back(Output::NodeUnreachable { node });
                self.sync.node_gone(node);
                // A relay of ours is asked again when it comes back; a laps relay tells all of it again, and what it
                // withdrew in between it does not tell.
                let of_ours = old.way.epoch != 0 || old.control.is_some();
                let hold = if of_ours {
                    self.settings.unreachable_hold
                } else {
                    Duration::ZERO
                };
                self.depart(now, node, hold);
            }
            (Some(_), true) => self.lives(now, node),
            (None, false) => {}
        }
        self.not_strict_any_more(now, node, self.nodes.best(node).is_some());
    }

    /// The life of a node that can be spoken to; 0 where nothing that is said to it arrives.
    pub(super) fn life(&self, node: NodeId) -> u64 {
        let way = self.nodes.best(node).and_then(|best| best.control);
        let heard = || self.heard_by(node).map(|(_, epoch)| epoch);
        way.map(|way| way.epoch).or_else(heard).unwrap_or(0)
    }

    /// What follows from another life of a node that can be reached, and from whether it can be spoken to.
    pub(super) fn lives(&mut self, now: Instant, node: NodeId) {
        let Some(best) = self.nodes.best(node) else { return };
        let (node_type, life) = (best.way.info.node_type, self.life(node));
        let before = self.nodes.set_life(node, life);
        if before.is_none_or(|before| (before == 0) != (life == 0)) {
            self.reachable(node, node_type, life);
        }
        if before.is_none_or(|before| life > before) {
            self.appeared(now, node, node_type, life);
        } else if life != 0 && before.is_some_and(|before| life < before) {
            self.ask_elder(now, node);
        }
    }

    fn reachable(&mut self, node: NodeId, node_type: NodeType, epoch: u64) {
        self.out.push_back(Output::NodeReachable {
            node,
            node_type,
            ours: epoch != 0,
        });
    }

    /// All infos of a node that cannot be reached go, but no more than `most`. Gives how many more might have gone; none
    /// when there are some left. laps peering, "Node Information".
    pub(super) fn purge(&mut self, node: NodeId, most: usize) -> Option<usize> {
        let mut left = most;
        while let Some(key) = self.publishes.ledger.first_of(node) {
            left = left.checked_sub(1)?;
            self.drop_publish(node, key);
        }
        while let Some(key) = self.subscribes.ledger.first_of(node) {
            left = left.checked_sub(1)?;
            self.drop_subscribe(node, key);
        }
        self.sync.told_by_laps.remove(&node);
        Some(left)
    }

    /// A node is there again, or is spoken of: what goes of what it had before goes first, so that nothing new goes with it.
    fn purge_rest(&mut self, now: Instant, node: NodeId) {
        if let Some(at) = self.departed.get(&node).copied().filter(|at| *at <= now) {
            self.purge(node, usize::MAX);
            self.departed.remove(&node);
            self.departures.remove(&(at, node));
        }
    }
}

/// The stamp of an info that came on a link; none where a laps relay has no number for it.
const fn said_by(message: &Message, stamp: Stamp, ours: bool) -> Option<Stamp> {
    match message {
        Message::SubscribeInfoAdvertise(info) | Message::SubscribeInfoWithdraw(info) => Some(Stamp {
            epoch: if ours { stamp.epoch } else { 0 },
            sequence: info.sequence,
        }),
        Message::PublishInfoAdvertise(_)
        | Message::PublishInfoWithdraw(_)
        | Message::NodeInfoAdvertise(_)
        | Message::NodeInfoWithdraw(_)
        | Message::Connect(_)
        | Message::ConnectResponse(_)
        | Message::NodeSetAdvertise(_)
        | Message::NodeSetWithdraw(_)
        | Message::Stamped(_)
        | Message::Relayed(_)
        | Message::Own(_)
        | Message::Ping(_)
        | Message::Pong(_) => {
            if ours {
                Some(stamp)
            } else {
                None
            }
        }
    }
}

/// The node that an info is of.
pub(super) const fn source_of(message: &Message) -> Option<NodeId> {
    match message {
        Message::SubscribeInfoAdvertise(info) | Message::SubscribeInfoWithdraw(info) => Some(info.source),
        Message::PublishInfoAdvertise(info) | Message::PublishInfoWithdraw(info) => Some(info.source),
        Message::NodeInfoAdvertise(_)
        | Message::NodeInfoWithdraw(_)
        | Message::Connect(_)
        | Message::ConnectResponse(_)
        | Message::NodeSetAdvertise(_)
        | Message::NodeSetWithdraw(_)
        | Message::Stamped(_)
        | Message::Relayed(_)
        | Message::Own(_)
        | Message::Ping(_)
        | Message::Pong(_) => None,
    }
}
