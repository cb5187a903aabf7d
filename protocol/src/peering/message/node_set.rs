//! SUBSCRIBE_NODE_SET_ADV and SUBSCRIBE_NODE_SET_WD. laps peering, "Source Routing".

use super::Dialect;
use super::fields::FieldReader;
use crate::peering::error::{DecodeError, EncodeError};
use crate::peering::node::NodeId;
use crate::relay::scheduler::DEFAULT_PRIORITY;
use bytes::{BufMut, BytesMut};
use std::fmt;
use std::num::NonZeroU32;

/// The number of a subscriber node set on one link, chosen by who sends the data. Zero is none.
/// laps peering, "Source Routing".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnsId(NonZeroU32);

impl SnsId {
    /// The first number of a link.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// This number; none for zero.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The number after this one; one comes after the largest. laps peering, "Source Routing".
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for SnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnsId({})", self.0)
    }
}

/// The relays that are to get the data which comes under an id. Said again with the same id, it replaces what was said
/// before. laps peering, "Source Routing".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSet {
    /// The id.
    pub id: SnsId,
    /// A number that laps always sends as [`Self::PRIORITY`].
    pub priority: u8,
    /// The relay whose publishers the data comes from, which every relay in between copies. Laps relays do not say it: who
    /// hands on what comes from one names that one, whoever may be behind it.
    pub origin: Option<NodeId>,
    nodes: Vec<NodeId>,
    priorities: Priorities,
}

/// The subscriber priorities of the nodes of a list, in its order: 0 is the most urgent. Nothing is kept while all are
/// [`DEFAULT_PRIORITY`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities(Vec<u8>);

impl Priorities {
    /// That of the node at this place of the list.
    #[must_use]
    pub fn at(&self, place: usize) -> u8 {
        self.0.get(place).copied().unwrap_or(DEFAULT_PRIORITY)
    }

    /// That of one of the nodes whose priorities these are; they are in the order of their ids.
    #[must_use]
    pub fn of(&self, nodes: &[NodeId], node: NodeId) -> u8 {
        nodes
            .binary_search(&node)
            .map_or(DEFAULT_PRIORITY, |place| self.at(place))
    }
}

impl FromIterator<u8> for Priorities {
    fn from_iter<T: IntoIterator<Item = u8>>(priorities: T) -> Self {
        let mut all = Vec::new();
        let mut default = 0;
        for priority in priorities {
            if priority == DEFAULT_PRIORITY && all.is_empty() {
                default += 1;
                continue;
            }
            if all.is_empty() {
                all.resize(default, DEFAULT_PRIORITY);
            }
            all.push(priority);
        }
        Self(all)
    }
}

impl NodeSet {
    /// The priority that laps sends.
    pub const PRIORITY: u8 = 2;

    /// The set of these nodes, each once, whatever their order. Nobody is named as its origin, and of no node is said how
    /// urgent it is.
    #[must_use]
    pub fn new(id: SnsId, priority: u8, nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node, DEFAULT_PRIORITY));
        Self {
            priority,
            ..Self::urgent(id, nodes)
        }
    }

    /// The set of these nodes with their subscriber priorities; of a node with two the more urgent holds. Laps relays do not
    /// hear of the priorities.
    #[must_use]
    pub fn urgent(id: SnsId, nodes: impl IntoIterator<Item = (NodeId, u8)>) -> Self {
        let (nodes, priorities) = sorted(nodes);
        Self {
            id,
            priority: Self::PRIORITY,
            origin: None,
            nodes,
            priorities,
        }
    }

    /// The same set for data that comes from the publishers of `origin`.
    #[must_use]
    pub fn from_origin(self, origin: Option<NodeId>) -> Self {
        Self { origin, ..self }
    }

    /// The nodes, each once, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The subscriber priority of each, in the same order.
    #[must_use]
    pub const fn priorities(&self) -> &Priorities {
        &self.priorities
    }

    /// The nodes with their subscriber priorities, in the order of their ids.
    pub fn with_priorities(&self) -> impl Iterator<Item = (NodeId, u8)> + '_ {
        let nodes = self.nodes.iter().enumerate();
        nodes.map(|(at, node)| (*node, self.priorities.at(at)))
    }

    /// That of the most urgent node: a stream goes to all of them. MOQT-14 §7.2 [D14-PRIO-1]
    #[must_use]
    pub fn most_urgent(&self) -> u8 {
        let all = self.with_priorities().map(|(_, priority)| priority);
        all.min().unwrap_or(DEFAULT_PRIORITY)
    }

    /// Whether `node` is to get the data.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes.binary_search(&node).is_ok()
    }
}

/// Nodes in the order of their ids, each once, and their priorities; of a node with two the more urgent holds.
pub(in crate::peering) fn sorted(nodes: impl IntoIterator<Item = (NodeId, u8)>) -> (Vec<NodeId>, Priorities) {
    let mut nodes: Vec<(NodeId, u8)> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.dedup_by_key(|(node, _)| *node);
    let priorities = nodes.iter().map(|(_, priority)| *priority).collect();
    (nodes.into_iter().map(|(node, _)| node).collect(), priorities)
}

// Without the hash of the track, which the document has here, and with priority and count, as laps does.
pub(super) fn read(r: &mut FieldReader<'_>, dialect: Dialect) -> Result<NodeSet, DecodeError> {
    let id = r.sns_id()?;
    let priority = r.u8()?;
    let origin = match dialect {
        Dialect::Laps14 | Dialect::Laps16 => None,
        // Decision 0029: none, where a laps relay is in between, or one.
        Dialect::Own => match r.u8()? {
            0 => None,
            1 => Some(r.node_id()?),
            more => return Err(r.breach(format!("{more} origins of a set, at most one is taken"))),
        },
    };
    let count = u64::from(r.u16()?);
    let count = r.at_most("nodes in a set", count, r.limits.max_set_nodes)?;
    // Eight bytes each: what is not there is not made room for.
    let mut nodes = Vec::with_capacity(count.min(r.remaining() / 8));
    for _ in 0..count {
        nodes.push(r.node_id()?);
    }
    let mut priorities = vec![DEFAULT_PRIORITY; nodes.len()];
    // Decision 0038: one for each node, or none where all are the default.
    if dialect == Dialect::Own && r.remaining() > 0 {
        for priority in &mut priorities {
            *priority = r.u8()?;
        }
    }
    let set = NodeSet::urgent(id, nodes.into_iter().zip(priorities));
    Ok(NodeSet { priority, ..set }.from_origin(origin))
}

pub(super) fn put(set: &NodeSet, dialect: Dialect, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u32(set.id.get());
    out.put_u8(set.priority);
    if dialect == Dialect::Own {
        out.put_u8(u8::from(set.origin.is_some()));
        set.origin.iter().for_each(|origin| out.put_u64(origin.0));
    }
    let size = set.nodes.len();
    out.put_u16(u16::try_from(size).map_err(|_| EncodeError::TooLarge {
        what: "nodes in a set",
        size,
        max: usize::from(u16::MAX),
    })?);
    // Ascending, as laps does.
    set.nodes.iter().for_each(|node| out.put_u64(node.0));
    if dialect == Dialect::Own {
        out.put_slice(&set.priorities.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_skip_zero() {
        assert_eq!(SnsId::new(0), None);
        assert_eq!(SnsId::FIRST.get(), 1);
        assert_eq!(SnsId::FIRST.next().get(), 2);
        assert_eq!(SnsId::new(u32::MAX).unwrap().next(), SnsId::FIRST);
    }

    #[test]
    fn a_set_has_each_node_once() {
        let set = NodeSet::new(SnsId::FIRST, 2, [3, 1, 3, 2].map(NodeId));
        assert_eq!(set.nodes(), [1, 2, 3].map(NodeId));
        assert!(set.contains(NodeId(2)) && !set.contains(NodeId(4)));
    }

    #[test]
    fn a_node_is_as_urgent_as_it_was_said_to_be() {
        let of = |nodes: &[(u64, u8)]| {
            let nodes = nodes.iter().map(|(node, priority)| (NodeId(*node), *priority));
            NodeSet::urgent(SnsId::FIRST, nodes)
        };
        let set = of(&[(3, 128), (1, 128), (2, 9), (3, 200)]);
        let all: Vec<_> = set
            .with_priorities()
            .map(|(node, priority)| (node.0, priority))
            .collect();
        assert_eq!(all, [(1, 128), (2, 9), (3, 128)]);
        assert_eq!(set.most_urgent(), 9);
        assert_eq!(of(&[(1, 255)]).most_urgent(), 255);
        // Nothing is kept of what is as it is anyway.
        let plain = NodeSet::new(SnsId::FIRST, 2, [1, 2].map(NodeId));
        assert_eq!(of(&[(2, 128), (1, 128)]), plain);
        assert_eq!(plain.priorities, Priorities::default());
        assert_eq!(plain.most_urgent(), 128);
    }

    #[test]
    fn a_set_too_large_for_its_count_is_not_written() {
        let mut out = BytesMut::from(&b"before"[..]);
        let message = crate::peering::message::Message::NodeSetAdvertise(NodeSet::new(
            SnsId::FIRST,
            2,
            (0..65_536).map(NodeId),
        ));
        let error = message.encode(Dialect::Laps14, &mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nodes in a set: 65536, and the field for it ends at 65535"
        );
        assert_eq!(out, &b"before"[..]);
    }
}
