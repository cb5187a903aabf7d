//! Data that is there before the set that says who gets it. laps peering, "SNS Advertisement".

use super::ingress::InStream;
use super::limits::Limits;
use crate::peering::data_header::{DatagramHeader, StreamHeader};
use crate::peering::message::SnsId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// What waits for its set, of one link. Bounded by bytes, by number and by time; the oldest is given up first.
///
/// Streams are kept whole or not at all, and a stream counts from its first byte on. Pieces stay apart, so each counts
/// [`PIECE_BYTES`] more than it has: many small ones do not get past the bound. Small ones are copied, since each may
/// be all that is used of a large buffer of the transport.
#[derive(Debug)]
pub struct Parked {
    max_bytes: usize,
    max_items: usize,
    park_for: Duration,
    /// In the order in which they came.
    items: BTreeMap<u64, Item>,
    by_sns: HashMap<SnsId, BTreeSet<u64>>,
    streams: HashMap<InStream, u64>,
    /// The number of the next one.
    next: u64,
    /// What all of them count.
    bytes: usize,
}

#[derive(Debug)]
struct Item {
    came: Instant,
    bytes: usize,
    what: Waiting,
}

/// Something that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A stream, or its begin.
    Stream {
        /// Which one.
        stream: InStream,
        /// Its head.
        header: StreamHeader,
        /// Its payload so far.
        pieces: Vec<Bytes>,
        /// Whether it is over.
        fin: bool,
    },
    /// A datagram.
    Datagram {
        /// Its head.
        header: DatagramHeader,
        /// Its payload.
        payload: Bytes,
    },
}

impl Waiting {
    /// The id that it waits for.
    #[must_use]
    pub const fn sns(&self) -> SnsId {
        match self {
            Self::Stream { header, .. } => header.sns,
            Self::Datagram { header, .. } => header.sns,
        }
    }
}

/// What each piece counts more than it has (bytes): about what it takes to keep one.
pub const PIECE_BYTES: usize = 64;

/// Pieces below this are copied (bytes): the least buffer of the transport.
const SMALL: usize = 4096;

/// A piece that keeps no large buffer alive.
fn apart(piece: Bytes) -> Bytes {
    if piece.len() < SMALL {
        Bytes::copy_from_slice(&piece)
    } else {
        piece
    }
}

impl Parked {
    /// Nothing that waits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_bytes: limits.max_parked_bytes,
            max_items: limits.max_parked_items,
            park_for: limits.park_for,
            items: BTreeMap::new(),
            by_sns: HashMap::new(),
            streams: HashMap::new(),
            next: 0,
            bytes: 0,
        }
    }

    /// A stream begins to wait; what came behind its head follows as [`Self::piece`].
    pub fn stream(&mut self, stream: InStream, header: StreamHeader, now: Instant) {
        self.streams.insert(stream, self.next);
        let what = Waiting::Stream {
            stream,
            header,
            pieces: Vec::new(),
            fin: false,
        };
        self.insert(what, PIECE_BYTES, now);
    }

    /// A datagram begins to wait.
    pub fn datagram(&mut self, header: DatagramHeader, payload: Bytes, now: Instant) {
        let bytes = payload.len() + PIECE_BYTES;
        let payload = apart(payload);
        self.insert(Waiting::Datagram { header, payload }, bytes, now);
    }

    /// More of a stream that waits. Nothing for one that does not.
    pub fn piece(&mut self, stream: InStream, piece: Bytes) {
        let item = self
            .streams
            .get(&stream)
            .and_then(|number| self.items.get_mut(number));
        let Some(item) = item else { return };
        if let Waiting::Stream { pieces, .. } = &mut item.what {
            let bytes = piece.len() + PIECE_BYTES;
            pieces.push(apart(piece));
            item.bytes += bytes;
            self.bytes += bytes;
        }
    }

    /// The end of a stream that waits.
    pub fn fin(&mut self, stream: InStream) {
        let item = self
            .streams
            .get(&stream)
            .and_then(|number| self.items.get_mut(number));
        if let Some(Waiting::Stream { fin, .. }) = item.map(|item| &mut item.what) {
            *fin = true;
        }
    }

    /// Forgets a stream, which was reset or is not wanted.
    pub fn remove(&mut self, stream: InStream) {
        if let Some(number) = self.streams.get(&stream).copied() {
            self.take(number);
        }
    }

    /// What waited for an id, in the order in which it came, and when it did.
    pub fn release(&mut self, sns: SnsId) -> Vec<(Waiting, Instant)> {
        let numbers = self.by_sns.remove(&sns).unwrap_or_default();
        let items = numbers.into_iter().filter_map(|number| self.take(number));
        items.map(|item| (item.what, item.came)).collect()
    }

    /// Gives up what is the oldest, as long as there is more than may be. None when the bounds are kept.
    pub fn evict(&mut self) -> Option<Waiting> {
        if self.bytes <= self.max_bytes && self.items.len() <= self.max_items {
            return None;
        }
        let oldest = *self.items.first_key_value()?.0;
        self.take(oldest).map(|item| item.what)
    }

    /// Gives up what waited for too long, one at a time. None when nothing did.
    pub fn expire(&mut self, now: Instant) -> Option<Waiting> {
        let due = self.poll_timeout()?;
        let oldest = *self.items.first_key_value()?.0;
        (due <= now)
            .then(|| self.take(oldest))
            .flatten()
            .map(|item| item.what)
    }

    /// When the oldest has waited for too long.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, oldest) = self.items.first_key_value()?;
        oldest.came.checked_add(self.park_for)
    }

    /// What a stream counts; none when it does not wait.
    #[must_use]
    pub fn bytes_of(&self, stream: InStream) -> Option<usize> {
        let item = self.items.get(self.streams.get(&stream)?)?;
        Some(item.bytes)
    }

    /// What all of it counts (bytes).
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many streams and datagrams wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn insert(&mut self, what: Waiting, bytes: usize, came: Instant) {
        let number = self.next;
        self.next += 1;
        self.by_sns.entry(what.sns()).or_default().insert(number);
        self.bytes += bytes;
        self.items.insert(number, Item { came, bytes, what });
    }

    fn take(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.bytes -= item.bytes;
        let sns = item.what.sns();
        if let Some(numbers) = self.by_sns.get_mut(&sns) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_sns.remove(&sns);
            }
        }
        if let Waiting::Stream { stream, .. } = &item.what {
            self.streams.remove(stream);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peering::hash::FullNameHash;

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin of test time"
    )]
    fn t0() -> Instant {
        Instant::now()
    }

    fn header(sns: u32) -> StreamHeader {
        StreamHeader {
            sns: SnsId::new(sns).unwrap(),
            track: FullNameHash::MAX,
            priority: 1,
            ttl_ms: 0,
        }
    }

    fn limits(max_parked_bytes: usize, max_parked_items: usize) -> Limits {
        Limits {
            max_parked_bytes,
            max_parked_items,
            ..Limits::default()
        }
    }

    fn names(items: impl IntoIterator<Item = Waiting>) -> Vec<u64> {
        let name = |item| match item {
            Waiting::Stream { stream, .. } => stream.0,
            Waiting::Datagram { payload, .. } => u64::from(payload[0]),
        };
        items.into_iter().map(name).collect()
    }

    fn released(parked: &mut Parked, sns: u32) -> Vec<u64> {
        let items = parked.release(SnsId::new(sns).unwrap());
        names(items.into_iter().map(|(item, _)| item))
    }

    fn datagram(sns: u32, payload: &'static [u8]) -> (DatagramHeader, Bytes) {
        let StreamHeader { sns, track, .. } = header(sns);
        (DatagramHeader { sns, track }, Bytes::from_static(payload))
    }

    /// laps peering, "SNS Advertisement": what waits comes out in the order in which it came, each id by itself.
    #[test]
    fn what_waits_comes_out_in_its_order() {
        let mut parked = Parked::new(&limits(10_000, 10));
        let now = t0();
        parked.stream(InStream(3), header(1), now);
        let (head, payload) = datagram(1, &[9]);
        parked.datagram(head, payload, now);
        parked.stream(InStream(2), header(2), now);
        parked.stream(InStream(1), header(1), now);
        parked.piece(InStream(3), Bytes::from_static(b"ab"));
        parked.piece(InStream(3), Bytes::from_static(b"c"));
        parked.fin(InStream(3));
        assert_eq!(parked.bytes(), 4 * PIECE_BYTES + 2 * PIECE_BYTES + 4);
        assert_eq!(parked.bytes_of(InStream(3)), Some(3 * PIECE_BYTES + 3));
        let first = parked.release(SnsId::FIRST).swap_remove(0);
        let pieces = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let expected = Waiting::Stream {
            stream: InStream(3),
            header: header(1),
            pieces,
            fin: true,
        };
        assert_eq!(first, (expected, now));
        assert_eq!(parked.len(), 1);
        assert_eq!(released(&mut parked, 2), [2]);
        assert_eq!(released(&mut parked, 1), [0_u64; 0]);
        assert_eq!((parked.bytes(), parked.is_empty()), (0, true));
        assert!(parked.by_sns.is_empty() && parked.streams.is_empty());
    }

    /// Issue 6: bounded by bytes, by number and by time, the oldest is given up first.
    #[test]
    fn the_oldest_is_given_up() {
        let now = t0();
        let mut parked = Parked::new(&limits(1000, 3));
        for stream in 0..5 {
            parked.stream(InStream(stream), header(1), now);
        }
        assert_eq!(names(std::iter::from_fn(|| parked.evict())), [0, 1]);
        parked.piece(InStream(3), Bytes::from(vec![0; 800]));
        assert_eq!(names(std::iter::from_fn(|| parked.evict())), [2]);
        // One that is too large by itself goes too, and with it all that is older.
        parked.piece(InStream(4), Bytes::from(vec![0; 5000]));
        assert_eq!(names(std::iter::from_fn(|| parked.evict())), [3, 4]);
        parked.piece(InStream(4), Bytes::from_static(b"late"));
        parked.fin(InStream(4));
        parked.remove(InStream(4));
        assert_eq!((parked.bytes(), parked.bytes_of(InStream(4))), (0, None));

        let later = now + Duration::from_millis(1500);
        parked.stream(InStream(5), header(1), now);
        parked.stream(InStream(6), header(1), later);
        assert_eq!(parked.poll_timeout(), Some(now + Duration::from_secs(2)));
        assert_eq!(parked.expire(later), None);
        assert_eq!(names(parked.expire(now + Duration::from_secs(2))), [5]);
        assert_eq!(parked.expire(now + Duration::from_secs(2)), None);
        assert_eq!(parked.poll_timeout(), Some(later + Duration::from_secs(2)));
        parked.remove(InStream(6));
        assert_eq!((parked.poll_timeout(), released(&mut parked, 1).len()), (None, 0));
    }

    #[test]
    fn many_small_pieces_are_not_cheaper_than_they_are() {
        let mut parked = Parked::new(&limits(1 << 16, 10));
        parked.stream(InStream(0), header(1), t0());
        let pieces = (1..).find(|_| {
            parked.piece(InStream(0), Bytes::from_static(b"x"));
            parked.evict().is_some()
        });
        assert_eq!(pieces, Some((1 << 16) / (PIECE_BYTES + 1)));
    }
}
