//! Values that several commands take.

use crate::exit::Failure;
use crate::names::parse_full_name;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::SubscribeFilter;
use laps_protocol::moqt::name::FullTrackName;
use laps_protocol::wire::varint;
use std::str::FromStr;
use std::time::Duration;

/// A time in seconds, fractions allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not a number of seconds such as 10 or 0.5");
        let number: f64 = text
            .strip_suffix('s')
            .unwrap_or(text)
            .parse()
            .map_err(|_| bad())?;
        Duration::try_from_secs_f64(number).map(Self).map_err(|_| bad())
    }
}

/// The number of a group or object, or a number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text)
            .map(Self)
            .map_err(|fault| format!("`{text}` {fault}"))
    }
}

/// Which objects a subscriber wants, as text: `next-group`, `largest`, `start=G/O` or `range=G/O-G`.
///
/// MOQT-14 §9.7 [D14-SUB-3]: the four filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter(pub SubscribeFilter);

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            |reason: &str| format!("`{text}` {reason}; write next-group, largest, start=G/O or range=G/O-G");
        let place = |place: &str| -> Result<Location, String> {
            let (group, object) = place
                .split_once('/')
                .ok_or_else(|| bad("needs a place group/object"))?;
            Ok(Location::new(
                number(group).map_err(bad)?,
                number(object).map_err(bad)?,
            ))
        };
        let filter = match text.split_once('=') {
            None if text == "next-group" => SubscribeFilter::NextGroupStart,
            None if text == "largest" => SubscribeFilter::LargestObject,
            Some(("start", start)) => SubscribeFilter::AbsoluteStart(place(start)?),
            Some(("range", range)) => {
                let (start, end) = range
                    .split_once('-')
                    .ok_or_else(|| bad("needs its last group after `-`"))?;
                let (start, end_group) = (place(start)?, number(end).map_err(bad)?);
                if end_group < start.group {
                    return Err(bad("ends before it starts"));
                }
                SubscribeFilter::AbsoluteRange { start, end_group }
            }
            _ => return Err(bad("is no filter")),
        };
        Ok(Self(filter))
    }
}

/// NAMESPACE and TRACK together.
///
/// # Errors
/// When a name cannot be read or is too long.
pub(super) fn track_name(namespace: &str, track: &str) -> Result<FullTrackName, Failure> {
    parse_full_name(namespace, track).map_err(|error| {
        let remedy = "see NAMES in the command's --help";
        Failure::usage("NAMESPACE and TRACK", error.to_string(), remedy)
    })
}

/// A group or object number: what a varint holds. RFC 9000 §16.
pub(super) fn number(text: &str) -> Result<u64, &'static str> {
    let fault = "has a number that is none, or is above 2^62-1";
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fault);
    }
    match text.parse() {
        Ok(number) if number <= varint::MAX => Ok(number),
        _ => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D14-SUB-3
    #[test]
    fn the_four_filters() {
        // MOQT-14 §9.7 [D14-SUB-3]
        for (text, filter) in [
            ("next-group", SubscribeFilter::NextGroupStart),
            ("largest", SubscribeFilter::LargestObject),
            ("start=3/4", SubscribeFilter::AbsoluteStart(Location::new(3, 4))),
            (
                "range=3/4-3",
                SubscribeFilter::AbsoluteRange {
                    start: Location::new(3, 4),
                    end_group: 3,
                },
            ),
            (
                "range=0/0-9",
                SubscribeFilter::AbsoluteRange {
                    start: Location::ZERO,
                    end_group: 9,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(Filter(filter)), "{text}");
        }
    }

    #[test]
    fn broken_filters_are_refused() {
        for text in [
            "",
            "latest",
            "start",
            "start=",
            "start=1",
            "start=1/",
            "start=/1",
            "start=+1/0",
            "range=1/0",
            "range=1/0-0",
            "range=1-2",
            "start=4611686018427387904/0",
            "next-group=1",
            "range=1/0-2-3",
        ] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_have_fractions() {
        for (text, millis) in [("10", 10_000), ("0.5", 500), ("2s", 2_000), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Seconds(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "-1", "x", "inf", "NaN", "1e40", "1m"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }
}
