//! What a link is told at its start.

use crate::peering::limits::Limits;
use crate::peering::message::PeerMode;
use crate::peering::node::{NodeId, NodeInfo};
use std::time::Duration;

/// Settings of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who we are. It is sent with an empty path.
    pub own: NodeInfo,
    /// The life of this relay, said to relays of ours and never 0 there: see
    /// [`InfoBase::new`](crate::peering::info_base::InfoBase::new).
    pub epoch: u64,
    /// What a dialler asks for.
    pub mode: PeerMode,
    /// What an acceptor grants, of what diallers ask for.
    pub accepted_modes: Vec<PeerMode>,
    /// The one node that may be at the other end, where it is known beforehand: by the peer's certificate, or by what is
    /// dialled.
    pub expected: Option<NodeId>,
    /// Bounds on what the peer says.
    pub limits: Limits,
    /// How long a dialler waits for the answer to CONNECT, and an acceptor for CONNECT.
    pub connect_timeout: Duration,
    /// How long the peer may take to finish a control message that it began.
    pub message_timeout: Duration,
    /// How long a dialler may be without a control stream after its old one ended.
    pub control_timeout: Duration,
    /// How long a refusal may take to be flushed before the link is closed all the same.
    pub refusal_timeout: Duration,
    /// Control messages that may wait for the peer, sets of nodes apart.
    pub max_queued_messages: usize,
    /// Bytes of them.
    pub max_queued_bytes: usize,
    /// Sets of nodes of which something waits to be said, of each the latest only.
    pub max_queued_sets: usize,
    /// Bytes of them.
    pub max_queued_set_bytes: usize,
    /// How often the control stream may be replaced.
    pub max_control_moves: u32,
    /// Gives each control message, in and out, as an [`super::Output::Trace`].
    pub trace: bool,
}

impl Config {
    /// The usual settings of a link of `own`.
    #[must_use]
    pub fn new(own: NodeInfo) -> Self {
        Self {
            own,
            epoch: 0,
            // What laps relays ask for.
            mode: PeerMode::Both,
            accepted_modes: PeerMode::ALL.to_vec(),
            expected: None,
            limits: Limits::default(),
            // As for SETUP of a MOQT session.
            connect_timeout: Duration::from_secs(5),
            // The largest message has 256 KiB, which takes two seconds at a megabit per second.
            message_timeout: Duration::from_secs(10),
            control_timeout: Duration::from_secs(5),
            // A few round trips over the slowest path.
            refusal_timeout: Duration::from_secs(1),
            // One message leaves per flush: at a few milliseconds each, these are minutes of silence of the peer.
            max_queued_messages: 65_536,
            max_queued_bytes: 16 * 1024 * 1024,
            // As many as a link has (`forward::Limits::max_sets_per_link`) may end before they were said, and as many begin in
            // their stead: what each was, that it is over, and the other one.
            max_queued_sets: 3 * 65_536,
            // A node takes 9 bytes. A peer keeps no more than `forward::Limits::max_nodes_per_link` of them in all sets of the link,
            // for which this is seven times the room.
            max_queued_set_bytes: 64 << 20,
            // Each makes both sides say everything again.
            max_control_moves: 16,
            trace: false,
        }
    }
}
