//! Which bidirectional stream is the control stream. laps peering, "Sending/Receiving Control Messages".
//!
//! A dialler has one stream, and may replace it. An acceptor has the one that it latched onto, and perhaps a newer one of
//! the dialler on which nothing was said yet; the first message there moves it.

use super::PeerSession;
use super::breach::PeerMisbehaved;
use super::handshake::{Phase, PhaseMove};
use super::io::{Action, CommandError, ControlStream, Event, Role};
use crate::peering::error::ErrorCode;
use crate::peering::limits::Limits;
use crate::peering::message::Dialect;
use crate::peering::reader::{ControlReader, Incoming};
use std::time::Instant;

/// A stream, and what is read from it.
#[derive(Debug)]
struct Line {
    stream: ControlStream,
    reader: ControlReader,
    /// Whether no message came on it yet.
    fresh: bool,
    /// For the rest of the message that has begun.
    deadline: Option<Instant>,
}

impl Line {
    fn new(stream: ControlStream, dialect: Dialect, limits: Limits) -> Self {
        Self {
            stream,
            reader: ControlReader::new(dialect, limits),
            fresh: true,
            deadline: None,
        }
    }
}

/// The streams that count.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where we write, and the only one whose messages are acted on.
    current: Option<Line>,
    /// A newer one of the dialler's.
    newer: Option<Line>,
    /// A stream of ours was asked for and is not there yet.
    opening: bool,
    moves: u32,
}

impl Lines {
    /// Where we write.
    pub(super) fn current(&self) -> Option<ControlStream> {
        self.current.as_ref().map(|line| line.stream)
    }

    /// When a message that has begun has to be there.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let lines = self.current.iter().chain(&self.newer);
        lines.filter_map(|line| line.deadline).min()
    }

    fn get_mut(&mut self, stream: ControlStream) -> Option<&mut Line> {
        let mut lines = self.current.iter_mut().chain(&mut self.newer);
        lines.find(|line| line.stream == stream)
    }
}

impl PeerSession {
    fn line(&self, stream: ControlStream) -> Line {
        Line::new(stream, self.dialect, self.config.limits)
    }

    /// A stream that an `OpenControl` of ours asked for exists.
    pub(super) fn on_stream_opened(
        &mut self,
        now: Instant,
        stream: ControlStream,
    ) -> Result<(), PeerMisbehaved> {
        if self.role != Role::Dialler {
            return Ok(());
        }
        self.lines.opening = false;
        let old = self.lines.current.replace(self.line(stream));
        self.queue.flushed();
        if let Some(old) = old {
            // laps peering, "QUIC APP Error Codes".
            self.act(Action::Reset(old.stream, ErrorCode::SwitchNewStream));
        }
        if self.phase == Phase::Established {
            // Said before all that waits: it makes the peer move, and say everything again.
            self.say_connect(now);
            self.moved()
        } else {
            if self.phase.apply(PhaseMove::Ask).is_ok() {
                self.say_connect(now);
            }
            Ok(())
        }
    }

    /// The peer opened a bidirectional stream.
    pub(super) fn on_stream_accepted(&mut self, stream: ControlStream) {
        if self.role == Role::Dialler {
            // laps peering, "Sending/Receiving Control Messages": the dialler's to create. No rule ends the link.
            self.act(Action::Reset(stream, ErrorCode::InvalidMessageType));
            return;
        }
        let line = self.line(stream);
        // laps peering, "Connect Message": only the most current one counts.
        if let Some(old) = self.lines.newer.replace(line) {
            self.act(Action::Reset(old.stream, ErrorCode::SwitchNewStream));
        }
    }

    pub(super) fn on_bytes(
        &mut self,
        now: Instant,
        stream: ControlStream,
        bytes: &[u8],
    ) -> Result<(), PeerMisbehaved> {
        // Of a stream that was given up, nothing is wanted.
        let Some(line) = self.lines.get_mut(stream) else {
            return Ok(());
        };
        line.reader.push(bytes);
        while !self.is_closed() {
            let message_timeout = self.config.message_timeout;
            let Some(line) = self.lines.get_mut(stream) else {
                break;
            };
            let Some(incoming) = line.reader.next()? else {
                line.deadline = match line.deadline {
                    _ if line.reader.buffered() == 0 => None,
                    // A drop of bytes now and then does not buy time.
                    Some(deadline) => Some(deadline),
                    None => now.checked_add(message_timeout),
                };
                break;
            };
            line.deadline = None;
            let first = std::mem::replace(&mut line.fresh, false);
            if self.lines.current() != Some(stream) {
                self.latch()?;
            }
            self.on_incoming(now, incoming, first)?;
        }
        Ok(())
    }

    fn on_incoming(&mut self, now: Instant, incoming: Incoming, first: bool) -> Result<(), PeerMisbehaved> {
        match incoming {
            Incoming::Message(message) => {
                self.received.add(message.kind());
                self.trace(true, &message);
                self.on_message(now, message, first)
            }
            Incoming::Unknown { message_type, length } => {
                self.received.add_unknown();
                self.tell(Event::Unknown { message_type, length });
                // laps peering, "Connect Message": also of those that are not known, none comes before CONNECT.
                match (self.phase, self.role) {
                    (Phase::Start, Role::Acceptor) => Err(PeerMisbehaved::new(
                        ErrorCode::ConnectMissing,
                        format!("a message of type {message_type} where CONNECT has to be"),
                        "laps peering, \"Connect Message\"",
                    )),
                    (Phase::Start | Phase::Asked, Role::Dialler) => Err(PeerMisbehaved::new(
                        ErrorCode::ConnectResponseMissing,
                        format!("a message of type {message_type} where CONNECT_RESPONSE has to be"),
                        "laps peering, \"Connect Response Message\"",
                    )),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The first message on the dialler's newer stream: from now on it is the control stream.
    fn latch(&mut self) -> Result<(), PeerMisbehaved> {
        let old = std::mem::replace(&mut self.lines.current, self.lines.newer.take());
        self.queue.flushed();
        if self.phase == Phase::Established {
            self.deadline = None;
        }
        if let Some(old) = old {
            // laps peering, "Sending/Receiving Control Messages": never two in use.
            self.act(Action::Reset(old.stream, ErrorCode::SwitchNewStream));
        }
        if self.phase == Phase::Established {
            return self.moved();
        }
        Ok(())
    }

    /// The control stream is another one now.
    fn moved(&mut self) -> Result<(), PeerMisbehaved> {
        self.lines.moves = self.lines.moves.saturating_add(1);
        if self.lines.moves > self.config.max_control_moves {
            return Err(PeerMisbehaved::new(
                ErrorCode::Close,
                "the control stream was replaced too often",
                "laps peering, \"Sending/Receiving Control Messages\"",
            ));
        }
        self.tell(Event::ControlMoved);
        Ok(())
    }

    /// The peer finished or reset a stream.
    pub(super) fn on_stream_over(
        &mut self,
        now: Instant,
        stream: ControlStream,
    ) -> Result<(), PeerMisbehaved> {
        if self.lines.newer.take_if(|line| line.stream == stream).is_some() {
            self.act(Action::Reset(stream, ErrorCode::Close));
            return Ok(());
        }
        if self.lines.current.take_if(|line| line.stream == stream).is_none() {
            return Ok(());
        }
        self.act(Action::Reset(stream, ErrorCode::Close));
        self.queue.flushed();
        match (self.phase, self.role) {
            (Phase::Established, Role::Dialler) => self.open_again(now),
            (Phase::Established, Role::Acceptor) => {
                self.deadline = now.checked_add(self.config.control_timeout);
            }
            (Phase::Refusing, _) => self.end_refusal(),
            (Phase::Start | Phase::Asked, Role::Dialler) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectResponseMissing,
                    "the control stream ended before CONNECT was answered",
                    "laps peering, \"Connect Response Message\"",
                ));
            }
            (Phase::Start | Phase::Asked | Phase::Judging, _) => {
                return Err(PeerMisbehaved::new(
                    ErrorCode::ConnectMissing,
                    "the control stream ended before the link stood",
                    "laps peering, \"Connect Message\"",
                ));
            }
            (Phase::Closed, _) => {}
        }
        Ok(())
    }

    fn open_again(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.lines.opening, true) {
            self.deadline = now.checked_add(self.config.control_timeout);
            self.act(Action::OpenControl);
        }
    }

    /// [`super::Command::RecreateControl`].
    pub(super) fn recreate(&mut self, now: Instant) -> Result<(), CommandError> {
        if self.role != Role::Dialler {
            return Err(CommandError::NotAllowed(
                "the control stream is the dialler's to create",
            ));
        }
        if self.phase != Phase::Established {
            return Err(CommandError::WrongState);
        }
        self.open_again(now);
        Ok(())
    }
}
