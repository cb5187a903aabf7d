//! What is counted on the way of objects: a block of counters for each shard, which its thread alone writes.
//!
//! A count is a load and a store of an atomic that no other thread writes, so it costs what a plain number costs; others
//! read it when they like. A block belongs to a place, not to a life: a shard that comes back goes on counting.

use laps_protocol::moqt::error::ResetCode;
use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Something that is counted on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Connections that were let in.
    Connections,
    /// Connections that were turned away after their handshake.
    ConnectionsRefused,
    /// Requests that were refused for what a session or its address prefix may have.
    RequestsRefused,
    /// Objects that came on streams of subscriptions.
    StreamObjectsIn,
    /// Objects that came in datagrams.
    DatagramObjectsIn,
    /// Objects that came on streams of our FETCH.
    FetchObjectsIn,
    /// Bytes of their payload.
    StreamBytesIn,
    /// Bytes of their payload.
    DatagramBytesIn,
    /// Bytes of their payload.
    FetchBytesIn,
    /// Objects that were given to the transport on streams of subscriptions.
    StreamObjectsOut,
    /// Objects that were given to the transport in datagrams.
    DatagramObjectsOut,
    /// Objects that were given to the transport on streams of fetches.
    FetchObjectsOut,
    /// Bytes of their payload.
    StreamBytesOut,
    /// Bytes of their payload.
    DatagramBytesOut,
    /// Bytes of their payload.
    FetchBytesOut,
    /// Data streams that peers opened.
    StreamsIn,
    /// Streams that were opened for subscriptions.
    StreamsOut,
    /// Streams that a peer reset: INTERNAL_ERROR.
    ResetInInternal,
    /// Streams that a peer reset: CANCELLED.
    ResetInCancelled,
    /// Streams that a peer reset: DELIVERY_TIMEOUT.
    ResetInTimeout,
    /// Streams that a peer reset: SESSION_CLOSED.
    ResetInSessionClosed,
    /// Streams that a peer reset with a code that the draft does not have.
    ResetInUnknown,
    /// Streams of subscriptions that were reset: INTERNAL_ERROR.
    ResetOutInternal,
    /// Streams of subscriptions that were reset: CANCELLED.
    ResetOutCancelled,
    /// Streams of subscriptions that were reset: DELIVERY_TIMEOUT.
    ResetOutTimeout,
    /// Streams of subscriptions that were reset: SESSION_CLOSED.
    ResetOutSessionClosed,
    /// Streams of subscriptions that were reset with a code that a peer upstream made up.
    ResetOutUnknown,
    /// Streams of subscriptions that the subscriber refused.
    StoppedByPeer,
    /// Datagrams that came for a track that was busy or had ended.
    DropBusyTrack,
    /// Datagrams that the transport did not take for a subscriber.
    DropDatagramUnsent,
    /// Streams or objects that were no longer kept when a subscriber was to have them.
    DropEvicted,
    /// Streams or datagrams whose DELIVERY_TIMEOUT was over.
    DropExpired,
    /// Times that a subscriber went on with the newest group.
    DropSkippedToNewest,
    /// Subscriptions that ended because they were too far behind.
    DropTooFarBehind,
}

/// How many there are.
pub(super) const COUNTS: usize = Count::DropTooFarBehind as usize + 1;

impl Count {
    /// A stream that a peer reset with this code.
    #[must_use]
    pub const fn reset_in(code: ResetCode) -> Self {
        match code {
            ResetCode::InternalError => Self::ResetInInternal,
            ResetCode::Cancelled => Self::ResetInCancelled,
            ResetCode::DeliveryTimeout => Self::ResetInTimeout,
            ResetCode::SessionClosed => Self::ResetInSessionClosed,
            ResetCode::Unknown(_) => Self::ResetInUnknown,
            _ => Self::ResetInUnknown,
        }
    }

    /// A stream that was reset with this code.
    #[must_use]
    pub const fn reset_out(code: ResetCode) -> Self {
        match code {
            ResetCode::InternalError => Self::ResetOutInternal,
            ResetCode::Cancelled => Self::ResetOutCancelled,
            ResetCode::DeliveryTimeout => Self::ResetOutTimeout,
            ResetCode::SessionClosed => Self::ResetOutSessionClosed,
            ResetCode::Unknown(_) => Self::ResetOutUnknown,
            _ => Self::ResetOutUnknown,
        }
    }
}

/// The counters of one shard. Aligned so that no two shards write to the same cache line, nor to neighbours that are
/// fetched together.
#[derive(Debug)]
#[repr(align(128))]
pub struct Tally([AtomicU64; COUNTS]);

impl Default for Tally {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTS])
    }
}

impl Tally {
    fn add(&self, count: Count, more: u64) {
        if let Some(cell) = self.0.get(count as usize) {
            // Nobody else writes here: two halves that others may come between would be wrong otherwise.
            cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self, count: Count) -> u64 {
        self.0.get(count as usize).map_or(0, |cell| cell.load(Relaxed))
    }

    /// From here on this thread counts here. A thread has one block in its life.
    pub fn install(self: Arc<Self>) {
        // A second one would be that of another shard on the same thread, which counts with the first.
        drop(HERE.with(|here| here.set(self)));
    }
}

/// The counters of all shards of a relay, in their order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tallies(Arc<[Arc<Tally>]>);

impl Tallies {
    /// For so many shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| Arc::default()).collect())
    }

    /// That of a shard; a new one where there is none of this number, which nobody reads.
    #[must_use]
    pub fn of(&self, shard: usize) -> Arc<Tally> {
        self.0.get(shard).map(Arc::clone).unwrap_or_default()
    }

    /// Each, in the order of the shards.
    pub fn iter(&self) -> impl Iterator<Item = &Tally> {
        self.0.iter().map(|tally| &**tally)
    }
}

thread_local! {
    static HERE: OnceCell<Arc<Tally>> = const { OnceCell::new() };
}

/// Counts `more` of these on this thread. Where nobody reads the numbers, as in a client, it does nothing.
pub fn count(what: Count, more: u64) {
    // What is dropped with its thread may come after the thread's own values.
    let _counted: Result<(), _> = HERE.try_with(|here| {
        if let Some(tally) = here.get() {
            tally.add(what, more);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_counts_in_its_own_block_over_all_its_lives() {
        let tallies = Tallies::new(2);
        for (shard, objects) in [(0, 3), (1, 5), (0, 4)] {
            let tally = tallies.of(shard);
            std::thread::spawn(move || {
                // Before it has a block, and where there is none, nothing is lost that anybody wanted.
                count(Count::StreamObjectsIn, 100);
                tally.install();
                count(Count::StreamObjectsIn, objects);
                count(Count::DropTooFarBehind, 1);
            })
            .join()
            .unwrap();
        }
        let objects: Vec<_> = tallies
            .iter()
            .map(|tally| tally.get(Count::StreamObjectsIn))
            .collect();
        assert_eq!(objects, [7, 5]);
        let last: Vec<_> = tallies
            .iter()
            .map(|tally| tally.get(Count::DropTooFarBehind))
            .collect();
        assert_eq!(last, [2, 1]);
        assert_eq!(tallies.of(9).get(Count::StreamObjectsIn), 0);
    }

    #[test]
    fn blocks_do_not_share_lines() {
        assert_eq!(align_of::<Tally>(), 128);
    }
}
