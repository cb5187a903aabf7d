//! What holds a relay up when there is too much of everything: load, rates, and publishers that fall silent.

use crate::feed::Feed;
use laps_protocol::relay::load::{HEALTHY, Level, Load, Sample, Terms, cache_limit, max_behind};
use laps_protocol::relay::rate::{BURST, Pace, Rates};
use laps_protocol::relay::silence::Pulse;
use std::time::Duration;

/// Samples, requests and silences in any order.
pub(crate) fn pressure(data: &[u8]) {
    let mut feed = Feed::new(data);
    let mut now = crate::base();
    let terms = Terms::default();
    let mut load = Load::new(terms);
    let (per_second, max_keys) = (1 + u64::from(feed.u8()), 1 + feed.below(4));
    let mut rates: Rates<u8> = Rates::new(per_second, max_keys);
    let mut done = [0_u64; 8];
    let mut pulse = Pulse::new(Duration::from_secs(3));
    let (begun, mut last_left) = (now, now);
    while !feed.is_over() {
        now += Duration::from_millis(feed.number() % 3_000);
        match feed.below(4) {
            0 | 1 => {
                let sample = Sample {
                    lag: Duration::from_millis(feed.number() % 1_000),
                    memory: u64::from(feed.u8()),
                    budget: u64::from(feed.u8() % 2) * 200,
                };
                let before = load.level();
                let level = load.observe(now, sample);
                assert_eq!(level, load.level());
                // One step down at a time, and not before it was calm.
                if level < before {
                    assert_eq!(level, before.below());
                    assert!(now.saturating_duration_since(last_left) >= terms.calm);
                    last_left = now;
                } else if level > before {
                    last_left = now;
                }
                // Lag alone sheds nobody.
                assert!(level != Level::ShedSlow || before == level || sample.budget > 0);
                assert!(!level.words().is_empty() && Level::ALL.contains(&level));
                let max = feed.number();
                let limit = cache_limit(max, &sample);
                assert!(limit <= max && (sample.budget > 0 || limit == max));
                let halvings = load.halvings(now);
                assert_eq!(halvings > 0, level == Level::ShedSlow);
                let behind = max_behind(max, halvings);
                assert!(behind <= max && behind >= max.min(HEALTHY));
            }
            2 => {
                let key = feed.u8() % 8;
                let pace = rates.take(now, key);
                done[usize::from(key)] += u64::from(pace == Pace::Within);
                // Each costs its share of a second, and who did nothing yet has a burst to spend.
                let cost = 1_000_000_000 / per_second;
                let paid = now.saturating_duration_since(begun) + BURST;
                assert!(
                    Duration::from_nanos(done[usize::from(key)] * cost) <= paid,
                    "{key} does too much"
                );
                assert!(rates.len() <= max_keys && (pace == Pace::Above || !rates.is_empty()));
            }
            _ => {
                match feed.below(4) {
                    0 => pulse.paused(),
                    1 => pulse.resumed(now),
                    _ => {
                        pulse.brought(now);
                        assert!(!pulse.is_silent(now));
                    }
                }
                if let Some(at) = pulse.silent_at() {
                    assert!(pulse.is_silent(at) && at >= now);
                    assert!(at.saturating_duration_since(now) >= pulse.usual());
                }
            }
        }
    }
}
