//! One downstream stream: reads one subgroup of the log and writes it, as fast as the peer takes it.

use super::streams::{LaneControl, Streams};
use crate::track::Taker;
use crate::track::handle::{self, LogId};
use crate::transport::{ConnHandle, SendGuard};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::relay::expiry::Handed;
use laps_protocol::relay::lane::{LaneReader, Taken};
use laps_protocol::relay::track_log::StreamEnd;
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
    /// The subgroup in it, and from where on.
    pub reader: LaneReader,
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

/// The future that writes one stream. It ends when the stream is closed; dropped early, it resets the stream.
pub(super) struct Lane {
    spec: LaneSpec,
    codec: Codec,
    conn: ConnHandle,
    streams: Rc<Streams>,
    control: Rc<LaneControl>,
    taker: Option<Rc<Taker>>,
    state: State,
    /// There from `Open` on.
    stream: Option<SendGuard>,
    out: Vec<Bytes>,
    /// `out` ends where the log ended when it was filled.
    at_edge: bool,
    written: usize,
    /// Bytes of the stream that were taken for it, and room for unsent ones when it was opened.
    filled: u64,
    capacity: usize,
    handed: Handed,
    end: Option<StreamEnd>,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, codec: Codec, conn: ConnHandle, streams: Rc<Streams>) -> Self {
        let taker = streams.takes(spec.log);
        if let Some(taker) = &taker {
            taker.stream_begins();
        }
        let control = streams.add(
            spec.reader.seq(),
            spec.reader.header().group,
            spec.reader.position(),
        );
        Self {
            spec,
            codec,
            conn,
            streams,
            control,
            taker,
            state: State::Waiting,
            stream: None,
            out: Vec::with_capacity(BATCH),
            at_edge: false,
            written: 0,
            filled: 0,
            capacity: 0,
            handed: Handed::default(),
            end: None,
        }
    }

    /// Takes the next pieces from the log.
    fn fill(&mut self) -> Taken {
        let LaneSpec { log, reader, filter } = &mut self.spec;
        let (codec, filter) = (self.codec, filter.get());
        let (out, written) = (&mut self.out, &mut self.written);
        let before = *written;
        let taken = handle::read(*log, |log| {
            let age = self.streams.age(log, self.conn.stats());
            let waits = age
                .timeout
                .and_then(|_| log.waiting_since(reader.seq(), &reader.position()));
            let (taken, payload) = reader.take_in_time(&age, log, codec, &filter, BATCH, out);
            self.control.take(reader.position(), payload, waits);
            *written += payload;
            taken
        });
        self.filled += out.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if let Some(taker) = &self.taker {
            taker.took(*written - before);
        }
        self.at_edge = taken == Some(Taken::Pieces { at_edge: true });
        taken.unwrap_or(Taken::Lost(ResetCode::DeliveryTimeout))
    }

    /// The peer stopped some stream of the connection: this one looks at its own, if nothing else would.
    pub(super) fn look_for_stop(&self) {
        if self.control.hungry.get() {
            self.control.stopped.set(true);
            self.control.waker.wake();
        }
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
        if self.control.overdue.take() && self.is_stuck(cx) {
            // MOQT-14 §9.2.1.2 [D14-TO-2]
            self.streams.count_expired();
            self.reset(ResetCode::DeliveryTimeout);
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

    /// Something that the transport was given has had its time, and the peer does not have it.
    fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(stream), Some(timeout)) = (&mut self.stream, self.streams.timeout()) else {
            return false;
        };
        let oldest = if self.state == State::Closing {
            // The transport says no more than that the peer lacks something.
            self.handed.newest()
        } else {
            let waits = match stream.poll_ready(cx) {
                Poll::Ready(Ok(room)) => self.capacity.saturating_sub(room),
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => self.capacity,
            };
            let unwritten: usize = self.out.iter().map(Bytes::len).sum();
            self.handed
                .delivered(self.filled.saturating_sub((waits + unwritten) as u64));
            self.handed.oldest()
        };
        self.control.handed.set(oldest);
        let grace = timeout + Streams::grace(self.conn.stats());
        let is_stuck = oldest.is_some_and(|at| at.elapsed() >= grace);
        if !is_stuck {
            // Whoever asked has yet to hear when to ask again.
            self.streams.looked();
        }
        is_stuck
    }

    /// Opens a stream for the first object to send.
    fn open(&mut self, cx: &mut Context<'_>) -> Then {
        let (begin, before) = (self.spec.reader.position(), self.written);
        match self.fill() {
            Taken::Pending => return self.starve(),
            Taken::Lost(_) => {
                self.streams.lose();
                return OVER;
            }
            Taken::Expired(_) => {
                self.streams.count_expired();
                return OVER;
            }
            // Only a stream can have one.
            Taken::Gap(_) => return OVER,
            // A subgroup without objects for this subscriber needs no stream.
            Taken::End(_) if self.out.is_empty() => return OVER,
            Taken::End(end) => self.end = Some(end),
            Taken::Pieces { .. } => {}
        }
        let stream = match self.conn.poll_open_uni(cx) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(_)) => return OVER,
            Poll::Pending => {
                // What was found stays in the log alone, which may evict it: a peer that grants no stream must not
                // make this side keep payload. [D14-LIM-4]
                self.out.clear();
                self.filled = 0;
                self.spec.reader.rewind(begin);
                self.control.give_back(begin);
                if let Some(taker) = &self.taker {
                    taker.gave_back(self.written - before);
                }
                (self.end, self.written) = (None, 0);
                return PENDING;
            }
        };
        let Some(header) = self.spec.reader.stream_header(self.codec) else {
            return OVER;
        };
        self.streams.count_opened();
        self.filled += header.len() as u64;
        self.out.insert(0, header);
        // Nothing of it waits yet, so all the room there ever is is free.
        let mut stream = stream;
        self.capacity = match stream.poll_ready(cx) {
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
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
        self.streams.sent(&self.control);
        if let (Some(timeout), Some(at)) = (self.streams.timeout(), self.spec.reader.taken_at()) {
            self.handed.note(at, self.filled, timeout);
            self.control.handed.set(self.handed.oldest());
        }
        match self.end {
            Some(StreamEnd::Fin) => {
                if self.stream.as_mut().is_none_or(|stream| stream.finish().is_err()) {
                    return self.let_go();
                }
                self.control.closing.set(true);
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
            Taken::Pieces { .. } => {}
            Taken::End(end) => self.end = Some(end),
            Taken::Pending => return self.starve(),
            Taken::Gap(code) => {
                self.reset(code);
                (self.filled, self.handed) = (0, Handed::default());
                self.state = State::Waiting;
            }
            Taken::Lost(code) => {
                self.streams.lose();
                self.reset(code);
                return OVER;
            }
            Taken::Expired(code) => {
                self.streams.count_expired();
                self.reset(code);
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
        if let Some(taker) = &self.taker {
            taker.stream_ends();
        }
        self.streams.closed(self.spec.reader.seq(), &self.control);
    }
}
