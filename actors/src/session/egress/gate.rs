//! Who writes next, and how much: the session's scheduler at work.
//!
//! ```text
//!  Lane ready ──▶ queue ──┐                                     ┌─▶ Lane.turn ──▶ SendStream
//!  FETCH ready ─▶ queue ──┴─ pop, as long as there is room ─────┴─▶ promise, wake ⇢⇢▶ SendStream
//!                            room: what the stack holds unsent is below max(16 kB, half a window)
//! ```

use super::lane::{Lane, Turned};
use super::pieces;
use super::waker::KeptWaker;
use crate::transport::{ConnHandle, SendGuard, StreamError};
use bytes::Bytes;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::relay::scheduler::{self, EntryId, Place, Scheduler, SendOrder};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes that one may write before the order is looked at again.
const TURN: u64 = 64 * 1024;
/// Turns in one run of the writer's task; then the other tasks of the shard get theirs.
const TURNS: usize = 64;

/// In which order a session sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendPolicy {
    /// As MOQT-14 §7.2 says, and late: what leaves next is chosen when it may leave.
    #[default]
    Priorities,
    /// The same, and what one writes has left before another writes. Whoever reads the link loses a stream whose first frame
    /// lacks a part of its headers, and the stack cuts a frame short that follows others in a packet.
    OneByOne,
    /// As it comes, as much as the stack's buffers hold. Only measurements ask for it: to have something to compare
    /// with.
    Arrival,
}

/// Everything of a session that could be sent, and what chooses among it.
pub(super) struct Gate {
    conn: ConnHandle,
    policy: SendPolicy,
    queue: RefCell<Scheduler<Next>>,
    next_id: Cell<u64>,
    /// Bytes that FETCH responses were given leave to write, and have not written.
    promised: Cell<u64>,
    writer: KeptWaker,
}

/// Who is next.
enum Next {
    Lane(Rc<RefCell<Lane>>),
    Ticket(Rc<Leave>),
}

/// The leave of one that writes in a task of its own.
#[derive(Debug, Default)]
struct Leave {
    bytes: Cell<u64>,
    waker: KeptWaker,
}

/// A place in the queue for one that writes in a task of its own. Dropped, it gives back its place and its leave.
pub struct Ticket {
    gate: Rc<Gate>,
    id: EntryId,
    leave: Rc<Leave>,
}

impl Gate {
    pub(super) fn new(conn: ConnHandle, policy: SendPolicy) -> Self {
        Self {
            conn,
            policy,
            queue: RefCell::default(),
            next_id: Cell::default(),
            promised: Cell::default(),
            writer: KeptWaker::default(),
        }
    }

    /// Who is woken when somebody queues up from outside the writer's task.
    pub(super) fn keep_writer(&self, cx: &Context<'_>) {
        self.writer.keep(cx.waker());
    }

    /// Wakes the writer's task.
    pub(super) fn wake_writer(&self) {
        self.writer.wake();
    }

    pub(super) fn fresh_id(&self) -> EntryId {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        EntryId(id)
    }

    /// The lane has something that flow control lets leave.
    pub(super) fn queue_lane(&self, id: EntryId, order: SendOrder, lane: &Rc<RefCell<Lane>>) {
        self.queue_up(id, order, || Next::Lane(Rc::clone(lane)));
    }

    fn queue_up(&self, id: EntryId, order: SendOrder, next: impl FnOnce() -> Next) {
        let order = match self.policy {
            SendPolicy::Priorities | SendPolicy::OneByOne => order,
            // All tie, and each is a request of its own: they take turns.
            SendPolicy::Arrival => SendOrder {
                subscriber: 0,
                publisher: 0,
                request: RequestId(id.0),
                place: Place::new(GroupOrder::Ascending, 0, 0),
            },
        };
        let mut queue = self.queue.borrow_mut();
        // Who is woken for another reason keeps its turn.
        if queue.order_of(id) != Some(order) {
            queue.insert(id, order, next());
        }
    }

    /// It has nothing that could be sent any more. Guards call it as they are dropped, so it cannot fail.
    pub(super) fn forget(&self, id: EntryId) {
        let gone = self.queue.try_borrow_mut().map(|mut queue| queue.remove(id));
        drop(gone);
    }

    /// A leave was used, or given up.
    fn unpromise(&self, bytes: u64) {
        self.promised.set(self.promised.get().saturating_sub(bytes));
    }

    /// Bytes that may be handed to the stack now.
    fn room(&self) -> u64 {
        let (stats, promised) = (self.conn.stats(), self.promised.get());
        if self.policy == SendPolicy::Arrival {
            return TURN;
        }
        if self.policy == SendPolicy::OneByOne && stats.unsent() + promised > 0 {
            return 0;
        }
        // Control messages are written past this gate: they wait for nothing, and what they use up is counted here.
        // MOQT-14 §7.2 [D14-PRIO-3]
        let budget = scheduler::room(stats.congestion_window(), stats.unsent() + promised);
        // MOQT-14 §10.4.2 [D14-DATA-17]: objects leave a part of the connection's window to the control stream.
        let window = stats.window_for_objects().saturating_sub(promised);
        budget.min(window).min(TURN)
    }

    /// Bytes that may be handed to the stack by one who does not queue up: none while anybody does.
    fn at_once(&self) -> Option<u64> {
        let nobody_waits = self.queue.borrow().is_empty();
        nobody_waits.then(|| self.room()).filter(|room| *room > 0)
    }

    /// Gives turns, the first first, as long as there is room for what they write. True when somebody had one and there
    /// is nothing to wait for: who was woken meanwhile is to be looked at.
    pub(super) fn serve(&self, cx: &Context<'_>) -> bool {
        for turn in 0..TURNS {
            let mut room = self.room();
            if room == 0 {
                let stats = self.conn.stats();
                let refill = match self.policy {
                    SendPolicy::OneByOne => 0,
                    SendPolicy::Priorities | SendPolicy::Arrival => {
                        scheduler::refill_at(stats.congestion_window())
                    }
                };
                stats.wake_at(refill, cx);
                // It may have come between the two looks.
                room = self.room();
            }
            let next = if room == 0 {
                None
            } else {
                self.queue.borrow_mut().pop()
            };
            let Some((id, order, next)) = next else {
                return turn > 0;
            };
            match next {
                Next::Lane(lane) => {
                    let turned = lane.borrow_mut().turn(room);
                    if turned == Turned::More {
                        self.queue_lane(id, order, &lane);
                    }
                }
                Next::Ticket(leave) => {
                    self.promised.set(self.promised.get() + room);
                    leave.bytes.set(room);
                    leave.waker.wake();
                }
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// A place for one that writes in a task of its own.
    pub(super) fn ticket(self: &Rc<Self>) -> Ticket {
        Ticket {
            gate: Rc::clone(self),
            id: self.fresh_id(),
            leave: Rc::default(),
        }
    }
}

impl Ticket {
    /// Writes `out` on a stream that is no lane, each part of it when `order` has its turn among everything that the
    /// session sends. What was written is no longer in `out`, also when it waits for more.
    ///
    /// # Errors
    /// [`StreamError::Stopped`] when the peer wants no more, or the end of the stream or the connection.
    pub fn poll_write(
        &self,
        stream: &mut SendGuard,
        order: SendOrder,
        out: &mut Vec<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        while !out.is_empty() {
            // MOQT-14 §7.1 [D14-PRIO-7]: only what can leave queues up.
            ready!(stream.poll_window(cx))?;
            ready!(stream.poll_ready(cx))?;
            let most = ready!(self.poll(order, cx));
            let written = pieces::poll_write(stream, out, most, cx);
            self.used();
            ready!(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// As [`poll_write`](Self::poll_write), for what is handed on from another stream: nobody who waits is passed over,
    /// but where nobody does and there is room it leaves at once, without a turn of the writer's task. `written` grows by
    /// what is written; the first `whole` bytes are not parted.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn poll_hand_on(
        &self,
        stream: &mut SendGuard,
        order: SendOrder,
        (out, whole): (&mut Vec<Bytes>, usize),
        written: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        let mut whole = whole as u64;
        while !out.is_empty() {
            ready!(stream.poll_window(cx))?;
            ready!(stream.poll_ready(cx))?;
            let room = self.gate.at_once().filter(|_| self.leave.bytes.get() == 0);
            let most = match room {
                Some(room) => room,
                None => ready!(self.poll(order, cx)),
            };
            let done = pieces::poll_write(stream, out, most.max(whole), cx);
            if room.is_none() {
                self.used();
            }
            *written += ready!(done)?;
            whole = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the leave to write; the value is how many bytes. They are to be written at once, or given up.
    fn poll(&self, order: SendOrder, cx: &Context<'_>) -> Poll<u64> {
        let bytes = self.leave.bytes.take();
        if bytes > 0 {
            self.gate.unpromise(bytes);
            return Poll::Ready(bytes);
        }
        self.leave.waker.keep(cx.waker());
        self.gate
            .queue_up(self.id, order, || Next::Ticket(Rc::clone(&self.leave)));
        self.gate.wake_writer();
        Poll::Pending
    }

    /// For tests: queues up, as one that has something to write.
    #[cfg(test)]
    pub(super) fn poll_write_later(&self, order: SendOrder, cx: &Context<'_>) -> bool {
        self.poll(order, cx).is_pending()
    }

    /// The writer looks again: the leave was used, and there may be room for others.
    fn used(&self) {
        self.gate.wake_writer();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.forget(self.id);
        let bytes = self.leave.bytes.take();
        if bytes > 0 {
            self.gate.unpromise(bytes);
            self.gate.wake_writer();
        }
    }
}
