//! How old the bytes of a stream are that some target has not taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When which bytes came, as far as they wait. Bytes that came within a sixteenth of the lifetime are one entry, with
/// the time of the last of them: so there are few entries, and nothing is called too old before it is.
#[derive(Debug)]
pub(super) struct Age {
    /// Zero stands for no end.
    lifetime: Duration,
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    /// Where the bytes of this entry end in the stream.
    end: u64,
    first: Instant,
    last: Instant,
}

/// The lifetime in parts.
const PARTS: u32 = 16;

impl Age {
    pub(super) const fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            marks: VecDeque::new(),
        }
    }

    /// There are bytes up to `end` now.
    pub(super) fn came(&mut self, end: u64, now: Instant) {
        if self.lifetime.is_zero() {
            return;
        }
        let part = self.lifetime / PARTS;
        match self.marks.back_mut() {
            Some(mark) if now.saturating_duration_since(mark.first) < part => {
                (mark.end, mark.last) = (end, mark.last.max(now));
            }
            _ => self.marks.push_back(Mark {
                end,
                first: now,
                last: now,
            }),
        }
    }

    /// The slowest target has bytes up to `end`; none when there is no target.
    pub(super) fn taken(&mut self, end: Option<u64>) {
        let end = end.unwrap_or(u64::MAX);
        while self.marks.front().is_some_and(|mark| mark.end <= end) {
            self.marks.pop_front();
        }
    }

    /// Who has fewer bytes than this waits for some that are too old.
    pub(super) fn too_old(&self, now: Instant) -> Option<u64> {
        let old = |mark: &&Mark| self.end_of(mark).is_some_and(|end| end <= now);
        self.marks.iter().take_while(old).last().map(|mark| mark.end)
    }

    /// When the oldest will be too old.
    pub(super) fn due(&self) -> Option<Instant> {
        self.marks.front().and_then(|mark| self.end_of(mark))
    }

    /// For tests: how many entries there are.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.marks.len()
    }

    fn end_of(&self, mark: &Mark) -> Option<Instant> {
        mark.last.checked_add(self.lifetime)
    }
}
