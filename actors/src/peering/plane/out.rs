//! The way out by a link.

use super::urgency::Urgencies;
use crate::limits::Account;
use crate::session::egress::Egress;
use crate::transport::ConnHandle;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::peering::forward::LinkId;
use laps_protocol::peering::forward::node_sets::JoinCause;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message::{Dialect, SnsId};
use laps_protocol::peering::node::NodeId;
use std::cell::Cell;
use std::rc::Rc;

/// A link that carries data, for as long as it stands. Clones are the same link.
#[derive(Clone, Debug)]
pub struct LinkOut {
    /// Which link.
    pub link: LinkId,
    /// Who is at the other end.
    pub peer: NodeId,
    /// What is spoken.
    pub dialect: Dialect,
    /// Its connection.
    pub conn: ConnHandle,
    /// Who writes on it: all that leaves by the link goes by its order.
    pub egress: Egress,
    /// What the peer makes the relay hold.
    pub account: Account,
    /// Of the MOQT bytes behind the data headers.
    pub codec: Codec,
    /// What streams of other links wait for it.
    pub(super) backlog: Backlog,
    /// How urgent those are, and datagrams of other links.
    pub(super) urgencies: Urgencies,
}

/// Bytes of forwarded streams that wait for one link, all together. Clones are the same count.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    bytes: Rc<Cell<u64>>,
    lanes: Rc<Cell<usize>>,
    max: u64,
}

/// The share of one stream in a [`Backlog`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    of: Backlog,
    bytes: u64,
}

impl Backlog {
    pub(super) fn new(max: u64) -> Self {
        Self {
            bytes: Rc::default(),
            lanes: Rc::default(),
            max,
        }
    }

    /// A stream with nothing that waits.
    pub(super) fn share(&self) -> Waiting {
        self.lanes.set(self.lanes.get() + 1);
        Waiting {
            of: self.clone(),
            bytes: 0,
        }
    }

    /// Streams that have a share.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.get()
    }

    /// For tests: all that waits.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl Waiting {
    /// So many more bytes wait. False when that is too much.
    pub(super) fn more(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.of.bytes.set(self.of.bytes.get() + bytes);
        self.of.bytes.get() <= self.of.max
    }

    /// So many have left.
    pub(super) fn less(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.of.bytes.set(self.of.bytes.get().saturating_sub(bytes));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.less(self.bytes);
        self.of.lanes.set(self.of.lanes.get().saturating_sub(1));
    }
}

/// One link that data of a track of this relay takes from its next stream on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutRoute {
    /// Which link.
    pub link: LinkId,
    /// The id that the data has there.
    pub sns: SnsId,
    /// Whether a laps relay reads it: head and SUBGROUP_HEADER have to be in one write.
    pub laps: bool,
    /// The nodes that it reaches by this link, ascending; none for a link that others take over from.
    pub nodes: Vec<NodeId>,
    /// Why the link came into the route.
    pub cause: JoinCause,
    /// When it did: another number each time that it comes into the route anew.
    pub joined: u64,
}

/// The name under which data for one node alone is sent, such as what answers its FETCH: a set of its own, with that node
/// as its only target. No track has it, but for one that chance gives the same 62 bits.
#[must_use]
pub fn unicast(target: NodeId) -> FullNameHash {
    spread(target.0)
}

/// The name under which some nodes get data of a track beside the others: a set of its own, told apart from the track's own
/// and from others of that kind by `number`. No track has it, but for one that chance gives the same 62 bits.
#[must_use]
pub(crate) fn aside(track: FullNameHash, number: u64) -> FullNameHash {
    spread(spread(track.get()).get() ^ number)
}

fn spread(number: u64) -> FullNameHash {
    // SplitMix64, by Sebastiano Vigna, in the public domain; it keeps those of neighbouring ids apart from one another and
    // from the hashes of names.
    // codepoint-free: constants of a hash
    let a = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    // codepoint-free: constants of a hash
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    // codepoint-free: constants of a hash
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    FullNameHash::new((c ^ (c >> 31)) & FullNameHash::MAX.get()).unwrap_or(FullNameHash::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_node_has_a_name_of_its_own() {
        let names: BTreeSet<_> = (0..10_000).map(|node| unicast(NodeId(node))).collect();
        assert_eq!(names.len(), 10_000);
    }
}
