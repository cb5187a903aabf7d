//! A lane in the task of the writer.

use super::gate::Gate;
use super::lane::{Lane, Turned};
use laps_protocol::relay::scheduler::EntryId;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A lane as the writer's task runs it: it looks when it is woken, and queues up when it has something to send. It ends
/// when the stream is closed.
pub(super) struct Running {
    pub(super) lane: Rc<RefCell<Lane>>,
    gate: Rc<Gate>,
    id: EntryId,
}

impl Lane {
    /// Runs it at this gate.
    pub(super) fn at(self, gate: &Rc<Gate>) -> Running {
        Running {
            lane: Rc::new(RefCell::new(self)),
            gate: Rc::clone(gate),
            id: gate.fresh_id(),
        }
    }
}

impl Future for Running {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (turned, order) = {
            let mut lane = self.lane.borrow_mut();
            (lane.look(cx), lane.order())
        };
        match turned {
            Turned::More => self.gate.queue_lane(self.id, order, &self.lane),
            Turned::Parked => self.gate.forget(self.id),
            Turned::Over => return Poll::Ready(()),
        }
        Poll::Pending
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gate.forget(self.id);
    }
}
