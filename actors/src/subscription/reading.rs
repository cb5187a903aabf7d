//! How a subscription reads its track's log: what becomes a lane, what a datagram, what is passed over.

use super::SubscriptionActor;
use crate::metrics::{Count, tally};
use crate::session::egress::{Heads, LaneSpec};
use crate::track::handle::{self, LogId};
use crate::transport::DatagramError;
use actix::Context;
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::object::DatagramObject;
use laps_protocol::relay::follow;
use laps_protocol::relay::lane::LaneReader;
use laps_protocol::relay::track_log::{LogDatagram, Position, SubgroupSeq, TrackLog};
use std::rc::Rc;

impl SubscriptionActor {
    /// Subgroups that were open when the subscription began: their next objects belong to it, or all of them.
    pub(super) fn continue_open(&self, log: LogId, mut open: Vec<(SubgroupSeq, Position)>, rewinds: bool) {
        if rewinds {
            open.iter_mut()
                .for_each(|(_, position)| *position = Position::default());
        }
        let (filter, alias) = (self.filter.get(), self.birth.spec.alias);
        let lanes = handle::read(log, |log| follow::continue_open(log, open, &filter, alias));
        self.open(log, lanes.unwrap_or_default());
    }

    fn open(&self, log: LogId, lanes: Vec<LaneReader>) {
        let (heads, timeout) = (&self.birth.spec.heads, self.birth.streams.timeout());
        for reader in lanes {
            let head = |heads: &Heads| heads.of_stream(reader.header().priority, timeout);
            let spec = LaneSpec {
                log,
                prefix: heads.as_ref().map_or_else(Bytes::new, head),
                reader,
                filter: Rc::clone(&self.filter),
                rank: Rc::clone(&self.birth.spec.rank),
            };
            self.birth.egress.open_lane(spec, &self.birth.streams);
        }
    }

    /// Takes what is new in the log.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        self.lag.stays = false;
        if std::mem::take(&mut self.lag.withheld) {
            self.credit.consumed();
        }
        let Some(place) = &mut self.place else {
            self.settle(ctx);
            return;
        };
        let log = place.log;
        if !self.birth.spec.forward() {
            // Nothing is owed for the time without forwarding; MOQT-14 §5.1 [D14-SUB-2].
            if let Some(edge) = handle::read(log, TrackLog::live_edge) {
                place.cursor = edge.cursor;
            }
        } else if !self.follow(ctx, log) {
            return;
        }
        self.settle(ctx);
    }

    /// Takes what is wanted of what is new in `log`. False when it has ended for that.
    fn follow(&mut self, ctx: &mut Context<Self>, log: LogId) -> bool {
        handle::read(log, |log| {
            self.give_up_evicted(log);
            if self.leaving
                && let Some(place) = &mut self.place
            {
                // What is open goes on; what begins is somebody else's to send.
                place.cursor = log.live_edge().cursor;
            }
        });
        // What is given up is not begun first.
        if !self.keep_up(ctx, false) {
            return false;
        }
        let (filter, alias) = (self.filter.get(), self.birth.spec.alias);
        let room = if self.lag.stays {
            0
        } else {
            let most = self.birth.env.session.max_open_streams;
            most.saturating_sub(self.birth.streams.open())
        };
        let Some(place) = self.place.as_mut().filter(|_| !self.leaving) else {
            self.go_on(ctx);
            return true;
        };
        let found = handle::read(log, |log| {
            // A subscriber with too many open streams leaves its place where it is.
            let age = self.birth.streams.age(log, self.birth.conn.stats());
            follow::look_in_time(&age, log, &mut place.cursor, &filter, alias, room)
        });
        let found = found.unwrap_or_default();
        for _ in 0..found.lagged {
            self.birth.streams.count_lagged();
        }
        for _ in 0..found.expired {
            self.birth.streams.count_expired();
        }
        self.open(log, found.lanes);
        if found.lagged > 0 && !self.keep_up(ctx, true) {
            return false;
        }
        self.go_on(ctx);
        self.lag.datagrams |= !found.datagrams.is_empty();
        for datagram in found.datagrams {
            self.send_datagram(datagram);
        }
        if found.past_end {
            self.run_out(ctx);
        }
        true
    }

    /// What is open goes on.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.watch_time(ctx);
        self.birth.streams.advance();
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
        let mut bytes = BytesMut::with_capacity(80 + object.extensions.len() + object.payload.len());
        if let Some(heads) = &self.birth.spec.heads {
            bytes.extend_from_slice(&heads.of_datagram());
        }
        if self
            .birth
            .codec
            .encode_datagram_header(&object, &mut bytes)
            .is_err()
        {
            self.datagrams_lost += 1;
            tally::count(Count::DropDatagramUnsent, 1);
            return;
        }
        // One datagram is one buffer for the transport, so this payload is copied, once per subscriber.
        bytes.extend_from_slice(&object.payload);
        let order = self
            .birth
            .spec
            .rank
            .of(object.priority, object.location.group, object.location.object);
        match self.birth.conn.send_datagram_in(order, bytes.freeze()) {
            Ok(()) => {
                tally::count(Count::DatagramObjectsOut, 1);
                tally::count(Count::DatagramBytesOut, object.payload.len() as u64);
            }
            // MOQT-14 §10.3 [D14-DATA-14]: what does not fit is dropped, and counted.
            Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported | DatagramError::Full) => {
                self.datagrams_lost += 1;
                tally::count(Count::DropDatagramUnsent, 1);
            }
            Err(DatagramError::Connection(_)) => {}
        }
    }
}
