//! How long a certificate is good for, and when somebody had better be told that it ends.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The last part of its life in which a certificate is told of: this fraction of it, so that one of 13 days is not told of
/// from its first hour on, and one that is renewed when two thirds have passed, as most are, never.
const FRACTION: u32 = 4;
/// And no more than this, so that a year's one is not told of for three months.
const AT_MOST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From when on.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
}

/// How a certificate stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not valid yet: it was made for later, or the clock is wrong.
    Early,
    /// Nothing is to be done.
    Good,
    /// It ends soon.
    Soon,
    /// It has ended: whoever checks it turns away.
    Over,
}

impl Lifetime {
    /// How it stands at `now`. It ends soon in the last quarter of its life, or the last 30 days of that.
    #[must_use]
    pub fn stage(&self, now: SystemTime) -> Stage {
        if now < self.from {
            return Stage::Early;
        }
        let Ok(left) = self.until.duration_since(now) else {
            return Stage::Over;
        };
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        if left < (whole / FRACTION).min(AT_MOST) {
            Stage::Soon
        } else {
            Stage::Good
        }
    }

    /// Seconds that are left of it at `now`; below 0 since it has ended.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> i64 {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match self.until.duration_since(now) {
            Ok(left) => seconds(left),
            Err(error) => -seconds(error.duration()),
        }
    }

    /// What somebody is told of it at `now`, as in "the certificate ...", in whole days; none while it is good.
    #[must_use]
    pub fn words(&self, now: SystemTime) -> Option<String> {
        let started = || days(self.from.duration_since(now));
        match self.stage(now) {
            Stage::Good => None,
            Stage::Early => Some(format!("is valid only in {} day(s)", started().max(1))),
            Stage::Soon => Some(format!(
                "expires in {} day(s)",
                days(self.until.duration_since(now))
            )),
            Stage::Over => Some(format!(
                "expired {} day(s) ago",
                days(now.duration_since(self.until))
            )),
        }
    }
}

fn days<E>(span: Result<Duration, E>) -> u64 {
    span.map_or(0, |span| span.as_secs() / DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(days: u32) -> Lifetime {
        let from = SystemTime::UNIX_EPOCH + 10_000 * DAY;
        Lifetime {
            from,
            until: from + days * DAY,
        }
    }

    #[test]
    fn the_end_is_soon_in_the_last_quarter_and_at_most_in_the_last_month() {
        // Days of a life, days that are left when the end becomes soon.
        for (whole, soon) in [(13, 3), (90, 22), (365, 29), (3650, 29)] {
            let life = of(whole);
            let at = |left: u32| life.stage(life.until - left * DAY);
            assert_eq!(at(soon), Stage::Soon, "{whole}");
            assert_eq!(at(soon + 1), Stage::Good, "{whole}");
            assert_eq!(at(whole), Stage::Good, "{whole}: its first moment");
            assert_eq!(life.stage(life.from - DAY), Stage::Early);
            assert_eq!(at(0), Stage::Soon, "the last moment");
            assert_eq!(life.stage(life.until + Duration::from_secs(1)), Stage::Over);
        }
    }

    #[test]
    fn what_is_left_is_counted_beyond_the_end() {
        let life = of(13);
        assert_eq!(life.left(life.from), 13 * 86_400);
        assert_eq!(life.left(life.until + DAY), -86_400);
    }

    #[test]
    fn nothing_is_said_of_a_good_one() {
        let life = of(100);
        let said = |day: u32| life.words(life.from + day * DAY).unwrap_or_default();
        assert_eq!(said(10), "");
        assert_eq!(said(90), "expires in 10 day(s)");
        assert_eq!(said(103), "expired 3 day(s) ago");
        let before = life.words(life.from - DAY / 2).unwrap();
        assert_eq!(before, "is valid only in 1 day(s)");
    }
}
