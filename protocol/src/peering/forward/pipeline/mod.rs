//! One stream, fanned out: bytes in, and the same bytes out on a stream to each target. laps peering, "Pipeline
//! forwarding".
//!
//! Each piece leaves at once, as it came; only its reference is counted up, and each target's head is apart from it.
//! What a target has not taken is counted here and kept by whoever sends it. A target that takes too little loses its
//! stream, the others go on. While no target takes anything, nothing more is read, so that whoever sends is slowed
//! down.

mod age;
mod lane;
mod start;
#[cfg(test)]
mod tests;

use super::counters::Counters;
use super::limits::Limits;
use super::route::{LinkId, Route, Target};
use crate::peering::data_header::StreamHeader;
use crate::peering::message::SnsId;
use age::Age;
use bytes::{Bytes, BytesMut};
use lane::{Lane, State};
use start::Start;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is to be done with the stream to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin it.
    Open {
        /// Its head, with the id that the data has there; for this relay's own subscribers as it came. Says priority
        /// and lifetime to whoever puts streams in order.
        header: StreamHeader,
        /// The payload that is there already. It is written together with the head: a laps relay needs that, and gets
        /// no begin before the header of the payload is whole. Not copied, unless that came in several pieces.
        first: Bytes,
    },
    /// More payload, shared by all targets.
    Data(Bytes),
    /// The end of it.
    Fin,
    /// Give it up; what waits is not sent.
    Reset(ResetCause),
}

/// Why the stream to a target is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetCause {
    /// The source was reset, with this code.
    Source(u64),
    /// The target took too little.
    Overrun,
    /// What waited was older than the stream allows.
    Expired,
}

impl ResetCause {
    /// The code on the wire: that of the source, and else 0 as laps does.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Source(code) => code,
            Self::Overrun | Self::Expired => 0,
        }
    }
}

/// What comes out of a [`Pipeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something for a target.
    Send(Target, Step),
    /// Nobody wants more of the stream: it is to be refused, and no more of it given here.
    Stop,
    /// More may be read, after [`Pipeline::wants_data`] said no.
    Resume,
}

/// One stream and its targets, from its head on. The route is that of its begin, whatever becomes of it later.
#[derive(Debug)]
pub struct Pipeline {
    header: StreamHeader,
    max_waiting: u64,
    pause_at: u64,
    /// In the order of their targets.
    lanes: Vec<Lane>,
    /// The first payload, for laps relays that have no stream yet.
    start: Option<Start>,
    /// Payload that came so far.
    total: u64,
    /// Whether the source is over.
    ended: bool,
    /// Whether [`Self::wants_data`] said no.
    paused: bool,
    /// Whether that nobody wants more was said.
    stopped: bool,
    age: Age,
    outputs: VecDeque<Output>,
    /// How often every target was looked at.
    #[cfg(test)]
    looks: usize,
}

impl Pipeline {
    /// A stream with this head begins, with some payload or none. A route that leads nowhere gives one that is over.
    #[must_use]
    pub fn open(
        header: StreamHeader,
        route: &Route,
        first: Bytes,
        limits: &Limits,
        now: Instant,
        counters: &mut Counters,
    ) -> Self {
        let local = route.is_local().then(Lane::local);
        let links = route.egress().iter().map(Lane::to);
        let lanes: Vec<Lane> = local.into_iter().chain(links).collect();
        let ttl = Duration::from_millis(u64::from(header.ttl_ms));
        let mut pipeline = Self {
            header,
            max_waiting: limits.max_waiting_bytes,
            pause_at: limits.pause_at_bytes,
            start: None,
            total: 0,
            ended: false,
            paused: false,
            stopped: false,
            age: Age::new(ttl),
            outputs: VecDeque::with_capacity(lanes.len()),
            lanes,
            #[cfg(test)]
            looks: 0,
        };
        if pipeline.lanes.iter().any(|lane| lane.state == State::Held) && !start::is_whole(&first) {
            pipeline.start = Some(Start {
                bytes: BytesMut::from(first.as_ref()),
                until: now.checked_add(limits.park_for).unwrap_or(now),
            });
        }
        pipeline.total = len(&first);
        pipeline.age.came(pipeline.total, now);
        counters.bytes_in += pipeline.total;
        let held = pipeline.start.is_some();
        for at in 0..pipeline.lanes.len() {
            let wait = held
                && pipeline
                    .lanes
                    .get(at)
                    .is_some_and(|lane| lane.state == State::Held);
            if !wait {
                pipeline.begin(at, first.clone(), counters);
            }
        }
        pipeline.look_around();
        pipeline
    }

    /// More payload. Nothing after the end.
    pub fn data(&mut self, piece: Bytes, now: Instant, counters: &mut Counters) {
        if self.ended || piece.is_empty() {
            return;
        }
        let more = len(&piece);
        counters.bytes_in += more;
        for at in 0..self.lanes.len() {
            let waiting = self.lanes.get(at).map_or(0, |lane| lane.waiting(self.total));
            if waiting > 0 && waiting + more > self.max_waiting {
                self.give_up(at, ResetCause::Overrun, &mut counters.lanes_overrun);
            }
        }
        self.total += more;
        self.age.came(self.total, now);
        for lane in self.lanes.iter().filter(|lane| lane.state == State::Open) {
            counters.bytes_out += more;
            self.outputs
                .push_back(Output::Send(lane.target, Step::Data(piece.clone())));
        }
        self.fill_start(piece, counters);
        self.look_around();
    }

    /// The source ended well: so does each stream.
    pub fn fin(&mut self, counters: &mut Counters) {
        if self.ended {
            return;
        }
        self.begin_held(counters);
        self.ended = true;
        for lane in self.lanes.iter_mut().filter(|lane| lane.state == State::Open) {
            counters.lanes_finished += 1;
            self.outputs.push_back(Output::Send(lane.target, Step::Fin));
        }
        self.look_around();
    }

    /// The source was reset: so is each stream.
    pub fn reset(&mut self, code: u64, counters: &mut Counters) {
        if self.ended {
            return;
        }
        self.ended = true;
        for at in 0..self.lanes.len() {
            self.give_up(at, ResetCause::Source(code), &mut counters.lanes_reset);
        }
        self.look_around();
    }

    /// So many more bytes of payload left towards each of these targets, or were read by this relay's own log. What follows
    /// from that is looked for once, which takes a look at every target: who serves many tells of them together.
    pub fn taken(&mut self, taken: &[(Target, u64)]) {
        for (target, bytes) in taken {
            if let Some(lane) = self.lane_mut(*target) {
                lane.taken = lane.taken.saturating_add(*bytes);
            }
        }
        self.look_around();
    }

    /// The id under which it came.
    #[must_use]
    pub const fn sns(&self) -> SnsId {
        self.header.sns
    }

    /// Payload that its targets have taken (bytes), all of them together.
    #[must_use]
    pub fn all_taken(&self) -> u64 {
        self.lanes
            .iter()
            .fold(0, |all, lane| all.saturating_add(lane.taken))
    }

    /// A target wants no more of it.
    pub fn stopped(&mut self, target: Target, counters: &mut Counters) {
        self.leave(target, &mut counters.lanes_stopped);
    }

    /// A link died; there is nothing left to reset.
    pub fn link_down(&mut self, link: LinkId, counters: &mut Counters) {
        self.leave(Target::Link(link), &mut counters.lanes_lost);
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Instant, counters: &mut Counters) {
        if self.start.as_ref().is_some_and(|start| start.until <= now) {
            // With a part of the header a laps relay would lose the stream all the same.
            let held = self.lanes.iter_mut().filter(|lane| lane.state == State::Held);
            for lane in held {
                lane.state = State::Over;
                counters.lanes_expired += 1;
            }
        }
        // laps peering, "Start of New Stream Data": the lifetime counts from when something was received.
        if let Some(old) = self.age.too_old(now) {
            for at in 0..self.lanes.len() {
                let late = |lane: &Lane| lane.target != Target::Local && lane.taken < old;
                if self.lanes.get(at).is_some_and(late) {
                    self.give_up(at, ResetCause::Expired, &mut counters.lanes_expired);
                }
            }
        }
        self.look_around();
    }

    /// When [`Self::on_time`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let start = self.start.as_ref().map(|start| start.until);
        start.into_iter().chain(self.age.due()).min()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether more is to be read of the source: someone has room for it.
    #[must_use]
    pub fn wants_data(&self) -> bool {
        let live = self.lanes.iter().filter(|lane| lane.state != State::Over);
        let least = live.map(|lane| lane.waiting(self.total)).min();
        !self.ended && least.is_some_and(|least| least < self.pause_at)
    }

    /// Whether there is nothing left to do but to drain the outputs.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lanes.iter().all(|lane| lane.state == State::Over)
    }

    /// Bytes that wait for a target; none when it has no stream any more.
    #[must_use]
    pub fn waiting(&self, target: Target) -> Option<u64> {
        let lane = self.lanes.iter().find(|lane| lane.target == target)?;
        (lane.state != State::Over).then(|| lane.waiting(self.total))
    }

    /// The targets whose streams are not over.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        let live = self.lanes.iter().filter(|lane| lane.state != State::Over);
        live.map(|lane| lane.target)
    }

    /// Keeps the first payload for laps relays until its header is whole.
    fn fill_start(&mut self, mut piece: Bytes, counters: &mut Counters) {
        let Some(start) = &mut self.start else { return };
        if !start.fill(&mut piece) {
            return;
        }
        for lane in self.begin_held(counters) {
            if !piece.is_empty() {
                counters.bytes_out += len(&piece);
                self.outputs
                    .push_back(Output::Send(lane, Step::Data(piece.clone())));
            }
        }
    }

    /// Begins the streams that waited for their first payload, with what there is.
    fn begin_held(&mut self, counters: &mut Counters) -> Vec<Target> {
        let Some(start) = self.start.take() else {
            return Vec::new();
        };
        let first = start.bytes.freeze();
        let mut begun = Vec::new();
        for at in 0..self.lanes.len() {
            let held = self.lanes.get(at).filter(|lane| lane.state == State::Held);
            if let Some(target) = held.map(|lane| lane.target) {
                self.begin(at, first.clone(), counters);
                begun.push(target);
            }
        }
        begun
    }

    fn begin(&mut self, at: usize, first: Bytes, counters: &mut Counters) {
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        lane.state = State::Open;
        counters.lanes += 1;
        counters.bytes_out += len(&first);
        let header = match lane.sns {
            Some(sns) => self.header.rewrite_sns_id(sns),
            None => self.header,
        };
        self.outputs
            .push_back(Output::Send(lane.target, Step::Open { header, first }));
    }

    fn give_up(&mut self, at: usize, cause: ResetCause, counter: &mut u64) {
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        let state = std::mem::replace(&mut lane.state, State::Over);
        *counter += u64::from(state == State::Open);
        if state == State::Open {
            self.outputs
                .push_back(Output::Send(lane.target, Step::Reset(cause)));
        }
    }

    fn leave(&mut self, target: Target, counter: &mut u64) {
        if let Some(lane) = self.lane_mut(target).filter(|lane| lane.state != State::Over) {
            lane.state = State::Over;
            *counter += 1;
        }
        self.look_around();
    }

    fn lane_mut(&mut self, target: Target) -> Option<&mut Lane> {
        let at = self.lanes.binary_search_by_key(&target, |lane| lane.target);
        at.ok().and_then(|at| self.lanes.get_mut(at))
    }

    /// What follows from what happened to the lanes.
    fn look_around(&mut self) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        if self.ended {
            let drained = |lane: &&mut Lane| lane.state != State::Held && lane.waiting(self.total) == 0;
            let drained = self.lanes.iter_mut().filter(drained);
            drained.for_each(|lane| lane.state = State::Over);
        }
        let links = self.lanes.iter().filter(|lane| lane.target != Target::Local);
        let live = links.filter(|lane| lane.state != State::Over);
        self.age.taken(live.map(|lane| lane.taken).min());
        if !self.lanes.iter().any(|lane| lane.state == State::Held) {
            self.start = None;
        }
        if self.is_over() && !self.ended && !self.stopped {
            self.stopped = true;
            self.outputs.push_back(Output::Stop);
        }
        let pause = !self.wants_data();
        if std::mem::replace(&mut self.paused, pause) && !pause {
            self.outputs.push_back(Output::Resume);
        }
    }
}

fn len(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
