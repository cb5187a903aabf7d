//! QUIC for sessions: endpoints per shard, connections, streams and datagrams. The only module that names the stack.
//!
//! ```text
//!  root    bind(listen, port, shards) ──▶ [ShardSocket; n]        one port, SO_REUSEPORT, steered by connection id
//!  shard i ServerEndpoint::start(socket i, tls, config, reset key) ──▶ Stream of Conn
//!  client  ClientEndpoint::for_remote(addr, tls, config).connect(addr, name) ──▶ Conn
//!
//!  PeerTls::mutual(ca, cert, key, node) ──▶ server(), client()    between relays: both sides show who they are
//!
//!  Conn::split() ──▶ ConnHandle (open, send, close; cloneable)  UniAcceptor  BidiAcceptor  DatagramReceiver
//!                        │                                          │             │
//!                     SendGuard: dropped unfinished = reset      RecvGuard: dropped unread = stop sending
//! ```
//!
//! Everything of one endpoint runs on the runtime it was started on: an actix arbiter, or a current-thread runtime with
//! a `LocalSet`. Data streams are read and written by local tasks; only the acceptors suit `ctx.add_stream`.

mod acceptors;
mod authority;
pub mod cert;
mod client_ca;
mod close;
mod conn;
mod conn_stats;
mod datagrams;
mod endpoint;
mod error;
mod events;
mod lifetime;
mod limits;
mod link;
mod membership;
pub mod peer_cert;
mod peer_tls;
pub mod reach;
mod refusal;
mod shown;
mod socket;
mod steering;
mod streams;
mod tls;
mod totals;
mod traffic;
mod unsent;
mod validity;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    acceptors::{BidiAcceptor, UniAcceptor},
    cert::SelfSigned,
    client_ca::{ClientCa, Signed},
    close::{MAX_REASON, PeerClose},
    conn::{Conn, ConnHandle, ConnParts, DatagramReceiver, RawConn},
    conn_stats::ConnStats,
    datagrams::{DatagramCounts, DatagramError},
    endpoint::{ClientEndpoint, ServerEndpoint},
    error::{BindError, ConnError, ConnectError, StartError, StreamError, TlsError},
    lifetime::{Lifetime, Stage},
    limits::{Congestion, Door, TransportConfig},
    link::LinkTimes,
    membership::{Refusal, Refusals},
    peer_cert::{NodeCert, NodeNameError, PeerCa},
    peer_tls::{LAPS_ALPN, LINK_ALPN, PeerTls},
    shown::{Fingerprints, Renewals},
    socket::{Buffers, Listen, ShardSocket, bind},
    steering::{MAX_SHARDS, ResetKey, ShardIndex},
    streams::{ABANDONED, Received, RecvGuard, SendGuard},
    tls::{ClientTls, Pem, ServerTls, Verify, moqt_alpn},
    totals::EndpointStats,
    traffic::Traffic,
    validity::CertFacts,
};
