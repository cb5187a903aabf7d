//! The relay's side towards the publisher: what the session's stream tasks and the track's home do, in their order.

use super::truth::{Arrival, Arrivals, Tick};
use super::world::{Timer, World};
use crate::common::{S, subscribe};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    PublishDone, PublishDoneStatus, RequestId, RequestKind, Subscribe, SubscribeFilter,
};
use laps_protocol::moqt::object::{DatagramObject, SubgroupHeader};
use laps_protocol::moqt::session::{Command, Event};
use laps_protocol::relay::fetch::Standing;
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::merge::PublisherKey;
use laps_protocol::relay::track_log::{Append, Appended, LogDatagram, StreamEnd, StreamKey};
use laps_protocol::sim::{Delivery, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// As the relay's configuration has them, shorter.
const DONE_WAIT: Duration = Duration::from_millis(500);
const OPEN_STREAM_PATIENCE: u32 = 10;
const ALIAS_WAIT: Duration = Duration::from_secs(3);
/// There is one.
const PUBLISHER: PublisherKey = PublisherKey(1);
/// What a log may hold beside its budget and one chunk: the bare state of its newest group.
pub(crate) const SLACK: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) phase: Phase,
    request: Option<RequestId>,
    alias: Option<u64>,
    /// Subscribers that wait for the publisher's answer.
    pub(crate) waiting: Vec<(usize, RequestId, Subscribe)>,
    pub(crate) streams: BTreeMap<StreamId, Inbound>,
    /// Fetch streams that the relay reads no more.
    pub(crate) refused: BTreeSet<StreamId>,
    open: BTreeSet<StreamKey>,
    groups: BTreeMap<StreamKey, u64>,
    closed: u64,
    early: Vec<DatagramObject>,
    done: Option<PublishDone>,
    pub(crate) max_bytes: usize,
}

impl Upstream {
    /// The log was given `chunk`.
    fn took_in(&mut self, tick: Tick, arrivals: &mut Arrivals, chunk: &Append) {
        match chunk {
            Append::SubgroupOpened { stream, group, .. } => _ = self.groups.insert(*stream, *group),
            Append::ObjectStarted { stream, header } => {
                if let Some(&group) = self.groups.get(stream) {
                    let at = Location::new(group, header.id);
                    arrivals.taken_in.entry(at).or_default().push(tick);
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Created,
    Subscribing,
    Live,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) reader: StreamReader,
    /// The FETCH that it answers.
    pub(crate) fetch: Option<RequestId>,
    header: Option<SubgroupHeader>,
    chunks: Option<SubgroupChunks>,
    pub(crate) end: Option<StreamEnd>,
    /// Where the object in progress is, and what is missing of it.
    progress: Option<(Location, u64)>,
}

impl World {
    /// The first subscriber makes the relay ask.
    pub(crate) fn engage(&mut self) {
        if self.relay.phase == Phase::Created {
            self.relay.phase = Phase::Subscribing;
            let ask = Command::Subscribe(subscribe(0, SubscribeFilter::LargestObject));
            self.relay.request = self.say(None, S, ask);
        }
    }

    pub(crate) fn relay_hears_publisher(&mut self, event: Event) {
        match event {
            Event::SubscribeOk(_, ok) if self.relay.phase == Phase::Subscribing => {
                self.relay.phase = Phase::Live;
                self.relay.alias = Some(ok.alias);
                if let Some(largest) = ok.largest {
                    self.log.seed_largest(largest);
                }
                for (conn, request, subscribe) in std::mem::take(&mut self.relay.waiting) {
                    self.attach(conn, request, &subscribe);
                }
                self.open_waiting(Some(Standing::Live));
                let waiting: Vec<_> = self.relay.streams.keys().copied().collect();
                waiting.into_iter().for_each(|stream| self.pump(stream));
                for datagram in std::mem::take(&mut self.relay.early) {
                    self.ingest_datagram(datagram);
                }
            }
            Event::FetchOk(request, ok) => self.fill_answered(request, ok),
            Event::Rejected(request, RequestKind::Fetch, error) => self.fill_refused(request, error.reason),
            Event::PublishDone(_, done) => {
                self.relay.done = Some(done);
                self.settle_done(Duration::ZERO);
            }
            _ => {}
        }
    }

    /// The connection that brought it is gone.
    pub(crate) fn source_gone(&mut self) {
        self.relay.request = None;
        self.relay.streams.clear();
        self.past_ends(true);
        self.finish(PublishDoneStatus::InternalError);
    }

    /// Something came over the publisher's connection.
    pub(crate) fn arrive(&mut self, delivery: Delivery) {
        if let Delivery::Bytes(stream, _) | Delivery::Fin(stream) | Delivery::Reset(stream, _) = &delivery
            && self.relay.refused.contains(stream)
        {
            return;
        }
        match delivery {
            Delivery::Bytes(stream, bytes) => {
                self.inbound(stream).reader.push(bytes);
                self.pump(stream);
            }
            Delivery::Fin(stream) => {
                self.inbound(stream).end = Some(StreamEnd::Fin);
                self.pump(stream);
            }
            Delivery::Reset(stream, code) => {
                let code = Codec::Draft14.reset_code_from(code);
                self.inbound(stream).end = Some(StreamEnd::Reset(code));
                self.pump(stream);
            }
            Delivery::Datagram(bytes) => {
                let datagram = Codec::Draft14
                    .decode_datagram(bytes, &DataLimits::default())
                    .unwrap();
                if self.relay.alias.is_some() {
                    self.ingest_datagram(datagram);
                } else {
                    self.relay.early.push(datagram);
                }
            }
            Delivery::Stopped(stream, _) => self.reset_upstream(stream, ResetCode::Cancelled),
            Delivery::Acknowledged(_) => {}
        }
    }

    fn inbound(&mut self, stream: StreamId) -> &mut Inbound {
        self.relay.streams.entry(stream).or_insert_with(|| Inbound {
            reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
            fetch: None,
            header: None,
            chunks: None,
            end: None,
            progress: None,
        })
    }

    /// Reads what there is of a stream.
    fn pump(&mut self, stream: StreamId) {
        let alias = self.relay.alias;
        let inbound = self.inbound(stream);
        if inbound.header.is_none() && inbound.fetch.is_none() {
            match inbound.reader.next().unwrap() {
                Some(StreamItem::SubgroupHeader(header)) => {
                    inbound.header = Some(header);
                    if alias.is_none() {
                        self.after(ALIAS_WAIT, Timer::AliasWait(stream));
                    }
                }
                Some(StreamItem::FetchHeader(request)) => inbound.fetch = Some(request),
                _ => {}
            }
        }
        if self.inbound(stream).fetch.is_some() {
            self.pump_fill(stream);
            return;
        }
        let inbound = self.inbound(stream);
        let Some(header) = inbound.header else {
            if inbound.end.is_some() {
                self.relay.streams.remove(&stream);
            }
            return;
        };
        if alias != Some(header.alias) {
            return;
        }
        // The key of a stream in the log is its number.
        let chunks = inbound
            .chunks
            .get_or_insert_with(|| SubgroupChunks::new(stream.0, header));
        let mut batch = Vec::new();
        let mut items = Vec::new();
        while let Some(item) = inbound.reader.next().unwrap() {
            chunks.push(item.clone(), &mut batch);
            items.push(item);
        }
        for item in items {
            self.see(stream, header.group, &item);
        }
        self.ingest(batch);
        if let Some(end) = self.relay.streams.get(&stream).and_then(|inbound| inbound.end) {
            if end == StreamEnd::Fin {
                self.inbound(stream).reader.fin().unwrap();
            }
            self.relay.streams.remove(&stream);
            self.tick += 1;
            let ended = (self.tick, end);
            self.arrivals.ends.insert(stream, ended);
            self.ingest(vec![Append::SubgroupClosed {
                stream: stream.0,
                end,
            }]);
        }
    }

    /// Writes down what came.
    fn see(&mut self, stream: StreamId, group: u64, item: &StreamItem) {
        self.tick += 1;
        let tick = self.tick;
        let inbound = self.inbound(stream);
        let (at, missing) = match item {
            StreamItem::Object(header) => {
                let at = Location::new(group, header.id);
                inbound.progress = Some((at, header.payload_len));
                let arrival = Arrival {
                    stream,
                    began: tick,
                    completed: None,
                };
                self.arrivals.objects.entry(at).or_default().push(arrival);
                (at, header.payload_len)
            }
            StreamItem::Payload(bytes) => {
                let (at, missing) = inbound.progress.unwrap();
                let missing = missing - bytes.len() as u64;
                inbound.progress = Some((at, missing));
                (at, missing)
            }
            _ => return,
        };
        if missing == 0
            && let Some(arrivals) = self.arrivals.objects.get_mut(&at)
            && let Some(arrival) = arrivals.iter_mut().rfind(|arrival| arrival.stream == stream)
        {
            arrival.completed = Some(tick);
        }
    }

    fn ingest_datagram(&mut self, datagram: DatagramObject) {
        self.tick += 1;
        let arrival = Arrival {
            stream: StreamId(u64::MAX),
            began: self.tick,
            completed: Some(self.tick),
        };
        let arrivals = self.arrivals.objects.entry(datagram.location).or_default();
        arrivals.push(arrival);
        self.ingest(vec![Append::Datagram(LogDatagram {
            location: datagram.location,
            priority: datagram.priority,
            extensions: datagram.extensions,
            end_of_group: datagram.end_of_group,
            status: datagram.status,
            payload: datagram.payload,
        })]);
    }

    pub(crate) fn give_up_alias(&mut self, stream: StreamId) {
        if self.relay.alias.is_none() && self.relay.streams.remove(&stream).is_some() {
            let now = self.now;
            self.uplink
                .stop(now, stream, Codec::Draft14.reset_code(ResetCode::Cancelled));
        }
    }

    fn ingest(&mut self, batch: Vec<Append>) {
        if self.relay.phase != Phase::Live {
            return;
        }
        for chunk in &batch {
            match chunk {
                Append::SubgroupOpened { stream, .. } => _ = self.relay.open.insert(*stream),
                Append::SubgroupClosed { stream, .. } => {
                    self.relay.open.remove(stream);
                    self.relay.closed += 1;
                }
                _ => {}
            }
        }
        self.append(batch);
        if self.is_drained() {
            self.settle_done(Duration::ZERO);
        }
    }

    fn append(&mut self, batch: Vec<Append>) {
        let mut wakes = false;
        for chunk in batch {
            let size = match &chunk {
                Append::Payload { bytes, .. } => bytes.len(),
                Append::Datagram(datagram) => datagram.payload.len(),
                _ => 0,
            };
            let chunk = chunk.settled();
            self.note(|| format!("relay appends {}", brief(&chunk)));
            let now = self.now;
            let mut told = Vec::new();
            self.tick += 1;
            self.merge
                .append(&mut self.log, now, PUBLISHER, chunk, &mut |appended, chunk| {
                    told.push(appended);
                    self.relay.took_in(self.tick, &mut self.arrivals, &chunk);
                });
            wakes |= told.iter().any(|appended| appended.wakes());
            // [D14-CACHE-6] [D14-LIM-4]: the log keeps to its budget whatever comes and whoever reads slowly.
            let (bytes, max) = (self.log.bytes(), self.plan.limits.max_bytes);
            self.relay.max_bytes = self.relay.max_bytes.max(bytes);
            if bytes > max + size + SLACK {
                self.fail(format!("the log holds {bytes} bytes of {max}"));
            }
            for appended in told {
                if !matches!(appended, Appended::Advanced | Appended::Noted) {
                    self.note(|| format!("  {appended:?}"));
                }
                if let Appended::Malformed(why) = appended {
                    if !self.plan.is_rogue {
                        self.fail(format!("the track is called malformed: {why}"));
                    }
                    self.arrivals.is_malformed = true;
                    self.finish(PublishDoneStatus::MalformedTrack);
                    return;
                }
            }
        }
        if wakes {
            self.wake_all();
        }
        self.past_advanced();
    }

    /// A stream of the publisher has stalled while another one of the same subgroup waits for it.
    pub(crate) fn overtake(&mut self) {
        let now = self.now;
        let mut wakes = false;
        self.merge
            .handle_timeout(&mut self.log, now, &mut |appended, chunk| {
                wakes |= appended.wakes();
                self.relay.took_in(self.tick, &mut self.arrivals, &chunk);
            });
        if wakes {
            self.wake_all();
        }
        self.past_advanced();
    }

    /// MOQT-14 §9.12 [D14-SUB-21]: the count of streams says when the track is over, or else time does.
    pub(crate) fn settle_done(&mut self, waited: Duration) {
        let Some(done) = &self.relay.done else { return };
        if self.relay.phase != Phase::Live {
            return;
        }
        let status = done.status;
        let patience = if self.relay.open.is_empty() {
            DONE_WAIT
        } else {
            DONE_WAIT * OPEN_STREAM_PATIENCE
        };
        if self.is_drained() || waited >= patience {
            self.finish(status);
        } else {
            self.after(DONE_WAIT, Timer::DoneWait(waited + DONE_WAIT));
        }
    }

    /// Every stream that PUBLISH_DONE counted has come and gone.
    fn is_drained(&self) -> bool {
        let count = self.relay.done.as_ref().and_then(|done| done.stream_count);
        count.is_some_and(|count| count > 0 && self.relay.open.is_empty() && self.relay.closed >= count)
    }

    /// The track ends: what its publisher left open is reset, and readers may read on.
    fn finish(&mut self, status: PublishDoneStatus) {
        if std::mem::replace(&mut self.relay.phase, Phase::Ended) == Phase::Ended {
            return;
        }
        self.note(|| format!("relay ends the track: {status:?}"));
        if let Some(request) = self.relay.request.take()
            && self.relay.done.is_none()
        {
            self.say(None, S, Command::Unsubscribe(request));
        }
        // MOQT-14 §10.4.3 [D14-CLOSE-1]
        let end = StreamEnd::Reset(ResetCode::Cancelled);
        for stream in std::mem::take(&mut self.relay.open) {
            let ended = (self.tick, end);
            self.arrivals.ends.entry(StreamId(stream)).or_insert(ended);
        }
        let now = self.now;
        self.tick += 1;
        self.merge.lost(&mut self.log, now, PUBLISHER, &mut |_, chunk| {
            self.relay.took_in(self.tick, &mut self.arrivals, &chunk);
        });
        self.past_ends(false);
        for (conn, request, _) in std::mem::take(&mut self.relay.waiting) {
            self.reject(conn, request);
        }
        for conn in 0..self.conns.len() {
            for sub in 0..self.conns[conn].subs.len() {
                self.track_gone(conn, sub, status);
            }
        }
    }
}

fn brief(chunk: &Append) -> String {
    match chunk {
        Append::Payload { stream, bytes } => format!("Payload {{ stream: {stream}, {} bytes }}", bytes.len()),
        Append::Datagram(datagram) => format!("Datagram {}", datagram.location),
        chunk => format!("{chunk:?}"),
    }
}
