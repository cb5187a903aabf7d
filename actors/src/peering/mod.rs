//! Links to other relays: whom to dial, and how.
//!
//! ```text
//!  PeerTarget ("host:port", "laps+host:port") ──▶ Dialer::dial ──▶ Conn      a name is looked up anew for each attempt
//!                                                    │
//!                                 a failure, or the end of a link ──▶ Supervisor(BACKOFF): when to try again
//! ```

pub mod bases;
mod dial;
pub mod mesh;
pub mod plane;
mod target;

pub use dial::{AddressFault, BACKOFF, DialError, Dialer, tries};
pub use target::{DEFAULT_PORT, HostPort, PeerKind, PeerTarget, TargetError};
