//! One downstream stream: reads one subgroup of the log and writes it, as fast as the peer takes it.

use super::streams::{LaneControl, Streams};
use crate::track::handle::{self, LogId};
use crate::transport::{ConnHandle, SendGuard};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::{Location, ObjectId};
use laps_protocol::moqt::object::SubgroupHeader;
use laps_protocol::relay::track_log::{ObjectView, Position, Read, StreamEnd, SubgroupSeq, TrackLog};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Pieces handed to the transport in one call: headers and payload slices, not objects.
const BATCH: usize = 32;
/// Bytes one lane writes before the others get their turn.
const TURN: usize = 64 * 1024;

/// What a lane is to send.
#[derive(Debug)]
pub struct LaneSpec {
    /// The log of this arbiter.
    pub log: LogId,
    /// The subgroup in it.
    pub seq: SubgroupSeq,
    /// From where on.
    pub position: Position,
    /// What stands at the start of the stream.
    pub header: SubgroupHeader,
    /// Which objects pass; shared with the subscription, which may narrow it.
    pub filter: Rc<Cell<ResolvedFilter>>,
}

enum State {
    /// No object to send has come yet, so there is no stream.
    Waiting,
    /// There is something to send; a stream is asked for.
    Opening,
    /// The stream is open.
    Open(SendGuard),
    /// FIN was sent; waits until the peer has everything.
    Closing(SendGuard),
}

enum Filled {
    /// There is something to write.
    Some,
    /// The log has nothing new.
    Pending,
    /// What follows does not join on to what this stream carried.
    Gap,
    /// The subgroup ended; what is in `out` is the rest.
    End(StreamEnd),
    /// The log no longer has it.
    Lost,
}

/// The future that writes one stream. It ends when the stream is closed; dropped early, it resets the stream.
pub(super) struct Lane {
    spec: LaneSpec,
    codec: Codec,
    conn: ConnHandle,
    streams: Rc<Streams>,
    control: Rc<LaneControl>,
    state: State,
    out: Vec<Bytes>,
    written: usize,
    /// Object id of the last header written on this stream.
    previous: Option<ObjectId>,
    end: Option<StreamEnd>,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, codec: Codec, conn: ConnHandle, streams: Rc<Streams>) -> Self {
        let control = streams.add(spec.seq, spec.header.group);
        Self {
            spec,
            codec,
            conn,
            streams,
            control,
            state: State::Waiting,
            out: Vec::with_capacity(BATCH),
            written: 0,
            previous: None,
            end: None,
        }
    }

    /// Takes the next pieces from the log.
    fn fill(&mut self) -> Filled {
        let log = self.spec.log;
        handle::read(log, |log| self.fill_from(log)).unwrap_or(Filled::Lost)
    }

    fn fill_from(&mut self, log: &TrackLog) -> Filled {
        let seq = self.spec.seq;
        while self.out.len() < BATCH {
            let before = self.spec.position;
            match log.read(seq, &mut self.spec.position) {
                Read::Object(object) => {
                    let place = Location::new(self.spec.header.group, object.header.id);
                    if !self.spec.filter.get().admits(place) {
                        if self.previous.is_some() {
                            self.spec.position = before;
                            return if self.out.is_empty() {
                                Filled::Gap
                            } else {
                                Filled::Some
                            };
                        }
                        // MOQT-14 §9.7 [D14-SUB-5]: what lies outside the range is never sent.
                        log.skip_object(seq, &mut self.spec.position);
                        continue;
                    }
                    let Some(head) = self.head(&object) else {
                        return Filled::Lost;
                    };
                    self.previous = Some(object.header.id);
                    self.out.push(head);
                }
                Read::Payload(bytes) => {
                    self.written += bytes.len();
                    self.out.push(bytes);
                }
                Read::End(end) => return Filled::End(end),
                Read::Pending if self.out.is_empty() => return Filled::Pending,
                Read::Pending => return Filled::Some,
                Read::Evicted => return Filled::Lost,
            }
        }
        Filled::Some
    }

    /// The object's header for this stream; encoded once per object for all who also sent the one before it.
    fn head(&self, object: &ObjectView<'_>) -> Option<Bytes> {
        let extensions = self.spec.header.has_extensions;
        let encode = |previous| {
            let mut head = BytesMut::with_capacity(32 + object.header.extensions.len());
            match self
                .codec
                .encode_object_header(extensions, previous, object.header, &mut head)
            {
                Ok(()) => head.freeze(),
                Err(_) => Bytes::new(),
            }
        };
        let head = if object.previous == self.previous {
            object
                .encoded
                .get_or_encode(self.codec.family(), || encode(object.previous))
        } else {
            encode(self.previous)
        };
        (!head.is_empty()).then_some(head)
    }

    fn stream_header(&self) -> Option<Bytes> {
        let mut header = BytesMut::with_capacity(32);
        self.codec
            .encode_subgroup_header(&self.spec.header, &mut header)
            .ok()?;
        Some(header.freeze())
    }

    /// Writes what was taken from the log; ready when all of it is with the transport.
    fn write(&mut self, stream: &mut SendGuard, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        while !self.out.is_empty() {
            match stream.poll_send_vectored(&mut self.out, cx) {
                Poll::Ready(Ok(done)) => drop(self.out.drain(..done.min(self.out.len()))),
                // MOQT-14 §10.4.3 [D14-CLOSE-7]: a subscriber that refuses one stream loses only that one.
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: ResetCode) {
        let code = self.codec.reset_code(code);
        match std::mem::replace(&mut self.state, State::Waiting) {
            State::Open(mut stream) | State::Closing(mut stream) => stream.reset(code),
            State::Waiting | State::Opening => {}
        }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(code) = self.control.reset.take() {
            self.reset(code);
            return Poll::Ready(());
        }
        loop {
            match std::mem::replace(&mut self.state, State::Waiting) {
                State::Waiting => {
                    match self.fill() {
                        Filled::Pending => {
                            self.control.hungry.set(true);
                            return Poll::Pending;
                        }
                        Filled::Lost => {
                            self.streams.count_lagged();
                            return Poll::Ready(());
                        }
                        // Only a stream can have one.
                        Filled::Gap => return Poll::Ready(()),
                        // A subgroup without objects for this subscriber needs no stream.
                        Filled::End(_) if self.out.is_empty() => return Poll::Ready(()),
                        Filled::End(end) => self.end = Some(end),
                        Filled::Some => {}
                    }
                    self.state = State::Opening;
                }
                State::Opening => {
                    let opened = self.conn.poll_open_uni(cx);
                    self.state = State::Opening;
                    match opened {
                        Poll::Ready(Ok(stream)) => {
                            let Some(header) = self.stream_header() else {
                                return Poll::Ready(());
                            };
                            self.streams.count_opened();
                            self.out.insert(0, header);
                            self.state = State::Open(stream);
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                State::Open(mut stream) => {
                    match self.write(&mut stream, cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(())) => return Poll::Ready(()),
                        Poll::Pending => {
                            self.state = State::Open(stream);
                            return Poll::Pending;
                        }
                    }
                    match self.end {
                        Some(StreamEnd::Fin) => {
                            if stream.finish().is_err() {
                                return Poll::Ready(());
                            }
                            self.state = State::Closing(stream);
                            continue;
                        }
                        // MOQT-14 §10.4.3 [D14-CLOSE-5]: a reset upstream is a reset downstream, never a FIN.
                        Some(StreamEnd::Reset(code)) => {
                            stream.reset(self.codec.reset_code(code));
                            return Poll::Ready(());
                        }
                        None => {}
                    }
                    if self.written >= TURN {
                        self.written = 0;
                        self.state = State::Open(stream);
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    match self.fill() {
                        Filled::Some => {}
                        Filled::End(end) => self.end = Some(end),
                        Filled::Pending => {
                            self.control.hungry.set(true);
                            self.state = State::Open(stream);
                            return Poll::Pending;
                        }
                        // MOQT-14 §10.4.3 [D14-CLOSE-3]: an update made a gap, so the rest goes on another stream.
                        Filled::Gap => {
                            stream.reset(self.codec.reset_code(ResetCode::Cancelled));
                            self.previous = None;
                            continue;
                        }
                        Filled::Lost => {
                            self.streams.count_lagged();
                            stream.reset(self.codec.reset_code(ResetCode::DeliveryTimeout));
                            return Poll::Ready(());
                        }
                    }
                    self.state = State::Open(stream);
                }
                State::Closing(mut stream) => {
                    // MOQT-14 §9.12 [D14-SUB-19]: PUBLISH_DONE must not overtake the objects it ends.
                    if stream.poll_delivered(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    self.state = State::Closing(stream);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Future for Lane {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let lane = self.get_mut();
        lane.control.hungry.set(false);
        let polled = lane.step(cx);
        if polled.is_pending() {
            *lane.control.waker.borrow_mut() = Some(cx.waker().clone());
        }
        polled
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.streams.closed(self.spec.seq, &self.control);
    }
}
