//! One track that nodes subscribe to.

use super::ascending::{has, without};
use super::aside::Aside;
use super::cuts::Cuts;
use super::elsewhere::Elsewhere;
use super::slot::Slot;
use super::wish::Wish;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::message::Answer;
use laps_protocol::peering::node::NodeId;
use laps_protocol::relay::draining::Progress;
use std::collections::{BTreeMap, BTreeSet};

/// What a node was told under the request id that it has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// It has the track.
    Ok,
    /// It does not have it, or not any more. It gets nothing until it asks under another id.
    Over,
}

/// The subscription of one node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) request: RequestId,
    pub(super) wish: Wish,
    pub(super) told: Told,
    /// It was sent that it has the track: nothing is sent to who understands nothing.
    pub(super) sent: bool,
    /// How its subscription ended, as it was told.
    pub(super) farewell: Option<Box<Answer>>,
    /// The link that carries all of its streams, from the first one on: so those of the subscription there are its own.
    pub(super) whole: Option<LinkId>,
    /// Earlier bases told of it, and these have not yet.
    pub(super) unconfirmed: bool,
    /// The track is not published here any more: it goes when it is told of the end.
    pub(super) parting: bool,
}

/// A track, who wants it, and one subscription for each link that leads to some of them.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) name: FullTrackName,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) slots: BTreeMap<LinkId, Slot>,
    /// Those who joined in the middle.
    pub(super) aside: Aside,
    /// Those whose links died.
    pub(super) cuts: Cuts,
    /// To whom the plane was told to lead it.
    pub(super) targets: BTreeMap<NodeId, u8>,
}

impl Track {
    pub(super) fn new(name: FullTrackName) -> Self {
        Self {
            name,
            nodes: BTreeMap::new(),
            slots: BTreeMap::new(),
            aside: Aside::default(),
            cuts: Cuts::default(),
            targets: BTreeMap::new(),
        }
    }

    /// A subscription begins on a link for these nodes; those of `before` it had already.
    pub(super) fn begins(&mut self, link: LinkId, nodes: &[NodeId], before: &[NodeId]) {
        for id in without(nodes, before) {
            let mut others = self.slots.iter().filter(|(other, _)| **other != link);
            let elsewhere = others.any(|(_, slot)| has(&slot.nodes, &id));
            if let Some(node) = self.nodes.get_mut(&id) {
                node.whole = (node.told == Told::Nothing && !elsewhere).then_some(link);
            }
        }
    }

    /// What all links together have taken of it, and what is open on them.
    pub(super) fn progress(&self) -> Progress {
        let slots = self.slots.values().map(|slot| slot.streams.progress());
        slots.fold(Progress::default(), |all, one| Progress {
            taken: all.taken.saturating_add(one.taken),
            open: all.open.saturating_add(one.open),
        })
    }

    /// Nodes that are to get it.
    pub(super) fn live(&self) -> BTreeSet<NodeId> {
        let live = self.nodes.iter().filter(|(_, node)| node.told != Told::Over);
        live.map(|(id, _)| *id).collect()
    }

    /// The same, each with its subscriber priority.
    pub(super) fn urgent(&self) -> BTreeMap<NodeId, u8> {
        let live = self.nodes.iter().filter(|(_, node)| node.told != Told::Over);
        live.map(|(id, node)| (*id, node.wish.urgency())).collect()
    }

    /// What these nodes want together; none when none of them is to get it.
    pub(super) fn wish(&self, nodes: &[NodeId]) -> Option<Wish> {
        together(&self.nodes, nodes)
    }

    /// The nodes that came to the running subscription of a link, which had those of `before`, and that no other link sends
    /// what is open.
    pub(super) fn joined(&self, link: LinkId, before: &[NodeId]) -> Vec<NodeId> {
        let Some(slot) = self.slots.get(&link).filter(|slot| slot.accepted.is_some()) else {
            return Vec::new();
        };
        let elsewhere = |node: &NodeId| {
            let mut others = self.slots.iter().filter(|(other, _)| **other != link);
            others.any(|(_, slot)| has(&slot.nodes, node))
        };
        let wants = |node: &NodeId| self.nodes.get(node).is_some_and(|node| node.wish.forward());
        let came = without(&slot.nodes, before);
        came.filter(|node| wants(node) && !elsewhere(node)).collect()
    }

    /// Whether what is open is given to these nodes from its start.
    ///
    /// Where several nodes bring a track, each joins in at another object, and what begins in the middle with one is whole
    /// with nobody: its readers would get it in parts, each of which ends in a reset. So all give what is open from its start.
    /// And of what a link that died had of it not all arrived at nodes that were told that they have the track, also when it
    /// took a moment to find another link. What comes twice is taken once. Others lack nothing: they get what comes next,
    /// without what may be a minute of it before.
    pub(super) fn rewinds(&self, nodes: &[NodeId], elsewhere: &Elsewhere) -> bool {
        let mut nodes = nodes.iter().filter_map(|node| self.nodes.get(node));
        nodes.any(|node| node.told == Told::Ok) || elsewhere.has(&self.name)
    }

    /// Whether any of them is still to get it.
    pub(super) fn wants(&self, nodes: &[NodeId]) -> bool {
        self.wish(nodes).is_some()
    }
}

/// What those of `all` that are named want together; none when none of them is to get it.
pub(super) fn together<'a>(
    all: &BTreeMap<NodeId, Node>,
    named: impl IntoIterator<Item = &'a NodeId>,
) -> Option<Wish> {
    let nodes = named.into_iter().filter_map(|node| all.get(node));
    let live = nodes.filter(|node| node.told != Told::Over);
    Wish::together(live.map(|node| &node.wish))
}
