//! The hashes that stand for tracks in the mesh. laps peering, "Subscribe Information".
//!
//! [`hash`] is CityHash64 of version 1.1 (Geoff Pike and Jyrki Alakuijala, Google, under the MIT licence), with every
//! integer read from the input with its first byte as the most significant one, as laps does on all its machines. Hashes
//! of inputs below four bytes are thus CityHash64's own, others are not. Nothing here resists somebody who looks for two
//! names with one hash, and namespaces collide by design: see [`namespace_hash`].

use super::node::NodeId;
use crate::moqt::name::{FullTrackName, TrackNamespace};
use crate::wire::varint;
use std::fmt;

/// The hash of a namespace and a name together: 62 bits, so that it can be a track alias. laps peering, "Messages".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullNameHash(u64);

impl FullNameHash {
    /// The largest one.
    pub const MAX: Self = Self(varint::MAX);

    /// This number as a hash; none when it has more than 62 bits.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number <= varint::MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FullNameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for FullNameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FullNameHash({self})")
    }
}

/// The three hashes of a track. laps peering, "Subscribe Information Advertisement Message".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackHash {
    /// Of its namespace, see [`namespace_hash`].
    pub namespace: u64,
    /// Of its name, see [`name_hash`].
    pub name: u64,
    /// Of both, see [`full_name_hash`].
    pub full: FullNameHash,
}

impl TrackHash {
    /// The hashes of a track.
    #[must_use]
    pub fn of(track: &FullTrackName) -> Self {
        Self::combined(namespace_hash(track.namespace()), name_hash(track.name()))
    }

    /// The hashes of a namespace as laps makes them: those of a track with an empty name.
    #[must_use]
    pub fn of_namespace(namespace: &TrackNamespace) -> Self {
        Self::combined(namespace_hash(namespace), name_hash(b""))
    }

    /// From the hashes of namespace and name.
    #[must_use]
    pub const fn combined(namespace: u64, name: u64) -> Self {
        Self {
            namespace,
            name,
            full: full_name_hash(namespace, name),
        }
    }

    /// Whether the hash of both is the one that follows from the other two. A peer may claim otherwise.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.full == full_name_hash(self.namespace, self.name)
    }
}

/// The hash of a namespace: of all its fields behind one another, with nothing between them. `a/bc` and `ab/c` have the
/// same one, so data is bound to its track by more than this.
#[must_use]
pub fn namespace_hash(namespace: &TrackNamespace) -> u64 {
    hash(&namespace.fields().concat())
}

/// The hash of the name of a track.
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    hash(name)
}

/// The hash of a track out of those of its namespace and name.
#[must_use]
pub const fn full_name_hash(namespace: u64, name: u64) -> FullNameHash {
    FullNameHash(combine(combine(0, namespace), name) & varint::MAX)
}

/// One hash out of two. (`value >> 2` where others have `seed >> 2`, as laps does.)
#[must_use]
pub const fn combine(seed: u64, value: u64) -> u64 {
    let mixed = value
        .wrapping_add(0x9e37_79b9)
        .wrapping_add(seed << 6)
        .wrapping_add(value >> 2);
    seed ^ mixed
}

/// One hash for each prefix of `namespace`, the shortest first: each field's hash combined with those before it. They
/// keep the fields apart, and are for a node's own tables: they are never sent.
pub fn prefix_hashes(namespace: &TrackNamespace) -> impl Iterator<Item = u64> + '_ {
    namespace.fields().iter().scan(0, |seed, field| {
        *seed = combine(*seed, hash(field));
        Some(*seed)
    })
}

/// The id of the laps relay that is called `endpoint`: laps takes the hash that the C++ library of GNU has for strings,
/// which is MurmurHash64A (Austin Appleby, public domain) with that library's seed.
#[must_use]
pub fn endpoint_node_id(endpoint: &str) -> NodeId {
    const MUL: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    let (words, tail) = endpoint.as_bytes().as_chunks::<8>();
    let mut state = SEED ^ MUL.wrapping_mul(endpoint.len() as u64);
    for word in words {
        let word = shift_mix(u64::from_le_bytes(*word).wrapping_mul(MUL)).wrapping_mul(MUL);
        state = (state ^ word).wrapping_mul(MUL);
    }
    if !tail.is_empty() {
        let last = tail
            .iter()
            .rev()
            .fold(0, |last, byte| last << 8 | u64::from(*byte));
        state = (state ^ last).wrapping_mul(MUL);
    }
    NodeId(shift_mix(shift_mix(state).wrapping_mul(MUL)))
}

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
/// The multiplier of [`mix2`].
const K_MUL: u64 = 0x9ddf_ea08_eb38_2d69;

/// The hash of some bytes: CityHash64 with big-endian reads.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0 => K2,
        1..=3 => up_to_3(bytes),
        4..=7 => up_to_7(bytes),
        8..=16 => up_to_16(bytes),
        17..=32 => up_to_32(bytes),
        33..=64 => up_to_64(bytes),
        _ => long(bytes),
    }
}

/// The eight bytes at `at`, or 0 beyond the end, where no caller reads.
fn word(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).and_then(|rest| rest.first_chunk());
    rest.map_or(0, |word| u64::from_be_bytes(*word))
}

/// The eight bytes that begin `back` bytes before the end.
fn word_back(bytes: &[u8], back: usize) -> u64 {
    word(bytes, bytes.len().saturating_sub(back))
}

const fn shift_mix(value: u64) -> u64 {
    value ^ value >> 47
}

/// Two words into one.
const fn mix2_with(u: u64, v: u64, mul: u64) -> u64 {
    let a = shift_mix((u ^ v).wrapping_mul(mul));
    shift_mix((v ^ a).wrapping_mul(mul)).wrapping_mul(mul)
}

const fn mix2(u: u64, v: u64) -> u64 {
    mix2_with(u, v, K_MUL)
}

/// The multiplier for inputs up to 64 bytes.
const fn multiplier(len: usize) -> u64 {
    K2.wrapping_add(2 * len as u64)
}

fn up_to_3(bytes: &[u8]) -> u64 {
    let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or_default());
    let len = bytes.len();
    let y = byte(0) + (byte(len / 2) << 8);
    let z = len as u64 + (byte(len - 1) << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K0)).wrapping_mul(K2)
}

fn up_to_7(bytes: &[u8]) -> u64 {
    let word = |word: Option<&[u8; 4]>| word.map_or(0, |word| u64::from(u32::from_be_bytes(*word)));
    let (first, last) = (word(bytes.first_chunk()), word(bytes.last_chunk()));
    let len = bytes.len() as u64;
    mix2_with(len + (first << 3), last, multiplier(bytes.len()))
}

fn up_to_16(bytes: &[u8]) -> u64 {
    let mul = multiplier(bytes.len());
    let a = word(bytes, 0).wrapping_add(K2);
    let b = word_back(bytes, 8);
    let c = b.rotate_right(37).wrapping_mul(mul).wrapping_add(a);
    let d = a.rotate_right(25).wrapping_add(b).wrapping_mul(mul);
    mix2_with(c, d, mul)
}

fn up_to_32(bytes: &[u8]) -> u64 {
    let mul = multiplier(bytes.len());
    let a = word(bytes, 0).wrapping_mul(K1);
    let b = word(bytes, 8);
    let c = word_back(bytes, 8).wrapping_mul(mul);
    let d = word_back(bytes, 16).wrapping_mul(K2);
    let u = a
        .wrapping_add(b)
        .rotate_right(43)
        .wrapping_add(c.rotate_right(30))
        .wrapping_add(d);
    let v = a
        .wrapping_add(b.wrapping_add(K2).rotate_right(18))
        .wrapping_add(c);
    mix2_with(u, v, mul)
}

fn up_to_64(bytes: &[u8]) -> u64 {
    let mul = multiplier(bytes.len());
    let a = word(bytes, 0).wrapping_mul(K2);
    let b = word(bytes, 8);
    let c = word_back(bytes, 24);
    let d = word_back(bytes, 32);
    let e = word(bytes, 16).wrapping_mul(K2);
    let f = word(bytes, 24).wrapping_mul(9);
    let g = word_back(bytes, 8);
    let h = word_back(bytes, 16).wrapping_mul(mul);
    let ag = a.wrapping_add(g);
    let ef = e.wrapping_add(f);
    let u = b
        .rotate_right(30)
        .wrapping_add(c)
        .wrapping_mul(9)
        .wrapping_add(ag.rotate_right(43));
    let v = (ag ^ d).wrapping_add(f).wrapping_add(1);
    let w = u.wrapping_add(v).wrapping_mul(mul).swap_bytes().wrapping_add(h);
    let x = ef.rotate_right(42).wrapping_add(c);
    let y = v
        .wrapping_add(w)
        .wrapping_mul(mul)
        .swap_bytes()
        .wrapping_add(g)
        .wrapping_mul(mul);
    let z = ef.wrapping_add(c);
    let left = x
        .wrapping_add(z)
        .wrapping_mul(mul)
        .wrapping_add(y)
        .swap_bytes()
        .wrapping_add(b);
    let right = z
        .wrapping_add(left)
        .wrapping_mul(mul)
        .wrapping_add(d)
        .wrapping_add(h);
    shift_mix(right).wrapping_mul(mul).wrapping_add(x)
}

/// The 32 bytes at `at` and two seeds into two words.
fn mix32(bytes: &[u8], at: usize, seeds: (u64, u64)) -> (u64, u64) {
    let [w, x, y, z] = [0, 8, 16, 24].map(|offset| word(bytes, at + offset));
    let a = seeds.0.wrapping_add(w);
    let b = seeds.1.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let sum = a.wrapping_add(x).wrapping_add(y);
    let b = b.wrapping_add(sum.rotate_right(44));
    (sum.wrapping_add(z), b.wrapping_add(a))
}

/// More than 64 bytes: the end first, then blocks of 64 from the start.
fn long(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    let mut x = word_back(bytes, 40);
    let mut y = word_back(bytes, 16).wrapping_add(word_back(bytes, 56));
    let mut z = mix2(
        word_back(bytes, 48).wrapping_add(len as u64),
        word_back(bytes, 24),
    );
    let mut v = mix32(bytes, len - 64, (len as u64, z));
    let mut w = mix32(bytes, len - 32, (y.wrapping_add(K1), x));
    x = x.wrapping_mul(K1).wrapping_add(word(bytes, 0));
    // The last block is a whole one or a part of it, which the words from the end stand for.
    for at in (0..(len - 1) / 64).map(|block| block * 64) {
        x = x
            .wrapping_add(y)
            .wrapping_add(v.0)
            .wrapping_add(word(bytes, at + 8))
            .rotate_right(37)
            .wrapping_mul(K1)
            ^ w.1;
        y = y
            .wrapping_add(v.1)
            .wrapping_add(word(bytes, at + 48))
            .rotate_right(42)
            .wrapping_mul(K1)
            .wrapping_add(v.0)
            .wrapping_add(word(bytes, at + 40));
        z = z.wrapping_add(w.0).rotate_right(33).wrapping_mul(K1);
        v = mix32(bytes, at, (v.1.wrapping_mul(K1), x.wrapping_add(w.0)));
        let seeds = (z.wrapping_add(w.1), y.wrapping_add(word(bytes, at + 16)));
        w = mix32(bytes, at + 32, seeds);
        std::mem::swap(&mut z, &mut x);
    }
    let left = mix2(v.0, w.0)
        .wrapping_add(shift_mix(y).wrapping_mul(K1))
        .wrapping_add(z);
    mix2(left, mix2(v.1, w.1).wrapping_add(x))
}
