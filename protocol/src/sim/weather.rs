//! How a network treats packets.

use super::Rng;
use std::time::Duration;

/// What happens to packets on their way, the same for control and data of one connection or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Shortest time that a packet is under way.
    pub delay: Duration,
    /// What that time varies by; packets overtake each other within it.
    pub jitter: Duration,
    /// One packet in so many is lost; 0 for none.
    pub lost_one_in: u64,
    /// How much later what was lost arrives, when it is sent again.
    pub recovery: Duration,
    /// Bytes that pass per millisecond; 0 for no bound.
    pub bytes_per_ms: u64,
}

impl Weather {
    /// Up to 20 ms under way, nothing lost.
    pub const FAIR: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::from_millis(20),
        lost_one_in: 0,
        recovery: Duration::ZERO,
        bytes_per_ms: 0,
    };

    /// True when the next packet is lost.
    pub(super) const fn loses(&self, rng: &mut Rng) -> bool {
        self.lost_one_in > 0 && rng.one_in(self.lost_one_in)
    }

    /// How long the next packet is under way when it is not lost.
    pub(super) fn travel(&self, rng: &mut Rng) -> Duration {
        let jitter = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        self.delay + Duration::from_millis(rng.below(jitter.saturating_add(1)))
    }

    /// How long the next packet is under way when all that is lost is sent again.
    pub(super) fn travel_reliably(&self, rng: &mut Rng) -> Duration {
        let mut time = self.travel(rng);
        // Repeats are lost too, but not for ever.
        for _ in 0..8 {
            if !self.loses(rng) {
                break;
            }
            time += self.recovery;
        }
        time
    }

    /// How long the wire is busy with so many bytes.
    pub(super) fn airtime(&self, bytes: usize) -> Duration {
        match (bytes as u64).saturating_mul(1000).checked_div(self.bytes_per_ms) {
            None => Duration::ZERO,
            Some(micros) => Duration::from_micros(micros),
        }
    }
}
