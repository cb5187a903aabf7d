//! One subscription's place in its log, and what it makes of what it finds there.

use super::item::{Item, ReceivedObject};
use crate::track::handle::{self, LogId};
use crate::track::{ReaderId, TrackActor};
use actix::Addr;
use bytes::Bytes;
use laps_protocol::moqt::location::{GroupId, Location, SubgroupId};
use laps_protocol::moqt::object::ObjectHeader;
use laps_protocol::relay::track_log::{Cursor, Next, Position, Read, SubgroupSeq, TrackLog};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A subscription as its reader sees it.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) track: Addr<TrackActor>,
    pub(super) reader: ReaderId,
    log: LogId,
    cursor: Cursor,
    open: BTreeMap<SubgroupSeq, Open>,
    ready: VecDeque<Item>,
}

/// A subgroup that is being read.
#[derive(Debug)]
struct Open {
    group: GroupId,
    subgroup: SubgroupId,
    priority: u8,
    position: Position,
    object: Option<(ObjectHeader, Vec<Bytes>, u64)>,
}

impl Reading {
    pub(super) fn new(track: Addr<TrackActor>, reader: ReaderId, log: LogId, cursor: Cursor) -> Self {
        Self {
            track,
            reader,
            log,
            cursor,
            open: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next thing that the log has.
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.ready.is_empty() {
            self.read();
        }
        self.ready.pop_front()
    }

    /// The first object that waits to be read. As long as there is one, what follows stays in the log, which bounds it.
    pub(super) fn first_waiting(&mut self) -> Option<&ReceivedObject> {
        let object = |item: &Item| matches!(item, Item::Object(_));
        if !self.ready.iter().any(object) {
            self.read();
        }
        self.ready.iter().find_map(|item| match item {
            Item::Object(object) => Some(object),
            Item::Opened { .. } | Item::Closed { .. } | Item::Lost | Item::Done(_) => None,
        })
    }

    /// Takes everything that the log has.
    fn read(&mut self) {
        let log = self.log;
        if handle::read(log, |log| self.read_from(log)).is_none() && !self.open.is_empty() {
            self.open.clear();
            self.ready.push_back(Item::Lost);
        }
    }

    fn read_from(&mut self, log: &TrackLog) {
        let now = Instant::now();
        loop {
            match log.next_subgroup(&mut self.cursor) {
                Next::Ready(seq) => {
                    if let Some(info) = log.subgroup(seq) {
                        let (group, subgroup) = (info.group, info.subgroup);
                        self.ready.push_back(Item::Opened { group, subgroup });
                        let open = Open {
                            group,
                            subgroup,
                            priority: info.priority,
                            position: Position::default(),
                            object: None,
                        };
                        self.open.insert(seq, open);
                    }
                }
                Next::Lagged(_) => self.ready.push_back(Item::Lost),
                Next::Pending => break,
            }
        }
        let ready = &mut self.ready;
        self.open.retain(|seq, open| open.read(log, *seq, now, ready));
        loop {
            match log.next_datagram(&mut self.cursor) {
                Next::Ready(datagram) => self.ready.push_back(Item::Object(ReceivedObject {
                    location: datagram.location,
                    subgroup: None,
                    priority: datagram.priority,
                    status: datagram.status,
                    extensions: datagram.extensions.clone(),
                    payload: vec![datagram.payload.clone()],
                    at: now,
                })),
                Next::Lagged(_) => self.ready.push_back(Item::Lost),
                Next::Pending => break,
            }
        }
    }
}

impl Open {
    /// Reads what there is; false when the subgroup is over.
    fn read(&mut self, log: &TrackLog, seq: SubgroupSeq, now: Instant, ready: &mut VecDeque<Item>) -> bool {
        loop {
            match log.read(seq, &mut self.position) {
                Read::Object(object) => self.object = Some((object.header.clone(), Vec::new(), 0)),
                Read::Payload(bytes) => {
                    if let Some((_, payload, have)) = &mut self.object {
                        *have += bytes.len() as u64;
                        payload.push(bytes);
                    }
                }
                Read::End(end) => {
                    ready.push_back(Item::Closed {
                        group: self.group,
                        subgroup: self.subgroup,
                        end,
                    });
                    return false;
                }
                Read::Pending => return true,
                Read::Evicted => {
                    ready.push_back(Item::Lost);
                    return false;
                }
            }
            let whole = self
                .object
                .as_ref()
                .is_some_and(|(header, _, have)| *have >= header.payload_len);
            if whole && let Some((header, payload, _)) = self.object.take() {
                ready.push_back(Item::Object(ReceivedObject {
                    location: Location::new(self.group, header.id),
                    subgroup: Some(self.subgroup),
                    priority: self.priority,
                    status: header.status,
                    extensions: header.extensions,
                    payload,
                    at: now,
                }));
            }
        }
    }
}
