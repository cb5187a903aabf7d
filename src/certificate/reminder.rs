//! When an operator is told that a certificate ends: at the start, and then once a day for as long as nothing is done.

use laps_actors::transport::{Lifetime, Stage};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Remembers what was told of one certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reminder {
    told: Option<(Stage, SystemTime)>,
}

impl Reminder {
    /// What there is to tell of a certificate of this life at `now`, as in "the certificate ..."; none when all is well,
    /// or it was told within a day and is no worse since.
    pub fn due(&mut self, lifetime: Lifetime, now: SystemTime) -> Option<String> {
        let stage = lifetime.stage(now);
        // By a clock that was set back nobody knows when it was.
        let lately = |at| now.duration_since(at).is_ok_and(|gone| gone < DAY);
        if self.told.is_some_and(|(told, at)| told == stage && lately(at)) {
            return None;
        }
        let words = lifetime.words(now);
        self.told = words.is_some().then_some((stage, now));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_once_and_then_daily_until_there_is_another() {
        let from = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let life = Lifetime {
            from,
            until: from + 13 * DAY,
        };
        let mut reminder = Reminder::default();
        // It is looked at every few minutes of a life, and two days more.
        let step = Duration::from_mins(5);
        let told: Vec<(u64, String)> = (0..15 * 24 * 12)
            .map(|look| look * step)
            .filter_map(|after| Some((after.as_secs() / 3600, reminder.due(life, from + after)?)))
            .collect();
        let hours: Vec<u64> = told.iter().map(|(hour, _)| *hour).collect();
        let end = 13 * 24;
        assert_eq!(
            hours,
            [end - 78, end - 54, end - 30, end - 6, end, end + 24],
            "{told:?}"
        );
        assert_eq!(told[0].1, "expires in 3 day(s)");
        assert_eq!(told[4].1, "expired 0 day(s) ago");
        let next = Lifetime {
            from: life.until,
            until: life.until + 13 * DAY,
        };
        let now = life.until + 2 * DAY;
        assert_eq!(reminder.due(next, now), None);
        assert!(reminder.due(life, now).is_some(), "the old one is back");
        // What was told by a clock that was ahead is told again.
        assert!(reminder.due(life, now - DAY / 2).is_some());
        assert_eq!(reminder.due(life, now - DAY / 4), None);
    }
}
