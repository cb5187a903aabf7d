//! What a link needs of its connection, so that one can be played in tests.

use crate::transport::{
    BidiAcceptor, Conn, ConnHandle, ConnStats, DatagramReceiver, RecvGuard, SendGuard, UniAcceptor,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use laps_protocol::peering::node::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// Both halves of a bidirectional stream.
pub type Pipe = (Box<dyn Pen + Send>, Box<dyn Ear + Send>);

/// A connection to a peer, whichever side made it.
pub struct Reached<C: LinkConn> {
    /// The connection.
    pub conn: C,
    /// Bidirectional streams that the peer opens.
    pub door: Box<dyn Door + Send>,
    /// What the peer sends beside them. Nobody looks at it before the link stands.
    pub arrivals: C::Arrivals,
}

/// A connection, as its link uses it.
pub trait LinkConn: Clone + Send + Unpin + 'static {
    /// Where data comes in.
    type Arrivals: Send + Unpin + 'static;

    /// Opens a bidirectional stream; none when the connection is over.
    fn open(&self) -> LocalBoxFuture<'static, Option<Pipe>>;

    /// Waits until the peer opens a stream or sends a datagram, neither of which is looked at; false when the connection is
    /// over before that.
    fn first_arrival(arrivals: Self::Arrivals) -> LocalBoxFuture<'static, bool>;

    /// Ends the connection.
    fn close(&self, code: u64, reason: &'static str);

    /// Packets of the peer that have come so far.
    fn heard(&self) -> u64;

    /// The round trip time, while it is not known none.
    fn srtt(&self) -> Option<Duration>;

    /// The node that the peer's certificate names.
    fn named(&self) -> Option<NodeId>;

    /// Who is there, for the log.
    fn peer(&self) -> String;

    /// Why the peer has ended the connection, for the log; none while it has not.
    fn ended(&self) -> Option<String>;

    /// The code with which it has.
    fn ended_with(&self) -> Option<u64>;

    /// What the stack measures of it, for whoever looks from another thread; none where no stack does.
    fn figures(&self) -> Option<Arc<ConnStats>> {
        None
    }
}

/// What is written to a bidirectional stream.
pub trait Pen: 'static {
    /// Hands bytes over to the stack; with `flush` waits until the peer has them. False when nothing can be written any
    /// more.
    fn write(&mut self, bytes: Bytes, flush: bool) -> LocalBoxFuture<'_, bool>;

    /// Ends the stream with a code; what was not flushed may be lost.
    fn reset(&mut self, code: u64);
}

/// What is read from a bidirectional stream.
pub trait Ear: 'static {
    /// The next bytes; none at its end, and an error where it was reset or the connection ended.
    fn read(&mut self) -> LocalBoxFuture<'_, Result<Option<Bytes>, ()>>;
}

/// Bidirectional streams that the peer opens.
pub trait Door: 'static {
    /// The next one; none when the connection is over.
    fn accept(&mut self) -> LocalBoxFuture<'_, Option<Pipe>>;
}

/// The peer's unidirectional streams and datagrams.
#[derive(Debug)]
pub struct Arrivals {
    /// Its streams.
    pub uni: UniAcceptor,
    /// Its datagrams.
    pub datagrams: DatagramReceiver,
}

impl From<Conn> for Reached<ConnHandle> {
    fn from(conn: Conn) -> Self {
        let parts = conn.split();
        Self {
            conn: parts.handle,
            door: Box::new(parts.bidi),
            arrivals: Arrivals {
                uni: parts.uni,
                datagrams: parts.datagrams,
            },
        }
    }
}

impl LinkConn for ConnHandle {
    type Arrivals = Arrivals;

    fn open(&self) -> LocalBoxFuture<'static, Option<Pipe>> {
        let mut conn = self.clone();
        async move { conn.open_bidi().await.ok().map(boxed) }.boxed_local()
    }

    fn first_arrival(mut arrivals: Arrivals) -> LocalBoxFuture<'static, bool> {
        async move {
            tokio::select! {
                stream = arrivals.uni.accept() => matches!(stream, Ok(Some(_))),
                datagram = arrivals.datagrams.recv() => datagram.is_ok(),
            }
        }
        .boxed_local()
    }

    fn close(&self, code: u64, reason: &'static str) {
        Self::close(self, code, reason);
    }

    fn heard(&self) -> u64 {
        self.stats().heard()
    }

    fn srtt(&self) -> Option<Duration> {
        self.rtt()
    }

    fn named(&self) -> Option<NodeId> {
        self.peer_node()
    }

    fn peer(&self) -> String {
        self.peer_name()
    }

    fn ended(&self) -> Option<String> {
        let close = self.peer_close();
        close.map(|close| format!("{} ({})", close.reason, close.code))
    }

    fn ended_with(&self) -> Option<u64> {
        self.peer_close().map(|close| close.code)
    }

    fn figures(&self) -> Option<Arc<ConnStats>> {
        Some(Self::figures(self))
    }
}

fn boxed((send, recv): (SendGuard, RecvGuard)) -> Pipe {
    (Box::new(send), Box::new(recv))
}

impl Pen for SendGuard {
    fn write(&mut self, bytes: Bytes, flush: bool) -> LocalBoxFuture<'_, bool> {
        async move {
            if self.send(&mut [bytes]).await.is_err() {
                return false;
            }
            !flush || self.flush().await.is_ok()
        }
        .boxed_local()
    }

    fn reset(&mut self, code: u64) {
        Self::reset(self, code);
    }
}

impl Ear for RecvGuard {
    fn read(&mut self) -> LocalBoxFuture<'_, Result<Option<Bytes>, ()>> {
        async move { self.receive().await.map_err(|_| ()) }.boxed_local()
    }
}

impl Door for BidiAcceptor {
    fn accept(&mut self) -> LocalBoxFuture<'_, Option<Pipe>> {
        async move { Self::accept(self).await.ok().flatten().map(boxed) }.boxed_local()
    }
}
