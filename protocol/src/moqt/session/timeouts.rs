//! What a peer may leave unfinished, and for how long it may ask for nothing. MOQT-14 §12.2 [D14-LIM-6].

use super::Session;
use super::breach::PeerMisbehaved;
use super::config::Config;
use super::requests::{Answering, Asking};
use super::setup::Phase;
use crate::moqt::error::CloseCode;
use crate::moqt::message::RequestId;
use std::time::{Duration, Instant};

/// When the peer is out of time. A deadline is none where nothing is waited for, and where the time is too long to be
/// told.
#[derive(Debug)]
pub(super) struct Clocks {
    /// For its SETUP.
    setup: Option<Instant>,
    /// For the rest of the control message that it began.
    message: Option<Instant>,
    message_timeout: Duration,
    /// For a request, its own or one of ours; looked at when it is there.
    idle: Option<Instant>,
    idle_timeout: Option<Duration>,
    /// The next request ids of the peer and of ours when it was looked at last.
    seen: (RequestId, RequestId),
}

impl Clocks {
    pub(super) fn new(now: Instant, config: &Config) -> Self {
        Self {
            setup: now.checked_add(config.setup_timeout),
            message: None,
            message_timeout: config.message_timeout,
            idle: None,
            idle_timeout: config.idle_timeout,
            seen: (RequestId(0), RequestId(0)),
        }
    }
}

impl Session {
    /// When [`Input::Timeout`](super::Input::Timeout) is wanted next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Connecting | Phase::Greeting => self.clocks.setup,
            Phase::Established => self.clocks.message.into_iter().chain(self.clocks.idle).min(),
            Phase::Closed => None,
        }
    }

    /// Starts and stops clocks after something happened.
    pub(super) fn look_at_clocks(&mut self, now: Instant) {
        if self.phase != Phase::Established {
            return;
        }
        self.clocks.message = match self.clocks.message {
            _ if self.decoder.buffered() == 0 => None,
            // A drop of bytes now and then does not buy time.
            Some(deadline) => Some(deadline),
            None => now.checked_add(self.clocks.message_timeout),
        };
        if self.clocks.idle.is_none() {
            self.clocks.idle = self
                .clocks
                .idle_timeout
                .and_then(|timeout| now.checked_add(timeout));
            self.clocks.seen = (self.grant.next(), self.credit.next());
        }
    }

    /// Messages came whole, so what is there of the next one began now.
    pub(super) const fn message_came(&mut self) {
        self.clocks.message = None;
    }

    /// [`Input::Timeout`](super::Input::Timeout): some deadline may be over.
    pub(super) fn on_timeout(&mut self, now: Instant) -> Result<(), PeerMisbehaved> {
        let over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        match self.phase {
            // MOQT-14 §12.2 [D14-SETUP-23].
            Phase::Connecting | Phase::Greeting if over(self.clocks.setup) => Err(PeerMisbehaved::new(
                CloseCode::ControlMessageTimeout,
                "no SETUP in time",
                "MOQT-14 §12.2",
            )),
            // MOQT-14 §3.4, §12.2 [D14-LIM-6]: no message comes after one that is never finished.
            Phase::Established if over(self.clocks.message) => Err(PeerMisbehaved::new(
                CloseCode::ControlMessageTimeout,
                "a control message was left unfinished",
                "MOQT-14 §12.2",
            )),
            Phase::Established if over(self.clocks.idle) => {
                self.on_idle(now);
                Ok(())
            }
            Phase::Connecting | Phase::Greeting | Phase::Established | Phase::Closed => Ok(()),
        }
    }

    /// MOQT-14 §12.2 [D14-LIM-6]: a session in which nobody asks for anything is given up, which is nobody's fault.
    ///
    /// Open requests are looked at once in each period, and not noted with each message: a session ends two periods
    /// after its last request at the latest.
    fn on_idle(&mut self, now: Instant) {
        let mut theirs = self.theirs.open.values();
        let mut ours = self.ours.open.values();
        let seen = (self.grant.next(), self.credit.next());
        // Ended ones whose alias is remembered, and withdrawn ones that were never answered, are nothing to stay for.
        let busy = theirs.any(|request| request.state != Answering::Finished)
            || ours.any(|request| request.state != Asking::Withdrawn)
            || self.clocks.seen != seen;
        self.clocks.seen = seen;
        self.clocks.idle = self
            .clocks
            .idle_timeout
            .and_then(|timeout| now.checked_add(timeout));
        if !busy {
            self.close(CloseCode::NoError, "nothing was asked for in a long time");
        }
    }
}
