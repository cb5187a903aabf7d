//! What comes out of [`super::NodeSets`].

use crate::peering::forward::route::{LinkId, Route, Source};
use crate::peering::message::{NodeSet, SnsId};
use crate::peering::node::NodeId;
use std::sync::Arc;

/// What is to be done, in the order in which it comes out: a set is told before data that it places can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Tell the peer a set, new or changed. laps peering, "SNS Advertisement".
    Advertise {
        /// To whom, on the control stream of this very link.
        link: LinkId,
        /// The set.
        set: NodeSet,
    },
    /// What leaves by a link under an id is this urgent from now on, what is open there already as well; until this comes
    /// out it is [`DEFAULT_PRIORITY`](crate::relay::scheduler::DEFAULT_PRIORITY). MOQT-14 §7.2 [D14-PRIO-1]
    Prioritise {
        /// The link.
        link: LinkId,
        /// The id.
        sns: SnsId,
        /// The subscriber priority of the most urgent node behind the link.
        priority: u8,
    },
    /// Tell the peer that an id stands for nothing any more. laps peering, "SNS Withdrawal".
    Withdraw {
        /// To whom.
        link: LinkId,
        /// The id.
        sns: SnsId,
    },
    /// The data of a source takes another route from its next stream on.
    Route(Rerouted),
    /// A source is no more: its route is to be forgotten. Streams that are open go on.
    Ended(Source),
    /// Streams of a source broke off because a link died.
    Lost(Lost),
    /// Links lead to nodes again that had one, and then none for a while: of what came meanwhile nothing went to them.
    Back {
        /// Whose data that was.
        source: Source,
        /// The nodes, ascending.
        nodes: Vec<NodeId>,
    },
    /// A peer's set was not taken, which is told once for each link and reason. An earlier set with this id stays.
    Refused {
        /// From whom it came.
        link: LinkId,
        /// Its id.
        sns: SnsId,
        /// Why.
        why: Refusal,
    },
}

/// A new route, and what is different in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rerouted {
    /// Whose.
    pub source: Source,
    /// The route.
    pub route: Arc<Route>,
    /// The links that were not in the route before.
    pub joined: Vec<Joined>,
    /// The links that are not in it any more. Streams that are open on them go on, if the link lives.
    pub left: Vec<LinkId>,
}

/// A link that came into a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The link.
    pub link: LinkId,
    /// Why; the strongest reason that any of its nodes gives.
    pub cause: JoinCause,
}

/// Why a link came into a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinCause {
    /// A node wants the data that had none before.
    Asked,
    /// A node had the data by another link, which lives: what is open there is finished there, and new streams begin
    /// here.
    Moved,
    /// A node had the data by a link that died: what was open there is to go on here, from the cache.
    Died,
}

/// Nodes that were on a link when it died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whose streams broke off.
    pub source: Source,
    /// The link that died.
    pub link: LinkId,
    /// The nodes that got them, those included that new streams had left, and the link that leads to each now, if one does.
    pub nodes: Vec<(NodeId, Option<LinkId>)>,
}

/// Why a set of a peer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer has as many sets as it may have.
    #[error("more subscriber node sets than a link may have")]
    Sets,
    /// The set has more nodes than one may have.
    #[error("more nodes than a subscriber node set may have")]
    Nodes,
    /// All sets of the peer together have as many nodes as they may have.
    #[error("more nodes than all subscriber node sets of a link may have")]
    LinkNodes,
    /// The peer is a stub, and the set is not for this relay alone, or of somebody else's data.
    #[error("a stub may name its edge alone, and no origin but itself")]
    Stub,
}
