//! One track that nodes subscribe to.

use super::slot::Slot;
use super::wish::Wish;
use laps_protocol::moqt::message::RequestId;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::node::NodeId;
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
    /// To whom the plane was told to lead it.
    pub(super) targets: BTreeSet<NodeId>,
}

impl Track {
    pub(super) const fn new(name: FullTrackName) -> Self {
        Self {
            name,
            nodes: BTreeMap::new(),
            slots: BTreeMap::new(),
            targets: BTreeSet::new(),
        }
    }

    /// Nodes that are to get it.
    pub(super) fn live(&self) -> BTreeSet<NodeId> {
        let live = self.nodes.iter().filter(|(_, node)| node.told != Told::Over);
        live.map(|(id, _)| *id).collect()
    }

    /// What these nodes want together; none when none of them is to get it.
    pub(super) fn wish(&self, nodes: &[NodeId]) -> Option<Wish> {
        let nodes = nodes.iter().filter_map(|node| self.nodes.get(node));
        Wish::together(
            nodes
                .filter(|node| node.told != Told::Over)
                .map(|node| &node.wish),
        )
    }

    /// Whether any of them is still to get it.
    pub(super) fn wants(&self, nodes: &[NodeId]) -> bool {
        self.wish(nodes).is_some()
    }
}
