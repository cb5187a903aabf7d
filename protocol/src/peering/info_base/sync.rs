//! How relays find out what they missed.

mod pull;

use super::answers::Answers;
use super::infos::{Arrival, source_of};
use super::ledger::{How, Said};
use super::{Digest, InfoBase, LinkId, NodeMessage, Output, OwnMessage, Settings, after};
use crate::peering::fib::mix;
use crate::peering::message::Message;
use crate::peering::node::{NodeId, NodeType};
use pull::Pull;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// After so many times without a word of a node nothing arrives that is sent to where its last one came from.
const SILENT: u32 = 3;

/// What a node said last of its infos as a whole.
#[derive(Clone, Copy, Debug)]
struct Heard {
    epoch: u64,
    serial: u32,
    digest: Digest,
    /// The link on which it came first.
    via: LinkId,
    /// How often it could have said it again since.
    silent: u32,
    /// Answers in a row after which we were still not in step: something of it is refused here.
    fails: u32,
}

#[derive(Debug, Default)]
pub(super) struct Sync {
    /// Nodes of which laps relays told us something.
    pub(super) told_by_laps: BTreeSet<NodeId>,
    summary_at: Option<Instant>,
    serial: u32,
    heard: BTreeMap<NodeId, Heard>,
    pulls: BTreeMap<NodeId, Pull>,
    due: BTreeSet<(Instant, NodeId)>,
    number: u8,
    pub(super) answers: Answers,
}

impl Sync {
    pub(super) fn new(node: NodeId, settings: &Settings, now: Instant) -> Self {
        // Relays that start together do not speak together.
        let part = u32::try_from(mix(node.0) % 100).unwrap_or_default();
        let first = settings.summary_interval / 2 + settings.summary_interval / 200 * part;
        Self {
            summary_at: after(now, first),
            ..Self::default()
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.due.first().map(|(at, _)| *at);
        [first, self.summary_at].into_iter().flatten().min()
    }

    /// The number of the question to a node that is under way.
    pub(super) fn pull_of(&self, source: NodeId) -> u8 {
        self.pulls.get(&source).map_or(0, |pull| pull.number)
    }

    pub(super) fn node_gone(&mut self, node: NodeId) {
        self.heard.remove(&node);
        self.end_pull(node);
        self.answers.node_gone(node);
    }

    /// What a node said of its infos as a whole does not count any more.
    pub(super) fn forget_summary(&mut self, node: NodeId) {
        self.heard.remove(&node);
    }

    fn end_pull(&mut self, node: NodeId) -> Option<Pull> {
        let pull = self.pulls.remove(&node)?;
        self.due.remove(&(pull.at, node));
        Some(pull)
    }

    fn plan(&mut self, node: NodeId, pull: Pull) {
        self.end_pull(node);
        self.due.insert((pull.at, node));
        self.pulls.insert(node, pull);
    }
}

impl InfoBase {
    /// A control link came up.
    pub(super) fn greet(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.greeted = true;
        match self.role {
            NodeType::Stub if self.own.parent.is_none() => self.choose_parent(now),
            NodeType::Edge if link.is_stub() && !link.kin.is_ours() => self.tell_laps_stub(id),
            NodeType::Edge if !link.is_stub() && !link.kin.is_ours() => self.sync.answers.greet_link(id),
            // Relays of ours ask when they see each other.
            NodeType::Edge | NodeType::Stub | NodeType::Via => {}
        }
    }

    /// A node can be reached, or is in a new life.
    pub(super) fn appeared(&mut self, now: Instant, node: NodeId, node_type: NodeType, epoch: u64) {
        if self.role != NodeType::Edge {
            return;
        }
        let ask = if epoch != 0 {
            (node_type == NodeType::Edge).then_some(node)
        } else {
            // What a laps relay has is known to the relay of ours beside it: the first one on the path.
            let ours = |node| {
                let kind = self.nodes.best(node).map(|best| best.way.info.node_type);
                kind == Some(NodeType::Edge) && self.life(node) != 0
            };
            let best = self.nodes.best(node);
            let path = best.into_iter().flat_map(|best| &best.way.info.path);
            path.map(|item| item.node).find(|node| ours(*node))
        };
        if let Some(node) = ask {
            self.ask(now, node, Pull::at(now, true));
        }
    }

    /// The edge of a stub tells it everything when their link comes up, so what it does not tell is over. That way a link
    /// that is lost for a moment changes nothing.
    pub(super) fn sweep_later(&mut self, now: Instant, parent: LinkId) {
        let Some(parent) = self.links.get(parent).map(|link| link.peer) else {
            return;
        };
        if let Some(at) = after(now, self.settings.unreachable_hold) {
            self.sync.number = self.sync.number.wrapping_add(1).max(1);
            let number = self.sync.number;
            self.sync.plan(
                parent,
                Pull {
                    number,
                    ..Pull::at(at, false)
                },
            );
        }
    }

    /// The link on which a node was heard of as a whole, and its life.
    ///
    /// Whoever told of it first is nearer to it in the flood, or heard of it later still: so a message to the node that goes
    /// from one to the other gets there, where no relay between hands its way on. That is so where all of them send data
    /// another way.
    pub(super) fn heard_by(&self, node: NodeId) -> Option<(LinkId, u64)> {
        let heard = self.sync.heard.get(&node)?;
        let link = self.links.get(heard.via)?;
        (link.mode.has_control() && heard.silent < SILENT).then_some((heard.via, heard.epoch))
    }

    /// The time has passed in which each node tells of itself once.
    fn count_silent(&mut self, now: Instant) {
        let mut lost = Vec::new();
        for (node, heard) in &mut self.sync.heard {
            heard.silent = heard.silent.saturating_add(1);
            if heard.silent == SILENT {
                lost.push(*node);
            }
        }
        for node in lost {
            self.lives(now, node);
        }
    }

    /// A link is down: what came by it cannot be answered by it.
    pub(super) fn unheard(&mut self, now: Instant, link: LinkId) {
        let heard = self.sync.heard.iter().filter(|(_, heard)| heard.via == link);
        let nodes: Vec<_> = heard.map(|(node, _)| *node).collect();
        for node in nodes {
            self.lives(now, node);
        }
    }

    pub(super) fn held(&self, node: NodeId) -> Digest {
        let publishes = self.publishes.ledger.digest(node);
        publishes.and(self.subscribes.ledger.digest(node))
    }

    fn ask(&mut self, now: Instant, node: NodeId, pull: Pull) {
        /// How often the time between questions doubles.
        const DOUBLINGS: u32 = 5;
        self.counters.pulls += 1;
        self.sync.number = self.sync.number.wrapping_add(1).max(1);
        let wait = self
            .settings
            .pull_retry
            .saturating_mul(1 << pull.asked.min(DOUBLINGS));
        let asked = Pull {
            at: after(now, wait).unwrap_or(now),
            asked: pull.asked + 1,
            number: self.sync.number,
            received: 0,
            heard: now,
            wait,
            ..pull
        };
        self.sync.plan(node, asked);
        let message = NodeMessage::Pull {
            from: self.node,
            number: asked.number,
            have: self.held(node),
            fresh: pull.fresh,
        };
        self.out.push_back(Output::ToNode { node, message });
    }

    /// A relay of ours said something on a link that is not in the protocol.
    pub fn handle_own_message(&mut self, now: Instant, from: LinkId, message: OwnMessage) {
        self.counters.received += 1;
        let Some(link) = self.links.get(from) else { return };
        let misplaced = self.role == NodeType::Stub && message != OwnMessage::Leaving;
        if !link.kin.is_ours() || !link.mode.has_control() || misplaced {
            self.counters.out_of_place += 1;
            return;
        }
        if message == OwnMessage::Leaving {
            return self.peer_leaves(now, from);
        }
        let OwnMessage::Summary {
            source,
            epoch,
            serial,
            digest,
        } = message
        else {
            self.stub_watches(from, message);
            return;
        };
        if link.is_stub() {
            self.counters.out_of_place += 1;
            return;
        }
        // Of a node that cannot be reached there is nothing to be had.
        if !self.is_from_elsewhere(source) || self.nodes.best(source).is_none() {
            return;
        }
        // Of two relays with one id the older one counts, and who is told of that one alone may have heard of the other.
        if self.nodes.is_younger_twin(source, epoch) {
            self.counters.old += 1;
            return;
        }
        let there = self.nodes.best(source).map(|best| best.way.epoch);
        let known = self.sync.heard.get(&source);
        let newer = |known: &Heard| {
            epoch > known.epoch
                || (epoch == known.epoch && serial > known.serial)
                || (epoch < known.epoch && there == Some(epoch))
        };
        if known.is_some_and(|known| !newer(known)) {
            self.counters.duplicates += 1;
            return;
        }
        let fails = known.map_or(0, |known| known.fails);
        let heard = Heard {
            epoch,
            serial,
            digest,
            via: from,
            silent: 0,
            fails,
        };
        self.sync.heard.insert(source, heard);
        self.lives(now, source);
        self.flood_own(source, Some(from), &message);
        // Where something is refused, asking again seldom helps.
        let patience = serial.trailing_zeros() >= fails.min(6);
        if self.role == NodeType::Edge && patience && self.held(source) != digest {
            self.check_later(now, source);
        }
    }

    /// What is under way may be all that is missing.
    fn check_later(&mut self, now: Instant, source: NodeId) {
        if self.sync.pulls.contains_key(&source) {
            return;
        }
        if let Some(at) = after(now, self.settings.pull_retry / 2) {
            self.sync.plan(source, Pull::at(at, false));
        }
    }

    fn flood_own(&mut self, source: NodeId, from: Option<LinkId>, message: &OwnMessage) {
        for (id, link) in self.links.for_infos() {
            if Some(id) != from && link.peer != source && link.kin.is_ours() {
                self.counters.sent += 1;
                self.out.push_back(Output::SendOwn {
                    link: id,
                    message: message.clone(),
                });
            }
        }
    }

    /// Summaries and questions whose time has come.
    pub(super) fn sync_due(&mut self, now: Instant) {
        if self.sync.summary_at.is_some_and(|at| at <= now) {
            self.sync.summary_at = after(now, self.settings.summary_interval.max(Duration::from_millis(1)));
            self.count_silent(now);
            if self.role == NodeType::Edge {
                self.sync.serial += 1;
                let summary = OwnMessage::Summary {
                    source: self.node,
                    epoch: self.epoch,
                    serial: self.sync.serial,
                    digest: self.own.digest,
                };
                self.flood_own(self.node, None, &summary);
            }
        }
        while let Some((at, node)) = self.sync.due.first().copied().filter(|(at, _)| *at <= now) {
            self.sync.due.remove(&(at, node));
            let Some(pull) = self.sync.pulls.get(&node).copied() else {
                continue;
            };
            if self.role == NodeType::Stub {
                self.sync.pulls.remove(&node);
                self.sweep(node, pull.number);
                continue;
            }
            if let Some(at) = pull.silent_at().filter(|at| *at > now) {
                self.sync.plan(node, Pull { at, ..pull });
                continue;
            }
            let heard = self.sync.heard.get(&node);
            let in_step = heard.is_some_and(|heard| heard.digest == self.held(node));
            if pull.asked == 0 && in_step {
                self.sync.pulls.remove(&node);
            } else {
                self.ask(now, node, pull);
            }
        }
    }

    /// Another relay of ours says something to this one: the content of an [`Output::ToNode`].
    pub fn handle_node_message(&mut self, now: Instant, message: NodeMessage) {
        self.counters.received += 1;
        let (NodeMessage::Pull { from, .. }
        | NodeMessage::Info { from, .. }
        | NodeMessage::PullEnd { from, .. }) = &message;
        // Stubs and their edges say all that they have on their link.
        if self.role != NodeType::Edge || self.is_our_stub(*from) {
            self.counters.out_of_place += 1;
            return;
        }
        match message {
            NodeMessage::Pull {
                from,
                number,
                have,
                fresh,
            } => {
                let whole = have != self.own.digest;
                if whole || (fresh && !self.sync.told_by_laps.is_empty()) {
                    self.sync.answers.answer(from, whole, number);
                } else {
                    self.out.push_back(self.pull_end(from, number, 0, false));
                }
            }
            // An answer says what there is. What is over is not in it, or is flooded.
            NodeMessage::Info {
                message: Message::SubscribeInfoWithdraw(_) | Message::PublishInfoWithdraw(_),
                ..
            } => self.counters.out_of_place += 1,
            NodeMessage::Info {
                from,
                number,
                message,
                stamp,
            } => {
                let Some(link) = self.control_link(from) else {
                    return;
                };
                // What is left of the answer to an earlier question does not make up for what is lost of this one.
                let pull = self.sync.pulls.get_mut(&from);
                let pull = pull.filter(|pull| pull.is_answered_by(number));
                let asked_for = pull.is_some() || number == 0;
                if let Some(pull) = pull {
                    pull.received += 1;
                    pull.heard = now;
                }
                let Some(source) = source_of(&message) else {
                    self.counters.out_of_place += 1;
                    return;
                };
                // Nor does it bring back what was withdrawn since: that may have come another way.
                let how = if source == from && asked_for {
                    How::Origin
                } else {
                    How::Stamped
                };
                let said = Said {
                    stamp: Some(stamp),
                    alive: true,
                    from: link,
                    how,
                };
                let arrival = Arrival {
                    said,
                    only_to_laps: true,
                };
                self.info_said(now, message, arrival);
            }
            NodeMessage::PullEnd {
                from,
                number,
                sent,
                digest,
                whole,
            } => self.pull_ended(from, number, sent, digest, whole),
        }
    }

    pub(super) fn pull_end(&self, node: NodeId, number: u8, sent: u32, whole: bool) -> Output {
        let message = NodeMessage::PullEnd {
            from: self.node,
            number,
            sent,
            digest: self.own.digest,
            whole,
        };
        Output::ToNode { node, message }
    }

    fn pull_ended(&mut self, from: NodeId, number: u8, sent: u32, digest: Digest, whole: bool) {
        let pull = self.sync.pulls.get(&from).copied();
        let Some(pull) = pull.filter(|pull| pull.asked > 0 && pull.is_answered_by(number)) else {
            return;
        };
        if pull.received < sent {
            // Some of it was lost; the question is asked again when its time comes.
            return;
        }
        if whole {
            self.sweep(from, pull.number);
        }
        self.sync.end_pull(from);
        let in_step = self.held(from) == digest;
        if let Some(heard) = self.sync.heard.get_mut(&from) {
            heard.fails = if in_step { 0 } else { heard.fails + 1 };
        }
    }

    /// What a node did not name it has no longer.
    fn sweep(&mut self, source: NodeId, number: u8) {
        let publishes = self
            .publishes
            .ledger
            .of(source)
            .filter(|(_, record)| record.pull != number);
        let publishes: Vec<_> = publishes.map(|(key, _)| key).collect();
        let subscribes = self
            .subscribes
            .ledger
            .of(source)
            .filter(|(_, record)| record.pull != number);
        let subscribes: Vec<_> = subscribes.map(|(key, _)| key).collect();
        self.counters.ghosts += (publishes.len() + subscribes.len()) as u64;
        for key in publishes {
            self.drop_publish(source, key);
        }
        for key in subscribes {
            self.drop_subscribe(source, key);
        }
    }
}
