//! What a link asks its parent, and what its tasks tell it.

use super::io::{Ear, Pen};
use actix::Message;
use laps_protocol::peering::error::ErrorCode;
use laps_protocol::peering::info_base::LinkId;
use laps_protocol::peering::message::{PeerMode, ResponseCode};
use laps_protocol::peering::node::NodeInfo;
use laps_protocol::peering::session::{ControlStream, Input, Role};

/// To the parent: the peer of a link has said who it is. May the link stand?
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct MayStand {
    /// The link.
    pub link: LinkId,
    /// Who it is.
    pub node: NodeInfo,
    /// In which life, 0 where it does not tell.
    pub epoch: u64,
    /// What the link is for.
    pub mode: PeerMode,
    /// Which side of the link we are.
    pub role: Role,
}

/// Why a link may not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the peer.
    pub code: ResponseCode,
    /// For a person.
    pub why: &'static str,
}

/// To the parent: the peer of a link is about to end, and the link with it; or it was not let in.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PeerLeaves(pub LinkId);

/// To a link: end it on purpose.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndFor {
    /// Why, for the peer.
    pub code: ErrorCode,
    /// The same, for a person.
    pub reason: &'static str,
}

/// To a link, from its tasks: something happened on a stream. Answered when what it said has been understood.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Happened(pub(super) Input);

/// To a link, from its tasks: there is a bidirectional stream.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Stream {
    pub(super) ours: bool,
    pub(super) pen: Box<dyn Pen + Send>,
    pub(super) ear: Box<dyn Ear + Send>,
}

/// To a link, from its tasks: no stream can be opened or accepted any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ConnOver;

/// To a link, from the task that writes: the message is out, or, when `ok` is false, nothing goes out any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Written {
    pub(super) stream: ControlStream,
    pub(super) ok: bool,
}
