//! The way that data takes out of this relay, as far as its origin has to know it.

use crate::peering::plane::{LinkOut, OutRoute, Plane};
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::node::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// Who knows the links, and which of them lead to whom. On the arbiter of whoever asks.
///
/// Whatever it says of a track may change; it tells [`TrackRerouted`](crate::peering::plane::TrackRerouted) then.
pub trait Outlets {
    /// These nodes are to get the track, each with its subscriber priority; none ends it.
    fn set_targets(&self, track: FullNameHash, nodes: BTreeMap<NodeId, u8>);

    /// The links that new streams of the track take, at most one entry for each.
    fn route(&self, track: FullNameHash) -> Vec<OutRoute>;

    /// The nodes to which links lead again that none led to for a while, since that was asked last for this track.
    fn take_back(&self, track: FullNameHash) -> BTreeSet<NodeId>;

    /// A link, while data can be written on it.
    fn link(&self, link: LinkId) -> Option<LinkOut>;
}

impl Outlets for Plane {
    fn set_targets(&self, track: FullNameHash, nodes: BTreeMap<NodeId, u8>) {
        Self::set_targets(self, track, nodes);
    }

    fn route(&self, track: FullNameHash) -> Vec<OutRoute> {
        Self::route(self, track)
    }

    fn take_back(&self, track: FullNameHash) -> BTreeSet<NodeId> {
        Self::take_back(self, track)
    }

    fn link(&self, link: LinkId) -> Option<LinkOut> {
        Self::link(self, link)
    }
}
