//! Relays that find each other on a local network, by multicast DNS. laps, "Discovery", "mDNS".
//!
//! A relay advertises an instance of [`SERVICE`], named after its endpoint id, and says in the TXT record beside it
//! what it has to [`Offer`]. Who browses the service hears of every address by itself, of the same relay on every
//! interface, and of its own; [`Neighbours`] makes of that a list of relays. Whoever is on the network can say anything
//! here, so nothing that is read is believed further than it takes to try it: the bounds are those of this module, and
//! who a relay is, its certificate proves.

mod instance;
mod neighbours;
mod offer;

pub use instance::{Instance, MAX_INSTANCE};
pub use neighbours::{
    Fault, IN_DOUBT, MAX_ADDRESSES, MAX_FAULTS, MAX_RELAYS, Neighbour, Neighbours, News, Ourselves, Sighting,
};
pub use offer::{MAX_DRAFTS, MAX_STRING, MAX_TXT, MAX_VERSION, Offer, Oversized, Transport, hex};

/// The well-known service under which relays are found, as laps has it.
pub const SERVICE: &str = "_laps._udp";
