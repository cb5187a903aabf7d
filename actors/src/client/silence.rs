//! Suspecting that a relay is gone, long before the idle timeout says so.
//!
//! A relay that is killed says no goodbye. Whoever keeps a session alive asks it for a sign of life each second, so a
//! few round trips without one are a reason to look for another session, though none to end the one there is: an address
//! that changes, or a moment without a network, looks the same.

use crate::transport::{ConnHandle, ConnStats};
use std::time::{Duration, Instant};

/// The longest that a session says nothing to its relay while it expects objects.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long an answer may take beside the round trips: for its packet to be sent once more, and for a busy machine.
const ALLOWANCE: Duration = Duration::from_millis(400);
/// Round trips that an answer may take: one, and another one when it had to be repeated.
const ROUND_TRIPS: u32 = 2;
/// The round trip before one was measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);
/// How often one looks.
const EVERY: Duration = Duration::from_millis(100);

/// Whether a peer is silent. A plain value: it is told what there is and the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    looked: Instant,
    /// Nothing counts that waits since before this.
    counted_from: Instant,
}

impl Silence {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            looked: now,
            counted_from: now,
        }
    }

    /// Whether the peer is suspected to be gone, which owes an answer since `since` at round trips of `rtt`.
    pub(super) fn look(&mut self, now: Instant, since: Option<Instant>, rtt: Duration) -> bool {
        // Whoever looks late was held up itself, and its answers wait to be read.
        if now.saturating_duration_since(self.looked) > EVERY * 2 {
            self.counted_from = now;
        }
        self.looked = now;
        since.is_some_and(|since| {
            let waited = now.saturating_duration_since(since.max(self.counted_from));
            waited >= ALLOWANCE + rtt * ROUND_TRIPS
        })
    }
}

fn rtt(stats: &ConnStats) -> Duration {
    stats.rtt().unwrap_or(UNKNOWN_RTT)
}

/// Resolves when the relay is suspected to be gone.
pub(super) async fn suspected(conn: &ConnHandle) {
    let mut silence = Silence::new(Instant::now());
    loop {
        tokio::time::sleep(EVERY).await;
        let stats = conn.stats();
        if silence.look(Instant::now(), stats.unanswered_since(), rtt(stats)) {
            return;
        }
    }
}

/// Resolves when a relay that was suspected to be gone speaks again.
pub(super) async fn heard_again(conn: &ConnHandle) {
    while conn.stats().unanswered_since().is_some() {
        tokio::time::sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    /// What one looks at: at which time (ms), since when an answer is owed (ms), and whether that is suspect.
    type Look = (u64, Option<u64>, bool);

    fn seen(looks: &[Look]) {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut silence = Silence::new(begun);
        for (now, since, suspect) in looks {
            assert_eq!(
                silence.look(at(*now), since.map(at), RTT),
                *suspect,
                "{now} of {looks:?}"
            );
        }
    }

    #[test]
    fn who_owes_no_answer_is_not_silent() {
        seen(&[(100, None, false), (200, None, false), (300, None, false)]);
    }

    #[test]
    fn who_answers_in_time_is_not_silent() {
        seen(&[
            (100, Some(50), false),
            (200, Some(150), false),
            (300, None, false),
        ]);
    }

    #[test]
    fn an_answer_has_two_round_trips_and_an_allowance() {
        seen(&[
            (100, Some(50), false),
            (250, Some(50), false),
            (400, Some(50), false),
            (500, Some(50), false),
            (549, Some(50), false),
            (550, Some(50), true),
            (650, Some(50), true),
            (700, None, false),
        ]);
    }

    /// What happened while nobody looked is no evidence: the answer may be there, and not read.
    #[test]
    fn who_looks_late_counts_anew() {
        seen(&[
            (100, Some(50), false),
            (2000, Some(50), false),
            (2100, Some(50), false),
            (2300, Some(50), false),
            (2450, Some(50), false),
            (2500, Some(50), true),
        ]);
    }
}
