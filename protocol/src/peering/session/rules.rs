//! What a link may carry. laps peering, "Peering Modes".

use super::PeerSession;
use super::breach::PeerMisbehaved;
use super::io::{CommandError, Event, Role};
use crate::peering::error::ErrorCode;
use crate::peering::message::{Message, MessageKind};

/// What a message is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Handshake,
    InformationBase,
    NodeSet,
    Liveness,
}

const fn family(kind: MessageKind) -> Family {
    match kind {
        MessageKind::Connect | MessageKind::ConnectResponse => Family::Handshake,
        MessageKind::NodeInfoAdvertise
        | MessageKind::NodeInfoWithdraw
        | MessageKind::SubscribeInfoAdvertise
        | MessageKind::SubscribeInfoWithdraw
        | MessageKind::PublishInfoAdvertise
        | MessageKind::PublishInfoWithdraw
        | MessageKind::Relayed
        | MessageKind::Summary
        | MessageKind::Watch
        | MessageKind::Unwatch
        | MessageKind::Leaving => Family::InformationBase,
        MessageKind::NodeSetAdvertise | MessageKind::NodeSetWithdraw => Family::NodeSet,
        MessageKind::Ping | MessageKind::Pong => Family::Liveness,
    }
}

impl PeerSession {
    /// Whether information bases are exchanged on this link, once it stands. laps peering, "(1) Control Peering".
    #[must_use]
    pub fn carries_control(&self) -> bool {
        self.is_established() && self.mode.has_control()
    }

    /// Whether data of ours goes over this link, and node sets for it, once it stands. laps peering, "(2) Data Peering".
    #[must_use]
    pub fn sends_data(&self) -> bool {
        self.is_established() && self.mode.sends_data()
    }

    /// Whether data of the peer does.
    #[must_use]
    pub fn takes_data(&self) -> bool {
        self.is_established() && self.mode.takes_data()
    }

    /// Whether we may say this.
    pub(super) fn may_send(&self, message: &Message) -> Result<(), CommandError> {
        match family(message.kind()) {
            Family::Handshake => Err(CommandError::NotAllowed("CONNECT and its answer are made here")),
            Family::Liveness => Err(CommandError::NotAllowed("PING has a command of its own")),
            Family::InformationBase if !self.mode.has_control() => {
                Err(CommandError::NotAllowed("this link is for data alone"))
            }
            Family::NodeSet if !self.mode.sends_data() => {
                Err(CommandError::NotAllowed("no data of ours goes over this link"))
            }
            Family::InformationBase | Family::NodeSet => Ok(()),
        }
    }

    /// A message of the peer on a link that stands.
    pub(super) fn on_info(&mut self, message: Message) -> Result<(), PeerMisbehaved> {
        let kind = message.kind();
        match family(kind) {
            Family::Handshake => Err(PeerMisbehaved::message(
                format!("{kind} on a link that stands"),
                "laps peering, \"Connection Establishment\"",
            )),
            // laps peering, "(2) Data Peering": the stream of a data link is for node sets.
            Family::InformationBase if !self.mode.has_control() => Err(PeerMisbehaved::message(
                format!("{kind} on a link for data alone"),
                "laps peering, \"(2) Data Peering\"",
            )),
            // laps peering, "Subscribe Node Set Advertisement Message": where the data goes, nowhere else.
            Family::NodeSet if !self.mode.takes_data() => Err(PeerMisbehaved::message(
                format!("{kind} on a link that takes no data of this peer"),
                "laps peering, \"Subscribe Node Set Advertisement Message\"",
            )),
            Family::Liveness => {
                self.on_liveness(&message);
                Ok(())
            }
            Family::InformationBase | Family::NodeSet => {
                self.tell(Event::Message(message));
                Ok(())
            }
        }
    }

    /// Each PING is answered, but not while the answer to the one before waits to be written.
    fn on_liveness(&mut self, message: &Message) {
        if let Message::Ping(number) = message {
            self.say_urgent(&Message::Pong(*number));
        } else if let Message::Pong(number) = message {
            self.tell(Event::Pong(*number));
        }
    }

    /// [`super::Command::Ping`].
    pub(super) fn ping(&mut self, number: u64) -> Result<(), CommandError> {
        if !self.is_established() {
            return Err(CommandError::WrongState);
        }
        if !MessageKind::Ping.is_known_to(self.dialect) {
            return Err(CommandError::NotAllowed("laps relays know no PING"));
        }
        self.say_urgent(&Message::Ping(number));
        Ok(())
    }

    /// A data stream or datagram of the peer. Where the link does not stand yet, it may do so in a moment: the streams of a
    /// connection are independent, so a lost packet is enough for data to overtake CONNECT's answer. laps peering, "Connect
    /// Message" DEVIATION: the document closes the link then.
    pub(super) fn on_data(&mut self) -> Result<(), PeerMisbehaved> {
        if self.is_established() && !self.mode.takes_data() {
            return Err(PeerMisbehaved::new(
                ErrorCode::InvalidStartOfStream,
                "data on a link that takes none",
                "laps peering, \"Peering Modes\"",
            ));
        }
        Ok(())
    }
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}
