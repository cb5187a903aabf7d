//! DELIVERY_TIMEOUT: which one applies, and what is too late by it. MOQT-14 §9.2.1.2.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The DELIVERY_TIMEOUT of a subscription, of what its publisher and its subscriber said in milliseconds; none when
/// everything is to be delivered, however late.
///
/// MOQT-14 §9.2.1.2 [D14-PARAM-3] [D14-TO-1]: the shorter one of two.
#[must_use]
pub fn delivery_timeout(publisher_ms: Option<u64>, subscriber_ms: Option<u64>) -> Option<Duration> {
    let said = publisher_ms.into_iter().chain(subscriber_ms);
    // [D14-TO-3]: nothing can be delivered within no time at all, so 0 is what an implementation says for "none".
    let shortest = said.filter(|ms| *ms > 0).min();
    shortest.map(|ms| Duration::from_millis(ms).min(LONGEST))
}

/// Nothing is kept for so long. A time beyond what the clock can say must not come about.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a reader needs to know of the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Age {
    /// The time; it may be none where neither the log has a limit of age nor the reader a timeout.
    pub now: Option<Instant>,
    /// The reader's [`delivery_timeout`].
    pub timeout: Option<Duration>,
    /// What is known of the way to the subscriber.
    pub path: Option<Path>,
}

/// What is known of the way to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Congestion window in bytes.
    pub window: u64,
    /// Bytes on their way.
    pub in_flight: u64,
    /// A round trip.
    pub rtt: Duration,
}

impl Age {
    /// What came at `at` has had its time.
    ///
    /// MOQT-14 §9.2.1.2 [D14-TO-1]: the time runs from the header, which is the object's first byte here, for streams
    /// and datagrams alike.
    #[must_use]
    pub fn is_over(&self, at: Instant) -> bool {
        self.left(at).is_some_and(|left| left.is_zero())
    }

    /// An object with so many bytes of payload that came at `at` is not worth beginning.
    ///
    /// MOQT-14 §9.2.1.2 [D14-TO-4]: it would not be over in time. That is said only of an object that is larger than a
    /// window, while the window is in use: an idle path has not shown what it can carry, and would never get to.
    #[must_use]
    pub fn is_in_vain(&self, at: Instant, payload: u64) -> bool {
        let Some(left) = self.left(at) else {
            return false;
        };
        let Some(path) = self.path.filter(|path| path.is_busy() && payload > path.window) else {
            return left.is_zero();
        };
        path.time_for(payload) > left
    }

    /// How much of its time is left to what came at `at`; none when it has all the time there is.
    fn left(&self, at: Instant) -> Option<Duration> {
        let (now, timeout) = (self.now?, self.timeout?);
        Some(timeout.saturating_sub(now.saturating_duration_since(at)))
    }
}

impl Path {
    const fn is_busy(&self) -> bool {
        self.window > 0 && self.in_flight >= self.window / 2
    }

    /// How long so many bytes take at least. A window in a round trip is more than the path carries (BBR's window is
    /// twice that), so what takes longer by this does take longer.
    fn time_for(&self, bytes: u64) -> Duration {
        let rtts = bytes / self.window.max(1);
        self.rtt.saturating_mul(u32::try_from(rtts).unwrap_or(u32::MAX))
    }
}

/// What of a stream is with the transport and may not have left yet: up to which byte, and since when the relay has it.
///
/// A few marks stand for any number of objects. Those that came within an eighth of the timeout share one, and get as
/// long as the last of them.
#[derive(Debug, Default)]
pub struct Handed {
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    /// When the first object came that it stands for, and when the last did.
    first: Instant,
    last: Instant,
    /// Bytes of the stream up to its end.
    until: u64,
}

impl Handed {
    /// The transport has the stream's first `until` bytes, of which the last are of an object that came at `at`.
    pub fn note(&mut self, at: Instant, until: u64, timeout: Duration) {
        match self.marks.back_mut() {
            Some(mark) if at.saturating_duration_since(mark.first) < timeout / 8 => {
                mark.last = mark.last.max(at);
                mark.until = until;
            }
            _ => self.marks.push_back(Mark {
                first: at,
                last: at,
                until,
            }),
        }
    }

    /// The peer has the stream's first `until` bytes.
    pub fn delivered(&mut self, until: u64) {
        while self.marks.front().is_some_and(|mark| mark.until <= until) {
            self.marks.pop_front();
        }
    }

    /// When that came which has been with the transport for longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.marks.front().map(|mark| mark.last)
    }

    /// When that came which went to the transport last.
    #[must_use]
    pub fn newest(&self) -> Option<Instant> {
        self.marks.back().map(|mark| mark.last)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a base of virtual time")]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// D14-PARAM-3 D14-TO-1 D14-TO-3
    #[test]
    fn the_shorter_one_applies() {
        let of = |publisher, subscriber| {
            delivery_timeout(publisher, subscriber).map(|timeout| timeout.as_millis())
        };
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(7), None), Some(7));
        assert_eq!(of(None, Some(7)), Some(7));
        assert_eq!(of(Some(9), Some(7)), Some(7));
        assert_eq!(of(Some(7), Some(9)), Some(7));
        // Nothing said is nothing wanted, and 0 says nothing.
        assert_eq!(of(Some(0), Some(0)), None);
        assert_eq!(of(Some(0), Some(9)), Some(9));
        assert!(of(Some(u64::MAX), None).is_some());
    }

    /// D14-TO-1
    #[test]
    fn time_runs_from_the_first_byte() {
        let came = Instant::now();
        let age = |ms: u32| Age {
            now: Some(came + MS * ms),
            timeout: Some(10 * MS),
            path: None,
        };
        assert!(!age(9).is_over(came));
        assert!(age(10).is_over(came));
        assert!(!age(0).is_over(came + MS), "it cannot come later than now");
        let patient = Age {
            timeout: None,
            ..age(10_000)
        };
        assert!(!patient.is_over(came) && !patient.is_in_vain(came, u64::MAX));
    }

    /// D14-TO-4: not begun when it cannot be over in time; tried where that is not known.
    #[test]
    fn what_cannot_be_over_in_time_is_not_begun() {
        let came = Instant::now();
        let path = Path {
            window: 10_000,
            in_flight: 9_000,
            rtt: 20 * MS,
        };
        let age = |path| Age {
            now: Some(came + 50 * MS),
            timeout: Some(150 * MS),
            path,
        };
        // 100 ms are left: five windows.
        assert!(!age(Some(path)).is_in_vain(came, 50_000));
        assert!(age(Some(path)).is_in_vain(came, 60_000));
        // What fits into a window is sent while there is any time.
        let slow = Path {
            rtt: 1000 * MS,
            ..path
        };
        assert!(!age(Some(slow)).is_in_vain(came, 10_000));
        assert!(age(Some(slow)).is_in_vain(came, 10_001));
        // An idle path may be able to carry anything.
        let idle = Path {
            in_flight: 100,
            ..slow
        };
        assert!(!age(Some(idle)).is_in_vain(came, 60_000));
        assert!(!age(None).is_in_vain(came, 60_000));
        let unmeasured = Path {
            window: 0,
            in_flight: 0,
            ..path
        };
        assert!(!age(Some(unmeasured)).is_in_vain(came, 60_000));
        // A size that is a lie is no reason to overflow.
        assert!(age(Some(path)).is_in_vain(came, u64::MAX));
        let over = Age {
            now: Some(came + 150 * MS),
            ..age(None)
        };
        assert!(over.is_in_vain(came, 0));
    }

    /// D14-TO-2: what is stuck in the transport is known by its age, at a bounded cost.
    #[test]
    fn a_few_marks_tell_what_is_stuck() {
        let (came, timeout) = (Instant::now(), 80 * MS);
        let mut handed = Handed::default();
        assert_eq!(handed.oldest(), None);
        handed.note(came, 100, timeout);
        handed.note(came + 9 * MS, 200, timeout);
        // Both go by the time of the second, so neither goes early.
        assert_eq!(handed.oldest(), Some(came + 9 * MS));
        handed.note(came + 10 * MS, 300, timeout);
        assert_eq!(handed.newest(), Some(came + 10 * MS));
        handed.delivered(199);
        assert_eq!(handed.oldest(), Some(came + 9 * MS));
        handed.delivered(200);
        assert_eq!(handed.oldest(), Some(came + 10 * MS));
        handed.delivered(300);
        assert_eq!((handed.oldest(), handed.newest()), (None, None));
        for ms in 0..80 {
            handed.note(came + MS * ms, 400 + u64::from(ms), timeout);
        }
        assert!(handed.marks.len() <= 8, "{}", handed.marks.len());
    }
}
