//! Streams that cannot lie about their end.
//!
//! The stack finishes a send stream when it is dropped, also while a panic unwinds: the peer would take a truncated
//! object for a whole one. The guards here turn a drop into what it means, a reset.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::future::poll_fn;
use s2n_quic::{
    application,
    stream::{ReceiveStream, SendStream},
};

use super::{error::StreamError, unsent::StreamTx};
use crate::census::{Counted, Thing};

/// Code of a reset or stop that nobody chose: the guard was dropped, as by a panic.
// MOQT-14 §10.4.3: INTERNAL_ERROR of the data stream reset codes.
pub const ABANDONED: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    Open,
    Finished,
    Reset,
}

/// The sending half of a stream. Dropped before [`finish`](Self::finish) it resets the stream.
#[derive(Debug)]
pub struct SendGuard {
    stream: SendStream,
    tx: Arc<StreamTx>,
    state: SendState,
    abandon_code: u64,
    _counted: Counted,
}

impl SendGuard {
    pub(super) fn new(stream: SendStream, tx: Arc<StreamTx>) -> Self {
        Self {
            stream,
            tx,
            state: SendState::Open,
            abandon_code: ABANDONED,
            _counted: Counted::new(Thing::SendStreams),
        }
    }

    /// The QUIC stream id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.stream.id()
    }

    /// Chooses the code that a drop resets with, instead of [`ABANDONED`].
    pub const fn set_abandon_code(&mut self, code: u64) {
        self.abandon_code = code;
    }

    /// Waits until the stream takes bytes; the value is how many its send buffer has room for, at least one.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] when the peer wants no more, [`StreamError::Ended`] after our own end, or the end of
    /// the connection.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, StreamError>> {
        self.still_open()?;
        self.stream.poll_send_ready(cx).map_err(StreamError::sending)
    }

    /// Hands over whole chunks without copying, as many as the send buffer takes; each taken chunk is left empty.
    /// The value is how many leading chunks are done. A chunk is taken whole as soon as one byte of room is left, so
    /// the buffer may be exceeded by one chunk.
    ///
    /// # Errors
    /// As [`poll_ready`](Self::poll_ready).
    pub fn poll_send_vectored(
        &mut self,
        chunks: &mut [Bytes],
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, StreamError>> {
        self.still_open()?;
        if chunks.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // Taken chunks are left empty.
        let before = size(chunks);
        let polled = self.stream.poll_send_vectored(chunks, cx);
        self.tx.wrote(before - size(chunks));
        polled.map_err(StreamError::sending)
    }

    /// Waits until the peer's window for this stream takes bytes beyond those handed over; the value is how many.
    /// What is handed over beyond them waits in the stack.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] when the peer wants no more, [`StreamError::Ended`] after our own end.
    pub fn poll_window(&self, cx: &Context<'_>) -> Poll<Result<u64, StreamError>> {
        self.still_open()?;
        if let Poll::Ready(code) = self.tx.poll_stopped(cx) {
            return Poll::Ready(Err(StreamError::Stopped { code }));
        }
        self.tx.poll_window(cx).map(Ok)
    }

    /// Waits until the peer stops the stream; the value is its code. For who has nothing to write and would not notice.
    /// It wakes the task that asked last, here or in [`poll_window`](Self::poll_window).
    pub fn poll_stopped(&self, cx: &Context<'_>) -> Poll<u64> {
        self.tx.poll_stopped(cx)
    }

    /// Sends all chunks, waiting as the peer's flow control demands. Cancel-safe: what was taken is empty.
    ///
    /// # Errors
    /// As [`poll_ready`](Self::poll_ready).
    pub async fn send(&mut self, chunks: &mut [Bytes]) -> Result<(), StreamError> {
        let mut rest = chunks;
        while !rest.is_empty() {
            let done = poll_fn(|cx| self.poll_send_vectored(rest, cx)).await?;
            rest = rest.get_mut(done..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until the peer has everything handed over so far; the stream stays open.
    ///
    /// # Errors
    /// As [`poll_ready`](Self::poll_ready).
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// [`flush`](Self::flush) for who polls.
    ///
    /// # Errors
    /// As [`poll_ready`](Self::poll_ready).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.still_open()?;
        self.stream.poll_flush(cx).map_err(StreamError::sending)
    }

    /// Ends the stream after everything handed over; the stack delivers the rest on its own, the guard may be dropped.
    ///
    /// # Errors
    /// As [`poll_ready`](Self::poll_ready); the stream is then reset, not finished.
    pub fn finish(&mut self) -> Result<(), StreamError> {
        self.still_open()?;
        self.stream.finish().map_err(StreamError::sending)?;
        self.state = SendState::Finished;
        Ok(())
    }

    /// Breaks the stream off with an application code; bytes not yet delivered may be lost, the header of the stream
    /// among them: the stack has no RESET_STREAM_AT that could keep it (MOQT-14 §3.1 [D14-SETUP-2], §10.4.3
    /// [D14-CLOSE-6]), and a peer that counts streams waits for it within a bound. After
    /// [`finish`](Self::finish) it takes the end back unless the peer already has everything.
    pub fn reset(&mut self, code: u64) {
        self.state = SendState::Reset;
        self.tx.give_up();
        // A stream that is already gone needs no reset.
        self.stream.reset(wire_code(code)).ok();
    }

    /// Waits, after [`finish`](Self::finish), until the peer has everything. Before that it finishes the stream.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] when the peer stopped the stream instead, [`StreamError::Ended`] after a
    /// [`reset`](Self::reset), or the end of the connection.
    pub fn poll_delivered(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.state == SendState::Reset {
            return Poll::Ready(Err(StreamError::Ended));
        }
        self.state = SendState::Finished;
        self.stream.poll_close(cx).map_err(StreamError::sending)
    }

    /// [`poll_delivered`](Self::poll_delivered) as a future.
    ///
    /// # Errors
    /// As [`poll_delivered`](Self::poll_delivered).
    pub async fn delivered(&mut self) -> Result<(), StreamError> {
        poll_fn(|cx| self.poll_delivered(cx)).await
    }

    fn still_open(&self) -> Result<(), StreamError> {
        if self.state == SendState::Open {
            Ok(())
        } else {
            Err(StreamError::Ended)
        }
    }
}

impl Drop for SendGuard {
    fn drop(&mut self) {
        // MOQT-14 §10.4.3 [D14-CLOSE-1]: a FIN says that every object of the subgroup was delivered.
        if self.state == SendState::Open {
            self.reset(self.abandon_code);
        }
    }
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many leading chunks were filled.
    pub chunks: usize,
    /// Whether these were the last ones: the peer finished the stream.
    pub fin: bool,
}

/// The receiving half of a stream. Dropped before its end it asks the peer to stop sending.
#[derive(Debug)]
pub struct RecvGuard {
    stream: ReceiveStream,
    ended: bool,
    abandon_code: u64,
    _counted: Counted,
}

impl RecvGuard {
    pub(super) fn new(stream: ReceiveStream) -> Self {
        Self {
            stream,
            ended: false,
            abandon_code: ABANDONED,
            _counted: Counted::new(Thing::RecvStreams),
        }
    }

    /// The QUIC stream id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.stream.id()
    }

    /// Chooses the code that a drop stops with, instead of [`ABANDONED`].
    pub const fn set_abandon_code(&mut self, code: u64) {
        self.abandon_code = code;
    }

    /// Takes what has arrived in order, up to one `Bytes` per place in `chunks`. The places must be empty. After the
    /// end it keeps saying `fin` with no chunks.
    ///
    /// # Errors
    /// [`StreamError::Reset`] with the peer's code, [`StreamError::Ended`] after [`stop`](Self::stop) or when a place
    /// was not empty, or the end of the connection.
    pub fn poll_receive_vectored(
        &mut self,
        chunks: &mut [Bytes],
        cx: &mut Context<'_>,
    ) -> Poll<Result<Received, StreamError>> {
        if self.ended {
            return Poll::Ready(Ok(Received { chunks: 0, fin: true }));
        }
        match ready!(self.stream.poll_receive_vectored(chunks, cx)) {
            Ok((chunks, open)) => {
                self.ended = !open;
                Poll::Ready(Ok(Received { chunks, fin: !open }))
            }
            Err(error) => Poll::Ready(Err(StreamError::receiving(error))),
        }
    }

    /// [`poll_receive_vectored`](Self::poll_receive_vectored) as a future. Cancel-safe.
    ///
    /// # Errors
    /// As [`poll_receive_vectored`](Self::poll_receive_vectored).
    pub async fn receive_vectored(&mut self, chunks: &mut [Bytes]) -> Result<Received, StreamError> {
        poll_fn(|cx| self.poll_receive_vectored(chunks, cx)).await
    }

    /// The next bytes, or none at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// As [`poll_receive_vectored`](Self::poll_receive_vectored).
    pub async fn receive(&mut self) -> Result<Option<Bytes>, StreamError> {
        let mut chunk = Bytes::new();
        loop {
            let got = self.receive_vectored(std::slice::from_mut(&mut chunk)).await?;
            if got.chunks > 0 {
                return Ok(Some(chunk));
            }
            if got.fin {
                return Ok(None);
            }
        }
    }

    /// Asks the peer to stop sending, with an application code, and reads no more.
    pub fn stop(&mut self, code: u64) {
        self.ended = true;
        // A stream that has already ended needs no stop.
        self.stream.stop_sending(wire_code(code)).ok();
    }
}

impl Drop for RecvGuard {
    fn drop(&mut self) {
        if !self.ended {
            self.stop(self.abandon_code);
        }
    }
}

/// Bytes in all chunks.
fn size(chunks: &[Bytes]) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

/// A code as QUIC carries it; what does not fit 62 bits becomes [`ABANDONED`].
pub(super) fn wire_code(code: u64) -> application::Error {
    application::Error::new(code).unwrap_or(application::Error::UNKNOWN)
}
