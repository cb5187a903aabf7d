//! The node information base: which nodes there are, and the ways to each. laps peering, "Node Information".

mod flaps;
mod telling;

use super::crowds::Crowds;
use super::links::Links;
use super::twins::Lives;
use super::{InfoBase, LinkId, Output, Report, ReportKind, Settings};
use crate::peering::node::{NodeId, NodeInfo, NodeType, PathItem};
use crate::peering::selection::{self, Rank};
use flaps::Flaps;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

/// Nodes that are looked at in one turn because their ways have other round trip times, and as many because what is to be told of
/// them was put off: there may be tens of thousands, and whoever runs the machine has more to do.
const LOOKED_AT_ONCE: usize = 512;

/// One way to a node, as the neighbour at its begin tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) info: Arc<NodeInfo>,
    /// The life of the node; 0 where a laps relay is on the way, which does not tell.
    pub(super) epoch: u64,
}

/// The way that is taken.
#[derive(Clone, Debug)]
pub(super) struct Best {
    /// For data.
    pub(super) rank: Rank,
    pub(super) way: Way,
    /// For messages to the node.
    pub(super) control: Option<Control>,
}

/// The way that messages to a node take: relays of ours alone, with control links all the way. Data may take another one,
/// by links that carry nothing else or through a laps relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// The next node, which has a control link.
    pub(super) peer: NodeId,
    /// The life of the node at the end. Never 0.
    pub(super) epoch: u64,
}

impl Best {
    /// The life of the node, as a neighbour is told of it: 0 where messages to the node do not go where its data goes. So
    /// each relay that tells of a life is on a way on which they arrive, and such ways have no loops, as those of data.
    pub(super) fn told_epoch(&self) -> u64 {
        let control = self.control.filter(|control| control.peer == self.rank.peer);
        control.map_or(0, |control| control.epoch)
    }
}

#[derive(Debug)]
struct Entry {
    ways: BTreeMap<LinkId, Way>,
    best: Option<Best>,
    /// What the node was when it was first heard of. laps peering, "Node ID": of several nodes with one id the oldest
    /// stays, so ways to something else do not count while there is one to this.
    identity: Arc<NodeInfo>,
    reported: bool,
    /// The life of it that was acted on last: see [`InfoBase::life`].
    life: Option<u64>,
    lives: Lives,
    /// How many nodes had been met before it.
    met: u64,
    /// Neighbours hear of no other change before this.
    quiet_until: Option<Instant>,
}

/// What a choice has shown.
struct Choice {
    /// What was taken before.
    old: Option<Best>,
    /// Two nodes with this id are told of, for the first time.
    conflict: bool,
    /// The same, where only their lives tell them apart.
    twins: Option<[u64; 2]>,
}

/// All nodes but this one.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<NodeId, Entry>,
    /// What may have another best way now.
    dirty: BTreeSet<NodeId>,
    /// What has ways of another length now, and is looked at in turns; since when.
    measured: BTreeSet<NodeId>,
    measured_at: Option<Instant>,
    /// What is to be told, or to be there, when its interval is over.
    due: BTreeSet<(Instant, NodeId)>,
    flaps: Flaps,
    /// Those that there are ways to, and that are not there yet.
    waiting: BTreeSet<NodeId>,
    /// Nodes so far, those counted anew that were not there in between.
    met: u64,
    pub(super) crowds: Crowds,
}

/// Whether two infos are of the same node, as far as anybody can tell. laps peering, "Node ID".
pub(super) fn same_node(a: &NodeInfo, b: &NodeInfo) -> bool {
    let place = |info: &NodeInfo| (info.node_type, info.longitude, info.latitude);
    place(a) == place(b) && a.contact == b.contact
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Those that can be reached.
    pub(super) fn reachable(&self) -> usize {
        self.nodes.len() - self.waiting.len()
    }

    /// What is said of a node: on the way that is taken, or on any where it is not there yet.
    pub(super) fn info(&self, node: NodeId) -> Option<&NodeInfo> {
        let entry = self.nodes.get(&node)?;
        let best = entry.best.as_ref().map(|best| &best.way);
        best.or_else(|| entry.ways.values().next()).map(|way| &*way.info)
    }

    pub(super) fn best(&self, node: NodeId) -> Option<&Best> {
        self.nodes.get(&node)?.best.as_ref()
    }

    pub(super) fn identity(&self, node: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(&node).map(|entry| &*entry.identity)
    }

    /// A number that a node has for as long as it can be reached; 0 for one that cannot.
    pub(super) fn met(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |entry| entry.met)
    }

    /// The life of a node that was acted on last.
    pub(super) fn known_life(&self, node: NodeId) -> Option<u64> {
        self.nodes.get(&node)?.life
    }

    /// Enters it; gives the one before.
    pub(super) fn set_life(&mut self, node: NodeId, life: u64) -> Option<u64> {
        self.nodes.get_mut(&node)?.life.replace(life)
    }

    /// Whether a way to the node leads over relays of ours alone, by which what it says comes here.
    pub(super) fn is_strict(&self, node: NodeId, links: &Links) -> bool {
        let controls = |link| links.get(link).is_some_and(|link| link.mode.has_control());
        let ways = self.nodes.get(&node).map(|entry| &entry.ways);
        ways.into_iter()
            .flatten()
            .any(|(link, way)| way.epoch != 0 && controls(*link))
    }

    /// Whether this life of a node has turned out to be another node's, which was there first and is.
    pub(super) fn is_younger_twin(&self, node: NodeId, epoch: u64) -> bool {
        let elder = self.nodes.get(&node).and_then(|entry| entry.lives.elder());
        epoch != 0 && elder.is_some_and(|elder| elder < epoch)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.measured_at).min()
    }

    /// The ways of these have another length now.
    pub(super) fn measured<'a>(&mut self, now: Instant, nodes: impl IntoIterator<Item = &'a NodeId>) {
        self.measured.extend(nodes);
        self.measured_at.get_or_insert(now);
    }

    pub(super) fn touch(&mut self, node: NodeId) {
        self.dirty.insert(node);
    }

    pub(super) fn touch_all(&mut self) {
        self.dirty.extend(self.nodes.keys());
    }

    /// Files a way; false when it is the one that is known.
    fn insert(&mut self, node: NodeId, link: LinkId, way: Way) -> bool {
        let met = &mut self.met;
        let mut count = || {
            *met += 1;
            *met
        };
        let entry = self.nodes.entry(node).or_insert_with(|| Entry {
            met: count(),
            ways: BTreeMap::new(),
            best: None,
            identity: Arc::clone(&way.info),
            reported: false,
            life: None,
            lives: Lives::default(),
            quiet_until: None,
        });
        if entry.ways.get(&link) == Some(&way) {
            return false;
        }
        self.crowds.add(&way);
        if let Some(before) = entry.ways.insert(link, way) {
            self.crowds.remove(&before);
        }
        self.dirty.insert(node);
        true
    }

    fn remove(&mut self, node: NodeId, link: LinkId) -> bool {
        let entry = self.nodes.get_mut(&node);
        let removed = entry.and_then(|entry| entry.ways.remove(&link));
        if let Some(way) = &removed {
            self.crowds.remove(way);
            self.dirty.insert(node);
        }
        removed.is_some()
    }

    /// All nodes once, from this one on.
    pub(super) fn ids_from(&self, start: Bound<NodeId>) -> impl Iterator<Item = NodeId> + '_ {
        let rest = self.nodes.range((start, Bound::Unbounded));
        rest.chain(&self.nodes).map(|(node, _)| *node)
    }

    /// The links by which there are ways to a node.
    pub(super) fn links_to(&self, node: NodeId) -> Vec<LinkId> {
        let ways = self.nodes.get(&node).map(|entry| &entry.ways);
        ways.into_iter().flatten().map(|(link, _)| *link).collect()
    }

    /// Chooses anew; none where nothing can have changed.
    fn choose(&mut self, node: NodeId, links: &Links, now: Instant, settings: &Settings) -> Option<Choice> {
        let entry = self.nodes.get_mut(&node)?;
        // Neighbours are not somebody's word.
        let by_word = !entry.ways.is_empty() && entry.ways.values().all(|way| way.info.path_len() > 0);
        if entry.best.is_none()
            && by_word
            && let Some(until) = self.flaps.back(now, node)
        {
            self.due.insert((until, node));
            self.waiting.insert(node);
            return None;
        }
        self.waiting.remove(&node);
        let old = entry.best.take();
        let rank = |(link, way): (&LinkId, &Way)| {
            let to = links.get(*link)?;
            let rank = Rank {
                no_data: !to.takes_data,
                leaving: to.leaving && to.peer != node,
                laps: way.epoch == 0,
                hops: way.info.path_len(),
                sum_srtt_us: way.info.sum_srtt().saturating_add(to.srtt_us),
                peer: to.peer,
                link: *link,
            };
            Some((rank, way.clone()))
        };
        let ours = |way: &Way| same_node(&way.info, &entry.identity);
        let ways = entry.ways.values().filter(|way| ours(way)).count();
        let conflict = ways < entry.ways.len() && ways > 0 && !entry.reported;
        let of_it = |(_, way): &(&LinkId, &Way)| ways == 0 || ours(way);
        let epochs = entry.ways.iter().filter(of_it).map(|(_, way)| way.epoch);
        let seen = entry.lives.see(now, settings.twins_hold, epochs);
        let elder = entry.lives.elder();
        let eligible =
            |at: &(&LinkId, &Way)| of_it(at) && elder.is_none_or(|elder| [0, elder].contains(&at.1.epoch));
        let carries = |(link, way): &(&LinkId, &Way)| {
            let peer = links.get(**link).map(|link| link.peer);
            way.epoch != 0 && peer.is_some_and(|peer| links.speaks_to(peer))
        };
        let control = entry.ways.iter().filter(eligible).filter(carries);
        let control = selection::best(control.filter_map(rank)).map(|(rank, way)| Control {
            peer: rank.peer,
            epoch: way.epoch,
        });
        let best = selection::best(entry.ways.iter().filter(eligible).filter_map(rank));
        entry.reported |= conflict;
        if let Some(at) = seen.look_at {
            self.due.insert((at, node));
        }
        entry.best = best.map(|(rank, way)| Best { rank, way, control });
        match &entry.best {
            Some(best) => {
                entry.identity = Arc::clone(&best.way.info);
            }
            None => {
                if let Some(at) = entry.quiet_until {
                    self.due.remove(&(at, node));
                }
                self.nodes.remove(&node);
                if old.is_some() {
                    self.flaps.lost(now, settings.node_advert_interval, node);
                }
            }
        }
        Some(Choice {
            old,
            conflict,
            twins: seen.twins,
        })
    }
}

impl InfoBase {
    /// A node told of itself: the peer of a new link.
    pub(super) fn insert_peer(&mut self, link: LinkId, node: &NodeInfo, epoch: u64) {
        let info = NodeInfo {
            path: Vec::new(),
            ..node.clone()
        };
        let info = Arc::new(info);
        self.nodes.insert(node.id, link, Way { info, epoch });
        if let Some(link) = self.links.get_mut(link) {
            link.heard.insert(node.id);
        }
    }

    /// A neighbour tells of a node.
    pub(super) fn node_advertised(&mut self, from: LinkId, mut info: NodeInfo, epoch: u64) {
        let Some(link) = self.links.get(from) else { return };
        let (peer, ours) = (link.peer, link.kin.is_ours());
        if info.id == self.node {
            self.counters.echoes += 1;
            return;
        }
        // laps peering, "Stub": nobody but its edge knows a stub, and stubs tell of nobody.
        let out_of_place = link.is_stub() || !link.mode.has_control() || self.role == NodeType::Stub;
        if out_of_place || (info.node_type == NodeType::Stub && info.id != peer) {
            self.counters.out_of_place += 1;
            return;
        }
        // What says otherwise than before replaces what was said before, also where it cannot be used.
        if info.path_contains(self.node) {
            // laps peering, "Node Path": forwarding stops at who is on the path.
            self.counters.loops += 1;
            self.report(from, ReportKind::Loop);
            self.node_withdrawn(from, info.id);
            return;
        }
        if ours && !is_plausible(&info, peer) {
            self.counters.forged += 1;
            self.report(from, ReportKind::ForgedPath);
            self.node_withdrawn(from, info.id);
            return;
        }
        if info.id == peer {
            info.path.clear();
        } else if let Some(last) = info.path.last_mut() {
            // A real laps relay puts the node's own id in the place of its own. Without its id on the path there would
            // be loops through it. laps peering, "Node Path".
            last.node = peer;
        } else {
            info.path.push(PathItem {
                node: peer,
                srtt_us: 0,
            });
        }
        if info.path_len() > self.limits.max_path_items {
            self.over_limit(from, ReportKind::TooManyNodes);
            self.node_withdrawn(from, info.id);
            return;
        }
        for item in &mut info.path {
            item.srtt_us = item.srtt_us.min(self.limits.max_srtt_us);
        }
        self.file_way(from, info, epoch);
    }

    fn file_way(&mut self, from: LinkId, info: NodeInfo, epoch: u64) {
        let node = info.id;
        let Some(link) = self.links.get(from) else { return };
        if !link.heard.contains(&node) {
            let of_the_link = link.heard.len() >= self.limits.max_nodes_per_link;
            let in_all = self.nodes.len() >= self.limits.max_nodes && !self.nodes.nodes.contains_key(&node);
            if (of_the_link || in_all) && !self.make_room(from, &info, of_the_link) {
                self.over_limit(from, ReportKind::TooManyNodes);
                return;
            }
        }
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        link.heard.insert(node);
        let epoch = if link.kin.is_ours() { epoch } else { 0 };
        let info = Arc::new(info);
        if !self.nodes.insert(node, from, Way { info, epoch }) {
            self.counters.duplicates += 1;
        }
    }

    /// A neighbour no longer has a way to a node. laps peering, "Node Information Withdraw Message".
    pub(super) fn node_withdrawn(&mut self, from: LinkId, node: NodeId) {
        let Some(link) = self.links.get_mut(from) else {
            return;
        };
        // The peer itself is there as long as the link is.
        if node != link.peer && link.heard.remove(&node) {
            self.nodes.remove(node, from);
        }
    }

    /// Takes out what came over a link that is down.
    pub(super) fn forget_ways(&mut self, link: LinkId, heard: BTreeSet<NodeId>) {
        for node in heard {
            self.nodes.remove(node, link);
        }
    }

    /// Looks at what has other ways than before, or is to be told now and was put off, as much as may be in one turn. For the
    /// rest the timeout is due.
    pub(super) fn look_at_nodes(&mut self, now: Instant) {
        for _ in 0..LOOKED_AT_ONCE {
            let due = self.nodes.due.first().copied().filter(|(at, _)| *at <= now);
            if let Some((at, node)) = due {
                self.nodes.due.remove(&(at, node));
                self.nodes.touch(node);
            }
            let measured = self.nodes.measured.pop_first();
            if let Some(node) = measured {
                self.nodes.touch(node);
            } else {
                self.nodes.measured_at = None;
            }
            if due.is_none() && measured.is_none() {
                break;
            }
        }
        self.settle_nodes(now);
    }

    /// Chooses anew for all that may have changed, and tells of what did: first the forwarding, then neighbours.
    pub(super) fn settle_nodes(&mut self, now: Instant) {
        let dirty = std::mem::take(&mut self.nodes.dirty);
        let (mut changes, mut apart) = (Vec::with_capacity(dirty.len()), Vec::new());
        for node in dirty {
            let chosen = self.nodes.choose(node, &self.links, now, &self.settings);
            let Some(Choice { old, conflict, twins }) = chosen else {
                continue;
            };
            if let Some([elder, younger]) = twins {
                let report = Report::Twins { node, elder, younger };
                self.out.push_back(Output::Report(report));
            }
            if twins.is_some() {
                apart.push(node);
            }
            self.end_links_to_twin(node);
            if conflict {
                self.out.push_back(Output::Report(Report::DuplicateNode { node }));
            }
            let best = self.nodes.best(node);
            let next = best.filter(|best| !best.rank.no_data).map(|best| best.rank.peer);
            self.fib_changed |= self.fib.set_route(node, next);
            changes.push((node, old));
        }
        if std::mem::take(&mut self.fib_changed) {
            self.out.push_back(Output::Fib(self.fib.clone()));
        }
        for (node, old) in changes {
            self.tell_neighbours(now, node);
            self.reachability(now, node, old.as_ref());
        }
        for node in apart {
            self.ask_elder(now, node);
        }
    }
}

/// Whether a relay of ours can have sent this: it tells of itself without a path, and puts itself at the end of any other.
fn is_plausible(info: &NodeInfo, peer: NodeId) -> bool {
    let mut seen = BTreeSet::from([info.id]);
    let distinct = info.path.iter().all(|item| seen.insert(item.node));
    let last = info.path.last().map_or(info.id, |item| item.node);
    distinct && last == peer
}
