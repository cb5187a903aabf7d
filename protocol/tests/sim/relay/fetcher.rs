//! What a subscriber does about FETCH: asks, alone or in one breath with its SUBSCRIBE, cancels, and compares.

use super::plan::{Span, usize};
use super::truth::FetchTruth;
use super::world::World;
use crate::common::{C, fetch, track};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::data::{DataLimits, StreamItem, StreamReader};
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{Fetch, FetchRange, GroupOrder, GroupOrderRequest, RequestId};
use laps_protocol::moqt::session::Command;
use laps_protocol::sim::StreamId;

impl World {
    /// Asks for the past, on its own or joining `subscription`.
    pub(crate) fn fetch_past(&mut self, conn: usize, range: FetchRange, order: GroupOrderRequest) {
        let joins = match range {
            FetchRange::RelativeJoining { subscription, .. }
            | FetchRange::AbsoluteJoining { subscription, .. } => Some(subscription),
            FetchRange::Standalone { .. } => None,
        };
        let ask = Fetch {
            group_order: order,
            range,
            ..fetch(0)
        };
        if let Some(request) = self.say(Some(conn), C, Command::Fetch(ask)) {
            let order = match order {
                GroupOrderRequest::Fixed(order) => order,
                GroupOrderRequest::Publisher => GroupOrder::Ascending,
            };
            self.conns[conn]
                .fetched
                .insert(request, FetchTruth::new(joins, order));
        }
    }

    pub(crate) fn fetch_span(&mut self, conn: usize, span: Span, order: GroupOrderRequest) {
        let largest = self
            .publisher
            .made
            .or_else(|| self.log.largest())
            .unwrap_or(Location::new(1, 3));
        let group = |rng: &mut laps_protocol::sim::Rng| rng.below(largest.group + 1);
        let rng = &mut self.rng;
        let place = |rng: &mut laps_protocol::sim::Rng, group| Location::new(group, rng.below(12));
        let (start, end) = match span {
            Span::Inside => {
                let (from, to) = (group(rng), group(rng));
                let (from, to) = (from.min(to), from.max(to));
                let start = place(rng, from);
                let end = place(rng, to);
                if from == to && end.object <= start.object {
                    (start, Location::new(to, 0))
                } else {
                    (start, end)
                }
            }
            Span::Across => {
                let from = group(rng);
                let end = Location::new(largest.group + rng.below(3), rng.below(30));
                (place(rng, from), end)
            }
            Span::Beyond => {
                let from = largest.group + 1 + rng.below(2);
                (place(rng, from), Location::new(from + 1, 0))
            }
            Span::Inverted => (Location::new(3, 3), Location::new(3, 2)),
            Span::One => {
                let group = group(rng);
                let at = place(rng, group);
                (at, Location::new(at.group, at.object + 1))
            }
            Span::Empty => {
                let at = Location::new(group(rng), 2);
                (at, at)
            }
            Span::All => (Location::ZERO, Location::new(largest.group, 0)),
        };
        let range = FetchRange::Standalone {
            track: track(0),
            start,
            end,
        };
        self.fetch_past(conn, range, order);
    }

    pub(crate) fn fetch_answered(
        &mut self,
        conn: usize,
        request: RequestId,
        note: impl FnOnce(&mut FetchTruth),
    ) {
        if let Some(truth) = self.conns[conn].fetched.get_mut(&request) {
            note(truth);
        }
    }

    /// Gives up a fetch, open or not.
    pub(crate) fn cancel_fetch(&mut self, conn: usize) {
        let live = |truth: &FetchTruth| !truth.cancelled && truth.err.is_empty() && truth.got_end.is_none();
        let open = self.conns[conn].fetched.iter().filter(|(_, truth)| live(truth));
        let open: Vec<_> = open.map(|(request, _)| *request).collect();
        if open.is_empty() {
            return;
        }
        let request = open[usize(self.rng.below(open.len() as u64))];
        self.fetch_answered(conn, request, |truth| truth.cancelled = true);
        self.say(Some(conn), C, Command::FetchCancel(request));
    }

    /// Refuses the stream of a fetch.
    pub(crate) fn stop_fetch(&mut self, conn: usize) {
        let now = self.now;
        let me = &mut self.conns[conn];
        let Some((&stream, &request)) = me
            .fetch_streams
            .iter()
            .next_back()
            .filter(|(stream, _)| !me.link.is_over(**stream))
        else {
            return;
        };
        me.fetched.get_mut(&request).unwrap().stopped = true;
        me.link
            .stop(now, stream, Codec::Draft14.reset_code(ResetCode::Cancelled));
    }

    /// Bytes of a fetch stream came.
    pub(crate) fn fetched_bytes(&mut self, conn: usize, stream: StreamId, bytes: bytes::Bytes) {
        let request = self.conns[conn].fetch_streams[&stream];
        let truth = self.conns[conn].fetched.get_mut(&request).unwrap();
        let reader = truth
            .reader
            .get_or_insert_with(|| StreamReader::new(Codec::Draft14, DataLimits::default()));
        reader.push(bytes);
        let mut fault = None;
        loop {
            match reader.next() {
                Ok(Some(StreamItem::FetchHeader(id))) if id == request => {}
                Ok(Some(StreamItem::FetchObject(header))) => truth.got.push((header, Vec::new())),
                Ok(Some(StreamItem::Payload(bytes))) => {
                    truth.got.last_mut().unwrap().1.extend_from_slice(&bytes);
                }
                Ok(Some(item)) => fault = Some(format!("{item:?}")),
                Ok(None) => break,
                Err(why) => {
                    fault = Some(why.to_string());
                    break;
                }
            }
        }
        if let Some(why) = fault {
            self.fail(format!("sub{conn} fetch {request}: {why}"));
        }
    }

    pub(crate) fn fetched_end(&mut self, conn: usize, stream: StreamId, fin: bool) {
        let request = self.conns[conn].fetch_streams[&stream];
        let truth = self.conns[conn].fetched.get_mut(&request).unwrap();
        truth.got_end = Some(fin);
        let torn = truth
            .reader
            .take()
            .filter(|_| fin)
            .and_then(|reader| reader.fin().err());
        if let Some(why) = torn {
            self.fail(format!("[D14-DATA-18] sub{conn} fetch {request}: {why}"));
        }
        if !self.conns[conn].fetched[&request].cancelled {
            self.say(Some(conn), C, Command::FetchDone(request));
        }
    }
}
