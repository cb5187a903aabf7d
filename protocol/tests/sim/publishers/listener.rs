//! A subscription: what its actor and the session's writer do on the relay's side, and what the subscriber gets.

use super::plan::Whim;
use super::truth::{Got, StreamTruth, SubTruth};
use super::world::{Timer, World};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::{self, ResolvedFilter};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::object::{DatagramObject, SubgroupHeader, SubgroupIdMode};
use laps_protocol::relay::follow;
use laps_protocol::relay::lane::{LaneReader, Taken};
use laps_protocol::relay::track_log::{Cursor, LogDatagram, StreamEnd};
use laps_protocol::sim::{Delivery, Link, StreamId};
use std::collections::BTreeMap;
use std::time::Duration;

const DRAIN: Duration = Duration::from_secs(2);
const BATCH: usize = 32;
const MAX_OPEN_STREAMS: usize = 16;

/// One subscriber's connection, both ends.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) link: Link,
    /// The relay's state of each subscription, by number; none after its end.
    subs: Vec<Option<Subscription>>,
    pub(crate) truths: Vec<SubTruth>,
    /// Which subscription opened a stream.
    owners: BTreeMap<StreamId, usize>,
    receiving: BTreeMap<StreamId, Receiving>,
    looks: bool,
}

#[derive(Debug)]
struct Receiving {
    reader: StreamReader,
    header: Option<SubgroupHeader>,
}

#[derive(Debug)]
struct Subscription {
    /// The replica that serves it; the home when there is none with this number.
    replica: usize,
    filter: ResolvedFilter,
    cursor: Cursor,
    lanes: Vec<Lane>,
    evicted: u64,
}

/// One subgroup on its way.
#[derive(Debug)]
struct Lane {
    reader: LaneReader,
    stream: Option<StreamId>,
    out: Vec<Bytes>,
    end: Option<StreamEnd>,
    finished: bool,
    reset: Option<ResetCode>,
    /// Reads what is written, so that it is known by the byte what was to go out when.
    tap: StreamReader,
}

impl Lane {
    fn new(reader: LaneReader) -> Self {
        Self {
            reader,
            stream: None,
            out: Vec::new(),
            end: None,
            finished: false,
            reset: None,
            tap: StreamReader::new(Codec::Draft14, DataLimits::default()),
        }
    }
}

impl Listener {
    pub(crate) const fn new(link: Link) -> Self {
        Self {
            link,
            subs: Vec::new(),
            truths: Vec::new(),
            owners: BTreeMap::new(),
            receiving: BTreeMap::new(),
            looks: false,
        }
    }
}

impl World {
    pub(crate) fn follow_whim(&mut self, me: usize, whim: Whim) {
        self.note(|| format!("sub{me} wants {whim:?}"));
        match whim {
            Whim::Join => self.subscribe(me),
            Whim::Leave => {
                self.tick += 1;
                for number in 0..self.listeners[me].subs.len() {
                    if self.listeners[me].subs[number].is_some() {
                        self.listeners[me].truths[number].left = Some(self.tick);
                        // MOQT-14 §5.1 [D14-SUB-18]
                        self.reset_lanes(me, number, ResetCode::Cancelled);
                        self.poll_lanes(me, number);
                        self.listeners[me].subs[number] = None;
                    }
                }
            }
            Whim::Stop => {
                let now = self.now;
                let listener = &mut self.listeners[me];
                let Some((stream, _)) = listener.receiving.pop_last() else {
                    return;
                };
                let truth = &mut listener.truths[listener.owners[&stream]];
                truth.streams.get_mut(&stream).unwrap().stopped = true;
                let code = Codec::Draft14.reset_code(ResetCode::Cancelled);
                listener.link.stop(now, stream, code);
            }
        }
    }

    fn subscribe(&mut self, me: usize) {
        let wants = &self.plan.listeners[me];
        let replica = wants.replica;
        let log = self.relay.log_of(replica);
        let Ok(filter) = filter::resolve(&wants.filter, log.largest()) else {
            return;
        };
        if self.relay.is_over {
            return;
        }
        let replica = if self.relay.replicas.get(replica).is_some_and(Option::is_some) {
            replica
        } else {
            usize::MAX
        };
        let edge = log.live_edge();
        let lanes = follow::continue_open(log, edge.open, &filter, me as u64);
        let sub = Subscription {
            replica,
            filter,
            cursor: edge.cursor,
            lanes: lanes.into_iter().map(Lane::new).collect(),
            evicted: 0,
        };
        self.tick += 1;
        let tick = self.tick;
        self.note(|| format!("relay: sub{me} begins at {tick}, range {filter:?}, replica {replica}"));
        let listener = &mut self.listeners[me];
        listener.subs.push(Some(sub));
        listener.truths.push(SubTruth::new(tick, filter));
        self.look_all(me);
    }

    /// For [`Sabotage::Repeats`]: everybody begins anew.
    pub(crate) fn repeat_all(&mut self) {
        for sub in self
            .listeners
            .iter_mut()
            .flat_map(|listener| listener.subs.iter_mut())
            .flatten()
        {
            sub.cursor = Cursor::default();
        }
    }

    /// The relay looks after this subscriber soon: news waits in a mailbox for a while.
    pub(crate) fn wake(&mut self, me: usize) {
        if !std::mem::replace(&mut self.listeners[me].looks, true) {
            let wait = Duration::from_micros(self.rng.below(3000));
            self.after(wait, Timer::Look(me));
        }
    }

    pub(crate) fn wake_all(&mut self) {
        (0..self.listeners.len()).for_each(|me| self.wake(me));
    }

    pub(crate) fn track_gone(&mut self) {
        self.wake_all();
        for me in 0..self.listeners.len() {
            self.after(DRAIN, Timer::Drain(me));
        }
    }

    pub(crate) fn drain_over(&mut self, me: usize) {
        for number in 0..self.listeners[me].subs.len() {
            if self.listeners[me].subs[number]
                .as_ref()
                .is_some_and(|sub| !sub.lanes.is_empty())
            {
                self.listeners[me].truths[number].drained = true;
                self.reset_lanes(me, number, ResetCode::DeliveryTimeout);
                self.poll_lanes(me, number);
            }
        }
    }

    fn reset_lanes(&mut self, me: usize, number: usize, code: ResetCode) {
        if let Some(sub) = &mut self.listeners[me].subs[number] {
            sub.lanes.iter_mut().for_each(|lane| lane.reset = Some(code));
        }
    }

    pub(crate) fn look_all(&mut self, me: usize) {
        self.listeners[me].looks = false;
        (0..self.listeners[me].subs.len()).for_each(|number| self.look(me, number));
    }

    /// Takes what is new in the log.
    fn look(&mut self, me: usize, number: usize) {
        let Some(sub) = &mut self.listeners[me].subs[number] else {
            return;
        };
        let log = self.relay.log_of(sub.replica);
        let evicted = log.stats().evicted_groups;
        let mut lagged = 0;
        if std::mem::replace(&mut sub.evicted, evicted) != evicted {
            for lane in &mut sub.lanes {
                if log.subgroup(lane.reader.seq()).is_none() && lane.reset.is_none() {
                    lane.reset = Some(ResetCode::DeliveryTimeout);
                    lagged += 1;
                }
            }
        }
        let room = MAX_OPEN_STREAMS.saturating_sub(sub.lanes.len());
        let found = follow::look(log, &mut sub.cursor, &sub.filter, me as u64, room);
        sub.lanes.extend(found.lanes.into_iter().map(Lane::new));
        self.listeners[me].truths[number].lagged += lagged + found.lagged;
        for datagram in found.datagrams {
            self.send_down(me, number, datagram);
        }
        self.poll_lanes(me, number);
    }

    fn send_down(&mut self, me: usize, number: usize, datagram: LogDatagram) {
        let at = datagram.location;
        if !self.listeners[me].truths[number].sent.insert(at) {
            self.fail(format!("[D14-PUB-1] sub{me}: datagram {at} goes out twice"));
        }
        let object = DatagramObject {
            alias: number as u64,
            location: at,
            priority: datagram.priority,
            extensions: datagram.extensions,
            end_of_group: datagram.end_of_group,
            status: datagram.status,
            payload: datagram.payload,
        };
        let mut bytes = BytesMut::new();
        Codec::Draft14
            .encode_datagram_header(&object, &mut bytes)
            .unwrap();
        bytes.extend_from_slice(&object.payload);
        let now = self.now;
        self.listeners[me].link.send_datagram(now, bytes.freeze());
    }

    /// Lets every lane do what it can.
    fn poll_lanes(&mut self, me: usize, number: usize) {
        let Some(sub) = &mut self.listeners[me].subs[number] else {
            return;
        };
        let (mut lanes, replica, filter) = (std::mem::take(&mut sub.lanes), sub.replica, sub.filter);
        lanes.retain_mut(|lane| self.poll_lane(me, number, replica, &filter, lane));
        if let Some(sub) = &mut self.listeners[me].subs[number] {
            sub.lanes = lanes;
        }
    }

    /// False when the lane is over.
    fn poll_lane(
        &mut self,
        me: usize,
        number: usize,
        replica: usize,
        filter: &ResolvedFilter,
        lane: &mut Lane,
    ) -> bool {
        if let Some(code) = lane.reset.take() {
            self.close_lane(me, number, lane, StreamEnd::Reset(code));
            return false;
        }
        let now = self.now;
        loop {
            if lane.finished {
                return lane
                    .stream
                    .is_some_and(|stream| !self.listeners[me].link.is_over(stream));
            }
            if let Some(stream) = lane.stream {
                let link = &mut self.listeners[me].link;
                while let Some(piece) = lane.out.first_mut() {
                    let room = link.room(stream).min(piece.len());
                    if room == 0 {
                        return true;
                    }
                    link.write(now, stream, piece.split_to(room));
                    if piece.is_empty() {
                        lane.out.remove(0);
                    }
                }
                if let Some(end) = lane.end {
                    self.close_lane(me, number, lane, end);
                    lane.finished = true;
                    continue;
                }
            }
            let begin = lane.reader.position();
            let log = self.relay.log_of(replica);
            let (taken, _) = lane
                .reader
                .take(log, Codec::Draft14, filter, BATCH, &mut lane.out);
            match taken {
                Taken::Pending => return true,
                Taken::Pieces { .. } => {}
                Taken::End(_) if lane.stream.is_none() && lane.out.is_empty() => return false,
                Taken::End(end) => lane.end = Some(end),
                Taken::Gap(code) | Taken::Lost(code) | Taken::Expired(code) => {
                    self.listeners[me].truths[number].lagged += 1;
                    self.close_lane(me, number, lane, StreamEnd::Reset(code));
                    return false;
                }
            }
            if lane.stream.is_none() && !self.open_lane(me, number, lane) {
                lane.out.clear();
                lane.end = None;
                lane.reader.rewind(begin);
                return true;
            }
            self.tap(me, number, lane);
        }
    }

    fn open_lane(&mut self, me: usize, number: usize, lane: &mut Lane) -> bool {
        let listener = &mut self.listeners[me];
        let Some(stream) = listener.link.open() else {
            return false;
        };
        let header = *lane.reader.header();
        let subgroup = match header.subgroup {
            SubgroupIdMode::Explicit(id) => id,
            SubgroupIdMode::Zero | SubgroupIdMode::FirstObject => 0,
        };
        lane.stream = Some(stream);
        lane.out.splice(..0, lane.reader.stream_header(Codec::Draft14));
        listener.owners.insert(stream, number);
        let truth = StreamTruth::new(header.group, subgroup);
        listener.truths[number].streams.insert(stream, truth);
        self.note(|| format!("relay: sub{me} {stream:?} carries {}/{subgroup}", header.group));
        true
    }

    /// Reads what goes out on a stream, at the moment at which it leaves the log.
    fn tap(&mut self, me: usize, number: usize, lane: &mut Lane) {
        let Some(stream) = lane.stream else { return };
        // Whatever waits was taken just now: nothing is taken before all is written.
        lane.out.iter().for_each(|piece| lane.tap.push(piece.clone()));
        let truth = &mut self.listeners[me].truths[number];
        let filter = truth.filter;
        let truth = truth.streams.get_mut(&stream).unwrap();
        let mut outside = None;
        while let Some(item) = lane.tap.next().unwrap() {
            match item {
                StreamItem::Object(header) => {
                    truth.taken.push((header.id, header.payload_len));
                    let at = Location::new(truth.group, header.id);
                    outside = outside.or_else(|| (!filter.admits(at)).then_some(at));
                }
                StreamItem::Payload(bytes) => {
                    if let Some((_, missing)) = truth.taken.last_mut() {
                        *missing -= bytes.len() as u64;
                    }
                }
                StreamItem::SubgroupHeader(_) | StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => {}
            }
        }
        if let Some(at) = outside {
            self.fail(format!(
                "[D14-SUB-5] sub{me} {stream:?}: {at} is outside {filter:?}"
            ));
        }
    }

    fn close_lane(&mut self, me: usize, number: usize, lane: &mut Lane, end: StreamEnd) {
        let Some(stream) = lane.stream else { return };
        self.tick += 1;
        self.note(|| format!("relay: sub{me} {stream:?} ends: {end:?}"));
        let (now, tick) = (self.now, self.tick);
        let Listener { link, truths, .. } = &mut self.listeners[me];
        match end {
            StreamEnd::Fin => link.finish(now, stream),
            StreamEnd::Reset(code) => {
                link.reset(now, stream, Codec::Draft14.reset_code(code));
                lane.stream = None;
            }
        }
        let truth = truths[number].streams.get_mut(&stream).unwrap();
        truth.end = Some((tick, end));
    }

    /// Something came over a subscriber's connection, or back.
    pub(crate) fn deliver(&mut self, me: usize, delivery: Delivery) {
        match delivery {
            Delivery::Bytes(stream, bytes) => self.receive_bytes(me, stream, bytes),
            Delivery::Fin(stream) => self.receive_end(me, stream, true),
            Delivery::Reset(stream, _) => self.receive_end(me, stream, false),
            Delivery::Datagram(bytes) => {
                let limits = DataLimits::default();
                let datagram = Codec::Draft14.decode_datagram(bytes, &limits).unwrap();
                let at = datagram.location;
                let same = [false, true].into_iter().any(|lies| {
                    self.plan.version(lies, at).is_some_and(|object| {
                        datagram.payload == object.payload
                            && datagram.extensions == object.header.extensions
                            && datagram.status == object.header.status
                            && datagram.priority == object.priority
                            && datagram.end_of_group == object.end_of_group
                    })
                });
                let number = usize::try_from(datagram.alias).unwrap();
                let truth = &mut self.listeners[me].truths[number];
                *truth.datagrams.entry(at).or_default() += 1;
                if !same {
                    self.fail(format!("sub{me}: datagram {at} is nobody's"));
                }
            }
            // MOQT-14 §10.4.3 [D14-CLOSE-7]
            Delivery::Stopped(stream, _) => {
                let listener = &mut self.listeners[me];
                let number = listener.owners[&stream];
                let lanes = listener.subs[number].iter_mut().flat_map(|sub| &mut sub.lanes);
                for lane in lanes.filter(|lane| lane.stream == Some(stream)) {
                    lane.reset = Some(ResetCode::Cancelled);
                }
                self.wake(me);
            }
            Delivery::Acknowledged(_) => self.wake(me),
        }
    }

    fn receive_bytes(&mut self, me: usize, stream: StreamId, bytes: Bytes) {
        let listener = &mut self.listeners[me];
        let truth = &mut listener.truths[listener.owners[&stream]];
        let truth = truth.streams.get_mut(&stream).unwrap();
        if truth.stopped {
            return;
        }
        let receiving = listener.receiving.entry(stream).or_insert_with(|| Receiving {
            reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
            header: None,
        });
        receiving.reader.push(bytes);
        let mut fault = None;
        while let Some(item) = receiving.reader.next().unwrap() {
            match item {
                StreamItem::SubgroupHeader(header) => {
                    receiving.header = Some(header);
                    continue;
                }
                StreamItem::Object(header) => truth.got.push(Got {
                    header,
                    payload: Vec::new(),
                }),
                StreamItem::Payload(bytes) => truth.got.last_mut().unwrap().payload.extend_from_slice(&bytes),
                StreamItem::FetchHeader(_) | StreamItem::FetchObject(_) => continue,
            }
            let (Some(got), Some(header)) = (truth.got.last(), receiving.header) else {
                continue;
            };
            let at = Location::new(header.group, got.header.id);
            let is = |lies| {
                self.plan.version(lies, at).is_some_and(|object| {
                    got.header == object.header
                        && got.payload == object.payload
                        && header.priority == object.priority
                        && truth.subgroup == object.subgroup
                })
            };
            if got.is_complete() && !is(false) && !is(true) {
                fault = Some(at);
            }
        }
        if let Some(at) = fault {
            self.fail(format!("sub{me} {stream:?}: {at} is nobody's"));
        }
    }

    fn receive_end(&mut self, me: usize, stream: StreamId, fin: bool) {
        let listener = &mut self.listeners[me];
        let receiving = listener.receiving.remove(&stream);
        let truth = &mut listener.truths[listener.owners[&stream]];
        truth.streams.get_mut(&stream).unwrap().got_fin = Some(fin);
        if let Some(receiving) = receiving.filter(|_| fin)
            && let Err(why) = receiving.reader.fin()
        {
            self.fail(format!("[D14-DATA-18] sub{me} {stream:?}: {why}"));
        }
    }
}
