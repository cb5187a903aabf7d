//! The routes that data takes over them, and the table that is asked for them.

use crate::peering::fib::Fib;
use crate::peering::hash::FullNameHash;
pub use crate::peering::info_base::LinkId;
use crate::peering::message::SnsId;
use crate::peering::node::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who knows which links lead to a node: a snapshot of the forwarding table. laps peering, "FIB".
pub trait Routes {
    /// The links that lead to `node` best, all equally good; none when it cannot be reached.
    fn links_to(&self, node: NodeId) -> &[LinkId];
}

impl Routes for Fib {
    fn links_to(&self, node: NodeId) -> &[LinkId] {
        self.links(node)
    }
}

impl<R: Routes + ?Sized> Routes for Arc<R> {
    fn links_to(&self, node: NodeId) -> &[LinkId] {
        (**self).links_to(node)
    }
}

/// A table that somebody wrote down.
impl Routes for BTreeMap<NodeId, Vec<LinkId>> {
    fn links_to(&self, node: NodeId) -> &[LinkId] {
        self.get(&node).map_or(&[], Vec::as_slice)
    }
}

/// Where data comes from, as far as its route is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A track that this relay has publishers of, or that it hands to its own stubs.
    Track(FullNameHash),
    /// What a peer sends under an id of its own.
    Ingress(LinkId, SnsId),
}

/// Where data goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// This relay's own subscribers.
    Local,
    /// A peer.
    Link(LinkId),
}

/// One peer that gets the data of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Egress {
    /// The link to it.
    pub link: LinkId,
    /// The id that the data has on that link.
    pub sns: SnsId,
    /// Whether a laps relay reads it. Those lose a stream whose head and first payload do not come in one piece.
    pub laps: bool,
}

/// Where the data of one source goes: a value that never changes. Another one with a higher version takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    version: u64,
    local: bool,
    egress: Box<[Egress]>,
}

impl Route {
    /// A route. Of two entries with one link the first is kept.
    #[must_use]
    pub fn new(version: u64, local: bool, egress: impl IntoIterator<Item = Egress>) -> Self {
        let mut egress: Vec<Egress> = egress.into_iter().collect();
        egress.sort_by_key(|egress| egress.link);
        egress.dedup_by_key(|egress| egress.link);
        Self {
            version,
            local,
            egress: egress.into_boxed_slice(),
        }
    }

    /// Which of the routes of a source is the newer one. Unique among all routes of a relay's `NodeSets`.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether this relay's own subscribers are among those who get the data.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// The peers that get it, in the order of their links.
    #[must_use]
    pub const fn egress(&self) -> &[Egress] {
        &self.egress
    }

    /// The entry of a link, if it is one of them.
    #[must_use]
    pub fn to(&self, link: LinkId) -> Option<&Egress> {
        let at = self.egress.binary_search_by_key(&link, |egress| egress.link);
        at.ok().and_then(|at| self.egress.get(at))
    }

    /// Whether nobody gets the data.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.local && self.egress.is_empty()
    }

    /// Whether both lead to the same places, whatever their versions.
    #[must_use]
    pub fn leads_as(&self, other: &Self) -> bool {
        (self.local, &self.egress) == (other.local, &other.egress)
    }
}
