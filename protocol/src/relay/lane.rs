//! One subgroup on its way to one subscriber: what a stream of it carries, and how that stream ends.

use super::expiry::Age;
use super::track_log::{ObjectView, Position, Read, StreamEnd, SubgroupSeq, TrackLog};
use crate::moqt::codec::Codec;
use crate::moqt::error::ResetCode;
use crate::moqt::filter::ResolvedFilter;
use crate::moqt::location::{Location, ObjectId};
use crate::moqt::object::SubgroupHeader;
use bytes::{Bytes, BytesMut};
use std::time::Instant;

/// What there is to do next for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Write the pieces.
    Pieces {
        /// They end where the log ends for now.
        at_edge: bool,
    },
    /// The log has nothing new.
    Pending,
    /// What follows does not join on to what this stream carried: reset it with this code, and go on with another.
    Gap(ResetCode),
    /// The subgroup is over: write the pieces, then end the stream like this. Without a stream and without pieces
    /// there was nothing for this subscriber, and no stream is needed.
    End(StreamEnd),
    /// The log no longer has what follows: reset the stream with this code.
    Lost(ResetCode),
    /// What follows is too late to be sent, and with it the rest of the subgroup: reset the stream with this code.
    Expired(ResetCode),
}

/// What a look at the log shows, without taking anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// There is something to send, unless the filter passes it over.
    Something,
    /// Nothing yet.
    Nothing,
    /// No more to send: what is next is the end, or that it is lost.
    End,
}

/// A subscriber's place in one subgroup, and what the stream that carries it needs to know.
///
/// The owner opens a stream when the first piece comes, writes [`Self::stream_header`] on it, and does what
/// [`Taken`] says.
#[derive(Debug)]
pub struct LaneReader {
    seq: SubgroupSeq,
    position: Position,
    header: SubgroupHeader,
    /// Object id of the last header taken for the stream; none before the first.
    previous: Option<ObjectId>,
    /// When that object's first byte came.
    at: Option<Instant>,
    /// Objects begun, those that were taken again included.
    objects: u64,
}

impl LaneReader {
    /// Reads the subgroup `seq` from `position` on; `header` stands at the start of each stream.
    #[must_use]
    pub const fn new(seq: SubgroupSeq, position: Position, header: SubgroupHeader) -> Self {
        Self {
            seq,
            position,
            header,
            previous: None,
            at: None,
            objects: 0,
        }
    }

    /// The subgroup in the log.
    #[must_use]
    pub const fn seq(&self) -> SubgroupSeq {
        self.seq
    }

    /// What stands at the start of the stream.
    #[must_use]
    pub const fn header(&self) -> &SubgroupHeader {
        &self.header
    }

    /// The place of what comes next, for [`Self::rewind`].
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// What comes next. Nothing is taken before its turn to be sent, so that the log alone bounds what waits.
    #[must_use]
    pub fn ahead(&self, log: &TrackLog) -> Ahead {
        let mut position = self.position;
        match log.read(self.seq, &mut position) {
            Read::Object(_) | Read::Payload(_) => Ahead::Something,
            Read::Pending => Ahead::Nothing,
            Read::End(_) | Read::Evicted => Ahead::End,
        }
    }

    /// Goes back to `position`, at which no stream was begun.
    pub const fn rewind(&mut self, position: Position) {
        self.position = position;
        self.previous = None;
    }

    /// When the first byte came of the object that was taken last.
    #[must_use]
    pub const fn taken_at(&self) -> Option<Instant> {
        self.at
    }

    /// Objects whose heads were taken so far (count). After [`Self::rewind`] they count again.
    #[must_use]
    pub const fn objects(&self) -> u64 {
        self.objects
    }

    /// The bytes at the start of a stream; none when the codec cannot write them.
    #[must_use]
    pub fn stream_header(&self, codec: Codec) -> Option<Bytes> {
        let mut header = BytesMut::with_capacity(32);
        codec.encode_subgroup_header(&self.header, &mut header).ok()?;
        Some(header.freeze())
    }

    /// Takes what comes next, until `out` has `max` pieces, and says how many bytes of payload that were.
    ///
    /// MOQT-14 §8.3 [D14-CLOSE-4]: in the order of the log and without leaving any out. What cannot go on like that
    /// ends the stream.
    ///
    /// The pieces are heads of objects, encoded once per object for all who also sent the one before it, and slices
    /// of payload that are shared with the log.
    pub fn take(
        &mut self,
        log: &TrackLog,
        codec: Codec,
        filter: &ResolvedFilter,
        max: usize,
        out: &mut Vec<Bytes>,
    ) -> (Taken, usize) {
        self.take_fresh(None, log, codec, filter, max, out)
    }

    /// As [`Self::take`]. At the time `now`, an object that is older than [`TrackLog::max_cache`] is not begun; without
    /// such a limit no time is needed. MOQT-14 §9.2.1.3 [D14-CACHE-4].
    pub fn take_fresh(
        &mut self,
        now: Option<Instant>,
        log: &TrackLog,
        codec: Codec,
        filter: &ResolvedFilter,
        max: usize,
        out: &mut Vec<Bytes>,
    ) -> (Taken, usize) {
        let age = Age {
            now,
            ..Age::default()
        };
        self.take_in_time(&age, log, codec, filter, max, out)
    }

    /// As [`Self::take_fresh`], for a subscription with a DELIVERY_TIMEOUT. MOQT-14 §9.2.1.2 [D14-TO-2].
    pub fn take_in_time(
        &mut self,
        age: &Age,
        log: &TrackLog,
        codec: Codec,
        filter: &ResolvedFilter,
        max: usize,
        out: &mut Vec<Bytes>,
    ) -> (Taken, usize) {
        let mut payload = 0;
        while out.len() < max {
            let before = self.position;
            if self.is_late(age, log) {
                return Self::expire(out, payload);
            }
            match log.read_fresh(age.now, self.seq, &mut self.position) {
                Read::Object(object) => {
                    let place = Location::new(self.header.group, object.header.id);
                    if !filter.admits(place) {
                        if self.previous.is_none() {
                            // MOQT-14 §9.7 [D14-SUB-5]: what lies outside the range is never sent.
                            log.skip_object(self.seq, &mut self.position);
                            continue;
                        }
                        self.position = before;
                        if !out.is_empty() {
                            return (Taken::Pieces { at_edge: false }, payload);
                        }
                        // MOQT-14 §10.4.3 [D14-CLOSE-3]: an update made a gap, so the rest goes on another stream.
                        self.previous = None;
                        return (Taken::Gap(ResetCode::Cancelled), payload);
                    }
                    if age.is_in_vain(object.at, object.header.payload_len) {
                        self.position = before;
                        return Self::expire(out, payload);
                    }
                    let Some(head) = self.head(codec, &object) else {
                        return (LOST, payload);
                    };
                    (self.previous, self.at) = (Some(object.header.id), Some(object.at));
                    self.objects += 1;
                    out.push(head);
                }
                Read::Payload(bytes) => {
                    payload += bytes.len();
                    out.push(bytes);
                }
                // MOQT-14 §10.4.3 [D14-CLOSE-5]: a reset upstream is a reset downstream, never a FIN.
                Read::End(end) => return (Taken::End(end), payload),
                Read::Pending if out.is_empty() => return (Taken::Pending, payload),
                Read::Pending => return (Taken::Pieces { at_edge: true }, payload),
                Read::Evicted if self.is_old(age, log) => return Self::expire(out, payload),
                Read::Evicted => return (LOST, payload),
            }
        }
        (Taken::Pieces { at_edge: false }, payload)
    }

    /// The object that it is in the middle of has had its time.
    fn is_late(&self, age: &Age, log: &TrackLog) -> bool {
        age.timeout.is_some()
            && self.position.is_in_object()
            && log
                .waiting_since(self.seq, &self.position)
                .is_some_and(|at| age.is_over(at))
    }

    /// What follows is there, and may not be begun any more.
    fn is_old(&self, age: &Age, log: &TrackLog) -> bool {
        age.now
            .is_some_and(|now| log.is_too_old(now, self.seq, &self.position))
    }

    /// What was taken before is sent first.
    const fn expire(out: &[Bytes], payload: usize) -> (Taken, usize) {
        if out.is_empty() {
            // MOQT-14 §9.2.1.2 [D14-TO-2]: the stream is reset; to pass over the object would hide that it is missing.
            (Taken::Expired(ResetCode::DeliveryTimeout), payload)
        } else {
            (Taken::Pieces { at_edge: false }, payload)
        }
    }

    /// The object's head for this stream: what the log has of the object, in the form of this stream.
    ///
    /// MOQT-14 §5.1 [D14-PARAM-7], §8.5 [D14-DATA-9]: nothing of it, nor of its payload, depends on who subscribes how.
    fn head(&self, codec: Codec, object: &ObjectView<'_>) -> Option<Bytes> {
        let encode = |previous| {
            let mut head = BytesMut::with_capacity(32 + object.header.extensions.len());
            match codec.encode_object_header(self.header.has_extensions, previous, object.header, &mut head) {
                Ok(()) => head.freeze(),
                Err(_) => Bytes::new(),
            }
        };
        let head = if object.previous == self.previous {
            object
                .encoded
                .get_or_encode(codec.family(), || encode(object.previous))
        } else {
            encode(self.previous)
        };
        (!head.is_empty()).then_some(head)
    }
}

/// What was to be sent is gone. MOQT-14 §10.4.3 [D14-CLOSE-1].
const LOST: Taken = Taken::Lost(ResetCode::DeliveryTimeout);
