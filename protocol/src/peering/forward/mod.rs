//! Data from link to link: who is to get it, and how its bytes go on. laps peering, "Data Forwarding".
//!
//! ```text
//!  control, one for a relay                    data, one for each link that data comes in on
//!  ┌──────────┐ Advertise, Withdraw            ┌───────────────────────────────────────────────┐
//!  │ NodeSets │ ──────────▶ control streams    │ Ingress: RouteTable  (id, track) -> Route     │
//!  │          │ Route, Ended                   │          Parked      data whose set is coming │
//!  │          │ ─────────────────────────────▶ │          Pipeline    one for each stream      │
//!  └──────────┘                                └───────────────────────────────────────────────┘
//! ```
//!
//! [`NodeSets`] turns the nodes that are to get a track, or that a peer names in a set, into one set for each link that
//! leads to some of them, and into a [`Route`]. A route is a value that never changes; whoever moves data looks the
//! latest one up when a stream begins and keeps it to the end of that stream. So no stream changes when relays come and
//! go, and a set that loses a link lets open streams finish on it: laps peering, "FIB".
//!
//! [`Ingress`] takes the bytes of one link in any split and says what goes where. It never looks behind the data
//! header: laps peering, "Pipeline forwarding". An origin has no ingress: it gives what it reads from its cache to a
//! [`Pipeline`] of its own, or does with a [`Route`] what suits it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`route`] | links, routes, and who is asked for the links to a node |
//! | [`node_sets`] | the sets of a relay, in and out |
//! | [`route_table`] | the routes of what comes in on one link, each bound to its track |
//! | [`parked`] | data that is there before its set |
//! | [`pipeline`] | one stream, fanned out |
//! | [`ingress`] | all of that for one link, datagrams too |
//! | [`limits`], [`counters`] | how much of anything is kept, and how often something happened |

pub mod counters;
pub mod ingress;
pub mod limits;
pub mod node_sets;
pub mod parked;
pub mod pipeline;
pub mod route;
pub mod route_table;

pub use counters::Counters;
pub use ingress::{InStream, Ingress};
pub use limits::Limits;
pub use node_sets::NodeSets;
pub use parked::Parked;
pub use pipeline::Pipeline;
pub use route::{Egress, LinkId, Route, Routes, Source, Target};
pub use route_table::RouteTable;
