//! Links to other relays, what is known of the mesh, and the data that goes through it.
//!
//! ```text
//!  PeeringActor ──┬─ PeerLinkActor*   one for each connection: control messages, and whether it is alive
//!                 ├─ InfoBaseActor    nodes, publications, subscriptions, the FIB
//!                 └─ Plane            the data of all links
//!
//!  PeerTarget ("host:port", "laps+host:port") ──▶ Dialer::dial ──▶ Conn      a name is looked up anew for each attempt
//!                                                    │
//!                                 a failure, or the end of a link ──▶ Supervisor(BACKOFF): when to try again
//! ```

pub mod bases;
mod dial;
mod dialers;
mod found;
mod leaving;
pub mod link;
pub mod mesh;
mod options;
pub mod plane;
mod roster;
mod seat;
mod supervisor;
mod tally;
mod target;
#[cfg(test)]
mod tests;
mod told;
mod users;

pub use dial::{AddressFault, BACKOFF, DialError, Dialer, tries};
pub use dialers::Dialers;
pub use found::MAX_FOUND;
pub use options::{
    Counters, EndPeering, Inbound, LeavePeering, LinksFree, MeshMaker, Options, Reach, TakeCounters,
};
pub use seat::{MeshParts, Seat, Setup, Sockets};
pub use supervisor::PeeringActor;
pub use tally::{Figures, Tally};
pub use target::{DEFAULT_PORT, HostPort, PeerKind, PeerTarget, TargetError};
pub use users::local_users;
