//! Which links there are, and which of two to one node stays.
//!
//! A node has one link for control messages to each other node, and any number for data alone beside it. When both dial
//! each other at once there are two for a moment, and both sides see both of them: the one stays that the node with the
//! lower id dialled. laps peering, "Connection Establishment". A link that has stood for a while is not given up for a
//! newer one, whoever dialled: nothing is won by it, and the links of its tracks would change.
//!
//! All links to a node are to one life of it. Another life is another relay with the same id, or the same one after it was
//! killed: it has no link, for control or for data, while one to the first stands. Who was killed is noticed to be dead
//! before that is a long time.

use super::link::MayStand;
use laps_protocol::peering::info_base::LinkId;
use laps_protocol::peering::message::PeerMode;
use laps_protocol::peering::node::NodeId;
use laps_protocol::peering::session::Role;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Two links that came up within this time were dialled at once: as long as CONNECT may wait for its answer.
const AT_ONCE: Duration = Duration::from_secs(5);

/// One link whose peer is known.
#[derive(Clone, Copy, Debug)]
struct Entry {
    node: NodeId,
    /// The life of the node, 0 where it is not told.
    epoch: u64,
    mode: PeerMode,
    role: Role,
    since: Instant,
}

/// What becomes of a link whose peer has said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It stays.
    Stays,
    /// It stays, and this one ends.
    Replaces(LinkId),
    /// It ends, because this one stays.
    YieldsTo(LinkId),
    /// It ends, because this one is to another life of the node, and stays.
    Stranger(LinkId),
}

/// All links whose peers are known.
#[derive(Debug)]
pub(super) struct Roster {
    own: NodeId,
    links: BTreeMap<LinkId, Entry>,
}

impl Roster {
    /// No links of the node `own`.
    #[must_use]
    pub(super) const fn new(own: NodeId) -> Self {
        Self {
            own,
            links: BTreeMap::new(),
        }
    }

    /// The peer of a link has said who it is: in CONNECT, or in the answer to ours. What yields is not entered; what is
    /// replaced is taken out.
    pub(super) fn enter(&mut self, now: Instant, peer: &MayStand) -> Ruling {
        let link = peer.link;
        let new = Entry {
            node: peer.node.id,
            epoch: peer.epoch,
            mode: peer.mode,
            role: peer.role,
            since: now,
        };
        if let Some(first) = self.stranger(link, &new) {
            return Ruling::Stranger(first);
        }
        let rival = self.rival(link, &new);
        if let Some((rival, old)) = rival {
            if !self.wins(&new, &old) {
                return Ruling::YieldsTo(rival);
            }
            self.links.remove(&rival);
        }
        self.links.insert(link, new);
        rival.map_or(Ruling::Stays, |(rival, _)| Ruling::Replaces(rival))
    }

    /// A link is gone. Gives its node, if it was known.
    pub(super) fn over(&mut self, link: LinkId) -> Option<NodeId> {
        self.links.remove(&link).map(|entry| entry.node)
    }

    /// Whether there is a link for control messages to this node: dialling it for another one is of no use.
    #[must_use]
    pub(super) fn has_control(&self, node: NodeId) -> bool {
        let mut links = self.links.values();
        links.any(|entry| entry.node == node && entry.mode.has_control())
    }

    /// A link to another life of the same node. laps peering, "Node ID": of several nodes with one id the oldest stays.
    fn stranger(&self, link: LinkId, new: &Entry) -> Option<LinkId> {
        let mut links = self.links.iter();
        links
            .find(|(id, entry)| {
                let lives = [entry.epoch, new.epoch];
                **id != link && entry.node == new.node && lives[0] != lives[1] && !lives.contains(&0)
            })
            .map(|(id, _)| *id)
    }

    /// The other link for control messages to the same node.
    fn rival(&self, link: LinkId, new: &Entry) -> Option<(LinkId, Entry)> {
        if !new.mode.has_control() {
            return None;
        }
        let mut links = self.links.iter();
        links
            .find(|(id, entry)| **id != link && entry.node == new.node && entry.mode.has_control())
            .map(|(id, entry)| (*id, *entry))
    }

    fn wins(&self, new: &Entry, old: &Entry) -> bool {
        // Dialled twice by one side, as under two names: the first is as good.
        if new.role == old.role || new.since.saturating_duration_since(old.since) > AT_ONCE {
            return false;
        }
        let of_the_lower = if self.own < new.node {
            Role::Dialler
        } else {
            Role::Acceptor
        };
        new.role == of_the_lower
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use laps_protocol::peering::node::{NodeInfo, NodeType};

    const LOW: NodeId = NodeId(1);
    const HIGH: NodeId = NodeId(2);
    const FIRST: LinkId = LinkId(1);
    const SECOND: LinkId = LinkId(2);

    /// A link of a node in its first life.
    fn asks(link: LinkId, node: NodeId, mode: PeerMode, role: Role) -> MayStand {
        MayStand {
            link,
            node: NodeInfo::new(node, NodeType::Edge, Bytes::new()),
            epoch: 1,
            mode,
            role,
        }
    }

    /// Whatever order the two sides see them in, both keep the one that the lower id dialled.
    #[test]
    fn both_sides_keep_the_same_link() {
        let now = Instant::now();
        for (own, peer) in [(LOW, HIGH), (HIGH, LOW)] {
            let lower_dialled = if own == LOW { Role::Dialler } else { Role::Acceptor };
            let mut roster = Roster::new(own);
            roster.enter(now, &asks(FIRST, peer, PeerMode::Both, lower_dialled));
            let ruling = roster.enter(now, &asks(SECOND, peer, PeerMode::Both, lower_dialled.other()));
            assert_eq!(
                (ruling, roster.links.len()),
                (Ruling::YieldsTo(FIRST), 1),
                "{own}"
            );
            let mut roster = Roster::new(own);
            roster.enter(now, &asks(FIRST, peer, PeerMode::Both, lower_dialled.other()));
            let ruling = roster.enter(now, &asks(SECOND, peer, PeerMode::Control, lower_dialled));
            assert_eq!(
                (ruling, roster.links.len()),
                (Ruling::Replaces(FIRST), 1),
                "{own}"
            );
            assert_eq!((roster.over(FIRST), roster.over(SECOND)), (None, Some(peer)));
        }
    }

    #[test]
    fn what_stands_stays() {
        let now = Instant::now();
        let mut roster = Roster::new(LOW);
        roster.enter(now, &asks(FIRST, HIGH, PeerMode::Both, Role::Acceptor));
        let later = now + AT_ONCE + Duration::from_millis(1);
        let ruling = roster.enter(later, &asks(SECOND, HIGH, PeerMode::Both, Role::Dialler));
        assert_eq!(ruling, Ruling::YieldsTo(FIRST));
        // One side that dials twice gains nothing by it, however soon.
        let ruling = roster.enter(now, &asks(SECOND, HIGH, PeerMode::Both, Role::Acceptor));
        assert_eq!(ruling, Ruling::YieldsTo(FIRST));
    }

    /// laps peering, "(2) Data Peering".
    #[test]
    fn links_for_data_stand_beside_it() {
        let now = Instant::now();
        let mut roster = Roster::new(LOW);
        for link in [3, 4] {
            let ruling = roster.enter(now, &asks(LinkId(link), HIGH, PeerMode::Data, Role::Dialler));
            assert_eq!(ruling, Ruling::Stays);
        }
        assert!(!roster.has_control(HIGH) && roster.links.len() == 2);
        assert_eq!(
            roster.enter(now, &asks(FIRST, HIGH, PeerMode::Both, Role::Dialler)),
            Ruling::Stays
        );
        assert!(roster.has_control(HIGH) && !roster.has_control(LOW));
        assert_eq!(roster.over(FIRST), Some(HIGH));
        assert!(!roster.has_control(HIGH) && !roster.links.is_empty());
    }

    /// laps peering, "Node ID": who comes second has no link of any kind while one to the first stands, not even where the two
    /// dialled at once and its link would be the one that stays.
    #[test]
    fn another_life_waits_until_the_first_has_no_link() {
        let now = Instant::now();
        for mode in [PeerMode::Both, PeerMode::Control, PeerMode::Data] {
            let mut roster = Roster::new(LOW);
            roster.enter(now, &asks(FIRST, HIGH, PeerMode::Both, Role::Acceptor));
            let second = MayStand {
                epoch: 2,
                ..asks(SECOND, HIGH, mode, Role::Dialler)
            };
            assert_eq!(roster.enter(now, &second), Ruling::Stranger(FIRST), "{mode}");
            assert_eq!(roster.over(SECOND), None);
            // Of the first, another one may stand beside it or in its place; what a laps relay is, nobody knows.
            let data = asks(LinkId(5), HIGH, PeerMode::Data, Role::Dialler);
            assert_eq!(roster.enter(now, &data), Ruling::Stays);
            assert_eq!(roster.enter(now, &second), Ruling::Stranger(FIRST));
            assert_eq!(
                (roster.over(FIRST), roster.over(LinkId(5))),
                (Some(HIGH), Some(HIGH))
            );
            assert_eq!(roster.enter(now, &second), Ruling::Stays, "{mode}");
        }
    }
}
