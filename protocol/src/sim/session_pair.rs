//! A client and a server with a wire between them.

use super::{Rng, Weather};
use crate::moqt::error::CloseCode;
use crate::moqt::message::RequestId;
use crate::moqt::session::{
    Action, Command, CommandError, Config, ControlStream, Event, Input, Output, Role, Session,
};
use crate::moqt::version::Version;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The one bidirectional stream there is.
const STREAM: ControlStream = ControlStream(0);
/// Longest piece into which a write is cut, when it is cut.
const MAX_PIECE: u64 = 48;

/// Two sessions back to back on virtual time.
///
/// The seed decides how writes are cut into pieces, how long each piece takes and which side is served first; the
/// order within one direction is kept, as on a stream. The same seed and the same commands give the same run.
#[derive(Debug)]
pub struct SessionPair {
    now: Instant,
    base: Instant,
    rng: Rng,
    client: Side,
    server: Side,
    news: VecDeque<(Role, Event)>,
    cut: bool,
    weather: Weather,
}

/// One session and what is under way to it.
#[derive(Debug)]
struct Side {
    session: Session,
    coming: VecDeque<(Instant, Input)>,
    last: Instant,
    closed: Option<(CloseCode, String)>,
}

impl SessionPair {
    /// Two sessions of draft 14 at `base`, their first outputs under way.
    #[must_use]
    pub fn new(seed: u64, base: Instant, client: Config, server: Config) -> Self {
        let side = |role, config| Side {
            session: Session::new(role, Version::Draft14, config, base),
            coming: VecDeque::new(),
            last: base,
            closed: None,
        };
        let mut pair = Self {
            now: base,
            base,
            rng: Rng::new(seed),
            client: side(Role::Client, client),
            server: side(Role::Server, server),
            news: VecDeque::new(),
            cut: false,
            weather: Weather::FAIR,
        };
        pair.drain(Role::Client);
        pair.drain(Role::Server);
        pair
    }

    /// Two sessions after SETUP; their first events are taken.
    #[must_use]
    pub fn established(seed: u64, base: Instant, client: Config, server: Config) -> Self {
        let mut pair = Self::new(seed, base, client, server);
        pair.run(|_, _, _| {});
        pair
    }

    /// What follows is sent in this weather; the first messages travelled in [`Weather::FAIR`].
    pub const fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// When the next thing happens here; none when there is nothing left.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if self.client.closed.is_some() || self.server.closed.is_some() {
            return None;
        }
        let (client, server) = (self.client.due(), self.server.due());
        match (client, server) {
            (Some(client), Some(server)) => Some(client.min(server)),
            (client, server) => client.or(server),
        }
    }

    /// It is `now` at least, for a pair that shares its time with others. What is due by then is left to
    /// [`Self::step`].
    pub fn advance_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Time that went by, in the sessions' eyes.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.base)
    }

    /// The numbers of this run, for decisions of the test that are to repeat with it.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// One of the sessions. Give it commands by [`Self::command`] only.
    #[must_use]
    pub const fn session(&self, role: Role) -> &Session {
        match role {
            Role::Client => &self.client.session,
            Role::Server => &self.server.session,
        }
    }

    /// Does with a session what is neither input nor command, and sends what comes of it.
    pub fn with<R>(&mut self, role: Role, act: impl FnOnce(&mut Session) -> R) -> R {
        let done = act(&mut self.side(role).session);
        self.drain(role);
        done
    }

    /// Why this side closed the session, when it did.
    #[must_use]
    pub fn closed(&self, role: Role) -> Option<(CloseCode, &str)> {
        let side = match role {
            Role::Client => &self.client,
            Role::Server => &self.server,
        };
        side.closed
            .as_ref()
            .map(|(code, reason)| (*code, reason.as_str()))
    }

    /// Says something at one side.
    ///
    /// # Errors
    /// As [`Session::command`].
    pub fn command(&mut self, role: Role, command: Command) -> Result<Option<RequestId>, CommandError> {
        let now = self.now;
        let done = self.side(role).session.command(now, command);
        self.drain(role);
        done
    }

    /// Puts something of the connection in front of one side at once, such as bytes of a peer that breaks the rules.
    pub fn inject(&mut self, role: Role, input: Input) {
        let now = self.now;
        self.side(role).session.handle_input(now, input);
        self.drain(role);
    }

    /// Cuts the wire: what is under way is lost, and nothing gets through any more.
    pub fn cut(&mut self) {
        self.cut = true;
        self.client.coming.clear();
        self.server.coming.clear();
    }

    /// The next event that no one has seen.
    pub fn next_event(&mut self) -> Option<(Role, Event)> {
        self.news.pop_front()
    }

    /// Goes on until nothing is under way, and shows each event to `react`, which may give commands.
    pub fn run(&mut self, mut react: impl FnMut(&mut Self, Role, Event)) {
        loop {
            while let Some((role, event)) = self.news.pop_front() {
                react(self, role, event);
            }
            if !self.step() {
                return;
            }
        }
    }

    /// Lets the next thing happen: a piece arrives or a timeout comes. False when there is nothing left.
    pub fn step(&mut self) -> bool {
        if self.client.closed.is_some() || self.server.closed.is_some() {
            return false;
        }
        let first_client = self.rng.one_in(2);
        let order = if first_client {
            [Role::Client, Role::Server]
        } else {
            [Role::Server, Role::Client]
        };
        let mut next: Option<(Instant, Role)> = None;
        for role in order {
            let Some(due) = self.side(role).due() else {
                continue;
            };
            if next.is_none_or(|(earliest, _)| due < earliest) {
                next = Some((due, role));
            }
        }
        let Some((due, role)) = next else {
            return false;
        };
        self.now = self.now.max(due);
        let now = self.now;
        // Pieces that are there at the same time are sometimes read together.
        let together = self.rng.one_in(4);
        let side = self.side(role);
        let input = match side.coming.pop_front_if(|(at, _)| *at <= now) {
            Some((_, Input::StreamBytes(stream, bytes))) if together => {
                Input::StreamBytes(stream, side.gather(bytes, now))
            }
            Some((_, input)) => input,
            None => Input::Timeout,
        };
        side.session.handle_input(now, input);
        self.drain(role);
        true
    }

    const fn side(&mut self, role: Role) -> &mut Side {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    fn drain(&mut self, role: Role) {
        while let Some(output) = self.side(role).session.poll_output() {
            match output {
                Output::Action(Action::OpenControl) => {
                    self.send(role, Input::StreamOpened(STREAM));
                    self.send(other(role), Input::StreamAccepted(STREAM));
                }
                Output::Action(Action::Write(stream, bytes)) => self.write(other(role), stream, bytes),
                Output::Action(Action::Close { code, reason }) => {
                    self.side(role).closed = Some((code, reason.into()));
                    // The connection is gone for both.
                    self.client.coming.clear();
                    self.server.coming.clear();
                }
                Output::Event(event) => self.news.push_back((role, *event)),
                Output::Trace(_) => {}
            }
        }
    }

    /// Cuts a write into pieces, sometimes.
    fn write(&mut self, to: Role, stream: ControlStream, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let piece = if self.rng.one_in(3) {
                let size = 1 + self.rng.below(MAX_PIECE);
                bytes.split_to(usize::try_from(size).unwrap_or(1).min(bytes.len()))
            } else {
                std::mem::take(&mut bytes)
            };
            self.send(to, Input::StreamBytes(stream, piece));
        }
    }

    fn send(&mut self, to: Role, input: Input) {
        if self.cut || self.client.closed.is_some() || self.server.closed.is_some() {
            return;
        }
        let at = self.now + self.weather.travel_reliably(&mut self.rng);
        let side = self.side(to);
        side.last = side.last.max(at);
        side.coming.push_back((side.last, input));
    }
}

impl Side {
    /// When something happens here next.
    fn due(&self) -> Option<Instant> {
        let piece = self.coming.front().map(|(at, _)| *at);
        match (piece, self.session.poll_timeout()) {
            (Some(piece), Some(timeout)) => Some(piece.min(timeout)),
            (piece, timeout) => piece.or(timeout),
        }
    }

    /// All bytes that have arrived by now, in one piece.
    fn gather(&mut self, first: Bytes, now: Instant) -> Bytes {
        let mut all = Vec::from(first);
        while let Some((_, input)) = self
            .coming
            .pop_front_if(|(at, input)| *at <= now && matches!(input, Input::StreamBytes(..)))
        {
            if let Input::StreamBytes(_, bytes) = input {
                all.extend_from_slice(&bytes);
            }
        }
        Bytes::from(all)
    }
}

/// The other side.
#[must_use]
pub const fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}
