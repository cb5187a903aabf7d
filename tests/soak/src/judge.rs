//! Whether what was seen is what should be seen.

use crate::relay::Census;
use laps::memory::Held;
use laps_actors::census::bound::{Frame, Load, bound};

/// Cycles at the beginning whose memory does not count: caches of the allocator and of the stack fill.
const SETTLING: usize = 3;
/// Bytes by which quiet memory may grow over all that counts, whatever the line through it says.
const NOISE: f64 = (4 << 20) as f64;

/// What the relay holds for whom, as its census says.
pub(crate) fn load(census: &Census) -> Load {
    let connections = census.sum(&["connection_actors"]);
    Load {
        connections,
        requests: census.sum(&[
            "subscription_actors",
            "announce_actors",
            "namespace_actors",
            "status_actors",
            "fetch_actors",
        ]),
        tracks: census.sum(&["track_actors", "replica_actors"]),
        streams: census.sum(&["send_streams", "recv_streams"]),
        // One client in twelve reads slowly or not at all, and no peer is asked which one it is.
        slow_readers: connections / SLOW_SHARE,
        floods: 0,
    }
}

/// One client in so many is a slow reader.
pub(crate) const SLOW_SHARE: u64 = 12;

/// What is wrong with memory while clients are there, if anything is.
pub(crate) fn busy(frame: Frame, most: Load, held: Held) -> Option<String> {
    let max = bound(frame, most);
    (held.rss_bytes > max)
        .then(|| format!("RSS is {} KiB, the bound {} KiB", held.rss_bytes >> 10, max >> 10))
}

/// What is wrong with what is held after each cycle, if anything is.
pub(crate) fn quiet(frame: Frame, cycles: &[Held]) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(last) = cycles.last()
        && let Some(what) = busy(frame, Load::default(), *last)
    {
        wrong.push(format!("when everybody had left, {what}"));
    }
    let settled = cycles.get(SETTLING..).unwrap_or_default();
    let rss: Vec<f64> = settled.iter().map(|held| held.rss_bytes as f64).collect();
    if let Some(grown) = growth(&rss)
        && grown > NOISE
    {
        let (mib, count) = (grown / f64::from(1 << 20), rss.len());
        wrong.push(format!("RSS at rest grew by {mib:.1} MiB over {count} cycles"));
    }
    if let [first, .., last] = settled
        && last.descriptors > first.descriptors
    {
        wrong.push(format!(
            "descriptors grew from {} to {}",
            first.descriptors, last.descriptors
        ));
    }
    wrong
}

/// What the straight line through these, by least squares, gains from the first to the last, where there are enough
/// to tell a slope from noise: twice the uncertainty of the slope is taken off.
fn growth(values: &[f64]) -> Option<f64> {
    let count = values.len();
    if count < 3 {
        return None;
    }
    let n = count as f64;
    let mean_x = (n - 1.0) / 2.0;
    let mean_y = values.iter().sum::<f64>() / n;
    let points = || {
        values
            .iter()
            .enumerate()
            .map(|(x, y)| (x as f64 - mean_x, y - mean_y))
    };
    let (xx, xy) = points().fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + x * x, xy + x * y));
    let slope = xy / xx;
    let rest = points().map(|(x, y)| (y - slope * x).powi(2)).sum::<f64>();
    let uncertain = (rest / (n - 2.0).max(1.0) / xx).sqrt();
    Some((slope - 2.0 * uncertain) * (n - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        shards: 1,
        cache: 0,
        window: 0,
    };

    fn held(kib: u64, descriptors: u64) -> Held {
        Held {
            rss_bytes: kib << 10,
            pss_bytes: 0,
            descriptors,
        }
    }

    #[test]
    fn a_leak_is_a_line_that_rises() {
        let leaks: Vec<_> = (0..30).map(|cycle| held(20_000 + cycle * 300, 20)).collect();
        let wrong = quiet(FRAME, &leaks);
        assert!(wrong.iter().any(|what| what.contains("grew by")), "{wrong:?}");
        let noise: Vec<_> = (0..30)
            .map(|cycle| held(30_000 + cycle * 7 % 5 * 1000, 20))
            .collect();
        assert_eq!(quiet(FRAME, &noise), Vec::<String>::new());
    }

    #[test]
    fn what_begins_is_not_a_leak() {
        let mut cycles = vec![held(15_000, 18), held(24_000, 19), held(29_000, 20)];
        cycles.extend((0..10).map(|_| held(30_000, 20)));
        assert_eq!(quiet(FRAME, &cycles), Vec::<String>::new());
    }

    #[test]
    fn descriptors_and_the_bound_are_watched() {
        let cycles: Vec<_> = (0..8).map(|cycle| held(20_000, 20 + cycle)).collect();
        assert!(
            quiet(FRAME, &cycles)
                .iter()
                .any(|what| what.contains("descriptors"))
        );
        let max = bound(FRAME, Load::default()) >> 10;
        let wrong = quiet(FRAME, &[held(max + 1, 20)]);
        assert!(wrong.iter().any(|what| what.contains("the bound")), "{wrong:?}");
        let one = Load {
            connections: 100,
            ..Load::default()
        };
        assert_eq!(busy(FRAME, one, held(max + 1, 20)), None);
    }
}
