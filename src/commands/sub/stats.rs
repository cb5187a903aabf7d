//! What a subscriber makes of time stamps: latency, and which objects are missing.

use crate::stamp::{STAMP_BYTES, Stamp, millis, unix_nanos};
use hdrhistogram::Histogram;
use laps_actors::client::ReceivedObject;

/// Longest latency that is told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Latency and sequence of the stamped objects so far.
#[derive(Debug)]
pub(super) struct Stats {
    latency: Option<Histogram<u64>>,
    /// Smallest and largest sequence number, and how many came.
    sequence: Option<(u64, u64, u64)>,
}

impl Stats {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        // Three digits are what one reads of a latency; these bounds are always accepted.
        let latency = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        Self {
            latency,
            sequence: None,
        }
    }

    /// Takes note of an object; nanoseconds since it was made, when it is stamped.
    pub(super) fn observe(&mut self, object: &ReceivedObject) -> Option<u64> {
        let stamp = stamp(object)?;
        let since = u64::try_from(object.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.record(stamp, unix_nanos().saturating_sub(since))
    }

    /// Takes note of an object of the past, whose age says nothing of latency.
    pub(super) fn follow(&mut self, object: &ReceivedObject) {
        if let Some(stamp) = stamp(object) {
            self.count(stamp.sequence);
        }
    }

    fn count(&mut self, n: u64) {
        self.sequence = Some(match self.sequence {
            None => (n, n, 1),
            Some((least, most, count)) => (least.min(n), most.max(n), count + 1),
        });
    }

    fn record(&mut self, stamp: Stamp, received_unix_nanos: u64) -> Option<u64> {
        self.count(stamp.sequence);
        // A clock that was set back says nothing of latency.
        let age = stamp.age_nanos(received_unix_nanos)?;
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(age.max(1));
        }
        Some(age)
    }

    /// Objects between the first and the last stamped one that did not come.
    pub(super) fn missing(&self) -> u64 {
        self.sequence
            .map_or(0, |(least, most, count)| (most - least + 1).saturating_sub(count))
    }

    /// Latency so far as text, with what stands before it; empty without stamps.
    pub(super) fn text(&self, before: &str) -> String {
        let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) else {
            return String::new();
        };
        let at = |quantile| millis(latency.value_at_quantile(quantile));
        format!(
            "{before}latency of {} objects: p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
            latency.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            millis(latency.max()),
        )
    }
}

/// The stamp of an object, whose payload may come in pieces.
fn stamp(object: &ReceivedObject) -> Option<Stamp> {
    let first = object.payload.first()?;
    if first.len() >= STAMP_BYTES {
        return Stamp::read(first);
    }
    let bytes = object.payload.iter().flat_map(|piece| piece.iter().copied());
    Stamp::read(&bytes.take(STAMP_BYTES).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_and_gaps_come_from_stamps() {
        let mut stats = Stats::new();
        assert_eq!((stats.text("; ").as_str(), stats.missing()), ("", 0));
        for sequence in [5, 6, 9, 7] {
            let stamp = Stamp {
                unix_nanos: 1_000_000,
                sequence,
            };
            assert_eq!(stats.record(stamp, 3_000_000), Some(2_000_000));
        }
        assert_eq!(stats.missing(), 1);
        let text = stats.text("; ");
        assert!(text.starts_with("; latency of 4 objects: p50 2.0"), "{text}");
        let future = Stamp {
            unix_nanos: 9,
            sequence: 8,
        };
        assert_eq!(stats.record(future, 3), None);
        assert_eq!(stats.missing(), 0);
    }
}
