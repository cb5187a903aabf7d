//! Objects back into the order of their places.
//!
//! Streams overtake each other, so an object can come before one that stands in front of it. An object is let through
//! as soon as nothing can stand before it any more: it follows the one before it, or its group's streams are all
//! closed. Otherwise it waits, but only so long and only so many bytes are held; then it is let through, and what
//! comes after all from before it is late and dropped.

use laps_protocol::moqt::location::{GroupId, Location};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long and how much is held back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For objects that came on a stream: as long as a lost packet takes to be repaired on a bad path.
    pub(super) streams: Duration,
    /// For datagrams, which nobody repairs, and for the very first object.
    pub(super) datagrams: Duration,
    /// Bytes in all.
    pub(super) bytes: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            streams: Duration::from_secs(2),
            datagrams: Duration::from_millis(250),
            bytes: 64 << 20,
        }
    }
}

/// What an object counts beside its payload, so that empty ones are bounded too.
const OVERHEAD: usize = 128;

#[derive(Debug)]
struct Held<T> {
    what: T,
    bytes: usize,
    due: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    open: usize,
    closed: usize,
}

/// Holds objects until it is their turn.
#[derive(Debug)]
pub(super) struct Order<T> {
    patience: Patience,
    /// The place after the object that was let through last.
    next: Option<Location>,
    /// The place of the first object, where the relay has told.
    start: Option<Location>,
    held: BTreeMap<Location, Held<T>>,
    due: BTreeSet<(Instant, Location)>,
    bytes: usize,
    groups: BTreeMap<GroupId, Streams>,
    /// Streams of the last group that was complete: the next one is taken to have as many.
    streams_a_group: usize,
    late: u64,
}

impl<T> Order<T> {
    /// Nothing has come yet; `largest` is the largest place before the subscription.
    pub(super) fn new(patience: Patience, largest: Option<Location>) -> Self {
        Self {
            patience,
            next: None,
            start: largest.map(|largest| Location::new(largest.group, largest.object + 1)),
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            groups: BTreeMap::new(),
            streams_a_group: 1,
            late: 0,
        }
    }

    /// Objects that came after their turn and were dropped.
    pub(super) const fn late(&self) -> u64 {
        self.late
    }

    /// A stream of this group began.
    pub(super) fn opened(&mut self, group: GroupId) {
        if self.is_ahead(group) {
            self.groups.entry(group).or_default().open += 1;
        }
    }

    /// A stream of this group ended.
    pub(super) fn closed(&mut self, group: GroupId) {
        if let Some(streams) = self.groups.get_mut(&group) {
            streams.open = streams.open.saturating_sub(1);
            streams.closed += 1;
        }
    }

    /// An object came. `bytes` is what it takes to hold it.
    pub(super) fn insert(&mut self, now: Instant, at: Location, datagram: bool, bytes: usize, what: T) {
        if self.next.is_some_and(|next| at < next) {
            self.late += 1;
            return;
        }
        if self.held.contains_key(&at) {
            return;
        }
        let patience = if datagram || self.next.is_none() {
            self.patience.datagrams
        } else {
            self.patience.streams
        };
        let (due, bytes) = (now + patience, bytes + OVERHEAD);
        self.held.insert(at, Held { what, bytes, due });
        self.due.insert((due, at));
        self.bytes += bytes;
    }

    /// The next object whose turn it is.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        let (&at, _) = self.held.first_key_value()?;
        let overdue = self.due.first().is_some_and(|(due, _)| *due <= now);
        if overdue || self.bytes > self.patience.bytes || self.is_next(at) {
            self.take()
        } else {
            None
        }
    }

    /// The next object, whether or not it is its turn: nothing more will come.
    pub(super) fn take(&mut self) -> Option<T> {
        let (at, held) = self.held.pop_first()?;
        self.due.remove(&(held.due, at));
        self.bytes -= held.bytes;
        if let Some(next) = self.next
            && next.group < at.group
        {
            if let Some(streams) = self
                .groups
                .get(&next.group)
                .filter(|s| s.open == 0 && s.closed > 0)
            {
                self.streams_a_group = streams.closed;
            }
            self.groups = self.groups.split_off(&at.group);
        }
        self.next = Some(Location::new(at.group, at.object + 1));
        Some(held.what)
    }

    /// When [`Order::pop`] may let something through that it did not before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn is_ahead(&self, group: GroupId) -> bool {
        self.next.is_none_or(|next| next.group <= group)
    }

    fn is_next(&self, at: Location) -> bool {
        let Some(next) = self.next else {
            return at == Location::ZERO || self.start == Some(at);
        };
        if at.group == next.group {
            return at == next || self.is_complete(at.group);
        }
        at.group == next.group + 1
            && self.is_complete(next.group)
            && (at.object == 0 || self.is_complete(at.group))
    }

    /// As many streams as a group has were opened and closed.
    fn is_complete(&self, group: GroupId) -> bool {
        self.groups
            .get(&group)
            .is_some_and(|streams| streams.open == 0 && streams.closed >= self.streams_a_group)
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
