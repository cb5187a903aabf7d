//! What one subscriber lost over a fault.

use crate::record::{INTERVAL, Record};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A pause between two objects that nobody calls an interruption.
const UNNOTICED_MS: u64 = 250;
/// The same in words.
pub(crate) const UNNOTICED: &str = "0.25 s";

/// How long after a fault its pause may begin, nanoseconds.
const SOON: u64 = 500_000_000;

/// What came and what did not, of the objects from the subscriber's first one to the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Losses {
    /// Objects that were made and never came.
    pub(crate) lost: u64,
    /// Objects that came more than once.
    pub(crate) duplicated: u64,
    /// Objects that were not what belongs in their place.
    pub(crate) wrong: u64,
    /// The longest run of objects that never came.
    pub(crate) gap: u64,
    /// The longest time between two arrivals around the fault, milliseconds.
    pub(crate) pause_ms: u64,
    /// From the end of the fault to the first object after that pause, milliseconds; 0 when there was none to speak of.
    pub(crate) recovered_ms: u64,
}

/// Compares what came up to object `last` with what was made; the fault lasted from `begun` to `over`.
pub(crate) fn judge(record: &Record, made: &BTreeSet<u64>, last: u64, begun: u64, over: u64) -> Losses {
    let mut losses = Losses {
        wrong: record.wrong.len() as u64,
        ..Losses::default()
    };
    let mut run = 0;
    for sequence in made.range(record.oldest().unwrap_or(0)..=last) {
        run = if record.came.contains_key(sequence) {
            0
        } else {
            run + 1
        };
        losses.lost += u64::from(run > 0);
        losses.gap = losses.gap.max(run);
    }
    let twice = record.came.values().map(|times| times.len() as u64 - 1);
    losses.duplicated = twice.sum();
    // The pause of the fault is one that lasts into it or begins soon after: what was under way still comes. Later ones
    // are the machine's.
    let soon = over.saturating_add(SOON);
    let mut before: Option<u64> = None;
    for &at in &record.arrivals {
        if let Some(before) = before
            && at >= begun
            && before <= soon
        {
            let pause = at.saturating_sub(before) / 1_000_000;
            if pause > losses.pause_ms {
                losses.pause_ms = pause;
                losses.recovered_ms = at.saturating_sub(over) / 1_000_000;
            }
        }
        before = Some(before.map_or(at, |before| before.max(at)));
    }
    if losses.lost == 0 && losses.pause_ms < UNNOTICED_MS.max(3 * INTERVAL / 1_000_000) {
        losses.recovered_ms = 0;
    }
    losses
}

/// What never came up to object `last`, as group/object, for whoever looks for the cause.
pub(crate) fn missing(record: &Record, made: &BTreeSet<u64>, last: u64, gop: u64) -> String {
    let wanted = made.range(record.oldest().unwrap_or(0)..=last);
    let lacks = wanted.filter(|sequence| !record.came.contains_key(sequence));
    let lacks: Vec<_> = lacks
        .map(|sequence| format!("{}/{}", sequence / gop, sequence % gop))
        .collect();
    lacks.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(came: &[(u64, u64)]) -> Record {
        let mut record = Record::default();
        for &(sequence, ms) in came {
            let at = ms * 1_000_000;
            record.came.entry(sequence).or_default().push(at);
            record.arrivals.push(at);
        }
        record
    }

    #[test]
    fn everything_in_time_is_no_loss() {
        let whole: Vec<_> = (10..60).map(|n| (n, n * 20)).collect();
        let losses = judge(&record(&whole), &(0..100).collect(), 59, 500_000_000, 500_000_000);
        let none = Losses {
            pause_ms: 20,
            ..Losses::default()
        };
        assert_eq!(losses, none);
    }

    #[test]
    fn what_is_missing_twice_or_late_is_counted() {
        // 20 to 29 never come, of which 25 was never made; 30 to 34 come late, 34 twice, and the last two not at all.
        let mut came: Vec<_> = (10..20).map(|n| (n, n * 20)).collect();
        came.extend((30..48).map(|n| (n, (n * 20).max(700))));
        came.push((34, 720));
        let made = (0..100).filter(|n| *n != 25).collect();
        let losses = judge(&record(&came), &made, 49, 400_000_000, 500_000_000);
        assert_eq!((losses.lost, losses.gap, losses.duplicated), (11, 9, 1));
        let lacks = missing(&record(&came), &made, 49, 10);
        assert_eq!(lacks, "2/0 2/1 2/2 2/3 2/4 2/6 2/7 2/8 2/9 4/8 4/9");
        assert_eq!((losses.pause_ms, losses.recovered_ms), (320, 200));
    }

    #[test]
    fn who_received_nothing_lost_everything() {
        assert_eq!(judge(&Record::default(), &(0..10).collect(), 9, 0, 0).lost, 10);
    }
}
