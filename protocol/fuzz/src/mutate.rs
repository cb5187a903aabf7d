//! Inputs out of other inputs, for where the coverage of the code cannot guide: a seed gives the same inputs each time.

/// Numbers that depend on the seed alone (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`; 0 when there is none.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        const EDGES: [u8; 8] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff];
        let [first, second, ..] = self.next().to_le_bytes();
        if first & 3 == 0 {
            EDGES[usize::from(second) % 8]
        } else {
            second
        }
    }
}

/// A new input out of `corpus`: one of its files or none, changed some times, with pieces of another one.
#[must_use]
pub fn mutate(rng: &mut Rng, corpus: &[Vec<u8>], max_len: usize) -> Vec<u8> {
    let mut data = match rng.below(16) {
        0 => Vec::new(),
        _ => corpus.get(rng.below(corpus.len())).cloned().unwrap_or_default(),
    };
    if data.is_empty() {
        data = (0..=rng.below(max_len)).map(|_| rng.byte()).collect();
    }
    let changes = 1 << rng.below(5);
    for _ in 0..=rng.below(changes) {
        let at = rng.below(data.len() + 1);
        match rng.below(8) {
            0..=2 => {
                let byte = rng.byte();
                if let Some(old) = data.get_mut(at) {
                    *old = byte;
                }
            }
            3 => {
                let bit = 1 << rng.below(8);
                if let Some(old) = data.get_mut(at) {
                    *old ^= bit;
                }
            }
            4 => {
                let count = 1 + rng.below(8);
                let new: Vec<u8> = (0..count).map(|_| rng.byte()).collect();
                data.splice(at..at, new);
            }
            5 => {
                let end = (at + 1 + rng.below(16)).min(data.len());
                data.drain(at.min(end)..end);
            }
            6 => {
                let other = corpus.get(rng.below(corpus.len())).map_or(&[][..], Vec::as_slice);
                let from = rng.below(other.len() + 1);
                let piece = &other[from..(from + 1 + rng.below(64)).min(other.len())];
                let end = if rng.below(2) == 0 {
                    at
                } else {
                    (at + piece.len()).min(data.len())
                };
                data.splice(at..end, piece.iter().copied());
            }
            _ => {
                let end = (at + 1 + rng.below(32)).min(data.len());
                let piece = data[at..end].to_vec();
                data.splice(end..end, piece);
            }
        }
    }
    data.truncate(max_len);
    data
}
