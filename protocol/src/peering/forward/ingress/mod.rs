//! All that comes in on one link, and where it goes. laps peering, "Data Forwarding".
//!
//! Streams are read in any split, find their route by the id in their head, and go through a [`Pipeline`] of their own.
//! Data whose id is not known yet waits ([`Parked`]) and goes on in order when the set comes. Datagrams get another
//! head and leave. One input, then [`Ingress::poll_output`] until there is nothing more.

mod output;
mod progress;
#[cfg(test)]
mod tests;

pub use output::{InStream, Output, StopCause};

use super::counters::Counters;
use super::limits::Limits;
use super::parked::{Parked, Waiting};
use super::pipeline::{self, Pipeline};
use super::route::{LinkId, Route, Target};
use super::route_table::{Lookup, RouteTable};
use crate::peering::data_header::{DatagramHeader, StreamHeader, StreamHeaderReader};
use crate::peering::message::SnsId;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// What comes in on one link.
#[derive(Debug)]
pub struct Ingress {
    limits: Limits,
    routes: RouteTable,
    parked: Parked,
    streams: HashMap<InStream, Stream>,
    /// Those that go on, by the ids under which they came.
    of_id: HashMap<SnsId, BTreeSet<InStream>>,
    /// When which stream has something to do.
    due: BTreeSet<(Instant, InStream)>,
    /// Bytes that a datagram may have on each link out.
    datagram_bytes: HashMap<LinkId, usize>,
    /// Whether it was said that there are datagrams without a head.
    told_bad_datagram: bool,
    outputs: VecDeque<Output>,
    counters: Counters,
}

/// How far a stream is.
#[derive(Debug)]
enum Stream {
    /// Its head is not whole.
    Head(StreamHeaderReader),
    /// Its set is not there.
    Parked,
    /// It goes on.
    Flows {
        pipeline: Box<Pipeline>,
        due: Option<Instant>,
    },
}

impl Ingress {
    /// A link without routes and streams.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            routes: RouteTable::new(&limits),
            parked: Parked::new(&limits),
            streams: HashMap::new(),
            of_id: HashMap::new(),
            due: BTreeSet::new(),
            datagram_bytes: HashMap::new(),
            told_bad_datagram: false,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            limits,
        }
    }

    /// The data of an id takes this route from its next stream on, beginning with what waits for it.
    pub fn set_route(&mut self, sns: SnsId, route: Arc<Route>) {
        self.routes.set(sns, route);
        for (waiting, came) in self.parked.release(sns) {
            match waiting {
                Waiting::Stream {
                    stream,
                    header,
                    pieces,
                    fin,
                } => self.unpark(stream, header, pieces, fin, came),
                Waiting::Datagram { header, payload } => self.route_datagram(header, payload, came),
            }
        }
    }

    /// The id stands for nothing any more. Streams that are open go on.
    pub fn remove_route(&mut self, sns: SnsId) {
        self.routes.remove(sns);
    }

    /// The peer opened a stream. What comes of streams that were not opened here, or are over, is ignored.
    pub fn opened(&mut self, stream: InStream) {
        self.counters.streams += 1;
        if self.streams.len() >= self.limits.max_streams {
            self.counters.streams_refused += 1;
            let why = StopCause::TooMany;
            return self.outputs.push_back(Output::Stop { stream, why });
        }
        self.streams
            .insert(stream, Stream::Head(StreamHeaderReader::new()));
    }

    /// Bytes of a stream.
    pub fn bytes(&mut self, stream: InStream, mut bytes: Bytes, now: Instant) {
        match self.streams.get_mut(&stream) {
            None => {}
            Some(Stream::Parked) => {
                self.parked.piece(stream, bytes);
                self.keep_bounds();
            }
            Some(Stream::Flows { pipeline, .. }) => {
                pipeline.data(bytes, now, &mut self.counters);
                self.settle(stream);
            }
            Some(Stream::Head(reader)) => match reader.read(&mut bytes) {
                Ok(None) => {}
                Ok(Some(header)) => self.begin(stream, header, bytes, now),
                // laps peering, "Start of New Stream Data": no other head begins a stream.
                Err(error) => {
                    self.counters.bad_starts += 1;
                    self.refuse(stream, StopCause::BadStart(error));
                }
            },
        }
    }

    /// The peer ended a stream.
    pub fn fin(&mut self, stream: InStream) {
        match self.streams.get_mut(&stream) {
            None => {}
            Some(Stream::Parked) => self.parked.fin(stream),
            Some(Stream::Flows { pipeline, .. }) => {
                pipeline.fin(&mut self.counters);
                self.settle(stream);
            }
            Some(Stream::Head(reader)) => {
                let error = output::ends_in_its_head(reader.filled());
                self.counters.bad_starts += 1;
                self.refuse(stream, StopCause::BadStart(error));
            }
        }
    }

    /// The peer reset a stream.
    ///
    /// laps relays that speak draft 14 reset the stream before when they begin one, and one that they never used when
    /// they tell a set. Neither is a fault.
    pub fn reset(&mut self, stream: InStream, code: u64) {
        match self.streams.get_mut(&stream) {
            None => {}
            Some(Stream::Parked) => {
                self.parked.remove(stream);
                self.streams.remove(&stream);
            }
            Some(Stream::Flows { pipeline, .. }) => {
                pipeline.reset(code, &mut self.counters);
                self.settle(stream);
            }
            Some(Stream::Head(_)) => {
                self.counters.empty_streams += 1;
                self.streams.remove(&stream);
            }
        }
    }

    /// So many more bytes of payload of a stream left towards each of these targets. Told of all of them together, it takes as
    /// long as for one.
    pub fn taken(&mut self, stream: InStream, taken: &[(Target, u64)]) {
        if let Some(Stream::Flows { pipeline, .. }) = self.streams.get_mut(&stream) {
            pipeline.taken(taken);
            self.settle(stream);
        }
    }

    /// A target refused a stream, or has no more use for it.
    pub fn target_stopped(&mut self, stream: InStream, target: Target) {
        if let Some(Stream::Flows { pipeline, .. }) = self.streams.get_mut(&stream) {
            pipeline.stopped(target, &mut self.counters);
            self.settle(stream);
        }
    }

    /// A link out died. The streams to it are gone; routes over it are changed by [`super::NodeSets`].
    pub fn link_down(&mut self, link: LinkId) {
        self.datagram_bytes.remove(&link);
        for stream in self.in_order() {
            if let Some(Stream::Flows { pipeline, .. }) = self.streams.get_mut(&stream) {
                pipeline.link_down(link, &mut self.counters);
                self.settle(stream);
            }
        }
    }

    /// This link died: its streams are reset, and what waits is forgotten. Streams that had ended before are still
    /// there until their targets have taken them.
    pub fn closed(&mut self) {
        for stream in self.in_order() {
            self.reset(stream, 0);
        }
        self.parked = Parked::new(&self.limits);
        self.routes = RouteTable::new(&self.limits);
    }

    /// A datagram may have so many bytes on a link out, its head included.
    pub fn set_datagram_bytes(&mut self, link: LinkId, bytes: usize) {
        self.datagram_bytes.insert(link, bytes);
    }

    /// The peer sent a datagram.
    pub fn datagram(&mut self, datagram: Bytes, now: Instant) {
        self.counters.datagrams += 1;
        match DatagramHeader::split(datagram) {
            Ok((header, payload)) => self.route_datagram(header, payload, now),
            Err(error) => {
                self.counters.bad_datagrams += 1;
                if !std::mem::replace(&mut self.told_bad_datagram, true) {
                    self.outputs.push_back(Output::BadDatagram(error));
                }
            }
        }
    }

    /// What is to be done next; none when all is done for now.
    pub fn poll_output(&mut self, now: Instant) -> Option<Output> {
        while let Some(waiting) = self.parked.expire(now) {
            self.counters.parked_expired += 1;
            self.give_up(&waiting);
        }
        while let Some((_, stream)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if let Some(Stream::Flows { pipeline, due }) = self.streams.get_mut(&stream) {
                *due = None;
                pipeline.on_time(now, &mut self.counters);
                self.settle(stream);
            }
        }
        self.outputs.pop_front()
    }

    /// When [`Self::poll_output`] is to be asked again although nothing happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.parked.poll_timeout()).min()
    }

    /// Whether more is to be read of a stream. Who does not ask gets slow streams reset earlier than need be.
    #[must_use]
    pub fn wants_data(&self, stream: InStream) -> bool {
        match self.streams.get(&stream) {
            None => false,
            Some(Stream::Head(_)) => true,
            // One stream does not push out all others; its peer keeps the rest of it.
            Some(Stream::Parked) => {
                let bytes = self.parked.bytes_of(stream);
                bytes.is_some_and(|bytes| bytes < self.limits.max_parked_bytes / 4)
            }
            Some(Stream::Flows { pipeline, .. }) => pipeline.wants_data(),
        }
    }

    /// How often something happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Streams that are not over.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What waits for its set.
    #[must_use]
    pub const fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Routes there are.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.routes.len()
    }

    /// The head of a stream is whole.
    fn begin(&mut self, stream: InStream, header: StreamHeader, first: Bytes, now: Instant) {
        match self.look_up(header.sns, header.track) {
            Ok(Some(route)) => {
                let pipeline = Pipeline::open(header, &route, first, &self.limits, now, &mut self.counters);
                self.flows(stream, pipeline);
                self.settle(stream);
            }
            Ok(None) => {
                self.counters.parked += 1;
                self.streams.insert(stream, Stream::Parked);
                self.parked.stream(stream, header, now);
                if !first.is_empty() {
                    self.parked.piece(stream, first);
                }
                self.keep_bounds();
            }
            Err(why) => self.refuse(stream, why),
        }
    }

    /// The set of a stream that waited is there.
    fn unpark(
        &mut self,
        stream: InStream,
        header: StreamHeader,
        pieces: Vec<Bytes>,
        fin: bool,
        came: Instant,
    ) {
        let route = match self.look_up(header.sns, header.track) {
            Ok(Some(route)) => route,
            Ok(None) => return,
            Err(why) => return self.refuse(stream, why),
        };
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap_or_default();
        let mut pipeline = Pipeline::open(header, &route, first, &self.limits, came, &mut self.counters);
        for piece in pieces {
            pipeline.data(piece, came, &mut self.counters);
        }
        if fin {
            pipeline.fin(&mut self.counters);
        }
        let resumed = pipeline.wants_data();
        self.flows(stream, pipeline);
        self.settle(stream);
        if resumed {
            self.outputs.push_back(Output::Resume { stream });
        }
    }

    fn route_datagram(&mut self, header: DatagramHeader, payload: Bytes, came: Instant) {
        let route = match self.look_up(header.sns, header.track) {
            Ok(Some(route)) => route,
            Ok(None) => {
                self.counters.parked += 1;
                self.parked.datagram(header, payload, came);
                return self.keep_bounds();
            }
            Err(_) => return,
        };
        let expires = came.checked_add(self.limits.datagram_ttl).unwrap_or(came);
        if route.is_local() {
            self.push_datagram(Target::Local, header, payload.clone(), expires);
        }
        for egress in route.egress() {
            let room = self.datagram_bytes.get(&egress.link).copied();
            // laps peering, "Datagram Data": what is too large for the next link is dropped.
            if DatagramHeader::LEN + payload.len() > room.unwrap_or(self.limits.datagram_bytes) {
                self.counters.datagrams_too_large += 1;
                continue;
            }
            let header = header.rewrite_sns_id(egress.sns);
            self.push_datagram(Target::Link(egress.link), header, payload.clone(), expires);
        }
    }

    fn push_datagram(&mut self, target: Target, header: DatagramHeader, payload: Bytes, expires: Instant) {
        self.counters.datagrams_out += 1;
        self.outputs.push_back(Output::Datagram {
            target,
            header,
            payload,
            expires,
        });
    }

    /// The route for data, none when its id is not known, or why it is refused.
    fn look_up(
        &mut self,
        sns: SnsId,
        track: crate::peering::hash::FullNameHash,
    ) -> Result<Option<Arc<Route>>, StopCause> {
        match self.routes.lookup(sns, track) {
            Lookup::Route(route) if route.is_empty() => {
                self.counters.nowhere += 1;
                Err(StopCause::Nowhere)
            }
            Lookup::Route(route) => Ok(Some(route)),
            Lookup::Unknown => Ok(None),
            Lookup::Foreign { bound, first } => {
                self.counters.foreign += 1;
                if first {
                    let found = track;
                    self.outputs.push_back(Output::Foreign { sns, bound, found });
                }
                Err(StopCause::Foreign)
            }
            Lookup::Crowded => {
                self.counters.crowded_tracks += 1;
                Err(StopCause::Crowded)
            }
        }
    }

    fn flows(&mut self, stream: InStream, pipeline: Pipeline) {
        self.of_id.entry(pipeline.sns()).or_default().insert(stream);
        let flows = Stream::Flows {
            pipeline: Box::new(pipeline),
            due: None,
        };
        self.streams.insert(stream, flows);
    }

    /// Passes on what a stream has to say, and forgets one that is over.
    fn settle(&mut self, stream: InStream) {
        let Some(Stream::Flows { pipeline, due }) = self.streams.get_mut(&stream) else {
            return;
        };
        while let Some(output) = pipeline.poll_output() {
            self.outputs.push_back(match output {
                pipeline::Output::Send(target, step) => Output::Send { stream, target, step },
                pipeline::Output::Resume => Output::Resume { stream },
                pipeline::Output::Stop => Output::Stop {
                    stream,
                    why: StopCause::Unwanted,
                },
            });
        }
        let (was, over) = (due.take(), pipeline.is_over());
        *due = pipeline.poll_timeout().filter(|_| !over);
        let is = *due;
        if was != is {
            if let Some(at) = was {
                self.due.remove(&(at, stream));
            }
            self.due.extend(is.map(|at| (at, stream)));
        }
        if over {
            let sns = pipeline.sns();
            self.streams.remove(&stream);
            if let Some(streams) = self.of_id.get_mut(&sns) {
                streams.remove(&stream);
                if streams.is_empty() {
                    self.of_id.remove(&sns);
                }
            }
        }
    }

    fn refuse(&mut self, stream: InStream, why: StopCause) {
        self.streams.remove(&stream);
        self.outputs.push_back(Output::Stop { stream, why });
    }

    /// Gives up the oldest of what waits while it is too much.
    fn keep_bounds(&mut self) {
        while let Some(waiting) = self.parked.evict() {
            self.counters.parked_evicted += 1;
            self.give_up(&waiting);
        }
    }

    fn give_up(&mut self, waiting: &Waiting) {
        if let Waiting::Stream { stream, .. } = waiting {
            self.refuse(*stream, StopCause::NoSet);
        }
    }

    fn in_order(&self) -> Vec<InStream> {
        let mut streams: Vec<InStream> = self.streams.keys().copied().collect();
        streams.sort_unstable();
        streams
    }
}
