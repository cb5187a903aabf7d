//! The links of this relay: to whom, for what, and how far away.

use super::stubs::Stub;
use crate::peering::message::PeerMode;
use crate::peering::node::{NodeId, NodeInfo, NodeType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A link, for as long as the relay runs: a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// Which relays are at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kin {
    /// A relay of ours, in the given life of it: see [`super::InfoBase::new`]. Never 0.
    Ours(u64),
    /// A real laps relay.
    Laps,
}

impl Kin {
    /// The life of the relay, 0 where it is not told.
    #[must_use]
    pub const fn epoch(self) -> u64 {
        match self {
            Self::Ours(epoch) => epoch,
            Self::Laps => 0,
        }
    }

    /// Whether it is a relay of ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Ours(_))
    }
}

/// A link that has been established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUp {
    /// What the peer said of itself in CONNECT or its response; the path is ignored.
    pub node: NodeInfo,
    /// What the link is for, as seen from here. laps peering, "Peering Modes".
    pub mode: PeerMode,
    /// Which relays are there.
    pub kin: Kin,
    /// Its round trip time in microseconds, 0 while that is not known.
    pub srtt_us: u64,
}

/// Why a link is refused. Its text goes to the peer and to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub enum RefuseReason {
    /// The peer has our own id.
    OurOwnId,
    /// Another node has the id, and was there first. laps peering, "Node ID".
    DuplicateNodeId,
    /// The node has links in another life of it: another relay has its id, and was there first, or it was killed and nobody
    /// has noticed yet. laps peering, "Node ID".
    OtherLife,
    /// The peer has a link for control messages already. laps peering, "Connection Establishment".
    SecondControlLink,
    /// Stubs dial edges, and nobody else. laps peering, "Stub".
    StubsNeedEdges,
    /// A Via keeps no infos, so it could not tell a laps relay what it cannot ask for.
    LapsNeedsAnEdge,
    /// More links than [`super::Limits::max_links`].
    TooManyLinks,
    /// It takes what it is told so slowly that more than [`super::Limits::max_held`] waits.
    TooFarBehind,
}

impl RefuseReason {
    /// Why, for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::OurOwnId => "the node id is that of the relay that was dialled",
            Self::DuplicateNodeId => "another node of the mesh has this node id already",
            Self::OtherLife => {
                "another relay with this node id has a link, or the same one from before it was restarted"
            }
            Self::SecondControlLink => "there is a control link to this node already",
            Self::StubsNeedEdges => "a stub peers with edges only",
            Self::LapsNeedsAnEdge => "a via peers with relays of its own kind only",
            Self::TooManyLinks => "too many links",
            Self::TooFarBehind => "too many control messages wait for the peer",
        }
    }
}

/// What a peer was told of a node.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) info: Arc<NodeInfo>,
    pub(super) epoch: u64,
}

/// One link that is up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    pub(super) peer_type: NodeType,
    pub(super) mode: PeerMode,
    pub(super) kin: Kin,
    /// What counts as its round trip time.
    pub(super) srtt_us: u64,
    /// Whether data can be sent to the peer, on this link or one beside it. Kept by [`Links`].
    pub(super) takes_data: bool,
    /// Whether the peer can send data here, on this link or one beside it. Kept by [`Links`].
    pub(super) sends_data: bool,
    /// The peer is about to end.
    pub(super) leaving: bool,
    /// The nodes it told of, the peer itself included.
    pub(super) heard: BTreeSet<NodeId>,
    /// The nodes that the peer was told of.
    pub(super) told: BTreeMap<NodeId, Told>,
    /// It was told everything; from now on it is told what changes.
    pub(super) greeted: bool,
    /// What was reported of it already.
    pub(super) reported: BTreeSet<super::ReportKind>,
    /// What it publishes, subscribes to and knows, if it is a stub.
    pub(super) stub: Option<Box<Stub>>,
}

impl Link {
    pub(super) fn is_stub(&self) -> bool {
        self.peer_type == NodeType::Stub
    }
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Those that are not to stubs: what all of them are told goes by these, however many stubs there are.
    mesh: BTreeMap<LinkId, Link>,
    stubs: BTreeMap<LinkId, Link>,
    peers: BTreeMap<NodeId, BTreeSet<LinkId>>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.mesh.len() + self.stubs.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.mesh.keys().chain(self.stubs.keys()).copied()
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Link> {
        self.mesh.get(&link).or_else(|| self.stubs.get(&link))
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.mesh.get_mut(&link).or_else(|| self.stubs.get_mut(&link))
    }

    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.peers.entry(link.peer).or_default().insert(id);
        let peer = link.peer;
        if link.is_stub() {
            self.stubs.insert(id, link);
        } else {
            self.mesh.insert(id, link);
        }
        self.refresh(peer);
    }

    /// Says on all links to a neighbour whether one of them takes data, and whether one brings it.
    fn refresh(&mut self, peer: NodeId) {
        let (takes_data, sends_data) = self.data_ways(peer);
        for id in self.peers.get(&peer).into_iter().flatten() {
            let link = self.mesh.get_mut(id).or_else(|| self.stubs.get_mut(id));
            if let Some(link) = link {
                (link.takes_data, link.sends_data) = (takes_data, sends_data);
            }
        }
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.mesh.remove(&id).or_else(|| self.stubs.remove(&id))?;
        if let Some(links) = self.peers.get_mut(&link.peer) {
            links.remove(&id);
            if links.is_empty() {
                self.peers.remove(&link.peer);
            }
        }
        self.refresh(link.peer);
        Some(link)
    }

    pub(super) fn to(&self, peer: NodeId) -> impl Iterator<Item = (LinkId, &Link)> {
        let ids = self.peers.get(&peer).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Links that take data to a neighbour, ascending.
    pub(super) fn data(&self, peer: NodeId) -> Vec<LinkId> {
        let links = self.to(peer).filter(|(_, link)| link.mode.sends_data());
        links.map(|(id, _)| id).collect()
    }

    /// Whether data can be sent to a neighbour, and whether it can send data here.
    pub(super) fn data_ways(&self, peer: NodeId) -> (bool, bool) {
        let takes = self.to(peer).any(|(_, link)| link.mode.sends_data());
        let sends = self.to(peer).any(|(_, link)| link.mode.takes_data());
        (takes, sends)
    }

    /// The one link to a neighbour on which information bases are exchanged.
    pub(super) fn control(&self, peer: NodeId) -> Option<LinkId> {
        let mut links = self.to(peer).filter(|(_, link)| link.mode.has_control());
        links.next().map(|(id, _)| id)
    }

    /// Whether a neighbour is a relay of ours with a control link, on which it takes messages to nodes.
    pub(super) fn speaks_to(&self, peer: NodeId) -> bool {
        self.to(peer)
            .any(|(_, link)| link.mode.has_control() && link.kin.is_ours())
    }

    /// Whether a link to a neighbour is to another life of it than this one.
    pub(super) fn other_life(&self, peer: NodeId, kin: Kin) -> bool {
        let other = |link: &Link| link.kin.is_ours() && link.kin != kin;
        kin.is_ours() && self.to(peer).any(|(_, link)| other(link))
    }

    /// Links on which information bases are exchanged, but for those to stubs, which have their own rules.
    pub(super) fn for_infos(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        let links = self.mesh.iter().map(|(id, link)| (*id, link));
        links.filter(|(_, link)| link.mode.has_control())
    }

    pub(super) fn for_infos_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        let links = self.mesh.iter_mut().map(|(id, link)| (*id, link));
        links.filter(|(_, link)| link.mode.has_control())
    }
}

/// The round trip time that counts after a measurement.
///
/// Times wobble; were each measurement told, the whole mesh would hear of it. So a link keeps its time until a
/// measurement is off by more than a tenth and by more than 2 ms. The rule stands here and not where ways are compared:
/// what is compared are the times that count, and the choice among them knows no past.
pub(super) fn damped(counts_us: u64, measured_us: u64) -> u64 {
    const SLACK_US: u64 = 2000;
    let slack = SLACK_US.max(counts_us / 10);
    if counts_us == 0 || counts_us.abs_diff(measured_us) > slack {
        measured_us
    } else {
        counts_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wobble_is_no_change() {
        for (counts, measured, after) in [
            (0, 400, 400),
            (400, 2400, 400),
            (400, 2401, 2401),
            (50_000, 55_000, 50_000),
            (50_000, 55_001, 55_001),
            (50_000, 44_999, 44_999),
            (50_000, 45_000, 50_000),
        ] {
            assert_eq!(damped(counts, measured), after, "{counts} {measured}");
        }
    }
}
