//! From the control stream to an established session. MOQT-14 §3.3, §9.3.

use super::Session;
use super::breach::PeerMisbehaved;
use super::io::{Action, ControlStream, Event, Note, Output, PeerSetup, Role};
use super::uri;
use crate::moqt::error::CloseCode;
use crate::moqt::message::{ClientSetup, ControlMessage, ServerSetup, SetupParams};
use crate::state::transitions;
use bytes::Bytes;

transitions! {
    /// The life of a session.
    pub(super) machine Phase moved by PhaseMove;
    states {
        /// There is no control stream yet.
        Connecting,
        /// There is one, and the peer's SETUP has not come.
        Greeting,
        /// Requests may flow.
        Established,
        /// Closed by either side; nothing is acted on.
        Closed,
    }
    moves {
        /// The control stream exists.
        Open: Connecting => Greeting;
        /// The peer's SETUP is accepted.
        Setup: Greeting => Established;
        /// Closed, for whatever reason.
        Close: Connecting => Closed, Greeting => Closed, Established => Closed;
    }
}

impl Session {
    /// A stream that an `OpenControl` of ours asked for exists.
    pub(super) fn on_stream_opened(&mut self, stream: ControlStream) {
        // MOQT-14 §3.3 [D14-SETUP-6]: only the client opens one, and only one.
        if self.role != Role::Client || self.phase.apply(PhaseMove::Open).is_err() {
            return;
        }
        self.control = Some(stream);
        let mut params = self.setup_params();
        // MOQT-14 §9.3.2.1, §9.3.2.2 [D14-SETUP-15, D14-SETUP-16]: over raw QUIC, where no URI was in a request.
        if !self.config.webtransport {
            params.path.clone_from(&self.config.path);
            params.authority.clone_from(&self.config.authority);
        }
        params
            .authorization_tokens
            .clone_from(&self.config.authorization_tokens);
        let versions = vec![self.codec.version_number()];
        self.say(&ControlMessage::ClientSetup(ClientSetup { versions, params }));
    }

    /// The peer opened a bidirectional stream.
    pub(super) fn on_stream_accepted(&mut self, stream: ControlStream) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §3.3 [D14-SETUP-6]: the control stream is the client's to open.
        if self.role == Role::Client {
            return Err(PeerMisbehaved::violation(
                "the server opened a bidirectional stream",
                "MOQT-14 §3.3",
            ));
        }
        // MOQT-14 §3.3 [D14-SETUP-7]: there is no use for a second one.
        if self.phase.apply(PhaseMove::Open).is_err() {
            return Err(PeerMisbehaved::violation(
                "second bidirectional stream",
                "MOQT-14 §3.3",
            ));
        }
        self.control = Some(stream);
        Ok(())
    }

    /// The first message of the peer, whatever it is.
    pub(super) fn on_first_message(&mut self, message: ControlMessage) -> Result<(), PeerMisbehaved> {
        match (self.role, message) {
            (Role::Server, ControlMessage::ClientSetup(setup)) => self.on_client_setup(setup),
            (Role::Client, ControlMessage::ServerSetup(setup)) => self.on_server_setup(setup),
            // MOQT-14 §3.3 [D14-SETUP-6, D14-SETUP-22].
            _ => Err(PeerMisbehaved::violation(
                "the first message was not the SETUP of its side",
                "MOQT-14 §3.3",
            )),
        }
    }

    fn on_client_setup(&mut self, mut setup: ClientSetup) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.3.1 [D14-SETUP-10, D14-SETUP-11]: one of those offered; unknown ones are passed over. The
        // connection's ALPN token leaves one version of this build to choose.
        let version = self.codec.version_number();
        if !setup.versions.contains(&version) {
            return Err(PeerMisbehaved::new(
                CloseCode::VersionNegotiationFailed,
                format!("only {} is spoken here", self.version),
                "MOQT-14 §9.3.1",
            ));
        }
        self.check_uri(&setup.params)?;
        let tokens = self.setup_tokens(&std::mem::take(&mut setup.params.authorization_tokens))?;
        let tolerated =
            !self.config.webtransport && (setup.params.path.is_none() || setup.params.authority.is_none());
        let params = self.setup_params();
        self.say(&ControlMessage::ServerSetup(ServerSetup { version, params }));
        self.establish(setup.params, tokens);
        if tolerated {
            // [D14-SETUP-17]: older clients leave them out.
            self.tell(Event::Note(Note::MissingPathOrAuthority));
        }
        Ok(())
    }

    fn on_server_setup(&mut self, mut setup: ServerSetup) -> Result<(), PeerMisbehaved> {
        // MOQT-14 §9.3.1 [D14-SETUP-10].
        if setup.version != self.codec.version_number() {
            return Err(PeerMisbehaved::new(
                CloseCode::VersionNegotiationFailed,
                format!(
                    "the server chose version {:#x}, which was not offered",
                    setup.version
                ),
                "MOQT-14 §9.3.1",
            ));
        }
        // MOQT-14 §9.3.2.2 [D14-SETUP-15], §9.3.2.1 [D14-SETUP-16].
        if setup.params.path.is_some() {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidPath,
                "PATH from a server",
                "MOQT-14 §9.3.2.2",
            ));
        }
        if setup.params.authority.is_some() {
            return Err(PeerMisbehaved::new(
                CloseCode::InvalidAuthority,
                "AUTHORITY from a server",
                "MOQT-14 §9.3.2.1",
            ));
        }
        let tokens = self.setup_tokens(&std::mem::take(&mut setup.params.authorization_tokens))?;
        self.establish(setup.params, tokens);
        Ok(())
    }

    /// PATH and AUTHORITY of a client. MOQT-14 §9.3.2.1 [D14-SETUP-16], §9.3.2.2 [D14-SETUP-15].
    fn check_uri(&self, params: &SetupParams) -> Result<(), PeerMisbehaved> {
        let wrong = |code, what, section| Err(PeerMisbehaved::new(code, what, section));
        if let Some(path) = &params.path {
            if self.config.webtransport {
                return wrong(
                    CloseCode::InvalidPath,
                    "PATH over WebTransport",
                    "MOQT-14 §9.3.2.2",
                );
            }
            if !uri::is_path(path) {
                return wrong(CloseCode::MalformedPath, "PATH is not a path", "MOQT-14 §9.3.2.2");
            }
        }
        if let Some(authority) = &params.authority {
            if self.config.webtransport {
                return wrong(
                    CloseCode::InvalidAuthority,
                    "AUTHORITY over WebTransport",
                    "MOQT-14 §9.3.2.1",
                );
            }
            if !uri::is_authority(authority) {
                return wrong(
                    CloseCode::MalformedAuthority,
                    "AUTHORITY is not one",
                    "MOQT-14 §9.3.2.1",
                );
            }
        }
        Ok(())
    }

    /// What either side says of itself.
    fn setup_params(&self) -> SetupParams {
        SetupParams {
            // MOQT-14 §9.3.2.3 [D14-SETUP-18]: without it the peer may not ask anything.
            max_request_id: Some(self.grant.maximum()),
            // MOQT-14 §9.3.2.4 [D14-SETUP-19]. MOQT-14 §3.2 [D14-SETUP-14]: there is no extension that a peer could have
            // asked for.
            max_auth_token_cache_size: self.tokens.offered(),
            implementation: (!self.config.implementation.is_empty())
                .then(|| self.config.implementation.clone()),
            ..SetupParams::default()
        }
    }

    /// [D14-SETUP-24]: whether the tokens are enough for a session is for whoever hears of them to say, by closing it.
    fn establish(&mut self, params: SetupParams, authorization_tokens: Vec<Bytes>) {
        if self.phase.apply(PhaseMove::Setup).is_err() {
            return;
        }
        self.credit.start(params.max_request_id.unwrap_or(0));
        let setup = PeerSetup {
            version: self.version,
            path: params.path,
            authority: params.authority,
            implementation: params.implementation,
            authorization_tokens: Vec::new(),
        };
        self.peer = Some(setup.clone());
        self.tell(Event::Established(PeerSetup {
            authorization_tokens,
            ..setup
        }));
    }

    /// Asks for the control stream, which is the client's to open.
    pub(super) fn begin(&mut self) {
        if self.role == Role::Client {
            self.outputs.push_back(Output::Action(Action::OpenControl));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-SETUP-6
    #[test]
    fn a_session_moves_as_drawn() {
        assert_eq!(
            Phase::dot(),
            "digraph Phase {\n  start -> Connecting\n  Connecting -> Greeting [Open]\n  \
             Greeting -> Established [Setup]\n  Connecting -> Closed [Close]\n  Greeting -> Closed [Close]\n  \
             Established -> Closed [Close]\n}\n"
        );
    }
}
