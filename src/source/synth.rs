//! Synthetic load: stamped objects at an even rate.

use super::{Source, SourceError, SourceObject, Step};
use crate::stamp::Stamp;
use laps_protocol::moqt::location::Location;

/// Objects at an even rate, each beginning with a [`Stamp`].
///
/// Made [in step](Self::in_step), place and payload of each object follow from the time alone, so that several publishers
/// with the same options send the same track (MOQT-14 §8.2).
#[derive(Debug)]
pub struct Synth {
    in_step: bool,
    interval_nanos: u64,
    size: usize,
    gop: u64,
    group: u64,
    next_object: u64,
    sequence: u64,
    due: Option<u64>,
    started: Option<u64>,
}

impl Synth {
    /// `rate` objects a second of `size` bytes, `gop` of them a group (each at least 1; the size at least a stamp),
    /// groups from `first_group` on.
    #[must_use]
    pub fn new(rate: u32, size: usize, gop: u64, first_group: u64) -> Self {
        Self {
            in_step: false,
            interval_nanos: 1_000_000_000 / u64::from(rate.max(1)),
            size,
            gop: gop.max(1),
            group: first_group,
            next_object: 0,
            sequence: 0,
            due: None,
            started: None,
        }
    }

    /// As [`Self::new`], but the objects are numbered from the Unix epoch on and due at their even times: whoever is asked
    /// at the same time gives the same.
    #[must_use]
    pub fn in_step(rate: u32, size: usize, gop: u64) -> Self {
        Self {
            in_step: true,
            ..Self::new(rate, size, gop, 0)
        }
    }

    const fn next_group(&mut self) {
        self.group += 1;
        self.next_object = 0;
    }

    /// Leaves out what was missed, and the rest of the group that is due with it: whoever else sends this track has
    /// those objects, and they cannot be said not to be there.
    fn skip_to(&mut self, now_unix_nanos: u64) -> Step {
        self.step_to(now_unix_nanos);
        let missed = self.sequence % self.gop;
        if missed > 0 {
            self.sequence += self.gop - missed;
            self.due = Some(self.sequence.saturating_mul(self.interval_nanos));
            (self.group, self.next_object) = (self.sequence / self.gop, 0);
        }
        Step::Gap
    }

    /// Goes to the object that is due at `now_unix_nanos`, or next after it.
    fn step_to(&mut self, now_unix_nanos: u64) {
        self.sequence = now_unix_nanos.div_ceil(self.interval_nanos);
        self.due = Some(self.sequence.saturating_mul(self.interval_nanos));
        (self.group, self.next_object) = (self.sequence / self.gop, self.sequence % self.gop);
    }
}

impl Source for Synth {
    fn next(&mut self, now_unix_nanos: u64) -> Result<Step, SourceError> {
        if self.in_step {
            match self.due {
                None => self.step_to(now_unix_nanos),
                Some(due) if is_late(now_unix_nanos, due) => return Ok(self.skip_to(now_unix_nanos)),
                Some(_) => {}
            }
        }
        let due = *self.due.get_or_insert(now_unix_nanos);
        if now_unix_nanos < due {
            return Ok(Step::WaitUntil(due));
        }
        if self.next_object == self.gop {
            self.next_group();
        }
        let (group, object) = (self.group, self.next_object);
        if self.started != Some(group) {
            self.started = Some(group);
            return Ok(Step::GroupStart(group));
        }
        let made = if self.in_step { due } else { now_unix_nanos };
        let stamp = Stamp {
            unix_nanos: made,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.next_object += 1;
        let from = if !self.in_step && is_late(now_unix_nanos, due) {
            now_unix_nanos
        } else {
            due
        };
        self.due = Some(from.saturating_add(self.interval_nanos));
        Ok(Step::Object(SourceObject {
            location: Location::new(group, object),
            payload: stamp.payload(self.size),
            made_unix_nanos: Some(made),
        }))
    }

    fn new_group(&mut self) {
        // A group without objects is new already. In step with others, groups are where the time has them.
        if self.next_object > 0 && !self.in_step {
            self.next_group();
        }
    }
}

/// A publisher that was held up by more than a second skips what it missed instead of sending it as a burst.
const fn is_late(now_unix_nanos: u64, due: u64) -> bool {
    now_unix_nanos.saturating_sub(due) > 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn the_rate_is_kept_and_stamps_count_up() {
        let mut synth = Synth::new(4, 30, 3, 7);
        let (mut now, mut places, mut starts) = (SECOND, Vec::new(), Vec::new());
        while now < 2 * SECOND {
            match synth.next(now).unwrap() {
                Step::GroupStart(group) => starts.push(group),
                Step::WaitUntil(then) => now = then,
                Step::Gap | Step::End => panic!("synth has no end"),
                Step::Object(object) => {
                    let stamp = Stamp::read(&object.payload).unwrap();
                    assert_eq!(
                        stamp,
                        Stamp {
                            unix_nanos: now,
                            sequence: places.len() as u64
                        }
                    );
                    assert_eq!(object.payload.len(), 30);
                    places.push((object.location.group, object.location.object));
                }
            }
        }
        assert_eq!(places, [(7, 0), (7, 1), (7, 2), (8, 0)]);
        assert_eq!(starts, [7, 8]);
    }

    #[test]
    fn a_new_group_begins_with_the_next_object() {
        let mut synth = Synth::new(1, 24, 3, 7);
        let mut places = Vec::new();
        let mut now = SECOND;
        while places.len() < 6 {
            match synth.next(now).unwrap() {
                Step::WaitUntil(then) => now = then,
                Step::Object(object) => {
                    places.push((object.location.group, object.location.object));
                    if places.len() == 2 {
                        // Asked twice before the next object, it is one group.
                        synth.new_group();
                        synth.new_group();
                    }
                }
                Step::Gap | Step::GroupStart(_) | Step::End => {}
            }
        }
        assert_eq!(places, [(7, 0), (7, 1), (8, 0), (8, 1), (8, 2), (9, 0)]);
    }

    #[test]
    fn lateness_is_made_up_for_within_a_second_and_then_forgotten() {
        let objects = |late: u64| {
            let mut synth = Synth::new(10, 24, 1000, 0);
            while !matches!(synth.next(SECOND).unwrap(), Step::WaitUntil(_)) {}
            let mut objects = 0;
            loop {
                match synth.next(SECOND + late).unwrap() {
                    Step::WaitUntil(_) => return objects,
                    Step::Object(_) => objects += 1,
                    Step::Gap | Step::GroupStart(_) | Step::End => panic!(),
                }
            }
        };
        assert_eq!(objects(SECOND / 2), 5);
        assert_eq!(objects(SECOND * 60), 1);
    }

    /// D14-PUB-1 D14-LIB-4: two that begin at different times, and are asked at different moments, give one track; what was
    /// missed is left out.
    #[test]
    fn in_step_the_time_alone_says_what_is_sent() {
        let objects = |from: u64, lag: u64, until: u64| {
            let mut synth = Synth::in_step(10, 30, 4);
            let (mut now, mut objects) = (from, Vec::new());
            while now < until {
                match synth.next(now).unwrap() {
                    Step::WaitUntil(then) => now = then + lag,
                    Step::Object(object) => {
                        synth.new_group();
                        objects.push((object.location, object.payload));
                    }
                    Step::GroupStart(_) => {}
                    Step::Gap | Step::End => panic!("synth has no end"),
                }
            }
            objects
        };
        let first = objects(100 * SECOND, 0, 103 * SECOND);
        let places: Vec<_> = first.iter().map(|(place, _)| *place).collect();
        let expected: Vec<_> = (1000..1030).map(|n| Location::new(n / 4, n % 4)).collect();
        assert_eq!(places, expected);
        let second = objects(101 * SECOND + 1, 7_000_000, 103 * SECOND);
        assert_eq!(second[..], first[11..]);
        // Held up in the middle of a group, one goes on with the next group that begins, and says that it left some out.
        let mut late = Synth::in_step(10, 30, 4);
        while !matches!(late.next(101 * SECOND).unwrap(), Step::Object(_)) {}
        let now = 102 * SECOND + SECOND / 2;
        assert_eq!(late.next(now).unwrap(), Step::Gap);
        assert_eq!(
            late.next(now).unwrap(),
            Step::WaitUntil(102 * SECOND + 8 * SECOND / 10)
        );
        let now = 102 * SECOND + 8 * SECOND / 10;
        assert_eq!(late.next(now).unwrap(), Step::GroupStart(257));
        let Step::Object(next) = late.next(now).unwrap() else {
            panic!("it is due")
        };
        assert_eq!((next.location, next.payload), first[28].clone());
    }
}
