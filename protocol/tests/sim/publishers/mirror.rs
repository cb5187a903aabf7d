//! A replica, and two who never lag behind: one reads it, the other one reads the home.

use bytes::Bytes;
use laps_protocol::moqt::object::ObjectHeader;
use laps_protocol::relay::track_log::{
    Cursor, Limits, LogDatagram, Next, Position, Read, StreamEnd, SubgroupInfo, SubgroupSeq, TrackLog,
};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) log: TrackLog,
    home: Reader,
    copy: Reader,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Object(ObjectHeader),
    Payload(Bytes),
    End(StreamEnd),
}

#[derive(Debug)]
struct Lane {
    seq: SubgroupSeq,
    position: Position,
    info: SubgroupInfo,
    is_over: bool,
    items: Vec<Item>,
}

#[derive(Debug, Default)]
struct Reader {
    cursor: Cursor,
    lanes: Vec<Lane>,
    /// Those that have shown an object, in the order in which they did. No stream comes of the others: one whose objects
    /// are all evicted when the replica is made has its entry there when the next object comes, and not before.
    shown: Vec<usize>,
    datagrams: Vec<LogDatagram>,
    /// Something was evicted between two looks.
    missed: bool,
    /// How many of `shown` are compared and over.
    done: usize,
}

impl Mirror {
    pub(crate) fn new(home: &TrackLog, limits: Limits, now: Instant) -> Self {
        let mut log = TrackLog::replica(limits);
        for chunk in home.snapshot() {
            log.append(now, chunk);
        }
        if let Some(largest) = home.largest() {
            log.seed_largest(largest);
        }
        Self {
            home: Reader::new(home),
            copy: Reader::new(&log),
            log,
        }
    }

    /// Both go on, and have seen the same. What was evicted before they came to it, they may miss.
    pub(crate) fn compare(&mut self, home: &TrackLog, may_miss: bool) -> Result<(), String> {
        self.home.look(home);
        self.copy.look(&self.log);
        // What is too old for a home that is full may still be new to a replica.
        self.home.missed |= may_miss && home.stats().after_eviction > 0;
        if self.home.missed || self.copy.missed {
            return if may_miss {
                Ok(())
            } else {
                Err("something was evicted".into())
            };
        }
        if self.log.largest() != home.largest() {
            return Err(format!(
                "{:?} is the largest, not {:?}",
                self.log.largest(),
                home.largest()
            ));
        }
        if self.home.shown.len() != self.copy.shown.len() {
            return Err(format!(
                "{} lanes, not {}",
                self.copy.shown.len(),
                self.home.shown.len()
            ));
        }
        if self.home.datagrams != self.copy.datagrams {
            return Err("other datagrams".into());
        }
        let both = self.home.shown().zip(self.copy.shown());
        for (home, copy) in both.skip(self.home.done) {
            if home.info != copy.info || home.items != copy.items {
                let (group, subgroup) = (home.info.group, home.info.subgroup);
                return Err(format!("another {group}/{subgroup}"));
            }
        }
        let over = self.home.shown().skip(self.home.done);
        self.home.done += over.take_while(|lane| lane.is_over).count();
        Ok(())
    }
}

impl Reader {
    /// Begins behind all that there is.
    fn new(log: &TrackLog) -> Self {
        let edge = log.live_edge();
        let lane = |(seq, position)| {
            Some(Lane {
                seq,
                position,
                info: *log.subgroup(seq)?,
                is_over: false,
                items: Vec::new(),
            })
        };
        Self {
            cursor: edge.cursor,
            lanes: edge.open.into_iter().filter_map(lane).collect(),
            ..Self::default()
        }
    }

    fn shown(&self) -> impl Iterator<Item = &Lane> {
        self.shown.iter().map(|&number| &self.lanes[number])
    }

    fn look(&mut self, log: &TrackLog) {
        loop {
            match log.next_subgroup(&mut self.cursor) {
                Next::Ready(seq) => self.lanes.extend(log.subgroup(seq).map(|info| Lane {
                    seq,
                    position: Position::default(),
                    info: *info,
                    is_over: false,
                    items: Vec::new(),
                })),
                Next::Lagged(_) => self.missed = true,
                Next::Pending => break,
            }
        }
        loop {
            match log.next_datagram(&mut self.cursor) {
                Next::Ready(datagram) => self.datagrams.push(datagram.clone()),
                Next::Lagged(_) => self.missed = true,
                Next::Pending => break,
            }
        }
        for (number, lane) in self
            .lanes
            .iter_mut()
            .enumerate()
            .filter(|(_, lane)| !lane.is_over)
        {
            loop {
                let item = match log.read(lane.seq, &mut lane.position) {
                    Read::Object(object) => {
                        if lane.items.is_empty() {
                            self.shown.push(number);
                        }
                        Item::Object(object.header.clone())
                    }
                    Read::Payload(bytes) => Item::Payload(bytes),
                    Read::End(end) => {
                        lane.is_over = true;
                        Item::End(end)
                    }
                    Read::Pending => break,
                    Read::Evicted => {
                        self.missed = true;
                        lane.is_over = true;
                        break;
                    }
                };
                lane.items.push(item);
                if lane.is_over {
                    break;
                }
            }
        }
    }
}
