//! What the plane tells others on its arbiter.

use actix::Message;
use laps_protocol::peering::hash::FullNameHash;
use laps_protocol::peering::message;
use laps_protocol::peering::node::NodeId;
use std::collections::BTreeSet;

/// To the actor of a link: say this to its peer. Only sets of nodes, new, changed or withdrawn.
///
/// Each set is told when its nodes change, once for all changes of a turn, so what bounds them is how often that happens; the
/// session of the link bounds what waits for the peer.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct TellSets(pub Vec<message::Message>);

/// To whoever serves the tracks of this relay: [`Plane::route`](super::Plane::route) says something else of this track.
/// Sent once, until it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct TrackRerouted(pub FullNameHash);

/// To whoever has the tracks of other nodes: a link died by which data of these nodes came. What was on its way is lost,
/// whether a stream was open just then or not.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct WaysCut(pub BTreeSet<NodeId>);
