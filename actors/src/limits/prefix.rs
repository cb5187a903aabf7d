//! What all sessions of an address prefix have together.

use super::kind::{Kind, PerKind};
use super::seldom::Seldom;
use super::{Limits, UNLIMITED};
use laps_protocol::relay::rate::{Pace, Rates};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
#[expect(
    clippy::disallowed_types,
    reason = "whether a packet may begin a handshake is asked on every shard's thread, where nothing can be awaited"
)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

/// The first bits of an address; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The prefix of `address` with so many bits of its family. IPv4 in IPv6 is IPv4.
    #[must_use]
    pub fn of(address: IpAddr, v4: u8, v6: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = v4.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                let address = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask));
                Self { address, bits }
            }
            IpAddr::V6(address) => {
                let bits = v6.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                let address = IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask));
                Self { address, bits }
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Prefixes whose handshakes are remembered, for some seconds: 5 MB at most. Strangers beyond that prove their address.
const MAX_RATES: usize = 1 << 16;

/// By prefix. The hash is the standard one, with a key of its own in each process: whoever owns a /56 chooses what is
/// hashed here. [D14-LIM-5]
type Table = HashMap<Prefix, Weak<Share>>;

/// The prefixes of everybody who is connected. One for a process; shards share it.
#[derive(Debug)]
#[expect(clippy::disallowed_types, reason = "see where it is imported")]
pub struct Prefixes {
    limits: Limits,
    table: Mutex<Table>,
    refused: PerKind<AtomicU64>,
    /// Handshakes of late.
    handshakes: Mutex<Rates<Prefix>>,
    too_many_handshakes: AtomicU64,
    warnings: Seldom,
}

impl Prefixes {
    /// Nobody is connected.
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "see where it is imported")]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            table: Mutex::default(),
            refused: PerKind::default(),
            handshakes: Mutex::new(Rates::new(limits.prefix_handshakes, MAX_RATES)),
            too_many_handshakes: AtomicU64::default(),
            warnings: Seldom::default(),
        }
    }

    /// What is counted for the prefix of `address`, which is remembered as long as anybody holds it.
    #[must_use]
    pub fn share(self: &Arc<Self>, address: IpAddr) -> Arc<Share> {
        let prefix = self.prefix(address);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = table.get(&prefix).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share {
            prefixes: Arc::clone(self),
            prefix,
            used: PerKind::default(),
        });
        table.insert(prefix, Arc::downgrade(&share));
        share
    }

    /// Whether the prefix of `address` has all the connections that it may have. Counts the one that is refused then.
    #[must_use]
    pub fn refuses(&self, address: IpAddr) -> bool {
        let max = self.limits.prefix.connections;
        if max == UNLIMITED {
            return false;
        }
        let share = {
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.get(&self.prefix(address)).and_then(Weak::upgrade)
        };
        let full = share.is_some_and(|share| share.used(Kind::Connections) >= max);
        if full {
            self.count_refused(Kind::Connections);
        }
        full
    }

    /// How the handshake that somebody at `address` begins now stands to the rate of its prefix. Counts it, and those
    /// that are to be refused.
    #[must_use]
    pub fn pace(&self, now: Instant, address: IpAddr) -> Pace {
        if self.limits.prefix_handshakes == UNLIMITED {
            return Pace::Within;
        }
        let prefix = self.prefix(address);
        let pace = self
            .handshakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(now, prefix);
        if pace == Pace::FarAbove {
            self.too_many_handshakes.fetch_add(1, Ordering::Relaxed);
        }
        pace
    }

    /// Handshakes that were refused because their prefix began too many in a short time, since the process began.
    #[must_use]
    pub fn too_many_handshakes(&self) -> u64 {
        self.too_many_handshakes.load(Ordering::Relaxed)
    }

    /// Refusals of this kind because of what a prefix has, since the process began.
    #[must_use]
    pub fn refused(&self, kind: Kind) -> u64 {
        self.refused.of(kind).load(Ordering::Relaxed)
    }

    /// Prefixes that somebody is connected from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True when nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is bounded.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether an operator is to hear of a refusal now, and of how many more since the last.
    #[must_use]
    pub fn warns(&self) -> Option<u64> {
        self.warnings.tells()
    }

    fn count_refused(&self, kind: Kind) {
        self.refused.of(kind).fetch_add(1, Ordering::Relaxed);
    }

    fn prefix(&self, address: IpAddr) -> Prefix {
        Prefix::of(address, self.limits.prefix_v4, self.limits.prefix_v6)
    }
}

/// What the sessions of one prefix have. Counted by all threads; gone with the last who holds it.
#[derive(Debug)]
pub struct Share {
    prefixes: Arc<Prefixes>,
    prefix: Prefix,
    used: PerKind<AtomicU64>,
}

impl Share {
    /// A share of nothing that is bounded, as a client has it.
    #[must_use]
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Prefixes::new(Limits::NONE)).share(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Takes `amount` of `kind` if the prefix may have so much more.
    #[must_use]
    pub fn take(self: &Arc<Self>, kind: Kind, amount: u64) -> Option<ShareLease> {
        let max = *self.prefixes.limits.prefix.of(kind);
        let more = |used: u64| used.checked_add(amount).filter(|used| *used <= max);
        let taken = self
            .used
            .of(kind)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if taken.is_err() {
            self.prefixes.count_refused(kind);
            return None;
        }
        Some(ShareLease {
            share: Arc::clone(self),
            kind,
            amount,
        })
    }

    /// What the prefix has of this kind.
    #[must_use]
    pub fn used(&self, kind: Kind) -> u64 {
        self.used.of(kind).load(Ordering::Relaxed)
    }

    /// Whose it is.
    #[must_use]
    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Who counts all of them.
    #[must_use]
    pub const fn prefixes(&self) -> &Arc<Prefixes> {
        &self.prefixes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.prefixes.table.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have come from here since the last one left, and has a new share.
        if table
            .get(&self.prefix)
            .is_some_and(|share| share.strong_count() == 0)
        {
            table.remove(&self.prefix);
        }
    }
}

/// Something that counts for a prefix as long as this lives.
#[derive(Debug)]
pub struct ShareLease {
    share: Arc<Share>,
    kind: Kind,
    amount: u64,
}

impl Drop for ShareLease {
    fn drop(&mut self) {
        self.share
            .used
            .of(self.kind)
            .fetch_sub(self.amount, Ordering::Relaxed);
    }
}
