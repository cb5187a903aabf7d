//! A subscriber: asks, listens, changes its mind, and compares what comes with what was published.

use super::plan::{Join, Whim};
use super::truth::Got;
use super::world::{Timer, World};
use crate::common::{C, subscribe};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::filter::ResolvedFilter;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{
    FetchRange, MessageParams, RequestKind, Subscribe, SubscribeFilter, SubscribeUpdate,
};
use laps_protocol::moqt::object::SubgroupHeader;
use laps_protocol::moqt::session::{Command, Event};
use laps_protocol::sim::{Delivery, StreamId};
use std::time::Duration;

/// A stream that is being read.
#[derive(Debug)]
pub(crate) struct Receiving {
    reader: StreamReader,
    header: Option<SubgroupHeader>,
}

impl World {
    pub(crate) fn join(&mut self, conn: usize) {
        if self.conns[conn].asked.is_some() {
            return;
        }
        let listener = &self.plan.listeners[conn];
        let past = listener
            .past
            .filter(|_| listener.filter == SubscribeFilter::LargestObject);
        let ask = Subscribe {
            forward: listener.forward,
            params: MessageParams {
                delivery_timeout_ms: listener.timeout_ms,
                ..MessageParams::default()
            },
            ..subscribe(0, listener.filter)
        };
        self.conns[conn].range = None;
        self.conns[conn].asked = self.say(Some(conn), C, Command::Subscribe(ask));
        if let (Some(subscription), Some((join, order))) = (self.conns[conn].asked, past) {
            let range = match join {
                Join::Relative(groups) => FetchRange::RelativeJoining { subscription, groups },
                Join::Absolute(group) => FetchRange::AbsoluteJoining { subscription, group },
            };
            self.fetch_past(conn, range, order);
        }
    }

    pub(crate) fn subscriber_hears(&mut self, conn: usize, event: Event) {
        match event {
            Event::SubscribeOk(request, _) => {
                let forward = self.plan.listeners[conn].forward;
                let me = &mut self.conns[conn];
                let truth = me.truths.iter().find(|truth| truth.request == request);
                if me.asked == Some(request) {
                    me.range = truth.map(|truth| (truth.filter, forward));
                }
            }
            Event::FetchOk(request, ok) => self.fetch_answered(conn, request, |truth| truth.ok.push(ok)),
            Event::Rejected(request, RequestKind::Fetch, error) => {
                self.fetch_answered(conn, request, |truth| truth.err.push(error.reason));
            }
            Event::Rejected(..) => self.conns[conn].asked = None,
            Event::PublishDone(request, done) => {
                let me = &mut self.conns[conn];
                if me.asked == Some(request) {
                    me.asked = None;
                }
                me.pair.with(C, |session| session.forget_alias(request));
                let Some(truth) = me.truths.iter_mut().find(|truth| truth.request == request) else {
                    return;
                };
                truth.status = Some(done.status);
                if truth.done_got.replace(done.stream_count).is_some() {
                    self.fail(format!("sub{conn}: PUBLISH_DONE twice"));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn follow_whim(&mut self, conn: usize, whim: Whim) {
        self.note(|| format!("sub{conn} wants {whim:?}"));
        let me = &mut self.conns[conn];
        match (whim, me.asked, me.range) {
            (Whim::Resubscribe, None, _) => self.join(conn),
            (Whim::Unsubscribe, Some(request), _) => {
                me.asked = None;
                me.gave_up.insert(request);
                self.say(Some(conn), C, Command::Unsubscribe(request));
            }
            (Whim::Narrow { skip, object, last }, Some(_), Some((range, forward))) => {
                let group = self.log.largest().map_or(0, |largest| largest.group) + skip;
                let start = range.start.max(Location::new(group.saturating_sub(1), object));
                let end_group = match (range.end_group, last.map(|last| start.group + last)) {
                    (Some(old), Some(new)) => Some(old.min(new)),
                    (old, new) => old.or(new),
                };
                self.change(conn, ResolvedFilter { start, end_group }, forward);
            }
            (Whim::Pause(ms), Some(_), Some((range, _))) => {
                self.change(conn, range, false);
                self.after(Duration::from_millis(ms), Timer::Whim(conn, Whim::Resume));
            }
            (Whim::Resume, Some(_), Some((range, _))) => self.change(conn, range, true),
            (Whim::Stop, ..) => self.stop_one(conn),
            (Whim::Fetch(span, order), ..) => self.fetch_span(conn, span, order),
            (Whim::CancelFetch, ..) => self.cancel_fetch(conn),
            (Whim::StopFetch, ..) => self.stop_fetch(conn),
            _ => {}
        }
    }

    fn change(&mut self, conn: usize, range: ResolvedFilter, forward: bool) {
        let Some(subscription) = self.conns[conn].asked else {
            return;
        };
        // The wire cannot say an end before the start.
        if range.is_empty() {
            return;
        }
        self.conns[conn].range = Some((range, forward));
        let update = SubscribeUpdate {
            subscription,
            start: range.start,
            end_group: range.end_group,
            priority: 128,
            forward,
            params: MessageParams::default(),
        };
        self.say(Some(conn), C, Command::SubscribeUpdate(update));
    }

    fn stop_one(&mut self, conn: usize) {
        let Some(&stream) = self.conns[conn].receiving.keys().next_back() else {
            return;
        };
        let now = self.now;
        self.note(|| format!("sub{conn} stops {stream:?}"));
        let me = &mut self.conns[conn];
        me.receiving.remove(&stream);
        me.truths[me.owners[&stream]]
            .streams
            .get_mut(&stream)
            .unwrap()
            .stopped = true;
        me.link
            .stop(now, stream, Codec::Draft14.reset_code(ResetCode::Cancelled));
    }

    /// Something came over a subscriber's connection, or back.
    pub(crate) fn deliver(&mut self, conn: usize, delivery: Delivery) {
        match delivery {
            Delivery::Bytes(stream, bytes) if self.conns[conn].fetch_streams.contains_key(&stream) => {
                self.fetched_bytes(conn, stream, bytes);
            }
            Delivery::Fin(stream) | Delivery::Reset(stream, _)
                if self.conns[conn].fetch_streams.contains_key(&stream) =>
            {
                self.fetched_end(conn, stream, matches!(delivery, Delivery::Fin(_)));
            }
            Delivery::Bytes(stream, bytes) => {
                let me = &mut self.conns[conn];
                if me.truths[me.owners[&stream]].streams[&stream].stopped {
                    return;
                }
                let receiving = me.receiving.entry(stream).or_insert_with(|| Receiving {
                    reader: StreamReader::new(Codec::Draft14, DataLimits::default()),
                    header: None,
                });
                receiving.reader.push(bytes);
                while let Some(receiving) = self.conns[conn].receiving.get_mut(&stream) {
                    match receiving.reader.next() {
                        Ok(Some(item)) => self.receive(conn, stream, item),
                        Ok(None) => break,
                        Err(why) => {
                            self.fail(format!("sub{conn} {stream:?}: {why}"));
                            return;
                        }
                    }
                }
            }
            Delivery::Fin(stream) => self.stream_ends(conn, stream, true),
            Delivery::Reset(stream, _) => self.stream_ends(conn, stream, false),
            Delivery::Datagram(bytes) => {
                let datagram = Codec::Draft14
                    .decode_datagram(bytes, &DataLimits::default())
                    .unwrap();
                let at = datagram.location;
                let object = &self.plan.objects[&at];
                let same = datagram.payload == object.payload
                    && datagram.extensions == object.header.extensions
                    && datagram.status == object.header.status
                    && datagram.priority == object.priority
                    && datagram.end_of_group == object.end_of_group;
                let mut truths = self.conns[conn].truths.iter_mut();
                let truth = truths.find(|truth| truth.alias == datagram.alias).unwrap();
                *truth.datagrams.entry(at).or_default() += 1;
                if !same {
                    self.fail(format!("sub{conn}: datagram {at} is not as it was published"));
                }
            }
            Delivery::Stopped(stream, _) => self.stopped(conn, stream),
            Delivery::Acknowledged(_) => self.wake(conn),
        }
    }

    fn receive(&mut self, conn: usize, stream: StreamId, item: StreamItem) {
        let me = &mut self.conns[conn];
        let truth = &mut me.truths[me.owners[&stream]];
        let alias = truth.alias;
        let truth = truth.streams.get_mut(&stream).unwrap();
        match item {
            StreamItem::SubgroupHeader(header) => {
                me.receiving.get_mut(&stream).unwrap().header = Some(header);
                if header.alias != alias || header.group != truth.group {
                    self.fail(format!("sub{conn} {stream:?}: the wrong header {header:?}"));
                }
                return;
            }
            StreamItem::Object(header) => truth.got.push(Got {
                header,
                payload: Vec::new(),
            }),
            StreamItem::Payload(bytes) => truth.got.last_mut().unwrap().payload.extend_from_slice(&bytes),
            item => {
                self.fail(format!("sub{conn} {stream:?}: {item:?}"));
                return;
            }
        }
        let got = truth.got.last().unwrap();
        let at = Location::new(truth.group, got.header.id);
        let header = me.receiving[&stream].header.unwrap();
        if !got.is_complete() {
            return;
        }
        let same = self.plan.objects.get(&at).is_some_and(|object| {
            got.header == object.header
                && got.payload == object.payload
                && header.priority == object.priority
                && truth.subgroup == object.subgroup
        });
        if !same {
            let got = got.header.clone();
            self.fail(format!(
                "sub{conn} {stream:?}: {at} is not as it was published: {got:?}"
            ));
        }
    }

    fn stream_ends(&mut self, conn: usize, stream: StreamId, fin: bool) {
        let me = &mut self.conns[conn];
        let receiving = me.receiving.remove(&stream);
        let truth = &mut me.truths[me.owners[&stream]];
        let ended = truth.streams.get_mut(&stream).unwrap();
        ended.got_fin = Some(fin);
        // One that was reset after its FIN may still arrive whole.
        let is_late = fin && !ended.was_reset() && truth.done_got.is_some();
        if is_late {
            self.fail(format!(
                "[D14-SUB-19] sub{conn}: {stream:?} ended after PUBLISH_DONE"
            ));
        }
        if let Some(receiving) = receiving.filter(|_| fin)
            && let Err(why) = receiving.reader.fin()
        {
            self.fail(format!("[D14-DATA-18] sub{conn} {stream:?}: {why}"));
        }
    }
}
