//! One MOQT session without IO: give it one input or command, then drain its outputs.
//!
//! | file | what it decides |
//! |---|---|
//! | `io` | the vocabulary: inputs, actions, events, commands |
//! | `setup`, `uri` | control stream, SETUP, versions, PATH and AUTHORITY |
//! | `credit` | request ids and MAX_REQUEST_ID, both ways |
//! | `requests` | the tables of open requests, and that each gets one answer |
//! | `subscribe`, `range` | SUBSCRIBE, its updates and their narrowing, UNSUBSCRIBE, TRACK_STATUS |
//! | `publish` | PUBLISH and PUBLISH_DONE |
//! | `announce`, `namespace` | namespaces and watched prefixes, which draft 14 ends by name |
//! | `fetch`, `joining` | FETCH; those that join a subscription wait for its answer |
//! | `alias` | track aliases, both ways |
//! | `tokens` | authorization tokens: what the peer registered, and what its aliases stand for |
//! | `timeouts` | what a peer leaves unfinished, and how long it may ask for nothing |
//! | `goaway` | GOAWAY |
//! | `dispatch` | from a message or command to one of the above |
//!
//! What one peer can make a session hold is bounded by the window of request ids that it was given
//! (`Config::max_request_id`), and what waits for the peer's own window by `Config::max_queued_requests`.

mod alias;
mod announce;
mod breach;
mod config;
mod credit;
mod dispatch;
mod fetch;
mod goaway;
pub mod io;
mod joining;
mod namespace;
mod publish;
mod range;
mod requests;
mod setup;
mod subscribe;
#[cfg(test)]
mod tests;
mod timeouts;
mod tokens;
mod uri;

pub use config::Config;
pub use io::{
    Action, Command, CommandError, ControlStream, Event, Input, Note, Output, PeerFetch, PeerSetup, Role,
    Traced,
};

use crate::moqt::codec::{Codec, ControlDecoder};
use crate::moqt::error::{CloseCode, EncodeError};
use crate::moqt::message::{ControlMessage, RequestId};
use crate::moqt::object::TrackAlias;
use crate::moqt::version::Version;
use alias::Aliases;
use breach::PeerMisbehaved;
use bytes::{Bytes, BytesMut};
use credit::{Credit, Grant};
use goaway::Notice;
use joining::Joining;
use requests::{Answering, Asking, Side, Withdrawn};
use setup::{Phase, PhaseMove};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Instant;
use timeouts::Clocks;
use tokens::TokenCache;

/// One side of one session.
///
/// After each input and command, drain [`Self::poll_output`] until it gives none, then ask [`Self::poll_timeout`].
#[derive(Debug)]
pub struct Session {
    role: Role,
    version: Version,
    codec: Codec,
    config: Config,
    phase: Phase,
    control: Option<ControlStream>,
    decoder: ControlDecoder,
    clocks: Clocks,
    peer: Option<PeerSetup>,
    goaway_sent: Notice,
    goaway_received: Notice,
    grant: Grant,
    credit: Credit,
    ours: Side<Asking>,
    theirs: Side<Answering>,
    withdrawn: Withdrawn,
    aliases: Aliases,
    joining: Joining,
    tokens: TokenCache,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session at its beginning. A client asks for the control stream at once, so drain the outputs.
    #[must_use]
    pub fn new(role: Role, version: Version, config: Config, now: Instant) -> Self {
        let codec = Codec::new(version);
        let peer = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let mut session = Self {
            role,
            version,
            codec,
            phase: Phase::default(),
            control: None,
            decoder: ControlDecoder::new(codec),
            clocks: Clocks::new(now, &config),
            peer: None,
            goaway_sent: Notice::default(),
            goaway_received: Notice::default(),
            grant: Grant::new(peer, config.max_request_id, config.allow_request_id_gaps),
            credit: Credit::new(role),
            ours: Side::new(),
            theirs: Side::new(),
            withdrawn: Withdrawn::default(),
            aliases: Aliases::new(),
            joining: Joining::default(),
            tokens: TokenCache::new(config.max_auth_token_cache_size),
            outputs: VecDeque::new(),
            config,
        };
        session.begin();
        session
    }

    /// Takes in one thing that happened. What the peer does wrong becomes [`Action::Close`].
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if self.is_closed() {
            return;
        }
        if let Err(breach) = self.on_input(now, input) {
            self.close(breach.code, breach.what);
        }
        self.refill();
        self.look_at_clocks(now);
    }

    /// Says something to the peer. Gives the id of the request when the command starts one; further commands and
    /// events name it. A request that the peer does not allow yet waits, and has its id already.
    ///
    /// # Errors
    /// When the session is not established, the command does not fit what went before, or the message cannot be
    /// written. Nothing was sent and nothing changed then.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<Option<RequestId>, CommandError> {
        let done = self.on_command(now, command);
        self.refill();
        self.look_at_clocks(now);
        done
    }

    /// The next output; none when everything is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give [`Input::Timeout`] next; none when there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline()
    }

    /// A track alias for a PUBLISH or SUBSCRIBE_OK of ours, never given out before in this session.
    /// MOQT-14 §10.1 [D14-DATA-20].
    pub const fn new_alias(&mut self) -> TrackAlias {
        self.aliases.fresh()
    }

    /// The subscription that an alias of the peer stands for: the id of our SUBSCRIBE or of its PUBLISH. Known from
    /// SUBSCRIBE_OK or PUBLISH on, and after the end of the subscription until [`Self::forget_alias`].
    #[must_use]
    pub fn peer_alias(&self, alias: TrackAlias) -> Option<RequestId> {
        self.aliases.request(alias)
    }

    /// No more streams or datagrams are expected for the ended subscription `request`. Does nothing while it is
    /// still open. A PUBLISH of the peer counts against the peer's window until this is called.
    pub fn forget_alias(&mut self, request: RequestId) {
        if self.ours.open.contains_key(&request) {
            return;
        }
        match self.theirs.open.get(&request).map(|request| request.state) {
            Some(Answering::Finished) => {
                self.aliases.forget(request);
                self.theirs.open.remove(&request);
                self.grant.finish();
                self.refill();
            }
            Some(Answering::Unanswered | Answering::Open) => {}
            Some(Answering::Owing) | None => self.aliases.forget(request),
        }
    }

    /// What the peer said in SETUP, once it did, without its tokens: those are in [`Event::Established`] only.
    #[must_use]
    pub const fn established(&self) -> Option<&PeerSetup> {
        self.peer.as_ref()
    }

    /// Whether the session was closed. Outputs from before, the [`Action::Close`] last, may still be drained.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Requests that are open: those of ours, and those of the peer. A gauge for tests and metrics.
    #[must_use]
    pub fn open_requests(&self) -> (usize, usize) {
        (self.ours.open.len(), self.theirs.open.len())
    }

    /// Requests of ours that wait until the peer raises its MAX_REQUEST_ID.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.credit.waiting()
    }

    fn on_input(&mut self, now: Instant, input: Input) -> Result<(), PeerMisbehaved> {
        match input {
            Input::StreamOpened(stream) => {
                self.on_stream_opened(stream);
                Ok(())
            }
            Input::StreamAccepted(stream) => self.on_stream_accepted(stream),
            Input::StreamBytes(stream, bytes) if Some(stream) == self.control => self.on_bytes(bytes),
            // MOQT-14 §3.3 [D14-SETUP-8]: the control stream lives as long as the session.
            Input::StreamFin(stream) | Input::StreamReset(stream) if Some(stream) == self.control => Err(
                PeerMisbehaved::violation("the control stream was closed", "MOQT-14 §3.3"),
            ),
            Input::StreamBytes(..) | Input::StreamFin(_) | Input::StreamReset(_) => Ok(()),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn on_bytes(&mut self, bytes: Bytes) -> Result<(), PeerMisbehaved> {
        self.decoder.push(bytes);
        while !self.is_closed() {
            let Some(message) = self.decoder.next()? else {
                break;
            };
            self.message_came();
            self.trace(true, &message);
            if self.phase == Phase::Established {
                self.on_message(message)?;
            } else {
                self.on_first_message(message)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.phase.apply(PhaseMove::Close).is_ok() {
            let reason = reason.into();
            self.outputs
                .push_back(Output::Action(Action::Close { code, reason }));
        }
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    fn trace(&mut self, inbound: bool, message: &ControlMessage) {
        if self.config.trace {
            let message = message.clone();
            self.outputs
                .push_back(Output::Trace(Box::new(Traced { inbound, message })));
        }
    }

    fn write(&mut self, bytes: Bytes) {
        if let Some(stream) = self.control {
            self.outputs
                .push_back(Output::Action(Action::Write(stream, bytes)));
        }
    }

    fn encode(&self, message: &ControlMessage) -> Result<Bytes, EncodeError> {
        let mut bytes = BytesMut::new();
        self.codec.encode(message, &mut bytes)?;
        Ok(bytes.freeze())
    }

    /// Writes a message of a command.
    fn send(&mut self, message: &ControlMessage) -> Result<(), EncodeError> {
        let bytes = self.encode(message)?;
        self.trace(false, message);
        self.write(bytes);
        Ok(())
    }

    /// Writes a message that the session made by itself.
    fn say(&mut self, message: &ControlMessage) {
        if let Err(error) = self.send(message) {
            self.close(CloseCode::InternalError, error.to_string());
        }
    }

    /// Writes a message about a request of ours, after those that still wait about it.
    fn follow_up(&mut self, about: RequestId, message: &ControlMessage) -> Result<(), EncodeError> {
        let bytes = self.encode(message)?;
        self.trace(false, message);
        if let Some(bytes) = self.credit.follow(about, bytes) {
            self.write(bytes);
        }
        Ok(())
    }

    /// Starts a request of ours.
    fn request(
        &mut self,
        message: impl FnOnce(RequestId) -> ControlMessage,
    ) -> Result<RequestId, CommandError> {
        // MOQT-14 §9.4 [D14-GOAWAY-1].
        if self.is_leaving() {
            return Err(CommandError::GoingAway);
        }
        self.place(None, message)
    }

    /// Writes a message that uses up an id of ours, or lets it wait. `about` is the request that it changes; none
    /// when it makes one.
    fn place(
        &mut self,
        about: Option<RequestId>,
        message: impl FnOnce(RequestId) -> ControlMessage,
    ) -> Result<RequestId, CommandError> {
        let waiting = self.credit.waiting();
        if !self.credit.is_open() && waiting >= self.config.max_queued_requests {
            self.complain();
            return Err(CommandError::Blocked(waiting));
        }
        let id = self.credit.next();
        let message = message(id);
        let bytes = self.encode(&message)?;
        self.trace(false, &message);
        if let Some(bytes) = self.credit.place(about.unwrap_or(id), bytes) {
            self.write(bytes);
        }
        self.complain();
        Ok(id)
    }

    /// MOQT-14 §9.6 [D14-REQ-6]: tells the peer that requests wait, once for each maximum.
    fn complain(&mut self) {
        if let Some(maximum) = self.credit.blocked() {
            self.say(&ControlMessage::RequestsBlocked(maximum));
        }
    }

    /// MOQT-14 §9.5: the peer allows more requests.
    fn on_max_request_id(&mut self, maximum: u64) -> Result<(), PeerMisbehaved> {
        self.credit.raise(maximum)?;
        while let Some((message, follow_up)) = self.credit.release() {
            self.write(message);
            if let Some(follow_up) = follow_up {
                self.write(follow_up);
            }
        }
        self.complain();
        Ok(())
    }

    /// MOQT-14 §9.5 [D14-REQ-5]: gives the ids of finished requests back to the peer.
    fn refill(&mut self) {
        if self.phase != Phase::Established {
            return;
        }
        if let Some(maximum) = self.grant.refill() {
            self.say(&ControlMessage::MaxRequestId(maximum));
        }
    }
}
