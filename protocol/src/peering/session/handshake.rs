//! CONNECT, its answer, and who is refused. laps peering, "Connection Establishment".

use super::PeerSession;
use super::breach::PeerMisbehaved;
use super::io::{CommandError, Event, Role};
use crate::peering::error::ErrorCode;
use crate::peering::message::{Connect, ConnectResponse, Message, MessageKind, PeerMode, ResponseCode};
use crate::peering::node::{NodeInfo, NodeType};
use crate::state::transitions;
use std::borrow::Cow;
use std::time::Instant;

transitions! {
    /// The life of a link.
    pub(super) machine Phase moved by PhaseMove;
    states {
        /// A dialler has no control stream yet, an acceptor no CONNECT.
        Start,
        /// Our CONNECT waits for an answer.
        Asked,
        /// The peer's CONNECT waits for our answer.
        Judging,
        /// Our refusal is on its way out.
        Refusing,
        /// The link stands.
        Established,
        /// Closed by either side; nothing is acted on.
        Closed,
    }
    moves {
        /// CONNECT goes out.
        Ask: Start => Asked;
        /// CONNECT came in.
        Judge: Start => Judging;
        /// The peer may not have the link.
        Refuse: Start => Refusing, Judging => Refusing;
        /// CONNECT was answered.
        Establish: Asked => Established, Judging => Established;
        /// Closed, for whatever reason.
        Close: Start => Closed, Asked => Closed, Judging => Closed, Refusing => Closed, Established => Closed;
    }
}

const CONNECT: &str = "laps peering, \"Connect Message\"";
const RESPONSE: &str = "laps peering, \"Connect Response Message\"";

/// How the words end that say why a link closes to a peer with this node's own id: so asks who looks whether the node is
/// well, and nothing is wrong then.
pub const OWN_ID: &str = "is this node's own id";

impl PeerSession {
    /// What we say of ourselves. laps peering, "Node Path": with an empty path.
    fn own(&self) -> NodeInfo {
        NodeInfo {
            path: Vec::new(),
            ..self.config.own.clone()
        }
    }

    /// CONNECT, the first message on a stream of ours.
    pub(super) fn say_connect(&mut self, now: Instant) {
        self.deadline = now.checked_add(self.config.connect_timeout);
        self.answer_due = true;
        let node = self.own();
        let mode = self.mode;
        self.say_first(Message::Connect(Connect { mode, node }));
    }

    fn say_accepted(&mut self) {
        let node = self.own();
        self.say_first(Message::ConnectResponse(ConnectResponse::Accepted(node)));
    }

    /// One message of the peer, counted already; `first` when it is the first on its stream.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        message: Message,
        first: bool,
    ) -> Result<(), PeerMisbehaved> {
        use super::handshake::Phase::{Asked, Closed, Established, Judging, Refusing, Start};
        let message = if is_handshake(message.kind()) {
            let (message, stamp) = message.unstamped();
            if let Some(stamp) = stamp {
                self.on_life(stamp.epoch, &message)?;
            }
            message
        } else {
            message
        };
        match (self.phase, self.role, message) {
            (Start, Role::Acceptor, Message::Connect(connect)) => self.on_connect(now, connect),
            // laps peering, "Connect Message": anything else comes too early.
            (Start, Role::Acceptor, other) => Err(PeerMisbehaved::new(
                ErrorCode::ConnectMissing,
                format!("{} where CONNECT has to be", other.kind()),
                CONNECT,
            )),
            (Start | Asked, Role::Dialler, Message::ConnectResponse(response)) => self.on_response(response),
            (Start | Asked, _, other) => Err(PeerMisbehaved::new(
                ErrorCode::ConnectResponseMissing,
                format!("{} where CONNECT_RESPONSE has to be", other.kind()),
                RESPONSE,
            )),
            // The dialler begins a new control stream as it began the first.
            (Established, Role::Acceptor, Message::Connect(connect)) if first => {
                self.on_connect_again(&connect)
            }
            (Established, Role::Dialler, Message::ConnectResponse(response)) if self.answer_due => {
                self.on_response_again(response)
            }
            (Established, _, message) => self.on_info(message),
            (Judging, _, other) => Err(PeerMisbehaved::message(
                format!("{} before CONNECT is answered", other.kind()),
                CONNECT,
            )),
            (Refusing | Closed, ..) => Ok(()),
        }
    }

    /// What a relay of ours says of itself. Decision 0029: by its life others tell what it says now from what it said
    /// before.
    fn on_life(&mut self, epoch: u64, message: &Message) -> Result<(), PeerMisbehaved> {
        let refusal = matches!(message, Message::ConnectResponse(ConnectResponse::Refused(_)));
        if epoch == 0 && !refusal {
            let what = "a node tells of itself without its life";
            return Err(PeerMisbehaved::new(ErrorCode::InvalidEncoding, what, CONNECT));
        }
        if self.peer_epoch != 0 && self.peer_epoch != epoch {
            let what = "another life of the node on the same link";
            return Err(PeerMisbehaved::message(what, CONNECT));
        }
        self.peer_epoch = epoch;
        Ok(())
    }

    /// Why a node may not be at the other end, in so far as the configuration says so.
    fn objection(&self, node: &NodeInfo) -> Option<(ResponseCode, String)> {
        let id = node.id;
        if id == self.config.own.id {
            return Some((ResponseCode::ConnectionError, format!("{id} {OWN_ID}")));
        }
        let expected = self.config.expected.filter(|expected| *expected != id)?;
        Some((
            ResponseCode::NotAuthorized,
            format!("node {id} where {expected} is expected"),
        ))
    }

    /// A node tells of itself with an empty path, so another one is forged. laps peering, "Node Path".
    fn check_path(node: &NodeInfo, section: &'static str) -> Result<(), PeerMisbehaved> {
        if node.path.is_empty() {
            return Ok(());
        }
        Err(PeerMisbehaved::new(
            ErrorCode::InvalidEncoding,
            "a node tells of itself with a path",
            section,
        ))
    }

    fn on_connect(&mut self, now: Instant, connect: Connect) -> Result<(), PeerMisbehaved> {
        Self::check_path(&connect.node, CONNECT)?;
        self.deadline = None;
        let refused = self.objection(&connect.node).or_else(|| {
            let mode = connect.mode;
            // laps peering, "(2) Data Peering": stubs always operate in bi-directional mode.
            let both_ways = connect.node.node_type == NodeType::Stub;
            let granted =
                self.config.accepted_modes.contains(&mode) && !(both_ways && mode == PeerMode::DataOut);
            (!granted).then(|| {
                (
                    ResponseCode::ModeNotAllowed,
                    format!("peering mode {mode} is not allowed"),
                )
            })
        });
        if let Some((code, why)) = refused {
            self.start_refusal(now, code, why.into());
        } else if self.phase.apply(PhaseMove::Judge).is_ok() {
            self.mode = connect.mode.turned();
            self.peer = Some(connect.node.clone());
            self.tell(Event::PeerConnect(connect));
        }
        Ok(())
    }

    fn on_connect_again(&mut self, connect: &Connect) -> Result<(), PeerMisbehaved> {
        let same = self.peer.as_ref().is_some_and(|peer| peer.id == connect.node.id);
        if !same || connect.mode.turned() != self.mode {
            return Err(PeerMisbehaved::message(
                "CONNECT of another node or in another mode on a link that stands",
                CONNECT,
            ));
        }
        self.say_accepted();
        Ok(())
    }

    fn on_response(&mut self, response: ConnectResponse) -> Result<(), PeerMisbehaved> {
        match response {
            ConnectResponse::Refused(code) => {
                self.tell(Event::Refused(code));
                self.close(close_code(code), format!("the peer refuses the link: {code}"));
                Ok(())
            }
            ConnectResponse::Accepted(node) => {
                Self::check_path(&node, RESPONSE)?;
                if let Some((code, why)) = self.objection(&node) {
                    return Err(PeerMisbehaved::new(close_code(code), why, RESPONSE));
                }
                self.peer = Some(node);
                self.answer_due = false;
                self.establish();
                Ok(())
            }
        }
    }

    fn on_response_again(&mut self, response: ConnectResponse) -> Result<(), PeerMisbehaved> {
        let peer = self.peer.as_ref().map(|peer| peer.id);
        match response {
            ConnectResponse::Accepted(node) if Some(node.id) == peer => {
                self.answer_due = false;
                self.deadline = None;
                Ok(())
            }
            ConnectResponse::Accepted(_) => Err(PeerMisbehaved::message(
                "CONNECT_RESPONSE of another node on a link that stands",
                RESPONSE,
            )),
            ConnectResponse::Refused(code) => self.on_response(ConnectResponse::Refused(code)),
        }
    }

    fn establish(&mut self) {
        if self.phase.apply(PhaseMove::Establish).is_err() {
            return;
        }
        self.deadline = None;
        if let Some(peer) = self.peer.clone() {
            let mode = self.mode;
            self.tell(Event::Established { peer, mode });
        }
    }

    /// [`super::Command::Accept`].
    pub(super) fn accept(&mut self) -> Result<(), CommandError> {
        if self.phase != Phase::Judging {
            return Err(CommandError::WrongState);
        }
        self.say_accepted();
        self.establish();
        Ok(())
    }

    /// [`super::Command::Refuse`].
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        code: ResponseCode,
        why: Cow<'static, str>,
    ) -> Result<(), CommandError> {
        if self.phase != Phase::Judging {
            return Err(CommandError::WrongState);
        }
        if matches!(code, ResponseCode::Unknown(_)) {
            return Err(CommandError::NotAllowed(
                "a refusal has one of the codes that are defined",
            ));
        }
        self.start_refusal(now, code, why);
        Ok(())
    }

    /// Answers, and closes when the answer is out: a connection that is closed at once takes it along.
    fn start_refusal(&mut self, now: Instant, code: ResponseCode, why: Cow<'static, str>) {
        if self.phase.apply(PhaseMove::Refuse).is_err() {
            return;
        }
        self.peer = None;
        self.deadline = now.checked_add(self.config.refusal_timeout);
        self.refusal = Some((close_code(code), why));
        self.say_first(Message::ConnectResponse(ConnectResponse::Refused(code)));
    }

    /// The answer is out, or will not get out.
    pub(super) fn end_refusal(&mut self) {
        if let Some((code, why)) = self.refusal.take() {
            self.close(code, why);
        }
    }
}

const fn is_handshake(kind: MessageKind) -> bool {
    matches!(kind, MessageKind::Connect | MessageKind::ConnectResponse)
}

/// The code of a connection that ends with this answer.
const fn close_code(code: ResponseCode) -> ErrorCode {
    match code {
        ResponseCode::NotAuthorized => ErrorCode::NotAuthorized,
        ResponseCode::ConnectionError | ResponseCode::ModeNotAllowed | ResponseCode::Unknown(_) => {
            ErrorCode::Close
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_link() {
        assert_eq!(
            Phase::dot(),
            "digraph Phase {\n  start -> Start\n  Start -> Asked [Ask]\n  Start -> Judging [Judge]\n  \
             Start -> Refusing [Refuse]\n  Judging -> Refusing [Refuse]\n  \
             Asked -> Established [Establish]\n  Judging -> Established [Establish]\n  \
             Start -> Closed [Close]\n  Asked -> Closed [Close]\n  Judging -> Closed [Close]\n  \
             Refusing -> Closed [Close]\n  Established -> Closed [Close]\n}\n"
        );
    }
}
