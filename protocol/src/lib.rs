//! MOQT without IO.
//!
//! Everything here turns bytes into meaning and meaning into bytes, or decides what happens next. Nothing here
//! opens a socket, reads a clock, starts a thread or takes a lock: time is an argument, and the caller moves the
//! bytes. State machines follow one contract: give one input, then drain the outputs until there are none.
//!
//! | module | what it holds |
//! |---|---|
//! | [`auth`] | who may do what: scopes of tokens, and the decision about a request |
//! | [`discovery`] | relays that find each other on a local network: what they say of themselves, who is there |
//! | [`wire`] | integers, cursors, key-value pairs: what every draft builds on |
//! | [`moqt`] | draft-neutral meaning, one codec per draft, the session state machine, data stream readers |
//! | [`peering`] | relays among themselves: laps' peering messages, data headers, hashes, the session of one link |
//! | [`relay`] | what a relay decides: the track log, the namespace tree |
//! | `sim` | two sessions on a simulated wire with virtual time (feature `sim`, and in tests) |

pub mod auth;
pub mod discovery;
pub mod moqt;
pub mod peering;
pub mod relay;
mod state;
pub mod wire;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
