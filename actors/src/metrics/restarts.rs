//! How often actors failed and came back, by what they are.
//!
//! One set for the process: an actor's end is rare, and its guard has no shard to ask while the thread unwinds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What an actor can be, as its guard names it; what is not here is counted as the last.
const KINDS: [&str; 21] = [
    "registry",
    "shard",
    "admin",
    "discovery",
    "connection",
    "session",
    "subscription",
    "announce",
    "namespace",
    "status",
    "fetch",
    "track",
    "replica",
    "peering",
    "info_base",
    "peer_link",
    "mesh",
    "origin",
    "node",
    "publications",
    "other",
];

static RESTARTS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];
static PANICS: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];

fn add(to: &[AtomicU64; KINDS.len()], kind: &str) {
    let at = KINDS.iter().position(|known| *known == kind);
    // Called while a thread unwinds, so nothing here may fail.
    if let Some(count) = at.map_or_else(|| to.last(), |at| to.get(at)) {
        count.fetch_add(1, Relaxed);
    }
}

fn all(of: &'static [AtomicU64; KINDS.len()]) -> impl Iterator<Item = (&'static str, u64)> {
    KINDS.into_iter().zip(of.iter().map(|count| count.load(Relaxed)))
}

/// An actor of this kind is started again after it ended.
pub fn restarted(kind: &str) {
    add(&RESTARTS, kind);
}

/// An actor of this kind ended by a panic.
pub fn panicked(kind: &str) {
    add(&PANICS, kind);
}

/// Restarts since the process started, by kind.
pub fn restarts() -> impl Iterator<Item = (&'static str, u64)> {
    all(&RESTARTS)
}

/// Ends by panic since the process started, by kind.
pub fn panics() -> impl Iterator<Item = (&'static str, u64)> {
    all(&PANICS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, mut counts: impl Iterator<Item = (&'static str, u64)>) -> u64 {
        counts.find(|(known, _)| *known == kind).unwrap().1
    }

    #[test]
    fn each_kind_has_its_own_count_and_strangers_share_one() {
        // Other tests of this crate fail actors too, but not these.
        let before = (of("discovery", restarts()), of("admin", panics()));
        restarted("discovery");
        restarted("discovery");
        panicked("admin");
        let after = (of("discovery", restarts()), of("admin", panics()));
        assert_eq!(after, (before.0 + 2, before.1 + 1));
        let before = of("other", panics());
        panicked("something new");
        assert!(of("other", panics()) > before);
    }
}
