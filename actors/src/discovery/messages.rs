//! What discovery tells the rest of a relay.

use actix::Message;
use laps_protocol::discovery::Instance;
use laps_protocol::peering::node::NodeId;
use std::net::SocketAddr;

/// A relay was found that says it takes other relays, or something about it is new. All of it is hearsay: mutual TLS
/// decides who it is.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PeerFound {
    /// What it is called where it was found.
    pub via: Instance,
    /// Which node it says it is.
    pub node: Option<NodeId>,
    /// Where it says it takes relays, the best first; never empty.
    pub addresses: Vec<SocketAddr>,
}

/// A relay of which [`PeerFound`] told is not advertised any more. A link to it may work on.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PeerLost {
    /// What it was called.
    pub via: Instance,
}
