//! GOAWAY: said once by each side, and after it nothing new is asked. MOQT-14 §9.4.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::{CommandError, Event, Role};
use crate::moqt::message::ControlMessage;
use crate::state::transitions;
use bytes::Bytes;

/// Most bytes of a new session's URI. MOQT-14 §9.4 [D14-VAL-11].
const MAX_URI_BYTES: usize = 8192;

transitions! {
    /// Whether one side has said GOAWAY.
    pub(super) machine Notice moved by NoticeMove;
    states {
        /// Nothing was said.
        Quiet,
        /// GOAWAY was said.
        Given,
    }
    moves {
        /// GOAWAY.
        Give: Quiet => Given;
    }
}

impl Session {
    pub(super) fn goaway(&mut self, uri: Bytes) -> Result<(), CommandError> {
        if uri.len() > MAX_URI_BYTES {
            return Err(CommandError::NotAllowed("a GOAWAY URI has at most 8192 bytes"));
        }
        if self.role == Role::Client && !uri.is_empty() {
            return Err(CommandError::NotAllowed("only servers name a URI in GOAWAY"));
        }
        let said = self.goaway_sent.after(NoticeMove::Give);
        let said = said.map_err(|_| CommandError::NotAllowed("GOAWAY is said once"))?;
        self.send(&ControlMessage::Goaway(uri))?;
        self.goaway_sent = said;
        Ok(())
    }

    pub(super) fn on_goaway(&mut self, uri: Bytes) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.4 [D14-VAL-11].
        if self.goaway_received.apply(NoticeMove::Give).is_err() {
            return Err(PeerMisbehaved::violation("second GOAWAY", "MOQT-14 §9.4"));
        }
        if uri.len() > MAX_URI_BYTES {
            return Err(PeerMisbehaved::violation(
                "GOAWAY URI of more than 8192 bytes",
                "MOQT-14 §9.4",
            ));
        }
        if self.role == Role::Server && !uri.is_empty() {
            return Err(PeerMisbehaved::violation(
                "a client sent GOAWAY with a URI",
                "MOQT-14 §9.4",
            ));
        }
        self.tell(Event::Goaway(uri));
        Ok(())
    }

    /// Whether the peer asked us to leave. Requests that wait for credit by then are still made, because their ids
    /// are part of the sequence.
    pub(super) fn is_leaving(&self) -> bool {
        self.goaway_received == Notice::Given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-VAL-11
    #[test]
    fn goaway_moves_as_drawn() {
        assert_eq!(
            Notice::dot(),
            "digraph Notice {\n  start -> Quiet\n  Quiet -> Given [Give]\n}\n"
        );
    }
}
