//! What goes into a [`super::PeerSession`] and what comes out of it.

use crate::peering::error::{EncodeError, ErrorCode};
use crate::peering::message::{Connect, Message, PeerMode, ResponseCode};
use crate::peering::node::NodeInfo;
use bytes::Bytes;
use std::borrow::Cow;

/// Which side of the link this is. laps peering, "Connection Establishment".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Made the connection: opens the control stream and sends CONNECT.
    Dialler,
    /// Took the connection: latches onto the dialler's stream and answers.
    Acceptor,
}

/// A bidirectional stream of the connection, by a number that the caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ControlStream(pub u64);

/// One thing that happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A bidirectional stream of ours exists, as an [`Action::OpenControl`] asked.
    StreamOpened(ControlStream),
    /// The peer opened a bidirectional stream. To be given in the order in which the peer opened them.
    StreamAccepted(ControlStream),
    /// Bytes arrived on a bidirectional stream, in order.
    StreamBytes(ControlStream, Bytes),
    /// The peer finished a bidirectional stream.
    StreamFin(ControlStream),
    /// The peer reset a bidirectional stream, or refuses to read it.
    StreamReset(ControlStream),
    /// What the last [`Action::Write`] on this stream had to say has left, so that what is written now cannot share a
    /// frame with it.
    Flushed(ControlStream),
    /// The peer opened a data stream, or sent a datagram. Nobody needs to look before [`Event::Established`], nor say so of
    /// a link that carries data.
    DataArrived,
    /// A time given by `poll_timeout` has come.
    Timeout,
}

/// Something for the connection to do. Done in the order in which they come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a bidirectional stream and report it as [`Input::StreamOpened`].
    OpenControl,
    /// Write these bytes, which are one whole message, and report it as [`Input::Flushed`].
    Write(ControlStream, Bytes),
    /// Reset what we send on this stream and refuse to read it; nothing more of it is wanted.
    Reset(ControlStream, ErrorCode),
    /// Close the connection; nothing more comes out.
    Close {
        /// Why, for the wire.
        code: ErrorCode,
        /// Why, for a person; short enough for a CONNECTION_CLOSE frame.
        reason: Cow<'static, str>,
    },
}

/// Something that the peer said, already checked against the rules of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer asks for the link, and what was configured about it holds. Answer with [`Command::Accept`] or
    /// [`Command::Refuse`] at once: the peer waits. Acceptor only.
    PeerConnect(Connect),
    /// The link stands. Everything that the peer is to know may be said now, and data may be read.
    Established {
        /// Who the peer is.
        peer: NodeInfo,
        /// What the link is for.
        mode: PeerMode,
    },
    /// The peer refused the link; [`Action::Close`] follows. Dialler only.
    Refused(ResponseCode),
    /// A node, publish or subscribe info, or a node set, that this link may carry. The same may come more than once:
    /// laps relays say everything twice at the start.
    Message(Message),
    /// A message of a type that this build does not know; it was passed over.
    Unknown {
        /// Its type.
        message_type: u16,
        /// Bytes of its body.
        length: u32,
    },
    /// The peer answered [`Command::Ping`].
    Pong(u64),
    /// The control stream was replaced, and what was on its way on the old one may be lost: say everything again.
    ControlMoved,
}

/// Something for the session to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Accept the peer's CONNECT.
    Accept,
    /// Refuse the peer's CONNECT, and close the link when the answer is out. The words are for a person.
    Refuse(ResponseCode, Cow<'static, str>),
    /// Say this. CONNECT and its answer are the session's own to say.
    Send(Message),
    /// Say PING with this number, before all that waits; not at all while another one waits. Relays of ours only.
    Ping(u64),
    /// Replace the control stream by a new one. Dialler only.
    RecreateControl,
    /// Close the link.
    Close(ErrorCode, Cow<'static, str>),
}

/// One output: drain them all after every input and command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// For the connection.
    Action(Action),
    /// For the relay.
    Event(Box<Event>),
    /// For the log, when `Config::trace` asks for it.
    Trace(Box<Traced>),
}

/// For the log: a message that came in, or that was given to the queue of those that go out. Sets of nodes are in it as they
/// leave the queue, where newer ones take the place of older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// True when the peer sent it.
    pub inbound: bool,
    /// The message.
    pub message: Message,
}

/// Why a command was not carried out; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// Not in this state of the link.
    #[error("the link is not in a state for this")]
    WrongState,
    /// The other side's to do, or not on a link in this mode.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The peer does not take messages as fast as they come: the link is closed.
    #[error("{0} control messages wait for the peer already")]
    Overflow(usize),
    /// The message cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
