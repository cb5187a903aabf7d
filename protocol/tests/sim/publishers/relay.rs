//! The home of the track: what the session's stream tasks and the home do, in their order.

use super::mirror::Mirror;
use super::source::State;
use super::truth::{Arrival, Inflow, Source};
use super::world::{Sabotage, World};
use bytes::Bytes;
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{DatagramObject, SubgroupHeader};
use laps_protocol::relay::ingest::SubgroupChunks;
use laps_protocol::relay::merge::{Merge, MergeLimits, PublisherKey};
use laps_protocol::relay::track_log::{
    Append, Appended, Ignored, LogDatagram, Malformed, StreamEnd, StreamKey, TrackLog,
};
use laps_protocol::sim::{Delivery, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What a log may hold beside its budget and one chunk: the bare state of its newest group.
const SLACK: usize = 8 * 1024;
/// Nothing may wait longer without anybody looking after it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

type Told = Vec<(Appended, Append)>;

#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) merge: Merge,
    pub(crate) log: TrackLog,
    /// By number; none before it is made.
    pub(crate) replicas: Vec<Option<Mirror>>,
    streams: BTreeMap<Source, Inbound>,
    /// The group of each stream in the log.
    groups: BTreeMap<StreamKey, u64>,
    /// Streams of publishers that are open.
    open: BTreeSet<StreamKey>,
    pub(crate) is_over: bool,
}

#[derive(Debug)]
struct Inbound {
    reader: StreamReader,
    header: Option<SubgroupHeader>,
    chunks: Option<SubgroupChunks>,
    /// Where the object in progress is, and what is missing of it.
    progress: Option<(Location, u64)>,
}

impl Relay {
    pub(crate) fn new(world: &super::plan::Plan, sabotage: Sabotage) -> Self {
        let merge = match sabotage {
            Sabotage::Unbounded => MergeLimits {
                max_stream_bytes: usize::MAX,
                max_bytes: usize::MAX,
            },
            _ => world.merge,
        };
        Self {
            merge: Merge::new(merge),
            log: TrackLog::new(world.limits),
            replicas: world.replicas.iter().map(|_| None).collect(),
            streams: BTreeMap::new(),
            groups: BTreeMap::new(),
            open: BTreeSet::new(),
            is_over: false,
        }
    }

    /// The log that serves who wants this replica.
    pub(crate) fn log_of(&self, replica: usize) -> &TrackLog {
        let replica = self.replicas.get(replica).and_then(Option::as_ref);
        replica.map_or(&self.log, |replica| &replica.log)
    }
}

impl World {
    /// Something came over a publisher's connection.
    pub(crate) fn arrive(&mut self, life: usize, delivery: Delivery) {
        if self.relay.is_over || self.sources[life].state == State::Gone {
            return;
        }
        match delivery {
            Delivery::Bytes(stream, bytes) => self.read_bytes((life, stream), bytes),
            Delivery::Fin(stream) => self.read_end((life, stream), StreamEnd::Fin),
            Delivery::Reset(stream, code) => {
                let code = Codec::Draft14.reset_code_from(code);
                self.read_end((life, stream), StreamEnd::Reset(code));
            }
            Delivery::Datagram(bytes) => {
                let limits = DataLimits::default();
                let datagram = Codec::Draft14.decode_datagram(bytes, &limits).unwrap();
                self.read_datagram(life, datagram);
            }
            Delivery::Stopped(..) | Delivery::Acknowledged(_) => {}
        }
    }

    fn read_bytes(&mut self, source: Source, bytes: Bytes) {
        let inbound = self.relay.streams.entry(source).or_insert_with(|| Inbound {
            reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
            header: None,
            chunks: None,
            progress: None,
        });
        inbound.reader.push(bytes);
        let mut batch = Vec::new();
        let mut items = Vec::new();
        while let Some(item) = inbound.reader.next().unwrap() {
            if let StreamItem::SubgroupHeader(header) = item {
                inbound.header = Some(header);
                inbound.chunks = Some(SubgroupChunks::new(key(source), header));
                continue;
            }
            if let Some(chunks) = &mut inbound.chunks {
                chunks.push(item.clone(), &mut batch);
            }
            items.push(item);
        }
        let group = inbound.header.map_or(0, |header| header.group);
        items.iter().for_each(|item| self.see(source, group, item));
        self.feed(source.0, batch);
    }

    fn read_end(&mut self, source: Source, mut end: StreamEnd) {
        let Some(inbound) = self.relay.streams.remove(&source) else {
            return;
        };
        if end == StreamEnd::Fin {
            inbound.reader.fin().unwrap();
        }
        self.tick += 1;
        if let Some(inflow) = self.arrivals.streams.get_mut(&source) {
            inflow.end = Some((self.tick, end));
        }
        if self.sabotage == Sabotage::FinForReset && inbound.progress.is_none_or(|(_, missing)| missing == 0)
        {
            end = StreamEnd::Fin;
        }
        let stream = key(source);
        self.feed(source.0, vec![Append::SubgroupClosed { stream, end }]);
    }

    /// Writes down what came.
    fn see(&mut self, source: Source, group: u64, item: &StreamItem) {
        self.tick += 1;
        let tick = self.tick;
        let lies = self.plan.lives[source.0].lies;
        let Some(inbound) = self.relay.streams.get_mut(&source) else {
            return;
        };
        let (at, missing) = match item {
            StreamItem::Object(header) => {
                let at = Location::new(group, header.id);
                let subgroup = self.sources[source.0].carries[&source.1];
                let inflow = self.arrivals.streams.entry(source).or_insert_with(|| Inflow {
                    group,
                    subgroup,
                    ids: Vec::new(),
                    end: None,
                });
                inflow.ids.push(header.id);
                self.arrivals.objects.entry(at).or_default().push(Arrival {
                    source,
                    began: tick,
                    completed: None,
                    is_lie: lies && self.plan.lies.contains_key(&at),
                });
                (at, header.payload_len)
            }
            StreamItem::Payload(bytes) => {
                let (at, missing) = inbound.progress.unwrap();
                (at, missing - bytes.len() as u64)
            }
            StreamItem::SubgroupHeader(_) | StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => return,
        };
        inbound.progress = Some((at, missing));
        if missing == 0
            && let Some(arrivals) = self.arrivals.objects.get_mut(&at)
            && let Some(arrival) = arrivals.iter_mut().rfind(|arrival| arrival.source == source)
        {
            arrival.completed = Some(tick);
        }
    }

    fn read_datagram(&mut self, life: usize, datagram: DatagramObject) {
        self.tick += 1;
        let at = datagram.location;
        let lies = self.plan.lives[life].lies;
        self.arrivals.objects.entry(at).or_default().push(Arrival {
            source: (life, StreamId(u64::MAX)),
            began: self.tick,
            completed: Some(self.tick),
            is_lie: lies && self.plan.lies.contains_key(&at),
        });
        let chunk = Append::Datagram(LogDatagram {
            location: at,
            priority: datagram.priority,
            extensions: datagram.extensions,
            end_of_group: datagram.end_of_group,
            status: datagram.status,
            payload: datagram.payload,
        });
        self.feed(life, vec![chunk]);
    }

    /// Gives the merge what a publisher brings.
    fn feed(&mut self, life: usize, batch: Vec<Append>) {
        for chunk in batch {
            if self.relay.is_over || self.sources[life].state == State::Gone {
                return;
            }
            let chunk = chunk.settled();
            self.note(|| format!("relay: life{life} brings {}", brief(&chunk)));
            if self.sabotage == Sabotage::FeedsReplicasRaw {
                self.feed_raw(&chunk);
            }
            let from = match self.sabotage {
                Sabotage::OneKey => PublisherKey(0),
                Sabotage::OnlyFirst if life > 0 => return,
                _ => PublisherKey(life as u64),
            };
            match &chunk {
                Append::SubgroupOpened { stream, .. } => _ = self.relay.open.insert(*stream),
                Append::SubgroupClosed { stream, .. } => _ = self.relay.open.remove(stream),
                Append::ObjectStarted { .. }
                | Append::Payload { .. }
                | Append::Missing { .. }
                | Append::Datagram(_) => {}
            }
            if self.sabotage == Sabotage::NoMerge {
                let appended = self.relay.log.append(self.now, chunk.clone());
                self.heard(Some(life), vec![(appended, chunk)]);
                continue;
            }
            self.merged(Some(life), |merge, log, now, told| {
                merge.append(log, now, from, chunk, &mut |appended, chunk| {
                    told(appended, chunk)
                });
            });
        }
    }

    fn merged(
        &mut self,
        life: Option<usize>,
        input: impl FnOnce(&mut Merge, &mut TrackLog, Instant, &mut dyn FnMut(Appended, Append)),
    ) {
        let mut told = Vec::new();
        let Relay { merge, log, .. } = &mut self.relay;
        input(merge, log, self.now, &mut |appended, chunk| {
            told.push((appended, chunk))
        });
        self.heard(life, told);
    }

    /// What the merge told.
    fn heard(&mut self, life: Option<usize>, told: Told) {
        let mut wakes = false;
        let mut size = 0;
        let mut verdict = None;
        for (appended, chunk) in told {
            self.note(|| format!("  the log: {} {appended:?}", brief(&chunk)));
            size = size.max(match &chunk {
                Append::Payload { bytes, .. } => bytes.len(),
                Append::Datagram(datagram) => datagram.payload.len(),
                _ => 0,
            });
            wakes |= appended.wakes();
            self.see_told(appended, &chunk);
            if self.sabotage == Sabotage::Repeats && appended == Appended::Ignored(Ignored::Duplicate) {
                self.repeat_all();
            }
            if let Appended::Malformed(why) = appended {
                verdict = verdict.or(Some(why));
            }
            if self.sabotage != Sabotage::FeedsReplicasRaw {
                self.feed_replicas(appended, &chunk);
            }
        }
        self.check_bounds(size);
        self.compare_mirrors();
        if wakes {
            self.wake_all();
        }
        if let Some(why) = verdict {
            self.hear_malformed(life, why);
        }
    }

    /// Writes down what is in the log from now on.
    fn see_told(&mut self, appended: Appended, chunk: &Append) {
        let at = match chunk {
            Append::SubgroupOpened { stream, group, .. } => {
                self.relay.groups.insert(*stream, *group);
                return;
            }
            Append::ObjectStarted { stream, header } => Location::new(self.relay.groups[stream], header.id),
            Append::Datagram(datagram) => datagram.location,
            Append::Payload { .. } | Append::Missing { .. } | Append::SubgroupClosed { .. } => return,
        };
        if matches!(appended, Appended::Advanced | Appended::Ignored(Ignored::Evicted)) {
            self.tick += 1;
            self.arrivals.appeared.insert(at, self.tick);
        }
    }

    fn hear_malformed(&mut self, life: Option<usize>, why: Malformed) {
        if self.plan.lies.is_empty() {
            self.fail(format!("the track is called malformed: {why}"));
        } else if self.sabotage == Sabotage::Deaf {
        } else if why.is_disagreement() {
            self.arrivals.is_malformed = true;
            self.finish();
        } else if let Some(life) = life {
            self.note(|| format!("relay drops life{life}"));
            self.arrivals.dropped += 1;
            if !self.plan.lives[life].lies {
                self.fail(format!("life{life} is called a liar: {why}"));
            }
            self.lose(life);
        } else {
            self.fail(format!("nobody is to blame: {why}"));
        }
    }

    fn feed_replicas(&mut self, appended: Appended, chunk: &Append) {
        let Some(chunk) = appended.for_replica(chunk.clone()) else {
            return;
        };
        let now = self.now;
        let mut fault = None;
        for mirror in self.relay.replicas.iter_mut().flatten() {
            if let Appended::Malformed(why) = mirror.log.append(now, chunk.clone())
                && !matches!(appended, Appended::Malformed(_))
            {
                fault = Some(why);
            }
        }
        if let Some(why) = fault {
            self.fail(format!("a replica calls the track malformed: {why}"));
        }
    }

    fn feed_raw(&mut self, chunk: &Append) {
        let now = self.now;
        for mirror in self.relay.replicas.iter_mut().flatten() {
            mirror.log.append(now, chunk.clone());
        }
    }

    /// [D14-CACHE-6] [D14-LIM-4]: log and merge keep to their budgets whatever comes and whoever reads slowly.
    fn check_bounds(&mut self, size: usize) {
        let (bytes, max) = (self.relay.log.bytes(), self.plan.limits.max_bytes);
        if bytes > max.saturating_add(size + SLACK) {
            self.fail(format!("the log holds {bytes} bytes of {max}"));
        }
        let waiting = self.relay.merge.stats().waiting_bytes;
        self.arrivals.max_waiting = self.arrivals.max_waiting.max(waiting);
        if waiting > self.plan.merge.max_bytes {
            let max = self.plan.merge.max_bytes;
            self.fail(format!("{waiting} bytes of {max} wait in the merge"));
        }
        let due = self.relay.merge.poll_timeout();
        let now = self.now;
        if waiting > 0 && due.is_none_or(|due| due > now + LONGEST_WAIT || due < now) {
            self.fail(format!(
                "{waiting} bytes wait in the merge, and nobody looks after them"
            ));
        }
    }

    pub(crate) fn merge_timeout(&mut self) {
        self.arrivals.timeouts += 1;
        self.note(|| "relay: the merge wakes up".into());
        self.merged(None, |merge, log, now, told| {
            merge.handle_timeout(log, now, &mut |appended, chunk| told(appended, chunk));
        });
    }

    /// The relay notices that a life is over.
    pub(crate) fn lose(&mut self, life: usize) {
        if self.sources[life].state == State::Gone || self.relay.is_over {
            return;
        }
        self.note(|| format!("relay: life{life} is gone"));
        self.sources[life].link.cut();
        self.arrivals.lost += 1;
        if self.sabotage == Sabotage::Shifts {
            self.finish_shifted(life);
        }
        self.relay.streams.retain(|source, _| source.0 != life);
        let mut gone = vec![life];
        match self.sabotage {
            Sabotage::Forgets => gone.clear(),
            Sabotage::LosesAll => gone = (0..self.sources.len()).collect(),
            _ => {}
        }
        for life in gone {
            self.lost_by_merge(life);
        }
        self.sources[life].state = State::Gone;
        let is_over = |source: &super::source::Source| source.state == State::Gone;
        if self.sources.iter().all(is_over) {
            self.finish();
        }
    }

    fn lost_by_merge(&mut self, life: usize) {
        if matches!(self.sabotage, Sabotage::NoMerge | Sabotage::OneKey) {
            let end = StreamEnd::Reset(ResetCode::Cancelled);
            let of = |stream: &StreamKey| stream >> 32 == life as u64;
            let own: Vec<_> = self.relay.open.iter().copied().filter(of).collect();
            let chunk = |stream| Append::SubgroupClosed { stream, end };
            self.feed(life, own.into_iter().map(chunk).collect());
            return;
        }
        self.merged(Some(life), |merge, log, now, told| {
            let from = PublisherKey(life as u64);
            merge.lost(log, now, from, &mut |appended, chunk| told(appended, chunk));
        });
    }

    /// Makes up the rest of what a lost publisher was in the middle of, a byte off.
    fn finish_shifted(&mut self, life: usize) {
        let cut = |(source, inbound): (&Source, &Inbound)| {
            let (at, missing) = inbound.progress?;
            (source.0 == life && missing > 1).then_some((key(*source), at, missing))
        };
        let cut: Vec<_> = self.relay.streams.iter().filter_map(cut).collect();
        for (stream, at, missing) in cut {
            let payload = &self.plan.objects[&at].payload;
            let from = payload.len() - super::plan::usize(missing);
            let mut rest = payload[from + 1..].to_vec();
            rest.push(0);
            let bytes = Bytes::from(rest);
            let chunk = Append::Payload { stream, bytes };
            self.merged(Some(life), |merge, log, now, told| {
                let from = PublisherKey(life as u64);
                merge.append(log, now, from, chunk, &mut |appended, chunk| {
                    told(appended, chunk)
                });
            });
        }
    }

    /// The track is over: what is left open is reset, and readers may read on.
    fn finish(&mut self) {
        if self.relay.is_over {
            return;
        }
        self.note(|| "relay ends the track".into());
        for life in 0..self.sources.len() {
            if self.sources[life].state != State::Unborn && self.sabotage != Sabotage::Forgets {
                self.lost_by_merge(life);
            }
            self.sources[life].state = State::Gone;
            self.sources[life].link.cut();
        }
        self.relay.is_over = true;
        self.track_gone();
    }

    /// A shard wants the track.
    pub(crate) fn add_replica(&mut self, number: usize) {
        if !self.relay.is_over {
            let mirror = Mirror::new(&self.relay.log, self.plan.limits, self.now);
            self.relay.replicas[number] = Some(mirror);
            self.note(|| format!("relay makes replica {number}"));
        }
    }

    fn compare_mirrors(&mut self) {
        let tight = self.plan.is_tight;
        let Relay { log, replicas, .. } = &mut self.relay;
        let mut fault = None;
        for mirror in replicas.iter_mut().flatten() {
            fault = mirror.compare(log, tight).err().or(fault);
        }
        if let Some(fault) = fault {
            self.fail(format!("a replica shows something else: {fault}"));
        }
    }
}

pub(crate) const fn key(source: Source) -> StreamKey {
    (source.0 as u64) << 32 | source.1.0
}

fn brief(chunk: &Append) -> String {
    match chunk {
        Append::Payload { stream, bytes } => {
            format!("Payload {{ stream: {stream:x}, {} bytes }}", bytes.len())
        }
        Append::ObjectStarted { stream, header } => format!(
            "Object {{ stream: {stream:x}, id: {}, {:?}, {} bytes }}",
            header.id, header.status, header.payload_len
        ),
        Append::SubgroupOpened {
            stream,
            group,
            subgroup,
            ..
        } => format!("Opened {{ stream: {stream:x}, {group}/{subgroup} }}"),
        Append::SubgroupClosed { stream, end } => format!("Closed {{ stream: {stream:x}, {end:?} }}"),
        Append::Datagram(datagram) => format!("Datagram {{ {} }}", datagram.location),
        Append::Missing { .. } => format!("{chunk:?}"),
    }
}
