//! What a peer may make the relay hold, counted for each session and for all sessions of an address prefix together.
//!
//! ```text
//! Prefixes (one a process) ──▶ Share (one an address prefix, while anybody of it is here)   atomics, any thread
//!                                 ▲
//! SessionActor ── Account ────────┘   Account::request(kind) ──▶ Place, kept beside the request
//!                                     Account::take(kind, n) ──▶ Lease, kept beside the bytes or the stream
//! ```
//!
//! [`Pressure`] is what all of that does to the process and its shards, and what is refused then (decision 0023).
//!
//! What was taken is given back when the guard is dropped, however that comes about, so a session that panics leaves
//! nothing counted. The table of prefixes is locked when a connection begins or ends and never for a request or an
//! object: a request costs two atomic additions. Decision 0019.

mod account;
mod kind;
pub mod memory;
mod prefix;
mod pressure;
mod questions;
mod seldom;
#[cfg(test)]
mod tests;

pub use account::{Account, Full, Lease, Place};
pub use kind::{Kind, PerKind};
pub use prefix::{Prefix, Prefixes, Share, ShareLease};
pub use pressure::{EVERY, Gauge, Observer, Pressure, Strain};
pub use questions::{Asking, Questions};
pub use seldom::Seldom;

/// No bound.
pub const UNLIMITED: u64 = u64::MAX;

/// What a session, and all sessions of an address prefix together, may have. A kind that one of the two does not
/// bound is [`UNLIMITED`] there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one session.
    pub session: PerKind<u64>,
    /// Of all sessions whose peers have the same address prefix.
    pub prefix: PerKind<u64>,
    /// Bits of an IPv4 address that its prefix has, 0 to 32.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that its prefix has, 0 to 128.
    pub prefix_v6: u8,
    /// Handshakes that peers with the same address prefix may begin in a second.
    pub prefix_handshakes: u64,
}

impl Limits {
    /// Nothing is bounded.
    pub const NONE: Self = Self {
        session: PerKind::all(UNLIMITED),
        prefix: PerKind::all(UNLIMITED),
        prefix_v4: 32,
        prefix_v6: 56,
        prefix_handshakes: UNLIMITED,
    };
}

impl Default for Limits {
    /// Far more than what a person or a school behind one address needs, and far less than what fills a machine.
    fn default() -> Self {
        Self {
            session: PerKind {
                // MAX_REQUEST_ID bounds these first unless it is raised. [D14-LIM-2]
                subscriptions: 10_000,
                tracks: 10_000,
                namespaces: 5_000,
                watches: 2_000,
                statuses: 256,
                waiting: 1_000,
                fetches: 64,
                // Thousands of tracks with a few subgroups each; as many more may wait to be read in the transport.
                streams: 4_096,
                early_streams: 256,
                early_bytes: 1 << 20,
                ..PerKind::all(UNLIMITED)
            },
            prefix: PerKind {
                connections: 10_000,
                requests: 100_000,
                namespaces: 50_000,
                fetches: 10_000,
                early_bytes: 64 << 20,
                ..PerKind::all(UNLIMITED)
            },
            prefix_v4: 32,
            // What a subscriber line is commonly given: within it addresses cost nothing.
            prefix_v6: 56,
            // A handshake is up to a millisecond of a core: one prefix gets half of one, and its ten thousand
            // connections are back 20 s after a restart.
            prefix_handshakes: 500,
        }
    }
}
