//! Streams that the peer opens.

use super::conn::guard_both;
use super::conn_stats::ConnStats;
use super::error::ConnError;
use super::streams::{RecvGuard, SendGuard};
use super::unsent::StreamKind;
use futures::future::poll_fn;
use s2n_quic::connection::{BidirectionalStreamAcceptor, ReceiveStreamAcceptor};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The peer's unidirectional streams, in the order of their arrival. Also a `Stream`, for an actor's context.
#[derive(Debug)]
pub struct UniAcceptor {
    pub(super) streams: ReceiveStreamAcceptor,
    pub(super) stats: Arc<ConnStats>,
}

impl UniAcceptor {
    /// The next stream; none when the connection ended without an error or fell silent.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RecvGuard>, ConnError>> {
        let stream = ready!(self.streams.poll_accept_receive_stream(cx))?;
        let guard = |stream| {
            self.stats.traffic().took_stream();
            RecvGuard::new(stream)
        };
        Poll::Ready(Ok(stream.map(guard)))
    }

    /// [`poll_accept`](Self::poll_accept) as a future.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn accept(&mut self) -> Result<Option<RecvGuard>, ConnError> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }
}

/// The peer's bidirectional streams, in the order of their arrival. Also a `Stream`, for an actor's context.
#[derive(Debug)]
pub struct BidiAcceptor {
    pub(super) streams: BidirectionalStreamAcceptor,
    pub(super) stats: Arc<ConnStats>,
}

impl BidiAcceptor {
    /// The next stream; none when the connection ended without an error or fell silent.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(SendGuard, RecvGuard)>, ConnError>> {
        let stream = ready!(self.streams.poll_accept_bidirectional_stream(cx))?;
        let guard = |stream| guard_both(stream, &self.stats, StreamKind::BidiTheirs);
        Poll::Ready(Ok(stream.map(guard)))
    }

    /// [`poll_accept`](Self::poll_accept) as a future.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn accept(&mut self) -> Result<Option<(SendGuard, RecvGuard)>, ConnError> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }
}
