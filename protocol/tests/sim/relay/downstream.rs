//! The relay's side towards a subscriber: what a subscription's actor and the session's writer do, in their order.

use super::truth::{StreamTruth, SubTruth};
use super::upstream::Phase;
use super::world::{Conn, Sabotage, Timer, World};
use crate::common::{S, subscribe_ok};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::{self, ResolvedFilter};
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    PublishDone, PublishDoneStatus, RequestError, RequestErrorReason, RequestId, Subscribe, SubscribeUpdate,
};
use laps_protocol::moqt::object::{DatagramObject, SubgroupIdMode};
use laps_protocol::moqt::session::{Command, Event};
use laps_protocol::relay::behind::{Behind, Open, Policy, Reading, SkipRules, Standing, Waits};
use laps_protocol::relay::expiry::{Age, delivery_timeout};
use laps_protocol::relay::follow;
use laps_protocol::relay::lane::{LaneReader, Taken};
use laps_protocol::relay::track_log::{
    Cursor, LogDatagram, Position, Read, StreamEnd, SubgroupSeq, TrackLog,
};
use laps_protocol::sim::StreamId;
use std::time::{Duration, Instant};

const LAST_GROUP_GRACE: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(2);
const BATCH: u64 = 32;
const MAX_OPEN_STREAMS: usize = 16;
const EVERYTHING: ResolvedFilter = ResolvedFilter {
    start: Location::ZERO,
    end_group: None,
};

/// A subscription of one subscriber.
#[derive(Debug)]
pub(crate) struct Subscription {
    request: RequestId,
    alias: u64,
    pub(crate) filter: ResolvedFilter,
    forward: bool,
    cursor: Cursor,
    lanes: Vec<Lane>,
    opened: u64,
    ending: Option<PublishDoneStatus>,
    late: bool,
    evicted: u64,
    behind: Behind,
    policy: Policy,
    taken: u64,
    /// The log dropped what was not taken yet.
    lost: bool,
    /// It begins nothing new.
    stays: bool,
    timeout: Option<Duration>,
    timed: bool,
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
    /// It has taken all that the log had for it.
    has_all: bool,
    /// Reads what is written, so that it is known by the byte what was to go out when.
    tap: StreamReader,
    /// For [`Sabotage::Skips`].
    skips: bool,
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
            has_all: false,
            tap: StreamReader::new(Codec::Draft14, DataLimits::default()),
            skips: true,
        }
    }

    const fn waits(&self) -> Waits {
        match (self.finished, self.has_all && self.out.is_empty()) {
            (true, _) => Waits::Nothing,
            (false, true) => Waits::Log,
            (false, false) => Waits::Peer,
        }
    }
}

impl World {
    pub(crate) fn relay_hears(&mut self, conn: usize, event: Event) {
        match event {
            Event::PeerSubscribe(request, subscribe) => match self.relay.phase {
                Phase::Created | Phase::Subscribing => {
                    self.relay.waiting.push((conn, request, subscribe));
                    self.engage();
                }
                Phase::Live => self.attach(conn, request, &subscribe),
                Phase::Ended => self.reject(conn, request),
            },
            Event::PeerSubscribeUpdate(request, update) => {
                if let Some(sub) = self.find(conn, request) {
                    self.update(conn, sub, &update);
                }
            }
            Event::PeerFetch(..) | Event::PeerFetchCancel(_) => self.relay_hears_fetch(conn, event),
            Event::PeerUnsubscribe(request) => {
                self.relay
                    .waiting
                    .retain(|(at, id, _)| (*at, *id) != (conn, request));
                if let Some(sub) = self.find(conn, request) {
                    self.conns[conn].truths[sub].unsubscribed = true;
                    // MOQT-14 §5.1 [D14-SUB-18]
                    self.reset_lanes(conn, sub, ResetCode::Cancelled, |_| true);
                    self.poll_lanes(conn, sub);
                    self.conns[conn].subs[sub] = None;
                }
            }
            _ => {}
        }
    }

    fn find(&self, conn: usize, request: RequestId) -> Option<usize> {
        let is = |sub: &Option<Subscription>| sub.as_ref().is_some_and(|sub| sub.request == request);
        self.conns[conn].subs.iter().position(is)
    }

    pub(crate) fn reject(&mut self, conn: usize, request: RequestId) {
        self.conns[conn].rejected += 1;
        let error = RequestError::new(RequestErrorReason::InternalError, "not to be had");
        self.say(Some(conn), S, Command::Reject(request, error));
    }

    pub(crate) fn attach(&mut self, conn: usize, request: RequestId, subscribe: &Subscribe) {
        let largest = self.log.largest();
        let Ok(filter) = filter::resolve(&subscribe.filter, largest) else {
            self.reject(conn, request);
            return;
        };
        let alias = self.conns[conn].pair.with(S, |session| session.new_alias());
        self.say(
            Some(conn),
            S,
            Command::AcceptSubscribe(request, subscribe_ok(alias, largest)),
        );
        let edge = self.log.live_edge();
        self.tick += 1;
        let epochs = subscribe
            .forward
            .then_some((self.tick, None))
            .into_iter()
            .collect();
        let listener = &self.plan.listeners[conn];
        let timeout = delivery_timeout(None, subscribe.params.delivery_timeout_ms);
        let rules = SkipRules {
            all: listener.skips,
            max_wait: listener.max_wait_ms.map(Duration::from_millis),
            ..SkipRules::default()
        };
        let namespace = subscribe.track.namespace();
        let policy = rules.policy(namespace, timeout.is_some());
        let mut behind = Behind::new(listener.max_behind).waiting(rules.max_wait(namespace));
        behind.begins(&self.log, 0);
        let sub = Subscription {
            request,
            alias,
            filter,
            forward: subscribe.forward,
            cursor: edge.cursor,
            lanes: Vec::new(),
            opened: 0,
            ending: None,
            late: false,
            evicted: 0,
            behind,
            policy,
            taken: 0,
            lost: false,
            stays: false,
            timeout,
            timed: false,
        };
        let truth = SubTruth::new(request, alias, epochs, filter, policy);
        let tick = self.tick;
        self.note(|| format!("relay: sub{conn} begins at {tick}, range {filter:?}"));
        let Conn { subs, truths, .. } = &mut self.conns[conn];
        subs.push(Some(sub));
        truths.push(truth);
        let number = subs.len() - 1;
        if subscribe.forward {
            self.continue_open(conn, number, edge.open);
        }
        self.look(conn, number);
    }

    fn continue_open(&mut self, conn: usize, number: usize, mut open: Vec<(SubgroupSeq, Position)>) {
        if self.sabotage == Sabotage::Replays {
            open.iter_mut()
                .for_each(|(_, position)| *position = Position::default());
        }
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            let lanes = follow::continue_open(&self.log, open, &sub.filter, sub.alias);
            sub.lanes.extend(lanes.into_iter().map(Lane::new));
        }
    }

    fn update(&mut self, conn: usize, number: usize, update: &SubscribeUpdate) {
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        if sub.ending == Some(PublishDoneStatus::TooFarBehind) {
            return;
        }
        let forwarding = sub.forward;
        sub.forward = update.forward;
        sub.filter = sub.filter.narrow(update);
        let filter = sub.filter;
        if self.sabotage == Sabotage::Repeats {
            sub.cursor = Cursor::default();
        }
        self.conns[conn].truths[number].filter = filter;
        self.tick += 1;
        self.note(|| {
            format!(
                "relay: sub{conn} has range {filter:?}, forward {}",
                update.forward
            )
        });
        if !update.forward {
            self.reset_lanes(conn, number, ResetCode::Cancelled, |_| true);
            let tick = self.tick;
            if let Some((_, off @ None)) = self.conns[conn].truths[number].epochs.last_mut() {
                *off = Some(tick);
            }
        }
        self.reset_lanes(conn, number, ResetCode::Cancelled, |group| {
            !filter.admits_group(group)
        });
        if filter.is_empty() || filter.is_over(self.log.largest()) {
            self.run_out(conn, number);
        }
        if update.forward && !forwarding {
            let edge = self.log.live_edge();
            let tick = self.tick;
            self.conns[conn].truths[number].epochs.push((tick, None));
            if let Some(sub) = &mut self.conns[conn].subs[number] {
                sub.cursor = edge.cursor;
                sub.behind.begins(&self.log, sub.taken);
            }
            self.continue_open(conn, number, edge.open);
        }
        self.look(conn, number);
    }

    fn reset_lanes(&mut self, conn: usize, number: usize, code: ResetCode, which: impl Fn(u64) -> bool) {
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            for lane in sub
                .lanes
                .iter_mut()
                .filter(|lane| which(lane.reader.header().group))
            {
                lane.reset = Some(code);
            }
        }
    }

    fn run_out(&mut self, conn: usize, number: usize) {
        if let Some(sub) = &mut self.conns[conn].subs[number]
            && !std::mem::replace(&mut sub.late, true)
        {
            self.after(LAST_GROUP_GRACE, Timer::Grace(conn, number));
        }
    }

    pub(crate) fn grace_over(&mut self, conn: usize, number: usize) {
        if self.conns[conn].subs[number].is_some() {
            self.conns[conn].truths[number].ran_out = true;
            self.end(conn, number, PublishDoneStatus::SubscriptionEnded);
        }
    }

    pub(crate) fn track_gone(&mut self, conn: usize, number: usize, status: PublishDoneStatus) {
        self.look(conn, number);
        self.end(conn, number, status);
    }

    fn end(&mut self, conn: usize, number: usize, status: PublishDoneStatus) {
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        if sub.ending.is_none() {
            sub.ending = Some(status);
            self.after(DRAIN, Timer::Drain(conn, number));
        }
        self.settle(conn, number);
    }

    pub(crate) fn drain_over(&mut self, conn: usize, number: usize) {
        if self.conns[conn].subs[number].is_some() {
            self.conns[conn].truths[number].drained = true;
        }
        self.reset_lanes(conn, number, ResetCode::DeliveryTimeout, |_| true);
        self.look(conn, number);
    }

    /// MOQT-14 §9.12 [D14-SUB-19]: PUBLISH_DONE only after every stream was closed.
    fn settle(&mut self, conn: usize, number: usize) {
        let early = self.sabotage == Sabotage::EarlyDone;
        let Some(sub) = &self.conns[conn].subs[number] else {
            return;
        };
        let Some(status) = sub.ending.filter(|_| early || sub.lanes.is_empty()) else {
            return;
        };
        let (request, mut count) = (sub.request, sub.opened);
        if self.sabotage == Sabotage::Miscounts {
            count += 1;
        }
        let Conn {
            subs, truths, link, ..
        } = &mut self.conns[conn];
        subs[number] = None;
        truths[number].done_sent = Some(count);
        let open: Vec<_> = truths[number]
            .streams
            .iter()
            .filter(|(stream, truth)| {
                let is_reset = matches!(truth.end, Some((_, StreamEnd::Reset(_))));
                !is_reset && !link.is_over(**stream)
            })
            .map(|(stream, _)| *stream)
            .collect();
        if !open.is_empty() {
            self.fail(format!(
                "[D14-SUB-19] sub{conn}: PUBLISH_DONE before {open:?} were closed"
            ));
        }
        let done = PublishDone {
            status,
            // MOQT-14 §9.12 [D14-SUB-20]
            stream_count: Some(count),
            phrase: Bytes::new(),
        };
        self.say(Some(conn), S, Command::PublishDone(request, done));
    }

    pub(crate) fn look_all(&mut self, conn: usize) {
        (0..self.conns[conn].subs.len()).for_each(|number| self.look(conn, number));
        self.drive_all(conn);
    }

    /// Takes what is new in the log.
    fn look(&mut self, conn: usize, number: usize) {
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        if sub.forward {
            let evicted = self.log.stats().evicted_groups;
            let mut lagged = 0;
            if std::mem::replace(&mut sub.evicted, evicted) != evicted {
                for lane in &mut sub.lanes {
                    if self.log.subgroup(lane.reader.seq()).is_none() && lane.reset.is_none() {
                        lane.reset = Some(ResetCode::DeliveryTimeout);
                        lagged += u64::from(!lane.has_all);
                    }
                }
            }
            sub.lost |= lagged > 0;
            self.conns[conn].truths[number].lagged += lagged;
            self.keep_up(conn, number);
        }
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        let log = &self.log;
        if sub.forward {
            let filter = if self.sabotage == Sabotage::Unfiltered {
                EVERYTHING
            } else {
                sub.filter
            };
            let room = if sub.stays {
                0
            } else {
                MAX_OPEN_STREAMS.saturating_sub(sub.lanes.len())
            };
            let age = age(self.now, sub.timeout);
            let found = follow::look_in_time(&age, log, &mut sub.cursor, &filter, sub.alias, room);
            sub.lost |= found.lagged > 0;
            sub.lanes.extend(found.lanes.into_iter().map(Lane::new));
            let alias = sub.alias;
            self.conns[conn].truths[number].lagged += found.lagged;
            if found.lagged > 0 {
                self.keep_up(conn, number);
            }
            for datagram in found.datagrams {
                self.send_datagram_down(conn, number, alias, datagram);
            }
            if found.past_end {
                self.run_out(conn, number);
            }
        } else {
            sub.cursor = log.live_edge().cursor;
        }
        self.poll_lanes(conn, number);
        self.watch_time(conn, number);
        self.settle(conn, number);
    }

    /// What becomes of a subscriber that does not keep up.
    fn keep_up(&mut self, conn: usize, number: usize) {
        let Some(sub) = self.conns[conn].subs[number].as_mut().filter(|sub| sub.forward) else {
            return;
        };
        let at = Reading {
            now: self.now,
            log: &self.log,
            cursor: &sub.cursor,
            filter: &sub.filter,
            taken: sub.taken,
            lost: std::mem::take(&mut sub.lost),
        };
        let lanes = &sub.lanes;
        let standing = sub.behind.look(sub.policy, &at, || {
            let open = lanes.iter().filter(|lane| lane.reset.is_none());
            open.map(|lane| Open {
                group: lane.reader.header().group,
                seq: lane.reader.seq(),
                position: lane.reader.position(),
                held: 0,
                since: None,
                waits: lane.waits(),
            })
        });
        let stayed = std::mem::replace(&mut sub.stays, standing == Standing::Stays);
        let until = sub.behind.due().filter(|_| sub.stays && !stayed);
        if let Some(until) = until {
            let wait = until.saturating_duration_since(self.now);
            self.after(wait, Timer::Look(conn));
        }
        let truth = &mut self.conns[conn].truths[number];
        match standing {
            Standing::Near | Standing::Stays => {}
            Standing::SkipTo(group) => {
                truth.skips += 1;
                if let Some(sub) = &mut self.conns[conn].subs[number] {
                    sub.filter.start = sub.filter.start.max(Location::new(group, 0));
                }
                self.note(|| format!("relay: sub{conn} skips to {group}"));
                self.reset_lanes(conn, number, ResetCode::DeliveryTimeout, |open| open < group);
            }
            Standing::TooFar if self.sabotage == Sabotage::PassesOver => {}
            Standing::TooFar => {
                truth.too_far = true;
                self.note(|| format!("relay: sub{conn} is too far behind"));
                self.reset_lanes(conn, number, ResetCode::Cancelled, |_| true);
                if let Some(sub) = &mut self.conns[conn].subs[number] {
                    sub.forward = false;
                    sub.ending = Some(PublishDoneStatus::TooFarBehind);
                }
            }
        }
    }

    /// One timer, at the earliest moment at which something that is open can be late.
    fn watch_time(&mut self, conn: usize, number: usize) {
        let Some(sub) = self.conns[conn].subs[number].as_mut() else {
            return;
        };
        let Some(timeout) = sub.timeout.filter(|_| !sub.timed) else {
            return;
        };
        let waits = |lane: &Lane| self.log.waiting_since(lane.reader.seq(), &lane.reader.position());
        let open = sub.lanes.iter().filter(|lane| lane.reset.is_none());
        if let Some(since) = open.filter_map(waits).min() {
            sub.timed = true;
            let wait = (since + timeout).saturating_duration_since(self.now);
            self.after(wait, Timer::Due(conn, number));
        }
    }

    pub(crate) fn expire(&mut self, conn: usize, number: usize) {
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        sub.timed = false;
        let age = age(self.now, sub.timeout);
        let mut late = 0;
        for lane in sub.lanes.iter_mut().filter(|lane| lane.reset.is_none()) {
            let since = self.log.waiting_since(lane.reader.seq(), &lane.reader.position());
            if since.is_some_and(|since| age.is_over(since)) && self.sabotage != Sabotage::Late {
                lane.reset = Some(ResetCode::DeliveryTimeout);
                late += 1;
            }
        }
        self.conns[conn].truths[number].expired += late;
        self.look(conn, number);
    }

    fn send_datagram_down(&mut self, conn: usize, number: usize, alias: u64, datagram: LogDatagram) {
        let truth = &mut self.conns[conn].truths[number];
        if !truth.filter.admits(datagram.location) {
            let at = datagram.location;
            self.fail(format!(
                "[D14-SUB-5] sub{conn}: datagram {at} is outside the range"
            ));
            return;
        }
        let object = DatagramObject {
            alias,
            location: datagram.location,
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
        self.conns[conn].link.send_datagram(now, bytes.freeze());
    }

    /// Lets every lane do what it can.
    pub(crate) fn poll_lanes(&mut self, conn: usize, number: usize) {
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        let mut lanes = std::mem::take(&mut sub.lanes);
        lanes.retain_mut(|lane| self.poll_lane(conn, number, lane));
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            let opened_meanwhile = std::mem::replace(&mut sub.lanes, lanes);
            sub.lanes.extend(opened_meanwhile);
            if sub.lost {
                self.keep_up(conn, number);
                self.poll_lanes(conn, number);
            } else if sub.stays && sub.lanes.iter().all(|lane| lane.waits() != Waits::Peer) {
                self.wake(conn);
            }
        }
    }

    /// False when the lane is over.
    fn poll_lane(&mut self, conn: usize, number: usize, lane: &mut Lane) -> bool {
        if let Some(code) = lane.reset.take() {
            self.close_lane(conn, number, lane, StreamEnd::Reset(code));
            return false;
        }
        loop {
            let Some(stream) = lane.stream else {
                match self.open_lane(conn, number, lane) {
                    Some(true) => continue,
                    Some(false) => return true,
                    None => return false,
                }
            };
            if lane.finished {
                return !self.conns[conn].link.is_over(stream);
            }
            while let Some(piece) = lane.out.first_mut() {
                let link = &mut self.conns[conn].link;
                let room = link.room(stream).min(piece.len());
                if room == 0 {
                    return true;
                }
                let part = piece.split_to(room);
                if piece.is_empty() {
                    lane.out.remove(0);
                }
                let now = self.now;
                link.write(now, stream, part);
            }
            if let Some(end) = lane.end {
                if end == StreamEnd::Fin || self.sabotage == Sabotage::FinForReset {
                    self.close_lane(conn, number, lane, StreamEnd::Fin);
                    lane.finished = true;
                    continue;
                }
                self.close_lane(conn, number, lane, end);
                return false;
            }
            match self.take(conn, number, lane) {
                Taken::Pieces { .. } => {}
                Taken::End(end) => lane.end = Some(end),
                Taken::Pending => return true,
                Taken::Expired(code) => {
                    self.conns[conn].truths[number].expired += 1;
                    self.close_lane(conn, number, lane, StreamEnd::Reset(code));
                    return false;
                }
                Taken::Gap(code) => {
                    self.close_lane(conn, number, lane, StreamEnd::Reset(code));
                }
                Taken::Lost(code) => {
                    self.lose(conn, number);
                    let end = if self.sabotage == Sabotage::FinForLost {
                        StreamEnd::Fin
                    } else {
                        StreamEnd::Reset(code)
                    };
                    self.close_lane(conn, number, lane, end);
                    return false;
                }
            }
        }
    }

    /// The log dropped what was not taken yet.
    fn lose(&mut self, conn: usize, number: usize) {
        self.conns[conn].truths[number].lagged += 1;
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            sub.lost = true;
        }
    }

    /// Some(true) when a stream is open now, Some(false) when there is nothing to do yet.
    fn open_lane(&mut self, conn: usize, number: usize, lane: &mut Lane) -> Option<bool> {
        lane.tap = StreamReader::new(Codec::Draft14, DataLimits::default());
        let begin = lane.reader.position();
        let taken = self.conns[conn].subs[number].as_ref().map_or(0, |sub| sub.taken);
        match self.take(conn, number, lane) {
            Taken::Pending => return Some(false),
            Taken::Lost(_) => {
                self.lose(conn, number);
                return None;
            }
            Taken::Expired(_) => {
                self.conns[conn].truths[number].expired += 1;
                return None;
            }
            Taken::Gap(_) => return None,
            Taken::End(_) if lane.out.is_empty() => return None,
            Taken::End(end) => lane.end = Some(end),
            Taken::Pieces { .. } => {}
        }
        let Some(stream) = self.conns[conn].link.open() else {
            if let Some(sub) = &mut self.conns[conn].subs[number] {
                sub.taken = taken;
            }
            lane.out.clear();
            lane.reader.rewind(begin);
            lane.has_all = false;
            lane.end = None;
            return Some(false);
        };
        let header = *lane.reader.header();
        let subgroup = match header.subgroup {
            SubgroupIdMode::Zero => 0,
            SubgroupIdMode::Explicit(id) => id,
            SubgroupIdMode::FirstObject => {
                self.fail("[D14-DATA-5] the first object's id names a subgroup".into());
                return None;
            }
        };
        lane.stream = Some(stream);
        let taken = std::mem::take(&mut lane.out);
        lane.out.extend(lane.reader.stream_header(Codec::Draft14));
        lane.tap.push(lane.out[0].clone());
        lane.out.extend(taken);
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            sub.opened += 1;
        }
        self.note(|| format!("relay: sub{conn} {stream:?} carries {}/{subgroup}", header.group));
        let Conn { truths, owners, .. } = &mut self.conns[conn];
        owners.insert(stream, number);
        let truth = &mut truths[number];
        let epoch = truth.epochs.len().saturating_sub(1);
        truth
            .streams
            .insert(stream, StreamTruth::new(header.group, subgroup, epoch));
        let out = lane.out[1..].to_vec();
        self.tap(conn, number, lane, out);
        Some(true)
    }

    /// Takes from the log.
    fn take(&mut self, conn: usize, number: usize, lane: &mut Lane) -> Taken {
        let filter = match &self.conns[conn].subs[number] {
            Some(_) if self.sabotage == Sabotage::Unfiltered => EVERYTHING,
            Some(sub) => sub.filter,
            None => EVERYTHING,
        };
        let max = usize::try_from(1 + self.rng.below(BATCH)).unwrap();
        let log: &TrackLog = &self.log;
        let before = lane.out.len();
        if self.sabotage == Sabotage::Skips && std::mem::take(&mut lane.skips) {
            let (seq, mut next) = (lane.reader.seq(), lane.reader.position());
            if let Read::Object(_) = log.read(seq, &mut next) {
                log.skip_object(seq, &mut next);
                lane.reader.rewind(next);
            }
        }
        let timeout = match &self.conns[conn].subs[number] {
            Some(sub) if self.sabotage != Sabotage::Late => sub.timeout,
            _ => None,
        };
        let age = age(self.now, timeout);
        let reader = &mut lane.reader;
        let (taken, payload) = reader.take_in_time(&age, log, Codec::Draft14, &filter, max, &mut lane.out);
        lane.has_all = matches!(
            taken,
            Taken::Pending | Taken::Pieces { at_edge: true } | Taken::End(_)
        );
        let began = reader.taken_at().filter(|_| payload > 0);
        if let Some(sub) = &mut self.conns[conn].subs[number] {
            sub.taken += payload as u64;
            let late = sub.timeout.zip(began);
            if late.is_some_and(|(timeout, at)| self.now >= at + timeout) {
                self.fail(format!("[D14-TO-2] sub{conn}: sent after its time"));
            }
        }
        if lane.stream.is_some() {
            let out = lane.out[before..].to_vec();
            self.tap(conn, number, lane, out);
        }
        taken
    }

    /// Reads what goes out on a stream, at the moment at which it leaves the log.
    fn tap(&mut self, conn: usize, number: usize, lane: &mut Lane, out: Vec<Bytes>) {
        let stream = lane.stream.unwrap();
        out.into_iter().for_each(|piece| lane.tap.push(piece));
        let group = lane.reader.header().group;
        loop {
            let item = match lane.tap.next() {
                Ok(Some(item)) => item,
                Ok(None) => return,
                Err(why) => {
                    self.fail(format!("sub{conn} {stream:?}: not what a stream holds: {why}"));
                    return;
                }
            };
            let truth = &mut self.conns[conn].truths[number];
            let filter = truth.filter;
            let taken = &mut truth.streams.get_mut(&stream).unwrap().taken;
            match item {
                StreamItem::Object(header) => {
                    taken.push((header.id, header.payload_len));
                    let at = Location::new(group, header.id);
                    if !filter.admits(at) {
                        self.fail(format!(
                            "[D14-SUB-5] sub{conn} {stream:?}: {at} is outside {filter:?}"
                        ));
                    }
                }
                StreamItem::Payload(bytes) => {
                    if let Some((_, missing)) = taken.last_mut() {
                        *missing -= bytes.len() as u64;
                    }
                }
                _ => {}
            }
        }
    }

    fn close_lane(&mut self, conn: usize, number: usize, lane: &mut Lane, end: StreamEnd) {
        let Some(stream) = lane.stream else { return };
        self.tick += 1;
        self.note(|| format!("relay: sub{conn} {stream:?} ends: {end:?}"));
        let (now, tick) = (self.now, self.tick);
        let Conn { link, truths, .. } = &mut self.conns[conn];
        match end {
            StreamEnd::Fin => link.finish(now, stream),
            StreamEnd::Reset(code) => {
                link.reset(now, stream, Codec::Draft14.reset_code(code));
                lane.stream = None;
                lane.out.clear();
            }
        }
        truths[number].streams.get_mut(&stream).unwrap().end = Some((tick, end));
    }

    /// The subscriber refuses a stream: that one ends, and nothing else. MOQT-14 §10.4.3 [D14-CLOSE-7]
    pub(crate) fn stopped(&mut self, conn: usize, stream: StreamId) {
        if self.conns[conn].fetch_streams.contains_key(&stream) {
            self.fetch_stopped(conn, stream);
            return;
        }
        let Some(&number) = self.conns[conn].owners.get(&stream) else {
            return;
        };
        let Some(sub) = &mut self.conns[conn].subs[number] else {
            return;
        };
        if let Some(lane) = sub.lanes.iter_mut().find(|lane| lane.stream == Some(stream)) {
            lane.reset = Some(ResetCode::Cancelled);
            self.look(conn, number);
        }
    }
}

fn age(now: Instant, timeout: Option<Duration>) -> Age {
    Age {
        now: timeout.map(|_| now),
        timeout,
        path: None,
    }
}
