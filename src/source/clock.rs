//! The time as a track: an object each second, a group each minute.

use super::{Source, SourceError, SourceObject, Step};
use bytes::Bytes;
use laps_protocol::moqt::location::Location;

/// The time in UTC, `2026-01-31T23:59:58Z`, at the start of each second.
///
/// The group is the minute since the Unix epoch and the object the second within it. So a publisher that starts
/// again, or a second one, never gives a place another payload (MOQT-14 §2.1).
#[derive(Debug, Default)]
pub struct Clock {
    last_second: Option<u64>,
    last_group: Option<u64>,
}

impl Clock {
    /// A clock that starts with the second in which it is first asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Source for Clock {
    fn next(&mut self, now_unix_nanos: u64) -> Result<Step, SourceError> {
        let second = now_unix_nanos / NANOS;
        // A clock that is set back makes it wait rather than repeat a place.
        if let Some(last) = self.last_second.filter(|&last| second <= last) {
            return Ok(Step::WaitUntil((last + 1).saturating_mul(NANOS)));
        }
        let group = second / 60;
        if self.last_group != Some(group) {
            // A minute whose last seconds were missed is not complete, and whoever else sends it has them.
            let missed = self.last_second.is_some_and(|last| last % 60 != 59);
            if missed && self.last_group.take().is_some() {
                return Ok(Step::Gap);
            }
            self.last_group = Some(group);
            return Ok(Step::GroupStart(group));
        }
        self.last_second = Some(second);
        Ok(Step::Object(SourceObject {
            location: Location::new(group, second % 60),
            payload: Bytes::from(utc(second)),
            made_unix_nanos: Some(now_unix_nanos),
        }))
    }
}

const NANOS: u64 = 1_000_000_000;

/// RFC 3339 text of a second since the Unix epoch, in the proleptic Gregorian calendar.
pub(crate) fn utc(second: u64) -> String {
    let (days, of_day) = (second / 86_400, second % 86_400);
    // Years are counted from 1 March, so that the leap day is the last of its year; day 719,468 of that count is
    // 1970-01-01, and 146,097 days are the 400 years after which the calendar repeats.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 153 days in each five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!(
        "{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z",
        year + 400 * era
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_dates() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(second), text);
        }
    }

    #[test]
    fn a_second_is_an_object_and_a_minute_a_group() {
        let mut clock = Clock::new();
        let start = 58 * NANOS + 5;
        assert_eq!(clock.next(start).unwrap(), Step::GroupStart(0));
        let Step::Object(object) = clock.next(start).unwrap() else {
            panic!()
        };
        assert_eq!(
            (object.location, object.payload.as_ref()),
            (Location::new(0, 58), &b"1970-01-01T00:00:58Z"[..])
        );
        assert_eq!(clock.next(start).unwrap(), Step::WaitUntil(59 * NANOS));
        // Late by a second, over the minute: the missed second is not made up.
        let late = 60 * NANOS;
        assert_eq!(clock.next(late).unwrap(), Step::Gap);
        assert_eq!(clock.next(late).unwrap(), Step::GroupStart(1));
        let Step::Object(object) = clock.next(late).unwrap() else {
            panic!()
        };
        assert_eq!(object.location, Location::new(1, 0));
        // Set back: no place is used twice.
        assert_eq!(clock.next(0).unwrap(), Step::WaitUntil(61 * NANOS));
    }
}
