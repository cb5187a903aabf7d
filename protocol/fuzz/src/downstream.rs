//! One subscription on its way from a log to a peer: what the product's subscription and writer do, in their order.

use crate::messages::CODEC;
use crate::wire::Wire;
use bytes::Bytes;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{GroupOrder, PublishDoneStatus, RequestId};
use laps_protocol::moqt::object::{DatagramObject, SubgroupIdMode};
use laps_protocol::relay::behind::{Behind, Open, Policy, Reading, Standing, Waits};
use laps_protocol::relay::expiry::Age;
use laps_protocol::relay::follow;
use laps_protocol::relay::lane::{Ahead, LaneReader, Taken};
use laps_protocol::relay::scheduler::{EntryId, Place, Scheduler, SendOrder};
use laps_protocol::relay::track_log::{Cursor, StreamEnd, TrackLog};
use std::time::{Duration, Instant};

/// Pieces that are taken in one go.
const BATCH: usize = 4;
/// Subgroups that one subscription may be in the middle of.
const MAX_LANES: usize = 12;

#[derive(Debug)]
struct Lane {
    reader: LaneReader,
    stream: Option<u64>,
    out: Vec<Bytes>,
    end: Option<StreamEnd>,
    reset: Option<ResetCode>,
}

/// A subscription of one peer.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) request: RequestId,
    pub(crate) alias: u64,
    pub(crate) filter: ResolvedFilter,
    pub(crate) forward: bool,
    pub(crate) priority: u8,
    cursor: Cursor,
    lanes: Vec<Lane>,
    /// Streams that were opened for it.
    pub(crate) opened: u64,
    pub(crate) ending: Option<PublishDoneStatus>,
    behind: Behind,
    policy: Policy,
    taken: u64,
    lost: bool,
    /// It begins nothing new.
    stays: bool,
    timeout: Option<Duration>,
    /// The log dropped something that it had not taken, or a time was over.
    pub(crate) lagged: bool,
}

/// What a subscription begins with.
pub(crate) struct Begin {
    pub(crate) request: RequestId,
    pub(crate) alias: u64,
    pub(crate) filter: ResolvedFilter,
    pub(crate) forward: bool,
    pub(crate) priority: u8,
    pub(crate) policy: Policy,
    pub(crate) max_behind: u64,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
}

impl Subscription {
    pub(crate) fn new(begin: Begin, log: &TrackLog) -> Self {
        let mut sub = Self {
            request: begin.request,
            alias: begin.alias,
            filter: begin.filter,
            forward: false,
            priority: begin.priority,
            cursor: Cursor::default(),
            lanes: Vec::new(),
            opened: 0,
            ending: None,
            behind: Behind::new(begin.max_behind).waiting(begin.max_wait),
            policy: begin.policy,
            taken: 0,
            lost: false,
            stays: false,
            timeout: begin.timeout,
            lagged: false,
        };
        sub.behind.begins(log, 0);
        sub.set_forward(begin.forward, log);
        sub
    }

    /// Begins at the live edge, or gives up what it is in the middle of.
    pub(crate) fn set_forward(&mut self, forward: bool, log: &TrackLog) {
        let before = std::mem::replace(&mut self.forward, forward);
        if forward && !before {
            let edge = log.live_edge();
            self.cursor = edge.cursor;
            self.behind.begins(log, self.taken);
            let lanes = follow::continue_open(log, edge.open, &self.filter, self.alias);
            self.lanes.extend(lanes.into_iter().map(Lane::new));
        } else if !forward {
            self.give_up(ResetCode::Cancelled, |_| true);
        }
    }

    pub(crate) fn give_up(&mut self, code: ResetCode, which: impl Fn(u64) -> bool) {
        for lane in self
            .lanes
            .iter_mut()
            .filter(|lane| which(lane.reader.header().group))
        {
            lane.reset = Some(code);
        }
    }

    /// The peer refuses a stream. MOQT-14 §10.4.3
    pub(crate) fn stopped(&mut self, stream: u64) -> bool {
        let lane = self.lanes.iter_mut().find(|lane| lane.stream == Some(stream));
        lane.is_some_and(|lane| lane.reset.replace(ResetCode::Cancelled).is_none())
    }

    /// Every stream of it has ended.
    pub(crate) const fn is_settled(&self) -> bool {
        self.lanes.is_empty()
    }

    fn age(&self, now: Instant) -> Age {
        Age {
            now: Some(now),
            timeout: self.timeout,
            path: None,
        }
    }

    /// Takes what is new and sends what there is room for.
    pub(crate) fn pump(&mut self, now: Instant, log: &TrackLog, wire: &mut Wire) {
        self.keep_up(now, log);
        if self.forward {
            let room = if self.stays {
                0
            } else {
                MAX_LANES.saturating_sub(self.lanes.len())
            };
            let age = self.age(now);
            let found = follow::look_in_time(&age, log, &mut self.cursor, &self.filter, self.alias, room);
            self.lost |= found.lagged > 0;
            self.lanes.extend(found.lanes.into_iter().map(Lane::new));
            for datagram in found.datagrams {
                assert!(self.filter.admits(datagram.location));
                wire.datagram(&DatagramObject {
                    alias: self.alias,
                    location: datagram.location,
                    priority: datagram.priority,
                    extensions: datagram.extensions,
                    end_of_group: datagram.end_of_group,
                    status: datagram.status,
                    payload: datagram.payload,
                });
            }
            if found.past_end && self.ending.is_none() {
                self.ending = Some(PublishDoneStatus::SubscriptionEnded);
            }
        }
        self.send(now, log, wire);
        self.keep_up(now, log);
        self.send(now, log, wire);
    }

    /// Each lane in its turn, as the scheduler says.
    fn send(&mut self, now: Instant, log: &TrackLog, wire: &mut Wire) {
        let mut scheduler = Scheduler::new();
        let mut lanes: Vec<Option<Lane>> = std::mem::take(&mut self.lanes).into_iter().map(Some).collect();
        for (number, lane) in lanes.iter().flatten().enumerate() {
            let header = lane.reader.header();
            let id = match header.subgroup {
                SubgroupIdMode::Explicit(id) => id,
                SubgroupIdMode::Zero | SubgroupIdMode::FirstObject => 0,
            };
            let order = SendOrder {
                subscriber: self.priority,
                publisher: header.priority,
                request: self.request,
                place: Place::new(GroupOrder::Ascending, header.group, id),
            };
            scheduler.insert(EntryId(number as u64), order, number);
        }
        while let Some((.., number)) = scheduler.pop() {
            let Some(mut lane) = lanes[number].take() else {
                continue;
            };
            if self.drive(now, log, wire, &mut lane) {
                self.lanes.push(lane);
            }
        }
    }

    /// What becomes of it when it does not keep up.
    fn keep_up(&mut self, now: Instant, log: &TrackLog) {
        if !self.forward {
            return;
        }
        self.lagged |= self.lost;
        let at = Reading {
            now,
            log,
            cursor: &self.cursor,
            filter: &self.filter,
            taken: self.taken,
            lost: std::mem::take(&mut self.lost),
        };
        let open = || {
            self.lanes
                .iter()
                .filter(|lane| lane.reset.is_none())
                .map(|lane| Open {
                    group: lane.reader.header().group,
                    seq: lane.reader.seq(),
                    position: lane.reader.position(),
                    held: 0,
                    since: None,
                    waits: lane.waits(log),
                })
        };
        let standing = self.behind.look(self.policy, &at, open);
        self.stays = standing == Standing::Stays;
        match standing {
            Standing::Near | Standing::Stays => {}
            Standing::SkipTo(group) => {
                self.lagged = true;
                self.filter.start = self.filter.start.max(Location::new(group, 0));
                self.give_up(ResetCode::DeliveryTimeout, |open| open < group);
            }
            Standing::TooFar => {
                self.lagged = true;
                self.give_up(ResetCode::Cancelled, |_| true);
                self.forward = false;
                self.ending = Some(PublishDoneStatus::TooFarBehind);
            }
        }
    }

    /// False when the lane is over.
    fn drive(&mut self, now: Instant, log: &TrackLog, wire: &mut Wire, lane: &mut Lane) -> bool {
        if let Some(code) = lane.reset.take() {
            lane.close(wire, StreamEnd::Reset(code));
            return false;
        }
        loop {
            if let Some(stream) = lane.stream {
                while let Some(piece) = lane.out.first_mut() {
                    if !wire.write(stream, piece) {
                        return true;
                    }
                    lane.out.remove(0);
                }
                if let Some(end) = lane.end {
                    lane.close(wire, end);
                    return false;
                }
            }
            if lane.reader.ahead(log) == Ahead::Nothing && lane.stream.is_some() {
                let mut none = Vec::new();
                let mut reader =
                    LaneReader::new(lane.reader.seq(), lane.reader.position(), *lane.reader.header());
                let (taken, _) = reader.take(log, CODEC, &self.filter, 1, &mut none);
                assert_eq!(taken, Taken::Pending, "nothing ahead, and yet something to take");
            }
            let begin = lane.reader.position();
            let age = self.age(now);
            let (taken, payload) =
                lane.reader
                    .take_in_time(&age, log, CODEC, &self.filter, BATCH, &mut lane.out);
            match taken {
                Taken::Pending => return true,
                Taken::Pieces { .. } => {}
                Taken::End(_) if lane.stream.is_none() && lane.out.is_empty() => return false,
                Taken::End(end) => lane.end = Some(end),
                Taken::Gap(code) => {
                    lane.close(wire, StreamEnd::Reset(code));
                    continue;
                }
                Taken::Lost(code) | Taken::Expired(code) => {
                    self.lost |= matches!(taken, Taken::Lost(_));
                    self.lagged = true;
                    lane.close(wire, StreamEnd::Reset(code));
                    return false;
                }
            }
            if lane.stream.is_none() {
                let Some(stream) = wire.open() else {
                    lane.out.clear();
                    lane.end = None;
                    lane.reader.rewind(begin);
                    return true;
                };
                lane.stream = Some(stream);
                self.opened += 1;
                lane.out.splice(..0, lane.reader.stream_header(CODEC));
            }
            self.taken += payload as u64;
        }
    }

    /// The connection is gone: streams are nobody's.
    pub(crate) fn forget(&mut self) {
        self.lanes.clear();
    }
}

impl Lane {
    const fn new(reader: LaneReader) -> Self {
        Self {
            reader,
            stream: None,
            out: Vec::new(),
            end: None,
            reset: None,
        }
    }

    fn waits(&self, log: &TrackLog) -> Waits {
        match self.reader.ahead(log) {
            Ahead::Nothing if self.out.is_empty() => Waits::Log,
            _ => Waits::Peer,
        }
    }

    fn close(&mut self, wire: &mut Wire, end: StreamEnd) {
        self.out.clear();
        if let Some(stream) = self.stream.take() {
            wire.end(stream, end);
        }
    }
}
