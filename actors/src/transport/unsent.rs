//! What we have written of each stream, what has left, and what the peer has room for.
//!
//! The stack takes bytes as long as its buffer has room, whether or not the peer does. Bytes that it may not send
//! yet are of no use there: they keep others from being chosen, and a stream that is reset while the peer's window
//! holds back a part of it ends with a size beyond that window (RFC 9000 §4.5). So writers ask here first.
//!
//! The endpoint's callbacks write these figures; they store numbers, wake a task, and do nothing else.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use laps_protocol::wire::varint;

use super::conn_stats::ConnStats;

/// What the peer's transport parameters allow on each new stream (bytes). RFC 9000 §18.2.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstWindows {
    /// On our unidirectional streams.
    pub(super) uni: u64,
    /// On bidirectional streams that we open.
    pub(super) bidi_ours: u64,
    /// On bidirectional streams that the peer opens.
    pub(super) bidi_theirs: u64,
}

/// Who opened a stream, and whether it goes both ways: its first window depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Uni,
    BidiOurs,
    BidiTheirs,
}

/// The sending half of one stream, in numbers.
#[derive(Debug)]
pub(super) struct StreamTx {
    conn: Arc<ConnStats>,
    /// Bytes that the peer's window takes in all.
    window: AtomicU64,
    /// Bytes handed to the stack.
    written: AtomicU64,
    /// Bytes that left at least once.
    sent: AtomicU64,
    /// What this stream adds to [`ConnStats::unsent`].
    counted: AtomicU64,
    /// The peer's STOP_SENDING code, [`NONE`] before one.
    stopped: AtomicU64,
    /// Told when the window grows or the peer stops the stream.
    waker: AtomicWaker,
}

/// No code: those of the wire have 62 bits.
const NONE: u64 = u64::MAX;

impl StreamTx {
    fn new(conn: Arc<ConnStats>, window: u64) -> Self {
        Self {
            conn,
            window: AtomicU64::new(window),
            written: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            stopped: AtomicU64::new(NONE),
            waker: AtomicWaker::new(),
        }
    }

    /// A stream whose connection is gone already: nothing holds it back.
    pub(super) fn of_none(conn: Arc<ConnStats>) -> Arc<Self> {
        Arc::new(Self::new(conn, u64::MAX))
    }

    /// The stack has taken these bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        if bytes > 0 {
            self.written.fetch_add(bytes, AcqRel);
            self.recount();
        }
    }

    /// Nothing of it that is unsent will be sent.
    pub(super) fn give_up(&self) {
        self.written.store(0, Release);
        self.recount();
        self.conn.wake_for_room();
    }

    /// Waits until the peer's window takes bytes beyond those written; the value is how many.
    pub(super) fn poll_window(&self, cx: &Context<'_>) -> Poll<u64> {
        self.waker.register(cx.waker());
        match self.left() {
            0 => Poll::Pending,
            left => Poll::Ready(left),
        }
    }

    /// Waits until the peer stops the stream; the value is its code. It wakes the task that asked last, here or in
    /// [`poll_window`](Self::poll_window).
    pub(super) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<u64> {
        self.waker.register(cx.waker());
        match self.stopped.load(Acquire) {
            NONE => Poll::Pending,
            code => Poll::Ready(code),
        }
    }

    /// Bytes that the peer's window takes beyond those written.
    pub(super) fn left(&self) -> u64 {
        self.window
            .load(Acquire)
            .saturating_sub(self.written.load(Acquire))
    }

    /// What the window holds back cannot leave, so it does not count: it is in nobody's way. MOQT-14 §7.1 [D14-PRIO-7]
    fn recount(&self) {
        let may_leave = self.written.load(Acquire).min(self.window.load(Acquire));
        let now = may_leave.saturating_sub(self.sent.load(Acquire));
        let before = self.counted.swap(now, AcqRel);
        self.conn.recount(before, now);
    }
}

/// The sending halves of a connection that have not ended. The stack keeps it, so that its callbacks find streams.
#[derive(Debug)]
pub(super) struct SendStreams {
    conn: Arc<ConnStats>,
    first: FirstWindows,
    streams: HashMap<u64, Arc<StreamTx>>,
}

impl SendStreams {
    pub(super) fn new(conn: Arc<ConnStats>) -> Self {
        // Until the peer's parameters are known no stream can be opened.
        let first = FirstWindows {
            uni: u64::MAX,
            bidi_ours: u64::MAX,
            bidi_theirs: u64::MAX,
        };
        Self {
            conn,
            first,
            streams: HashMap::new(),
        }
    }

    pub(super) const fn set_first_windows(&mut self, first: FirstWindows) {
        self.first = first;
    }

    /// A stream begins. It is forgotten when its end has left.
    pub(super) fn begin(&mut self, id: u64, kind: StreamKind) -> Arc<StreamTx> {
        let window = match kind {
            StreamKind::Uni => self.first.uni,
            StreamKind::BidiOurs => self.first.bidi_ours,
            StreamKind::BidiTheirs => self.first.bidi_theirs,
        };
        let tx = Arc::new(StreamTx::new(Arc::clone(&self.conn), window));
        self.streams.insert(id, Arc::clone(&tx));
        tx
    }

    /// Bytes up to `end` have left, some of them perhaps again.
    pub(super) fn sent(&mut self, id: u64, end: u64, fin: bool) {
        let Some(tx) = self.streams.get(&id) else {
            return;
        };
        if tx.sent.fetch_max(end, AcqRel) < end {
            tx.recount();
        }
        if fin {
            self.streams.remove(&id);
        }
    }

    /// RESET_STREAM has left.
    pub(super) fn reset(&mut self, id: u64) {
        if let Some(tx) = self.streams.remove(&id) {
            tx.give_up();
        }
    }

    /// MAX_STREAM_DATA has come.
    pub(super) fn widen(&self, id: u64, window: u64) {
        let Some(tx) = self.streams.get(&id) else {
            return;
        };
        if tx.window.fetch_max(window, AcqRel) < window {
            tx.recount();
            tx.waker.wake();
        }
    }

    /// STOP_SENDING has come.
    pub(super) fn stop(&self, id: u64, code: u64) {
        if let Some(tx) = self.streams.get(&id) {
            tx.stopped.store(code, Release);
            tx.waker.wake();
        }
    }
}

/// What waits in the stack of one connection, over all its streams.
#[derive(Debug)]
pub(super) struct Waiting {
    unsent: AtomicU64,
    /// The peer's window for the whole connection; endless as long as it is not known, when nothing can be sent.
    max_data: AtomicU64,
    /// How much of it is the control stream's.
    reserve: AtomicU64,
    /// Who waits is woken when so little is unsent.
    wake_at: AtomicU64,
    waker: AtomicWaker,
}

impl Waiting {
    pub(super) const fn new() -> Self {
        Self {
            unsent: AtomicU64::new(0),
            max_data: AtomicU64::new(u64::MAX),
            reserve: AtomicU64::new(0),
            wake_at: AtomicU64::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn recount(&self, before: u64, now: u64) {
        // The sum over the streams, which is never below a part of it.
        self.unsent.fetch_add(now.wrapping_sub(before), AcqRel);
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent.load(Acquire)
    }

    /// Bytes of objects that the connection's window takes when `sent` have left.
    pub(super) fn window_for_objects(&self, sent: u64) -> u64 {
        let used = sent
            .saturating_add(self.unsent())
            .saturating_add(self.reserve.load(Acquire));
        self.max_data.load(Acquire).saturating_sub(used)
    }

    pub(super) fn poll(&self, at: u64, cx: &Context<'_>) {
        self.waker.register(cx.waker());
        self.wake_at.store(at, Release);
    }

    /// Something has left.
    pub(super) fn progress(&self) {
        if self.unsent() <= self.wake_at.load(Acquire) {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The peer's transport parameters have come.
    pub(super) fn begin(&self, max: u64) {
        // It tells how wide the window is. The part must be small, or a peer that widens its window late never would.
        let reserve = (max / RESERVED_PART).min(MAX_RESERVE);
        self.reserve.store(reserve, Release);
        self.max_data.store(max, Release);
    }

    /// MAX_DATA has come.
    pub(super) fn widen(&self, max: u64) {
        if self.max_data.fetch_max(max, AcqRel) < max {
            self.wake();
        }
    }
}

/// What part of the connection's window objects leave to the control stream, and how many bytes at most: a few messages.
const RESERVED_PART: u64 = 8;
const MAX_RESERVE: u64 = 4096;

thread_local! {
    /// The parameter that the stack does not pass on, on its way from the TLS session to the event of the same call.
    static FIRST_WINDOW: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Takes initial_max_data from the peer's transport parameters, for [`take_first_window`].
pub(super) fn remember_first_window(params: &[u8]) {
    FIRST_WINDOW.set(first_window(params));
}

/// What the last call of [`remember_first_window`] found.
pub(super) fn take_first_window() -> Option<u64> {
    FIRST_WINDOW.take()
}

/// RFC 9000 §18.2: initial_max_data, which is none when it is not there. The stack refuses what is not well-formed.
fn first_window(params: &[u8]) -> Option<u64> {
    let mut rest = params;
    while !rest.is_empty() {
        let (id, value) = (number(&mut rest)?, number(&mut rest)?);
        let (mut value, behind) = rest.split_at_checked(usize::try_from(value).ok()?)?;
        if id == INITIAL_MAX_DATA {
            return number(&mut value);
        }
        rest = behind;
    }
    Some(0)
}

fn number(from: &mut &[u8]) -> Option<u64> {
    let (number, len) = varint::read(from)?;
    *from = from.get(len..)?;
    Some(number)
}

/// RFC 9000 §18.2.
const INITIAL_MAX_DATA: u64 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_window_is_found_among_others() {
        // An id of two bytes, an empty value, and the one that is looked for.
        let params = [
            0x40, 0x21, 0x02, 1, 2, 0x0c, 0x00, 0x04, 0x02, 0x50, 0x00, 0x05, 0x01, 0x07,
        ];
        assert_eq!(first_window(&params), Some(0x1000));
        assert_eq!(first_window(&params[..7]), Some(0));
        assert_eq!(first_window(&params[..10]), None);
        assert_eq!(first_window(&[]), Some(0));
    }
}
