//! The publisher: accepts one subscription and writes its track.

use super::archive::Archived;
use super::plan::{Attempt, Finale};
use super::world::{Timer, World};
use crate::common::{C, subscribe_ok};
use bytes::{Bytes, BytesMut};
use laps_protocol::moqt::codec::Codec;
use laps_protocol::moqt::error::ResetCode;
use laps_protocol::moqt::location::Location;
use laps_protocol::moqt::message::{PublishDone, PublishDoneStatus, RequestId};
use laps_protocol::moqt::object::DatagramObject;
use laps_protocol::moqt::session::{Command, Event};
use laps_protocol::relay::track_log::StreamEnd;
use laps_protocol::sim::StreamId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Publisher {
    request: Option<RequestId>,
    alias: u64,
    queue: VecDeque<Attempt>,
    sends: VecDeque<Location>,
    writing: BTreeMap<StreamId, Writing>,
    /// Silent streams, which stay open to the end.
    silent: Vec<StreamId>,
    /// The largest place that it wrote.
    pub(crate) made: Option<Location>,
    /// Fetches that it answers.
    pub(crate) archived: BTreeMap<RequestId, Archived>,
    opened: u64,
    /// When everything was written.
    written_out: Option<Instant>,
    writes: u64,
    /// What each stream was to carry.
    pub(crate) attempts: BTreeMap<StreamId, Attempt>,
}

#[derive(Debug)]
struct Writing {
    group: u64,
    subgroup: u64,
    rest: Bytes,
    /// Where each object ends, and what was written.
    ends: VecDeque<(usize, Location)>,
    written: usize,
    end: Option<StreamEnd>,
}

impl Publisher {
    /// `made` is the last object that it made before anybody asked.
    pub(crate) fn new(made: Option<Location>) -> Self {
        Self {
            made,
            ..Self::default()
        }
    }
}

impl World {
    pub(crate) fn publisher_hears(&mut self, event: Event) {
        match event {
            Event::PeerSubscribe(request, _) => {
                let alias = self.up.with(C, |session| session.new_alias());
                self.publisher.request = Some(request);
                self.publisher.alias = alias;
                self.publisher.queue = self.plan.attempts.clone().into();
                self.publisher.sends = self.plan.sends.clone().into();
                self.say(
                    None,
                    C,
                    Command::AcceptSubscribe(request, subscribe_ok(alias, self.publisher.made)),
                );
                self.after(Duration::ZERO, Timer::Publish);
            }
            Event::PeerFetch(request, fetch) => self.archive_hears(request, &fetch),
            Event::PeerFetchCancel(request) => self.archive_cancelled(request),
            Event::PeerUnsubscribe(_) => self.publisher.request = None,
            _ => {}
        }
    }

    /// Writes a little, somewhere.
    pub(crate) fn publish(&mut self) {
        let Some(request) = self.publisher.request else {
            // Nobody wants it any more.
            for stream in std::mem::take(&mut self.publisher.writing).into_keys() {
                self.reset_upstream(stream, ResetCode::Cancelled);
            }
            return;
        };
        self.publisher.writes += 1;
        if self.publisher_dies(self.publisher.writes) {
            self.note(|| "the publisher's connection breaks".into());
            self.arrivals.is_dead = true;
            self.uplink.cut();
            self.up.cut();
            let notices = Duration::from_millis(1 + self.rng.below(400));
            self.after(notices, Timer::SourceGone);
            return;
        }
        if let Some(at) = self.publisher.sends.pop_front() {
            self.send_datagram(at);
        } else if !self.open_next() && !self.write_some() {
            self.finish_track(request);
            return;
        }
        let wait = Duration::from_millis(self.rng.below(2 * self.plan.pace_ms + 1));
        self.after(wait, Timer::Publish);
    }

    fn send_datagram(&mut self, at: Location) {
        self.publisher.made = self.publisher.made.max(Some(at));
        let object = &self.plan.objects[&at];
        let datagram = DatagramObject {
            alias: self.publisher.alias,
            location: at,
            priority: object.priority,
            extensions: object.header.extensions.clone(),
            end_of_group: object.end_of_group,
            status: object.header.status,
            payload: object.payload.clone(),
        };
        let mut bytes = BytesMut::new();
        Codec::Draft14
            .encode_datagram_header(&datagram, &mut bytes)
            .unwrap();
        bytes.extend_from_slice(&datagram.payload);
        let now = self.now;
        self.uplink.send_datagram(now, bytes.freeze());
    }

    /// Opens the next stream, when there is one and it may be.
    fn open_next(&mut self) -> bool {
        let publisher = &mut self.publisher;
        let more = publisher.writing.len() < self.plan.at_once
            && (publisher.writing.is_empty() || self.rng.one_in(3));
        let Some(next) = publisher.queue.front().filter(|_| more) else {
            return false;
        };
        let same =
            |writing: &Writing| (writing.group, writing.subgroup) == (next.header.group, next.subgroup);
        if publisher.writing.values().any(same) {
            return false;
        }
        let Some(attempt) = publisher.queue.pop_front() else {
            return false;
        };
        let (mut bytes, ends) = self.plan.encode(&attempt, publisher.alias);
        bytes.truncate(attempt.cut);
        let Some(stream) = self.uplink.open() else {
            return false;
        };
        publisher.opened += 1;
        let writing = Writing {
            group: attempt.header.group,
            subgroup: attempt.subgroup,
            rest: bytes,
            ends: ends
                .into_iter()
                .zip(
                    attempt
                        .ids
                        .iter()
                        .map(|id| Location::new(attempt.header.group, *id)),
                )
                .collect(),
            written: 0,
            end: attempt.end,
        };
        publisher.writing.insert(stream, writing);
        self.note(|| format!("up publishes {stream:?}: {attempt:?}"));
        self.publisher.attempts.insert(stream, attempt);
        true
    }

    /// Writes the next bytes of some stream; false when all is written.
    fn write_some(&mut self) -> bool {
        let open = self.publisher.writing.len() as u64;
        let pick = usize::try_from(self.rng.below(open)).unwrap();
        let Some((&stream, writing)) = self.publisher.writing.iter_mut().nth(pick) else {
            return false;
        };
        let size = usize::try_from(1 + self.rng.below(600)).unwrap();
        let piece = writing.rest.split_to(size.min(writing.rest.len()));
        let end = writing.rest.is_empty().then_some(writing.end);
        writing.written += piece.len();
        // An object is made when its first byte is written.
        let mut begun = 0;
        while writing.written > begun
            && let Some((ends, at)) = writing.ends.front().copied()
        {
            self.publisher.made = self.publisher.made.max(Some(at));
            if writing.written < ends {
                break;
            }
            writing.ends.pop_front();
            begun = ends;
        }
        let now = self.now;
        self.uplink.write(now, stream, piece);
        if let Some(end) = end {
            self.publisher.writing.remove(&stream);
            self.note(|| format!("up ends {stream:?}: {end:?}"));
            match end {
                Some(StreamEnd::Fin) => self.uplink.finish(now, stream),
                Some(StreamEnd::Reset(code)) => self.reset_upstream(stream, code),
                None => self.publisher.silent.push(stream),
            }
        }
        true
    }

    pub(crate) fn reset_upstream(&mut self, stream: StreamId, code: ResetCode) {
        let now = self.now;
        self.publisher.writing.remove(&stream);
        self.uplink.reset(now, stream, Codec::Draft14.reset_code(code));
    }

    fn finish_track(&mut self, request: RequestId) {
        // MOQT-14 §9.12 [D14-SUB-19]: after the last stream was closed, delivery included.
        for stream in std::mem::take(&mut self.publisher.silent) {
            self.reset_upstream(stream, ResetCode::Cancelled);
        }
        let since = *self.publisher.written_out.get_or_insert(self.now);
        let lingers = self.now < since + Duration::from_millis(self.plan.lingers_ms);
        if lingers || self.uplink.open_streams() > 0 || self.uplink.datagrams() > 0 {
            self.after(Duration::from_millis(20), Timer::Publish);
            return;
        }
        self.publisher.request = None;
        let done = PublishDone {
            status: PublishDoneStatus::TrackEnded,
            stream_count: (self.plan.finale == Finale::Done).then_some(self.publisher.opened),
            phrase: Bytes::new(),
        };
        self.say(None, C, Command::PublishDone(request, done));
    }
}
