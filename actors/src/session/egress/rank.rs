//! How the objects of one request stand among those of the others of its session.

use laps_protocol::moqt::location::GroupId;
use laps_protocol::moqt::message::{GroupOrder, RequestId};
use laps_protocol::relay::scheduler::{Place, SendOrder};
use std::cell::Cell;

/// What a request says about the order of what answers it. Kept by the session; the lanes look at it each time they
/// want to send.
#[derive(Debug)]
pub struct Rank {
    request: RequestId,
    priority: Cell<u8>,
    order: Cell<GroupOrder>,
}

impl Rank {
    /// That of a request with this subscriber priority, 0 being the most urgent.
    #[must_use]
    pub const fn new(request: RequestId, priority: u8, order: GroupOrder) -> Self {
        Self {
            request,
            priority: Cell::new(priority),
            order: Cell::new(order),
        }
    }

    /// The request was given another priority. What waits already takes it over when
    /// [`Streams::reorder`](super::Streams::reorder) says so.
    pub fn set_priority(&self, priority: u8) {
        self.priority.set(priority);
    }

    /// Its subscriber priority by now.
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.priority.get()
    }

    /// The order of groups was settled with the peer. MOQT-14 §7.1 [D14-PRIO-6]: once, by the message that accepts the
    /// request; SUBSCRIBE_UPDATE has no field for it.
    pub fn settle_order(&self, order: GroupOrder) {
        self.order.set(order);
    }

    /// Where something of this request stands: a subgroup `id`, or a datagram with the object `id`, for which the
    /// publisher said the priority `publisher`. MOQT-14 §7.1 [D14-PRIO-5]
    #[must_use]
    pub const fn of(&self, publisher: u8, group: GroupId, id: u64) -> SendOrder {
        SendOrder {
            subscriber: self.priority.get(),
            publisher,
            request: self.request,
            place: Place::new(self.order.get(), group, id),
        }
    }
}
