//! The running part of laps: mailboxes, timers and sockets around the state machines of `laps_protocol`.
//!
//! ```text
//! RootActor                         system arbiter
//! ├── AdminActor                    an arbiter of its own, HTTP on another: how the relay is
//! ├── DiscoveryActor                system arbiter      relays of the local network, by a thread of its own
//! ├── RegistryActor                 system arbiter      which track lives where, who announced what
//! └── ShardActor[0..n]              an arbiter each     one UDP socket, one QUIC endpoint
//!      ├── ConnectionActor*         one per QUIC connection
//!      │    └── SessionActor*       one per MOQT session
//!      │         ├── SubscriptionActor*   per downstream SUBSCRIBE, or PUBLISH of ours
//!      │         ├── AnnounceActor*       per PUBLISH_NAMESPACE received
//!      │         ├── StatusActor*          per TRACK_STATUS received
//!      │         └── (tasks) one reader per inbound stream, one writer per session
//!      ├── TrackActor*              home copy of a track, where its objects arrive
//!      └── ReplicaActor*            the same track on another shard, made on demand
//! ```
//!
//! Rules: a handler feeds a machine and turns its outputs into messages; nothing is sent but by the verbs of
//! [`supervise::mailbox`]; children are owned through a [`supervise::ChildGuard`].

pub mod admin;
pub mod announce;
pub mod auth;
pub mod census;
pub mod client;
pub mod connection;
pub mod discovery;
pub mod fetch;
pub mod limits;
pub mod metrics;
pub mod namespace;
pub mod owner;
pub mod peering;
pub mod registry;
mod reply;
pub mod root;
pub mod session;
pub mod shard;
pub mod status;
pub mod subscription;
pub mod supervise;
pub mod track;
pub mod transport;
pub mod watchdog;
pub mod words;
