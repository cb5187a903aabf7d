//! What the mesh is told, and what the information bases are asked for.

use actix::{Message, Recipient};
use bytes::Bytes;
use laps_protocol::peering::hash::{FullNameHash, TrackHash};
use laps_protocol::peering::info_base::{Command, CommandError};
use laps_protocol::peering::message::Published;
use laps_protocol::peering::node::{NodeId, NodeType};

/// New information bases have begun, or those that there are begin to tell again. They know nothing of what local users
/// want, and tell everything that they learn from here on. The first that each life of them says.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct BasesBegan {
    /// Where local users say what they want.
    pub want: Recipient<Want>,
    /// Where what goes to a node is left.
    pub nodes: Recipient<SendToNode>,
}

/// What the mesh has for local users, in this order.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct MeshNews(pub Vec<News>);

/// One thing that local users are to know; see [`laps_protocol::peering::info_base::Output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A node can be reached.
    NodeReachable {
        /// The node.
        node: NodeId,
        /// What it is.
        node_type: NodeType,
        /// Relays of ours all the way, itself included: it answers, and what it is sent by [`SendToNode`] arrives.
        ours: bool,
    },
    /// It cannot any more. Its infos are over only when that is said.
    NodeUnreachable {
        /// The node.
        node: NodeId,
    },
    /// A node has a publisher.
    Publish {
        /// The node.
        source: NodeId,
        /// What is published.
        what: Published,
    },
    /// It has none any more.
    PublishGone {
        /// The node.
        source: NodeId,
        /// What was published.
        what: Published,
    },
    /// A node subscribes to what is published here; said again when the data changes.
    Subscribe {
        /// The node.
        source: NodeId,
        /// The track.
        track: TrackHash,
        /// The SUBSCRIBE, for [`laps_protocol::peering::message::parse_subscribe_data`].
        data: Bytes,
    },
    /// It does not any more.
    SubscribeGone {
        /// The node.
        source: NodeId,
        /// The track.
        track: FullNameHash,
    },
}

/// A node says something to this one that is not for the information bases.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct FromNode {
    /// Who.
    pub source: NodeId,
    /// What the body is.
    pub kind: u8,
    /// Tells answers apart, by the number that the question had.
    pub request_id: u64,
    /// The rest.
    pub body: Bytes,
}

/// Say this to a node. It may be lost, and is when the node cannot be reached by relays of ours alone.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SendToNode {
    /// For whom.
    pub target: NodeId,
    /// What the body is.
    pub kind: u8,
    /// Chosen by who asks; an answer has that of its question.
    pub request_id: u64,
    /// The rest.
    pub body: Bytes,
}

/// A local user wants something of the mesh.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), CommandError>")]
pub struct Want(pub Command);
