//! The data of one connection in one direction: unidirectional streams and datagrams.

use super::{Rng, Weather};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Instant;

/// A unidirectional stream of one link, in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// Something that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// At the receiver: the next bytes of a stream, never empty.
    Bytes(StreamId, Bytes),
    /// At the receiver: the end of a stream, all of which came before.
    Fin(StreamId),
    /// At the receiver: the stream was reset with this code; it may not have seen a byte of it.
    Reset(StreamId, u64),
    /// At the receiver: a datagram.
    Datagram(Bytes),
    /// At the sender: the receiver wants no more of the stream, with this code.
    Stopped(StreamId, u64),
    /// At the sender: there is room again on this stream, or all of it has arrived.
    Acknowledged(StreamId),
}

/// Streams and datagrams from a sender to a receiver, as QUIC carries them.
///
/// Within a stream bytes arrive in order and whole, cut anywhere; what was lost comes later and holds up its own
/// stream only. A reset overtakes data and drops what has not arrived. Datagrams are lost and overtake each other.
/// A stream takes a window of bytes ahead of the receiver, a connection so many streams. The seed decides all of it.
#[derive(Debug)]
pub struct Link {
    rng: Rng,
    weather: Weather,
    window: usize,
    max_open: usize,
    streams: BTreeMap<StreamId, Flow>,
    next_stream: u64,
    under_way: BTreeMap<(Instant, u64), Delivery>,
    next_packet: u64,
    /// The wire has sent all that it was given by then.
    free_at: Option<Instant>,
    dead: bool,
}

/// One stream that is not over.
#[derive(Debug, Default)]
struct Flow {
    in_flight: usize,
    /// Nothing that is sent now arrives before this.
    in_order: Option<Instant>,
    /// FIN was sent.
    finished: bool,
    /// RESET_STREAM was sent.
    reset: bool,
}

impl Link {
    /// A link on which a stream holds up to `window` bytes that have not arrived, and `max_open` streams may be open.
    #[must_use]
    pub const fn new(seed: u64, weather: Weather, window: usize, max_open: usize) -> Self {
        Self {
            rng: Rng::new(seed),
            weather,
            window,
            max_open,
            streams: BTreeMap::new(),
            next_stream: 0,
            under_way: BTreeMap::new(),
            next_packet: 0,
            free_at: None,
            dead: false,
        }
    }

    /// Opens a stream; none when the receiver grants no more, or the connection is gone.
    pub fn open(&mut self) -> Option<StreamId> {
        if self.dead || self.streams.len() >= self.max_open {
            return None;
        }
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, Flow::default());
        Some(id)
    }

    /// Streams whose end has not arrived.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many bytes the stream takes now.
    #[must_use]
    pub fn room(&self, stream: StreamId) -> usize {
        let in_flight = self
            .streams
            .get(&stream)
            .map_or(usize::MAX, |flow| flow.in_flight);
        self.window.saturating_sub(in_flight)
    }

    /// Bytes under way on all streams.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.streams.values().map(|flow| flow.in_flight).sum()
    }

    /// True when nothing of the stream is under way any more: delivered to its FIN, reset, or lost with the
    /// connection.
    #[must_use]
    pub fn is_over(&self, stream: StreamId) -> bool {
        !self.streams.contains_key(&stream)
    }

    /// Sends bytes; the caller keeps to [`Self::room`]. Nothing happens after FIN or reset.
    pub fn write(&mut self, now: Instant, stream: StreamId, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let size = if self.rng.one_in(3) {
                1 + self.rng.below(SMALL)
            } else {
                PACKET
            };
            let packet = bytes.split_to(usize::try_from(size).unwrap_or(1).min(bytes.len()));
            let len = packet.len();
            let Some(flow) = self.streams.get_mut(&stream).filter(|flow| flow.is_writable()) else {
                return;
            };
            flow.in_flight += len;
            self.deliver_in_order(now, stream, len, Delivery::Bytes(stream, packet));
        }
    }

    /// Ends a stream in order.
    pub fn finish(&mut self, now: Instant, stream: StreamId) {
        let Some(flow) = self.streams.get_mut(&stream).filter(|flow| flow.is_writable()) else {
            return;
        };
        flow.finished = true;
        self.deliver_in_order(now, stream, 0, Delivery::Fin(stream));
    }

    /// Cuts a stream short: what has not arrived before the news of it is lost.
    pub fn reset(&mut self, now: Instant, stream: StreamId, code: u64) {
        let Some(flow) = self.streams.get_mut(&stream).filter(|flow| !flow.reset) else {
            return;
        };
        flow.reset = true;
        let at = now + self.weather.travel_reliably(&mut self.rng);
        self.file(at, Delivery::Reset(stream, code));
    }

    /// The receiver wants no more of a stream.
    pub fn stop(&mut self, now: Instant, stream: StreamId, code: u64) {
        let at = now + self.weather.travel_reliably(&mut self.rng);
        self.file(at, Delivery::Stopped(stream, code));
    }

    /// Sends a datagram, which may be lost.
    pub fn send_datagram(&mut self, now: Instant, datagram: Bytes) {
        let start = self.send_at(now, datagram.len());
        if self.weather.loses(&mut self.rng) {
            return;
        }
        let at = start + self.weather.travel(&mut self.rng);
        self.file(at, Delivery::Datagram(datagram));
    }

    /// Datagrams under way.
    #[must_use]
    pub fn datagrams(&self) -> usize {
        self.under_way
            .values()
            .filter(|delivery| matches!(delivery, Delivery::Datagram(_)))
            .count()
    }

    /// The connection is gone: nothing arrives any more.
    pub fn cut(&mut self) {
        self.dead = true;
        self.streams.clear();
        self.under_way.clear();
    }

    /// When something arrives next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// What has arrived by `now`, one after the other.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        while let Some(first) = self.under_way.first_entry() {
            if first.key().0 > now {
                return None;
            }
            let delivery = first.remove();
            match &delivery {
                Delivery::Datagram(_) | Delivery::Acknowledged(_) => return Some(delivery),
                Delivery::Stopped(stream, _) => {
                    if self.streams.get(stream).is_some_and(Flow::is_writable) {
                        return Some(delivery);
                    }
                }
                Delivery::Bytes(stream, bytes) => {
                    // A stream that is gone was reset.
                    if let Some(flow) = self.streams.get_mut(stream) {
                        flow.in_flight -= bytes.len();
                        let acknowledged = Delivery::Acknowledged(*stream);
                        self.file(now, acknowledged);
                        return Some(delivery);
                    }
                }
                Delivery::Fin(stream) | Delivery::Reset(stream, _) => {
                    if self.streams.remove(stream).is_some() {
                        let acknowledged = Delivery::Acknowledged(*stream);
                        self.file(now, acknowledged);
                        return Some(delivery);
                    }
                }
            }
        }
        None
    }

    fn deliver_in_order(&mut self, now: Instant, stream: StreamId, bytes: usize, delivery: Delivery) {
        let at = self.send_at(now, bytes) + self.weather.travel_reliably(&mut self.rng);
        let Some(flow) = self.streams.get_mut(&stream) else {
            return;
        };
        let at = flow.in_order.map_or(at, |earlier| earlier.max(at));
        flow.in_order = Some(at);
        self.file(at, delivery);
    }

    /// When the last of so many bytes is on the wire.
    fn send_at(&mut self, now: Instant, bytes: usize) -> Instant {
        let start = self.free_at.map_or(now, |free| free.max(now));
        let sent = start + self.weather.airtime(bytes);
        self.free_at = Some(sent);
        sent
    }

    fn file(&mut self, at: Instant, delivery: Delivery) {
        if !self.dead {
            self.under_way.insert((at, self.next_packet), delivery);
            self.next_packet += 1;
        }
    }
}

impl Flow {
    const fn is_writable(&self) -> bool {
        !self.finished && !self.reset
    }
}

/// Bytes of a full packet.
const PACKET: u64 = 1200;
/// Bytes of the largest of the small packets.
const SMALL: u64 = 64;

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "only some deliveries matter here")]
mod tests {
    use super::*;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "a base of virtual time")]
    fn base() -> Instant {
        Instant::now()
    }

    const STORM: Weather = Weather {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(50),
        lost_one_in: 4,
        recovery: Duration::from_millis(100),
        bytes_per_ms: 100,
    };

    fn drain(link: &mut Link) -> Vec<Delivery> {
        let mut all = Vec::new();
        while let Some(at) = link.due() {
            while let Some(delivery) = link.poll(at) {
                all.push(delivery);
            }
        }
        all
    }

    #[test]
    fn a_stream_arrives_whole_and_in_order_whatever_is_lost() {
        let mut overtaken = false;
        for seed in 0..50 {
            let mut link = Link::new(seed, STORM, usize::MAX, 9);
            let now = base();
            let streams = [link.open().unwrap(), link.open().unwrap()];
            for stream in streams {
                for part in 0..20u8 {
                    link.write(now, stream, Bytes::from(vec![part; 100]));
                }
                link.finish(now, stream);
            }
            assert_eq!(link.in_flight(), 4000);
            let all = drain(&mut link);
            for stream in streams {
                let bytes: Vec<u8> = all
                    .iter()
                    .filter_map(|delivery| match delivery {
                        Delivery::Bytes(id, bytes) if *id == stream => Some(bytes.to_vec()),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                let whole: Vec<u8> = (0..20u8).flat_map(|part| vec![part; 100]).collect();
                assert_eq!(bytes, whole);
                assert!(link.is_over(stream));
            }
            let ends: Vec<_> = all.iter().filter(|d| matches!(d, Delivery::Fin(_))).collect();
            assert_eq!(ends.len(), 2);
            overtaken |= *ends[0] == Delivery::Fin(streams[1]);
        }
        assert!(overtaken, "streams never overtook each other");
    }

    #[test]
    fn a_reset_drops_what_is_under_way_and_comes_once() {
        let mut dropped = 0;
        for seed in 0..50 {
            let mut link = Link::new(seed, STORM, 1000, 1);
            let now = base();
            let stream = link.open().unwrap();
            assert_eq!(link.open(), None);
            link.write(now, stream, Bytes::from(vec![1; 1000]));
            assert_eq!(link.room(stream), 0);
            link.reset(now, stream, 7);
            link.write(now, stream, Bytes::from_static(b"late"));
            link.finish(now, stream);
            let all = drain(&mut link);
            assert_eq!(
                all.iter().filter(|d| **d == Delivery::Reset(stream, 7)).count(),
                1
            );
            assert!(!all.contains(&Delivery::Fin(stream)));
            let bytes: usize = all
                .iter()
                .map(|d| match d {
                    Delivery::Bytes(_, bytes) => bytes.len(),
                    _ => 0,
                })
                .sum();
            dropped += 1000 - bytes;
            assert!(link.open().is_some());
        }
        assert!(dropped > 0);
    }

    #[test]
    fn datagrams_are_lost_and_overtake_each_other() {
        let mut link = Link::new(3, STORM, 0, 0);
        let now = base();
        for n in 0..100u8 {
            link.send_datagram(now, Bytes::from(vec![n]));
        }
        let all = drain(&mut link);
        assert!((50..95).contains(&all.len()), "{}", all.len());
        let numbers: Vec<u8> = all
            .iter()
            .map(|d| match d {
                Delivery::Datagram(bytes) => bytes[0],
                _ => panic!(),
            })
            .collect();
        assert!(!numbers.is_sorted());
    }
}
