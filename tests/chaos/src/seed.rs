//! Chance that can be had again.

/// A generator that gives the same numbers for the same seed, on every machine and in every version (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The generator of one run: the numbers depend on the seed and on the name of the fault.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a; the standard library's hash may change.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` on and below `high`; `low` when there is none.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        let next = self.next();
        low + high
            .checked_sub(low)
            .and_then(|many| next.checked_rem(many))
            .unwrap_or(0)
    }

    /// An index below `many`.
    pub(crate) fn index(&mut self, many: usize) -> usize {
        usize::try_from(self.between(0, many as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed, name| {
            let mut chance = Chance::new(seed, name);
            (0..8).map(|_| chance.between(10, 20)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert!(draw(3, "c").iter().all(|n| (10..20).contains(n)));
        assert_eq!(Chance::new(1, "a").between(5, 5), 5);
    }
}
