//! QUIC endpoints: a server per shard, and clients.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use futures::future::poll_fn;
use rustls_pki_types::ServerName;
use s2n_quic::{
    Client, Server,
    client::Connect,
    provider::{
        congestion_controller::{Bbr, Cubic},
        io::tokio as quic_io,
        tls::rustls as quic_tls,
    },
};
use socket2::SockRef;

use super::{
    close::CloseText,
    conn::{Conn, RawConn},
    datagrams::Queues,
    error::{ConnError, ConnectError, StartError, certificate_fault},
    events::Events,
    limits::{Admission, Congestion, Door, TransportConfig},
    membership::Refusals,
    refusal::Aloud,
    socket::{self, ShardSocket},
    steering::{ResetKey, ShardIds, ShardIndex},
    tls::{ClientTls, ServerTls},
    totals::EndpointStats,
};

/// The server of one shard. It lives on the tokio runtime it was started on, as all its connections do.
#[derive(Debug)]
pub struct ServerEndpoint {
    server: Server,
    stats: Arc<EndpointStats>,
    shard: ShardIndex,
    local: SocketAddr,
    door: Door,
    refusals: Option<Refusals>,
    names_peers: bool,
    keep_alive: bool,
}

impl ServerEndpoint {
    /// Starts serving on a shard's socket; call it on the shard's own runtime. `reset_key` is the one all shards of
    /// the relay share.
    ///
    /// # Errors
    /// [`StartError`] when a setting is out of range or the socket cannot be used.
    pub fn start(
        socket: ShardSocket,
        tls: &ServerTls,
        config: &TransportConfig,
        reset_key: ResetKey,
    ) -> Result<Self, StartError> {
        let (shard, local) = (socket.shard(), socket.local_addr());
        let names_peers = tls.names_peers;
        let (events, refusals) = if names_peers {
            let (events, refusals) = Events::of_members();
            (events, Some(refusals))
        } else {
            (Events::default(), None)
        };
        let stats = events.stats();
        let admission = Admission::new(config);
        let door = admission.door();
        macro_rules! start {
            ($congestion:expr) => {
                Server::builder()
                    .with_tls(Aloud(quic_tls::Server::from(Arc::clone(&tls.config))))
                    .map_err(stack)?
                    .with_io(io(socket.into_udp(), config)?)
                    .map_err(stack)?
                    .with_connection_id(ShardIds(shard))
                    .map_err(stack)?
                    .with_stateless_reset_token(reset_key)
                    .map_err(stack)?
                    .with_limits(config.limits()?)
                    .map_err(stack)?
                    .with_endpoint_limits(admission)
                    .map_err(stack)?
                    .with_datagram(queues(config))
                    .map_err(stack)?
                    .with_event(events)
                    .map_err(stack)?
                    .with_connection_close_formatter(CloseText)
                    .map_err(stack)?
                    .with_congestion_controller($congestion)
                    .map_err(stack)?
                    .start()
                    .map_err(stack)?
            };
        }
        let server = match config.congestion {
            Congestion::Bbr => start!(Bbr::default()),
            Congestion::Cubic => start!(Cubic::default()),
        };
        Ok(Self {
            server,
            stats,
            shard,
            local,
            door,
            refusals,
            names_peers,
            keep_alive: config.keep_alive.is_some(),
        })
    }

    /// The next connection whose handshake is done; none when the endpoint has ended. Connections that end between
    /// their handshake and this call are skipped.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Conn>> {
        loop {
            let Some(connection) = ready!(self.server.poll_accept(cx)) else {
                return Poll::Ready(None);
            };
            if let Ok(raw) = RawConn::adopt(connection, self.keep_alive, self.names_peers) {
                return Poll::Ready(Some(Conn::Raw(raw)));
            }
        }
    }

    /// [`poll_accept`](Self::poll_accept) as a future.
    pub async fn accept(&mut self) -> Option<Conn> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Turns newcomers away (CONNECTION_REFUSED), or lets them in again; connections that exist go on. Handshakes that
    /// have begun may still arrive in [`poll_accept`](Self::poll_accept).
    pub fn refuse_newcomers(&self, refuse: bool) {
        self.door().refuse(refuse);
    }

    /// What turns newcomers away once the endpoint has been given to whoever polls it.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Who was turned away for the certificate it showed, or for showing none; for whoever logs it. None when clients need
    /// none, and when they were taken before.
    pub const fn take_refusals(&mut self) -> Option<Refusals> {
        self.refusals.take()
    }

    /// Waits until every connection of this endpoint has told its peer that it ended and is gone, which takes a few
    /// round trips after their close. Call it before the runtime stops, under a deadline, or the last close frames are
    /// lost.
    pub async fn wait_idle(&self) {
        poll_fn(|cx| self.stats.poll_idle(cx)).await;
    }

    /// The address it serves.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Its place among the shards of the port.
    #[must_use]
    pub const fn shard(&self) -> ShardIndex {
        self.shard
    }

    /// Live figures of the endpoint.
    #[must_use]
    pub const fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }
}

impl futures::Stream for ServerEndpoint {
    type Item = Conn;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Conn>> {
        self.poll_accept(cx)
    }
}

/// A client endpoint; one makes any number of connections from one socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientEndpoint {
    client: Arc<Handle>,
    stats: Arc<EndpointStats>,
    offered: Arc<str>,
    names_peers: bool,
    keep_alive: bool,
}

impl ClientEndpoint {
    /// Starts a client on a fresh port of the wildcard address, of the family that reaches `remote`.
    ///
    /// # Errors
    /// [`StartError`] when a setting is out of range or no socket can be had.
    pub fn for_remote(
        remote: SocketAddr,
        tls: &ClientTls,
        config: &TransportConfig,
    ) -> Result<Self, StartError> {
        let local = match remote {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        Self::bind(local, tls, config)
    }

    /// Starts a client on `local`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when a setting is out of range or the socket cannot be had.
    pub fn bind(local: SocketAddr, tls: &ClientTls, config: &TransportConfig) -> Result<Self, StartError> {
        let socket = UdpSocket::bind(local)?;
        let kernel = socket.try_clone()?;
        let names_peers = tls.names_peers;
        // A client is told of whom it refused by `connect`.
        let events = if names_peers {
            Events::of_members().0
        } else {
            Events::default()
        };
        let stats = events.stats();
        macro_rules! start {
            ($congestion:expr) => {
                Client::builder()
                    .with_tls(Aloud(quic_tls::Client::from(Arc::clone(&tls.config))))
                    .map_err(stack)?
                    .with_io(io(socket, config)?)
                    .map_err(stack)?
                    .with_connection_id(ShardIds(ShardIndex::SOLE))
                    .map_err(stack)?
                    .with_limits(config.limits()?)
                    .map_err(stack)?
                    .with_datagram(queues(config))
                    .map_err(stack)?
                    .with_event(events)
                    .map_err(stack)?
                    .with_connection_close_formatter(CloseText)
                    .map_err(stack)?
                    .with_congestion_controller($congestion)
                    .map_err(stack)?
                    .start()
                    .map_err(stack)?
            };
        }
        let client = match config.congestion {
            Congestion::Bbr => start!(Bbr::default()),
            Congestion::Cubic => start!(Cubic::default()),
        };
        socket::follow_address(&kernel)?;
        Ok(Self {
            client: Arc::new(Handle(client)),
            stats,
            offered: tls.offered().into(),
            names_peers,
            keep_alive: config.keep_alive.is_some(),
        })
    }

    /// Connects to `addr`, which must present a certificate for `server_name` (a host name or an IP address) unless
    /// the TLS settings say otherwise.
    ///
    /// # Errors
    /// [`ConnectError`] names who did not answer, refused, is not trusted, or speaks no common protocol.
    pub async fn connect(&self, addr: SocketAddr, server_name: &str) -> Result<Conn, ConnectError> {
        // The stack takes the name unchecked and panics in the endpoint's task when TLS cannot use it.
        if ServerName::try_from(server_name).is_err() {
            return Err(ConnectError::ServerName {
                name: server_name.to_owned(),
            });
        }
        let failed = |error: ConnError| self.explain(error, addr, server_name);
        let attempt = self
            .client
            .0
            .connect(Connect::new(addr).with_server_name(server_name));
        let connection = attempt.await.map_err(|error| failed(error.into()))?;
        let raw = RawConn::adopt(connection, self.keep_alive, self.names_peers).map_err(failed)?;
        Ok(Conn::Raw(raw))
    }

    /// The address it sends from.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.client.0.local_addr()
    }

    /// Live figures of the endpoint.
    #[must_use]
    pub const fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }

    /// Waits until every connection of this endpoint has told its peer that it ended. Call it before the runtime
    /// stops, or the last close frames are lost.
    pub async fn wait_idle(&self) {
        // It fails only when the endpoint is gone, and then nothing is left to wait for.
        self.client.0.clone().wait_idle().await.ok();
    }

    fn explain(&self, error: ConnError, addr: SocketAddr, name: &str) -> ConnectError {
        let closed = ConnectError::Closed { addr, reason: error };
        let (code, by_peer) = match error {
            ConnError::HandshakeTimeout | ConnError::IdleTimeout => return ConnectError::Timeout { addr },
            ConnError::Transport { code, by_peer, .. } => (code, by_peer),
            ConnError::Local { .. }
            | ConnError::Peer { .. }
            | ConnError::Ended
            | ConnError::StatelessReset
            | ConnError::Stack { .. } => return closed,
        };
        match (code, by_peer) {
            (CONNECTION_REFUSED, true) => ConnectError::Refused { addr },
            (NO_APPLICATION_PROTOCOL, _) => ConnectError::NoCommonProtocol {
                addr,
                offered: self.offered.to_string(),
            },
            (_, true) => closed,
            (_, false) => match certificate_fault(code) {
                Some(_) if self.names_peers && code == BAD_CERTIFICATE => ConnectError::Untrusted {
                    addr,
                    name: name.to_owned(),
                    reason: "it names no node of a mesh".to_owned(),
                },
                Some(fault) => ConnectError::Untrusted {
                    addr,
                    name: name.to_owned(),
                    reason: fault.to_owned(),
                },
                None => closed,
            },
        }
    }
}

/// The stack's client, which ends with its socket when this is dropped and its last connection is gone.
#[derive(Debug)]
struct Handle(Client);

impl Drop for Handle {
    fn drop(&mut self) {
        // The drop of the client wakes the endpoint's task. Without a connection left, the task notes that nobody will
        // ask for one any more, and sleeps on for good, unless it was asked to close: polled once, this is the question.
        let asked = pin!(self.0.wait_idle());
        let _closed: bool = asked.poll(&mut Context::from_waker(Waker::noop())).is_ready();
    }
}

/// RFC 9000 §20.1.
const CONNECTION_REFUSED: u64 = 0x2;

/// RFC 9001 §8.1: a handshake without a common ALPN token ends with this code (TLS alert 120).
pub(super) const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// RFC 9001 §4.8: the certificate is not fit, such as for its name (TLS alert 42).
const BAD_CERTIFICATE: u64 = 0x100 + 42;

fn queues(config: &TransportConfig) -> Queues {
    Queues {
        recv_capacity: config.datagram_recv_queue.max(1),
        send_capacity: config.datagram_send_queue.max(1),
        max_frame: config.datagram_frame,
    }
}

fn io(socket: UdpSocket, config: &TransportConfig) -> Result<quic_io::Provider, StartError> {
    // The system caps what it grants; less than asked for only costs packets in bursts.
    let kernel = SockRef::from(&socket);
    kernel.set_recv_buffer_size(config.kernel_buffer).ok();
    kernel.set_send_buffer_size(config.kernel_buffer).ok();
    let io = quic_io::Provider::builder()
        .with_rx_socket(socket)?
        .with_internal_recv_buffer_size(config.recv_ring)?
        .with_gro(config.gro)?;
    Ok(io.build()?)
}

fn stack(error: impl std::fmt::Display) -> StartError {
    StartError::Stack(error.to_string())
}
