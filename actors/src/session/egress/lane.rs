//! One downstream stream: reads one subgroup of the log and writes it, when it is its turn.

use super::openers::Opener;
use super::pieces;
use super::rank::Rank;
use super::streams::{LaneControl, Streams};
use crate::metrics::{Count, tally};
use crate::track::Taker;
use crate::track::handle::{self, LogId};
use crate::transport::{ConnHandle, SendGuard};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::object::SubgroupIdMode;
use laps_protocol::relay::expiry::Handed;
use laps_protocol::relay::lane::{Ahead, LaneReader, Taken};
use laps_protocol::relay::scheduler::SendOrder;
use laps_protocol::relay::track_log::StreamEnd;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Pieces handed to the transport in one call: headers and payload slices, not objects.
const BATCH: usize = 32;

/// What a lane is to send.
#[derive(Debug)]
pub struct LaneSpec {
    /// The log of this arbiter.
    pub log: LogId,
    /// The subgroup in it, and from where on.
    pub reader: LaneReader,
    /// Which objects pass; shared with the subscription, which may narrow it.
    pub filter: Rc<Cell<ResolvedFilter>>,
    /// Its place among others; shared with the subscription, which may change it.
    pub rank: Rc<Rank>,
    /// What stands before the SUBGROUP_HEADER, in one write with it; nothing in a session.
    pub prefix: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No object to send has come yet, or the peer grants no stream for it, so there is none.
    Waiting,
    /// The stream is open.
    Open,
    /// FIN was sent, or a reset is to follow; waits until the peer has everything.
    Closing,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// There is more to send.
    More,
    /// It waits, and is woken.
    Parked,
    /// The stream is closed.
    Over,
}

/// What a step leads to: the next one, or the end of the turn.
type Then = ControlFlow<Turned>;
const GO_ON: Then = ControlFlow::Continue(());
const MORE: Then = ControlFlow::Break(Turned::More);
const PARKED: Then = ControlFlow::Break(Turned::Parked);
const OVER: Then = ControlFlow::Break(Turned::Over);

/// What writes one stream. Dropped early, it resets the stream.
pub(super) struct Lane {
    spec: LaneSpec,
    codec: Codec,
    conn: ConnHandle,
    opener: Opener,
    streams: Rc<Streams>,
    control: Rc<LaneControl>,
    taker: Option<Rc<Taker>>,
    state: State,
    /// It waits for the peer to grant a stream for what it has found.
    needs_stream: bool,
    /// There from `Open` on.
    stream: Option<SendGuard>,
    out: Vec<Bytes>,
    /// Bytes at the front of `out` that are not to be parted.
    whole: usize,
    /// `out` ends where the log ended when it was filled.
    at_edge: bool,
    /// Bytes of the stream that were taken for it, and room for unsent ones when it was opened.
    filled: u64,
    capacity: usize,
    handed: Handed,
    end: Option<StreamEnd>,
    /// The stream is closed.
    over: bool,
}

impl Lane {
    pub(super) fn new(
        spec: LaneSpec,
        codec: Codec,
        conn: ConnHandle,
        opener: Opener,
        streams: Rc<Streams>,
    ) -> Self {
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
            opener,
            streams,
            control,
            taker,
            state: State::Waiting,
            needs_stream: false,
            stream: None,
            out: Vec::with_capacity(BATCH),
            whole: 0,
            at_edge: false,
            filled: 0,
            capacity: 0,
            handed: Handed::default(),
            end: None,
            over: false,
        }
    }

    /// Takes the next pieces from the log; the value is also how many bytes of payload they are.
    fn fill(&mut self) -> (Taken, usize) {
        let LaneSpec {
            log, reader, filter, ..
        } = &mut self.spec;
        let (codec, filter, out) = (self.codec, filter.get(), &mut self.out);
        let before = reader.objects();
        let taken = handle::read(*log, |log| {
            let age = self.streams.age(log, self.conn.stats());
            let wants = age.timeout.is_some() || self.streams.is_timed();
            let waits = wants
                .then(|| log.waiting_since(reader.seq(), &reader.position()))
                .flatten();
            let (taken, payload) = reader.take_in_time(&age, log, codec, &filter, BATCH, out);
            self.control
                .take(reader.position(), (reader.objects() - before, payload), waits);
            (taken, payload)
        });
        self.filled += out.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let (taken, payload) = taken.unwrap_or((Taken::Lost(ResetCode::DeliveryTimeout), 0));
        if let Some(taker) = &self.taker {
            taker.took(payload);
        }
        self.at_edge = taken == Taken::Pieces { at_edge: true };
        (taken, payload)
    }

    fn reset(&mut self, code: ResetCode) {
        if let Some(mut stream) = self.stream.take() {
            tally::count(Count::reset_out(code), 1);
            stream.reset(self.codec.reset_code(code));
        }
    }

    /// Where it stands among all that could be sent. MOQT-14 §7.1 [D14-PRIO-5]: one priority for a subgroup, the
    /// publisher's.
    pub(super) fn order(&self) -> SendOrder {
        let header = self.spec.reader.header();
        let subgroup = match header.subgroup {
            SubgroupIdMode::Explicit(id) => id,
            SubgroupIdMode::Zero | SubgroupIdMode::FirstObject => 0,
        };
        self.spec.rank.of(header.priority, header.group, subgroup)
    }

    /// Does what needs no turn since it sends no object; the value is what is left. Woken, the lane does this first.
    pub(super) fn look(&mut self, cx: &mut Context<'_>) -> Turned {
        self.control.looks();
        self.control.waker.keep(cx.waker());
        if self.over {
            return Turned::Over;
        }
        if let Some(code) = self.control.reset.take() {
            self.reset(code);
            return Turned::Over;
        }
        if self.control.overdue.take() && self.is_stuck(cx) {
            // MOQT-14 §9.2.1.2 [D14-TO-2]
            self.streams.count_expired();
            self.reset(ResetCode::DeliveryTimeout);
            return Turned::Over;
        }
        if self.state == State::Closing {
            return self.step(0, cx);
        }
        if let Some(stream) = &self.stream
            && stream.poll_stopped(cx).is_ready()
        {
            // MOQT-14 §10.4.3 [D14-CLOSE-7]: the peer refuses this stream, and nothing would be written to find out.
            self.stream = None;
            tally::count(Count::StoppedByPeer, 1);
            return Turned::Over;
        }
        if self.out.is_empty() && self.end.is_none() {
            match handle::read(self.spec.log, |log| self.spec.reader.ahead(log)) {
                Some(Ahead::Something) => {}
                Some(Ahead::Nothing) => {
                    self.streams.hungers(&self.control);
                    return Turned::Parked;
                }
                // The end of a stream has no bytes, so it waits for nobody.
                Some(Ahead::End) | None => return self.step(0, cx),
            }
        }
        match self.stream.as_ref().map(|stream| stream.poll_window(cx)) {
            // MOQT-14 §7.1 [D14-PRIO-7]: what no part of can leave does not queue up.
            Some(Poll::Pending) => Turned::Parked,
            Some(Poll::Ready(_)) | None => Turned::More,
        }
    }

    /// Sends at most `most` bytes; what the stack wakes for wakes the lane.
    pub(super) fn turn(&mut self, most: u64) -> Turned {
        // A lane queues up when it is run, and is then known by its waker.
        let Some(waker) = self.control.waker.current() else {
            return Turned::Parked;
        };
        let turned = self.step(most, &mut Context::from_waker(&waker));
        if turned == Turned::Over {
            self.over = true;
            waker.wake();
        }
        turned
    }

    /// Does what can be done now.
    fn step(&mut self, most: u64, cx: &mut Context<'_>) -> Turned {
        let mut left = most;
        // Nothing is appended while the lane runs, but much may have been since it ran last.
        self.at_edge = false;
        loop {
            let then = match self.state {
                State::Waiting => self.open(cx),
                State::Open => self.send(&mut left, cx),
                State::Closing => self.close(cx),
            };
            if let ControlFlow::Break(turned) = then {
                return turned;
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
        if self.needs_stream && self.opener.poll_may_open(cx).is_pending() {
            // Many may wait, and all of them are woken for one stream.
            return PARKED;
        }
        let begin = self.spec.reader.position();
        let (taken, payload) = self.fill();
        match taken {
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
        let stream = match self.opener.poll_open(cx) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(_)) => return OVER,
            Poll::Pending => {
                // What was found stays in the log alone, which may evict it: a peer that grants no stream must not
                // make this side keep payload. [D14-LIM-4] When it grants one, whoever is first in the order gets it,
                // so those that wait are the last. MOQT-14 §12.1 [D14-LIM-1]
                self.out.clear();
                self.filled = 0;
                self.spec.reader.rewind(begin);
                self.control.give_back(begin);
                if let Some(taker) = &self.taker {
                    taker.gave_back(payload);
                }
                self.end = None;
                self.needs_stream = true;
                return PARKED;
            }
        };
        self.needs_stream = false;
        let Some(header) = self.spec.reader.stream_header(self.codec) else {
            return OVER;
        };
        self.streams.count_opened();
        let header = self.headed(header);
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

    /// What the stream begins with. laps peering, "Data Header Messages": a laps relay loses a stream whose first write
    /// lacks a part of that.
    fn headed(&mut self, header: Bytes) -> Bytes {
        if self.spec.prefix.is_empty() {
            return header;
        }
        self.whole = self.spec.prefix.len() + header.len();
        [&*self.spec.prefix, &*header].concat().into()
    }

    /// There is nothing to do until the log has more.
    fn starve(&self) -> Then {
        self.streams.hungers(&self.control);
        PARKED
    }

    /// Writes what there is, then takes more.
    fn send(&mut self, left: &mut u64, cx: &mut Context<'_>) -> Then {
        while !self.out.is_empty() {
            if *left == 0 {
                return MORE;
            }
            let Some(stream) = &mut self.stream else {
                return OVER;
            };
            let most = (*left).max(self.whole as u64);
            match pieces::poll_write(stream, &mut self.out, most, cx) {
                Poll::Ready(Ok(written)) => {
                    self.whole = 0;
                    *left = left.saturating_sub(written);
                }
                // MOQT-14 §10.4.3 [D14-CLOSE-7]: a subscriber that refuses one stream loses only that one.
                Poll::Ready(Err(_)) => return self.let_go(),
                Poll::Pending => return PARKED,
            }
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
                self.streams.closes(&self.control);
                self.state = State::Closing;
                return GO_ON;
            }
            // What is too old is not waited for. MOQT-14 §9.2.1.2 [D14-TO-2]
            Some(StreamEnd::Reset(ResetCode::DeliveryTimeout)) => {
                self.reset(ResetCode::DeliveryTimeout);
                return OVER;
            }
            // A reset throws away what the peer does not have yet, objects that were whole upstream among it.
            Some(StreamEnd::Reset(_)) => {
                self.streams.closes(&self.control);
                self.state = State::Closing;
                return GO_ON;
            }
            None => {}
        }
        if self.at_edge {
            return self.starve();
        }
        match self.fill().0 {
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
        if let Some(StreamEnd::Reset(code)) = self.end {
            return match self.stream.as_mut().map(|stream| stream.poll_flush(cx)) {
                Some(Poll::Pending) => PARKED,
                Some(Poll::Ready(Ok(()))) => {
                    // MOQT-14 §10.4.3 [D14-CLOSE-5]: a reset upstream is a reset downstream, never a FIN.
                    self.reset(code);
                    OVER
                }
                Some(Poll::Ready(Err(_))) | None => self.let_go(),
            };
        }
        // MOQT-14 §9.12 [D14-SUB-19]: PUBLISH_DONE must not overtake the objects it ends.
        match self.stream.as_mut().map(|stream| stream.poll_delivered(cx)) {
            Some(Poll::Pending) => PARKED,
            Some(Poll::Ready(_)) | None => self.let_go(),
        }
    }

    /// The stream has ended on the peer's side; ours goes with it.
    fn let_go(&mut self) -> Then {
        self.stream = None;
        OVER
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
