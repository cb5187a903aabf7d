//! What a service manager is told, when the process was started by one: READY, STOPPING, a line of status, and the
//! beats of its watchdog. Without `NOTIFY_SOCKET` nothing is sent anywhere.

use sd_notify::NotifyState;
use slog::{Logger, warn};
use std::time::{Duration, Instant};

/// Where the process is in its life, as the service manager knows it.
#[derive(Clone, Debug)]
pub struct Systemd {
    log: Logger,
    stopping: bool,
}

impl Systemd {
    /// Nothing has been told yet.
    #[must_use]
    pub const fn new(log: Logger) -> Self {
        Self { log, stopping: false }
    }

    /// Everything runs.
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The end has begun, or goes on. That it has begun is said once.
    pub fn stopping(&mut self, status: &str) {
        let begins = !std::mem::replace(&mut self.stopping, true);
        let status = NotifyState::Status(status);
        if begins {
            self.tell(&[NotifyState::Stopping, status]);
        } else {
            self.tell(&[status]);
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            warn!(self.log, "the service manager is not told"; "error" => %error);
        }
    }
}

/// The beats that the service manager expects, if it does.
#[derive(Debug)]
pub struct Beats {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Beats {
    /// As the environment of the process says: twice as often as the service manager asks for.
    #[must_use]
    pub fn expected() -> Self {
        Self::every(sd_notify::watchdog_enabled().map(|limit| limit / 2))
    }

    const fn every(every: Option<Duration>) -> Self {
        Self { every, last: None }
    }

    /// Whether one is due at `now`, which then counts as sent.
    fn due(&mut self, now: Instant) -> bool {
        let Some(every) = self.every else {
            return false;
        };
        let due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= every);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// The process is well: sends a beat if one is due. One that is not taken is not repeated: the next one is due soon.
    pub fn beat(&mut self, now: Instant) {
        if self.due(now) {
            drop(sd_notify::notify(&[NotifyState::Watchdog]));
        }
    }
}

/// The last status of a process that ends because it must. An error changes nothing any more.
pub fn last_status(status: &str) {
    drop(sd_notify::notify(&[NotifyState::Status(status)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_due_when_they_are_expected() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut beats = Beats::every(Some(Duration::from_secs(1)));
        let due: Vec<u64> = (0..20)
            .map(|look| look * 250)
            .filter(|ms| beats.due(at(*ms)))
            .collect();
        assert_eq!(due, [0, 1000, 2000, 3000, 4000]);
        let mut beats = Beats::every(None);
        assert!(!beats.due(start) && !beats.due(at(10_000)));
    }
}
