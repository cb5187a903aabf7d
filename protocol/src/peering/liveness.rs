//! When a link is dead.
//!
//! A peer that lives is never silent for long: each side sends a PING every other look, whatever else it sends. (The
//! keep-alive of QUIC is no measure of that: its timer begins anew with what is received, so that a side may say nothing
//! for two of them.) So a link is looked at every [`LOOK`], and given up when nothing at all was heard for [`silence`]. A
//! look that comes late says nothing of the peer: what it sent meanwhile waits to be read. That time does not count, so
//! that a process that stood still itself gives nobody up.

use std::time::{Duration, Instant};

/// How often a link is looked at.
pub const LOOK: Duration = Duration::from_millis(25);

/// How often each side says something. A peer that stands still for 700 ms is silent for that and one of these, and the
/// shortest [`silence`] is 790 ms, at a round trip of 170 ms: 40 ms are left for timers and packets that are late.
const PING: Duration = LOOK.saturating_mul(2);

/// A death is noticed within this time where the round trip is short.
const NOTICED: Duration = Duration::from_millis(900);

/// What of the time between two looks counts as silence of the peer: a timer is late by a few milliseconds on a machine
/// that is busy.
const COUNTED: Duration = LOOK.saturating_mul(2);

/// How long nothing may be heard on a link with this keep-alive and round trip before it is dead.
///
/// Together with the half round trip that the last word of the peer took, and with the look that saw it, that is
/// max(900 ms, 3 keep-alives + 4 sRTT).
#[must_use]
pub fn silence(keep_alive: Duration, srtt: Duration) -> Duration {
    let slow = keep_alive
        .saturating_mul(3)
        .saturating_add(srtt.saturating_mul(4));
    NOTICED.max(slow).saturating_sub(srtt / 2 + LOOK)
}

/// What a look at a link tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The peer was heard lately.
    Alive,
    /// The same, and it is time to say something to it: a PING.
    Ping,
    /// It was not for too long. Said at each look from then on.
    Dead,
}

/// Watches one link.
#[derive(Clone, Debug)]
pub struct Liveness {
    keep_alive: Duration,
    heard: u64,
    looked: Instant,
    /// The silence that counts.
    silent: Duration,
    allowed: Duration,
    dead: bool,
    ping_at: Instant,
}

impl Liveness {
    /// Watches from now on a link on which `heard` packets have come so far, whose keep-alive is
    /// `keep_alive`.
    #[must_use]
    pub fn new(now: Instant, keep_alive: Duration, heard: u64) -> Self {
        Self {
            keep_alive,
            heard,
            looked: now,
            silent: Duration::ZERO,
            allowed: silence(keep_alive, Duration::ZERO),
            dead: false,
            ping_at: now,
        }
    }

    /// Looks: `heard` packets have come since the link began, and a round trip takes `srtt`. A PING falls due at looks alone.
    pub fn look(&mut self, now: Instant, heard: u64, srtt: Duration) -> Verdict {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = self.looked.max(now);
        self.allowed = silence(self.keep_alive, srtt);
        if heard == self.heard {
            self.silent += passed.min(COUNTED);
            self.dead |= self.silent >= self.allowed;
        } else {
            self.heard = heard;
            self.silent = Duration::ZERO;
        }
        if self.dead {
            return Verdict::Dead;
        }
        if self.ping_at > now {
            return Verdict::Alive;
        }
        self.ping_at = now.checked_add(PING).unwrap_or(now);
        Verdict::Ping
    }

    /// When to look next: no later than the moment at which the silence has lasted too long.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        let left = self.allowed.saturating_sub(self.silent);
        let wait = if left.is_zero() { LOOK } else { left.min(LOOK) };
        self.looked.checked_add(wait)
    }

    /// For how long the peer has been silent, own lateness left out.
    #[must_use]
    pub const fn silent(&self) -> Duration {
        self.silent
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may read the clock once, for a base of virtual time"
)]
mod tests {
    use super::*;
    use crate::sim::Rng;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const KEEP_ALIVE: Duration = Duration::from_millis(75);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn promised(srtt: Duration) -> Duration {
        ms(900).max(KEEP_ALIVE * 3 + srtt * 4)
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum What {
        /// A side looks.
        Look,
        /// A packet arrives.
        Packet,
    }

    struct Side {
        liveness: Liveness,
        heard: u64,
        /// Does nothing until then.
        still_until: Duration,
        killed: bool,
        dead_at: Option<Duration>,
    }

    /// Two sides and a path. Times count from the start.
    struct World {
        base: Instant,
        rng: Rng,
        rtt: Duration,
        /// By how many microseconds packets, and timers, are late at most.
        late_us: u64,
        loss_percent: u64,
        sides: [Side; 2],
        events: BinaryHeap<Reverse<(Duration, u64, usize, What)>>,
        serial: u64,
    }

    impl World {
        fn new(seed: u64, rtt: Duration, late_us: u64, loss_percent: u64) -> Self {
            let base = Instant::now();
            let side = || Side {
                liveness: Liveness::new(base, KEEP_ALIVE, 0),
                heard: 0,
                still_until: Duration::ZERO,
                killed: false,
                dead_at: None,
            };
            let mut world = Self {
                base,
                rng: Rng::new(seed),
                rtt,
                late_us,
                loss_percent,
                sides: [side(), side()],
                events: BinaryHeap::new(),
                serial: 0,
            };
            for at in 0..2 {
                world.push(LOOK, at, What::Look);
            }
            world
        }

        fn push(&mut self, at: Duration, side: usize, what: What) {
            self.serial += 1;
            self.events.push(Reverse((at, self.serial, side, what)));
        }

        fn send(&mut self, now: Duration, from: usize) {
            if self.rng.below(100) < self.loss_percent {
                return;
            }
            let jitter = Duration::from_micros(self.rng.below(self.late_us + 1));
            self.push(now + self.rtt / 2 + jitter, 1 - from, What::Packet);
        }

        fn run(&mut self, until: Duration) {
            while let Some(Reverse((now, _, at, what))) = self.events.pop() {
                if now > until {
                    self.push(now, at, what);
                    break;
                }
                let side = &mut self.sides[at];
                if side.killed {
                    continue;
                }
                if now < side.still_until {
                    // Timers first: the worst order for who stood still.
                    let after = Duration::from_nanos(u64::from(what == What::Packet));
                    let at_end = side.still_until + after;
                    self.push(at_end, at, what);
                    continue;
                }
                match what {
                    What::Look => {
                        match side.liveness.look(self.base + now, side.heard, self.rtt) {
                            Verdict::Dead => {
                                side.dead_at.get_or_insert(now);
                            }
                            Verdict::Ping => self.send(now, at),
                            Verdict::Alive => {}
                        }
                        let next = self.sides[at].liveness.next_look().unwrap() - self.base;
                        let late = Duration::from_micros(self.rng.below(self.late_us + 1));
                        self.push(next + late, at, What::Look);
                    }
                    What::Packet => side.heard += 1,
                }
            }
        }

        fn nobody_died(&self) -> bool {
            self.sides.iter().all(|side| side.dead_at.is_none())
        }
    }

    /// Issue's figures: 5 % of the packets are lost at a round trip of 150 ms, for ten minutes.
    #[test]
    fn loss_is_no_death() {
        for seed in 0..20 {
            let mut world = World::new(seed, ms(150), 20_000, 5);
            world.run(Duration::from_secs(600));
            assert!(world.nobody_died(), "seed {seed}");
        }
    }

    /// One side, or both, stand still for 700 ms, at any moment and any round trip up to a second.
    #[test]
    fn standing_still_is_no_death() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let rtt = ms([0, 1, 20, 75, 150, 170, 400, 1000][usize::try_from(rng.below(8)).unwrap()]);
            let mut world = World::new(seed, rtt, 10_000, 0);
            let mut now = Duration::ZERO;
            for _ in 0..30 {
                now += ms(2000 + rng.below(1000));
                world.run(now);
                let (first, both) = (usize::from(rng.one_in(2)), rng.one_in(4));
                world.sides[first].still_until = now + ms(700);
                if both {
                    world.sides[1 - first].still_until = now + ms(700);
                }
            }
            world.run(now + ms(5000));
            assert!(world.nobody_died(), "seed {seed}, {rtt:?}");
        }
    }

    /// However long the one who looks stands still itself.
    #[test]
    fn own_stalls_do_not_count() {
        for stall in [700, 2_000, 30_000] {
            let mut world = World::new(stall, ms(20), 5_000, 0);
            world.run(ms(1_000));
            world.sides[0].still_until = ms(1_000 + stall);
            world.sides[1].killed = true;
            world.run(ms(1_000 + stall));
            assert_eq!(world.sides[0].dead_at, None, "{stall}");
            // The peer is gone all the same, and that is found out.
            world.run(ms(1_000 + stall + 900));
            assert!(world.sides[0].dead_at.is_some(), "{stall}");
        }
    }

    /// max(900 ms, 3 keep-alives + 4 sRTT), counted from the death itself, whatever is still on its way then.
    #[test]
    fn a_death_is_noticed_in_time() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let rtt = ms(rng.below(600));
            let mut world = World::new(seed, rtt, 0, 0);
            let killed_at = Duration::from_micros(2_000_000 + rng.below(1_000_000));
            world.run(killed_at);
            world.sides[1].killed = true;
            world.run(killed_at + promised(rtt));
            let dead_at = world.sides[0].dead_at;
            assert!(dead_at.is_some(), "seed {seed}, {rtt:?}");
            assert!(dead_at.unwrap() - killed_at >= ms(700), "seed {seed}, {rtt:?}");
        }
    }

    #[test]
    fn a_verdict_stays() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, KEEP_ALIVE, 7);
        let mut now = start;
        while liveness.look(now, 7, Duration::ZERO) != Verdict::Dead {
            now = liveness.next_look().unwrap();
        }
        assert_eq!(now - start, silence(KEEP_ALIVE, Duration::ZERO));
        assert_eq!(liveness.silent(), now - start);
        assert_eq!(liveness.look(now, 8, Duration::ZERO), Verdict::Dead);
        // A clock that does not move, or jumps back, does no harm.
        assert_eq!(liveness.look(start, 9, Duration::ZERO), Verdict::Dead);
        assert!(liveness.next_look().unwrap() > now);
    }

    /// An sRTT that nobody can have measured.
    #[test]
    fn any_round_trip_is_taken() {
        assert!(silence(KEEP_ALIVE, Duration::MAX) > Duration::from_secs(1));
        assert!(silence(Duration::MAX, Duration::ZERO) > Duration::from_secs(1));
    }
}
