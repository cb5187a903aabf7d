//! What a link has to do with the data that goes beside its control messages.

use super::io::LinkConn;
use crate::peering::mesh::SendToNode;
use crate::peering::plane::{LinkBirth, Plane, TellSets};
use crate::peering::tally::Tally;
use crate::transport::ConnHandle;
use actix::Recipient;
use laps_protocol::peering::info_base::LinkId;
use laps_protocol::peering::message::{Dialect, NodeSet, SnsId};
use laps_protocol::peering::node::NodeId;
use std::time::Duration;

/// A link that carries data, as whoever forwards it gets it.
#[derive(Debug)]
pub struct DataLink<C: LinkConn> {
    /// The link.
    pub link: LinkId,
    /// Who is there.
    pub peer: NodeId,
    /// Whether that is a stub, which speaks for itself alone.
    pub stub: bool,
    /// What is spoken.
    pub dialect: Dialect,
    /// The connection. The control messages of the link go over it too.
    pub conn: C,
    /// Streams and datagrams of the peer, from the first on; none where it sends none.
    pub arrivals: Option<C::Arrivals>,
    /// Where sets of nodes for the peer are left.
    pub tell: Recipient<TellSets>,
}

/// Who forwards data between links and to local users. All calls are made by links on their arbiter.
pub trait DataPlane<C: LinkConn>: 'static {
    /// A link stands that carries data.
    fn link_up(&self, link: DataLink<C>);

    /// A link is over, one that carried data or not.
    fn link_down(&self, link: LinkId);

    /// The peer says who is to get what it sends under an id.
    fn advertised(&self, link: LinkId, set: &NodeSet);

    /// The peer sends nothing more under an id.
    fn withdrawn(&self, link: LinkId, id: SnsId);

    /// What was told to the peer, and by it, may be lost: all sets are to be told again, and those that it does not tell
    /// again are over.
    fn say_all_again(&self, link: LinkId);

    /// A set that was told is with the peer, which is a laps relay: it drops data of sets that it has not heard of.
    fn set_delivered(&self, link: LinkId, id: SnsId);

    /// Who takes to other nodes what is to be said of their data. Called for each life of the bases.
    fn speak_by(&self, _: Recipient<SendToNode>) {}

    /// How full its tables are; what it has counted goes to the tally.
    fn census(&self, _: &Tally) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Whether any of the links is needed: it carries what is for others, or what was handed to it has not left.
    fn carries_for_others(&self) -> bool;

    /// That of the slowest link; zero without one.
    fn longest_round_trip(&self) -> Duration;
}

impl DataPlane<ConnHandle> for Plane {
    fn link_up(&self, link: DataLink<ConnHandle>) {
        let arrivals = link.arrivals.map(|arrivals| (arrivals.uni, arrivals.datagrams));
        let (uni, datagrams) = arrivals.unzip();
        Self::link_up(
            self,
            LinkBirth {
                link: link.link,
                peer: link.peer,
                stub: link.stub,
                dialect: link.dialect,
                conn: link.conn,
                uni,
                datagrams,
                tell: link.tell,
            },
        );
    }

    fn link_down(&self, link: LinkId) {
        Self::link_down(self, link);
    }

    fn advertised(&self, link: LinkId, set: &NodeSet) {
        Self::advertised(self, link, set);
    }

    fn withdrawn(&self, link: LinkId, id: SnsId) {
        Self::withdrawn(self, link, id);
    }

    fn say_all_again(&self, link: LinkId) {
        Self::say_all_again(self, link);
    }

    fn set_delivered(&self, link: LinkId, id: SnsId) {
        Self::set_delivered(self, link, id);
    }

    fn speak_by(&self, bases: Recipient<SendToNode>) {
        Self::speak_by(self, bases);
    }

    fn census(&self, tally: &Tally) -> Vec<(&'static str, u64)> {
        tally.set_data(self.counts());
        Self::census(self)
    }

    fn carries_for_others(&self) -> bool {
        Self::carries_for_others(self)
    }

    fn longest_round_trip(&self) -> Duration {
        Self::longest_round_trip(self)
    }
}
