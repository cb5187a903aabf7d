//! One link to a peer without IO: give it one input or command, then drain its outputs.
//!
//! | file | what it decides |
//! |---|---|
//! | `io` | the vocabulary: inputs, actions, events, commands |
//! | `config` | settings: who we are, who may be there, modes, times, bounds |
//! | `handshake` | CONNECT, its answer, and who is refused |
//! | `lines` | which bidirectional stream is the control stream, and what is read from which |
//! | `rules` | what a link in some mode may carry, in which direction |
//! | `queue` | what goes out: one message at a time, bounded |
//! | `sets` | sets of nodes that wait to go out, the latest of each |
//! | `counts` | how many messages of which kind went over the link |
//!
//! The link knows nothing of what nodes, publications and subscriptions there are: it hands on what the peer says of them,
//! and carries what it is told to say.

mod breach;
mod config;
mod counts;
mod handshake;
pub mod io;
mod lines;
mod queue;
mod rules;
mod sets;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use counts::Counts;
pub use handshake::OWN_ID;
pub use io::{Action, Command, CommandError, ControlStream, Event, Input, Output, Role, Traced};

use super::error::{EncodeError, ErrorCode};
use super::message::{Dialect, Message, PeerMode, Sequence, Stamp};
use super::node::NodeInfo;
use super::reader::{ControlReader, Incoming};
use breach::PeerMisbehaved;
use bytes::{Bytes, BytesMut};
use handshake::{Phase, PhaseMove};
use lines::Lines;
use queue::{Next, Queue};
use sets::Said;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Instant;

/// One side of one link.
///
/// After each input and command, drain [`Self::poll_output`] until it gives none, then ask [`Self::poll_timeout`].
#[derive(Debug)]
pub struct PeerSession {
    role: Role,
    dialect: Dialect,
    config: Config,
    phase: Phase,
    lines: Lines,
    queue: Queue,
    /// For CONNECT or its answer, for a new control stream, or for a refusal to be flushed: never for two of them.
    deadline: Option<Instant>,
    /// A CONNECT of ours has no answer yet.
    answer_due: bool,
    peer: Option<NodeInfo>,
    peer_epoch: u64,
    mode: PeerMode,
    refusal: Option<(ErrorCode, Cow<'static, str>)>,
    sent: Counts,
    received: Counts,
    outputs: VecDeque<Output>,
}

impl PeerSession {
    /// A link at its beginning. A dialler asks for the control stream at once, so drain the outputs.
    #[must_use]
    pub fn new(role: Role, dialect: Dialect, config: Config, now: Instant) -> Self {
        let mut session = Self {
            role,
            dialect,
            phase: Phase::default(),
            lines: Lines::default(),
            queue: Queue::new(&config),
            deadline: now.checked_add(config.connect_timeout),
            answer_due: false,
            peer: None,
            peer_epoch: 0,
            mode: config.mode,
            refusal: None,
            sent: Counts::default(),
            received: Counts::default(),
            outputs: VecDeque::new(),
            config,
        };
        // laps peering, "Sending/Receiving Control Messages": who dials creates the stream.
        if role == Role::Dialler {
            session.act(Action::OpenControl);
        }
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
        self.flow();
    }

    /// Does something with the link.
    ///
    /// # Errors
    /// When the command does not fit the state, side or mode of the link, or the message cannot be written; nothing
    /// changed then. When too much waits for the peer, which closes the link.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        let done = self.on_command(now, command);
        self.flow();
        done
    }

    /// The next output; none when everything is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give [`Input::Timeout`] next; none when there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        self.deadline.into_iter().chain(self.lines.deadline()).min()
    }

    /// Who the peer is, once it said so and there was no objection.
    #[must_use]
    pub const fn peer(&self) -> Option<&NodeInfo> {
        self.peer.as_ref()
    }

    /// In which life the peer is, once it said so; 0 for a laps relay, which does not tell.
    #[must_use]
    pub const fn peer_epoch(&self) -> u64 {
        self.peer_epoch
    }

    /// What the link is for, as seen from here: what a dialler asks for, or, once it stands, what both agreed on.
    #[must_use]
    pub const fn mode(&self) -> PeerMode {
        self.mode
    }

    /// Which side this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How messages are written.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the link stands.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.phase == Phase::Established
    }

    /// Whether the link was closed. Outputs from before, the [`Action::Close`] last, may still be drained.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Why the peer is being refused, while that is on its way out, and how the link will be closed.
    #[must_use]
    pub fn refusing(&self) -> Option<(ErrorCode, &str)> {
        self.refusal.as_ref().map(|(code, why)| (*code, &**why))
    }

    /// Control messages that wait to be written, and their bytes, without those of [`Self::queued_sets`].
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        self.queue.len()
    }

    /// Sets of nodes that wait to be written. However often one changes meanwhile, only the latest of it is.
    #[must_use]
    pub fn queued_sets(&self) -> usize {
        self.queue.sets()
    }

    /// How many more messages may wait, sets of nodes apart. Who has much to say asks before each, and again after [`Input::Flushed`]; one
    /// message too many closes the link.
    #[must_use]
    pub fn queue_room(&self) -> usize {
        self.queue.room()
    }

    /// Messages written so far, including those that wait, but for sets of nodes, of which newer ones take the place.
    #[must_use]
    pub const fn sent(&self) -> &Counts {
        &self.sent
    }

    /// Messages read so far.
    #[must_use]
    pub const fn received(&self) -> &Counts {
        &self.received
    }

    fn on_input(&mut self, now: Instant, input: Input) -> Result<(), PeerMisbehaved> {
        match input {
            Input::StreamOpened(stream) => self.on_stream_opened(now, stream),
            Input::StreamAccepted(stream) => {
                self.on_stream_accepted(stream);
                Ok(())
            }
            Input::StreamBytes(stream, bytes) => self.on_bytes(now, stream, &bytes),
            Input::StreamFin(stream) | Input::StreamReset(stream) => self.on_stream_over(now, stream),
            Input::Flushed(stream) => {
                self.on_flushed(stream);
                Ok(())
            }
            Input::DataArrived => self.on_data(),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) -> Result<(), CommandError> {
        if self.is_closed() {
            return Err(CommandError::WrongState);
        }
        match command {
            Command::Accept => self.accept(),
            Command::Refuse(code, why) => self.refuse(now, code, why),
            Command::Send(message) => self.send(&message),
            Command::Ping(number) => self.ping(number),
            Command::RecreateControl => self.recreate(now),
            Command::Close(code, reason) => {
                // Who is being refused is told why, whatever else ends the link meanwhile.
                self.end_refusal();
                self.close(code, reason);
                Ok(())
            }
        }
    }

    /// [`Input::Timeout`]: some deadline may be over.
    fn on_timeout(&mut self, now: Instant) -> Result<(), PeerMisbehaved> {
        const CONNECT: &str = "laps peering, \"Connect Message\"";
        const RESPONSE: &str = "laps peering, \"Connect Response Message\"";
        if self.lines.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(PeerMisbehaved::new(
                ErrorCode::InvalidEncoding,
                "a control message was left unfinished",
                "laps peering, \"Common Control Headers\"",
            ));
        }
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        self.deadline = None;
        match (self.phase, self.role) {
            (Phase::Refusing, _) => self.end_refusal(),
            (Phase::Start | Phase::Asked, Role::Dialler) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectResponseMissing,
                    "CONNECT was not answered in time",
                    RESPONSE,
                ));
            }
            (Phase::Start, Role::Acceptor) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectMissing,
                    "no CONNECT in time",
                    CONNECT,
                ));
            }
            (Phase::Established, Role::Dialler) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectResponseMissing,
                    "CONNECT on a new control stream was not answered in time",
                    RESPONSE,
                ));
            }
            (Phase::Established, Role::Acceptor) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectMissing,
                    "the control stream ended and no new one came in time",
                    CONNECT,
                ));
            }
            // We are late with an answer, or over: nothing that the peer has to do with.
            (Phase::Judging | Phase::Asked | Phase::Closed, _) => {}
        }
        Ok(())
    }

    fn close(&mut self, code: ErrorCode, reason: impl Into<Cow<'static, str>>) {
        if self.phase.apply(PhaseMove::Close).is_ok() {
            let reason = reason.into();
            self.act(Action::Close { code, reason });
        }
    }

    fn act(&mut self, action: Action) {
        self.outputs.push_back(Output::Action(action));
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(Box::new(event)));
    }

    fn trace(&mut self, inbound: bool, message: &Message) {
        if self.config.trace {
            let message = message.clone();
            self.outputs
                .push_back(Output::Trace(Box::new(Traced { inbound, message })));
        }
    }

    /// A set leaves: of one whose place another took nobody has heard.
    fn trace_set(&mut self, bytes: &Bytes) {
        if self.config.trace {
            let mut reader = ControlReader::new(self.dialect, self.config.limits);
            reader.push(bytes);
            if let Ok(Some(Incoming::Message(message))) = reader.next() {
                self.trace(false, &message);
            }
        }
    }

    fn encode(&self, message: &Message) -> Result<Bytes, EncodeError> {
        let mut bytes = BytesMut::new();
        message.encode(self.dialect, &mut bytes)?;
        Ok(bytes.freeze())
    }

    /// A message of a command.
    fn send(&mut self, message: &Message) -> Result<(), CommandError> {
        if !self.is_established() {
            return Err(CommandError::WrongState);
        }
        self.may_send(message)?;
        let bytes = self.encode(message)?;
        if let Some(said) = Said::of(message) {
            if !self.queue.push_set(said, bytes) {
                return Err(self.overflow(self.queue.sets()));
            }
        } else if self.queue.push(bytes) {
            self.sent.add(message.kind());
            self.trace(false, message);
        } else {
            let (waiting, _) = self.queue.len();
            return Err(self.overflow(waiting));
        }
        Ok(())
    }

    fn overflow(&mut self, waiting: usize) -> CommandError {
        self.close(
            ErrorCode::Close,
            format!("{waiting} control messages wait for the peer already"),
        );
        CommandError::Overflow(waiting)
    }

    /// A message that the session makes by itself, before all that wait.
    fn say_first(&mut self, message: Message) {
        let message = match self.dialect {
            Dialect::Own => message.stamped(Stamp {
                epoch: self.config.epoch,
                sequence: Sequence::default(),
            }),
            Dialect::Laps14 | Dialect::Laps16 => message,
        };
        match self.encode(&message) {
            Ok(bytes) => {
                self.queue.push_first(bytes);
                self.sent.add(message.kind());
                self.trace(false, &message);
            }
            // Our own node info does not fit a message.
            Err(error) => self.close(ErrorCode::Close, error.to_string()),
        }
    }

    /// A PING or its answer, at most one of each.
    fn say_urgent(&mut self, message: &Message) {
        let Ok(bytes) = self.encode(message) else { return };
        if self.queue.push_urgent(message.kind(), bytes) {
            self.sent.add(message.kind());
            self.trace(false, message);
        }
    }

    /// Writes what may be written.
    fn flow(&mut self) {
        if self.is_closed() {
            return;
        }
        let Some(stream) = self.lines.current() else {
            return;
        };
        if let Some(Next { message, set }) = self.queue.next() {
            if let Some(kind) = set {
                self.sent.add(kind);
                self.trace_set(&message);
            }
            self.act(Action::Write(stream, message));
        }
    }

    fn on_flushed(&mut self, stream: ControlStream) {
        if self.lines.current() != Some(stream) {
            return;
        }
        self.queue.flushed();
        if self.phase == Phase::Refusing && self.queue.is_idle() {
            self.end_refusal();
        }
    }
}
