//! What the information bases are told, and what they have links and local users do.

use super::mouth::Mouth;
use actix::Message;
use laps_protocol::peering::info_base::{self, LinkId, RefuseReason};
use laps_protocol::peering::message;

/// A link stands: from now on it is told what its peer is to know.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RefuseReason>")]
pub struct LinkStands {
    /// The link, a number that no link had before.
    pub link: LinkId,
    /// Who is there, and for what.
    pub up: info_base::LinkUp,
    /// How it is spoken through.
    pub mouth: Mouth,
}

/// Would a link to this peer be taken? For who has to answer the peer before it can stand.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RefuseReason>")]
pub struct Admits(pub info_base::LinkUp);

/// The bases are over: to those whose parent ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndBases;

/// The relay is about to end: others are to find ways around it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveMesh;

/// A link is gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LinkOver(pub LinkId);

/// The round trip time of a link was measured.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LinkMeasured {
    /// The link.
    pub link: LinkId,
    /// Microseconds.
    pub srtt_us: u64,
}

/// A peer said something. The link asks, and says the next when it was answered: so a peer is read as fast as it is
/// understood.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PeerSaid {
    /// The link.
    pub link: LinkId,
    /// A node, publish or subscribe info, or one of the messages between relays of ours.
    pub message: message::Message,
}

/// Some link that had no room has some again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RoomAgain;

/// To a link: say these, in this order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Say(pub Vec<message::Message>);

/// To a link: it is over.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndLink(pub &'static str);
