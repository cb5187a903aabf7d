//! Datagram queues of a connection: bounded, in order, and every loss counted.
//!
//! The stack's own queues drop in silence, and drop a datagram that happens to meet a packet already half full. These
//! give such a datagram one more packet, and keep count. What waits to be sent leaves in the order of MOQT-14 §7.2.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use laps_protocol::relay::scheduler::{EntryId, Scheduler, SendOrder};
use s2n_quic::{
    connection,
    provider::datagram::{
        ConnectionInfo, Endpoint, Packet, PreConnectionInfo, ReceiveContext, Receiver, Sender,
    },
};

use super::error::ConnError;

/// Datagrams of one connection that were lost on this side (counts).
#[derive(Debug, Default)]
pub struct DatagramCounts {
    overflowed: AtomicU64,
    refused: AtomicU64,
    discarded: AtomicU64,
}

impl DatagramCounts {
    /// Received, then dropped because the session did not take them in time.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Refused to the session because the send queue was full.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Taken from the session but never sent, because they fitted no packet, gave way to more urgent ones, or became too old.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.discarded.load(Relaxed)
    }
}

/// Makes the queues of each new connection.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) recv_capacity: usize,
    pub(super) send_capacity: usize,
    pub(super) max_frame: u64,
}

impl Endpoint for Queues {
    type Sender = Outgoing;
    type Receiver = Incoming;

    fn create_connection(&mut self, info: &ConnectionInfo) -> (Outgoing, Incoming) {
        let counts = Arc::new(DatagramCounts::default());
        let outgoing = Outgoing {
            queue: Scheduler::new(),
            front: None,
            pushed: 0,
            capacity: self.send_capacity,
            peer_limit: info.max_datagram_payload,
            front_missed: false,
            counts: Arc::clone(&counts),
            error: None,
        };
        let incoming = Incoming {
            queue: VecDeque::new(),
            capacity: self.recv_capacity,
            waker: None,
            counts,
            error: None,
        };
        (outgoing, incoming)
    }

    fn max_datagram_frame_size(&self, _: &PreConnectionInfo) -> u64 {
        self.max_frame
    }
}

/// Datagrams that wait for the session.
#[derive(Debug)]
pub(super) struct Incoming {
    queue: VecDeque<Bytes>,
    capacity: usize,
    waker: Option<Waker>,
    counts: Arc<DatagramCounts>,
    error: Option<ConnError>,
}

impl Incoming {
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, ConnError>> {
        if let Some(datagram) = self.queue.pop_front() {
            return Poll::Ready(Ok(datagram));
        }
        if let Some(error) = self.error {
            return Poll::Ready(Err(error));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Receiver for Incoming {
    fn on_datagram(&mut self, _: &ReceiveContext<'_>, datagram: &[u8]) {
        // The newest media is worth the most, so the oldest gives way.
        if self.queue.len() >= self.capacity {
            self.queue.pop_front();
            self.counts.overflowed.fetch_add(1, Relaxed);
        }
        self.queue.push_back(Bytes::copy_from_slice(datagram));
        self.wake();
    }

    fn on_connection_error(&mut self, error: connection::Error) {
        self.error = Some(error.into());
        self.wake();
    }
}

/// Datagrams that wait for a packet.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Each until when it is worth to be sent.
    queue: Scheduler<(Bytes, Option<Instant>)>,
    /// The one that is next, when a packet had no room for it.
    front: Option<Bytes>,
    pushed: u64,
    capacity: usize,
    peer_limit: u64,
    front_missed: bool,
    counts: Arc<DatagramCounts>,
    error: Option<ConnError>,
}

/// Why a datagram did not enter the send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// It fits no packet of the path, or is larger than the peer takes.
    #[error("datagram of {size} bytes is above the limit of {max}")]
    TooLarge {
        /// Its size (bytes).
        size: usize,
        /// The largest size that may be sent now (bytes).
        max: usize,
    },
    /// The peer takes no datagrams at all.
    #[error("the peer takes no datagrams")]
    Unsupported,
    /// The send queue is full.
    #[error("datagram send queue is full")]
    Full,
    /// The connection is gone.
    #[error(transparent)]
    Connection(#[from] ConnError),
}

impl Outgoing {
    pub(super) const fn peer_limit(&self) -> u64 {
        self.peer_limit
    }

    pub(super) fn counts(&self) -> Arc<DatagramCounts> {
        Arc::clone(&self.counts)
    }

    /// Takes one in. In a full queue the last in the order gives way, which may be this one.
    ///
    /// MOQT-14 §7.2 [D14-PRIO-1], §12.1 [D14-LIM-1]
    pub(super) fn push(
        &mut self,
        order: SendOrder,
        datagram: Bytes,
        until: Option<Instant>,
    ) -> Result<(), DatagramError> {
        if let Some(error) = self.error {
            return Err(error.into());
        }
        let id = EntryId(self.pushed);
        self.pushed += 1;
        self.queue.insert(id, order, (datagram, until));
        if self.len() <= self.capacity {
            return Ok(());
        }
        match self.queue.pop_last() {
            Some((last, ..)) if last == id => {
                self.counts.refused.fetch_add(1, Relaxed);
                Err(DatagramError::Full)
            }
            _ => {
                self.counts.discarded.fetch_add(1, Relaxed);
                Ok(())
            }
        }
    }

    fn len(&self) -> usize {
        self.queue.len() + usize::from(self.front.is_some())
    }

    /// The first that is worth to be sent. The clock is asked only where one grows too old.
    fn pop(&mut self) -> Option<Bytes> {
        while let Some((_, _, (datagram, until))) = self.queue.pop() {
            if until.is_none_or(|until| until > Instant::now()) {
                return Some(datagram);
            }
            self.counts.discarded.fetch_add(1, Relaxed);
        }
        None
    }
}

impl Sender for Outgoing {
    fn on_transmit<P: Packet>(&mut self, packet: &mut P) {
        // The stack alternates between streams and datagrams; a packet that is the streams' turn is theirs.
        if packet.has_pending_streams() && !packet.datagrams_prioritized() {
            return;
        }
        let mut written = false;
        while let Some(datagram) = self.front.take().or_else(|| self.pop()) {
            if datagram.len() <= packet.remaining_capacity() && packet.write_datagram(&datagram).is_ok() {
                written = true;
            } else if written || !self.front_missed {
                // Other frames took the room: the next packet is tried, once, before the datagram is given up.
                self.front_missed = !written;
                self.front = Some(datagram);
                return;
            } else {
                self.counts.discarded.fetch_add(1, Relaxed);
            }
            self.front_missed = false;
        }
    }

    fn has_transmission_interest(&self) -> bool {
        self.len() > 0
    }

    fn on_connection_error(&mut self, error: connection::Error) {
        self.error = Some(error.into());
        (self.queue, self.front) = (Scheduler::new(), None);
    }
}

#[cfg(test)]
mod tests {
    use laps_protocol::moqt::message::{GroupOrder, RequestId};
    use laps_protocol::relay::scheduler::Place;
    use s2n_quic::provider::datagram::WriteError;

    use super::*;

    struct Room {
        left: usize,
        sent: usize,
    }

    const ANY: SendOrder = object(128, 0);

    const fn object(publisher: u8, id: u64) -> SendOrder {
        SendOrder {
            subscriber: 128,
            publisher,
            request: RequestId(0),
            place: Place::new(GroupOrder::Ascending, 0, id),
        }
    }

    impl Packet for Room {
        fn remaining_capacity(&self) -> usize {
            self.left
        }
        fn write_datagram(&mut self, data: &[u8]) -> Result<(), WriteError> {
            self.left -= data.len();
            self.sent += 1;
            Ok(())
        }
        fn write_datagram_vectored(&mut self, _: &[&[u8]]) -> Result<(), WriteError> {
            unreachable!("one slice per datagram")
        }
        fn has_pending_streams(&self) -> bool {
            false
        }
        fn datagrams_prioritized(&self) -> bool {
            true
        }
    }

    fn outgoing(capacity: usize) -> Outgoing {
        Outgoing {
            queue: Scheduler::new(),
            front: None,
            pushed: 0,
            capacity,
            peer_limit: 1200,
            front_missed: false,
            counts: Arc::default(),
            error: None,
        }
    }

    #[test]
    fn a_crowded_packet_costs_no_datagram_and_an_impossible_one_is_counted() {
        let mut queue = outgoing(8);
        queue.push(ANY, Bytes::from(vec![0; 100]), None).unwrap();
        queue.push(ANY, Bytes::from(vec![0; 2000]), None).unwrap();
        queue.push(ANY, Bytes::from(vec![0; 100]), None).unwrap();

        let mut crowded = Room { left: 50, sent: 0 };
        queue.on_transmit(&mut crowded);
        assert_eq!((crowded.sent, queue.len()), (0, 3));

        let mut packet = Room { left: 1200, sent: 0 };
        queue.on_transmit(&mut packet);
        assert_eq!(
            (packet.sent, queue.len()),
            (1, 2),
            "the large one waits for a packet of its own"
        );
        let mut packet = Room { left: 1200, sent: 0 };
        queue.on_transmit(&mut packet);
        let mut packet = Room { left: 1200, sent: 0 };
        queue.on_transmit(&mut packet);
        assert_eq!((packet.sent, queue.len()), (1, 0));
        assert_eq!(queue.counts.discarded(), 1);
    }

    /// D14-PRIO-1 D14-LIM-1: what waits leaves in the order of the draft, and the last one gives way when there is no
    /// place.
    #[test]
    fn the_most_urgent_leaves_first_and_the_least_gives_way() {
        struct Written(Vec<u8>);
        impl Packet for Written {
            fn remaining_capacity(&self) -> usize {
                1200
            }
            fn write_datagram(&mut self, data: &[u8]) -> Result<(), WriteError> {
                self.0.extend_from_slice(data);
                Ok(())
            }
            fn write_datagram_vectored(&mut self, _: &[&[u8]]) -> Result<(), WriteError> {
                unreachable!("one slice per datagram")
            }
            fn has_pending_streams(&self) -> bool {
                false
            }
            fn datagrams_prioritized(&self) -> bool {
                true
            }
        }
        let mut queue = outgoing(3);
        queue.push(object(9, 2), Bytes::from_static(b"c"), None).unwrap();
        queue.push(object(9, 1), Bytes::from_static(b"b"), None).unwrap();
        queue.push(object(9, 3), Bytes::from_static(b"d"), None).unwrap();
        queue.push(object(1, 4), Bytes::from_static(b"a"), None).unwrap();
        let least = queue.push(object(9, 5), Bytes::from_static(b"e"), None);
        assert_eq!(least, Err(DatagramError::Full));
        assert_eq!((queue.counts.discarded(), queue.counts.refused()), (1, 1));
        let mut packet = Written(Vec::new());
        queue.on_transmit(&mut packet);
        assert_eq!(packet.0, b"abc");
        assert!(!queue.has_transmission_interest());
    }

    #[test]
    fn a_full_send_queue_refuses_and_counts() {
        let mut queue = outgoing(1);
        queue.push(ANY, Bytes::from_static(b"a"), None).unwrap();
        assert_eq!(
            queue.push(ANY, Bytes::from_static(b"b"), None),
            Err(DatagramError::Full)
        );
        assert_eq!(queue.counts.refused(), 1);
    }

    /// laps peering, "Datagram Data": what cannot leave in time is of no use, and takes no room from what can.
    #[test]
    fn what_is_too_old_is_not_sent() {
        let mut queue = outgoing(8);
        let now = Instant::now();
        queue.push(ANY, Bytes::from_static(b"old"), Some(now)).unwrap();
        let later = now + std::time::Duration::from_hours(1);
        queue.push(ANY, Bytes::from_static(b"new"), Some(later)).unwrap();
        let mut packet = Room { left: 1200, sent: 0 };
        queue.on_transmit(&mut packet);
        assert_eq!((packet.left, packet.sent, queue.counts.discarded()), (1197, 1, 1));
        assert!(!queue.has_transmission_interest());
    }
}
