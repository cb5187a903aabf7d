//! How a log is read: cursors, positions, the live edge, the snapshot for replicas.

use super::chunk::{Append, LogDatagram, StreamEnd};
use super::subgroup::{EncodedHead, Object, SubgroupInfo};
use super::{SubgroupSeq, TrackLog};
use crate::moqt::location::ObjectId;
use crate::moqt::object::ObjectHeader;
use bytes::Bytes;
use std::time::Instant;

/// A reader's place in the order of arrival, one for subgroups and one for datagrams. The default sees all that is
/// kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    subgroup: u64,
    datagram: u64,
}

/// A reader's place in one subgroup. The default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the object, counted from the first that the subgroup ever had.
    object: u64,
    /// Number of the next chunk of its payload; none while its header is not read.
    chunk: Option<u64>,
    /// While its header is read: bytes of the subgroup's payload before that chunk.
    offset: u64,
}

/// What follows at a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// This; the cursor stands behind it.
    Ready(T),
    /// Nothing yet.
    Pending,
    /// This many were evicted before the reader came; the cursor stands behind them.
    Lagged(u64),
}

/// What follows at a position.
#[derive(Debug)]
pub enum Read<'a> {
    /// An object begins; its payload follows unless it has none.
    Object(ObjectView<'a>),
    /// The next piece of the payload of the object that was read last, shared with the log.
    Payload(Bytes),
    /// The subgroup is over; after a reset the object that was read last may be incomplete. Read again, the same.
    End(StreamEnd),
    /// Nothing yet.
    Pending,
    /// What follows is gone; the reader cannot go on in this subgroup.
    Evicted,
}

/// An object that begins.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'a> {
    /// What stands before its payload.
    pub header: &'a ObjectHeader,
    /// The object before it in this subgroup, whether or not the reader sent that.
    pub previous: Option<ObjectId>,
    /// When its first byte came.
    pub at: Instant,
    /// Its header as bytes, for readers that sent `previous` (or begin the stream where `previous` is none).
    pub encoded: &'a EncodedHead,
}

/// Where a subscription begins: behind everything that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveEdge {
    /// Behind all subgroups and datagrams that were seen.
    pub cursor: Cursor,
    /// The subgroups that are open, in order of arrival, each with the place behind its last started object.
    pub open: Vec<(SubgroupSeq, Position)>,
}

impl TrackLog {
    /// Where a subscription that is made now begins.
    ///
    /// MOQT-14 §9.7 [D14-SUB-6]: past objects are never delivered to it, and an object in progress is past, since its
    /// first byte came before.
    #[must_use]
    pub fn live_edge(&self) -> LiveEdge {
        let behind = |&seq: &SubgroupSeq| {
            let entry = self.entries.get(&seq)?;
            let position = Position {
                object: entry.end_object(),
                ..Position::default()
            };
            Some((seq, position))
        };
        LiveEdge {
            cursor: Cursor {
                subgroup: self.next_seq,
                datagram: self.next_datagram,
            },
            open: self.open.iter().filter_map(behind).collect(),
        }
    }

    /// The next subgroup in order of arrival. Read it from `Position::default()`.
    pub fn next_subgroup(&self, cursor: &mut Cursor) -> Next<SubgroupSeq> {
        let kept = self.entries.range(SubgroupSeq(cursor.subgroup)..).next();
        let found = kept.map_or(self.next_seq, |(seq, _)| seq.0);
        match advance(&mut cursor.subgroup, found, self.next_seq) {
            Next::Ready(seq) => Next::Ready(SubgroupSeq(seq)),
            Next::Pending => Next::Pending,
            Next::Lagged(skipped) => Next::Lagged(skipped),
        }
    }

    /// The next datagram in order of arrival.
    pub fn next_datagram(&self, cursor: &mut Cursor) -> Next<&LogDatagram> {
        self.next_fresh_datagram(None, cursor)
    }

    /// As [`TrackLog::next_datagram`]. At the time `now`, one that is older than [`TrackLog::max_cache`] counts as
    /// evicted. MOQT-14 §9.2.1.3 [D14-CACHE-4].
    pub fn next_fresh_datagram(&self, now: Option<Instant>, cursor: &mut Cursor) -> Next<&LogDatagram> {
        let kept = self.datagrams.range(cursor.datagram..).next();
        let found = kept.map_or(self.next_datagram, |(&number, _)| number);
        match (advance(&mut cursor.datagram, found, self.next_datagram), kept) {
            (Next::Ready(_), Some((_, (at, _)))) if now.is_some_and(|now| self.is_expired(now, *at)) => {
                Next::Lagged(1)
            }
            (Next::Ready(_), Some((_, (_, datagram)))) => Next::Ready(datagram),
            (Next::Lagged(skipped), _) => Next::Lagged(skipped),
            (Next::Ready(_) | Next::Pending, _) => Next::Pending,
        }
    }

    /// What follows at `pos` in the subgroup `seq`, and moves `pos` behind it.
    ///
    /// After [`Read::Evicted`] neither that object nor any later one of the subgroup can be had.
    pub fn read(&self, seq: SubgroupSeq, pos: &mut Position) -> Read<'_> {
        self.read_fresh(None, seq, pos)
    }

    /// As [`TrackLog::read`]. At the time `now`, an object that is older than [`TrackLog::max_cache`] is not begun:
    /// [`Read::Evicted`]. Without such a limit no time is needed. MOQT-14 §9.2.1.3 [D14-CACHE-4].
    pub fn read_fresh(&self, now: Option<Instant>, seq: SubgroupSeq, pos: &mut Position) -> Read<'_> {
        let Some(entry) = self.entries.get(&seq) else {
            return Read::Evicted;
        };
        let at_edge = || entry.end.map_or(Read::Pending, Read::End);
        if let Some(number) = pos.chunk {
            let Some(object) = entry.object(pos.object) else {
                return Read::Evicted;
            };
            if number < object.end_chunk() {
                let Some(bytes) = entry.chunk_of(object, number) else {
                    return Read::Evicted;
                };
                let whole = number + 1 == object.end_chunk() && object.is_complete();
                *pos = if whole {
                    pos.after()
                } else {
                    pos.at_chunk(number + 1, pos.offset + bytes.len() as u64)
                };
                return Read::Payload(bytes.clone());
            }
            if !object.is_complete() {
                return at_edge();
            }
            *pos = pos.after();
        }
        match entry.object(pos.object) {
            // An object that has lost its first bytes cannot be begun any more.
            Some(Object { lost: 1.., .. }) => Read::Evicted,
            Some(object) if now.is_some_and(|now| self.is_expired(now, object.at)) => Read::Evicted,
            Some(object) => {
                // Nothing follows an empty object, so the position is behind it at once: it stays valid when the
                // object is evicted.
                let empty = object.header.payload_len == 0;
                *pos = if empty {
                    pos.after()
                } else {
                    pos.at_chunk(object.first_chunk, object.offset)
                };
                Read::Object(ObjectView {
                    header: &object.header,
                    previous: object.previous,
                    at: object.at,
                    encoded: &object.encoded,
                })
            }
            None if pos.object < entry.first_object => Read::Evicted,
            None => at_edge(),
        }
    }

    /// Passes over the payload that is left of the object that was read last; nothing when all of it was read.
    pub fn skip_object(&self, _seq: SubgroupSeq, pos: &mut Position) {
        if pos.chunk.is_some() {
            *pos = pos.after();
        }
    }

    /// Chunks that rebuild every open subgroup, and nothing that is closed or evicted, in an empty log. Payload is
    /// shared.
    ///
    /// A [`TrackLog::replica`] that is fed these, [`TrackLog::largest`] (by [`TrackLog::seed_largest`]) and what
    /// [`super::Appended::for_replica`] lets through afterwards shows its readers the same from then on as this one.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Append> {
        let mut chunks = Vec::new();
        for entry in self.open.iter().filter_map(|seq| self.entries.get(seq)) {
            chunks.push(opened(entry.stream, entry.info));
            for object in &entry.objects {
                chunks.push(Append::ObjectStarted {
                    stream: entry.stream,
                    header: object.header.clone(),
                });
                if object.lost > 0 {
                    chunks.push(Append::Missing {
                        stream: entry.stream,
                        bytes: object.lost,
                    });
                }
                let payload = (object.first_chunk..object.end_chunk())
                    .filter_map(|number| entry.chunk_of(object, number));
                chunks.extend(payload.map(|bytes| Append::Payload {
                    stream: entry.stream,
                    bytes: bytes.clone(),
                }));
            }
        }
        // Streams that brought nothing new yet come last: they may continue one of those above.
        let waiting = self.streams.iter().filter(|(_, ingress)| ingress.seq.is_none());
        chunks.extend(waiting.map(|(&stream, ingress)| opened(stream, ingress.info)));
        chunks
    }
}

impl Cursor {
    pub(super) const fn next_seq(&self) -> SubgroupSeq {
        SubgroupSeq(self.subgroup)
    }

    pub(super) const fn next_datagram(&self) -> u64 {
        self.datagram
    }
}

impl Position {
    /// The header of an object is read, and some of its payload is not.
    #[must_use]
    pub const fn is_in_object(&self) -> bool {
        self.chunk.is_some()
    }

    pub(super) const fn object_number(&self) -> u64 {
        self.object
    }

    /// Bytes of the subgroup's payload that are read, in the middle of an object.
    pub(super) const fn read_until(&self) -> Option<u64> {
        match self.chunk {
            Some(_) => Some(self.offset),
            None => None,
        }
    }

    const fn after(self) -> Self {
        Self {
            object: self.object + 1,
            chunk: None,
            offset: 0,
        }
    }

    const fn at_chunk(self, number: u64, offset: u64) -> Self {
        Self {
            object: self.object,
            chunk: Some(number),
            offset,
        }
    }
}

/// Moves `at` to what follows it: `found` is the first number kept at or after it, `end` the first not given yet.
fn advance(at: &mut u64, found: u64, end: u64) -> Next<u64> {
    let skipped = found.saturating_sub(*at);
    if skipped > 0 {
        *at = found;
        Next::Lagged(skipped)
    } else if found >= end {
        Next::Pending
    } else {
        *at = found + 1;
        Next::Ready(found)
    }
}

const fn opened(stream: u64, info: SubgroupInfo) -> Append {
    Append::SubgroupOpened {
        stream,
        group: info.group,
        subgroup: info.subgroup,
        priority: info.priority,
        has_extensions: info.has_extensions,
        end_of_group: info.end_of_group,
    }
}
