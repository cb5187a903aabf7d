//! A connection as sessions see it: a handle to open, send and close with, and one acceptor per kind of arrival.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::poll_fn;
use laps_protocol::{
    moqt::message::{GroupOrder, RequestId},
    peering::node::NodeId,
    relay::scheduler::{DEFAULT_PRIORITY, Place, SendOrder},
};
use s2n_quic::{
    connection::{Connection, Handle},
    stream::BidirectionalStream,
};

use super::{
    acceptors::{BidiAcceptor, UniAcceptor},
    close::PeerClose,
    conn_stats::ConnStats,
    datagrams::{DatagramCounts, DatagramError, Incoming, Outgoing},
    error::ConnError,
    events,
    streams::{RecvGuard, SendGuard, wire_code},
    unsent::{StreamKind, StreamTx},
};

/// An established connection, whatever carries the streams.
#[derive(Debug)]
#[non_exhaustive]
pub enum Conn {
    /// MOQT directly over QUIC.
    Raw(RawConn),
}

impl Conn {
    /// A handle to this connection; it may outlive it.
    #[must_use]
    pub fn handle(&self) -> ConnHandle {
        match self {
            Self::Raw(raw) => raw.handle.clone(),
        }
    }

    /// Takes the connection apart. It lives as long as any of the parts or streams does, then ends without an error.
    #[must_use]
    pub fn split(self) -> ConnParts {
        match self {
            Self::Raw(RawConn { handle, connection }) => {
                let (_, streams) = connection.split();
                let (bidi, uni) = streams.split();
                let datagrams = DatagramReceiver {
                    handle: handle.quic.clone(),
                };
                let bidi = BidiAcceptor {
                    streams: bidi,
                    stats: handle.figures(),
                };
                let uni = UniAcceptor {
                    streams: uni,
                    stats: handle.figures(),
                };
                ConnParts {
                    handle,
                    uni,
                    bidi,
                    datagrams,
                }
            }
        }
    }
}

/// The parts of a [`Conn`].
#[derive(Debug)]
pub struct ConnParts {
    /// Opens, sends and closes.
    pub handle: ConnHandle,
    /// The peer's unidirectional streams.
    pub uni: UniAcceptor,
    /// The peer's bidirectional streams.
    pub bidi: BidiAcceptor,
    /// The peer's datagrams.
    pub datagrams: DatagramReceiver,
}

/// A raw QUIC connection.
#[derive(Debug)]
pub struct RawConn {
    handle: ConnHandle,
    connection: Connection,
}

impl RawConn {
    /// Adopts a connection whose handshake is done; none when it ended meanwhile, or when its peer has to be named by a
    /// certificate and is not.
    pub(super) fn adopt(
        mut connection: Connection,
        keep_alive: bool,
        names_peers: bool,
    ) -> Result<Self, ConnError> {
        if keep_alive {
            connection.keep_alive(true)?;
        }
        let quic = connection.handle();
        let lost = |_| ConnError::Stack {
            reason: "connection state is gone",
        };
        let stats = quic
            .query_event_context(|context: &events::Tally| Arc::clone(&context.stats))
            .map_err(lost)?;
        // TLS has seen to it; whoever comes to doubt that finds no connection to a nameless peer.
        if names_peers && stats.peer_node().is_none() {
            return Err(ConnError::Stack {
                reason: "the peer has no name",
            });
        }
        let (peer_limit, datagrams) = quic
            .datagram_mut(|out: &mut Outgoing| (out.peer_limit(), out.counts()))
            .map_err(lost)?;
        let facts = Facts {
            id: quic.id(),
            alpn: quic.application_protocol()?,
            server_name: quic.server_name()?.map(|name| name.to_string()),
            peer_datagram_limit: usize::try_from(peer_limit).unwrap_or(usize::MAX),
            stats,
            datagrams,
        };
        Ok(Self {
            handle: ConnHandle {
                quic,
                facts: Arc::new(facts),
            },
            connection,
        })
    }
}

/// What stays the same for the life of a connection.
#[derive(Debug)]
struct Facts {
    id: u64,
    alpn: Bytes,
    server_name: Option<String>,
    peer_datagram_limit: usize,
    stats: Arc<ConnStats>,
    datagrams: Arc<DatagramCounts>,
}

/// Opens streams, sends datagrams and closes. Each clone waits for stream credit on its own.
#[derive(Clone, Debug)]
pub struct ConnHandle {
    quic: Handle,
    facts: Arc<Facts>,
}

impl ConnHandle {
    /// Opens a unidirectional stream, waiting while the peer grants none.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn poll_open_uni(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendGuard, ConnError>> {
        let stream = ready!(self.quic.poll_open_send_stream(cx))?;
        self.facts.stats.traffic().opened_stream();
        let tx = begin(&mut self.quic, &self.facts.stats, stream.id(), StreamKind::Uni);
        Poll::Ready(Ok(SendGuard::new(stream, tx)))
    }

    /// [`poll_open_uni`](Self::poll_open_uni) as a future.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn open_uni(&mut self) -> Result<SendGuard, ConnError> {
        poll_fn(|cx| self.poll_open_uni(cx)).await
    }

    /// Opens a bidirectional stream, waiting while the peer grants none.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn poll_open_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(SendGuard, RecvGuard), ConnError>> {
        let stream = ready!(self.quic.poll_open_bidirectional_stream(cx))?;
        Poll::Ready(Ok(guard_both(stream, &self.facts.stats, StreamKind::BidiOurs)))
    }

    /// [`poll_open_bidi`](Self::poll_open_bidi) as a future.
    ///
    /// # Errors
    /// The end of the connection.
    pub async fn open_bidi(&mut self) -> Result<(SendGuard, RecvGuard), ConnError> {
        poll_fn(|cx| self.poll_open_bidi(cx)).await
    }

    /// Largest datagram that may be sent now (bytes): the path's limit or the peer's, whichever is less. Zero when the
    /// peer takes none. It grows in the first round trips, as the stack probes the path.
    #[must_use]
    pub fn max_datagram(&self) -> usize {
        self.facts
            .stats
            .max_datagram()
            .min(self.facts.peer_datagram_limit)
    }

    /// [`send_datagram_in`](Self::send_datagram_in) an order in which all are alike: what comes first leaves first.
    ///
    /// # Errors
    /// As there.
    pub fn send_datagram(&self, payload: Bytes) -> Result<(), DatagramError> {
        let alike = SendOrder {
            subscriber: DEFAULT_PRIORITY,
            publisher: DEFAULT_PRIORITY,
            request: RequestId(0),
            place: Place::new(GroupOrder::Ascending, 0, 0),
        };
        self.send_datagram_in(alike, payload)
    }

    /// Queues a datagram, at its place among those that wait. It is never sent again when it is lost. A full queue gives
    /// up the last in the order.
    ///
    /// # Errors
    /// [`DatagramError::TooLarge`], [`DatagramError::Unsupported`], [`DatagramError::Full`] or the end of the
    /// connection.
    pub fn send_datagram_in(&self, order: SendOrder, payload: Bytes) -> Result<(), DatagramError> {
        self.send_datagram_until(None, order, payload)
    }

    /// The same for one that is not worth to be sent from `until` on: then it is dropped, and counted.
    ///
    /// # Errors
    /// As there.
    pub fn send_datagram_until(
        &self,
        until: Option<Instant>,
        order: SendOrder,
        payload: Bytes,
    ) -> Result<(), DatagramError> {
        if self.facts.peer_datagram_limit == 0 {
            return Err(DatagramError::Unsupported);
        }
        let (size, max) = (payload.len(), self.max_datagram());
        if size > max {
            return Err(DatagramError::TooLarge { size, max });
        }
        self.quic
            .datagram_mut(|out: &mut Outgoing| out.push(order, payload, until))
            .unwrap_or(Err(DatagramError::Connection(ConnError::Ended)))
    }

    /// Datagrams lost on this side.
    #[must_use]
    pub fn datagram_counts(&self) -> &DatagramCounts {
        &self.facts.datagrams
    }

    /// Ends the connection and all its streams at once, telling the peer `code` and `reason`. The reason travels when
    /// this is called on the thread of the endpoint; it is at most about 1000 bytes of text. Later calls do nothing.
    pub fn close(&self, code: u64, reason: &'static str) {
        if self.facts.stats.is_closed() {
            return;
        }
        if let Ok(remote) = self.quic.remote_addr() {
            remember_reason(canonical(remote), code, reason);
        }
        self.quic.close(wire_code(code));
    }

    /// Where the peer is now; it may move.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn remote_addr(&self) -> Result<SocketAddr, ConnError> {
        Ok(canonical(self.quic.remote_addr()?))
    }

    /// The peer's address without its port, as tests name it.
    pub(crate) fn peer_name(&self) -> String {
        let addr = self.remote_addr();
        addr.map_or_else(|_| "gone".to_owned(), |addr| addr.ip().to_string())
    }

    /// Our own address, as the peer reaches it.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn local_addr(&self) -> Result<SocketAddr, ConnError> {
        Ok(canonical(self.quic.local_addr()?))
    }

    /// A number that names this connection within its endpoint, for logs.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.facts.id
    }

    /// The ALPN token the two ends agreed on.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        &self.facts.alpn
    }

    /// The server name the client asked for, if it named one.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.facts.server_name.as_deref()
    }

    /// The node that the peer's certificate names, which the mesh's CA has signed; none on endpoints whose TLS is not
    /// [`PeerTls::mutual`](super::PeerTls::mutual), and always some on those.
    #[must_use]
    pub fn peer_node(&self) -> Option<NodeId> {
        self.facts.stats.peer_node()
    }

    /// Live figures of the path.
    #[must_use]
    pub fn stats(&self) -> &ConnStats {
        &self.facts.stats
    }

    /// The same, for whoever looks at them later, or from another thread.
    #[must_use]
    pub fn figures(&self) -> Arc<ConnStats> {
        Arc::clone(&self.facts.stats)
    }

    /// Smoothed round trip, or none before the first measurement.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.facts.stats.rtt()
    }

    /// What the peer said when it closed the connection.
    #[must_use]
    pub fn peer_close(&self) -> Option<&PeerClose> {
        self.facts.stats.peer_close()
    }
}

/// The peer's datagrams. Also a `Stream`, for an actor's context.
#[derive(Debug)]
pub struct DatagramReceiver {
    handle: Handle,
}

impl DatagramReceiver {
    /// The next datagram. One task at a time may wait.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ConnError>> {
        self.handle
            .datagram_mut(|queue: &mut Incoming| queue.poll_recv(cx))
            .unwrap_or(Poll::Ready(Err(ConnError::Ended)))
    }

    /// [`poll_recv`](Self::poll_recv) as a future.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn recv(&mut self) -> Result<Bytes, ConnError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }
}

macro_rules! stream_of {
    ($acceptor:ty => $item:ty) => {
        impl futures::Stream for $acceptor {
            type Item = Result<$item, ConnError>;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Self::Item>> {
                self.poll_accept(cx).map(Result::transpose)
            }
        }
    };
}

stream_of!(UniAcceptor => RecvGuard);
stream_of!(BidiAcceptor => (SendGuard, RecvGuard));

impl futures::Stream for DatagramReceiver {
    type Item = Result<Bytes, ConnError>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Some)
    }
}

pub(super) fn guard_both(
    stream: BidirectionalStream,
    stats: &Arc<ConnStats>,
    kind: StreamKind,
) -> (SendGuard, RecvGuard) {
    let tx = begin(&mut stream.connection(), stats, stream.id(), kind);
    let (recv, send) = stream.split();
    (SendGuard::new(send, tx), RecvGuard::new(recv))
}

/// From here on the endpoint's callbacks tell what becomes of the stream's bytes.
fn begin(quic: &mut Handle, stats: &Arc<ConnStats>, id: u64, kind: StreamKind) -> Arc<StreamTx> {
    quic.query_event_context_mut(|context: &mut events::Tally| context.streams.begin(id, kind))
        // The connection has ended, and what is written goes nowhere.
        .unwrap_or_else(|_| StreamTx::of_none(Arc::clone(stats)))
}

/// A dual-stack socket reports IPv4 peers as mapped IPv6 addresses; nobody outside wants to see those.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Close reasons on their way from [`ConnHandle::close`] to the frame, which the endpoint's task writes a moment later
/// on the same thread, knowing no more of the connection than this key.
type Reasons = HashMap<(SocketAddr, u64), &'static str>;

/// Reasons that may wait at once. Each is taken by the next run of the endpoint's task; a connection that died in
/// between leaves its reason behind, and those are thrown away when this many have gathered.
const MAX_REASONS: usize = 4096;

thread_local! {
    static REASONS: RefCell<Reasons> = RefCell::default();
}

fn remember_reason(remote: SocketAddr, code: u64, reason: &'static str) {
    // Sessions close their connection as they are dropped, while a panic unwinds or the thread ends: a close without
    // words is better than the end of the process.
    let kept = REASONS.try_with(|reasons| {
        let mut reasons = reasons.try_borrow_mut().ok()?;
        if reasons.len() >= MAX_REASONS {
            reasons.clear();
        }
        reasons.insert((remote, code), reason)
    });
    // The reason that it had before, if any, is of no use.
    kept.ok().flatten();
}

/// Takes the reason that was given for closing a connection to `remote` with `code`.
pub(super) fn take_reason(remote: SocketAddr, code: u64) -> Option<&'static str> {
    let taken = REASONS.try_with(|reasons| {
        let mut reasons = reasons.try_borrow_mut().ok()?;
        reasons.remove(&(canonical(remote), code))
    });
    taken.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn a_reason_is_kept_once() {
        remember_reason(REMOTE, 1, "because");
        assert_eq!(take_reason(REMOTE, 1), Some("because"));
        assert_eq!(take_reason(REMOTE, 1), None);
    }

    /// Sessions close their connection as they are dropped: a table that is in use, or is gone with its thread, is no
    /// reason for a second panic.
    #[test]
    fn a_close_needs_no_table() {
        struct Late;
        impl Drop for Late {
            fn drop(&mut self) {
                remember_reason(REMOTE, 1, "late");
                assert_eq!(take_reason(REMOTE, 1), None);
            }
        }
        thread_local! {
            static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
        }
        REASONS.with_borrow(|_| remember_reason(REMOTE, 1, "inside"));
        assert_eq!(take_reason(REMOTE, 1), None);
        // What is made first goes last.
        let ended = std::thread::spawn(|| {
            LATE.set(Some(Late));
            remember_reason(REMOTE, 2, "early");
        });
        ended.join().unwrap();
    }
}
