//! How a subscription reads its track's log: what becomes a lane, what a datagram, what is passed over.

use super::SubscriptionActor;
use crate::session::egress::LaneSpec;
use crate::track::handle::{self, LogId};
use crate::transport::DatagramError;
use actix::Context;
use bytes::BytesMut;
use laps_protocol::moqt::object::{DatagramObject, SubgroupHeader, SubgroupIdMode};
use laps_protocol::relay::track_log::{Cursor, LogDatagram, Next, Position, SubgroupSeq, TrackLog};
use std::rc::Rc;

/// What one look at the log found.
#[derive(Default)]
struct Found {
    lanes: Vec<(SubgroupSeq, Position, SubgroupHeader)>,
    datagrams: Vec<LogDatagram>,
    past_end: bool,
}

impl SubscriptionActor {
    /// Subgroups that were open when the subscription began: their next objects belong to it.
    pub(super) fn continue_open(&self, log: LogId, open: Vec<(SubgroupSeq, Position)>) {
        let filter = self.filter.get();
        let lanes: Vec<_> = handle::read(log, |log| {
            open.into_iter()
                .filter_map(|(seq, position)| Some((seq, position, self.header(log, seq)?)))
                .filter(|(_, _, header)| filter.admits_group(header.group))
                .collect()
        })
        .unwrap_or_default();
        self.open(log, lanes);
    }

    fn header(&self, log: &TrackLog, seq: SubgroupSeq) -> Option<SubgroupHeader> {
        let info = log.subgroup(seq)?;
        Some(SubgroupHeader {
            alias: self.birth.spec.alias,
            group: info.group,
            // MOQT-14 §10.4.2 [D14-DATA-5]: never "the first object's id", which a stream that starts in the middle
            // of a subgroup would change.
            subgroup: match info.subgroup {
                0 => SubgroupIdMode::Zero,
                id => SubgroupIdMode::Explicit(id),
            },
            priority: info.priority,
            has_extensions: info.has_extensions,
            end_of_group: info.end_of_group,
        })
    }

    pub(super) fn open(&self, log: LogId, lanes: Vec<(SubgroupSeq, Position, SubgroupHeader)>) {
        for (seq, position, header) in lanes {
            let spec = LaneSpec {
                log,
                seq,
                position,
                header,
                filter: Rc::clone(&self.filter),
            };
            self.birth.egress.open_lane(spec, &self.birth.streams);
        }
    }

    /// Takes what is new in the log.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(place) = &mut self.place else {
            return;
        };
        let log = place.log;
        if !self.birth.spec.forward() {
            // Nothing is owed for the time without forwarding; MOQT-14 §5.1 [D14-SUB-2].
            if let Some(edge) = handle::read(log, TrackLog::live_edge) {
                place.cursor = edge.cursor;
            }
        } else {
            let mut cursor = place.cursor;
            let room = self
                .birth
                .env
                .session
                .max_open_streams
                .saturating_sub(self.birth.streams.open());
            let found = handle::read(log, |log| {
                self.give_up_evicted(log);
                self.find(log, &mut cursor, room)
            });
            let found = found.unwrap_or_default();
            if let Some(place) = &mut self.place {
                place.cursor = cursor;
            }
            self.open(log, found.lanes);
            self.birth.streams.advance();
            for datagram in found.datagrams {
                self.send_datagram(datagram);
            }
            if found.past_end {
                self.run_out(ctx);
            }
        }
        self.settle(ctx);
    }

    /// What the log has dropped may not live on in the send buffers of a subscriber that does not read [D14-LIM-4]: the
    /// log, not the number of streams, bounds what one costs. A log that is smaller than what is on its way to a good
    /// subscriber would cost that one objects too.
    fn give_up_evicted(&self, log: &TrackLog) {
        let evicted = log.stats().evicted_groups;
        if self.evicted.replace(evicted) != evicted {
            self.birth.streams.reset_lost(|seq| log.subgroup(seq).is_some());
        }
    }

    fn find(&self, log: &TrackLog, cursor: &mut Cursor, mut room: usize) -> Found {
        let filter = self.filter.get();
        let mut found = Found::default();
        // A subscriber with too many open streams leaves its place where it is; the log bounds how far it falls back.
        while room > 0 {
            match log.next_subgroup(cursor) {
                Next::Ready(seq) => {
                    let Some(header) = self.header(log, seq) else {
                        continue;
                    };
                    if filter.admits_group(header.group) {
                        found.lanes.push((seq, Position::default(), header));
                        room -= 1;
                    } else if filter.end_group.is_some_and(|end| header.group > end) {
                        found.past_end = true;
                    }
                }
                Next::Lagged(_) => self.birth.streams.count_lagged(),
                Next::Pending => break,
            }
        }
        loop {
            match log.next_datagram(cursor) {
                Next::Ready(datagram) => {
                    if filter.admits(datagram.location) {
                        found.datagrams.push(datagram.clone());
                    } else if filter.end_group.is_some_and(|end| datagram.location.group > end) {
                        found.past_end = true;
                    }
                }
                Next::Lagged(_) => {}
                Next::Pending => break,
            }
        }
        found
    }

    fn send_datagram(&mut self, datagram: LogDatagram) {
        let object = DatagramObject {
            alias: self.birth.spec.alias,
            location: datagram.location,
            priority: datagram.priority,
            extensions: datagram.extensions,
            end_of_group: datagram.end_of_group,
            status: datagram.status,
            payload: datagram.payload,
        };
        let mut bytes = BytesMut::with_capacity(64 + object.extensions.len() + object.payload.len());
        if self
            .birth
            .codec
            .encode_datagram_header(&object, &mut bytes)
            .is_err()
        {
            self.datagrams_lost += 1;
            return;
        }
        // One datagram is one buffer for the transport, so this payload is copied, once per subscriber.
        bytes.extend_from_slice(&object.payload);
        match self.birth.conn.send_datagram(bytes.freeze()) {
            Ok(()) => {}
            // MOQT-14 §10.3 [D14-DATA-14]: what does not fit is dropped, and counted.
            Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported | DatagramError::Full) => {
                self.datagrams_lost += 1;
            }
            Err(DatagramError::Connection(_)) => {}
        }
    }
}
