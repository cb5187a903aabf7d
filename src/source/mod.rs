//! What a publisher sends: sources turn time or bytes into groups and objects, without network and without waiting.
//!
//! A [`Source`] is asked again and again what comes next. [`clock`] and [`synth`] answer from the time that they are
//! given; [`raw`], [`lines`] and [`fmp4`] cut bytes, which [`bytes`] reads from a file or standard input.
//! [`feed`] runs a source on a thread of its own, for a caller that must not block.

pub mod bytes;
pub mod clock;
pub mod feed;
pub mod fmp4;
mod iso_bmff;
pub mod lines;
pub mod raw;
pub mod synth;

pub use self::bytes::{Cutter, ReadSource};
pub use clock::Clock;
pub(crate) use clock::utc;
pub use feed::Feed;
pub use fmp4::Fmp4;
pub use lines::Lines;
pub use raw::Raw;
pub use synth::Synth;

use ::bytes::Bytes;
use laps_protocol::moqt::location::Location;

/// Bytes an object where nothing else is said: what fits into one packet.
pub const DEFAULT_OBJECT_BYTES: usize = 1_200;
/// Objects a group where nothing else is said.
pub const DEFAULT_GOP: u64 = 50;
/// Most bytes of one object: what a publisher is willing to hold in memory.
pub const MAX_OBJECT_BYTES: usize = 64 << 20;

/// One object to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceObject {
    /// Its place. Places only rise; a place with another group than the one before starts that group.
    pub location: Location,
    /// Its payload.
    pub payload: Bytes,
    /// When it was made, nanoseconds since the Unix epoch, where the source knows.
    pub made_unix_nanos: Option<u64>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The rest of the group is left out. The next step starts another one.
    Gap,
    /// This group starts; the one before it, if any, is complete, but for a gap.
    GroupStart(u64),
    /// This object.
    Object(SourceObject),
    /// Nothing before this time, nanoseconds since the Unix epoch: ask again then.
    WaitUntil(u64),
    /// Nothing more, ever. The last group is complete.
    End,
}

/// Something to publish.
pub trait Source {
    /// What comes next at this time, nanoseconds since the Unix epoch. Sources over a reader may block in it.
    ///
    /// # Errors
    /// When the input cannot be read or is not what it should be; the source is finished then.
    fn next(&mut self, now_unix_nanos: u64) -> Result<Step, SourceError>;

    /// Somebody wants a new group: the next object begins one, where the source is free to choose.
    fn new_group(&mut self) {}
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn next(&mut self, now_unix_nanos: u64) -> Result<Step, SourceError> {
        (**self).next(now_unix_nanos)
    }

    fn new_group(&mut self) {
        (**self).new_group();
    }
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// One object would have more than [`MAX_OBJECT_BYTES`].
    #[error("one {what} at byte {at} has more than {MAX_OBJECT_BYTES} bytes, too many for one object")]
    TooLong {
        /// What it is: a line, a box.
        what: &'static str,
        /// Where it starts in the input.
        at: u64,
    },
    /// The input is not a fragmented MP4.
    #[error("is not a fragmented MP4: {reason} at byte {at}")]
    NotFmp4 {
        /// What is wrong.
        reason: &'static str,
        /// Where.
        at: u64,
    },
}

/// Numbers groups and objects for the cutters: a group is announced before its first object.
#[derive(Debug)]
struct Places {
    group: u64,
    next_object: u64,
}

impl Places {
    /// Groups count from `first_group` on.
    const fn new(first_group: u64) -> Self {
        Self {
            group: first_group,
            next_object: 0,
        }
    }

    /// The next object of the current group; the first of a group brings the group's start along.
    fn place(&mut self, payload: Bytes, out: &mut std::collections::VecDeque<Step>) {
        if self.next_object == 0 {
            out.push_back(Step::GroupStart(self.group));
        }
        let location = Location::new(self.group, self.next_object);
        out.push_back(Step::Object(SourceObject {
            location,
            payload,
            made_unix_nanos: None,
        }));
        self.next_object += 1;
    }

    /// The next object is the first of the next group.
    const fn next_group(&mut self) {
        self.group += 1;
        self.next_object = 0;
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use std::io::Read;

    /// A reader that gives at most so many bytes at a time.
    pub(super) struct Slow<'a>(pub(super) &'a [u8], pub(super) usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(buffer.len()).min(self.0.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    /// Every object of a source that never waits, checking that groups start before their objects and places rise.
    pub(super) fn all(mut source: impl Source) -> Result<Vec<(Location, Vec<u8>)>, SourceError> {
        let mut objects: Vec<(Location, Vec<u8>)> = Vec::new();
        let mut group = None;
        loop {
            match source.next(0)? {
                Step::GroupStart(started) => {
                    assert!(group.is_none_or(|g| g < started));
                    group = Some(started);
                }
                Step::Object(object) => {
                    assert_eq!(group, Some(object.location.group));
                    assert!(objects.last().is_none_or(|(last, _)| *last < object.location));
                    objects.push((object.location, object.payload.to_vec()));
                }
                Step::WaitUntil(_) | Step::Gap => panic!("a byte source does not wait"),
                Step::End => {
                    assert_eq!(source.next(0)?, Step::End);
                    return Ok(objects);
                }
            }
        }
    }
}
