//! Synthetic load: stamped objects at an even rate.

use super::{Source, SourceError, SourceObject, Step};
use crate::stamp::Stamp;
use laps_protocol::moqt::location::Location;

/// Objects at an even rate, each beginning with a [`Stamp`].
#[derive(Debug)]
pub struct Synth {
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
}

impl Source for Synth {
    fn next(&mut self, now_unix_nanos: u64) -> Result<Step, SourceError> {
        let due = *self.due.get_or_insert(now_unix_nanos);
        if now_unix_nanos < due {
            return Ok(Step::WaitUntil(due));
        }
        if self.next_object == self.gop {
            self.new_group();
        }
        let (group, object) = (self.group, self.next_object);
        if self.started != Some(group) {
            self.started = Some(group);
            return Ok(Step::GroupStart(group));
        }
        let stamp = Stamp {
            unix_nanos: now_unix_nanos,
            sequence: self.sequence,
        };
        self.sequence += 1;
        self.next_object += 1;
        // A publisher that was held up by more than a second skips what it missed instead of sending it as a burst.
        let behind = now_unix_nanos - due > 1_000_000_000;
        self.due = Some(if behind { now_unix_nanos } else { due }.saturating_add(self.interval_nanos));
        Ok(Step::Object(SourceObject {
            location: Location::new(group, object),
            payload: stamp.payload(self.size),
            made_unix_nanos: Some(now_unix_nanos),
        }))
    }

    fn new_group(&mut self) {
        // A group without objects is new already.
        if self.next_object > 0 {
            self.group += 1;
            self.next_object = 0;
        }
    }
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
                Step::End => panic!("synth has no end"),
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
                Step::GroupStart(_) | Step::End => {}
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
                    Step::GroupStart(_) | Step::End => panic!(),
                }
            }
        };
        assert_eq!(objects(SECOND / 2), 5);
        assert_eq!(objects(SECOND * 60), 1);
    }
}
