//! What can go wrong below a session, said so that an operator can act on it.

use std::{io, net::SocketAddr, path::PathBuf};

use laps_protocol::peering::node::NodeId;
use s2n_quic::{connection, stream};

/// A UDP port could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody, possibly another process of the same user, already listens there.
    #[error("UDP port {} is in use on {}; stop the other process or choose another port", .addr.port(), .addr.ip())]
    PortInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The address does not belong to this machine, or the port needs privileges.
    #[error("cannot listen on UDP {addr}: {source}")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The connection-id steering program could not be attached.
    #[error("cannot steer packets to {shards} shards: {source}")]
    Steering {
        /// How many shards share the port.
        shards: u16,
        /// What the system said.
        source: io::Error,
    },
    /// More shards than one byte of a connection id can name, none, or more than one on a system without steering.
    #[error("{shards} shards cannot share a UDP port here (1 to {max} can)")]
    Shards {
        /// How many were asked for.
        shards: usize,
        /// How many this system can have.
        max: usize,
    },
}

/// A certificate, key or trust anchor cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {what} {}: {source}", .path.display())]
    Read {
        /// Which of the files.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not PEM, or holds none of what was wanted.
    #[error("no {what} in {origin}{}", .detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// The path, or a word for text given directly.
        origin: String,
        /// What the parser said.
        detail: Option<String>,
    },
    /// The private key belongs to another certificate.
    #[error("the private key in {key} does not match the certificate in {cert}")]
    Mismatch {
        /// Where the certificate came from.
        cert: String,
        /// Where the key came from.
        key: String,
    },
    /// The key or the certificate is of a kind that is not supported, or is damaged.
    #[error("cannot use {origin}: {detail}")]
    Unusable {
        /// Where it came from.
        origin: String,
        /// What the TLS library said.
        detail: String,
    },
    /// The system offers no trusted certificates at all.
    #[error("the system has no trusted root certificates{}; name one with --ca", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    NoSystemRoots {
        /// What went wrong while reading them.
        detail: Option<String>,
    },
    /// Peers would not accept the certificate.
    #[error("the certificate in {cert} lets nobody into the mesh: {reason}")]
    NoMember {
        /// Where it came from.
        cert: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate is that of another node.
    #[error("the certificate in {cert} is that of node {named}, and this relay is node {node}")]
    OtherNode {
        /// Where it came from.
        cert: String,
        /// The node that it names.
        named: NodeId,
        /// The node that this relay is.
        node: NodeId,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate for {names}: {detail}")]
    Generate {
        /// The names it was for.
        names: String,
        /// What the library said.
        detail: String,
    },
}

/// An endpoint could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A transport setting is out of its range.
    #[error("transport setting {field}: {reason}")]
    Limits {
        /// The field of [`TransportConfig`](super::TransportConfig).
        field: &'static str,
        /// Why it was refused.
        reason: String,
    },
    /// The socket cannot be used.
    #[error("UDP socket: {0}")]
    Socket(#[from] io::Error),
    /// The QUIC stack refused to start.
    #[error("QUIC endpoint: {0}")]
    Stack(String),
}

/// A connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name cannot stand in a TLS handshake.
    #[error("{name:?} is not a host name or an IP address")]
    ServerName {
        /// The name that was given.
        name: String,
    },
    /// Nobody answered in time.
    #[error("no answer from {addr} within the handshake time-out; is a QUIC server listening there?")]
    Timeout {
        /// Who was asked.
        addr: SocketAddr,
    },
    /// The server is there and refused, as a full one does.
    #[error("{addr} refused the connection")]
    Refused {
        /// Who was asked.
        addr: SocketAddr,
    },
    /// The server's certificate is not one we trust.
    #[error("the certificate of {name} ({addr}) is not trusted: {reason}")]
    Untrusted {
        /// Who was asked.
        addr: SocketAddr,
        /// The name the certificate had to be for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server speaks none of the protocols that were offered.
    #[error("{addr} speaks none of the protocols offered ({offered})")]
    NoCommonProtocol {
        /// Who was asked.
        addr: SocketAddr,
        /// The ALPN tokens that were offered.
        offered: String,
    },
    /// The connection ended while it was being made.
    #[error("connecting to {addr}: {reason}")]
    Closed {
        /// Who was asked.
        addr: SocketAddr,
        /// Why it ended.
        reason: ConnError,
    },
}

/// Why a connection ended. Cheap to clone; the peer's words are in
/// [`ConnHandle::peer_close`](super::ConnHandle::peer_close).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnError {
    /// We closed it with this application code.
    #[error("closed by us with code {code:#x}")]
    Local {
        /// The application code.
        code: u64,
    },
    /// The peer closed it with this application code.
    #[error("closed by the peer with code {code:#x}")]
    Peer {
        /// The application code.
        code: u64,
    },
    /// It ended without an error, by either side.
    #[error("closed without an error")]
    Ended,
    /// A rule of QUIC or TLS was broken.
    #[error("QUIC error {code:#x} raised by {}: {reason}", if *.by_peer { "the peer" } else { "us" })]
    Transport {
        /// RFC 9000 §20.1 code; 0x100 and the TLS alert for handshake failures.
        code: u64,
        /// Whether the peer raised it.
        by_peer: bool,
        /// A word of ours, empty when the peer raised it.
        reason: &'static str,
    },
    /// Nothing was heard for the idle time-out.
    #[error("nothing heard for the idle time-out")]
    IdleTimeout,
    /// The handshake was not done in time.
    #[error("handshake time-out")]
    HandshakeTimeout,
    /// The peer lost the state of this connection, as after a restart.
    #[error("the peer no longer knows this connection")]
    StatelessReset,
    /// The endpoint is shutting down, ran out of paths or stream ids, or was misconfigured.
    #[error("ended by the local QUIC stack: {reason}")]
    Stack {
        /// Which of these.
        reason: &'static str,
    },
}

impl ConnError {
    /// What the peer holds against the certificate that we showed, if that is why it ended the connection. A client hears
    /// of it when [`connect`](super::ClientEndpoint::connect) has long succeeded, in place of the first answer: in TLS 1.3
    /// the server looks at its certificate last.
    #[must_use]
    pub const fn own_certificate_fault(&self) -> Option<&'static str> {
        if let Self::Transport {
            code, by_peer: true, ..
        } = self
        {
            return certificate_fault(*code);
        }
        None
    }
}

/// What a TLS alert says about a certificate, if that is its subject. RFC 8446 §6.2.
pub(super) const fn certificate_fault(code: u64) -> Option<&'static str> {
    match code.wrapping_sub(0x100) {
        42 => Some("it is not for this name"),
        44 => Some("it was revoked"),
        45 => Some("it has expired or is not valid yet"),
        // A signature that fails is a certificate of somebody who uses the name of an authority.
        48 | 51 => Some("nobody who is trusted has signed it"),
        49 => Some(
            "neither it nor its key has the expected fingerprint: another relay, or it was renewed since",
        ),
        43 | 46 | 47 => Some("it cannot be used"),
        116 => Some("there was none"),
        _ => None,
    }
}

impl From<connection::Error> for ConnError {
    fn from(error: connection::Error) -> Self {
        use connection::Error as E;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the foreign enum is non-exhaustive"
        )]
        match error {
            E::Closed { .. } => Self::Ended,
            E::Transport {
                code,
                reason,
                initiator,
                ..
            } => Self::Transport {
                code: code.as_u64(),
                by_peer: initiator.is_remote(),
                reason,
            },
            E::Application { error, initiator, .. } => {
                let code = u64::from(error);
                if initiator.is_remote() {
                    Self::Peer { code }
                } else {
                    Self::Local { code }
                }
            }
            E::StatelessReset { .. } => Self::StatelessReset,
            E::IdleTimerExpired { .. } => Self::IdleTimeout,
            E::MaxHandshakeDurationExceeded { .. } => Self::HandshakeTimeout,
            E::NoValidPath { .. } => Self::Stack {
                reason: "no usable network path",
            },
            E::StreamIdExhausted { .. } => Self::Stack {
                reason: "stream ids exhausted",
            },
            E::EndpointClosing { .. } => Self::Stack {
                reason: "endpoint closing",
            },
            E::ImmediateClose { reason, .. } | E::InvalidConfiguration { reason, .. } => {
                Self::Stack { reason }
            }
            _ => Self::Stack {
                reason: "unspecified",
            },
        }
    }
}

/// Why a stream can carry no more in the direction asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer asked us to stop sending (RFC 9000 §19.5), with this application code.
    #[error("the peer stopped the stream with code {code:#x}")]
    Stopped {
        /// The application code.
        code: u64,
    },
    /// The peer reset the stream (RFC 9000 §19.4), with this application code.
    #[error("the peer reset the stream with code {code:#x}")]
    Reset {
        /// The application code.
        code: u64,
    },
    /// We finished, reset or stopped it ourselves before.
    #[error("the stream was already ended by us")]
    Ended,
    /// The whole connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnError),
}

impl StreamError {
    /// A failed write.
    pub(super) fn sending(error: stream::Error) -> Self {
        Self::from_stack(error, |code| Self::Stopped { code })
    }

    /// A failed read.
    pub(super) fn receiving(error: stream::Error) -> Self {
        Self::from_stack(error, |code| Self::Reset { code })
    }

    fn from_stack(error: stream::Error, reset: impl FnOnce(u64) -> Self) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the foreign enum is non-exhaustive"
        )]
        match error {
            stream::Error::StreamReset { error, .. } => reset(error.into()),
            stream::Error::ConnectionError { error, .. } => Self::Connection(error.into()),
            _ => Self::Ended,
        }
    }
}
