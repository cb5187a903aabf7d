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
use std::ops::ControlFlow;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No object to send has come yet, or the peer grants no stream for it, so there is none.
    Waiting,
    /// The stream is open.
    Open,
    /// FIN was sent; waits until the peer has everything.
    Closing,
}

/// What a step leads to: the next one, or the answer to whoever polls.
type Then = ControlFlow<Poll<()>>;
const GO_ON: Then = ControlFlow::Continue(());
const PENDING: Then = ControlFlow::Break(Poll::Pending);
const OVER: Then = ControlFlow::Break(Poll::Ready(()));

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
    /// There from `Open` on.
    stream: Option<SendGuard>,
    out: Vec<Bytes>,
    /// `out` ends where the log ended when it was filled.
    at_edge: bool,
    written: usize,
    /// Object id of the last header written on this stream.
    previous: Option<ObjectId>,
    end: Option<StreamEnd>,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, codec: Codec, conn: ConnHandle, streams: Rc<Streams>) -> Self {
        handle::stream_begins(spec.log);
        let control = streams.add(spec.seq, spec.header.group);
        Self {
            spec,
            codec,
            conn,
            streams,
            control,
            state: State::Waiting,
            stream: None,
            out: Vec::with_capacity(BATCH),
            at_edge: false,
            written: 0,
            previous: None,
            end: None,
        }
    }

    /// Takes the next pieces from the log.
    fn fill(&mut self) -> Filled {
        let log = self.spec.log;
        self.at_edge = false;
        let before = self.written;
        let take = |log: &TrackLog| (self.fill_from(log), self.written - before);
        handle::take(log, take).unwrap_or(Filled::Lost)
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
                Read::Pending => {
                    self.at_edge = true;
                    return Filled::Some;
                }
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

    /// The peer stopped some stream of the connection: this one looks at its own, if nothing else would.
    pub(super) fn look_for_stop(&self) {
        if self.control.hungry.get() {
            self.control.stopped.set(true);
            self.control.waker.wake();
        }
    }

    fn stream_header(&self) -> Option<Bytes> {
        let mut header = BytesMut::with_capacity(32);
        self.codec
            .encode_subgroup_header(&self.spec.header, &mut header)
            .ok()?;
        Some(header.freeze())
    }

    /// Writes what was taken from the log; ready when all of it is with the transport.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(()));
        };
        while !self.out.is_empty() {
            match stream.poll_send_vectored(&mut self.out, cx) {
                Poll::Ready(Ok(done)) if done >= self.out.len() => self.out.clear(),
                Poll::Ready(Ok(done)) => drop(self.out.drain(..done)),
                // MOQT-14 §10.4.3 [D14-CLOSE-7]: a subscriber that refuses one stream loses only that one.
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: ResetCode) {
        if let Some(mut stream) = self.stream.take() {
            stream.reset(self.codec.reset_code(code));
        }
    }

    /// Does what can be done now.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(code) = self.control.reset.take() {
            self.reset(code);
            return Poll::Ready(());
        }
        if self.control.stopped.take() && self.stream.as_mut().is_some_and(|stream| stream.check().is_err()) {
            // MOQT-14 §10.4.3 [D14-CLOSE-7]: the peer refuses this stream, and nothing would be written to find out.
            self.stream = None;
            return Poll::Ready(());
        }
        loop {
            let then = match self.state {
                State::Waiting => self.open(cx),
                State::Open => self.send(cx),
                State::Closing => self.close(cx),
            };
            if let ControlFlow::Break(polled) = then {
                return polled;
            }
        }
    }

    /// Opens a stream for the first object to send.
    fn open(&mut self, cx: &mut Context<'_>) -> Then {
        let begin = self.spec.position;
        match self.fill() {
            Filled::Pending => return self.starve(),
            Filled::Lost => {
                self.streams.count_lagged();
                return OVER;
            }
            // Only a stream can have one.
            Filled::Gap => return OVER,
            // A subgroup without objects for this subscriber needs no stream.
            Filled::End(_) if self.out.is_empty() => return OVER,
            Filled::End(end) => self.end = Some(end),
            Filled::Some => {}
        }
        let stream = match self.conn.poll_open_uni(cx) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(_)) => return OVER,
            Poll::Pending => {
                // What was found stays in the log alone, which may evict it: a peer that grants no stream must not
                // make this side keep payload. [D14-LIM-4]
                self.out.clear();
                self.spec.position = begin;
                (self.previous, self.end, self.written) = (None, None, 0);
                return PENDING;
            }
        };
        let Some(header) = self.stream_header() else {
            return OVER;
        };
        self.streams.count_opened();
        self.out.insert(0, header);
        self.stream = Some(stream);
        self.state = State::Open;
        GO_ON
    }

    /// There is nothing to do until the log has more.
    fn starve(&self) -> Then {
        self.control.hungry.set(true);
        PENDING
    }

    /// Writes what there is, then takes more.
    fn send(&mut self, cx: &mut Context<'_>) -> Then {
        match self.write(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(())) => return self.let_go(),
            Poll::Pending => return PENDING,
        }
        match self.end {
            Some(StreamEnd::Fin) => {
                if self.stream.as_mut().is_none_or(|stream| stream.finish().is_err()) {
                    return self.let_go();
                }
                self.state = State::Closing;
                return GO_ON;
            }
            // MOQT-14 §10.4.3 [D14-CLOSE-5]: a reset upstream is a reset downstream, never a FIN.
            Some(StreamEnd::Reset(code)) => {
                self.reset(code);
                return OVER;
            }
            None => {}
        }
        if self.written >= TURN {
            self.written = 0;
            cx.waker().wake_by_ref();
            return PENDING;
        }
        if self.at_edge {
            return self.starve();
        }
        match self.fill() {
            Filled::Some => {}
            Filled::End(end) => self.end = Some(end),
            Filled::Pending => return self.starve(),
            // MOQT-14 §10.4.3 [D14-CLOSE-3]: an update made a gap, so the rest goes on another stream.
            Filled::Gap => {
                self.reset(ResetCode::Cancelled);
                self.previous = None;
                self.state = State::Waiting;
            }
            Filled::Lost => {
                self.streams.count_lagged();
                self.reset(ResetCode::DeliveryTimeout);
                return OVER;
            }
        }
        GO_ON
    }

    fn close(&mut self, cx: &mut Context<'_>) -> Then {
        // MOQT-14 §9.12 [D14-SUB-19]: PUBLISH_DONE must not overtake the objects it ends.
        match self.stream.as_mut().map(|stream| stream.poll_delivered(cx)) {
            Some(Poll::Pending) => PENDING,
            Some(Poll::Ready(_)) | None => self.let_go(),
        }
    }

    /// The stream has ended on the peer's side; ours goes with it.
    fn let_go(&mut self) -> Then {
        self.stream = None;
        OVER
    }
}

impl Future for Lane {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let lane = self.get_mut();
        lane.control.hungry.set(false);
        // Nothing is appended while the lane runs, but much may have been since it ran last.
        lane.at_edge = false;
        let polled = lane.step(cx);
        if polled.is_pending() {
            lane.control.waker.keep(cx.waker());
        }
        polled
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        handle::stream_ends(self.spec.log);
        self.streams.closed(self.spec.seq, &self.control);
    }
}
