//! A range of past objects as a person writes it, and as FETCH says it.

use super::values::number;
use laps_protocol::moqt::location::{GroupId, Location};
use laps_protocol::wire::varint;
use std::fmt;
use std::str::FromStr;

/// Which objects `laps fetch` asks for: whole groups and single objects, the first and the last one included.
///
/// | text | means |
/// |---|---|
/// | `3` | group 3 |
/// | `3/4` | object 4 of group 3 |
/// | `3-5` | groups 3 to 5 |
/// | `3/2-5` | from object 2 of group 3 to the end of group 5 |
/// | `3/2-5/9` | from object 2 of group 3 to object 9 of group 5 |
/// | `3-`, `3/2-` | from there to the largest object |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRange {
    start: Location,
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// Whatever the track has.
    Largest,
    /// All of this group.
    Group(GroupId),
    /// This object.
    Object(Location),
}

impl ObjectRange {
    /// Start and End Location of a FETCH.
    ///
    /// MOQT-14 §9.16.1 [D14-FETCH-3]: End's object is one past the last one; 0 is all of End's group.
    #[must_use]
    pub const fn on_the_wire(&self) -> (Location, Location) {
        let end = match self.last {
            // MOQT-14 §9.17 [D14-FETCH-9]: an end beyond the largest object is cut down to it by the publisher.
            Last::Largest => Location::new(varint::MAX, 0),
            Last::Group(group) => Location::new(group, 0),
            // There is no object behind the largest number, so the rest of the group is the same.
            Last::Object(last) if last.object >= varint::MAX => Location::new(last.group, 0),
            Last::Object(last) => Location::new(last.group, last.object + 1),
        };
        (self.start, end)
    }

    /// The first place.
    #[must_use]
    pub const fn start(&self) -> Location {
        self.start
    }

    /// Whether a response that ends at `end`, as FETCH_OK says it, goes as far as was asked for.
    #[must_use]
    pub fn is_reached_by(&self, end: Location) -> bool {
        self.last == Last::Largest || end_key(end) >= end_key(self.on_the_wire().1)
    }
}

/// Whether a response that ends at `end`, as FETCH_OK says it, has gone past this place.
#[must_use]
pub fn ends_behind(end: Location, place: Location) -> bool {
    (place.group, place.object) < end_key(end)
}

/// An End Location as a person would say it: the last object, or the whole group.
#[must_use]
pub fn last_of(end: Location) -> String {
    match end.object.checked_sub(1) {
        None => format!("the end of group {}", end.group),
        Some(object) => Location::new(end.group, object).to_string(),
    }
}

/// In this form ends compare as they follow each other. MOQT-14 §9.16.1 [D14-FETCH-3]
const fn end_key(end: Location) -> (GroupId, u64) {
    match end.object {
        0 => (end.group, u64::MAX),
        object => (end.group, object),
    }
}

impl FromStr for ObjectRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |reason: &str| {
            format!(
                "`{text}` {reason}; write a group 3, an object 3/4, or first-last such as 3-5, 3/0-5/9 or 3-"
            )
        };
        let place = |text: &str| -> Result<(GroupId, Option<u64>), String> {
            match text.split_once('/') {
                None => Ok((number(text).map_err(bad)?, None)),
                Some((group, object)) => {
                    Ok((number(group).map_err(bad)?, Some(number(object).map_err(bad)?)))
                }
            }
        };
        let last = |(group, object): (GroupId, Option<u64>)| match object {
            None => Last::Group(group),
            Some(object) => Last::Object(Location::new(group, object)),
        };
        let (first, end) = match text.split_once('-') {
            None => {
                let only = place(text)?;
                (only, last(only))
            }
            Some((first, "")) => (place(first)?, Last::Largest),
            Some((first, end)) => (place(first)?, last(place(end)?)),
        };
        let start = Location::new(first.0, first.1.unwrap_or_default());
        let backwards = match end {
            Last::Largest => false,
            Last::Group(group) => group < start.group,
            Last::Object(end) => end < start,
        };
        // MOQT-14 §9.16.3 [D14-VAL-8]
        if backwards {
            return Err(bad("ends before it starts"));
        }
        Ok(Self { start, last: end })
    }
}

impl fmt::Display for ObjectRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.start)?;
        match self.last {
            Last::Largest => Ok(()),
            Last::Group(group) => write!(f, "{group}"),
            Last::Object(last) => write!(f, "{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use laps_protocol::relay::track_log::PastRange;
    use proptest::prelude::*;

    const MAX: u64 = varint::MAX;

    fn wire(text: &str) -> ((u64, u64), (u64, u64)) {
        let (start, end) = text.parse::<ObjectRange>().unwrap().on_the_wire();
        ((start.group, start.object), (end.group, end.object))
    }

    /// D14-FETCH-3
    #[test]
    fn each_form_has_its_ends_on_the_wire() {
        for (text, start, end) in [
            ("3", (3, 0), (3, 0)),
            ("3/4", (3, 4), (3, 5)),
            ("3/0", (3, 0), (3, 1)),
            ("3-5", (3, 0), (5, 0)),
            ("3-3", (3, 0), (3, 0)),
            ("3/2-5", (3, 2), (5, 0)),
            ("3/2-5/9", (3, 2), (5, 10)),
            ("3-5/0", (3, 0), (5, 1)),
            ("3/7-3", (3, 7), (3, 0)),
            ("3-", (3, 0), (MAX, 0)),
            ("3/2-", (3, 2), (MAX, 0)),
            ("0-", (0, 0), (MAX, 0)),
            ("4611686018427387903", (MAX, 0), (MAX, 0)),
            ("1/4611686018427387902", (1, MAX - 1), (1, MAX)),
            ("1/4611686018427387903", (1, MAX), (1, 0)),
        ] {
            assert_eq!(wire(text), (start, end), "{text}");
        }
    }

    /// D14-VAL-8
    #[test]
    fn what_is_no_range_is_refused() {
        for (text, why) in [
            ("", "number"),
            ("-", "number"),
            ("-5", "number"),
            ("3/", "number"),
            ("/3", "number"),
            ("3--5", "number"),
            ("3-5-7", "number"),
            ("3/1/2", "number"),
            ("+3", "number"),
            ("3 - 5", "number"),
            ("4611686018427387904", "number"),
            ("all", "number"),
            ("5-3", "ends before"),
            ("5/3-5/2", "ends before"),
            ("5/0-4", "ends before"),
            ("5-4/9", "ends before"),
        ] {
            let fault = text.parse::<ObjectRange>().unwrap_err();
            assert!(
                fault.contains(why) && fault.contains("3/0-5/9"),
                "{text}: {fault}"
            );
        }
    }

    /// D14-FETCH-9
    #[test]
    fn a_response_that_ends_early_is_told_from_one_that_does_not() {
        for (text, end, reached) in [
            ("3-5", (5, 0), true),
            ("3-5", (5, 8), false),
            ("3-5", (4, 0), false),
            ("3-5/7", (5, 8), true),
            ("3-5/7", (5, 7), false),
            ("3-5/7", (5, 0), true),
            ("3-", (3, 1), true),
        ] {
            let range: ObjectRange = text.parse().unwrap();
            assert_eq!(
                range.is_reached_by(Location::new(end.0, end.1)),
                reached,
                "{text} {end:?}"
            );
        }
        assert_eq!(last_of(Location::new(5, 0)), "the end of group 5");
        assert_eq!(last_of(Location::new(5, 8)), "5/7");
        let place = Location::new(5, 7);
        assert!(ends_behind(Location::new(5, 8), place) && ends_behind(Location::new(5, 0), place));
        assert!(!ends_behind(Location::new(5, 7), place) && !ends_behind(Location::new(4, 0), place));
    }

    fn places() -> impl Strategy<Value = (u64, Option<u64>)> {
        let near = || prop_oneof![0_u64..6, (MAX - 2)..=MAX];
        (near(), prop::option::of(near()))
    }

    fn text(place: (u64, Option<u64>)) -> String {
        match place {
            (group, None) => group.to_string(),
            (group, Some(object)) => format!("{group}/{object}"),
        }
    }

    proptest! {
        /// D14-FETCH-3: what is typed covers on the wire exactly the objects from the first to the last, both included.
        #[test]
        fn what_is_typed_is_what_is_covered(
            first in places(),
            last in prop::option::of(places()),
            near in places(),
        ) {
            let typed = match last {
                None => format!("{}-", text(first)),
                Some(last) => format!("{}-{}", text(first), text(last)),
            };
            let start = (first.0, first.1.unwrap_or(0));
            let end = last.map_or((u64::MAX, u64::MAX), |(group, object)| (group, object.unwrap_or(u64::MAX)));
            let parsed = typed.parse::<ObjectRange>();
            prop_assert_eq!(parsed.is_ok(), start <= end, "{}", typed);
            if let Ok(range) = parsed {
                let (from, to) = range.on_the_wire();
                prop_assert!(to.group <= MAX && to.object <= MAX);
                let covered = PastRange::new(from, to).unwrap();
                let place = Location::new(near.0, near.1.unwrap_or(0));
                let wanted = (start..=end).contains(&(place.group, place.object));
                prop_assert_eq!(covered.contains(place), wanted, "{} {}", typed, place);
                prop_assert_eq!(place >= from && ends_behind(to, place), wanted, "{} {}", typed, place);
                prop_assert_eq!(range.to_string().parse::<ObjectRange>(), Ok(range));
            }
        }

        /// A single place is the range from it to itself.
        #[test]
        fn one_place_is_a_range_too(place in places()) {
            let twice = format!("{}-{}", text(place), text(place));
            let once: ObjectRange = text(place).parse().unwrap();
            prop_assert_eq!(Ok(once), twice.parse());
        }

        #[test]
        fn no_text_panics(text in "[0-9/+. -]{0,12}|.*") {
            drop(text.parse::<ObjectRange>());
        }
    }
}
